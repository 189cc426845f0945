/* SPDX-License-Identifier: MIT */
/* guest/calendar.c beside the C library, and forwards and backwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "guest/calendar.h"
#include "tools/host/native.h"

static void check(uint64_t seconds)
{
	time_t t = (time_t)(seconds - CALENDAR_1970);
	struct date d = calendar_date(seconds);
	struct tm tm;

	gmtime_r(&t, &tm);
	assert_int_equal(d.year, tm.tm_year + 1900);
	assert_int_equal(d.month, tm.tm_mon + 1);
	assert_int_equal(d.day, tm.tm_mday);
	assert_int_equal(d.weekday, tm.tm_wday + 1);
	assert_int_equal(d.hour, tm.tm_hour);
	assert_int_equal(d.minute, tm.tm_min);
	assert_int_equal(d.second, tm.tm_sec);
	assert_int_equal(calendar_seconds(&d), seconds);
}

static void it_agrees_with_the_c_library(void **state)
{
	uint64_t seed = 3;

	(void)state;
	/* Each day of 400 years, with its first and last second; then any second of all years. */
	for (uint64_t day = 0; day < 146098; day++) {
		check(day * CALENDAR_DAY);
		check(day * CALENDAR_DAY + CALENDAR_DAY - 1);
	}
	for (unsigned i = 0; i < 200000; i++)
		check(host_random(&seed) % CALENDAR_YEAR_10000);
	check(CALENDAR_1970);
	check(CALENDAR_YEAR_10000 - 1);
}

static void behind_the_last_year_comes_the_first(void **state)
{
	struct date d = calendar_date(CALENDAR_YEAR_10000);

	(void)state;
	assert_int_equal(d.year, 0);
	assert_int_equal(d.month * 100 + d.day, 101);
}

static void dates_that_do_not_exist(void **state)
{
	static const struct date given[] = {
		{2023, 2, 30, 0, 0, 0, 0}, {2026, 0, 0, 0, 24, 60, 60}, {2026, 13, 99, 0, 1, 2, 3}, {10000, 1, 1, 0, 0, 0, 0}};
	static const struct date meant[] = {
		{2023, 3, 2, 0, 0, 0, 0}, {2026, 1, 1, 0, 23, 59, 59}, {2026, 12, 31, 0, 1, 2, 3}, {9999, 1, 1, 0, 0, 0, 0}};

	(void)state;
	for (unsigned i = 0; i < sizeof given / sizeof *given; i++)
		assert_int_equal(calendar_seconds(&given[i]), calendar_seconds(&meant[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_agrees_with_the_c_library),
		cmocka_unit_test(behind_the_last_year_comes_the_first),
		cmocka_unit_test(dates_that_do_not_exist),
	};

	return cmocka_run_group_tests_name("calendar", tests, 0, 0);
}
