/* SPDX-License-Identifier: MIT */
/* guest/cmos.c: the clock as a guest sets it, and its interrupts. The native TSC runs at 1 GHz. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/cmos.h"
#include "tools/host/native.h"

#define HZ 1000000000UL
#define MS 1000000UL
#define DAY (86400 * HZ)
#define START 123456789UL /* not the beginning of a second of the TSC's */

static struct pic pic;
static struct irq irq;
static struct cmos c;

static uint64_t at(uint64_t ns)
{
	return START + ns;
}

static void out(unsigned index, uint8_t value, uint64_t ns)
{
	cmos_write(&c, index, value, at(ns));
}

static uint8_t in(unsigned index, uint64_t ns)
{
	return cmos_read(&c, index, at(ns));
}

static bool line(void)
{
	return pic.chip[1].lines & 1;
}

/* Calls cmos_tick and tells after how many nanoseconds from START on it wants to be called next; UINT64_MAX: never. */
static uint64_t tick(uint64_t ns)
{
	uint64_t next = cmos_tick(&c, at(ns));

	return next == UINT64_MAX ? next : next - START;
}

static int set_up(void **state)
{
	(void)state;
	pic_init(&pic);
	irq = (struct irq){.pic = &pic};
	cmos_init(&c, &irq, 64UL << 20, 1, START);
	return 0;
}

/* Writes a time as Linux does: SET, the divider in reset, the registers, then both as they were. */
static void set_time(const uint8_t value[7], uint64_t ns)
{
	static const uint8_t registers[7] = {0x32, 9, 8, 7, 4, 2, 0};
	uint8_t a = in(0x0a, ns) & 0x7f, b = in(0x0b, ns);

	out(0x0b, b | 0x80, ns);
	out(0x0a, a | 0x70, ns);
	for (unsigned i = 0; i < 7; i++)
		out(registers[i], value[i], ns);
	out(0x0b, b, ns);
	out(0x0a, a, ns);
}

static void assert_time(const uint8_t value[7], uint64_t ns)
{
	static const uint8_t registers[7] = {0x32, 9, 8, 7, 4, 2, 0};

	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(in(registers[i], ns), value[i]);
}

static void a_guest_sets_the_time(void **state)
{
	static const uint8_t eve[7] = {0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58};
	static const uint8_t last[7] = {0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59};
	static const uint8_t new[7] = {0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00};

	(void)state;
	set_time(eve, 7 * HZ + 100 * MS);
	assert_time(eve, 7 * HZ + 100 * MS);
	/* The divider was in reset: the first second comes after half a one. */
	assert_time(eve, 7 * HZ + 599 * MS);
	assert_time(last, 7 * HZ + 600 * MS);
	assert_time(new, 8 * HZ + 600 * MS);
	assert_time(new, 9 * HZ + 599 * MS);
}

static void a_held_clock_stands_and_goes_on_from_there(void **state)
{
	(void)state;
	out(0x0b, 0x82, 5 * HZ + 300 * MS);
	assert_int_equal(in(0, 5 * HZ + 300 * MS), 0x05);
	assert_int_equal(in(0, 60 * HZ), 0x05);
	out(0x0b, 0x02, 60 * HZ + 700 * MS);
	/* The divider went on meanwhile: seconds begin where they did. */
	assert_int_equal(in(0, 60 * HZ + 999 * MS), 0x05);
	assert_int_equal(in(0, 61 * HZ), 0x06);
	assert_int_equal(in(2, 61 * HZ), 0x00);
}

static void writes_while_it_runs(void **state)
{
	(void)state;
	out(4, 0x22, 10 * HZ + 400 * MS);
	out(7, 0x28, 10 * HZ + 500 * MS);
	out(8, 0x02, 10 * HZ + 500 * MS);
	assert_int_equal(in(0, 10 * HZ + 999 * MS), 0x10);
	assert_int_equal(in(0, 11 * HZ), 0x11);
	assert_int_equal(in(7, 2 * 3600 * HZ), 0x01);
	assert_int_equal(in(8, 2 * 3600 * HZ), 0x03);
}

