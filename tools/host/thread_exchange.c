/* SPDX-License-Identifier: MIT */
/* mmu_cmpxchg is one atomic step: threads count in one word of guest RAM, at an aligned and at an odd address, and none of
 * their additions is lost. */
#include "tools/host/mmu_test.h"

#define THREADS 2
#define ADDITIONS 50000u

static uint64_t counted_at;

static void count(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < ADDITIONS; i++) {
		uint32_t seen = 0, next = 1;

		while (mmu_cmpxchg(&test_machine.mmu, gpa(counted_at), &seen, &next, sizeof next) != MMU_EXCHANGED)
			next = seen + 1;
	}
}

static int setup(void **state)
{
	host_native_init(THREADS);
	mmu_global_init();
	machine_init(&test_machine, TEST_PAGES, 256);
	*state = &test_machine;
	return 0;
}

static void no_addition_is_lost(void **state)
{
	struct machine *c = *state;
	uint32_t sum;

	for (unsigned odd = 0; odd < 2; odd++) {
		counted_at = TEST_FREE + 64 * 3 - 2 * odd; /* the second over a cache line's end */
		host_run_cpus(THREADS, count, 0);
		assert_true(mmu_read(&c->mmu, gpa(counted_at), &sum, sizeof sum));
		assert_int_equal(sum, THREADS * ADDITIONS);
		sum = 0;
		assert_true(mmu_write(&c->mmu, gpa(counted_at), &sum, sizeof sum));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(no_addition_is_lost, setup, test_teardown)};

	return cmocka_run_group_tests_name("compare and exchange by threads", tests, 0, 0);
}
