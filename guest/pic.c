/* SPDX-License-Identifier: MIT */
#include "guest/pic.h"

/* Command words, told apart by the port and two bits (data sheet, "Programming the 8259A"). */
#define ICW1 0x10
#define ICW1_NEEDS_ICW4 0x01
#define ICW1_SINGLE 0x02
#define ICW1_LEVEL 0x08
#define ICW2_BASE 0xf8
#define ICW4_AUTO_EOI 0x02
#define ICW4_NESTED 0x10
#define OCW3 0x08
#define OCW3_READ_ISR 0x01
#define OCW3_READ 0x02
#define OCW3_POLL 0x04
#define OCW3_SPECIAL_MASK 0x20
#define OCW3_SET_SPECIAL_MASK 0x40
#define POLL_REQUEST 0x80

#define SPURIOUS_LINE 7
#define FIRST_BASE 0x08
#define SECOND_BASE 0x70

/* OCW2, bits 7:5: rotate, specific, end of interrupt. */
enum ocw2 {
	OCW2_STOP_ROTATE_AUTO = 0,
	OCW2_EOI = 1,
	OCW2_NOTHING = 2,
	OCW2_SPECIFIC_EOI = 3,
	OCW2_ROTATE_AUTO = 4,
	OCW2_ROTATE_EOI = 5,
	OCW2_SET_LOWEST = 6,
	OCW2_ROTATE_SPECIFIC_EOI = 7,
};

/* Timer, keyboard and cascade, clock and coprocessor are by edge always. */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

static uint8_t by_level(const struct pic_chip *c)
{
	return c->level ? 0xff : c->elcr;
}

/* The line of highest priority among those in the set, or -1. */
static int highest(const struct pic_chip *c, uint8_t set)
{
	for (unsigned i = 1; i <= 8; i++) {
		unsigned line = (c->lowest + i) & 7;

		if (set >> line & 1)
			return (int)line;
	}
	return -1;
}

/* Priority of a line: 0 is the highest. */
static unsigned priority(const struct pic_chip *c, int line)
{
	return ((unsigned)line - c->lowest - 1) & 7;
}

/* The line whose request reaches the chip's output, or -1. */
static int request(const struct pic *p, unsigned which)
{
	const struct pic_chip *c = &p->chip[which];
	uint8_t blocking = c->special_mask ? c->isr & ~c->imr : c->isr;
	int line = highest(c, c->irr & ~c->imr), served;

	if (line < 0 || c->expect != PIC_READY)
		return -1;
	/* Special fully nested mode: a request of the second chip does not wait for its earlier one. */
	if (c->nested && which == 0 && line == PIC_CASCADE)
		blocking &= (uint8_t) ~(1u << PIC_CASCADE);
	served = highest(c, blocking);
	return served < 0 || priority(c, line) < priority(c, served) ? line : -1;
}

/* After any change: carries the second chip's output to the first, and finds what the CPU is offered. */
static void update(struct pic *p)
{
	int second = request(p, 1), first;

	if (second >= 0) {
		p->chip[0].lines |= 1u << PIC_CASCADE;
		p->chip[0].irr |= 1u << PIC_CASCADE; /* stays latched if the second chip's request goes away */
	} else {
		p->chip[0].lines &= (uint8_t) ~(1u << PIC_CASCADE);
		if (by_level(&p->chip[0]) & 1u << PIC_CASCADE)
			p->chip[0].irr &= (uint8_t) ~(1u << PIC_CASCADE);
	}
	first = request(p, 0);
	if (first < 0)
		p->offered = -1;
	else if (first != PIC_CASCADE)
		p->offered = p->chip[0].base + first;
	else
		p->offered = p->chip[1].base + (second >= 0 ? second : SPURIOUS_LINE);
}

static void reset(struct pic_chip *c, uint8_t base)
{
	*c = (struct pic_chip){.base = base, .imr = 0xff, .lowest = 7};
}

void pic_init(struct pic *p)
{
	p->spurious = 0;
	reset(&p->chip[0], FIRST_BASE);
	reset(&p->chip[1], SECOND_BASE);
	update(p);
}

void pic_set_line(struct pic *p, unsigned line, bool level)
{
	struct pic_chip *c = &p->chip[line / 8 & 1];
	uint8_t bit = (uint8_t)(1u << (line & 7)), by_level_now = by_level(c) & bit;

	if (level && (by_level_now || !(c->lines & bit)))
		c->irr |= bit;
	else if (!level && by_level_now)
		c->irr &= (uint8_t)~bit;
	c->lines = level ? c->lines | bit : c->lines & (uint8_t)~bit;
	update(p);
}

void pic_pulse(struct pic *p, unsigned line)
{
	pic_set_line(p, line, false);
	pic_set_line(p, line, true);
}

/* The chip's request is taken: in service, unless it ends by itself. */
static void take(struct pic_chip *c, int line)
{
	uint8_t bit = (uint8_t)(1u << line);

	if (!(by_level(c) & bit))
		c->irr &= (uint8_t)~bit;
	if (!c->auto_eoi)
		c->isr |= bit;
	else if (c->rotate_auto)
		c->lowest = (uint8_t)line;
}

