/* SPDX-License-Identifier: MIT */
/* The PC's clock and its battery-backed memory (Motorola MC146818A data sheet; the memory-size registers as IBM's and
 * later firmware uses them). The date starts at a fixed one, so that runs can be repeated, and runs by the TSC; a guest
 * cannot set it. No interrupts. */
#ifndef GUEST_CMOS_H
#define GUEST_CMOS_H

#include "guest/bus.h"

#define CMOS_INDEX_PORT 0x70
#define CMOS_DATA_PORT 0x71
#define CMOS_BYTES 128
/* 2026-01-01 00:00:00, a Thursday: seconds since 1970 when the guest is made. */
#define CMOS_EPOCH 1767225600UL

struct cmos {
	uint8_t index;
	uint8_t ram[CMOS_BYTES];
	uint64_t origin, hz; /* TSC at the epoch; TSC ticks a second */
};

/* mem: the guest's RAM, bytes. vcpus: their number. now: TSC ticks. */
void cmos_init(struct cmos *c, uint64_t mem, unsigned vcpus, uint64_t now);
void cmos_attach(struct cmos *c, struct bus *b);
/* Register `index` (0 … 127) at the TSC `now`. */
uint8_t cmos_read(const struct cmos *c, unsigned index, uint64_t now);
/* A write; time, memory-size and read-only registers stay as they are. */
void cmos_write(struct cmos *c, unsigned index, uint8_t value);

#endif
