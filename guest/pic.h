/* SPDX-License-Identifier: MIT */
/* The PC's two 8259A interrupt controllers (Intel 8259A data sheet, order number 231468), the second on line 2 of the
 * first. Lines 0 … 7 are the first one's, 8 … 15 the second one's. */
#ifndef GUEST_PIC_H
#define GUEST_PIC_H

#include "guest/bus.h"

#define PIC_FIRST 0x20
#define PIC_SECOND 0xa0
#define PIC_ELCR 0x4d0 /* and the next: which lines of either chip are by level (Intel 82371SB data sheet, ELCR1 and ELCR2) */
#define PIC_CASCADE 2 /* the first one's line that the second one drives */

enum pic_command { PIC_READY, PIC_EXPECT_ICW2, PIC_EXPECT_ICW3, PIC_EXPECT_ICW4 };

struct pic_chip {
	uint8_t irr, isr, imr; /* requests, in service, masked: one bit a line */
	uint8_t lines;         /* levels of the inputs */
	uint8_t elcr;          /* lines that are by level though the chip is not */
	uint8_t base;          /* vector of line 0 */
	uint8_t lowest;        /* the line of lowest priority; the one after it has the highest */
	enum pic_command expect;
	bool single, level, needs_icw4, auto_eoi, rotate_auto, nested, special_mask, read_isr, poll;
};

struct pic {
	struct pic_chip chip[2];
	int offered;       /* vector offered to the CPU now, or -1 */
	uint64_t spurious; /* acknowledgements that found no request */
};

/* As a PC's firmware leaves them: vectors 0x08 and 0x70, every line masked. */
void pic_init(struct pic *p);
/* Connects both to the bus. */
void pic_attach(struct pic *p, struct bus *b);
/* Sets the level of a line, 0 … 15. Edges are latched until acknowledged. */
void pic_set_line(struct pic *p, unsigned line, bool level);
/* A low, then a high level: an edge whatever was before. The line stays high. */
void pic_pulse(struct pic *p, unsigned line);
/* The vector offered now, or -1. Changes nothing. */
static inline int pic_offered(const struct pic *p)
{
	return p->offered;
}
/* The CPU acknowledges: the vector to deliver. With no request left it is the spurious one (line 7 of a chip). */
uint8_t pic_acknowledge(struct pic *p);
/* A port access of one byte, as bus_handler. */
enum bus_outcome pic_io(void *pic, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