static void times_in_12_hours_and_binary(void **state)
{
	static const struct {
		uint8_t b, written, hour24;
	} cases[] = {{0x00, 0x12, 0}, {0x00, 0x92, 12}, {0x00, 0x11, 11}, {0x00, 0x91, 23}, {0x04, 12, 0}, {0x04, 0x81, 13},
		{0x06, 23, 23}, {0x02, 0x23, 23}};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		set_up(0);
		out(0x0b, 0x80 | cases[i].b, 0);
		out(4, cases[i].written, 0);
		out(0x0b, cases[i].b, 0);
		assert_int_equal(in(4, 0), cases[i].written);
		out(0x0b, 0x06, 0);
		assert_int_equal(in(4, 0), cases[i].hour24);
	}
}

static void the_day_of_the_week_is_the_guests(void **state)
{
	(void)state;
	assert_int_equal(in(6, 0), 5);
	out(6, 7, 0);
	assert_int_equal(in(6, 0), 7);
	assert_int_equal(in(6, DAY), 1);
	assert_int_equal(in(6, 8 * DAY), 1);
	assert_int_equal(in(7, 8 * DAY), 0x09);
}

static void without_an_enable_there_is_no_call(void **state)
{
	(void)state;
	assert_int_equal(tick(0), UINT64_MAX);
	assert_int_equal(tick(100 * DAY), UINT64_MAX);
	assert_false(line());
	/* What happened is told all the same: an update, an alarm at midnight, a period. */
	assert_int_equal(in(0x0c, 100 * DAY), 0x70);
	assert_int_equal(in(0x0c, 100 * DAY), 0x00);
	assert_int_equal(in(0x0c, 100 * DAY + 1 * MS), 0x40);
	assert_false(line());
}

static void an_update_interrupts_until_c_is_read(void **state)
{
	(void)state;
	out(0x0b, 0x12, 300 * MS);
	assert_int_equal(tick(300 * MS), 1 * HZ);
	assert_int_equal(tick(999 * MS), 1 * HZ);
	assert_false(line());
	/* Raised, it stays, and needs no call. */
	assert_int_equal(tick(1 * HZ), UINT64_MAX);
	assert_true(line());
	assert_int_equal(tick(50 * HZ), UINT64_MAX);
	assert_int_equal(in(0x0c, 50 * HZ + 500 * MS) & 0x90, 0x90);
	assert_false(line());
	assert_int_equal(tick(50 * HZ + 500 * MS), 51 * HZ);
	/* SET takes the enable away. */
	out(0x0b, 0x92, 50 * HZ + 600 * MS);
	assert_int_equal(in(0x0b, 50 * HZ + 600 * MS), 0x82);
	out(0x0b, 0x02, 50 * HZ + 700 * MS);
	assert_int_equal(tick(60 * HZ), UINT64_MAX);
}

static void an_enable_shows_what_happened_before(void **state)
{
	(void)state;
	out(0x0b, 0x12, 1500 * MS);
	assert_true(line());
	out(0x0b, 0x02, 1500 * MS);
	assert_false(line());
	out(0x0b, 0x12, 1500 * MS);
	assert_true(line());
	assert_int_equal(in(0x0c, 1500 * MS), 0xd0);
	assert_false(line());
}

static void periods_by_rate(void **state)
{
	(void)state;
	for (unsigned rate = 1; rate < 16; rate++) {
		uint64_t hz = rate == 1 ? 256 : rate == 2 ? 128 : 65536u >> rate, n = 0, ns = 0;

		set_up(0);
		out(0x0a, (uint8_t)(0x20 | rate), 0);
		out(0x0b, 0x42, 0);
		for (;;) {
			uint64_t next = tick(ns);

			if (line()) {
				assert_int_equal(in(0x0c, ns) & 0xc0, 0xc0);
				n++;
				next = tick(ns);
			}
			if (next > 2 * HZ)
				break;
			assert_true(next > ns && next <= ns + HZ / hz + 50000);
			ns = next;
		}
		assert_int_equal(n, 2 * hz);
	}
}

