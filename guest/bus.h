/* SPDX-License-Identifier: MIT */
/* Port I/O of one guest: a small table of port ranges. Any other port reads all ones, ignores writes; it is counted. */
#ifndef GUEST_BUS_H
#define GUEST_BUS_H

#include "mm/addr.h"

enum bus_outcome {
	BUS_DONE,
	BUS_RETRY, /* waits for another flow: run the instruction again later, nothing has happened */
};

/* A device's handler: port is absolute, size 1, 2 or 4 bytes and at most the range's width; *value is the data
 * (zero-extended), in or out. */
typedef enum bus_outcome (*bus_handler)(void *device, uint16_t port, unsigned size, bool write, uint32_t *value);

#define BUS_RANGES 24
struct bus_range {
	uint16_t first, last;
	uint8_t width; /* widest access that the device takes whole, bytes */
	bus_handler handler;
	void *device;
};
struct bus {
	struct bus_range range[BUS_RANGES];
	unsigned ranges;
	uint64_t unclaimed; /* accesses of which some byte went to no device */
};

/* Ports first … last belong to device. width: 1, 2 or 4. A wider access reaches a device of width 1 byte by byte, as on
 * the ISA bus; others do not see it. Devices of width 1 never return BUS_RETRY. */
void bus_add(struct bus *b, uint16_t first, uint16_t last, unsigned width, bus_handler handler, void *device);
/* One access of size 1, 2 or 4 bytes. */
enum bus_outcome bus_io(struct bus *b, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
