/* SPDX-License-Identifier: MIT */
/* The lockless reader of a chain; included by mm/chain.h, at its end.
 *
 * Reader. Loads the head once and follows that value alone. In each descriptor it reads the slots, visits what they
 * hold, and only then reads next. It is done when next is the marker of this chain; a marker of another chain, or
 * CHAIN_FREE, sends it back to the head.
 * Writers (chain.c, one at a time for each chain). New entries fill holes, or come in a new descriptor at the head. A
 * removal leaves a hole. A descriptor is unlinked when it holds no entry, and never before; then its next says FREE,
 * and it may become part of any chain, this one too, at once. A head that names a descriptor becomes another
 * descriptor or 0.
 *
 * Why every entry P that stays from the start of the last try to its end is visited. P never moves, so its descriptor
 * E is never empty and stays linked (or P is the single pointer that the head holds, and what the reader loaded).
 *   - While the reader stands on descriptors of this chain, what follows them leads on to E: insertion is at the
 *     head, so E is never before a descriptor that was before it, and unlinking one keeps its successors.
 *   - Standing on D when D is unlinked, not yet reused: D had no entry that stays; its next is the old one (leads on
 *     to E) or FREE (restart).
 *   - D reused in another chain: that chain's descriptors end in that chain's marker: restart. Slots were read before
 *     next, so that a foreign next discards them; what they named is visited for nothing, and the visitor compares
 *     values.
 *   - D reused in this chain: D is at the head again, and leads through all of it to E. It is the same for a
 *     descriptor of another chain on the way: whatever this chain's marker ends, was entered at or before E's place.
 *   - A single pointer becomes a descriptor with the pointer in its slot before the head names it. Never back: a
 *     reader could have read the slots just after P left them for the head, and then find this chain's marker in next,
 *     if the descriptor was freed and came back meanwhile (model chain).
 * Why it ends. Every entry visited and every extra try of the visitor is counted against 2 x length + 64, which is looked at
 * before each descriptor; and so is, apart, every descriptor. A chain that nobody changes has no more than `length` entries in
 * no more than `length` descriptors; a reader that is led round and round by a descriptor relinked at the head (no foreign marker, hence no restart) gives
 * up.
 *
 * Promised: the above. Not promised: that an entry is visited once; that what is visited belongs to this chain still;
 * anything for entries that come or go meanwhile; success under churn. Descriptors are type-stable within an RCU
 * section (slab.c), and so must be the tables that the entries lie in.
 * Model: chain (the walk, restarts, reuse in the same and in another chain, one pointer to many and back).
 */
#ifndef MM_CHAIN_WALK_H
#define MM_CHAIN_WALK_H

#include "mm/chain.h"
#include "mm/park.h"

#define CHAIN_BOUND_FACTOR 2
#define CHAIN_BOUND_SLACK 64

/* For who visits many short chains: 0 of an empty one; the only entry; or, with CHAIN_MANY, nothing but that it is to be
 * walked, anew from its head. */
static inline uint64_t chain_peek(struct chain *c)
{
	uint64_t at = load_acquire(&c->head); /* as in chain_walk */

	park("chain-peek");
	return at;
}

/* always_inline: the visitor is inlined with it. */
static inline __attribute__((always_inline)) bool chain_walk(
	struct chain *c, chain_visit visit, void *ctx, struct chain_walk *w)
{
	const uint64_t marker = (uint64_t)&c->head | CHAIN_MANY;
	uint64_t tries = 0, restarts = 0, at;
	int64_t bound = 0, left = 0, steps = 0;
	bool done = true;

	/* acquire: the entry or the descriptor behind it; partner: the releases of the head in chain.c */
	at = load_acquire(&c->head);
	park("chain-head");
	if (at & CHAIN_MANY) {
		/* relaxed: a bound, not an order */
		bound = CHAIN_BOUND_FACTOR * (int64_t)load_relaxed(&c->length) + CHAIN_BOUND_SLACK;
		left = steps = bound;
	}
	while (at & CHAIN_MANY) {
		struct chain_desc *d = (struct chain_desc *)(at & ~CHAIN_MANY);

		if (--steps < 0 || left < CHAIN_SLOTS)
			goto give_up;
#pragma GCC unroll 7
		for (unsigned i = 0; i < CHAIN_SLOTS; i++) {
			/* acquire: keeps the load of next behind it; partner: the releases in chain.c */
			uint64_t s = load_acquire(&d->slot[i]);

			if (s) {
				unsigned more;

				left--;
				more = visit(ctx, (spte_t *)s);
				if (__builtin_expect(more != 0, 0)) {
					tries += more;
					left -= more;
				}
			}
		}
		park("chain-next");
		/* acquire: the slots of the next descriptor behind it; partner: the releases in chain.c */
		at = load_acquire(&d->next);
		if (at == marker)
			goto out;
		if (__builtin_expect((at & (CHAIN_MANY | CHAIN_FREE)) != 0, 0)) {
			restarts++;
			park(at & CHAIN_FREE ? "chain-free" : "chain-foreign");
			at = load_acquire(&c->head); /* a new try: as above */
			park("chain-head");
		} else {
			at |= CHAIN_MANY;
		}
	}
	/* 0, or a single entry. It is counted like the others, but cannot lead on to more. */
	if (at) {
		visit(ctx, (spte_t *)at);
		w->visited++;
	}
	goto out;
give_up:
	done = false;
out:
	park("chain-done");
	w->visited += (uint64_t)(bound - left) - tries;
	w->restarts += restarts;
	return done;
}

#endif