static void no_rate_and_no_divider_no_periods(void **state)
{
	(void)state;
	out(0x0b, 0x42, 0);
	out(0x0a, 0x20, 0);
	assert_int_equal(tick(0), UINT64_MAX);
	assert_int_equal(in(0x0c, 10 * HZ) & 0x40, 0);
	out(0x0a, 0x76, 10 * HZ);
	assert_int_equal(in(0x0c, 20 * HZ) & 0x40, 0);
	assert_int_equal(tick(20 * HZ), UINT64_MAX);
	/* SET holds the time alone, periods go on. */
	out(0x0a, 0x26, 20 * HZ);
	out(0x0b, 0xc2, 20 * HZ);
	assert_int_equal(in(0x0c, 21 * HZ) & 0x70, 0x40);
}

/* A late call leaves one interrupt, and the next period is where it would have been. */
static void periods_coalesce(void **state)
{
	(void)state;
	out(0x0a, 0x2f, 0); /* two a second */
	out(0x0b, 0x42, 0);
	tick(10 * HZ + 100 * MS);
	assert_true(line());
	assert_int_equal(in(0x0c, 10 * HZ + 100 * MS) & 0xc0, 0xc0);
	assert_false(line());
	assert_int_equal(tick(10 * HZ + 100 * MS), 10 * HZ + 500 * MS);
	assert_false(line());
}

/* The first alarm after `ns`, as cmos_tick tells it, in seconds; the line is then raised there and not before. */
static uint64_t alarm_after(uint64_t ns)
{
	uint64_t next;

	in(0x0c, ns);
	next = tick(ns);
	if (next == UINT64_MAX)
		return next;
	assert_int_equal(next % HZ, 0);
	tick(next - 1);
	assert_false(line());
	tick(next);
	assert_true(line());
	assert_int_equal(in(0x0c, next) & 0xa0, 0xa0);
	return next / HZ;
}

static void set_alarm(uint8_t h, uint8_t m, uint8_t s, uint64_t ns)
{
	out(5, h, ns);
	out(3, m, ns);
	out(1, s, ns);
	out(0x0b, in(0x0b, ns) | 0x20, ns);
}

static void alarms(void **state)
{
	(void)state;
	set_alarm(0x00, 0x00, 0x30, 0);
	assert_int_equal(alarm_after(0), 30);
	assert_int_equal(alarm_after(30 * HZ), 86400 + 30);
	set_up(0);
	set_alarm(0x01, 0x02, 0x03, 0);
	assert_int_equal(alarm_after(0), 3723);
	assert_int_equal(alarm_after(3723 * HZ), 86400 + 3723);
	/* Each field may be any. */
	set_up(0);
	set_alarm(0xff, 0xc0, 0xff, 0);
	assert_int_equal(alarm_after(500 * MS), 1);
	assert_int_equal(alarm_after(1 * HZ), 2);
	set_up(0);
	set_alarm(0xff, 0xff, 0x59, 0);
	assert_int_equal(alarm_after(0), 59);
	assert_int_equal(alarm_after(59 * HZ), 119);
	set_up(0);
	set_alarm(0xff, 0x00, 0xff, 3599 * HZ);
	assert_int_equal(alarm_after(3599 * HZ), 3600);
	assert_int_equal(alarm_after(3600 * HZ), 3601);
	assert_int_equal(alarm_after(3659 * HZ), 7200);
	set_up(0);
	set_alarm(0x23, 0xff, 0x00, 0);
	assert_int_equal(alarm_after(23 * 3600 * HZ + 1), 23 * 3600 + 60);
}

static void alarms_in_12_hours_and_impossible_ones(void **state)
{
	(void)state;
	out(0x0b, 0x00, 0);
	set_alarm(0x81, 0x00, 0x00, 0); /* 1 in the afternoon */
	assert_int_equal(alarm_after(0), 13 * 3600);
	set_up(0);
	out(0x0b, 0x00, 0);
	set_alarm(0x12, 0x00, 0x00, 0); /* midnight */
	assert_int_equal(alarm_after(0), 86400);
	set_up(0);
	set_alarm(0x24, 0x00, 0x00, 0);
	assert_int_equal(alarm_after(0), UINT64_MAX);
	set_alarm(0x00, 0x60, 0x00, 0);
	assert_int_equal(alarm_after(0), UINT64_MAX);
	set_alarm(0x00, 0x00, 0x0f, 0);
	assert_int_equal(alarm_after(0), UINT64_MAX);
	/* None comes while the clock is held. */
	set_alarm(0xff, 0xff, 0xff, 0);
	out(0x0b, 0xa2, 0);
	assert_int_equal(tick(10 * HZ), UINT64_MAX);
	assert_int_equal(in(0x0c, 10 * HZ) & 0x30, 0);
}

