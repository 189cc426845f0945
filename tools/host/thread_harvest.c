/* SPDX-License-Identifier: MIT */
/* Guests and walkers on threads of their own: CPUs 0 and 1 each run a guest that remaps and writes, CPUs 2 and 3 harvest
 * both into replicas. At the end the replicas equal the guests' memory, and the audits find nothing. */
#include <stdio.h>

#include "mm/replica.h"
#include "tools/host/mmu_test.h"

#define STEPS 6000      /* at least … */
#define MAX_STEPS 20000000 /* … until the walker has had ROUNDS, at most so many */
#define ROUNDS 20
#define FRAMES 64u

struct guest {
	struct machine machine;
	struct replica replica;
	atomic32 ended;
	uint64_t seed, root;
};

static struct guest guests[2];
static atomic64 rounds[2];
static bool mixed;

/* The walker has had its rounds, and met the guest in them: the first's writes were fixed up, the second's D bits cleared. */
static bool over(struct guest *g)
{
	const struct mmu *m = &g->machine.mmu;

	return load_relaxed(&rounds[g - guests]) >= ROUNDS &&
	       (g == guests ? mmu_faults(m).fixups : load_relaxed(&m->stats.cleared));
}

static void run_guest(struct guest *g)
{
	struct machine *c = &g->machine;

	for (unsigned n = 0; n < STEPS || (n < MAX_STEPS && !over(g)); n++) {
		uint64_t r = host_random(&g->seed), at = TEST_VIRT + r % 256 * PAGE_SIZE;

		if (r >> 32 & 7) {
			machine_store(c, TEST_FREE + (r >> 16) % FRAMES * PAGE_SIZE + 8, n);
			if (machine_access(c, at, PF_W, &r))
				continue;
		}
		machine_map(c, g->root, at, (TEST_FREE + (r >> 16) % FRAMES * PAGE_SIZE) | TEST_RW, 1);
		if (r >> 40 & 1)
			machine_invlpg(c, at);
		else
			machine_cr3(c, g->root);
		machine_store(c, at, n);
	}
	store_release(&g->ended, 1);
}

/* The second guest's rounds go now by protection and now by D bits, or always by D bits. */
static void run_walker(unsigned i)
{
	struct guest *g = &guests[i];
	uint64_t random = 5;

	while (!load_acquire(&g->ended)) {
		if (i == 1)
			g->machine.mmu.log_mode = mixed && host_random(&random) & 1 ? LOG_WP : LOG_DBIT;
		if (replica_round(&g->replica, 0) == LOG_DONE)
			count_add(&rounds[i], 1);
	}
}

static void run(void *arg)
{
	unsigned cpu = host_cpu();

	(void)arg;
	if (cpu < 2)
		run_guest(&guests[cpu]);
	else
		run_walker(cpu - 2);
}

static void start_guests(enum slab_mode mode)
{
	host_native_init(4);
	slab_set_mode(mode);
	mmu_global_init();
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = &guests[i];

		machine_init(&g->machine, TEST_PAGES, 256);
		g->root = machine_long_mode(&g->machine);
		assert_true(replica_init(&g->replica, &g->machine.mmu));
		store_relaxed(&g->ended, 0);
		store_relaxed(&rounds[i], 0);
		g->seed = 11 + i;
	}
}

static void replicas_equal_memory(enum slab_mode mode, bool mix)
{
	gfn_t first = gfn(0);

	mixed = mix;
	start_guests(mode);
	host_run_cpus(4, run, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = &guests[i];

		printf("guest %u: %lu rounds (%lu by D bits), %lu fix-ups, %lu protected, %lu cleared, %lu copied\n", i,
			load_relaxed(&rounds[i]), load_relaxed(&g->machine.mmu.stats.dbit_rounds),
			mmu_faults(&g->machine.mmu).fixups, load_relaxed(&g->machine.mmu.stats.protected),
			load_relaxed(&g->machine.mmu.stats.cleared), g->replica.copied);
		assert_true(over(g));
		assert_int_equal(replica_round(&g->replica, 0), LOG_DONE);
		assert_int_equal(replica_compare(&g->replica, &first), 0);
		assert_int_equal(mmu_audit(&g->machine.mmu), 0);
		replica_destroy(&g->replica);
		machine_destroy(&g->machine);
	}
}

static void two_guests_and_two_walkers(void **state)
{
	(void)state;
	replicas_equal_memory(SLAB_NORMAL, false);
}

static void two_guests_and_two_walkers_lifo(void **state)
{
	(void)state;
	replicas_equal_memory(SLAB_LIFO, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_guests_and_two_walkers),
		cmocka_unit_test(two_guests_and_two_walkers_lifo),
	};

	return cmocka_run_group_tests_name("threads", tests, 0, 0);
}
