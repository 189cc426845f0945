/* SPDX-License-Identifier: MIT */
/* The Gregorian calendar, from the year 0 on, forwards and backwards. */
#ifndef GUEST_CALENDAR_H
#define GUEST_CALENDAR_H

#include <stdint.h>

#define CALENDAR_DAY 86400u              /* seconds */
#define CALENDAR_1970 62167219200UL      /* seconds from 0000-01-01 00:00:00 to 1970-01-01 00:00:00 */
#define CALENDAR_YEAR_10000 315569520000UL /* … to 10000-01-01 */

struct date {
	unsigned year;    /* 0 … 9999 */
	unsigned month;   /* 1 … 12 */
	unsigned day;     /* 1 … 31 */
	unsigned weekday; /* 1 … 7, Sunday is 1 */
	unsigned hour, minute, second;
};

/* The date so many seconds after 0000-01-01 00:00:00. Behind the year 9999 comes 0. */
struct date calendar_date(uint64_t seconds);
/* Seconds from 0000-01-01 00:00:00 to a date; its weekday is not looked at. What is out of range counts as the nearest that is
 * in it, but days that a month lacks count on into the next. */
uint64_t calendar_seconds(const struct date *d);

#endif
