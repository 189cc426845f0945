/* SPDX-License-Identifier: MIT */
/* guest/lapic_timer.c under a clock that the test turns. The native TSC runs at 1 GHz, and the timer's clock at a quarter of it. */
#include "tools/host/lapic_test.h"

#define ORIGIN 1000000000UL
#define MODE_PERIODIC 0x20000u
#define MODE_DEADLINE 0x40000u
#define VECTOR 0x40
#define BY_1 0xbu
#define TICK 4UL /* of the clock in a tick of the timer, divided by 1 */
#define SHORTEST 50000UL

static uint64_t now;

uint64_t __wrap_host_clock(void);
uint64_t __wrap_host_clock(void)
{
	return now;
}

/* vCPU 1's, in this mode; divided by 1. */
static struct vcpu *timer(uint32_t mode)
{
	struct vcpu *v = vcpu(1);

	now = ORIGIN;
	software_enable(v);
	page_out(v, PAGE_LVT_TIMER, mode | VECTOR);
	page_out(v, PAGE_DIVIDE, BY_1);
	return v;
}

/* Lets it be so late; true when an interrupt was requested, which is delivered and ended. */
static bool fires_at(struct vcpu *v, uint64_t t)
{
	now = t;
	lapic_tick(v, now);
	if (take(v) != VECTOR)
		return false;
	assert_int_equal(take(v), -1);
	page_out(v, PAGE_EOI, 0);
	return true;
}

static void one_shot(void **state)
{
	struct vcpu *v = timer(0);

	(void)state;
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
	page_out(v, PAGE_INITIAL, 1000);
	assert_true(lapic_tick(v, now) == ORIGIN + 1000 * TICK);
	assert_int_equal(page_in(v, PAGE_CURRENT), 1000);
	now = ORIGIN + 250 * TICK + 3;
	assert_int_equal(page_in(v, PAGE_CURRENT), 750);
	assert_false(fires_at(v, ORIGIN + 1000 * TICK - 1));
	assert_int_equal(page_in(v, PAGE_CURRENT), 1);
	assert_true(fires_at(v, ORIGIN + 1000 * TICK));
	assert_int_equal(page_in(v, PAGE_CURRENT), 0);
	assert_int_equal(page_in(v, PAGE_INITIAL), 1000); /* what was written */
	assert_true(lapic_tick(v, now + 100000) == LAPIC_NEVER);
	assert_false(fires_at(v, ORIGIN + 5000 * TICK));
	/* Stopped by a count of 0. */
	page_out(v, PAGE_INITIAL, 1000);
	page_out(v, PAGE_INITIAL, 0);
	assert_int_equal(page_in(v, PAGE_CURRENT), 0);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
}

static void the_longest(void **state)
{
	struct vcpu *v = timer(0);

	(void)state;
	page_out(v, PAGE_DIVIDE, 0xa); /* by 128 */
	page_out(v, PAGE_INITIAL, 0xffffffff);
	assert_true(lapic_tick(v, now) == ORIGIN + 0xffffffffUL * 128 * TICK);
	now += 128 * TICK;
	assert_true(page_in(v, PAGE_CURRENT) == 0xfffffffe);
}

static void divided(void **state)
{
	static const struct { uint32_t code; unsigned by; } table[] = {
		{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {0xa, 128}, {0xb, 1}};
	struct vcpu *v = timer(0);

	(void)state;
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		page_out(v, PAGE_DIVIDE, table[i].code);
		page_out(v, PAGE_INITIAL, 100);
		assert_true(lapic_tick(v, now) == now + 100UL * table[i].by * TICK);
	}
}

