/* SPDX-License-Identifier: MIT */
/* guest/pit.c: the 8254 under a clock that the test turns. test_pit_gate.c has what its gates do, test_pit_model.c
 * compares the outputs with a counter that counts. */
#include "tools/host/pit_test.h"

#define BCD 1

static void firmware_leaves_channel_0_running(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	ticked(&m);
	assert_int_equal(get_count(&m, 0, 100), 65536 - 200);
	assert_int_equal(pit_tick(&m.pit, at(100)), at(65536));
	assert_false(ticked(&m));
	pit_tick(&m.pit, at(65536));
	assert_true(ticked(&m));
}

static void mode_0_interrupts_once(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 0, 100);
	assert_int_equal(pit_tick(&m.pit, at(20)), at(111));
	pit_tick(&m.pit, at(111) - 1);
	assert_false(ticked(&m));
	assert_int_equal(pit_tick(&m.pit, at(111)), UINT64_MAX);
	assert_true(ticked(&m));
	pit_tick(&m.pit, at(200000));
	assert_false(ticked(&m));
	assert_int_equal(m.pit.edges, 1);
}

static void mode_0_starts_again_with_a_new_count(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 0, 100);
	out(&m, PIT_PORT, 150, 60);
	assert_int_equal(pit_tick(&m.pit, at(60)), UINT64_MAX);
	out(&m, PIT_PORT, 0, 70);
	assert_int_equal(pit_tick(&m.pit, at(70)), at(221));
}

static void mode_2_is_periodic(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 2, 1000);
	for (uint64_t i = 1; i < 50; i++) {
		assert_int_equal(pit_tick(&m.pit, at(11 + i * 1000 - 1)), at(11 + i * 1000 - 1) + 50000);
		assert_false(ticked(&m));
		assert_int_equal(pit_tick(&m.pit, at(11 + i * 1000)), at(11 + (i + 1) * 1000));
		assert_true(ticked(&m));
	}
	assert_int_equal(m.pit.edges, 49);
	assert_int_equal(m.pit.coalesced, 0);
}

static void mode_2_counts_down_to_1(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 2, 1000);
	assert_int_equal(get_count(&m, 0, 11), 1000);
	assert_int_equal(get_count(&m, 0, 12), 999);
	assert_int_equal(get_count(&m, 0, 1010), 1);
	assert_int_equal(get_count(&m, 0, 1011), 1000);
}

static void mode_3_is_a_square_wave(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, PIT_SPEAKER_PORT, 1, 5);
	out(&m, PIT_PORT + 3, MODE(2, 3), 10);
	set_count(&m, 2, 7, 10);
	for (uint64_t i = 0; i < 70; i++)
		assert_int_equal(speaker_out(&m, 11 + i), i % 7 < 4);
	set_count(&m, 2, 1000, 80);
	assert_int_equal(get_count(&m, 2, 81 + 101), 1000 - 2 * 101);
}

/* The product of the time, not the sum of rounded steps: no drift in a million irregular steps. */
static void no_tick_is_lost_in_the_long_run(void **state)
{
	struct machine m;
	uint64_t now = at(11), seed = 3, end;

	(void)state;
	start(&m, 2, 11932);
	for (unsigned i = 0; i < 1000000; i++) {
		now += host_random(&seed) % 7919;
		pit_tick(&m.pit, now);
	}
	end = ((now - ORIGIN) * PIT_HZ / HZ - 11) / 11932;
	assert_true(end > 300);
	assert_int_equal(m.pit.edges, end);
}

static void a_late_call_leaves_one_interrupt(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 2, 1000);
	pit_tick(&m.pit, at(11 + 7500));
	assert_true(ticked(&m));
	assert_false(ticked(&m));
	assert_int_equal(m.pit.edges, 7);
	assert_int_equal(m.pit.coalesced, 6);
}

