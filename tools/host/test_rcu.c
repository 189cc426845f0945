/* SPDX-License-Identifier: MIT */
/* mm/rcu.c, step by step: one thread acts as several CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mm/rcu.h"
#include "tools/host/native.h"

static int setup(void **state)
{
	(void)state;
	host_native_init(4);
	return 0;
}

static void lock_as(unsigned cpu, enum rcu_kind kind)
{
	host_thread_cpu(cpu);
	rcu_read_lock(kind);
	host_thread_cpu(0);
}

static void unlock_as(unsigned cpu, enum rcu_kind kind)
{
	host_thread_cpu(cpu);
	rcu_read_unlock(kind);
	host_thread_cpu(0);
}

static void nobody_inside_passes_at_once(void **state)
{
	(void)state;
	assert_true(rcu_passed(rcu_tag(), RCU_MASK_ALL));
	rcu_wait(RCU_MASK_ALL);
}

static void tags_grow(void **state)
{
	uint64_t a = rcu_tag(), b = rcu_tag();

	(void)state;
	assert_true(a >= 2 && b > a);
}

static void an_earlier_section_holds_a_tag_up(void **state)
{
	uint64_t tag;

	(void)state;
	for (unsigned cpu = 0; cpu < 4; cpu++) {
		lock_as(cpu, RCU_WALK);
		tag = rcu_tag();
		assert_false(rcu_passed(tag, RCU_MASK_ALL));
		unlock_as(cpu, RCU_WALK);
		assert_true(rcu_passed(tag, RCU_MASK_ALL));
	}
}

static void a_later_section_does_not(void **state)
{
	uint64_t tag = rcu_tag();

	(void)state;
	lock_as(2, RCU_PUBLISH);
	assert_true(rcu_passed(tag, RCU_MASK_ALL));
	unlock_as(2, RCU_PUBLISH);
}

/* One section that never pauses is not needed: back-to-back sections of one CPU let every tag pass. */
static void back_to_back_sections_do_not_starve(void **state)
{
	(void)state;
	lock_as(1, RCU_WALK);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t tag = rcu_tag();

		assert_false(rcu_passed(tag, RCU_MASK_ALL));
		unlock_as(1, RCU_WALK);
		lock_as(1, RCU_WALK);
		assert_true(rcu_passed(tag, RCU_MASK_ALL));
	}
	unlock_as(1, RCU_WALK);
}

static void kinds_are_waited_for_apart(void **state)
{
	uint64_t tag;

	(void)state;
	lock_as(1, RCU_WALK);
	tag = rcu_tag();
	assert_true(rcu_passed(tag, RCU_MASK_PUBLISH));
	assert_false(rcu_passed(tag, RCU_MASK_ALL));
	rcu_wait(RCU_MASK_PUBLISH);
	lock_as(3, RCU_PUBLISH);
	tag = rcu_tag();
	assert_false(rcu_passed(tag, RCU_MASK_PUBLISH));
	unlock_as(1, RCU_WALK);
	assert_false(rcu_passed(tag, RCU_MASK_ALL));
	unlock_as(3, RCU_PUBLISH);
	assert_true(rcu_passed(tag, RCU_MASK_ALL));
}

/* H38: the inner unlock must not end the outer section, nor the one kind the other. */
static void nested_unlock_keeps_the_outer_section(void **state)
{
	uint64_t tag;

	(void)state;
	lock_as(1, RCU_PUBLISH);
	lock_as(1, RCU_WALK);
	lock_as(1, RCU_PUBLISH);
	tag = rcu_tag();
	unlock_as(1, RCU_PUBLISH);
	assert_false(rcu_passed(tag, RCU_MASK_PUBLISH));
	unlock_as(1, RCU_WALK);
	assert_false(rcu_passed(tag, RCU_MASK_ALL));
	unlock_as(1, RCU_PUBLISH);
	assert_true(rcu_passed(tag, RCU_MASK_ALL));
}

/* A nested lock must not renew the word: what the outer section saw would be freed. */
static void nested_lock_does_not_renew_the_word(void **state)
{
	uint64_t tag;

	(void)state;
	lock_as(1, RCU_WALK);
	tag = rcu_tag();
	lock_as(1, RCU_WALK);
	assert_false(rcu_passed(tag, RCU_MASK_ALL));
	unlock_as(1, RCU_WALK);
	unlock_as(1, RCU_WALK);
}

static void retire_between(void *ctx, const char *point)
{
	if (!strcmp(point, "rcu-lock"))
		*(uint64_t *)ctx = rcu_tag();
}

/* A reader held up between loading the epoch and its exchange shows an old epoch: late, never early. */
static void a_stale_epoch_only_delays(void **state)
{
	uint64_t tag = 0;

	(void)state;
	host_set_park(retire_between, &tag);
	lock_as(1, RCU_WALK);
	host_set_park(0, 0);
	assert_true(tag > 0);
	assert_false(rcu_passed(tag, RCU_MASK_ALL));
	unlock_as(1, RCU_WALK);
	assert_true(rcu_passed(tag, RCU_MASK_ALL));
}

/* H16: a CPU in guest mode or halted is outside every section, and asks nothing of the one who waits. */
static void quiet_cpus_hold_nothing_up(void **state)
{
	(void)state;
	lock_as(3, RCU_PUBLISH);
	unlock_as(3, RCU_PUBLISH); /* enters its guest for good */
	for (unsigned i = 0; i < 1000; i++)
		rcu_wait(RCU_MASK_ALL);
}

static void in_section_is_this_cpus(void **state)
{
	(void)state;
	lock_as(1, RCU_WALK);
	assert_false(rcu_in_section());
	host_thread_cpu(1);
	assert_true(rcu_in_section());
	rcu_read_unlock(RCU_WALK);
	assert_false(rcu_in_section());
	rcu_read_lock(RCU_PUBLISH);
	assert_true(rcu_in_section());
	rcu_read_unlock(RCU_PUBLISH);
	host_thread_cpu(0);
}

static void wait_inside(void *arg)
{
	(void)arg;
	rcu_read_lock(RCU_WALK);
	rcu_wait(RCU_MASK_PUBLISH);
}

static void unlock_without_lock(void *arg)
{
	(void)arg;
	rcu_read_unlock(RCU_WALK);
}

static void misuse_is_caught(void **state)
{
	(void)state;
	assert_true(host_panics(wait_inside, 0, "rcu_in_section"));
	assert_true(host_panics(unlock_without_lock, 0, "nest"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nobody_inside_passes_at_once, setup),
		cmocka_unit_test_setup(tags_grow, setup),
		cmocka_unit_test_setup(an_earlier_section_holds_a_tag_up, setup),
		cmocka_unit_test_setup(a_later_section_does_not, setup),
		cmocka_unit_test_setup(back_to_back_sections_do_not_starve, setup),
		cmocka_unit_test_setup(kinds_are_waited_for_apart, setup),
		cmocka_unit_test_setup(nested_unlock_keeps_the_outer_section, setup),
		cmocka_unit_test_setup(nested_lock_does_not_renew_the_word, setup),
		cmocka_unit_test_setup(a_stale_epoch_only_delays, setup),
		cmocka_unit_test_setup(quiet_cpus_hold_nothing_up, setup),
		cmocka_unit_test_setup(in_section_is_this_cpus, setup),
		cmocka_unit_test_setup(misuse_is_caught, setup),
	};

	return cmocka_run_group_tests_name("rcu", tests, 0, 0);
}
