/* SPDX-License-Identifier: MIT */
#include "mm/leaf.h"
#include "mm/park.h"
#include "mm/tlb.h"

/* Replaces a present leaf of the same frame; the hardware may set A and D, walkers and fix-ups may change W and D meanwhile,
 * so a cmpxchg of the whole value. Returns what was there. */
static uint64_t replace(spte_t *p, uint64_t value)
{
	uint64_t old = load_relaxed(p), set;

	do {
		set = value | (old & SPTE_A);
		if (value & SPTE_MMU_WRITABLE)
			set |= old & (SPTE_W | SPTE_D);
		park("leaf-replace");
	} while (!cmpxchg_seq(p, &old, set));
	return old;
}

static void mark(struct slot *slot, gfn_t page, uint64_t spte)
{
	if (spte_level(spte) == 1)
		slot_mark_dirty(slot, page);
	else
		slot_mark_range(slot, page, gpte_pages(spte_level(spte)));
}

bool leaf_may_be_large(const struct slot *slot, gfn_t f)
{
	uint64_t pages = gpte_pages(2);

	return f.v >= slot->gfn.v && f.v + pages <= slot->gfn.v + slot->pages && slot_hfn(slot, f).v % pages == 0 &&
	       load_acquire(slot_tables(slot, f, 2)) == 0;
}

void leaf_change(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page)
{
	uint64_t old = replace(&s->table->spte[index], value);

	if (!(value & SPTE_MMU_WRITABLE) && (old & SPTE_D))
		mark(slot, page, value); /* D went with W: what it said is the bitmap's now */
	/* after the spte changed, before the lock is dropped (owed.pml) */
	if ((old & SPTE_MMU_WRITABLE) && !(value & SPTE_MMU_WRITABLE))
		fetch_add_seq(&s->mmu->owed, 1);
}

/* Whether leaf_install may do it with no more than the table's lock. The chain's is held: from here until the entry is in the
 * chain the page does not become a page table. */
static bool allowed_alone(uint64_t old, uint64_t value, struct slot *slot, gfn_t page)
{
	if (old && (spte_hfn(old).v != spte_hfn(value).v || (old & ~value & SPTE_MMU_WRITABLE)))
		return false;
	return !(value & SPTE_MMU_WRITABLE) || !load_acquire(slot_tables(slot, page, 1)); /* partner: slot_table_add */
}

enum leaf_outcome leaf_install(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r, bool alone)
{
	spte_t *p = &s->table->spte[index];
	uint64_t old = load_relaxed(p);
	struct chain *c = slot_chain(slot, page, spte_level(value));
	bool there;

	CHECK(load_relaxed(&s->state) == SHADOW_LIVE || alone);
	store_relaxed(&s->writes, 0);
	if (old && !alone && (!spte_is_leaf(old) || spte_hfn(old).v != spte_hfn(value).v)) {
		if (shadow_drop(s, index))
			tlb_bump(s->mmu);
		old = 0;
	}
	there = old && !((old ^ value) & ~(SPTE_A | SPTE_D));
	spin_take(&c->lock, LOCK_CHAIN);
	if (alone && !allowed_alone(old, value, slot, page)) {
		spin_drop(&c->lock, LOCK_CHAIN);
		return LEAF_REFUSED;
	}
	if (old == 0) {
		store_release(p, value); /* partner: the walker's acquiring load of the entry */
		s->present++;
		park("leaf-stored");
		chain_add(c, r, p);
	} else if (!there) {
		leaf_change(s, index, value, slot, page);
	}
	spin_drop(&c->lock, LOCK_CHAIN);
	park("leaf-linked");
	if (there)
		return LEAF_THERE;
	if (value & SPTE_D)
		mark(slot, page, value);
	return LEAF_INSTALLED;
}
