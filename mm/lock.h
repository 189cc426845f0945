/* SPDX-License-Identifier: MIT */
/* A spin lock that records its longest hold. Taken outside interrupt handlers only; the holder never waits for a grace
 * period, an acknowledgement or another flow, and never prints. Lock order: mmu.lock, then slab locks, then page lock. */
#ifndef MM_LOCK_H
#define MM_LOCK_H

#include "mm/atomic.h"
#include "mm/host.h"
#include "mm/park.h"

struct lock {
	atomic32 held;        /* 0 free, 1 taken */
	uint64_t since;       /* TSC at acquisition; the holder's */
	atomic64 longest;     /* TSC ticks; written by holders, read by anyone */
};

static inline void lock_take(struct lock *l)
{
	/* acquire: pairs with the release in lock_drop */
	while (xchg_acquire(&l->held, 1))
		while (load_relaxed(&l->held)) {
			park("lock-wait");
			host_relax();
		}
	l->since = host_clock();
}

static inline void lock_drop(struct lock *l)
{
	uint64_t held = host_clock() - l->since;

	if (held > load_relaxed(&l->longest))
		store_relaxed(&l->longest, held);
	store_release(&l->held, 0);
}

#endif
