/* SPDX-License-Identifier: MIT */
/* Port I/O of one guest: a small table of port ranges. Any other port reads all ones, ignores writes, and is counted. */
#ifndef GUEST_BUS_H
#define GUEST_BUS_H

#include "mm/addr.h"

enum bus_outcome {
	BUS_DONE,
	BUS_RETRY, /* waits for another flow: run the instruction again later, nothing has happened */
};

/* A device's handler: port is absolute, size 1, 2 or 4 bytes; *value is the data (zero-extended), in or out. */
typedef enum bus_outcome (*bus_handler)(void *device, uint16_t port, unsigned size, bool write, uint32_t *value);

#define BUS_RANGES 24
struct bus_range { uint16_t first, last; bus_handler handler; void *device; };
struct bus {
	struct bus_range range[BUS_RANGES];
	unsigned ranges;
	uint64_t unclaimed; /* accesses that no device took */
};

void bus_add(struct bus *b, uint16_t first, uint16_t last, bus_handler handler, void *device);
/* One access of size 1, 2 or 4 bytes. */
enum bus_outcome bus_io(struct bus *b, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
