/* SPDX-License-Identifier: MIT */
#include "guest/bus.h"
#include "mm/host.h"

void bus_add(struct bus *b, uint16_t first, uint16_t last, unsigned width, bus_handler handler, void *device)
{
	CHECK(b->ranges < BUS_RANGES && first <= last);
	CHECK(width == 1 || width == 2 || width == 4);
	for (unsigned i = 0; i < b->ranges; i++)
		CHECK(last < b->range[i].first || first > b->range[i].last);
	b->range[b->ranges++] = (struct bus_range){first, last, (uint8_t)width, false, handler, device};
}

void bus_add_concurrent(struct bus *b, uint16_t first, uint16_t last, unsigned width, bus_handler handler, void *device)
{
	CHECK(width > 1);
	bus_add(b, first, last, width, handler, device);
	b->range[b->ranges - 1].concurrent = true;
}

static struct bus_range *find(struct bus *b, uint32_t port)
{
	for (unsigned i = 0; i < b->ranges; i++)
		if (port >= b->range[i].first && port <= b->range[i].last)
			return &b->range[i];
	return 0;
}

/* The access that no device takes whole: each byte-wide device sees its byte. */
static void split(struct bus *b, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	uint32_t result = 0;
	bool unclaimed = false;

	for (unsigned i = 0; i < size; i++) {
		struct bus_range *r = find(b, (uint32_t)port + i);
		uint32_t byte = write ? *value >> (8 * i) & 0xff : 0xff;

		if (r && r->width == 1)
			r->handler(r->device, (uint16_t)(port + i), 1, write, &byte);
		else
			unclaimed = true;
		result |= (byte & 0xff) << (8 * i);
	}
	b->unclaimed += unclaimed;
	if (!write)
		*value = result;
}

enum bus_outcome bus_io(struct bus *b, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct bus_range *r = find(b, port);
	bool whole = r && size <= r->width && port + size - 1 <= r->last;

	if (whole && r->concurrent)
		return r->handler(r->device, port, size, write, value);
	lock_take(&b->lock);
	if (whole)
		r->handler(r->device, port, size, write, value);
	else
		split(b, port, size, write, value);
	lock_drop(&b->lock);
	return BUS_DONE;
}
