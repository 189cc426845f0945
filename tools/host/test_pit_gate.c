/* SPDX-License-Identifier: MIT */
/* guest/pit.c: what the gate of a channel starts, stops and triggers. Port 0x61 moves channel 2's. */
#include "tools/host/pit_test.h"

static void modes_1_and_5_wait_for_the_gate(void **state)
{
	struct machine m;

	(void)state;
	for (unsigned mode = 1; mode <= 5; mode += 4) {
		set_up(&m);
		out(&m, PIT_PORT + 3, (uint8_t)MODE(2, mode), 10);
		set_count(&m, 2, 50, 10);
		assert_true(speaker_out(&m, 500));
		out(&m, PIT_SPEAKER_PORT, 1, 1000);
		assert_true(speaker_out(&m, 1000));
		assert_int_equal(speaker_out(&m, 1001), mode == 5);
		assert_int_equal(speaker_out(&m, 1050), mode == 5);
		assert_int_equal(speaker_out(&m, 1051), mode == 1);
		assert_true(speaker_out(&m, 1052));
		/* The gate's fall changes nothing; its next rise starts again, with a new count if there is one. */
		set_count(&m, 2, 20, 1060);
		out(&m, PIT_SPEAKER_PORT, 0, 1070);
		out(&m, PIT_SPEAKER_PORT, 1, 2000);
		assert_int_equal(speaker_out(&m, 2021), mode == 1);
		assert_true(speaker_out(&m, 2022));
	}
	/* Channel 0's gate never rises. */
	start(&m, 1, 100);
	assert_int_equal(pit_tick(&m.pit, at(50)), UINT64_MAX);
}

/* A rise before the count is there starts nothing, and the next one is the first. */
static void modes_1_and_5_need_a_count_first(void **state)
{
	struct machine m;

	(void)state;
	for (unsigned mode = 1; mode <= 5; mode += 4) {
		set_up(&m);
		out(&m, PIT_PORT + 3, (uint8_t)MODE(2, mode), 10);
		out(&m, PIT_SPEAKER_PORT, 1, 20);
		assert_true(speaker_out(&m, 21));
		set_count(&m, 2, 50, 30);
		assert_true(speaker_out(&m, 81) && speaker_out(&m, 82));
		out(&m, PIT_SPEAKER_PORT, 0, 100);
		out(&m, PIT_SPEAKER_PORT, 1, 1000);
		for (uint64_t t = 1001; t < 1200; t++)
			assert_int_equal(speaker_out(&m, t), mode == 1 ? t >= 1051 : t != 1051);
	}
}

static void the_gate_stops_mode_0(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, PIT_PORT + 3, MODE(2, 0), 10);
	set_count(&m, 2, 100, 10);
	assert_false(speaker_out(&m, 1000));
	out(&m, PIT_SPEAKER_PORT, 1, 1000);
	assert_int_equal(get_count(&m, 2, 1030), 70);
	out(&m, PIT_SPEAKER_PORT, 0, 1040);
	assert_int_equal(get_count(&m, 2, 3000), 60);
	out(&m, PIT_SPEAKER_PORT, 1, 4000);
	assert_false(speaker_out(&m, 4059));
	assert_true(speaker_out(&m, 4060));
}

static void the_gate_restarts_mode_2(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, PIT_SPEAKER_PORT, 1, 5);
	out(&m, PIT_PORT + 3, MODE(2, 2), 10);
	set_count(&m, 2, 100, 10);
	assert_false(speaker_out(&m, 110));
	out(&m, PIT_SPEAKER_PORT, 0, 120);
	assert_true(speaker_out(&m, 210));
	out(&m, PIT_SPEAKER_PORT, 1, 300);
	assert_int_equal(get_count(&m, 2, 301), 100);
	assert_false(speaker_out(&m, 400));
}

/* No period ends while the gate is low: a new count waits for the trigger. */
static void a_new_count_waits_for_the_gate(void **state)
{
	struct machine m;

	(void)state;
	for (unsigned mode = 2; mode <= 3; mode++) {
		set_up(&m);
		out(&m, PIT_SPEAKER_PORT, 1, 5);
		out(&m, PIT_PORT + 3, (uint8_t)MODE(2, mode), 10);
		set_count(&m, 2, 100, 10);
		set_count(&m, 2, 60, 30);
		out(&m, PIT_SPEAKER_PORT, 0, 41);
		assert_int_equal(get_count(&m, 2, 500), mode == 2 ? 70 : 40);
		assert_true(speaker_out(&m, 500));
		out(&m, PIT_PORT + 3, 0xe8, 501);
		assert_int_equal(in(&m, PIT_PORT + 2, 501) & 0x40, 0x40);
		out(&m, PIT_SPEAKER_PORT, 1, 600);
		assert_int_equal(get_count(&m, 2, 601), 60);
		for (uint64_t t = 601; t < 900; t++)
			assert_int_equal(speaker_out(&m, t), mode == 2 ? (t - 601) % 60 != 59 : (t - 601) % 60 < 30);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes_1_and_5_wait_for_the_gate),
		cmocka_unit_test(modes_1_and_5_need_a_count_first),
		cmocka_unit_test(the_gate_stops_mode_0),
		cmocka_unit_test(the_gate_restarts_mode_2),
		cmocka_unit_test(a_new_count_waits_for_the_gate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
