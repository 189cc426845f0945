/* SPDX-License-Identifier: MIT */
/* Chains: what writers do, under the chain's lock. The argument for the reader beside them is in chain_walk.h; what it
 * asks of this file:
 *   C1  An entry never moves, but from the head word into the first descriptor, and there it is before the head says
 *       so.
 *   C2  A new descriptor is linked at the head, complete: slots, next, then the head.
 *   C3  A descriptor is unlinked only when its slots are all 0; then its next is CHAIN_FREE, then the slab has it.
 *   C4  The last descriptor's next is this chain's marker.
 *   C5  A head that names a descriptor never becomes a single entry.
 * So a walk may begin between any two stores: "chain-write" is passed after each that a reader can see.
 * `prev`, the list of descriptors with holes, and the number of entries lie in the descriptor's side data.
 */
#include "mm/chain.h"
#include "mm/park.h"

#define CHAIN_ORDER 1 /* blocks of 8 KiB: 83 descriptors */

struct chain_side {
	struct chain_desc *prev;                  /* 0: the head names this one */
	struct chain_desc *hole_next, *hole_prev; /* in the list that begins at chain.holes, when used < CHAIN_SLOTS */
	uint64_t used;                            /* slots that are not 0 */
};

static struct chain_side *chain_side(struct chain_desc *d)
{
	return slab_side(slab_of(d, CHAIN_ORDER), d);
}

static uint64_t chain_marker(const struct chain *c)
{
	return (uint64_t)&c->head | CHAIN_MANY;
}

/* Writers read their own stores: relaxed everywhere under the lock. */
static struct chain_desc *chain_head_desc(const struct chain *c)
{
	uint64_t head = load_relaxed(&c->head);

	return head & CHAIN_MANY ? (struct chain_desc *)(head & ~CHAIN_MANY) : 0;
}

static struct chain_desc *chain_next(const struct chain_desc *d)
{
	uint64_t next = load_relaxed(&d->next);

	return next & (CHAIN_MANY | CHAIN_FREE) ? 0 : (struct chain_desc *)next;
}

static void chain_construct(void *object)
{
	struct chain_desc *d = object;

	store_relaxed(&d->next, CHAIN_FREE); /* nobody knows it yet */
}

void chain_cache_init(struct slab_cache *c, const char *name)
{
	slab_init(c, name, CHAIN_ORDER, sizeof(struct chain_desc), sizeof(struct chain_side), PAGE_ANY, chain_construct);
}

bool chain_reserve(struct chain_reserve *r, unsigned n)
{
	CHECK(n <= CHAIN_RESERVE);
	while (r->n < n) {
		struct chain_desc *d = slab_alloc(r->cache);

		if (!d)
			return false;
		r->desc[r->n++] = d;
	}
	return true;
}

void chain_unreserve(struct chain_reserve *r)
{
	while (r->n > 0)
		slab_free(r->cache, r->desc[--r->n]);
}

static void chain_hole_push(struct chain *c, struct chain_desc *d)
{
	struct chain_side *side = chain_side(d);

	side->hole_prev = 0;
	side->hole_next = c->holes;
	if (c->holes)
		chain_side(c->holes)->hole_prev = d;
	c->holes = d;
}

static void chain_hole_remove(struct chain *c, struct chain_side *side)
{
	if (side->hole_prev)
		chain_side(side->hole_prev)->hole_next = side->hole_next;
	else
		c->holes = side->hole_next;
	if (side->hole_next)
		chain_side(side->hole_next)->hole_prev = side->hole_prev;
	side->hole_next = side->hole_prev = 0;
}

/* Writes s into slot i of d. */
static void chain_put(struct chain_desc *d, unsigned i, spte_t *s)
{
	/* release: the spte's table, and what this descriptor was before; partner: the reader's load of the slot */
	store_release(&d->slot[i], (uint64_t)s);
	park("chain-write");
	*spte_location(s) = &d->slot[i];
	chain_side(d)->used++;
}

