/* SPDX-License-Identifier: MIT */
#include "guest/cmos.h"
#include "guest/calendar.h"
#include "guest/ram.h"
#include "mm/host.h"

enum cmos_register {
	CMOS_SECONDS = 0x00,
	CMOS_SECONDS_ALARM = 0x01,
	CMOS_MINUTES = 0x02,
	CMOS_MINUTES_ALARM = 0x03,
	CMOS_HOURS = 0x04,
	CMOS_HOURS_ALARM = 0x05,
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
#define STATUS_A_DEFAULT 0x26 /* a crystal of 32768 Hz, 1024 periods a second */
#define STATUS_A_RATE 0x0f
#define STATUS_A_RESET 0x60 /* both bits: the divider is in reset */
#define STATUS_A_UPDATING 0x80
#define STATUS_B_SET 0x80
#define STATUS_B_BINARY 0x04
#define STATUS_B_24H 0x02
#define STATUS_C_REQUEST 0x80
#define STATUS_D_VALID 0x80
/* Interrupts, enabled in register B and told in register C. */
#define PERIODIC 0x40
#define ALARM 0x20
#define UPDATE 0x10
#define INTERRUPTS (PERIODIC | ALARM | UPDATE)

#define HOUR_PM 0x80
#define ANY 0xc0 /* an alarm register with these bits matches always */
#define CRYSTAL_HZ 32768u
#define UPDATE_US 244  /* the update is announced so long before it */
#define SHORTEST_US 50 /* between two calls of cmos_tick */

static bool in_reset(const struct cmos *c)
{
	return (c->ram[CMOS_STATUS_A] & STATUS_A_RESET) == STATUS_A_RESET;
}

static bool held(const struct cmos *c)
{
	return c->ram[CMOS_STATUS_B] & STATUS_B_SET || in_reset(c);
}

static uint8_t number(const struct cmos *c, unsigned v)
{
	return (uint8_t)(c->ram[CMOS_STATUS_B] & STATUS_B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned from_number(const struct cmos *c, uint8_t v)
{
	return c->ram[CMOS_STATUS_B] & STATUS_B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t hour(const struct cmos *c, unsigned h)
{
	if (c->ram[CMOS_STATUS_B] & STATUS_B_24H)
		return number(c, h);
	return number(c, (h + 11) % 12 + 1) | (h >= 12 ? HOUR_PM : 0);
}

static unsigned from_hour(const struct cmos *c, uint8_t v)
{
	if (c->ram[CMOS_STATUS_B] & STATUS_B_24H)
		return from_number(c, v);
	return from_number(c, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* TSC ticks since the divider's second `began`. */
static uint64_t passed(const struct cmos *c, uint64_t now)
{
	return now > c->began ? now - c->began : 0;
}

/* Seconds since the year 0. */
static uint64_t seconds_at(const struct cmos *c, uint64_t now)
{
	return c->seconds + passed(c, now) / c->hz;
}

static uint64_t crystal_at(const struct cmos *c, uint64_t now)
{
	uint64_t p = passed(c, now);

	return p / c->hz * CRYSTAL_HZ + p % c->hz * CRYSTAL_HZ / c->hz;
}

/* The first TSC at which crystal_at() is tick. */
static uint64_t tsc_of(const struct cmos *c, uint64_t tick)
{
	return c->began + tick / CRYSTAL_HZ * c->hz + (tick % CRYSTAL_HZ * c->hz + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

/* Ticks of the crystal in a period (data sheet, table 5); 0: there are none. */
static uint64_t period(const struct cmos *c)
{
	unsigned rate = c->ram[CMOS_STATUS_A] & STATUS_A_RATE;

	if (rate == 0 || in_reset(c))
		return 0;
	return 1UL << (rate < 3 ? rate + 6 : rate - 1);
}

static const uint8_t time_registers[] = {CMOS_SECONDS, CMOS_MINUTES, CMOS_HOURS, CMOS_WEEKDAY, CMOS_DAY, CMOS_MONTH,
	CMOS_YEAR, CMOS_CENTURY};

static bool is_time(unsigned index)
{
	for (unsigned i = 0; i < sizeof time_registers; i++)
		if (time_registers[i] == index)
			return true;
	return false;
}

/* One of these as the clock has it, while it runs. */
static uint8_t time_register(const struct cmos *c, enum cmos_register r, uint64_t now)
{
	struct date d = calendar_date(seconds_at(c, now));

	switch (r) {
	case CMOS_SECONDS:
		return number(c, d.second);
	case CMOS_MINUTES:
		return number(c, d.minute);
	case CMOS_HOURS:
		return hour(c, d.hour);
	case CMOS_WEEKDAY:
		return number(c, (d.weekday - 1 + c->weekday_shift) % 7 + 1);
	case CMOS_DAY:
		return number(c, d.day);
	case CMOS_MONTH:
		return number(c, d.month);
	case CMOS_YEAR:
		return number(c, d.year % 100);
	default:
		return number(c, d.year / 100);
	}
}

/* The clock stands: the time goes into the registers. */
static void hold(struct cmos *c, uint64_t now)
{
	for (unsigned i = 0; i < sizeof time_registers; i++)
		c->ram[time_registers[i]] = time_register(c, time_registers[i], now);
}

/* The clock goes on from what the registers say. */
static void go_on(struct cmos *c, uint64_t now)
{
	const struct date d = {
		.year = from_number(c, c->ram[CMOS_CENTURY]) * 100 + from_number(c, c->ram[CMOS_YEAR]) % 100,
		.month = from_number(c, c->ram[CMOS_MONTH]),
		.day = from_number(c, c->ram[CMOS_DAY]),
		.hour = from_hour(c, c->ram[CMOS_HOURS]),
		.minute = from_number(c, c->ram[CMOS_MINUTES]),
		.second = from_number(c, c->ram[CMOS_SECONDS]),
	};
	unsigned weekday = from_number(c, c->ram[CMOS_WEEKDAY]) % 7;

	c->began += passed(c, now) / c->hz * c->hz;
	c->seconds = calendar_seconds(&d);
	c->weekday_shift = (weekday + 7 - calendar_date(c->seconds).weekday) % 7;
}

/* What an alarm register asks for: a value below `values`, -1 for any, -2 for one that never comes. */
static int wanted(const struct cmos *c, enum cmos_register r, unsigned values)
{
	uint8_t v = c->ram[r];
	unsigned n = r == CMOS_HOURS_ALARM ? from_hour(c, v) : from_number(c, v);

	if ((v & ANY) == ANY)
		return -1;
	return n < values && (r == CMOS_HOURS_ALARM ? hour(c, n) : number(c, n)) == v ? (int)n : -2;
}

/* A time's unit is to have the value: the first such time from t on, if need be behind it by so many whole units. */
static uint64_t advance(uint64_t t, unsigned unit, int value, unsigned values)
{
	unsigned at = (unsigned)(t / unit % values);

	if (value < 0 || at == (unsigned)value)
		return t;
	return t - t % unit + ((unsigned)value + values - at) % values * (uint64_t)unit;
}

/* The second of the first alarm after one; UINT64_MAX: never. */
static uint64_t next_alarm(const struct cmos *c, uint64_t after)
{
	int h = wanted(c, CMOS_HOURS_ALARM, 24), m = wanted(c, CMOS_MINUTES_ALARM, 60),
	    s = wanted(c, CMOS_SECONDS_ALARM, 60);
	uint64_t t = after + 1, from;

	if (h == -2 || m == -2 || s == -2)
		return UINT64_MAX;
	/* What makes one right may carry into the one before: at most twice, up to the next day. */
	do {
		from = t;
		t = advance(advance(advance(t, 3600, h, 24), 60, m, 60), 1, s, 60);
	} while (t != from);
	return t;
}

static void update_line(struct cmos *c)
{
	irq_set_line(c->irq, CMOS_IRQ, c->ram[CMOS_STATUS_B] & c->ram[CMOS_STATUS_C] & INTERRUPTS);
}

/* Tells in register C what happened since it was last brought up to date. */
static void catch_up(struct cmos *c, uint64_t now)
{
	uint64_t before, seconds, p = period(c);

	if (now <= c->checked)
		return;
	before = seconds_at(c, c->checked);
	seconds = seconds_at(c, now);
	if (!held(c) && seconds > before) {
		c->ram[CMOS_STATUS_C] |= UPDATE;
		if (next_alarm(c, before) <= seconds)
			c->ram[CMOS_STATUS_C] |= ALARM;
	}
	if (p && crystal_at(c, now) / p != crystal_at(c, c->checked) / p)
		c->ram[CMOS_STATUS_C] |= PERIODIC;
	c->checked = now;
	update_line(c);
}

uint64_t cmos_tick(struct cmos *c, uint64_t now)
{
	uint8_t enabled = c->ram[CMOS_STATUS_B] & INTERRUPTS;
	uint64_t next = UINT64_MAX, soonest = now + c->hz / 1000000 * SHORTEST_US, p = period(c), at, alarm;

	if (!enabled)
		return UINT64_MAX;
	catch_up(c, now);
	if (enabled & c->ram[CMOS_STATUS_C])
		return UINT64_MAX;
	if (enabled & PERIODIC && p)
		next = tsc_of(c, (crystal_at(c, now) / p + 1) * p);
	if (enabled & UPDATE && !held(c)) {
		at = c->began + (passed(c, now) / c->hz + 1) * c->hz;
		next = at < next ? at : next;
	}
	if (enabled & ALARM && !held(c)) {
		alarm = next_alarm(c, seconds_at(c, now));
		at = alarm == UINT64_MAX ? UINT64_MAX : c->began + (alarm - c->seconds) * c->hz;
		next = at < next ? at : next;
	}
	return next > soonest ? next : soonest;
}

static bool updating(const struct cmos *c, uint64_t now)
{
	return !held(c) && c->hz - passed(c, now) % c->hz <= c->hz / 1000000 * UPDATE_US;
}

uint8_t cmos_read(struct cmos *c, unsigned index, uint64_t now)
{
	uint8_t value;

	index &= INDEX_MASK;
	if (is_time(index) && !held(c))
		return time_register(c, index, now);
	switch (index) {
	case CMOS_STATUS_A:
		return c->ram[CMOS_STATUS_A] | (updating(c, now) ? STATUS_A_UPDATING : 0);
	case CMOS_STATUS_C:
		catch_up(c, now);
		value = c->ram[CMOS_STATUS_C];
		value |= value & c->ram[CMOS_STATUS_B] ? STATUS_C_REQUEST : 0;
		c->ram[CMOS_STATUS_C] = 0;
		update_line(c);
		return value;
	default:
		return c->ram[index];
	}
}

/* Registers A and B: the clock may come to stand, or go on. */
static void write_status(struct cmos *c, enum cmos_register r, uint8_t value, uint64_t now)
{
	bool was_held = held(c), was_in_reset = in_reset(c);

	if (r == CMOS_STATUS_A)
		value &= (uint8_t)~STATUS_A_UPDATING;
	else if (value & STATUS_B_SET)
		value &= (uint8_t)~UPDATE;
	c->ram[r] = value;
	if (!was_held && held(c))
		hold(c, now);
	/* The first second after a reset is half a one (data sheet, "Divider Control"). */
	if (was_in_reset && !in_reset(c))
		c->began = now - (now < c->hz / 2 ? now : c->hz / 2);
	if (was_held && !held(c))
		go_on(c, now);
}

/* Registers that no write changes. */
static bool read_only(unsigned index)
{
	return index == CMOS_STATUS_C || index == CMOS_STATUS_D || index == CMOS_CPUS ||
	       (index >= CMOS_BASE_MEMORY && index < CMOS_EXTENDED_MEMORY + 2) ||
	       (index >= CMOS_EXTENDED_MEMORY_2 && index < CMOS_EXTENDED_MEMORY_2 + 2) ||
	       (index >= CMOS_MEMORY_16M && index < CMOS_MEMORY_16M + 2) ||
	       (index >= CMOS_MEMORY_4G && index < CMOS_MEMORY_4G + 3);
}

void cmos_write(struct cmos *c, unsigned index, uint8_t value, uint64_t now)
{
	index &= INDEX_MASK;
	if (read_only(index))
		return;
	catch_up(c, now);
	if (index == CMOS_STATUS_A || index == CMOS_STATUS_B) {
		write_status(c, index, value, now);
	} else if (is_time(index) && !held(c)) {
		hold(c, now);
		c->ram[index] = value;
		go_on(c, now);
	} else {
		c->ram[index] = value;
	}
	update_line(c);
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
		cmos_write(c, c->index, (uint8_t)*value, host_clock());
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

void cmos_init(struct cmos *c, struct irq *irq, uint64_t mem, unsigned vcpus, uint64_t now)
{
	uint64_t end = ram_middle_end(mem), above_16m = end > 16UL << 20 ? end - (16UL << 20) : 0;

	*c = (struct cmos){
		.irq = irq,
		.hz = host_clock_hz(),
		.seconds = CALENDAR_1970 + CMOS_EPOCH,
		.began = now,
		.checked = now,
	};
	CHECK(c->hz >= 1000000 && c->hz < 1UL << 40 && vcpus > 0);
	c->ram[CMOS_STATUS_A] = STATUS_A_DEFAULT;
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
