/* SPDX-License-Identifier: MIT */
/* The longest stretch with interrupts off, of each CPU and of all, from when a CPU begins to run guests: before the first
 * VM entry. Interrupt handlers count; an NMI's counts as part of what it interrupted, and a panic is no stretch.
 *
 * A stretch is timed by the low half of the TSC: one of 2^32 ticks or more is taken for what it is beyond that. */
#ifndef HV_IRQOFF_H
#define HV_IRQOFF_H

#include "hv/cpu.h"
#include "hv/x86.h"

/* Now, to be handed to irqoff_note(): interrupts have just gone off. */
static inline uint32_t irqoff_now(void)
{
	uint32_t low;

	asm volatile("rdtsc" : "=a"(low) : : "edx", "memory");
	return low;
}

/* A new longest stretch. */
void irqoff_longer(uint32_t ticks, const char *where);

/* The stretch since then is about to end, in `where`, a string constant. */
static inline void irqoff_note(uint32_t since, const char *where)
{
	uint32_t ticks = irqoff_now() - since;
	bool longer;

	/* ticks > this_cpu()->irqoff, in one instruction; volatile: an interrupt may have raised it since the last look */
	asm volatile("cmp %%gs:%c2, %1" : "=@cca"(longer) : "r"(ticks), "i"(CPU_IRQOFF));
	if (__builtin_expect(longer, 0))
		irqoff_longer(ticks, where);
}

/* Interrupts off, and on again. */
static inline uint32_t irqoff_begin(void)
{
	irq_disable();
	return irqoff_now();
}
static inline void irqoff_end(uint32_t since, const char *where)
{
	irqoff_note(since, where);
	irq_enable();
}

/* irq_wait(): ends a stretch, and returns when the next began. */
static inline uint32_t irqoff_wait(uint32_t since, const char *where)
{
	irqoff_note(since, where);
	irq_wait();
	return irqoff_now();
}

/* This CPU's record begins. */
void irqoff_start(void);
/* The longest on any CPU so far, TSC ticks, and where it ended. On another CPU, a new one may just be about to be named. */
uint64_t irqoff_longest(const char **where);

#endif