/* A new descriptor at the head, holding s; a single entry that the head held comes into it too. */
static void chain_grow(struct chain *c, struct chain_reserve *r, spte_t *s)
{
	struct chain_desc *first = chain_head_desc(c), *d;
	uint64_t single = first ? 0 : load_relaxed(&c->head);

	CHECK(r->n > 0);
	d = r->desc[--r->n];
	if (single)
		chain_put(d, 0, (spte_t *)single);
	chain_put(d, single ? 1 : 0, s);
	/* release: the slots; partner: a reader that stood on d before, at its load of next */
	store_release(&d->next, first ? (uint64_t)first : chain_marker(c));
	park("chain-write");
	if (first)
		chain_side(first)->prev = d;
	chain_hole_push(c, d);
	/* release: the whole descriptor; partner: the reader's load of the head */
	store_release(&c->head, (uint64_t)d | CHAIN_MANY);
	park("chain-write");
}

void chain_add_many(struct chain *c, struct chain_reserve *r, spte_t *s)
{
	struct chain_desc *d = c->holes;

	CHECK(!*spte_location(s));
	if (d) {
		unsigned i = 0;

		while (load_relaxed(&d->slot[i]))
			i++;
		chain_put(d, i, s);
		if (chain_side(d)->used == CHAIN_SLOTS)
			chain_hole_remove(c, chain_side(d));
	} else {
		chain_grow(c, r, s);
	}
	count_add(&c->length, 1);
}

/* Unlinks an empty descriptor and gives it back. */
static void chain_unlink(struct chain *c, struct slab_cache *cache, struct chain_desc *d)
{
	struct chain_side *side = chain_side(d);
	struct chain_desc *next = chain_next(d);

	chain_hole_remove(c, side);
	/* release, all three: the hole in d before its end; partners: the reader's loads of head and next */
	if (side->prev)
		store_release(&side->prev->next, load_relaxed(&d->next));
	else
		store_release(&c->head, next ? (uint64_t)next | CHAIN_MANY : 0);
	park("chain-write");
	if (next)
		chain_side(next)->prev = side->prev;
	side->prev = 0;
	store_release(&d->next, CHAIN_FREE);
	park("chain-write");
	slab_free(cache, d);
}

void chain_remove(struct chain *c, struct slab_cache *cache, spte_t *s)
{
	atomic64 *word = *spte_location(s);
	struct chain_desc *d;
	struct chain_side *side;

	CHECK(word && load_relaxed(word) == (uint64_t)s);
	*spte_location(s) = 0;
	count_add(&c->length, -1U);
	if (word == &c->head) {
		/* release: the spte was cleared before its entry goes; partner: the reader's load of the head */
		store_release(word, 0);
		return;
	}
	d = (struct chain_desc *)((uintptr_t)word & ~(sizeof *d - 1));
	side = chain_side(d);
	CHECK(slab_of(d, CHAIN_ORDER) == cache && side->used > 0);
	/* release: as above; partner: the reader's load of the slot */
	store_release(word, 0);
	park("chain-write");
	if (side->used-- == CHAIN_SLOTS)
		chain_hole_push(c, d);
	if (!side->used)
		chain_unlink(c, cache, d);
}

bool chain_empty(const struct chain *c)
{
	/* acquire: without the lock, whoever sees 0 sees what removals did before; partner: the releases of the head */
	return !load_acquire(&c->head);
}

spte_t *chain_first(const struct chain *c)
{
	struct chain_desc *d = chain_head_desc(c);
	unsigned i = 0;

	if (!d)
		return (spte_t *)load_relaxed(&c->head);
	while (!load_relaxed(&d->slot[i])) {
		i++;
		CHECK(i < CHAIN_SLOTS); /* a descriptor in a chain holds an entry */
	}
	return (spte_t *)load_relaxed(&d->slot[i]);
}

/* ---- audit ---- */

static unsigned chain_fault(const struct chain *c, const char *what, uint64_t where)
{
	host_log(HOST_ERROR, "audit: chain 0x%lx: %s (0x%lx)", (uint64_t)c, what, where);
	return 1;
}

