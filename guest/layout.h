/* SPDX-License-Identifier: MIT */
/* What of a guest's RAM below 4 GiB is taken while it is loaded. */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#define LAYOUT_MAX 64

struct layout {
	uint64_t mem; /* the guest's RAM, bytes */
	unsigned ranges;
	struct {
		uint64_t start, bytes;
	} range[LAYOUT_MAX];
};

enum layout_outcome {
	LAYOUT_TAKEN,
	LAYOUT_OUTSIDE, /* not all of it is RAM below 4 GiB */
	LAYOUT_OVERLAP, /* some of it is taken already */
};

/* Takes the bytes (at least 1) from start on, or nothing. */
enum layout_outcome layout_take(struct layout *l, uint64_t start, uint64_t bytes);
/* Takes the lowest free bytes (at least 1) at or above `from`, aligned to align (a power of two); failing that the
 * lowest above the first page. False: there is no such place. */
bool layout_place(struct layout *l, uint64_t from, uint64_t bytes, uint64_t align, uint64_t *start);
/* Takes the highest free bytes (at least 1) from `from` on that end at or below `end`, aligned likewise. */
bool layout_place_high(
	struct layout *l, uint64_t from, uint64_t end, uint64_t bytes, uint64_t align, uint64_t *start);

#endif
