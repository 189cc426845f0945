/* SPDX-License-Identifier: MIT */
/* Spin locks, and the one order in which they are taken. Outside interrupt handlers only; the holder never waits for a grace
 * period, an acknowledgement or another flow, and never prints.
 *
 *   struct lock  records its longest hold, in TSC ticks
 *   struct spin  does not: it is held within the recorded hold of another, or its holder records it
 *
 * A lock is taken only while every lock held ranks below it; natively, each take is held to that. */
#ifndef MM_LOCK_H
#define MM_LOCK_H

#include "mm/atomic.h"
#include "mm/host.h"
#include "mm/park.h"

enum lock_rank {
	LOCK_UNRANKED,
	LOCK_BUS,           /* a guest's devices */
	LOCK_MMU,           /* a guest's shadow MMU */
	LOCK_TABLE,         /* the leaves of one shadow table */
	LOCK_CHAIN,         /* one page's rmap chain, and whether the page is a page table */
	LOCK_SLAB_REGISTRY,
	LOCK_SLAB,          /* a cache's, or a CPU's part of one */
	LOCK_PAGE,          /* the page allocator's */
};

/* Natively: panics when a lock of this rank or a higher one is held by this thread. */
#if __STDC_HOSTED__
void lock_order_take(unsigned rank);
void lock_order_drop(unsigned rank);
#else
static inline void lock_order_take(unsigned rank) { (void)rank; }
static inline void lock_order_drop(unsigned rank) { (void)rank; }
#endif

struct spin {
	atomic32 held;        /* 0 free, 1 taken */
};

static inline void spin_take(struct spin *l, enum lock_rank rank)
{
	lock_order_take(rank);
	/* acquire: pairs with the release in spin_drop */
	while (__builtin_expect(xchg_acquire(&l->held, 1), 0))
		while (load_relaxed(&l->held)) {
			park("lock-wait");
			host_relax();
		}
}

static inline void spin_drop(struct spin *l, enum lock_rank rank)
{
	store_release(&l->held, 0);
	lock_order_drop(rank);
}

struct lock {
	struct spin spin;
	uint32_t rank;        /* enum lock_rank; fixed before it is used */
	uint64_t since;       /* TSC at acquisition; the holder's */
	atomic64 longest;     /* TSC ticks; written by holders, read by anyone */
};

static inline void lock_take(struct lock *l)
{
	spin_take(&l->spin, l->rank);
	l->since = host_clock();
}

static inline void lock_drop(struct lock *l)
{
	count_longest(&l->longest, host_clock() - l->since);
	spin_drop(&l->spin, l->rank);
}

/* The longest hold since the lock was made or lock_forget was called, TSC ticks: a figure. A hold that lasts meanwhile counts
 * when it ends, whole. Any CPU, any context. */
static inline uint64_t lock_longest(const struct lock *l)
{
	return load_relaxed(&l->longest);
}
static inline void lock_forget(struct lock *l)
{
	store_relaxed(&l->longest, 0);
}

#endif