static void divided_otherwise_while_it_counts(void **state)
{
	struct vcpu *v = timer(0);

	(void)state;
	page_out(v, PAGE_INITIAL, 1000);
	now += 400 * TICK;
	page_out(v, PAGE_DIVIDE, 0); /* by 2 */
	assert_int_equal(page_in(v, PAGE_CURRENT), 600);
	assert_true(lapic_tick(v, now) == now + 600 * 2 * TICK);
	now += 200 * 2 * TICK;
	page_out(v, PAGE_DIVIDE, BY_1);
	assert_int_equal(page_in(v, PAGE_CURRENT), 400);
	assert_true(fires_at(v, now + 400 * TICK));
	/* A period that was over when the divisor changed has had its interrupt. */
	v = timer(MODE_PERIODIC);
	page_out(v, PAGE_INITIAL, 100000);
	now += 150000 * TICK;
	page_out(v, PAGE_DIVIDE, 0);
	assert_int_equal(take(v), VECTOR);
	page_out(v, PAGE_EOI, 0);
	assert_int_equal(page_in(v, PAGE_CURRENT), 50000);
	assert_true(lapic_tick(v, now) == now + 50000 * 2 * TICK);
}

static void periodic(void **state)
{
	struct vcpu *v = timer(MODE_PERIODIC);
	const uint64_t period = 100000 * TICK;

	(void)state;
	page_out(v, PAGE_INITIAL, 100000);
	for (uint64_t i = 1; i < 50; i++) {
		assert_false(fires_at(v, ORIGIN + i * period - 1));
		assert_int_equal(page_in(v, PAGE_CURRENT), 1);
		assert_true(fires_at(v, ORIGIN + i * period + i * 17)); /* a late call shifts nothing */
		assert_true(lapic_tick(v, now) == ORIGIN + (i + 1) * period);
	}
	assert_int_equal(v->lapic.fired, 49);
	page_out(v, PAGE_INITIAL, 0);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
}

static void late_ticks_are_one(void **state)
{
	struct vcpu *v = timer(MODE_PERIODIC);
	const uint64_t period = 100000 * TICK;

	(void)state;
	page_out(v, PAGE_INITIAL, 100000);
	assert_true(fires_at(v, ORIGIN + 7 * period + 123));
	assert_false(fires_at(v, now));
	assert_true(lapic_tick(v, now) == ORIGIN + 8 * period);
	assert_int_equal(page_in(v, PAGE_CURRENT), 100000 - 123 / TICK);
	/* One that is not delivered yet takes the next in. */
	lapic_tick(v, now = ORIGIN + 9 * period);
	lapic_tick(v, now = ORIGIN + 10 * period);
	assert_true(fires_at(v, now));
	assert_false(fires_at(v, now));
}

static void a_short_period_is_no_storm(void **state)
{
	struct vcpu *v = timer(MODE_PERIODIC);

	(void)state;
	for (uint32_t count = 1; count < 20000; count += 997) {
		uint64_t next;

		page_out(v, PAGE_INITIAL, count);
		now += count * TICK;
		next = lapic_tick(v, now);
		assert_true(next >= now + SHORTEST && next <= now + SHORTEST + count * TICK);
		assert_true(page_in(v, PAGE_CURRENT) <= count);
	}
}

static void masked_it_counts_all_the_same(void **state)
{
	struct vcpu *v = timer(MODE_PERIODIC | TEST_MASKED);

	(void)state;
	page_out(v, PAGE_INITIAL, 100000);
	assert_false(fires_at(v, ORIGIN + 100000 * TICK));
	assert_int_equal(v->lapic.fired, 1);
	now += 50000 * TICK;
	assert_int_equal(page_in(v, PAGE_CURRENT), 50000);
	page_out(v, PAGE_LVT_TIMER, MODE_PERIODIC | VECTOR);
	assert_false(fires_at(v, now)); /* what was masked is gone */
	assert_true(fires_at(v, ORIGIN + 200000 * TICK));
	/* What was due before the mask came is not. */
	now = ORIGIN + 300000 * TICK;
	page_out(v, PAGE_LVT_TIMER, MODE_PERIODIC | VECTOR | TEST_MASKED);
	assert_int_equal(take(v), VECTOR);
	page_out(v, PAGE_EOI, 0);
	page_out(v, PAGE_LVT_TIMER, TEST_MASKED | VECTOR);
	page_out(v, PAGE_INITIAL, 10);
	assert_false(fires_at(v, now + 10 * TICK));
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
}