uint8_t pic_acknowledge(struct pic *p)
{
	int first = request(p, 0), second = -1;
	int vector = p->chip[0].base + SPURIOUS_LINE;

	if (first >= 0) {
		take(&p->chip[0], first);
		vector = p->chip[0].base + first;
	}
	if (first == PIC_CASCADE) {
		second = request(p, 1);
		if (second >= 0)
			take(&p->chip[1], second);
		vector = p->chip[1].base + (second >= 0 ? second : SPURIOUS_LINE);
	}
	if (first < 0 || (first == PIC_CASCADE && second < 0))
		p->spurious++;
	update(p);
	return (uint8_t)vector;
}

static void write_icw1(struct pic_chip *c, uint8_t value)
{
	uint8_t lines = c->lines, base = c->base, elcr = c->elcr;

	*c = (struct pic_chip){.base = base, .lines = lines, .elcr = elcr, .lowest = 7, .expect = PIC_EXPECT_ICW2};
	c->needs_icw4 = value & ICW1_NEEDS_ICW4;
	c->single = value & ICW1_SINGLE;
	c->level = value & ICW1_LEVEL;
	c->irr = lines & by_level(c);
}

static void write_ocw2(struct pic_chip *c, uint8_t value)
{
	enum ocw2 command = value >> 5;
	int line = value & 7;

	if (command == OCW2_ROTATE_AUTO || command == OCW2_STOP_ROTATE_AUTO)
		c->rotate_auto = command == OCW2_ROTATE_AUTO;
	if (command == OCW2_EOI || command == OCW2_ROTATE_EOI)
		line = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);
	if (line < 0)
		return;
	if (command & OCW2_EOI)
		c->isr &= (uint8_t) ~(1u << line);
	if (command == OCW2_ROTATE_EOI || command == OCW2_ROTATE_SPECIFIC_EOI || command == OCW2_SET_LOWEST)
		c->lowest = (uint8_t)line;
}

static void write_ocw3(struct pic_chip *c, uint8_t value)
{
	if (value & OCW3_SET_SPECIAL_MASK)
		c->special_mask = value & OCW3_SPECIAL_MASK;
	if (value & OCW3_READ)
		c->read_isr = value & OCW3_READ_ISR;
	c->poll = value & OCW3_POLL;
}

/* The chip's odd port: the initialisation sequence goes on, or the mask is set. */
static void write_data(struct pic_chip *c, uint8_t value)
{
	switch (c->expect) {
	case PIC_READY:
		c->imr = value;
		break;
	case PIC_EXPECT_ICW2:
		c->base = value & ICW2_BASE;
		c->expect = !c->single ? PIC_EXPECT_ICW3 : c->needs_icw4 ? PIC_EXPECT_ICW4 : PIC_READY;
		break;
	case PIC_EXPECT_ICW3: /* the wiring is fixed */
		c->expect = c->needs_icw4 ? PIC_EXPECT_ICW4 : PIC_READY;
		break;
	case PIC_EXPECT_ICW4:
		c->auto_eoi = value & ICW4_AUTO_EOI;
		c->nested = value & ICW4_NESTED;
		c->expect = PIC_READY;
		break;
	}
}

/* A poll takes the place of an acknowledgement. */
static uint8_t read_poll(struct pic *p, unsigned which)
{
	int line = request(p, which);

	p->chip[which].poll = false;
	if (line < 0)
		return 0;
	take(&p->chip[which], line);
	return (uint8_t)(POLL_REQUEST | line);
}

/* Lines that come to be by level request while they are high; those that come to be by edge keep what they have latched. */
static void write_elcr(struct pic_chip *c, uint8_t value)
{
	uint8_t changed = (uint8_t)(value & ~by_level(c));

	c->elcr = value;
	c->irr = (uint8_t)((c->irr & ~changed) | (c->lines & changed));
}

static enum bus_outcome pic_elcr_io(void *pic, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct pic *p = pic;
	unsigned which = port & 1;

	(void)size;
	if (write)
		write_elcr(&p->chip[which], *value & elcr_writable[which]);
	else
		*value = p->chip[which].elcr;
	update(p);
	return BUS_DONE;
}

void pic_attach(struct pic *p, struct bus *b)
{
	bus_add(b, PIC_FIRST, PIC_FIRST + 1, 1, pic_io, p);
	bus_add(b, PIC_SECOND, PIC_SECOND + 1, 1, pic_io, p);
	bus_add(b, PIC_ELCR, PIC_ELCR + 1, 1, pic_elcr_io, p);
}

enum bus_outcome pic_io(void *pic, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct pic *p = pic;
	unsigned which = port >= PIC_SECOND;
	struct pic_chip *c = &p->chip[which];

	(void)size;
	if (!write) {
		if (c->poll)
			*value = read_poll(p, which);
		else
			*value = port & 1 ? c->imr : c->read_isr ? c->isr : c->irr;
	} else if (port & 1) {
		write_data(c, (uint8_t)*value);
	} else if (*value & ICW1) {
		write_icw1(c, (uint8_t)*value);
	} else if (*value & OCW3) {
		write_ocw3(c, (uint8_t)*value);
	} else {
		write_ocw2(c, (uint8_t)*value);
	}
	update(p);
	return BUS_DONE;
}
