/* SPDX-License-Identifier: MIT */
/* What a pair costs: slab_alloc and slab_free beside malloc and free (glibc's, or whatever is preloaded), a read-side
 * section of mm/rcu.h beside those of liburcu and Concurrency Kit. One thread on one CPU; every contender in every
 * repetition, in turn. bench-pairs REPETITIONS [malloc]: with malloc, that alone. Prints whose malloc it found. */
#define _GNU_SOURCE
#define _LGPL_SOURCE /* liburcu's sections inline, as ours are */
#include <urcu/urcu-mb.h>
#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>

#include <ck_epoch.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/rcu.h"
#include "mm/slab.h"
#include "tools/host/bench.h"
#include "tools/host/native.h"

#define PAIRS 256000u
#define BYTES 64u
#define BATCH 256u /* objects taken, then given back: eight times what a CPU keeps at hand */

static struct slab_cache cache;
static struct ck_epoch epoch;
static struct ck_epoch_record record;
static void *batch[BATCH];

static void slab_pairs(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		void *p = slab_alloc(&cache);

		bench_used(p);
		slab_free(&cache, p);
	}
}

static void malloc_pairs(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		void *p = malloc(BYTES);

		bench_used(p);
		free(p);
	}
}

static void slab_batches(void)
{
	for (unsigned n = 0; n < PAIRS / BATCH; n++) {
		for (unsigned i = 0; i < BATCH; i++)
			batch[i] = slab_alloc(&cache);
		bench_used(batch);
		for (unsigned i = 0; i < BATCH; i++)
			slab_free(&cache, batch[i]);
	}
}

static void malloc_batches(void)
{
	for (unsigned n = 0; n < PAIRS / BATCH; n++) {
		for (unsigned i = 0; i < BATCH; i++)
			batch[i] = malloc(BYTES);
		bench_used(batch);
		for (unsigned i = 0; i < BATCH; i++)
			free(batch[i]);
	}
}

static void rcu_ours(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		rcu_read_lock(RCU_WALK);
		bench_used(batch);
		rcu_read_unlock(RCU_WALK);
	}
}

static void rcu_memb(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		urcu_memb_read_lock();
		bench_used(batch);
		urcu_memb_read_unlock();
	}
}

static void rcu_mb(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		urcu_mb_read_lock();
		bench_used(batch);
		urcu_mb_read_unlock();
	}
}

/* Its sections are nothing at all; what it costs is the quiescent state that it must be told of between them. */
static void rcu_qsbr(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		urcu_qsbr_read_lock();
		bench_used(batch);
		urcu_qsbr_read_unlock();
	}
}

static void rcu_qsbr_quiescent(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		urcu_qsbr_read_lock();
		bench_used(batch);
		urcu_qsbr_read_unlock();
		urcu_qsbr_quiescent_state();
	}
}

static void rcu_ck(void)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		ck_epoch_begin(&record, 0);
		bench_used(batch);
		ck_epoch_end(&record, 0);
	}
}

static const struct contender {
	const char *name;
	void (*run)(void);
	bool malloc;
} contenders[] = {
	{"slab.pair", slab_pairs, false},
	{"malloc.pair", malloc_pairs, true},
	{"slab.batch", slab_batches, false},
	{"malloc.batch", malloc_batches, true},
	{"rcu.ours", rcu_ours, false},
	{"rcu.memb", rcu_memb, false},
	{"rcu.mb", rcu_mb, false},
	{"rcu.qsbr", rcu_qsbr, false},
	{"rcu.quiescent", rcu_qsbr_quiescent, false},
	{"rcu.ck", rcu_ck, false},
};

/* Nanoseconds for each pair. */
static double cost(void (*run)(void))
{
	uint64_t start = bench_now();

	run();
	return (double)(bench_now() - start) / bench_ticks_per_ns() / PAIRS;
}

int main(int argc, char **argv)
{
	int repetitions = argc > 1 ? atoi(argv[1]) : 1;
	bool only_malloc = argc > 2 && !strcmp(argv[2], "malloc");

	printf("malloc.is %s\n", dlsym(RTLD_DEFAULT, "mallctl") ? "jemalloc" : "glibc");
	bench_pin(0);
	host_native_init(2);
	slab_init(&cache, "bench", 1, BYTES, 0, PAGE_ANY, 0);
	urcu_memb_register_thread();
	urcu_mb_register_thread();
	urcu_qsbr_register_thread();
	ck_epoch_init(&epoch);
	ck_epoch_register(&epoch, &record, 0);
	for (int r = -1; r < repetitions; r++) /* the first warms up */
		for (unsigned i = 0; i < sizeof contenders / sizeof *contenders; i++) {
			double ns;

			if (only_malloc && !contenders[i].malloc)
				continue;
			ns = cost(contenders[i].run);
			if (r >= 0)
				bench_figure(contenders[i].name, ns);
		}
	return 0;
}
