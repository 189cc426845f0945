/* SPDX-License-Identifier: MIT */
/* A piece of work that CPU 0 has another CPU do, in steps, each in a turn of that CPU's run loop: where what is asked for is that
 * CPU's own. There is one at a time. */
#ifndef HV_ERRAND_H
#define HV_ERRAND_H

#include <stdbool.h>
#include "mm/atomic.h"

extern atomic32 errand_cpu; /* 1 + the CPU that is at it; 0: none is */

/* Has CPU `cpu`, this one or another, call step(argument) turn by turn until it returns true. The one before is over. CPU 0, any
 * context but an interrupt handler. */
void errand_ask(unsigned cpu, bool (*step)(void *argument), void *argument);
/* No more steps are wanted: it will soon be over. CPU 0. */
void errand_drop(void);
/* Is it over? What it did is then seen on CPU 0. */
static inline bool errand_over(void)
{
	return !load_acquire(&errand_cpu); /* partner: errand_poll */
}

/* A step, if this CPU is asked. Returns the TSC of the next. In a turn, outside locks and sections. */
uint64_t errand_poll(void);

#endif
