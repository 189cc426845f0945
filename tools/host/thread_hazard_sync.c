/* SPDX-License-Identifier: MIT */
/* A protection, and another vCPU's INVLPG that takes a mapping of the frame away or narrows it, on two threads: what the
 * protection does not see any more as writable is owed before it asks, or still counts as writable. */
#include <pthread.h>

#include "tools/host/hazard_test.h"

#define TELLER_CPU 2

/* COUNTED: the frame is a table, and not yet walked; CHANGED: the spte is, and not yet owed; ASKING: the builder is done
 * with its question, or waits for the lock to ask it. */
enum stage { STARTED = 1, COUNTED, CHANGED, ASKING };

static const char *change; /* where the teller stops */
static struct machine third;
static atomic64 *gpte;
static uint64_t becomes;

static void step_to(uint32_t next)
{
	if (load_acquire(&stage) < next)
		store_release(&stage, next);
}

/* The builder: before its walk it lets the teller change the spte; then it walks, and asks. */
static void builder_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (!strcmp(point, "chain-head") && load_acquire(&stage) == STARTED) {
		step_to(COUNTED);
		CHECK(comes_to(CHANGED, FOREVER));
	} else if ((!strcmp(point, "lock-wait") || !strcmp(point, "build-protected")) && load_acquire(&stage) == CHANGED) {
		step_to(ASKING);
	}
}

static void teller_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, change))
		return;
	step_to(CHANGED);
	CHECK(comes_to(ASKING, FOREVER));
}

/* The guest's entry is changed, as by a store through an open mapping, and told. */
static void *tell(void *arg)
{
	(void)arg;
	host_thread_cpu(TELLER_CPU);
	CHECK(comes_to(COUNTED, FOREVER));
	store_relaxed(gpte, becomes);
	host_set_park(teller_hook, 0);
	machine_invlpg(&third, TEST_VIRT);
	host_set_park(0, 0);
	return 0;
}

static void kick(unsigned cpu)
{
	if (load_relaxed(&test_second.vcpu.cpu) == cpu)
		machine_exit(&test_second);
}

/* TEST_FREE, which the second vCPU's TLB still writes, becomes a table while its last writable spte goes. */
static void becomes_a_table(struct machine *c)
{
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW);
	pthread_t teller;
	bool slipped;

	machine_join(&third, c);
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	gpte = raw(c, machine_pte(c, root, TEST_VIRT, 1));
	test_second.stay = true;
	assert_true(store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	assert_false(tlb_owing(&c->mmu));
	host_set_kick(kick);
	store_release(&stage, STARTED);
	assert_int_equal(pthread_create(&teller, 0, tell, 0), 0);
	host_set_park(builder_hook, 0);
	assert_int_equal(machine_load(c, TEST_OTHER), 0xa);
	host_set_park(0, 0);
	assert_int_equal(pthread_join(teller, 0), 0);
	assert_int_equal(load_acquire(&stage), ASKING);
	slipped = slips_on(1, &test_second, TEST_VIRT, FRAME_B | TEST_RW);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_OTHER), slipped ? 0xb : 0xa);
	machine_part(&third);
}

/* H46: a narrowing takes mmu.lock, under which the protection asks. */
static void a_protection_asks_once_the_narrowing_is_over(void **state)
{
	change = "leaf-narrowed";
	becomes = TEST_FREE | GPTE_P | GPTE_U | GPTE_A;
	becomes_a_table(*state);
}

/* H46: a drop does not. */
static void a_leaf_on_its_way_out_counts_as_writable(void **state)
{
	change = "drop-cleared";
	becomes = 0;
	becomes_a_table(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(a_protection_asks_once_the_narrowing_is_over),
		HAZARD_TEST(a_leaf_on_its_way_out_counts_as_writable),
	};

	return cmocka_run_group_tests_name("hazards of a protection beside an INVLPG", tests, 0, 0);
}