static void an_illegal_vector_is_an_error(void **state)
{
	struct vcpu *v = timer(0);

	(void)state;
	page_out(v, PAGE_LVT_TIMER, 9);
	page_out(v, PAGE_INITIAL, 10);
	assert_false(fires_at(v, now + 10 * TICK));
	page_out(v, PAGE_ESR, 0);
	assert_int_equal(page_in(v, PAGE_ESR), 1 << 6);
}

/* The count goes on from one to the other, and one that has come to 0 stays there. */
static void from_one_shot_to_periodic_and_back(void **state)
{
	struct vcpu *v = timer(0);

	(void)state;
	page_out(v, PAGE_INITIAL, 100000);
	now += 70000 * TICK;
	page_out(v, PAGE_LVT_TIMER, MODE_PERIODIC | VECTOR);
	assert_int_equal(page_in(v, PAGE_CURRENT), 30000);
	assert_true(fires_at(v, ORIGIN + 100000 * TICK));
	assert_int_equal(page_in(v, PAGE_CURRENT), 100000);
	page_out(v, PAGE_LVT_TIMER, VECTOR);
	assert_true(fires_at(v, ORIGIN + 200000 * TICK));
	page_out(v, PAGE_LVT_TIMER, MODE_PERIODIC | VECTOR);
	assert_int_equal(page_in(v, PAGE_CURRENT), 0);
	assert_int_equal(page_in(v, PAGE_INITIAL), 100000);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
	/* It had come to 0, and nobody had looked. */
	page_out(v, PAGE_LVT_TIMER, VECTOR);
	page_out(v, PAGE_INITIAL, 100000);
	now += 130000 * TICK;
	page_out(v, PAGE_LVT_TIMER, MODE_PERIODIC | VECTOR);
	assert_int_equal(page_in(v, PAGE_CURRENT), 0);
	assert_true(fires_at(v, now));
	assert_false(fires_at(v, now + 1000000 * TICK));
}

static void deadline(void **state)
{
	struct vcpu *v = timer(MODE_DEADLINE);
	uint64_t value;

	(void)state;
	v->tsc_offset = -(ORIGIN - 100); /* the guest's is 100 */
	assert_true(msr_read(v, MSR_TSC_DEADLINE, &value) && value == 0);
	assert_int_equal(msr_write(v, MSR_TSC_DEADLINE, 5100, 0), CR_DONE);
	assert_true(msr_read(v, MSR_TSC_DEADLINE, &value) && value == 5100);
	assert_true(lapic_tick(v, now) == ORIGIN + 5000);
	assert_false(fires_at(v, ORIGIN + 4999));
	assert_true(fires_at(v, ORIGIN + 5000));
	assert_true(msr_read(v, MSR_TSC_DEADLINE, &value) && value == 0);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
	/* One that has passed fires at once; 0 disarms. */
	lapic_set_deadline(v, 1);
	assert_int_equal(take(v), VECTOR);
	page_out(v, PAGE_EOI, 0);
	lapic_set_deadline(v, 100000);
	lapic_set_deadline(v, 0);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
	assert_false(fires_at(v, now + 1000000));
	/* The counter has no part in it. */
	page_out(v, PAGE_INITIAL, 1000);
	assert_int_equal(page_in(v, PAGE_INITIAL), 0);
	assert_int_equal(page_in(v, PAGE_CURRENT), 0);
	/* Masked, it is disarmed all the same. */
	page_out(v, PAGE_LVT_TIMER, MODE_DEADLINE | TEST_MASKED | VECTOR);
	lapic_set_deadline(v, 3);
	assert_int_equal(take(v), -1);
	assert_true(msr_read(v, MSR_TSC_DEADLINE, &value) && value == 0);
}

