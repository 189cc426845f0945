/* SPDX-License-Identifier: MIT */
#include "guest/layout.h"
#include "guest/ram.h"
#include "mm/host.h"

#define FIRST_PAGE 0x1000UL

/* Index of a range that shares bytes with these, or -1. */
static int overlap(const struct layout *l, uint64_t start, uint64_t bytes)
{
	for (unsigned i = 0; i < l->ranges; i++)
		if (start < l->range[i].start + l->range[i].bytes && l->range[i].start < start + bytes)
			return (int)i;
	return -1;
}

enum layout_outcome layout_take(struct layout *l, uint64_t start, uint64_t bytes)
{
	CHECK(bytes > 0 && l->ranges < LAYOUT_MAX);
	if (start >= RAM_HIGH || !ram_holds(l->mem, start, bytes))
		return LAYOUT_OUTSIDE;
	if (overlap(l, start, bytes) >= 0)
		return LAYOUT_OVERLAP;
	l->range[l->ranges].start = start;
	l->range[l->ranges++].bytes = bytes;
	return LAYOUT_TAKEN;
}

/* Every turn leaves a range or the hole behind: at most one more than there are ranges. */
static bool place(struct layout *l, uint64_t at, uint64_t bytes, uint64_t align, uint64_t *start)
{
	for (;;) {
		int i;

		at = (at + align - 1) & ~(align - 1);
		if (at < RAM_MIDDLE && !ram_holds(l->mem, at, bytes))
			at = (RAM_MIDDLE + align - 1) & ~(align - 1);
		if (at >= RAM_HIGH || !ram_holds(l->mem, at, bytes))
			return false;
		i = overlap(l, at, bytes);
		if (i < 0)
			break;
		at = l->range[i].start + l->range[i].bytes;
	}
	*start = at;
	return layout_take(l, at, bytes) == LAYOUT_TAKEN;
}

bool layout_place(struct layout *l, uint64_t from, uint64_t bytes, uint64_t align, uint64_t *start)
{
	return place(l, from, bytes, align, start) || place(l, FIRST_PAGE, bytes, align, start);
}

/* Every turn leaves a range behind. */
bool layout_place_high(
	struct layout *l, uint64_t from, uint64_t end, uint64_t bytes, uint64_t align, uint64_t *start)
{
	uint64_t at;
	int i;

	CHECK(from >= RAM_MIDDLE);
	if (end > ram_middle_end(l->mem))
		end = ram_middle_end(l->mem);
	do {
		if (end < bytes)
			return false;
		at = (end - bytes) & ~(align - 1);
		if (at < from)
			return false;
		i = overlap(l, at, bytes);
		if (i >= 0)
			end = l->range[i].start;
	} while (i >= 0);
	*start = at;
	return layout_take(l, at, bytes) == LAYOUT_TAKEN;
}
