/* SPDX-License-Identifier: MIT */
/* Atomics named by their order. The order is on the access; there are no free-standing fences (TSan cannot see
 * them, and a fence has no partner that a reader could look up).
 *
 * Both sides of a store-then-load pair (Dekker) use the _seq read-modify-writes. On x86 every locked instruction is
 * a full barrier for all earlier and later accesses, which is more than C11 promises for one seq_cst access between
 * relaxed neighbours; where an argument needs that, its comment says "locked RMW".
 */
#ifndef MM_ATOMIC_H
#define MM_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct { _Atomic uint64_t v; } atomic64;
typedef struct { _Atomic uint32_t v; } atomic32;

#define load_relaxed(a) atomic_load_explicit(&(a)->v, memory_order_relaxed)
#define load_acquire(a) atomic_load_explicit(&(a)->v, memory_order_acquire)
#define load_seq(a) atomic_load_explicit(&(a)->v, memory_order_seq_cst)
#define store_relaxed(a, x) atomic_store_explicit(&(a)->v, (x), memory_order_relaxed)
#define store_release(a, x) atomic_store_explicit(&(a)->v, (x), memory_order_release)
#define xchg_acquire(a, x) atomic_exchange_explicit(&(a)->v, (x), memory_order_acquire)
#define xchg_seq(a, x) atomic_exchange_explicit(&(a)->v, (x), memory_order_seq_cst)
#define fetch_add_relaxed(a, x) atomic_fetch_add_explicit(&(a)->v, (x), memory_order_relaxed)
#define fetch_add_seq(a, x) atomic_fetch_add_explicit(&(a)->v, (x), memory_order_seq_cst)
#define fetch_sub_seq(a, x) atomic_fetch_sub_explicit(&(a)->v, (x), memory_order_seq_cst)
#define fetch_or_seq(a, x) atomic_fetch_or_explicit(&(a)->v, (x), memory_order_seq_cst)
#define fetch_and_seq(a, x) atomic_fetch_and_explicit(&(a)->v, (x), memory_order_seq_cst)

/* cmpxchg_seq(a, &old, new): true when *a was old and is new now; else old holds what was found. */
#define cmpxchg_seq(a, old, new) \
	atomic_compare_exchange_strong_explicit(&(a)->v, (old), (new), memory_order_seq_cst, memory_order_acquire)

/* A counter that one CPU writes and others read: no read-modify-write needed. */
#define count_add(a, x) store_relaxed(a, load_relaxed(a) + (x))
/* The same of the largest so far. */
static inline void count_longest(atomic64 *a, uint64_t x)
{
	if (__builtin_expect(x > load_relaxed(a), 0))
		store_relaxed(a, x);
}

#endif