static void a_deadline_far_away(void **state)
{
	struct vcpu *v = timer(MODE_DEADLINE);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		v->tsc_offset = i == 0 ? 0 : i == 1 ? -(ORIGIN / 2) : ORIGIN;
		lapic_set_deadline(v, UINT64_MAX - 5);
		assert_int_equal(take(v), -1);
		assert_true(lapic_tick(v, now) > UINT64_MAX / 2);
		assert_true(lapic_deadline(v) == UINT64_MAX - 5);
	}
}

static void a_tsc_that_is_set_moves_the_deadline(void **state)
{
	struct vcpu *v = timer(MODE_DEADLINE);

	(void)state;
	lapic_set_deadline(v, ORIGIN + 10000);
	assert_int_equal(msr_write(v, MSR_TSC, 7000, 0), CR_DONE);
	assert_true(lapic_tick(v, now) == now + ORIGIN + 3000);
	assert_int_equal(msr_write(v, MSR_TSC, 2 * ORIGIN, 0), CR_DONE);
	assert_true(fires_at(v, now));
	/* A counter does not ask for the TSC. */
	v = timer(0);
	page_out(v, PAGE_INITIAL, 1000);
	assert_int_equal(msr_write(v, MSR_TSC, 7000, 0), CR_DONE);
	assert_true(lapic_tick(v, now) == now + 1000 * TICK);
}

/* Nobody had looked when it passed: its interrupt comes all the same, whatever is written then. */
static void a_deadline_that_has_passed_is_not_taken_back(void **state)
{
	struct vcpu *v = timer(MODE_DEADLINE);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		lapic_set_deadline(v, now + v->tsc_offset + 1000);
		now += 2000;
		if (i < 2)
			lapic_set_deadline(v, i ? 0 : now + 5000);
		else
			assert_int_equal(msr_write(v, MSR_TSC, 0, 0), CR_DONE);
		assert_int_equal(take(v), VECTOR);
		page_out(v, PAGE_EOI, 0);
		assert_int_equal(fires_at(v, now + 5000), i == 0);
		assert_false(fires_at(v, now + 100000));
	}
	/* The time before it is not the past. */
	lapic_set_deadline(v, now + v->tsc_offset + 1000);
	now += 999;
	lapic_set_deadline(v, now + v->tsc_offset + 1000);
	assert_int_equal(take(v), -1);
}

static void modes_that_disarm(void **state)
{
	struct vcpu *v = timer(0);

	(void)state;
	lapic_set_deadline(v, UINT64_MAX); /* not in this mode */
	assert_true(lapic_deadline(v) == 0 && lapic_tick(v, now) == LAPIC_NEVER);
	page_out(v, PAGE_INITIAL, 1000);
	page_out(v, PAGE_LVT_TIMER, MODE_DEADLINE | VECTOR);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
	lapic_set_deadline(v, now + 1000);
	page_out(v, PAGE_LVT_TIMER, MODE_PERIODIC | VECTOR);
	assert_true(lapic_tick(v, now) == LAPIC_NEVER);
	assert_int_equal(page_in(v, PAGE_INITIAL), 0);
	page_out(v, PAGE_LVT_TIMER, MODE_DEADLINE | MODE_PERIODIC | VECTOR); /* reserved */
	page_out(v, PAGE_INITIAL, 1000);
	lapic_set_deadline(v, now + 1000);
	assert_true(lapic_tick(v, now + 10000) == LAPIC_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lapic_unit_test(one_shot),
		lapic_unit_test(the_longest),
		lapic_unit_test(divided),
		lapic_unit_test(divided_otherwise_while_it_counts),
		lapic_unit_test(periodic),
		lapic_unit_test(late_ticks_are_one),
		lapic_unit_test(a_short_period_is_no_storm),
		lapic_unit_test(masked_it_counts_all_the_same),
		lapic_unit_test(an_illegal_vector_is_an_error),
		lapic_unit_test(from_one_shot_to_periodic_and_back),
		lapic_unit_test(deadline),
		lapic_unit_test(a_deadline_far_away),
		lapic_unit_test(a_tsc_that_is_set_moves_the_deadline),
		lapic_unit_test(a_deadline_that_has_passed_is_not_taken_back),
		lapic_unit_test(modes_that_disarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
