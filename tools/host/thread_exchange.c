/* SPDX-License-Identifier: MIT */
/* mmu_cmpxchg is one atomic step: threads count in one word of guest RAM, at an aligned and at an odd address, and none of
 * their additions is lost. And mmu_read and mmu_write of 2, 4 or 8 bytes are one access: no value is read that was not written. */
#include "tools/host/mmu_test.h"

#define THREADS 2
#define ADDITIONS 50000u
#define ACCESSES 200000u

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

static unsigned width;
static atomic32 torn;

/* CPU 0 writes all bits and none, the other looks. */
static void write_and_look(void *unused)
{
	uint64_t all = width == 8 ? ~0UL : (1UL << width * 8) - 1;

	(void)unused;
	for (unsigned i = 0; i < ACCESSES; i++) {
		uint64_t value = i % 2 ? all : 0;

		if (host_cpu() == 0) {
			CHECK(mmu_write(&test_machine.mmu, gpa(counted_at), &value, width));
		} else {
			value = 0;
			CHECK(mmu_read(&test_machine.mmu, gpa(counted_at), &value, width));
			if (value && value != all)
				fetch_add_seq(&torn, 1);
		}
	}
}

static void an_access_of_a_few_bytes_is_one(void **state)
{
	(void)state;
	for (width = 2; width <= 8; width *= 2) {
		counted_at = TEST_FREE + 64 * 3 + width;
		host_run_cpus(2, write_and_look, 0);
		assert_int_equal(load_seq(&torn), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_addition_is_lost, setup, test_teardown),
		cmocka_unit_test_setup_teardown(an_access_of_a_few_bytes_is_one, setup, test_teardown),
	};

	return cmocka_run_group_tests_name("memory that threads share", tests, 0, 0);
}