static void a_fast_timer_cannot_ask_for_a_storm(void **state)
{
	struct machine m;

	(void)state;
	for (unsigned count = 1; count < 4; count++) {
		start(&m, 2, count);
		assert_int_equal(pit_tick(&m.pit, at(5000)), at(5000) + 50000);
	}
}

static void a_new_count_takes_over_at_the_end_of_the_period(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 2, 1000);
	set_count(&m, 0, 300, 500);
	assert_int_equal(get_count(&m, 0, 600), 1000 - 589);
	pit_tick(&m.pit, at(1011));
	assert_true(ticked(&m));
	assert_int_equal(get_count(&m, 0, 1012), 299);
	assert_int_equal(pit_tick(&m.pit, at(1100)), at(1311));
	/* The same, and nobody looked in between: one old edge, three new ones. */
	start(&m, 2, 1000);
	set_count(&m, 0, 300, 500);
	pit_tick(&m.pit, at(1011 + 1000));
	assert_int_equal(m.pit.edges, 4);
}

/* Mode 3: at the end of the half, so that the other half is the new count's already. */
static void a_new_count_takes_over_at_the_end_of_the_half(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, PIT_SPEAKER_PORT, 1, 5);
	out(&m, PIT_PORT + 3, MODE(2, 3), 10);
	set_count(&m, 2, 1001, 10);
	set_count(&m, 2, 301, 200); /* while it is high, for 501 ticks */
	assert_int_equal(get_count(&m, 2, 201), 1000 - 2 * 190);
	for (uint64_t t = 202; t < 11 + 501; t++)
		assert_true(speaker_out(&m, t));
	assert_int_equal(get_count(&m, 2, 11 + 501 + 20), 300 - 2 * 20);
	for (uint64_t t = 11 + 501 + 20; t < 4000; t++)
		assert_int_equal(speaker_out(&m, t), (t - 11 - 501) % 301 >= 150);
	/* While it is low: from 4124 to 4274. */
	assert_true(!speaker_out(&m, 4124) && speaker_out(&m, 4123));
	set_count(&m, 2, 1000, 4150);
	for (uint64_t t = 4151; t < 9000; t++)
		assert_int_equal(speaker_out(&m, t), t >= 4274 && (t - 4274) % 1000 < 500);
}

static void the_half_that_is_left_interrupts_in_time(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 3, 1000);
	set_count(&m, 0, 400, 200);
	out(&m, PIT_PORT + 3, 0xe2, 510);
	assert_int_equal(in(&m, PIT_PORT, 510) & 0x40, 0x40);
	assert_int_equal(pit_tick(&m.pit, at(400)), at(511 + 200));
	assert_int_equal(pit_tick(&m.pit, at(600)), at(511 + 200));
	assert_false(ticked(&m));
	assert_int_equal(pit_tick(&m.pit, at(711)), at(711 + 400));
	assert_true(ticked(&m));
	/* To a longer one: the edge of the old one is not to come. */
	set_count(&m, 0, 3000, 750);
	assert_int_equal(pit_tick(&m.pit, at(760)), at(911 + 1500));
	pit_tick(&m.pit, at(911 + 1499));
	assert_false(ticked(&m));
	pit_tick(&m.pit, at(911 + 1500));
	assert_true(ticked(&m));
	/* Nobody looked in between: three edges of the new count, none of the old one. */
	start(&m, 3, 1000);
	set_count(&m, 0, 200, 200);
	pit_tick(&m.pit, at(1011));
	assert_int_equal(m.pit.edges, 3);
	/* Written while it is low: at the end of the period, which is an edge. */
	start(&m, 3, 1000);
	set_count(&m, 0, 400, 600);
	assert_int_equal(pit_tick(&m.pit, at(600)), at(1011));
	assert_int_equal(pit_tick(&m.pit, at(1011)), at(1411));
	assert_int_equal(m.pit.edges, 1);
}

