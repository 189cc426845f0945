/* SPDX-License-Identifier: MIT */
/* Do two vCPUs of one guest fault faster than one? bench-scale REPETITIONS
 *
 * fixup    write faults on pages that a harvest has protected, each repaired without a lock
 * cold     first writes to pages after all shadow pages were dropped, the shadow tables included
 *
 * Each vCPU has a thread, a core and pages of its own, under page tables of its own; calls mmu_fault() as an exit would,
 * and nothing else. Printed: millions of faults a second by one thread (.one), and by two at once (.two), the best of
 * ROUNDS short rounds each: what else the machine does only slows a round down. */
#include <stdio.h>
#include <stdlib.h>

#include "mm/rcu.h"
#include "tools/host/bench.h"
#include "tools/host/machine.h"
#include "tools/host/native.h"

#define THREADS 2u
#define GUEST_PAGES 32768u /* 128 MiB */
#define BUDGET 1024u
#define PAGES 8192u /* of each thread */
#define FIRST (32UL << 20)
#define STRIDE 4099u /* odd: scattered */
#define ROUNDS 100u
#define OTHER_PAGE 0x1000UL

static struct machine vcpu[THREADS];
static uint32_t error; /* of the faults of this round */
static atomic32 ready, threads;
static uint64_t begin[THREADS], end[THREADS]; /* TSC */

static void die(const char *what)
{
	fprintf(stderr, "bench-scale: %s\n", what);
	exit(1);
}

static uint64_t page(unsigned thread, unsigned i)
{
	return FIRST + ((uint64_t)thread * PAGES + (uint64_t)i * STRIDE % PAGES) * PAGE_SIZE;
}

static void fault(void *arg)
{
	unsigned me = host_cpu();
	struct mmu_fault f;

	(void)arg;
	bench_pin(me);
	fetch_add_seq(&ready, 1);
	while (load_acquire(&ready) != load_relaxed(&threads))
		;
	begin[me] = bench_now();
	for (unsigned i = 0; i < PAGES; i++) {
		enum mmu_outcome o;

		do
			o = mmu_fault(&vcpu[me].vcpu, gva(page(me, i)), error, &f);
		while (o == MMU_RETRY);
		if (o != MMU_RESUME)
			die("a fault was not repaired");
	}
	end[me] = bench_now();
}

/* Every page is protected, or has no shadow; both vCPUs have their root. */
static void prepare(bool cold)
{
	struct mmu *m = &vcpu[0].mmu;

	if (cold)
		mmu_zap_all(m);
	if (log_harvest(m, 0) != LOG_DONE)
		die("the log is off or busy");
	for (unsigned i = 0; i < THREADS; i++)
		machine_load(&vcpu[i], OTHER_PAGE);
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < PAGES; i++)
			if (cold ? machine_spte(&vcpu[t], page(t, i)) & SPTE_P : machine_spte(&vcpu[t], page(t, i)) & SPTE_W)
				die("a page is open before its fault");
}

/* Millions a second. */
static double one_round(unsigned n, bool cold)
{
	uint64_t first = UINT64_MAX, last = 0;

	prepare(cold);
	error = cold ? PF_W : PF_P | PF_W;
	store_relaxed(&threads, n);
	store_relaxed(&ready, 0);
	host_run_cpus(n, fault, 0);
	for (unsigned t = 0; t < n; t++) {
		first = begin[t] < first ? begin[t] : first;
		last = end[t] > last ? end[t] : last;
		for (unsigned i = 0; i < PAGES; i++)
			if (!(machine_spte(&vcpu[t], page(t, i)) & SPTE_W))
				die("a page is not open after its fault");
	}
	return (double)n * PAGES / (double)(last - first) * bench_ticks_per_ns() * 1e3;
}

static void measure(const char *name, bool cold)
{
	double best[THREADS + 1] = {0};

	/* by turns, so that both see the same machine */
	for (unsigned i = 0; i < ROUNDS * THREADS; i++) {
		unsigned n = 1 + i % THREADS;
		double rate = one_round(n, cold);

		best[n] = rate > best[n] ? rate : best[n];
	}
	for (unsigned n = 1; n <= THREADS; n++) {
		char figure[64];

		snprintf(figure, sizeof figure, "scale.%s.%s", name, n == 1 ? "one" : "two");
		bench_figure(figure, best[n]);
	}
}

int main(int argc, char **argv)
{
	int repetitions = argc > 1 ? atoi(argv[1]) : 1;

	host_native_init(THREADS);
	mmu_global_init();
	machine_init(&vcpu[0], GUEST_PAGES, BUDGET);
	machine_long_mode(&vcpu[0]);
	machine_join(&vcpu[1], &vcpu[0]);
	if (log_start(&vcpu[0].mmu) != LOG_DONE)
		die("the log does not start");
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < PAGES; i++)
			if (!machine_store(&vcpu[t], page(t, i), i)) /* the guest's A and D bits are set from now on */
				die("a write was refused");
	for (int r = 0; r < repetitions; r++) {
		measure("fixup", false);
		measure("cold", true);
	}
	if (mmu_audit(&vcpu[0].mmu))
		die("the audit finds the guest's shadow broken");
	return 0;
}
