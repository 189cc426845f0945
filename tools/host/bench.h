/* SPDX-License-Identifier: MIT */
/* What the native benchmarks share: time by the TSC, one CPU a thread, and a line a figure for tools/bench-host. */
#ifndef TOOLS_HOST_BENCH_H
#define TOOLS_HOST_BENCH_H

#include <stdbool.h>
#include <stdint.h>

/* TSC ticks per nanosecond, measured against CLOCK_MONOTONIC; by the first call, then kept. */
double bench_ticks_per_ns(void);
/* The calling thread runs on this CPU alone from now on; ends the program when it may not. */
void bench_pin(unsigned cpu);
/* Memory that is there already, each page touched; ends the program when there is none. */
void *bench_memory(uint64_t bytes);

/* The TSC, with everything before it done and nothing after it begun. */
static inline uint64_t bench_now(void)
{
	unsigned aux;
	uint64_t now = __builtin_ia32_rdtscp(&aux);

	__builtin_ia32_lfence();
	return now;
}

/* The compiler takes *p for used and changed. */
static inline void bench_used(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* The middle one of n > 0 values, which it sorts. */
double bench_median(double *values, unsigned n);
/* Prints "NAME VALUE": one repetition of one figure. */
void bench_figure(const char *name, double value);
/* Latencies in ticks, which both sort: prints one repetition's "NAME.p50 NS", p99 and worst; the distribution of all
 * repetitions as lines of "NAME.cdf Q NS". */
void bench_quantiles(const char *name, uint32_t *ticks, uint64_t n);
void bench_distribution(const char *name, uint32_t *ticks, uint64_t n);

#endif
