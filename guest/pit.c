/* SPDX-License-Identifier: MIT */
#include "guest/pit.h"
#include "mm/host.h"

#define CONTROL 3   /* the fourth port */
#define READ_BACK 3 /* in the place of a channel's number */
#define READ_BACK_NO_COUNT 0x20
#define READ_BACK_NO_STATUS 0x10
#define STATUS_OUT 0x80
#define STATUS_NULL 0x40

#define SPEAKER_GATE 0x01
#define SPEAKER_WRITABLE 0x0f
#define SPEAKER_REFRESH 0x10 /* follows channel 1's output on the first PCs: toggles every 18 ticks */
#define SPEAKER_OUT 0x20
#define REFRESH_TICKS 18

#define SHORTEST_US 50 /* between two calls of pit_tick */

/* PIT ticks since the origin at the TSC `now`, rounded down; exact for 2^40 seconds. */
static int64_t ticks_at(const struct pit *p, uint64_t now)
{
	uint64_t passed = now > p->origin ? now - p->origin : 0;

	return (int64_t)(passed / p->hz * PIT_HZ + passed % p->hz * PIT_HZ / p->hz);
}

/* The first TSC at which ticks_at() is tick. */
static uint64_t tsc_at(const struct pit *p, int64_t tick)
{
	uint64_t t = (uint64_t)tick;

	return p->origin + t / PIT_HZ * p->hz + (t % PIT_HZ * p->hz + PIT_HZ - 1) / PIT_HZ;
}

static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}
static bool by_trigger(const struct pit_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}
/* The count has come into force, if by a trigger then after one. */
static bool counting(const struct pit_channel *c)
{
	return c->loaded && (c->triggered || !by_trigger(c));
}

/* Ticks counted since the count was loaded; negative while the load itself is still to come. */
static int64_t elapsed(const struct pit_channel *c, int64_t tick)
{
	return (c->stopped >= 0 && c->stopped < tick ? c->stopped : tick) - c->start;
}

/* Mode 3: how long the output is high in each period; then it is low for count / 2. */
static int64_t high_half(const struct pit_channel *c)
{
	return (c->count + 1) / 2;
}

/* A count written while a periodic one ran takes over: load() says when. In the middle of a period, which is mode 3, the low
 * half is the new count's. */
static void take_over(struct pit_channel *c, int64_t tick)
{
	bool middle;

	if (!c->next || tick < c->next_at)
		return;
	middle = (c->next_at - c->start) % c->count;
	c->count = c->next;
	c->next = 0;
	c->start = c->next_at - (middle ? high_half(c) : 0);
}

static bool output(const struct pit_channel *c, int64_t tick)
{
	int64_t e = elapsed(c, tick), n = c->count;

	if (!counting(c))
		return c->mode != 0;
	if (periodic(c) && (!c->gate || e < 0))
		return true;
	switch (c->mode) {
	case 0:
		return e >= n;
	case 1:
		return e < 0 || e >= n;
	case 2:
		return e % n != n - 1;
	case 3:
		return e % n < high_half(c);
	default:
		return e != n;
	}
}

/* What the counting element holds: binary or BCD. */
static uint16_t current(const struct pit_channel *c, int64_t tick)
{
	int64_t e = elapsed(c, tick), n = c->count, around = c->bcd ? 10000 : 65536, v;

	if (!counting(c) || e < 0) {
		v = n;
	} else if (c->mode == 2) {
		v = n - e % n;
	} else if (c->mode == 3) {
		int64_t high = high_half(c), at = e % n;

		v = (n & ~1L) - 2 * (at < high ? at : at - high);
		if (v <= 0)
			v = 2;
	} else {
		v = ((n - e) % around + around) % around;
	}
	v %= around;
	return (uint16_t)(c->bcd ? v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12 : v);
}

static uint32_t count_written(const struct pit_channel *c, uint16_t v)
{
	uint32_t n = v;

	if (c->bcd) /* digits above 9 count as what they weigh */
		n = (v & 15u) + (v >> 4 & 15u) * 10 + (v >> 8 & 15u) * 100 + (v >> 12) * 1000u;
	if (c->bcd && n > 9999)
		n %= 10000;
	return n ? n : c->bcd ? 10000 : 65536;
}

