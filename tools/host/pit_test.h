/* SPDX-License-Identifier: MIT */
/* A timer and an interrupt controller under a clock that the test turns, for tests of guest/pit.c. The native TSC runs at 1 GHz. */
#ifndef TOOLS_HOST_PIT_TEST_H
#define TOOLS_HOST_PIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/pit.h"
#include "tools/host/native.h"

#define ORIGIN 123456789UL
#define HZ 1000000000UL
#define MODE(channel, mode) ((channel) << 6 | 0x30 | (mode) << 1)

struct machine {
	struct pic pic;
	struct irq irq;
	struct pit pit;
};

/* The first nanosecond of a PIT tick. */
static inline uint64_t at(uint64_t tick)
{
	return ORIGIN + (tick * HZ + PIT_HZ - 1) / PIT_HZ;
}

static inline void out(struct machine *m, uint16_t port, uint8_t value, uint64_t tick)
{
	pit_write(&m->pit, port, value, at(tick));
}

static inline uint8_t in(struct machine *m, uint16_t port, uint64_t tick)
{
	return pit_read(&m->pit, port, at(tick));
}

static inline void set_count(struct machine *m, unsigned channel, unsigned count, uint64_t tick)
{
	out(m, (uint16_t)(PIT_PORT + channel), (uint8_t)count, tick);
	out(m, (uint16_t)(PIT_PORT + channel), (uint8_t)(count >> 8), tick);
}

static inline unsigned get_count(struct machine *m, unsigned channel, uint64_t tick)
{
	unsigned low;

	out(m, PIT_PORT + 3, (uint8_t)(channel << 6), tick);
	low = in(m, (uint16_t)(PIT_PORT + channel), tick);
	return low | (unsigned)in(m, (uint16_t)(PIT_PORT + channel), tick) << 8;
}

static inline bool speaker_out(struct machine *m, uint64_t tick)
{
	return in(m, PIT_SPEAKER_PORT, tick) & 0x20;
}

/* Line 0 unmasked, automatic EOI. */
static inline void set_up(struct machine *m)
{
	static const uint8_t words[][2] = {{0, 0x11}, {1, 0x20}, {1, 4}, {1, 3}, {1, 0xfe}};

	*m = (struct machine){0};
	pic_init(&m->pic);
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
		uint32_t value = words[i][1];

		pic_io(&m->pic, PIC_FIRST + words[i][0], 1, true, &value);
	}
	m->irq = (struct irq){.pic = &m->pic};
	pit_init(&m->pit, &m->irq, ORIGIN);
}

/* True when a timer interrupt was pending; it is acknowledged. */
static inline bool ticked(struct machine *m)
{
	if (pic_offered(&m->pic) != 0x20)
		return false;
	pic_acknowledge(&m->pic);
	return true;
}

/* A machine whose channel 0 was just put into a mode with a count at tick 10, requests so far forgotten. */
static inline void start(struct machine *m, unsigned mode, unsigned count)
{
	set_up(m);
	out(m, PIT_PORT + 3, (uint8_t)MODE(0, mode), 10);
	set_count(m, 0, count, 10);
	ticked(m);
	m->pit.edges = m->pit.coalesced = 0;
}

#endif
