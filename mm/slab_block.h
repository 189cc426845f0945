/* SPDX-License-Identifier: MIT */
/* What the files of the slab share: blocks, a CPU's part of a cache, and the state of an object.
 *
 * The states of an object, as its entry in the block's link array says them:
 *
 *      FRESH ----------.                     .--- reused at once, even under readers ---.
 *   (never out)        v                     |                                          |
 *                   in a magazine --alloc--> TAKEN --free--> CACHED, in a magazine -----'
 *                      ^                                       |  (POISON: in the delayed list, a grace period long)
 *                      '------ an index: in the free list <----'  magazine full
 *
 * and of a block: full (in no list), partial, empty (at most SLAB_KEEP of a CPU), waiting (unlinked from its CPU,
 * tagged; comes back as empty, for it is type-stable, or goes to the page allocator once every reader that may stand
 * on it has left). Illegal, and checked: an object freed that is not TAKEN, a block freed to the page allocator with
 * an object out.
 *
 * A magazine is touched by its CPU alone and without a lock: no interrupt handler allocates, and nothing switches
 * flows inside these functions. Blocks belong to the CPU that made or revived them; their lists and link arrays are
 * under that CPU's lock here, whoever frees. A block's home changes only while all its objects are in it.
 *
 * Lock order: registry, then a CPU's lock or a cache's lock (never one inside the other), then the page lock.
 */
#ifndef MM_SLAB_BLOCK_H
#define MM_SLAB_BLOCK_H

#include "mm/slab.h"

#define SLAB_KEEP 2 /* empty blocks that a CPU keeps */
#define SLAB_MAGAZINE_MAX 32
#define SLAB_MAGAZINE_MIN 4

/* Values of a link that are not an index. */
#define SLAB_END 0xffff
#define SLAB_TAKEN 0xfffe
#define SLAB_CACHED 0xfffd
#define SLAB_FRESH 0xfffc

struct slab_block {
	struct slab_cache *cache;        /* first: slab_of */
	struct slab_cpu *home;           /* whose lock guards what follows */
	struct slab_block *next, *prev;  /* in home's list, or next in the waiting list */
	uint64_t tag;                    /* waiting: RCU's */
	uint16_t free;                   /* objects in the free list or never handed out */
	uint16_t head;                   /* free list, through link */
	uint16_t fresh;                  /* objects from this index on were never handed out */
	uint16_t link[];                 /* one per object; that of an object in use is its holder's */
};

struct slab_list {
	struct slab_block *first;
};

/* One CPU's part of a cache, in a page of its own. */
struct slab_cpu {
	unsigned count; /* the CPU's alone, with the magazine */
	void *magazine[SLAB_MAGAZINE_MAX];
	atomic64 allocs, frees, reused; /* written by the CPU, read by anyone */

	struct lock lock;
	struct slab_list partial, empty;
	unsigned empties;
};

extern enum slab_mode slab_mode;

/* Bytes, less than 0 too, that wait for a grace period from now on. */
void slab_waiting_add(int64_t bytes);

static inline uint64_t slab_block_bytes(const struct slab_cache *c)
{
	return PAGE_SIZE << c->order;
}

static inline struct slab_block *slab_block(const struct slab_cache *c, const void *object)
{
	return (struct slab_block *)slab_base(c, object);
}

static inline unsigned slab_index(const struct slab_cache *c, const void *object)
{
	return (unsigned)((const char *)object - slab_base(c, object) - c->first) >> c->shift;
}

static inline void *slab_object(const struct slab_cache *c, struct slab_block *b, unsigned index)
{
	return (char *)b + c->first + ((uint64_t)index << c->shift);
}

static inline struct slab_cpu *slab_cpu_of(const struct slab_cache *c, unsigned cpu)
{
	/* acquire: partner is the release in slab_cpu_make */
	return (struct slab_cpu *)load_acquire(&c->cpu[cpu]);
}

/* Puts n <= SLAB_MAGAZINE_MAX CACHED or FRESH objects back into their blocks. Holds a home's lock for as long as they
 * lie in its blocks; may retire blocks. */
void slab_block_put(struct slab_cache *c, void *const *objects, unsigned n);
/* Takes an object out of a block of home's, under its lock; 0 when there is none. */
void *slab_block_take(struct slab_cache *c, struct slab_cpu *home);
/* A new block for s; false when memory is out. */
bool slab_block_grow(struct slab_cache *c, struct slab_cpu *s);
/* An empty block in no list becomes one of s's. */
void slab_block_adopt(struct slab_cpu *s, struct slab_block *b);
/* The oldest waiting block, out of its list; 0 when there is none, or (passed) when its grace period has not ended. */
struct slab_block *slab_block_waiting(struct slab_cache *c, bool passed);
/* Retires the empty blocks of every CPU. */
void slab_block_shed(struct slab_cache *c);

/* POISON: a freed object begins its wait. */
void slab_poison_delay(struct slab_cache *c, void *object);
/* Takes objects whose wait is over, at most max: checked, poisoned and put back into their blocks. How many. */
unsigned slab_poison_ripen(struct slab_cache *c, unsigned max);
void slab_poison_fill(const struct slab_cache *c, void *object);
/* Checks that nobody wrote to a poisoned object, and restores its constructed state. */
void slab_poison_restore(const struct slab_cache *c, void *object);
/* Bytes per object that this mode keeps in a block. */
uint32_t slab_poison_bytes(void);

#endif
