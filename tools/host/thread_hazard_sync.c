/* SPDX-License-Identifier: MIT */
/* A protection and a drop on two threads, each stopped by the other: what the protection does not see any more is owed
 * before it asks. */
#include <pthread.h>
#include <sched.h>

#include "tools/host/hazard_test.h"

#define BUILDER_CPU 0
#define DROPPER_CPU 2
#define PATIENCE 20000000000UL /* ns after which a thread is taken for stuck */

enum stage { STARTED = 1, COUNTED, CLEARED, ASKING };

static atomic32 stage;
static uint64_t pte;

static void comes_to(uint32_t wanted)
{
	uint64_t start = host_clock();

	while (load_acquire(&stage) < wanted) {
		CHECK(host_clock() - start < PATIENCE);
		sched_yield();
	}
}

static void step_to(uint32_t next)
{
	if (load_acquire(&stage) < next)
		store_release(&stage, next);
}

/* The builder: before its walk it lets the dropper take the lock and clear the spte; then it walks, and asks. */
static void builder_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (!strcmp(point, "chain-head") && load_acquire(&stage) == STARTED) {
		step_to(COUNTED);
		comes_to(CLEARED);
	} else if (!strcmp(point, "lock-wait") && load_acquire(&stage) == CLEARED) {
		step_to(ASKING);
	}
}

/* The dropper: holds the lock, has cleared the spte, and goes on when the builder wants the lock, be it for its
 * question or behind it. */
static void dropper_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "drop-cleared"))
		return;
	step_to(CLEARED);
	comes_to(ASKING);
}

static void *drop(void *arg)
{
	struct machine *c = arg;
	uint64_t none = 0;

	host_thread_cpu(DROPPER_CPU);
	comes_to(COUNTED);
	host_set_park(dropper_hook, 0);
	CHECK(mmu_write(&c->mmu, gpa(pte), &none, sizeof none));
	return 0;
}

static void kick(unsigned cpu)
{
	if (load_relaxed(&test_second.vcpu.cpu) == cpu)
		machine_exit(&test_second);
}

/* H46: TEST_FREE, which the second vCPU's TLB still writes, becomes a table while its last spte is on its way out. */
static void a_protection_asks_once_the_drop_is_over(void **state)
{
	struct machine *c = *state;
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW);
	pthread_t dropper;
	bool slipped;

	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	pte = machine_pte(c, root, TEST_VIRT, 1);
	test_second.stay = true;
	assert_true(store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	assert_false(tlb_owing(&c->mmu));
	host_set_kick(kick);
	store_release(&stage, STARTED);
	assert_int_equal(pthread_create(&dropper, 0, drop, c), 0);
	host_set_park(builder_hook, 0);
	assert_int_equal(machine_load(c, TEST_OTHER), 0xa);
	host_set_park(0, 0);
	assert_int_equal(pthread_join(dropper, 0), 0);
	assert_int_equal(load_acquire(&stage), ASKING);
	slipped = slips_on(1, &test_second, TEST_VIRT, FRAME_B | TEST_RW);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_OTHER), slipped ? 0xb : 0xa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {HAZARD_TEST(a_protection_asks_once_the_drop_is_over)};

	return cmocka_run_group_tests_name("hazards of a protection beside a drop", tests, 0, 0);
}
