/* SPDX-License-Identifier: MIT */
/* Type-stable per-CPU slabs (DESIGN section 5).
 *
 * A block is 2^order pages, aligned to its size: header and side array first, objects at its end. An object may be
 * reused for the same type at once, also under a reader; a whole empty block goes back to the page allocator only after
 * a grace period. Nothing is ever written into a free object (but poison, in that mode, after a grace period). Side data
 * of an object is bookkeeping that readers never look at. */
#ifndef MM_SLAB_H
#define MM_SLAB_H

#include "mm/lock.h"

enum slab_mode { SLAB_NORMAL, SLAB_LIFO, SLAB_POISON };
/* Set once before the first cache is made: option slab=normal|lifo|poison. */
void slab_set_mode(enum slab_mode mode);

struct slab_cache; /* defined here below by its implementer, so that caches can be static objects */

/* Makes a cache. object_bytes: power of two; objects are aligned to it. side_bytes: multiple of 8, zeroed when a block is
 * made. construct (may be 0 = all zero bytes) runs on every object of a new block; an object is given back in its
 * constructed state. where: PAGE_LOW or PAGE_ANY. */
#include "mm/page.h"
void slab_init(struct slab_cache *c, const char *name, unsigned order, uint32_t object_bytes, uint32_t side_bytes,
	enum page_where where, void (*construct)(void *object));

/* An object in constructed state, 0 when memory is out (after having reaped what it could). Outside sections and locks:
 * past the cap of pages that wait for a grace period it waits. */
void *slab_alloc(struct slab_cache *c);
/* Gives an object back; any CPU, under locks too (takes slab locks only, never waits, never allocates). */
void slab_free(struct slab_cache *c, void *object);
/* The side data of an object. */
void *slab_side(const struct slab_cache *c, const void *object);
/* Waits for pending frees and gives every page back. All objects must be free; outside sections and locks. */
void slab_destroy(struct slab_cache *c);
/* Reap blocks whose grace period has passed (all caches, any CPU's lists), at most max; the number freed. Called from the
 * run loop when idle and by slab_alloc under pressure. */
unsigned slab_reap(struct slab_cache *c, unsigned max);

struct slab_stats { uint64_t objects, free_objects, blocks, waiting_blocks, reused; };
struct slab_stats slab_stats(const struct slab_cache *c);

#endif
