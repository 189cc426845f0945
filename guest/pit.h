/* SPDX-License-Identifier: MIT */
/* The PC's 8254 timer (Intel 8254 data sheet, order number 231164) and the speaker gate, port 0x61.
 *
 * Nothing counts: each counter keeps the tick at which its count was loaded, and what it shows is computed from the
 * time that has passed since the timer was made, so that no rounding adds up. Times are TSC ticks; a PIT tick is
 * 1/1193182 s. */
#ifndef GUEST_PIT_H
#define GUEST_PIT_H

#include "guest/irq.h"

#define PIT_HZ 1193182UL
#define PIT_CHANNELS 3
#define PIT_PORT 0x40
#define PIT_SPEAKER_PORT 0x61
#define PIT_SPEAKER_CHANNEL 2
#define PIT_IRQ 0

enum pit_access { PIT_LATCH, PIT_LOW, PIT_HIGH, PIT_BOTH }; /* as the control word numbers them */

struct pit_channel {
	uint8_t mode; /* 0 … 5 */
	bool bcd, gate;
	enum pit_access access;
	bool loaded;     /* a count was written since the control word: the output runs */
	bool triggered;  /* modes 1 and 5: the gate rose since `loaded` */
	uint32_t count;  /* 1 … 65536 (BCD: 10000), in force since `start` */
	int64_t start;   /* PIT tick at which it was loaded */
	int64_t stopped; /* PIT tick at which the gate stopped it, or -1 */
	uint32_t next;   /* count written while another runs; 0: none */
	int64_t next_at; /* PIT tick at which it takes over; INT64_MAX: at a trigger */
	bool write_high; /* the next byte written is the high one */
	uint8_t written_low;
	bool read_high;   /* the next byte read is the high one */
	unsigned latched; /* bytes of the latched count still to be read, 0 … 2 */
	uint16_t latch;
	bool status_latched;
	uint8_t status;
};

struct pit {
	struct irq *irq;
	struct pit_channel channel[PIT_CHANNELS];
	uint64_t origin;    /* TSC at PIT tick 0 */
	uint64_t hz;        /* TSC ticks a second */
	int64_t checked;    /* PIT tick up to which channel 0's edges were delivered */
	uint8_t speaker;    /* port 0x61 as written, bits 3:0 */
	uint64_t edges;     /* rising edges of channel 0 so far */
	uint64_t coalesced; /* of these, those that shared an interrupt with a later one */
};

/* Channel 0 runs in mode 3 with count 65536, as firmware leaves it; the others are at rest. now: TSC ticks. */
void pit_init(struct pit *p, struct irq *irq, uint64_t now);
void pit_attach(struct pit *p, struct bus *b);
/* Delivers what channel 0 has to deliver up to now. However late it is called, at most one interrupt becomes pending.
 * Returns the TSC at which to call it next, at least 50 microseconds away; UINT64_MAX: never. */
uint64_t pit_tick(struct pit *p, uint64_t now);
/* One byte written to or read from a port at the TSC `now`. */
void pit_write(struct pit *p, uint16_t port, uint8_t value, uint64_t now);
uint8_t pit_read(struct pit *p, uint16_t port, uint64_t now);

#endif