static void load(struct pit_channel *c, uint32_t count, int64_t tick)
{
	int64_t at;

	if (c->triggered && by_trigger(c)) {
		c->next = count;
		c->next_at = INT64_MAX; /* at the next trigger */
		return;
	}
	if (c->loaded && periodic(c) && c->gate && tick >= c->start) {
		/* At the end of the period, or in mode 3 of the half. */
		at = elapsed(c, tick) % c->count;
		c->next = count;
		c->next_at = tick - at + (c->mode == 3 && at < high_half(c) ? high_half(c) : c->count);
		return;
	}
	c->count = count;
	c->next = 0;
	c->loaded = true;
	c->start = tick + 1;
	c->stopped = c->gate ? -1 : c->start;
}

static void set_gate(struct pit_channel *c, bool gate, int64_t tick)
{
	bool rises = gate && !c->gate;

	if (rises && (by_trigger(c) || periodic(c))) {
		if (c->next)
			c->count = c->next;
		c->next = 0;
		c->start = tick + 1;
		c->stopped = -1;
		c->triggered = c->loaded; /* without a count the channel is not armed */
	} else if (rises && c->stopped >= 0) {
		if (tick > c->stopped)
			c->start += tick - c->stopped;
		c->stopped = -1;
	} else if (!gate && c->gate && !by_trigger(c)) {
		c->stopped = tick > c->start ? tick : c->start;
		c->next_at = INT64_MAX; /* the period does not end: its rise takes over */
	}
	c->gate = gate;
}

/* Rising edges of the output after `from` up to `to`, while nothing was written. */
static uint64_t edges(const struct pit_channel *c, int64_t from, int64_t to)
{
	int64_t n = c->count, first = elapsed(c, from), last = elapsed(c, to);

	if (!counting(c) || (periodic(c) && !c->gate))
		return 0;
	if (periodic(c)) {
		first = first < 0 ? 0 : first / n;
		last = last < 0 ? 0 : last / n;
		return (uint64_t)(last - first);
	}
	if (c->mode >= 4)
		n++;
	return first < n && last >= n;
}

/* The tick of the next rising edge after `tick`, or -1. */
static int64_t next_edge(const struct pit_channel *c, int64_t tick)
{
	int64_t n = c->count, e = elapsed(c, tick), at;

	if (!counting(c) || c->stopped >= 0)
		return -1;
	if (periodic(c))
		at = e < 0 ? n : (e / n + 1) * n;
	else
		at = c->mode >= 4 ? n + 1 : n;
	if (c->next && c->next_at < c->start + at)
		return c->next_at + c->next / 2; /* from the middle of a period: the end of the new count's low half */
	return at > e ? c->start + at : -1;
}

/* Brings channel 0's edges up to `tick` to the interrupt controller: one request, however many there were. */
static void deliver(struct pit *p, int64_t tick)
{
	struct pit_channel *c = &p->channel[0];
	uint64_t n = 0;

	if (tick > p->checked) {
		if (c->next && tick >= c->next_at) {
			n = edges(c, p->checked, c->next_at);
			p->checked = c->next_at;
			take_over(c, tick);
		}
		n += edges(c, p->checked, tick);
		p->checked = tick;
	}
	if (n)
		irq_pulse(p->irq, PIT_IRQ);
	irq_set_line(p->irq, PIT_IRQ, output(c, tick));
	p->edges += n;
	p->coalesced += n ? n - 1 : 0;
}

/* Before an access: every channel is as the time has left it. */
static void catch_up(struct pit *p, int64_t tick)
{
	deliver(p, tick);
	for (unsigned i = 1; i < PIT_CHANNELS; i++)
		take_over(&p->channel[i], tick);
}

uint64_t pit_tick(struct pit *p, uint64_t now)
{
	int64_t tick = ticks_at(p, now), next;
	uint64_t at, soonest = now + p->hz / 1000000 * SHORTEST_US;

	deliver(p, tick);
	next = next_edge(&p->channel[0], tick);
	if (next < 0)
		return UINT64_MAX;
	at = tsc_at(p, next);
	return at > soonest ? at : soonest;
}

static uint8_t status(const struct pit_channel *c, int64_t tick)
{
	bool null = !counting(c) || c->next || elapsed(c, tick) < 0; /* a count written is not in the counter yet */

	return (uint8_t)((output(c, tick) ? STATUS_OUT : 0) | (null ? STATUS_NULL : 0) | (unsigned)c->access << 4 |
			 c->mode << 1 | c->bcd);
}

static void latch_count(struct pit_channel *c, int64_t tick)
{
	if (c->latched)
		return;
	c->latch = current(c, tick);
	c->latched = c->access == PIT_BOTH ? 2 : 1;
}

