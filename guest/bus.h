/* SPDX-License-Identifier: MIT */
/* Port I/O of one guest: a small table of port ranges. Any other port reads all ones, ignores writes; it is counted. */
#ifndef GUEST_BUS_H
#define GUEST_BUS_H

#include "mm/lock.h"

enum bus_outcome {
	BUS_DONE,
	BUS_RETRY, /* waits for another flow: run the instruction again later, nothing has happened */
	BUS_QUIET, /* the same, and the guest's other vCPUs must stand still then (vm->quiet) */
};

/* A device's handler: port is absolute, size 1, 2 or 4 bytes and at most the range's width; *value is the data
 * (zero-extended), in or out. */
typedef enum bus_outcome (*bus_handler)(void *device, uint16_t port, unsigned size, bool write, uint32_t *value);

#define BUS_RANGES 24
struct bus_range {
	uint16_t first, last;
	uint8_t width; /* widest access that the device takes whole, bytes */
	bool concurrent;
	bus_handler handler;
	void *device;
};
struct bus {
	struct lock lock; /* the devices', their interrupt lines' and the console's, but for concurrent ones */
	struct bus_range range[BUS_RANGES];
	unsigned ranges;
	uint64_t unclaimed; /* accesses of which some byte went to no device */
};

/* Ports first … last belong to device. width: 1, 2 or 4. A wider access reaches a device of width 1 byte by byte, as on
 * the ISA bus; others do not see it. The handler runs under the bus's lock: it waits for nothing and returns BUS_DONE. */
void bus_add(struct bus *b, uint16_t first, uint16_t last, unsigned width, bus_handler handler, void *device);
/* A device that looks after itself when several vCPUs use it at once: its handler holds no lock, and may return any
 * outcome. width: 2 or 4. */
void bus_add_concurrent(struct bus *b, uint16_t first, uint16_t last, unsigned width, bus_handler handler, void *device);
/* One access of size 1, 2 or 4 bytes. Any vCPU, outside locks. */
enum bus_outcome bus_io(struct bus *b, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