/* The entry that `word` holds, if any: it is where its location word says. */
static unsigned chain_audit_entry(const struct chain *c, const atomic64 *word, chain_visit visit, void *ctx)
{
	spte_t *s = (spte_t *)load_relaxed(word);
	unsigned bad = 0;

	if (!s)
		return 0;
	if (*spte_location(s) != word)
		bad += chain_fault(c, "the location word of an entry names another slot", (uint64_t)s);
	return bad + (visit ? visit(ctx, s) : 0);
}

/* What d alone tells: its entries are counted, prev and next lead back to it, and it is in the hole list when it has a hole.
 * Returns its entries in *used. */
static unsigned chain_audit_links(const struct chain *c, struct chain_desc *d, unsigned *used)
{
	const struct chain_side *side = chain_side(d);
	struct chain_desc *next = chain_next(d);
	unsigned bad = 0;

	*used = 0;
	for (unsigned i = 0; i < CHAIN_SLOTS; i++)
		*used += load_relaxed(&d->slot[i]) != 0;
	if (!*used || *used != side->used)
		bad += chain_fault(c, "a descriptor's entries are not counted right", (uint64_t)d);
	if ((side->prev ? chain_next(side->prev) : chain_head_desc(c)) != d || (next && chain_side(next)->prev != d))
		bad += chain_fault(c, "a descriptor's prev is wrong", (uint64_t)d);
	if (*used < CHAIN_SLOTS && (side->hole_prev ? chain_side(side->hole_prev)->hole_next : c->holes) != d)
		bad += chain_fault(c, "a descriptor with a hole is not in the hole list", (uint64_t)d);
	if (!next && load_relaxed(&d->next) != chain_marker(c))
		bad += chain_fault(c, "the last descriptor has a foreign end", load_relaxed(&d->next));
	return bad;
}

static unsigned chain_audit_entries(const struct chain *c, struct chain_desc *d, chain_visit visit, void *ctx)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < CHAIN_SLOTS; i++)
		bad += chain_audit_entry(c, &d->slot[i], visit, ctx);
	return bad;
}

/* The hole list: `holes` descriptors, each with a hole, linked both ways. */
static unsigned chain_audit_holes(const struct chain *c, uint32_t holes)
{
	struct chain_desc *prev = 0;
	unsigned bad = 0;

	for (struct chain_desc *d = c->holes; d; d = chain_side(d)->hole_next) {
		if (!holes--)
			return bad + chain_fault(c, "the hole list is too long", (uint64_t)d);
		if (chain_side(d)->hole_prev != prev || chain_side(d)->used == CHAIN_SLOTS)
			bad += chain_fault(c, "the hole list is wrong", (uint64_t)d);
		prev = d;
	}
	return holes ? bad + chain_fault(c, "the hole list is too short", holes) : bad;
}

unsigned chain_audit(struct chain *c, unsigned most, chain_visit visit, void *ctx)
{
	uint32_t length = load_relaxed(&c->length), entries = 0, holes = 0, descs = 0;
	struct chain_desc *d = chain_head_desc(c);
	unsigned bad = 0, used;

	if (!d && load_relaxed(&c->head)) {
		entries = 1;
		bad += chain_audit_entry(c, &c->head, visit, ctx);
	}
	for (; d && descs < most; d = chain_next(d)) {
		if (++descs > length)
			return bad + chain_fault(c, "more descriptors than entries", (uint64_t)d);
		bad += chain_audit_links(c, d, &used) + chain_audit_entries(c, d, visit, ctx);
		entries += used;
		holes += used < CHAIN_SLOTS;
	}
	if (d)
		return bad;
	if (entries != length)
		bad += chain_fault(c, "entries are not as many as recorded", entries);
	return bad + chain_audit_holes(c, holes);
}

unsigned chain_audit_at(struct chain *c, spte_t *s, chain_visit visit, void *ctx)
{
	atomic64 *word = *spte_location(s);
	struct chain_desc *d = (struct chain_desc *)((uintptr_t)word & ~(sizeof *d - 1));
	unsigned used;

	if (word == &c->head)
		return chain_audit_entry(c, word, visit, ctx);
	return chain_audit_links(c, d, &used) + chain_audit_entries(c, d, visit, ctx);
}
