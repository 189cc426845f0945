/* SPDX-License-Identifier: MIT */
/* What a harvest costs, and what a guest that faults beside it feels. bench-harvest REPETITIONS
 *
 * rate     sptes protected in a second by a core that harvests alone, ours and under the lock; frames with one mapping
 *          and with ALIASES
 * fault    CPU 0 dirties the big region, then CPU 1 harvests it while CPU 0 writes to pages of the small region, all
 *          protected: each write is one fix-up fault. Its latency is that of the whole write: walk, exit, fault, entry
 *          and walk, on the modelled processor. Counted are the faults that begin while a harvest runs, and for
 *          `quiet` some without any. Under the lock of a round a guest has one such fault, and a few more
 *          between the lock and the end of the round
 * beside   the rate of those harvests
 * clean    a harvest that finds nothing, by the number of bitmap words */
#include <stdio.h>
#include <stdlib.h>

#include "tools/host/bench.h"
#include "tools/host/bench_locked.h"
#include "tools/host/machine.h"
#include "tools/host/native.h"

#define GUEST_PAGES 32768u /* 128 MiB */
#define BUDGET 1024u
#define BIG_PAGES 16384u  /* dirtied before each harvest */
#define SMALL_PAGES 8192u /* faulted on during it */
#define BIG (32UL << 20)
#define SMALL (96UL << 20)
#define STRIDE 4099u                 /* odd: visits the small region in a scattered order */
#define FAULTS_MAX (SMALL_PAGES / 2) /* in one round: the rest is protected again by the next */
#define QUIET_FAULTS 2048u
#define ROUNDS 60u
#define RATE_ROUNDS 5u

#define ALIASES 16u
#define ALIASED_PAGES 1024u
#define ALIASED (16UL << 20)
#define ALIAS_VIRT 0x40000000UL
#define ALIAS_BYTES (ALIASED_PAGES * PAGE_SIZE)

#define CLEAN_SIZES 6u
#define CLEAN_FIRST_MIB 16u
#define CLEAN_HARVESTS 500u

#define PLAIN_RW (GPTE_P | GPTE_W)

enum mode { QUIET, OURS, ROUND, WORD, MODES };
static const char *const mode_name[MODES] = {"quiet", "ours", "round", "word"};
static const enum locked_hold mode_hold[MODES] = {LOCKED_NOT, LOCKED_NOT, LOCKED_ROUND, LOCKED_WORD};

/* Latencies of all repetitions, by mode; n: how many, begin: where this repetition's begin. */
struct samples {
	uint32_t *ticks;
	uint64_t n, begin, max;
};

static struct machine guest;
static struct mmu clean;
static struct samples samples[MODES];
static uint64_t cursor; /* in the small region */
static enum mode mode;
static double round_ns[ROUNDS], round_rate[ROUNDS]; /* of each round of CPU 1; rates in millions a second */

/* The round that CPU 0 has asked for, the one that CPU 1 has begun, and the one that it has finished. */
static struct {
	atomic32 asked, begun, finished;
} __attribute__((aligned(64))) turn;

static void die(const char *what)
{
	fprintf(stderr, "bench-harvest: %s\n", what);
	exit(1);
}

static uint64_t harvest(enum mode how)
{
	struct log_round r;

	if (how != QUIET && how != OURS)
		return locked_harvest(&guest.mmu);
	if (log_harvest(&guest.mmu, &r) != LOG_DONE)
		die("the log is off or busy");
	return r.protected;
}

static void dirty(uint64_t from, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (!machine_store(&guest, from + i * PAGE_SIZE, i))
			die("a write was refused");
}

static void make_guest(void)
{
	uint64_t root;

	machine_init(&guest, GUEST_PAGES, BUDGET);
	root = machine_long_mode(&guest);
	for (unsigned k = 0; k < ALIASES; k++)
		for (unsigned i = 0; i < ALIASED_PAGES; i++)
			machine_map(&guest, root, ALIAS_VIRT + k * ALIAS_BYTES + i * PAGE_SIZE,
				(ALIASED + i * PAGE_SIZE) | PLAIN_RW, 1);
	machine_cr3(&guest, root);
	if (log_start(&guest.mmu) != LOG_DONE)
		die("the log does not start");
	dirty(ALIAS_VIRT, (uint64_t)ALIASES * ALIASED_PAGES);
	dirty(BIG, BIG_PAGES);
	dirty(SMALL, SMALL_PAGES);
	harvest(OURS);
}

/* ---- the rate ---- */

/* Millions a second. */
static double rate_of(uint64_t sptes, uint64_t ticks)
{
	return (double)sptes / (double)ticks * bench_ticks_per_ns() * 1e3;
}

static void rate(const char *name, enum mode how, uint64_t from, uint64_t sptes)
{
	double per_us[RATE_ROUNDS];
	char figure[64];

	locked_set(mode_hold[how]);
	for (unsigned i = 0; i < RATE_ROUNDS; i++) {
		uint64_t start, done;

		dirty(from, sptes);
		start = bench_now();
		done = harvest(how);
		per_us[i] = rate_of(done, bench_now() - start);
		if (done < sptes)
			die("a harvest protected less than was written");
	}
	snprintf(figure, sizeof figure, "rate.%s.%s", name, mode_name[how]);
	bench_figure(figure, bench_median(per_us, RATE_ROUNDS));
}

