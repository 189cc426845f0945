/* SPDX-License-Identifier: MIT */
/* A guest that is made, runs, is harvested and destroyed a thousand times (fewer under TSan) while another one runs on threads beside it: not one
 * page is lost, and no object of a slab. */
#include <stdio.h>

#include "mm/replica.h"
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

/* ThreadSanitizer takes ten times as long. */
#ifdef __SANITIZE_THREAD__
#define LIVES 150u
#else
#define LIVES 1000u
#endif
#define STEPS 40u /* of each life */
#define FRAMES 24u
#define TABLES 16u

static struct machine mortal;
static struct replica replica, others;
static unsigned lives;
static atomic32 over;
static atomic64 stores;

static void remap_and_store(struct machine *c, uint64_t root, uint64_t r)
{
	uint64_t at = TEST_VIRT + r % 96 * PAGE_SIZE;

	machine_map(c, root, at, (TEST_FREE + (r >> 16) % FRAMES * PAGE_SIZE) | TEST_RW, 1);
	if (r >> 40 & 1)
		machine_invlpg(c, at);
	else
		machine_cr3(c, root);
	CHECK(machine_store(c, at, r));
}

/* Long mode with as little mapped at its own address as is needed: the tables, and the frames. */
static uint64_t long_mode(struct machine *c)
{
	uint64_t root = machine_table(c);

	for (unsigned i = 0; i < TABLES; i++)
		machine_map(c, root, TEST_DATA + i * PAGE_SIZE, (TEST_DATA + i * PAGE_SIZE) | TEST_RW, 1);
	for (unsigned i = 0; i < FRAMES; i++)
		machine_map(c, root, TEST_FREE + i * PAGE_SIZE, (TEST_FREE + i * PAGE_SIZE) | TEST_RW, 1);
	machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, EFER_LME | EFER_LMA | EFER_NXE);
	return root;
}

/* Ends with tables linked, unsync and loaded, chains of several descriptors, and every other time a replica. */
static void live(unsigned n, uint64_t *seed)
{
	uint64_t root;
	gfn_t first = gfn(0);

	machine_init(&mortal, TEST_PAGES, 256);
	if (n % 2)
		CHECK(replica_init(&replica, &mortal.mmu));
	root = long_mode(&mortal);
	for (unsigned i = 0; i < STEPS; i++) {
		remap_and_store(&mortal, root, host_random(seed));
		if (n % 2 && i % 16 == 15)
			CHECK(replica_round(&replica, 0) == LOG_DONE);
	}
	machine_exit(&mortal);
	if (n % 2) {
		CHECK(replica_round(&replica, 0) == LOG_DONE);
		CHECK(replica_compare(&replica, &first) == 0);
		replica_destroy(&replica);
	}
	machine_destroy(&mortal);
}

static void run(void *arg)
{
	struct machine *c = arg;
	uint64_t seed = 5 + host_cpu(), root;

	switch (host_cpu()) {
	case 0:
		for (unsigned n = 0; n < lives; n++)
			live(n, &seed);
		store_release(&over, 1);
		break;
	case 1:
		root = c->vcpu.paging.cr3;
		while (!load_acquire(&over)) {
			uint64_t r = host_random(&seed);

			remap_and_store(c, root, r);
			if (r >> 50 == 0)
				CHECK(mmu_zap_all(&c->mmu) == MMU_RESUME);
			count_add(&stores, 1);
		}
		machine_exit(c);
		break;
	default:
		while (!load_acquire(&over))
			CHECK(replica_round(&others, 0) == LOG_DONE);
	}
}

static void expect_drained(const struct slab_cache *c)
{
	struct slab_stats s = slab_stats(c);

	assert_int_equal(s.free_objects, s.objects);
}

static void leak_nothing(enum slab_mode mode, unsigned n)
{
	uint64_t before;

	lives = n;
	host_native_init(3);
	slab_set_mode(mode);
	mmu_global_init();
	before = page_free_count() + slab_pages();
	store_relaxed(&over, 0);
	store_relaxed(&stores, 0);
	machine_init(&test_machine, TEST_PAGES, 256);
	assert_true(replica_init(&others, &test_machine.mmu));
	long_mode(&test_machine);
	host_run_cpus(3, run, &test_machine);
	assert_int_equal(mmu_audit(&test_machine.mmu), 0);
	printf("%u lives beside %lu stores of another guest\n", lives, load_relaxed(&stores));
	assert_true(load_relaxed(&stores) > lives);
	replica_destroy(&others);
	machine_destroy(&test_machine);
	expect_drained(&shadow_cache);
	expect_drained(&rmap_cache);
	expect_drained(&parent_cache);
	assert_int_equal(page_free_count() + slab_pages(), before);
	/* and what the slabs have can be given back: nothing of it is in use */
	slab_destroy(&shadow_cache);
	slab_destroy(&rmap_cache);
	slab_destroy(&parent_cache);
	assert_int_equal(page_free_count(), before);
}

static void lives_leak_nothing(void **state)
{
	(void)state;
	leak_nothing(SLAB_NORMAL, LIVES);
}

static void lives_leak_nothing_lifo(void **state)
{
	(void)state;
	leak_nothing(SLAB_LIFO, LIVES / 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lives_leak_nothing),
		cmocka_unit_test(lives_leak_nothing_lifo),
	};

	return cmocka_run_group_tests_name("threads: a thousand lives", tests, 0, 0);
}
