/* SPDX-License-Identifier: MIT */
/* Reverse-map chains (DESIGN section 6): from a guest page to every spte that maps it, or from a shadow page to every
 * spte that links it. Writers of one chain are serialised by the caller: a guest page's by the lock in it, which orders them
 * with the page's becoming a page table too, a shadow page's parents by mmu.lock. Readers take no lock. */
#ifndef MM_CHAIN_H
#define MM_CHAIN_H

#include "mm/slab.h"
#include "mm/spte.h"

struct chain_desc;

/* Head word: 0, one spte pointer, or a descriptor pointer with CHAIN_MANY set. All zero = empty chain. */
#define CHAIN_MANY 1UL
struct chain {
	atomic64 head;            /* written under the writers' lock, read by anyone */
	struct chain_desc *holes; /* first descriptor with a free slot, in this chain; the writers' lock */
	atomic32 length;          /* entries recorded; written under the lock, read by anyone (reader's bound) */
	struct spin lock;         /* the writers', of the chains of guest pages */
};

#define CHAIN_SLOTS 7
/* A descriptor: one cache line. next: another descriptor, or a marker that names the chain (the head word's address
 * with CHAIN_MANY set), or CHAIN_FREE. Constructed state: no entries, CHAIN_FREE. */
#define CHAIN_FREE 2UL
struct chain_desc {
	atomic64 slot[CHAIN_SLOTS]; /* spte pointers, 0 = hole */
	atomic64 next;
};
_Static_assert(sizeof(struct chain_desc) == 64, "one cache line");

/* A cache of descriptors (one for rmap, another for parents). */
void chain_cache_init(struct slab_cache *c, const char *name);

/* Descriptors taken before a lock, so that no path fails half done. `cache` is set by the owner, n = 0 to begin with. */
#define CHAIN_RESERVE 8
struct chain_reserve {
	struct slab_cache *cache;
	unsigned n;
	struct chain_desc *desc[CHAIN_RESERVE];
};
/* Tops the reserve up to at least n <= CHAIN_RESERVE descriptors; false when memory is out (what was got is kept).
 * Outside sections and locks. */
bool chain_reserve(struct chain_reserve *r, unsigned n);
/* Gives all of the reserve back. Any context. */
void chain_unreserve(struct chain_reserve *r);

/* Adds s to the chain and writes its location word, which must be 0; uses at most one descriptor of r, which the caller
 * must have reserved. Under the chain's lock. chain_add_many: to one that is not empty. */
void chain_add_many(struct chain *c, struct chain_reserve *r, spte_t *s);
static inline void chain_add(struct chain *c, struct chain_reserve *r, spte_t *s)
{
	if (load_relaxed(&c->head)) {
		chain_add_many(c, r, s);
		return;
	}
	CHECK(!*spte_location(s));
	*spte_location(s) = &c->head;
	/* release: the spte's table; partner: the reader's load of the head */
	store_release(&c->head, (uint64_t)s);
	store_relaxed(&c->length, 1);
}
/* Removes s, found by its location word, without a search; an emptied descriptor goes back to `cache`. The location
 * word becomes 0. Under the chain's lock. */
void chain_remove(struct chain *c, struct slab_cache *cache, spte_t *s);
bool chain_empty(const struct chain *c);

/* Writers' iteration (under the lock): the first entry, and any entry after a removal of the one before, i.e.
 * while ((s = chain_first(c))) { ...chain_remove(c, cache, s); } takes a chain apart. 0 when empty. O(1). */
spte_t *chain_first(const struct chain *c);

/* The lockless reader. Calls visit(ctx, s) for every entry that stays in the chain from start to end of the walk at
 * least once (entries that come or go: maybe, maybe twice, and an s visited may by then belong to another chain: visit
 * must compare the value). In an RCU section. visit returns the number of extra tries (cmpxchg failures) it had.
 * Returns false when it gave up: entries visited + tries would have exceeded 2 x recorded length + 64, or descriptors
 * stepped over did. */
struct chain_walk { uint64_t visited, restarts; }; /* added to */
typedef unsigned (*chain_visit)(void *ctx, spte_t *s);
static inline bool chain_walk(struct chain *c, chain_visit visit, void *ctx, struct chain_walk *w);

/* For the audit, under the lock: every descriptor reachable has this chain's marker at the end, entries == length,
 * location words name their slots, prev pointers and the hole list are exact. Of a chain of more than `most` descriptors only
 * those that come first are looked at, and each for itself. Calls visit (may be 0) on each entry, which reports what it finds.
 * Returns the number of violations, each found here reported by host_log(HOST_ERROR, "audit: ..."). */
#define CHAIN_ALL ~0u
unsigned chain_audit(struct chain *c, unsigned most, chain_visit visit, void *ctx);
/* The same for the descriptor that holds s, an entry whose location word leads back to it, and how its neighbours, the head
 * and the hole list lead to it. */
unsigned chain_audit_at(struct chain *c, spte_t *s, chain_visit visit, void *ctx);

#include "mm/chain_walk.h" /* the reader, inline: its argument and its code */

#endif