static void mode_4_strobes_once(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 4, 100);
	assert_int_equal(pit_tick(&m.pit, at(20)), at(112));
	pit_tick(&m.pit, at(111));
	assert_false(ticked(&m));
	pit_tick(&m.pit, at(112));
	assert_true(ticked(&m));
	assert_int_equal(pit_tick(&m.pit, at(200000)), UINT64_MAX);
	assert_int_equal(m.pit.edges, 1);
}

/* How a kernel measures its TSC: channel 2 in mode 0, waiting for port 0x61 bit 5. */
static void a_tsc_calibration_measures_the_time(void **state)
{
	struct machine m;
	uint64_t tick = 20;

	(void)state;
	set_up(&m);
	out(&m, PIT_SPEAKER_PORT, 1, 10);
	out(&m, PIT_PORT + 3, MODE(2, 0), 20);
	set_count(&m, 2, 59659, 20);
	while (!speaker_out(&m, tick))
		tick++;
	assert_int_equal(tick, 20 + 1 + 59659);
}

static void bcd_counts(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, PIT_PORT + 3, MODE(0, 2) | BCD, 10);
	set_count(&m, 0, 0x1000, 10);
	ticked(&m);
	assert_int_equal(get_count(&m, 0, 12), 0x0999);
	assert_int_equal(pit_tick(&m.pit, at(12)), at(1011));
	out(&m, PIT_PORT + 3, MODE(0, 2) | BCD, 2000);
	set_count(&m, 0, 0, 2000);
	assert_int_equal(get_count(&m, 0, 2001), 0);
	assert_int_equal(get_count(&m, 0, 2002), 0x9999);
}

static void single_byte_access(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, PIT_PORT + 3, 0x14, 10);
	out(&m, PIT_PORT, 200, 10);
	assert_int_equal(in(&m, PIT_PORT, 21), 190);
	assert_int_equal(in(&m, PIT_PORT, 21), 190);
	out(&m, PIT_PORT + 3, 0x24, 30);
	out(&m, PIT_PORT, 2, 30);
	assert_int_equal(in(&m, PIT_PORT, 31), 2);
	assert_int_equal(in(&m, PIT_PORT, 32), 1);
}

static void a_latched_count_stands_still(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 2, 0x1234);
	out(&m, PIT_PORT + 3, 0, 11);
	out(&m, PIT_PORT + 3, 0, 500);
	assert_int_equal(in(&m, PIT_PORT, 600), 0x34);
	assert_int_equal(in(&m, PIT_PORT, 700), 0x12);
	assert_int_equal(in(&m, PIT_PORT, 12), 0x33);
}

static void read_back_gives_status_then_count(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 2, 0x1234);
	out(&m, PIT_PORT + 3, 0xc2, 11);
	assert_int_equal(in(&m, PIT_PORT, 50), 0xb4);
	assert_int_equal(in(&m, PIT_PORT, 50), 0x34);
	assert_int_equal(in(&m, PIT_PORT, 50), 0x12);
	/* Status alone; a control word without a count says so. */
	out(&m, PIT_PORT + 3, MODE(0, 0), 60);
	out(&m, PIT_PORT + 3, 0xe2, 60);
	assert_int_equal(in(&m, PIT_PORT, 60), 0x70);
	/* Several channels at once. */
	out(&m, PIT_PORT + 3, MODE(1, 2), 70);
	out(&m, PIT_PORT + 3, MODE(2, 3), 70);
	out(&m, PIT_PORT + 3, 0xec, 70);
	assert_int_equal(in(&m, PIT_PORT + 1, 70), 0xf4);
	assert_int_equal(in(&m, PIT_PORT + 2, 70), 0xf6);
}

