/* SPDX-License-Identifier: MIT */
/* Time and output of the native benchmarks. Linked with --wrap, so that mm/ has here what it has on the metal:
 * host_clock is one RDTSC, host_relax one PAUSE. */
#define _GNU_SOURCE
#include "tools/host/bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define CALIBRATE_NS 50000000L
#define CDF_STEP 1.0593 /* from point to point 1 - q shrinks by this: 40 points for a factor of ten */

uint64_t __wrap_host_clock(void);
uint64_t __wrap_host_clock_hz(void);
void __wrap_host_relax(void);

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double bench_ticks_per_ns(void)
{
	static double rate;

	if (rate == 0) {
		int64_t start = monotonic(), end;
		uint64_t ticks = bench_now();

		while ((end = monotonic()) - start < CALIBRATE_NS)
			;
		rate = (double)(bench_now() - ticks) / (double)(end - start);
	}
	return rate;
}

uint64_t __wrap_host_clock(void)
{
	return __builtin_ia32_rdtsc();
}

uint64_t __wrap_host_clock_hz(void)
{
	return (uint64_t)(bench_ticks_per_ns() * 1e9);
}

void __wrap_host_relax(void)
{
	__builtin_ia32_pause();
}

void bench_pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		die("cannot run on the CPU that the benchmark needs");
}

void *bench_memory(uint64_t bytes)
{
	void *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		die("no memory");
	return p;
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, unsigned n)
{
	qsort(values, n, sizeof *values, by_double);
	return values[n / 2];
}

void bench_figure(const char *name, double value)
{
	printf("%s %.4f\n", name, value);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void bench_quantiles(const char *name, uint32_t *ticks, uint64_t n)
{
	double rate = bench_ticks_per_ns();

	qsort(ticks, n, sizeof *ticks, by_value);
	printf("%s.count %lu\n", name, n);
	if (n == 0)
		return;
	printf("%s.p50 %.1f\n", name, ticks[n / 2] / rate);
	printf("%s.p99 %.1f\n", name, ticks[n * 99 / 100] / rate);
	printf("%s.worst %.1f\n", name, ticks[n - 1] / rate);
}

void bench_distribution(const char *name, uint32_t *ticks, uint64_t n)
{
	double rate = bench_ticks_per_ns();

	qsort(ticks, n, sizeof *ticks, by_value);
	for (double tail = 1; tail * (double)n >= 1; tail /= CDF_STEP)
		printf("%s.cdf %.8f %.1f\n", name, 1 - tail, ticks[(uint64_t)((1 - tail) * (double)n)] / rate);
}
