/* SPDX-License-Identifier: MIT */
/* A bounded queue of bytes, for one CPU. Pure. */
#ifndef HV_RING_H
#define HV_RING_H

#include <stdbool.h>
#include <stdint.h>

#define RING_BYTES 4096u /* a power of two: positions wrap */

/* put and taken count for ever; put - taken bytes are in it. */
struct ring {
	uint32_t put, taken;
	uint8_t byte[RING_BYTES];
};

_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "positions wrap");

static inline bool ring_full(const struct ring *r)
{
	return r->put - r->taken == RING_BYTES;
}

/* It is not full. */
static inline void ring_put(struct ring *r, uint8_t byte)
{
	r->byte[r->put++ % RING_BYTES] = byte;
}

/* The oldest bytes that lie in one piece: where, and how many. ring_drop() takes n of them away. */
static inline unsigned ring_piece(const struct ring *r, const uint8_t **first)
{
	uint32_t at = r->taken % RING_BYTES, n = r->put - r->taken;

	*first = &r->byte[at];
	return n < RING_BYTES - at ? n : RING_BYTES - at;
}

static inline void ring_drop(struct ring *r, unsigned n)
{
	r->taken += n;
}

static inline void ring_clear(struct ring *r)
{
	r->taken = r->put;
}

#endif