/* cmos_tick's alarm beside a search second by second. */
static void any_alarm(void **state)
{
	uint64_t seed = 21;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t r = host_random(&seed), from = (r >> 32) % 172800, s;
		uint8_t h = r & 1 ? 0xff : (uint8_t)((r >> 4) % 24), m = r & 2 ? 0xff : (uint8_t)((r >> 9) % 60),
			second = r & 4 ? 0xff : (uint8_t)((r >> 15) % 60);

		set_up(0);
		out(0x0b, 0x06, 0);
		set_alarm(h, m, second, from * HZ);
		for (s = from + 1;; s++)
			if ((h == 0xff || s / 3600 % 24 == h) && (m == 0xff || s / 60 % 60 == m) &&
				(second == 0xff || s % 60 == second))
				break;
		assert_int_equal(alarm_after(from * HZ), s);
	}
}

static void a_fast_clock_is_not_called_too_often(void **state)
{
	(void)state;
	out(0x0a, 0x23, 0);
	out(0x0b, 0x72, 0);
	for (uint64_t ns = 0; ns < 5 * MS; ns += 7777) {
		assert_true(tick(ns) >= ns + 50000);
		in(0x0c, ns);
		assert_true(tick(ns) >= ns + 50000);
	}
}

/* Random accesses at a clock that jumps: registers stay within their formats once the clock runs, the line is up exactly while
 * an enabled flag is. */
static void a_hostile_guest(void **state)
{
	uint64_t seed = 77, ns = 0;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t r = host_random(&seed);
		unsigned index = r & 1 ? r >> 8 & 0x0f : r & 2 ? 0x32 : r >> 8 & 0xff;

		ns += r >> 62 ? r >> 36 : r >> 12 & 0xffffff;
		if (r & 4)
			out(index, (uint8_t)(r >> 24), ns);
		else
			in(index, ns);
		assert_true(tick(ns) >= ns + 50000);
		assert_int_equal(line(), (c.ram[0x0b] & c.ram[0x0c] & 0x70) != 0);
		if (ns > 1UL << 61) {
			set_up(0);
			ns = 0;
		}
	}
	out(0x0a, 0x26, ns);
	out(0x0b, 0x06, ns);
	assert_true(in(0, ns) < 60 && in(2, ns) < 60 && in(4, ns) < 24 && in(9, ns) < 100 && in(0x32, ns) < 100);
	assert_true(in(8, ns) >= 1 && in(8, ns) <= 12 && in(7, ns) >= 1 && in(7, ns) <= 31);
	assert_true(in(6, ns) >= 1 && in(6, ns) <= 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_guest_sets_the_time, set_up),
		cmocka_unit_test_setup(a_held_clock_stands_and_goes_on_from_there, set_up),
		cmocka_unit_test_setup(writes_while_it_runs, set_up),
		cmocka_unit_test_setup(times_in_12_hours_and_binary, set_up),
		cmocka_unit_test_setup(the_day_of_the_week_is_the_guests, set_up),
		cmocka_unit_test_setup(without_an_enable_there_is_no_call, set_up),
		cmocka_unit_test_setup(an_update_interrupts_until_c_is_read, set_up),
		cmocka_unit_test_setup(an_enable_shows_what_happened_before, set_up),
		cmocka_unit_test_setup(periods_by_rate, set_up),
		cmocka_unit_test_setup(no_rate_and_no_divider_no_periods, set_up),
		cmocka_unit_test_setup(periods_coalesce, set_up),
		cmocka_unit_test_setup(alarms, set_up),
		cmocka_unit_test_setup(alarms_in_12_hours_and_impossible_ones, set_up),
		cmocka_unit_test_setup(any_alarm, set_up),
		cmocka_unit_test_setup(a_fast_clock_is_not_called_too_often, set_up),
		cmocka_unit_test_setup(a_hostile_guest, set_up),
	};

	return cmocka_run_group_tests_name("real-time clock", tests, 0, 0);
}
