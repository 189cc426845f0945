/* SPDX-License-Identifier: MIT */
#include "guest/cmos.h"
#include "guest/ram.h"
#include "mm/host.h"

enum cmos_register {
	CMOS_SECONDS = 0x00,
	CMOS_MINUTES = 0x02,
	CMOS_HOURS = 0x04,
	CMOS_WEEKDAY = 0x06, /* Sunday is 1 */
	CMOS_DAY = 0x07,
	CMOS_MONTH = 0x08,
	CMOS_YEAR = 0x09,
	CMOS_STATUS_A = 0x0a,
	CMOS_STATUS_B = 0x0b,
	CMOS_STATUS_C = 0x0c,
	CMOS_STATUS_D = 0x0d,
	CMOS_BASE_MEMORY = 0x15,     /* 2 bytes, KiB below 640 KiB */
	CMOS_EXTENDED_MEMORY = 0x17, /* 2 bytes, KiB from 1 MiB on; again at 0x30 */
	CMOS_EXTENDED_MEMORY_2 = 0x30,
	CMOS_CENTURY = 0x32,
	CMOS_MEMORY_16M = 0x34, /* 2 bytes, units of 64 KiB from 16 MiB on, below 4 GiB */
	CMOS_MEMORY_4G = 0x5b,  /* 3 bytes, units of 64 KiB from 4 GiB on */
	CMOS_CPUS = 0x5f,       /* their number, less 1 */
};

#define INDEX_MASK 0x7f /* bit 7 masks NMIs on a PC */
#define STATUS_A_DIVIDER 0x26
#define STATUS_A_UPDATING 0x80
#define STATUS_A_WRITABLE 0x7f
#define STATUS_B_SET 0x80
#define STATUS_B_BINARY 0x04
#define STATUS_B_24H 0x02
#define STATUS_B_WRITABLE 0x87 /* no interrupts, no daylight saving, no square wave */
#define STATUS_D_VALID 0x80
#define HOUR_PM 0x80
#define UPDATE_US 244 /* the update is announced so long before it */

struct date {
	unsigned year, month, day, weekday, hour, minute, second;
};

static bool leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Civil date of a time in seconds since 1970-01-01 00:00:00. A guest's life is short: the loop is bounded by years. */
static struct date date_of(uint64_t seconds)
{
	static const uint8_t month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	uint64_t days = seconds / 86400;
	struct date d = {.year = 1970, .month = 1};

	d.second = (unsigned)(seconds % 60);
	d.minute = (unsigned)(seconds / 60 % 60);
	d.hour = (unsigned)(seconds / 3600 % 24);
	d.weekday = (unsigned)((days + 4) % 7) + 1;
	for (; d.year < 9999 && days >= 365u + leap(d.year); d.year++)
		days -= 365u + leap(d.year);
	for (;; d.month++) {
		unsigned n = month_days[d.month - 1] + (d.month == 2 && leap(d.year));

		if (days < n || d.month == 12)
			break;
		days -= n;
	}
	d.day = (unsigned)days + 1;
	return d;
}