/* A count that was written is not in the counter before the next clock, the end of the period, or the trigger. */
static void null_count(void **state)
{
	struct machine m;

	(void)state;
	start(&m, 0, 100);
	out(&m, PIT_PORT + 3, 0xe2, 10);
	assert_int_equal(in(&m, PIT_PORT, 10), 0x70);
	out(&m, PIT_PORT + 3, 0xe2, 11);
	assert_int_equal(in(&m, PIT_PORT, 11), 0x30);
	start(&m, 2, 100);
	set_count(&m, 0, 50, 60);
	out(&m, PIT_PORT + 3, 0xe2, 110);
	assert_int_equal(in(&m, PIT_PORT, 110) & 0x40, 0x40);
	out(&m, PIT_PORT + 3, 0xe2, 111);
	assert_int_equal(in(&m, PIT_PORT, 111) & 0x40, 0);
	for (unsigned mode = 1; mode <= 5; mode += 4) {
		set_up(&m);
		out(&m, PIT_PORT + 3, (uint8_t)MODE(2, mode), 10);
		set_count(&m, 2, 100, 10);
		out(&m, PIT_PORT + 3, 0xe8, 50);
		assert_int_equal(in(&m, PIT_PORT + 2, 50) & 0x40, 0x40);
		out(&m, PIT_SPEAKER_PORT, 1, 60);
		out(&m, PIT_PORT + 3, 0xe8, 61);
		assert_int_equal(in(&m, PIT_PORT + 2, 61) & 0x40, 0);
	}
}

static void port_61_keeps_its_bits_and_refreshes(void **state)
{
	struct machine m;
	unsigned toggles = 0;

	(void)state;
	set_up(&m);
	out(&m, PIT_SPEAKER_PORT, 0xff, 10);
	assert_int_equal(in(&m, PIT_SPEAKER_PORT, 10) & 0x0f, 0x0f);
	for (uint64_t t = 0; t < 1800; t++)
		toggles += (in(&m, PIT_SPEAKER_PORT, t) ^ in(&m, PIT_SPEAKER_PORT, t + 1)) >> 4 & 1;
	assert_int_equal(toggles, 100);
}

/* Random writes and reads at a clock that jumps: no crash, no arithmetic trap, never two interrupts for one call. */
static void hostile_programming(void **state)
{
	uint64_t seed = 11, now = ORIGIN;
	struct machine m;

	(void)state;
	set_up(&m);
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t r = host_random(&seed);
		uint16_t port = (r & 7) == 4 ? PIT_SPEAKER_PORT : (uint16_t)(PIT_PORT + (r & 3));

		now += r >> 60 ? r >> 44 : r >> 20;
		if (r & 8)
			pit_write(&m.pit, port, (uint8_t)(r >> 8), now);
		else
			pit_read(&m.pit, port, now);
		ticked(&m);
		assert_true(pit_tick(&m.pit, now) >= now + 50000);
		ticked(&m);
		assert_false(ticked(&m));
		if (now > 1UL << 62)
			set_up(&m), now = ORIGIN;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(firmware_leaves_channel_0_running),
		cmocka_unit_test(mode_0_interrupts_once),
		cmocka_unit_test(mode_0_starts_again_with_a_new_count),
		cmocka_unit_test(mode_2_is_periodic),
		cmocka_unit_test(mode_2_counts_down_to_1),
		cmocka_unit_test(mode_3_is_a_square_wave),
		cmocka_unit_test(no_tick_is_lost_in_the_long_run),
		cmocka_unit_test(a_late_call_leaves_one_interrupt),
		cmocka_unit_test(a_fast_timer_cannot_ask_for_a_storm),
		cmocka_unit_test(a_new_count_takes_over_at_the_end_of_the_period),
		cmocka_unit_test(a_new_count_takes_over_at_the_end_of_the_half),
		cmocka_unit_test(the_half_that_is_left_interrupts_in_time),
		cmocka_unit_test(mode_4_strobes_once),
		cmocka_unit_test(a_tsc_calibration_measures_the_time),
		cmocka_unit_test(bcd_counts),
		cmocka_unit_test(single_byte_access),
		cmocka_unit_test(a_latched_count_stands_still),
		cmocka_unit_test(read_back_gives_status_then_count),
		cmocka_unit_test(null_count),
		cmocka_unit_test(port_61_keeps_its_bits_and_refreshes),
		cmocka_unit_test(hostile_programming),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
