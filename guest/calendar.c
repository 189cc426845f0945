/* SPDX-License-Identifier: MIT */
#include "guest/calendar.h"

#define CYCLE_YEARS 400u
#define CYCLE_DAYS 146097u
#define LONGEST_YEAR 366u
#define MONTHS 12u
#define FEBRUARY 2u
#define FIRST_WEEKDAY 6u /* 0000-01-01 was a Saturday, counted from Sunday = 0 */

static const uint16_t before_month[MONTHS + 1] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static unsigned leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days of the years 0 … year-1: each fourth of them has one more, but of the hundredths each fourth only. */
static uint64_t days_before_year(unsigned year)
{
	return 365UL * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
}

/* Days of a year's months 1 … month-1. */
static unsigned days_before_month(unsigned year, unsigned month)
{
	return before_month[month - 1] + (month > FEBRUARY ? leap(year) : 0);
}

struct date calendar_date(uint64_t seconds)
{
	uint64_t days = seconds % CALENDAR_YEAR_10000 / CALENDAR_DAY;
	unsigned cycle = (unsigned)(days / CYCLE_DAYS), in_cycle = (unsigned)(days % CYCLE_DAYS);
	unsigned year = in_cycle / LONGEST_YEAR, month = 1, in_year;

	/* The guess is never too high, and too low by one year at most. */
	while (days_before_year(year + 1) <= in_cycle)
		year++;
	in_year = in_cycle - (unsigned)days_before_year(year);
	while (month < MONTHS && days_before_month(year, month + 1) <= in_year)
		month++;
	return (struct date){
		.year = cycle * CYCLE_YEARS + year,
		.month = month,
		.day = in_year - days_before_month(year, month) + 1,
		.weekday = (unsigned)((days + FIRST_WEEKDAY) % 7) + 1,
		.hour = (unsigned)(seconds / 3600 % 24),
		.minute = (unsigned)(seconds / 60 % 60),
		.second = (unsigned)(seconds % 60),
	};
}

static unsigned within(unsigned v, unsigned least, unsigned most)
{
	return v < least ? least : v > most ? most : v;
}

uint64_t calendar_seconds(const struct date *d)
{
	unsigned year = within(d->year, 0, 9999);
	uint64_t days = days_before_year(year) + days_before_month(year, within(d->month, 1, MONTHS)) +
			within(d->day, 1, 31) - 1;

	return days * CALENDAR_DAY + within(d->hour, 0, 23) * 3600 + within(d->minute, 0, 59) * 60 +
	       within(d->second, 0, 59);
}