static uint8_t number(const struct cmos *c, unsigned v)
{
	return (uint8_t)(c->ram[CMOS_STATUS_B] & STATUS_B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint8_t hour(const struct cmos *c, unsigned h)
{
	if (c->ram[CMOS_STATUS_B] & STATUS_B_24H)
		return number(c, h);
	return number(c, (h + 11) % 12 + 1) | (h >= 12 ? HOUR_PM : 0);
}

uint8_t cmos_read(const struct cmos *c, unsigned index, uint64_t now)
{
	uint64_t passed = now > c->origin ? now - c->origin : 0;
	struct date d = date_of(CMOS_EPOCH + passed / c->hz);

	switch (index & INDEX_MASK) {
	case CMOS_SECONDS:
		return number(c, d.second);
	case CMOS_MINUTES:
		return number(c, d.minute);
	case CMOS_HOURS:
		return hour(c, d.hour);
	case CMOS_WEEKDAY:
		return number(c, d.weekday);
	case CMOS_DAY:
		return number(c, d.day);
	case CMOS_MONTH:
		return number(c, d.month);
	case CMOS_YEAR:
		return number(c, d.year % 100);
	case CMOS_CENTURY:
		return number(c, d.year / 100);
	case CMOS_STATUS_A:
		if (!(c->ram[CMOS_STATUS_B] & STATUS_B_SET) && c->hz - passed % c->hz <= c->hz / 1000000 * UPDATE_US)
			return c->ram[CMOS_STATUS_A] | STATUS_A_UPDATING;
		return c->ram[CMOS_STATUS_A];
	default:
		return c->ram[index & INDEX_MASK];
	}
}

/* Registers that writes do not change, apart from the four status ones. */
static bool read_only(unsigned index)
{
	switch (index) {
	case CMOS_SECONDS:
	case CMOS_MINUTES:
	case CMOS_HOURS:
	case CMOS_CENTURY:
	case CMOS_CPUS:
		return true;
	default:
		return (index >= CMOS_WEEKDAY && index <= CMOS_YEAR) || index == CMOS_STATUS_C ||
		       index == CMOS_STATUS_D || (index >= CMOS_BASE_MEMORY && index < CMOS_EXTENDED_MEMORY + 2) ||
		       (index >= CMOS_EXTENDED_MEMORY_2 && index < CMOS_EXTENDED_MEMORY_2 + 2) ||
		       (index >= CMOS_MEMORY_16M && index < CMOS_MEMORY_16M + 2) ||
		       (index >= CMOS_MEMORY_4G && index < CMOS_MEMORY_4G + 3);
	}
}

void cmos_write(struct cmos *c, unsigned index, uint8_t value)
{
	index &= INDEX_MASK;
	if (read_only(index))
		return;
	if (index == CMOS_STATUS_A)
		value &= STATUS_A_WRITABLE;
	if (index == CMOS_STATUS_B)
		value &= STATUS_B_WRITABLE;
	c->ram[index] = value;
}

static enum bus_outcome cmos_io(void *cmos, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct cmos *c = cmos;

	(void)size;
	if (port == CMOS_INDEX_PORT && write)
		c->index = *value & INDEX_MASK;
	else if (port == CMOS_INDEX_PORT)
		*value = 0xff; /* write-only on a PC */
	else if (write)
		cmos_write(c, c->index, (uint8_t)*value);
	else
		*value = cmos_read(c, c->index, host_clock());
	return BUS_DONE;
}

/* A little-endian number of so many bytes, as large as fits. */
static void put(struct cmos *c, unsigned index, unsigned bytes, uint64_t v)
{
	uint64_t most = (1UL << (8 * bytes)) - 1;

	if (v > most)
		v = most;
	for (unsigned i = 0; i < bytes; i++)
		c->ram[index + i] = (uint8_t)(v >> (8 * i));
}

void cmos_init(struct cmos *c, uint64_t mem, unsigned vcpus, uint64_t now)
{
	uint64_t end = ram_middle_end(mem), above_16m = end > 16UL << 20 ? end - (16UL << 20) : 0;

	*c = (struct cmos){.origin = now, .hz = host_clock_hz()};
	CHECK(c->hz > 0 && vcpus > 0);
	c->ram[CMOS_STATUS_A] = STATUS_A_DIVIDER;
	c->ram[CMOS_STATUS_B] = STATUS_B_24H;
	c->ram[CMOS_STATUS_D] = STATUS_D_VALID;
	put(c, CMOS_BASE_MEMORY, 2, RAM_LOW_END >> 10);
	put(c, CMOS_EXTENDED_MEMORY, 2, (end - RAM_MIDDLE) >> 10);
	put(c, CMOS_EXTENDED_MEMORY_2, 2, (end - RAM_MIDDLE) >> 10);
	put(c, CMOS_MEMORY_16M, 2, above_16m >> 16);
	put(c, CMOS_MEMORY_4G, 3, (ram_high_end(mem) - RAM_HIGH) >> 16);
	put(c, CMOS_CPUS, 1, vcpus - 1);
}

void cmos_attach(struct cmos *c, struct bus *b)
{
	bus_add(b, CMOS_INDEX_PORT, CMOS_DATA_PORT, 1, cmos_io, c);
}