static void rates(void)
{
	for (enum mode how = OURS; how < MODES; how++) {
		rate("single", how, BIG, BIG_PAGES);
		rate("aliased", how, ALIAS_VIRT, (uint64_t)ALIASES * ALIASED_PAGES);
	}
	locked_set(LOCKED_NOT);
}

/* ---- what a faulting thread feels ---- */

/* One write to the small region, timed when it faulted. */
static void one_fault(struct samples *s)
{
	uint64_t at = SMALL + cursor++ * STRIDE % SMALL_PAGES * PAGE_SIZE, faults = guest.faults, start = bench_now();
	uint64_t ticks;

	if (!machine_store(&guest, at, cursor))
		die("a write was refused");
	ticks = bench_now() - start;
	if (guest.faults != faults && s->n < s->max)
		s->ticks[s->n++] = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

static void run_guest(void)
{
	struct samples *s = &samples[mode];

	s->begin = s->n;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		unsigned n = 0;

		dirty(BIG, BIG_PAGES);
		if (mode == QUIET) {
			harvest(OURS);
			for (; n < QUIET_FAULTS; n++)
				one_fault(s);
		}
		store_release(&turn.asked, round);
		while (load_acquire(&turn.begun) != round)
			host_relax();
		while (load_acquire(&turn.finished) != round)
			if (mode != QUIET && n++ < FAULTS_MAX)
				one_fault(s);
	}
}

static void run_walker(void)
{
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint64_t start, ticks, sptes = 0;

		while (load_acquire(&turn.asked) != round)
			host_relax();
		store_release(&turn.begun, round);
		start = bench_now();
		if (mode != QUIET)
			sptes = harvest(mode);
		ticks = bench_now() - start;
		round_ns[round - 1] = (double)ticks / bench_ticks_per_ns();
		round_rate[round - 1] = rate_of(sptes, ticks);
		store_release(&turn.finished, round);
	}
}

static void run(void *arg)
{
	(void)arg;
	bench_pin(host_cpu());
	if (host_cpu() == 0)
		run_guest();
	else
		run_walker();
}

static void faults(void)
{
	for (mode = QUIET; mode < MODES; mode++) {
		struct samples *s = &samples[mode];
		char figure[64];

		locked_set(mode_hold[mode]);
		store_relaxed(&turn.asked, 0);
		store_relaxed(&turn.begun, 0);
		store_relaxed(&turn.finished, 0);
		host_run_cpus(2, run, 0);
		snprintf(figure, sizeof figure, "fault.%s", mode_name[mode]);
		bench_quantiles(figure, s->ticks + s->begin, s->n - s->begin);
		if (mode == QUIET)
			continue;
		snprintf(figure, sizeof figure, "round.%s", mode_name[mode]);
		bench_figure(figure, bench_median(round_ns, ROUNDS));
		snprintf(figure, sizeof figure, "beside.%s", mode_name[mode]);
		bench_figure(figure, bench_median(round_rate, ROUNDS));
	}
	locked_set(LOCKED_NOT);
}

/* ---- clean slots ---- */

static void clean_harvest(unsigned mib)
{
	static double ns[CLEAN_HARVESTS];
	uint64_t words = 0;
	char figure[64];

	if (!mmu_init(&clean, "clean", 1) || !mmu_add_ram(&clean, (uint64_t)mib << 20) || log_start(&clean) != LOG_DONE)
		die("no memory for a clean guest");
	for (unsigned i = 0; i < load_relaxed(&clean.slots); i++)
		words += clean.slot[i].words;
	for (unsigned i = 0; i < CLEAN_HARVESTS; i++) /* the first is not clean; the rest warm up */
		log_harvest(&clean, 0);
	for (unsigned i = 0; i < CLEAN_HARVESTS; i++) {
		uint64_t start = bench_now();

		log_harvest(&clean, 0);
		ns[i] = (double)(bench_now() - start) / bench_ticks_per_ns();
	}
	snprintf(figure, sizeof figure, "clean.%lu", words);
	bench_figure(figure, bench_median(ns, CLEAN_HARVESTS));
	mmu_destroy(&clean);
}

int main(int argc, char **argv)
{
	int repetitions = argc > 1 ? atoi(argv[1]) : 1;

	bench_pin(0);
	host_native_init(2);
	mmu_global_init();
	make_guest();
	for (unsigned m = 0; m < MODES; m++) {
		samples[m].max = (uint64_t)repetitions * ROUNDS * FAULTS_MAX;
		samples[m].ticks = bench_memory(samples[m].max * sizeof(uint32_t));
	}
	for (int r = 0; r < repetitions; r++) {
		rates();
		faults();
		bench_pin(0);
		for (unsigned i = 0; i < CLEAN_SIZES; i++)
			clean_harvest(CLEAN_FIRST_MIB << i);
	}
	for (unsigned m = 0; m < MODES; m++) {
		char figure[64];

		snprintf(figure, sizeof figure, "fault.%s", mode_name[m]);
		bench_distribution(figure, samples[m].ticks, samples[m].n);
	}
	if (mmu_audit(&guest.mmu))
		die("the audit finds the guest's shadow broken");
	return 0;
}
