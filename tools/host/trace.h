/* SPDX-License-Identifier: MIT */
/* The accesses of mm/atomic.h, counted, and its stores told to history.c: put before a file by the compiler's -include
 * (see the Makefile). One thread only. */
#ifndef TOOLS_HOST_TRACE_H
#define TOOLS_HOST_TRACE_H

#include "mm/atomic.h"

/* An atomic word of so many bytes at `at` has just changed, or was written again. */
void trace_store(void *at, unsigned bytes, uint64_t before, uint64_t after);

/* Loads and stores so far. */
extern uint64_t trace_accesses;
static inline void trace_access(void) { trace_accesses++; }

#undef load_relaxed
#undef load_acquire
#undef load_seq
#undef store_relaxed
#undef store_release
#undef xchg_acquire
#undef xchg_seq
#undef fetch_add_relaxed
#undef fetch_add_seq
#undef fetch_sub_seq
#undef fetch_or_seq
#undef fetch_and_seq
#undef cmpxchg_seq

#define TRACE_STORE(a, x, order)                                                                                       \
	do {                                                                                                           \
		__typeof__(&(a)->v) trace_at = &(a)->v;                                                                \
		uint64_t trace_before = *trace_at;                                                                     \
		atomic_store_explicit(trace_at, (x), order);                                                           \
		trace_store((void *)trace_at, sizeof *trace_at, trace_before, *trace_at);                              \
	} while (0)
#define TRACE_RMW(a, operation, x, order)                                                                              \
	({                                                                                                             \
		__typeof__(&(a)->v) trace_at = &(a)->v;                                                                \
		__auto_type trace_before = operation(trace_at, (x), order);                                            \
		trace_store((void *)trace_at, sizeof *trace_at, trace_before, *trace_at);                              \
		trace_before;                                                                                          \
	})

#define load_relaxed(a) (trace_access(), atomic_load_explicit(&(a)->v, memory_order_relaxed))
#define load_acquire(a) (trace_access(), atomic_load_explicit(&(a)->v, memory_order_acquire))
#define load_seq(a) (trace_access(), atomic_load_explicit(&(a)->v, memory_order_seq_cst))
#define store_relaxed(a, x) TRACE_STORE(a, x, memory_order_relaxed)
#define store_release(a, x) TRACE_STORE(a, x, memory_order_release)
#define xchg_acquire(a, x) TRACE_RMW(a, atomic_exchange_explicit, x, memory_order_acquire)
#define xchg_seq(a, x) TRACE_RMW(a, atomic_exchange_explicit, x, memory_order_seq_cst)
#define fetch_add_relaxed(a, x) TRACE_RMW(a, atomic_fetch_add_explicit, x, memory_order_relaxed)
#define fetch_add_seq(a, x) TRACE_RMW(a, atomic_fetch_add_explicit, x, memory_order_seq_cst)
#define fetch_sub_seq(a, x) TRACE_RMW(a, atomic_fetch_sub_explicit, x, memory_order_seq_cst)
#define fetch_or_seq(a, x) TRACE_RMW(a, atomic_fetch_or_explicit, x, memory_order_seq_cst)
#define fetch_and_seq(a, x) TRACE_RMW(a, atomic_fetch_and_explicit, x, memory_order_seq_cst)
#define cmpxchg_seq(a, old, new)                                                                                       \
	({                                                                                                             \
		__typeof__(&(a)->v) trace_at = &(a)->v;                                                                \
		uint64_t trace_before = *trace_at;                                                                     \
		bool trace_done = atomic_compare_exchange_strong_explicit(                                             \
			trace_at, (old), (new), memory_order_seq_cst, memory_order_acquire);                           \
		if (trace_done)                                                                                        \
			trace_store((void *)trace_at, sizeof *trace_at, trace_before, *trace_at);                      \
		trace_done;                                                                                            \
	})

#endif
