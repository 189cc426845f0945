/* SPDX-License-Identifier: MIT */
/* Type-stable per-CPU slabs (DESIGN section 5).
 *
 * A block is 2^order pages, aligned to its size: header, link array and side array first, objects at its end. An
 * object may be reused for the same type at once, also under a reader; a whole empty block goes back to the page
 * allocator only after a grace period. Nothing is ever written into a free object (but poison, in that mode, after a
 * grace period). Side data of an object is bookkeeping that readers never look at. */
#ifndef MM_SLAB_H
#define MM_SLAB_H

#include "mm/lock.h"
#include "mm/page.h"

/* NORMAL: what this CPU freed last is what it gets first. LIFO: what any CPU freed last is what the next one gets, so
 * that an object changes its identity under a reader as often as can be. POISON: an object that was freed waits for a
 * grace period and is poisoned; it is checked and restored before it is reused. */
enum slab_mode { SLAB_NORMAL, SLAB_LIFO, SLAB_POISON };
/* Option slab=normal|lifo|poison; NORMAL if never called. After page_init and before the first cache is made, on one
 * CPU: caches made before are forgotten as page_init forgets their pages. */
void slab_set_mode(enum slab_mode mode);

/* The cap on bytes that wait for a grace period, all caches together; SLAB_CAP if never called. Before the first cache
 * is made. */
#define SLAB_CAP (16UL << 20)
void slab_set_cap(uint64_t bytes);

struct slab_block;

/* Fields without a lock are fixed by slab_init. */
struct slab_cache {
	const char *name;
	uint32_t object_bytes, side_bytes;
	uint32_t objects;  /* in a block */
	uint32_t first;    /* bytes from the block's start to object 0 */
	uint32_t side;     /* bytes from the block's start to the side data of object 0 */
	uint32_t delay;    /* POISON: bytes from the block's start to the array of struct slab_delay */
	unsigned order;
	unsigned shift;    /* log2 object_bytes */
	unsigned magazine; /* objects a CPU keeps at hand */
	enum page_where where;
	void (*construct)(void *object);
	void *pattern;     /* POISON: an object in constructed state */
	struct slab_cache *next; /* the registry's lock */
	atomic32 borrowed;       /* CPUs that are at it by the registry; raised under the registry's lock */

	struct lock lock; /* guards the four below */
	struct slab_block *waiting, *waiting_last; /* empty blocks that wait for a grace period, oldest first */
	void *delayed, *delayed_last;              /* POISON: objects that wait for one, oldest first */

	atomic64 last;           /* LIFO: the object freed last; exchanged by anyone */
	atomic64 blocks;         /* figures, by anyone */
	atomic64 waiting_blocks;
	atomic64 frees;          /* by CPUs that have no state of their own here */
	atomic64 cpu[HOST_MAX_CPUS]; /* struct slab_cpu *, made by that CPU's first allocation */
};

/* Makes a cache. object_bytes: power of two; objects are aligned to it. side_bytes: multiple of 8, zeroed when a
 * block is made. construct (may be 0 = all zero bytes) runs on every object of a new block, which is zeroed; the
 * state it makes must not depend on the object's address, and an object is given back in it. where: PAGE_LOW or
 * PAGE_ANY. */
void slab_init(struct slab_cache *c, const char *name, unsigned order, uint32_t object_bytes, uint32_t side_bytes,
	enum page_where where, void (*construct)(void *object));

/* An object in constructed state, 0 when memory is out (after having reaped what it could). Outside sections and
 * locks: past the cap of pages that wait for a grace period it waits. */
void *slab_alloc(struct slab_cache *c);
/* Gives an object back; any CPU, in sections and under locks too (takes slab and page locks only, never waits, never
 * allocates). */
void slab_free(struct slab_cache *c, void *object);

/* Waits for pending frees and gives every page back. All objects must be free, and no CPU may use the cache any more;
 * outside sections and locks. */
void slab_destroy(struct slab_cache *c);
/* Reap what has passed its grace period, of one cache or of all (c = 0), any CPU's, at most `max` blocks (and, POISON,
 * objects) in all; the number of blocks freed. Called from the run loop when idle and by slab_alloc under pressure.
 * Never waits. */
unsigned slab_reap(struct slab_cache *c, unsigned max);

/* Figures; exact when nobody allocates or frees. waiting_blocks are among blocks; their objects count as free. reused:
 * allocations that got an object which had left its block before. */
struct slab_stats { uint64_t objects, free_objects, blocks, waiting_blocks, reused; };
struct slab_stats slab_stats(const struct slab_cache *c);

/* The same of cache number i, from 0, and its name, which stays; false: there are no more. Outside the slabs' locks. */
bool slab_nth(unsigned i, const char **name, struct slab_stats *s);

/* Bytes that wait for a grace period now, all caches together. */
uint64_t slab_waiting(void);

/* Host frames that the slabs have, all caches together: blocks, those that wait too, and each CPU's part. */
uint64_t slab_pages(void);

/* The longest holds so far, TSC ticks: of the registry's lock, of any cache's, of any CPU's part of a cache. */
struct slab_holds { uint64_t registry, cache, cpu; };
struct slab_holds slab_holds(void);
/* Begins anew with them. Outside the slabs' locks. */
void slab_forget_holds(void);

/* The block that holds an object. */
static inline char *slab_base(const struct slab_cache *c, const void *object)
{
	return (char *)((uintptr_t)object & ~((PAGE_SIZE << c->order) - 1));
}

/* The side data of an object. */
static inline void *slab_side(const struct slab_cache *c, const void *object)
{
	char *base = slab_base(c, object);
	uint32_t index = (uint32_t)((const char *)object - base - c->first) >> c->shift;

	return base + c->side + index * c->side_bytes;
}

/* The cache of an object, for those who know the order of its blocks alone: a block begins with its cache's address. */
static inline struct slab_cache *slab_of(const void *object, unsigned order)
{
	return *(struct slab_cache **)((uintptr_t)object & ~((PAGE_SIZE << order) - 1));
}

#endif
