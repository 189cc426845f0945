/* SPDX-License-Identifier: MIT */
#include "mm/leaf.h"
#include "mm/park.h"
#include "mm/tlb.h"

bool leaf_may_be_large(const struct slot *slot, gfn_t f)
{
	uint64_t pages = gpte_pages(2);

	return f.v >= slot->gfn.v && f.v + pages <= slot->gfn.v + slot->pages && slot_hfn(slot, f).v % pages == 0 &&
	       load_acquire(slot_tables(slot, f, 2)) == 0;
}

/* A leaf where there is none; the chain's lock held. The spte before its entry. */
static inline void put(struct shadow *s, spte_t *p, uint64_t value, struct chain *c, struct chain_reserve *r)
{
	store_release(p, value); /* partner: the walker's acquiring load of the entry */
	s->present++;
	park("leaf-stored");
	chain_add(c, r, p);
}

bool leaf_install(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r)
{
	spte_t *p = &s->table->spte[index];
	uint64_t old = load_relaxed(p);
	struct chain *c = slot_chain(slot, page, spte_level(value));

	CHECK(load_relaxed(&s->state) == SHADOW_LIVE);
	store_relaxed(&s->writes, 0);
	if (old && (!spte_is_leaf(old) || spte_hfn(old).v != spte_hfn(value).v)) {
		if (shadow_drop(s, index))
			tlb_bump(s->mmu);
		old = 0;
	}
	if (old == 0) {
		spin_take(&c->lock, LOCK_CHAIN);
		put(s, p, value, c, r);
		spin_drop(&c->lock, LOCK_CHAIN);
	} else if (((old ^ value) & ~(SPTE_A | SPTE_D)) == 0) {
		return true;
	} else {
		leaf_change(s, p, old, value, slot, page);
	}
	park("leaf-linked");
	if (value & SPTE_D)
		leaf_mark(slot, page, value);
	return false;
}

enum leaf_outcome leaf_add(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r)
{
	spte_t *p = &s->table->spte[index];
	uint64_t old = load_relaxed(p), i = slot_index(slot, page);
	struct chain *c = &slot->chain[0][i];
	bool allowed = true;

	if (old && (spte_hfn(old).v != spte_hfn(value).v || (old & ~value & SPTE_MMU_WRITABLE)))
		return LEAF_REFUSED;
	if (old && ((old ^ value) & ~(SPTE_A | SPTE_D)) == 0)
		return LEAF_THERE;
	store_relaxed(&s->writes, 0);
	spin_take(&c->lock, LOCK_CHAIN);
	/* from here until the entry is in the chain the page does not become a page table; partner: slot_table_add */
	if ((value & SPTE_MMU_WRITABLE) && load_acquire(&slot->tables[0][i]))
		allowed = false;
	else if (old)
		leaf_change(s, p, old, value, slot, page);
	else
		put(s, p, value, c, r);
	spin_drop(&c->lock, LOCK_CHAIN);
	if (!allowed)
		return LEAF_REFUSED;
	park("leaf-linked");
	if (value & SPTE_D)
		slot_mark_dirty(slot, page);
	return LEAF_ADDED;
}

bool leaf_widen(struct shadow *s, unsigned index, uint64_t old, uint64_t value, struct slot *slot, gfn_t page)
{
	uint64_t i = slot_index(slot, page);
	struct chain *c = &slot->chain[0][i];
	bool allowed;

	spin_take(&c->lock, LOCK_CHAIN);
	/* until the lock is dropped the page does not become a page table, and nobody protects it; partner: slot_table_add */
	allowed = load_acquire(&slot->tables[0][i]) == 0;
	if (allowed)
		leaf_change(s, &s->table->spte[index], old, value, slot, page);
	spin_drop(&c->lock, LOCK_CHAIN);
	return allowed;
}
