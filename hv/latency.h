/* SPDX-License-Identifier: MIT */
/* The longest lock holds and the longest stretch with interrupts off of a run, from the first VM entry to the last verdict; README.md says how they are printed. */
#ifndef HV_LATENCY_H
#define HV_LATENCY_H

#include "guest/vmset.h"
#include "mm/atomic.h"

extern atomic32 latency_begun; /* 1 from the first VM entry on */

/* Forgets what was recorded before the first VM entry, once. Out of line: see latency_entry. */
void latency_begin(void);

/* Before each slice of guest time; the first one begins the record. Any CPU, outside locks. */
static inline void latency_entry(void)
{
	if (__builtin_expect(!load_relaxed(&latency_begun), 0))
		latency_begin();
}

/* What the locks of guest number `index` came to, whose name is copied. One CPU, the walker's. */
void latency_guest_over(unsigned index, const char *name, struct vm_holds holds);

/* The table, when no guest is left; nothing if none was ever entered. */
void latency_print(void);

#endif