static void write_control(struct pit *p, uint8_t value, int64_t tick)
{
	unsigned which = value >> 6;
	struct pit_channel *c = &p->channel[which % PIT_CHANNELS];

	if (which == READ_BACK) {
		for (unsigned i = 0; i < PIT_CHANNELS; i++) {
			c = &p->channel[i];
			if (!(value >> (i + 1) & 1))
				continue;
			if (!(value & READ_BACK_NO_COUNT))
				latch_count(c, tick);
			if (!(value & READ_BACK_NO_STATUS) && !c->status_latched) {
				c->status = status(c, tick);
				c->status_latched = true;
			}
		}
		return;
	}
	if ((value >> 4 & 3) == PIT_LATCH) {
		latch_count(c, tick);
		return;
	}
	*c = (struct pit_channel){.access = value >> 4 & 3, .mode = value >> 1 & 7, .bcd = value & 1, .gate = c->gate};
	if (c->mode > 5)
		c->mode -= 4; /* bit 2 of modes 2 and 3 does not matter */
	c->count = count_written(c, 0);
	c->stopped = -1;
}

static void write_count(struct pit_channel *c, uint8_t value, int64_t tick)
{
	switch (c->access) {
	case PIT_LOW:
		load(c, count_written(c, value), tick);
		break;
	case PIT_HIGH:
		load(c, count_written(c, (uint16_t)(value << 8)), tick);
		break;
	case PIT_BOTH:
		if (c->write_high) {
			load(c, count_written(c, (uint16_t)(value << 8 | c->written_low)), tick);
		} else {
			c->written_low = value;
			if (c->mode == 0)
				c->loaded = false; /* the first byte stops the count, output low */
		}
		c->write_high = !c->write_high;
		break;
	case PIT_LATCH: /* a command, never a channel's access */
		break;
	}
}

static uint8_t read_count(struct pit_channel *c, int64_t tick)
{
	uint16_t v;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->latched ? c->latch : current(c, tick);
	high = c->access == PIT_BOTH ? c->read_high : c->access == PIT_HIGH;
	if (c->access == PIT_BOTH)
		c->read_high = !c->read_high;
	if (c->latched)
		c->latched--;
	return (uint8_t)(high ? v >> 8 : v);
}

void pit_write(struct pit *p, uint16_t port, uint8_t value, uint64_t now)
{
	int64_t tick = ticks_at(p, now);
	struct pit_channel *c = &p->channel[(port - PIT_PORT) % PIT_CHANNELS];

	catch_up(p, tick);
	if (port == PIT_SPEAKER_PORT) {
		p->speaker = value & SPEAKER_WRITABLE;
		set_gate(&p->channel[PIT_SPEAKER_CHANNEL], value & SPEAKER_GATE, tick);
	} else if (port == PIT_PORT + CONTROL) {
		write_control(p, value, tick);
	} else {
		write_count(c, value, tick);
	}
	irq_set_line(p->irq, PIT_IRQ, output(&p->channel[0], tick));
}

uint8_t pit_read(struct pit *p, uint16_t port, uint64_t now)
{
	int64_t tick = ticks_at(p, now);
	struct pit_channel *speaker = &p->channel[PIT_SPEAKER_CHANNEL];

	catch_up(p, tick);
	if (port == PIT_SPEAKER_PORT)
		return (uint8_t)(p->speaker | (tick / REFRESH_TICKS & 1 ? SPEAKER_REFRESH : 0) |
				 (output(speaker, tick) ? SPEAKER_OUT : 0));
	if (port == PIT_PORT + CONTROL)
		return 0xff;
	return read_count(&p->channel[port - PIT_PORT], tick);
}

static enum bus_outcome pit_io(void *pit, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	(void)size;
	if (write)
		pit_write(pit, port, (uint8_t)*value, host_clock());
	else
		*value = pit_read(pit, port, host_clock());
	return BUS_DONE;
}

void pit_init(struct pit *p, struct irq *irq, uint64_t now)
{
	*p = (struct pit){.irq = irq, .origin = now, .hz = host_clock_hz()};
	CHECK(p->hz >= 1000000 && p->hz < 1UL << 40);
	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		p->channel[i] = (struct pit_channel){.mode = 3, .access = PIT_BOTH, .stopped = -1, .count = 65536};
		p->channel[i].gate = i != PIT_SPEAKER_CHANNEL;
	}
	p->channel[0].loaded = true;
	irq_set_line(irq, PIT_IRQ, output(&p->channel[0], 0));
}

void pit_attach(struct pit *p, struct bus *b)
{
	bus_add(b, PIT_PORT, PIT_PORT + CONTROL, 1, pit_io, p);
	bus_add(b, PIT_SPEAKER_PORT, PIT_SPEAKER_PORT, 1, pit_io, p);
}
