/* SPDX-License-Identifier: MIT */
/* The variant that Umbra is measured against: a harvest under a per-guest spinlock that faults take too. Here alone. */
#ifndef TOOLS_HOST_BENCH_LOCKED_H
#define TOOLS_HOST_BENCH_LOCKED_H

#include "mm/log.h"

enum locked_hold {
	LOCKED_NOT,   /* faults take no lock */
	LOCKED_ROUND, /* held from the first bit taken to the last page protected, as KVM's get-dirty-log holds mmu_lock
		       */
	LOCKED_WORD,  /* dropped and taken again after each bitmap word: 64 pages */
};

/* Which lock faults respect from now on. While no thread faults or harvests. */
void locked_set(enum locked_hold hold);
/* One round under the lock; what it protected. The flush comes after the lock, as KVM does it. Leaves of 4 KiB only. */
uint64_t locked_harvest(struct mmu *m);

#endif
