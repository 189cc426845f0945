/* SPDX-License-Identifier: MIT */
/* One frame under 100,000 mappings: every one is protected by a harvest and found again at its removal, without
 * a search. */
#include "tools/host/mmu_test.h"

#define MAPPINGS 100000UL
#define PAGES 2048UL
#define BUDGET 600UL

static struct machine crowd;

static uint64_t address(uint64_t i)
{
	return TEST_VIRT + i * PAGE_SIZE;
}

static int setup(void **state)
{
	host_native_init(1);
	slab_set_mode(SLAB_NORMAL);
	mmu_global_init();
	machine_init(&crowd, PAGES, BUDGET);
	*state = &crowd;
	return 0;
}

static void one_frame_under_100000_mappings(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), faults, longest;
	struct chain *chain = slot_chain(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)), 1);
	struct log_round r;
	gfn_t table = gfn(0);

	for (uint64_t i = 0; i < MAPPINGS; i++) {
		machine_map(c, root, address(i), TEST_FREE | TEST_RW, 1);
		machine_store(c, address(i), i);
	}
	machine_cr3(c, root);
	assert_true(load_relaxed(&chain->length) >= MAPPINGS);
	assert_int_equal(log_start(&c->mmu), LOG_DONE);
	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	assert_int_equal(r.gaveup, 0);
	assert_true(r.protected >= MAPPINGS);
	/* one write opens one mapping; the next harvest closes that one and walks over the rest */
	faults = c->faults;
	machine_store(c, address(MAPPINGS / 2), 1);
	assert_int_equal(c->faults, faults + 1);
	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	assert_int_equal(r.pages, 1);
	assert_int_equal(r.protected, 1);
	/* the frame becomes a page table, and data again */
	machine_store(c, machine_pte(c, root, TEST_VIRT + (1UL << 39), 2), TEST_FREE | TEST_RW);
	machine_access(c, TEST_VIRT + (1UL << 39), 0, &table.v);
	assert_int_equal(load_relaxed(slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)), 1)), 1);
	machine_store(c, machine_pte(c, root, TEST_VIRT + (1UL << 39), 2), 0);
	machine_invlpg(c, TEST_VIRT + (1UL << 39));
	/* every removal is found at its place */
	for (uint64_t i = 0; i < MAPPINGS; i++) {
		machine_map(c, root, address(i), 0, 1);
		machine_invlpg(c, address(i));
	}
	machine_cr3(c, root);
	assert_true(load_relaxed(&chain->length) <= 1); /* the identity's */
	/* for the reader: wall time on a busy machine is no bound to test (a step under the lock is 64 items at most) */
	longest = load_relaxed(&c->mmu.lock.longest) * 1000 / (host_clock_hz() / 1000);
	print_message("longest hold of the guest's lock: %lu us\n", longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"one_frame_under_100000_mappings", one_frame_under_100000_mappings, setup, test_teardown, 0},
	};

	return cmocka_run_group_tests_name("bounds", tests, 0, 0);
}
