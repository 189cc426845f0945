/* SPDX-License-Identifier: MIT */
/* The PC's clock and its battery-backed memory (Motorola MC146818A data sheet; the century and the memory-size registers as
 * IBM's and later firmware uses them). The date starts at a fixed one, so that runs can be repeated, and runs by the TSC from
 * there or from what the guest sets; each guest has its own. Its interrupts are on IRQ 8.
 *
 * Nothing counts: the clock is a second and the TSC at which it began; the time shown, periods and alarms are computed from
 * the time passed since. While the guest holds it (SET, or the divider in reset) the time is in the registers. An update is
 * done at once, when a second begins. Daylight saving and the square wave are bits without effect; a change of format
 * converts the time while the clock runs, but never what was set or an alarm. */
#ifndef GUEST_CMOS_H
#define GUEST_CMOS_H

#include "guest/irq.h"

#define CMOS_INDEX_PORT 0x70
#define CMOS_DATA_PORT 0x71
#define CMOS_BYTES 128
#define CMOS_IRQ 8
/* 2026-01-01 00:00:00, a Thursday: seconds since 1970 when the guest is made. */
#define CMOS_EPOCH 1767225600UL

struct cmos {
	struct irq *irq;
	uint8_t index;
	uint8_t ram[CMOS_BYTES]; /* the registers; those of the time while it is held */
	uint64_t hz;             /* TSC ticks a second */
	uint64_t seconds;        /* since 0000-01-01 00:00:00, at the TSC `began` */
	uint64_t began;          /* where the divider's seconds and periods begin; not while it is in reset */
	uint64_t checked;        /* TSC up to which register C tells what happened */
	unsigned weekday_shift;  /* days by which the guest's day of the week is ahead of the calendar's */
};

/* mem: the guest's RAM, bytes. vcpus: their number. now: TSC ticks. */
void cmos_init(struct cmos *c, struct irq *irq, uint64_t mem, unsigned vcpus, uint64_t now);
void cmos_attach(struct cmos *c, struct bus *b);
/* Register `index` (0 … 127) at the TSC `now`. Reading register C clears it, and ends the interrupt. */
uint8_t cmos_read(struct cmos *c, unsigned index, uint64_t now);
/* A write; memory-size and read-only registers stay as they are. */
void cmos_write(struct cmos *c, unsigned index, uint8_t value, uint64_t now);
/* Raises the interrupt line when periods, an update or an alarm came up to now; it stays until register C is read. Returns
 * the TSC at which to call it next, at least 50 microseconds away; UINT64_MAX: not before the guest's next access. */
uint64_t cmos_tick(struct cmos *c, uint64_t now);

#endif
