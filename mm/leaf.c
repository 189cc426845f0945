/* SPDX-License-Identifier: MIT */
#include "mm/leaf.h"

/* Replaces a present leaf of the same frame; the hardware may set A and D, walkers and fix-ups may change W meanwhile, so
 * a cmpxchg of the whole value. Returns what was there. */
static uint64_t replace(spte_t *p, uint64_t value)
{
	uint64_t old = load_relaxed(p), set;

	do {
		set = value | (old & (SPTE_A | SPTE_D));
		if (value & SPTE_MMU_WRITABLE)
			set |= old & SPTE_W;
	} while (!cmpxchg_seq(p, &old, set));
	return old;
}

void leaf_change(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page)
{
	uint64_t old = replace(&s->table->spte[index], value);

	if (!(value & SPTE_W) && (old & SPTE_W))
		slot_mark_dirty(slot, page);
	/* after the spte changed, before the lock is dropped (owed.pml) */
	if ((old & SPTE_MMU_WRITABLE) && !(value & SPTE_MMU_WRITABLE))
		fetch_add_seq(&s->mmu->owed, 1);
}

bool leaf_install(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r)
{
	spte_t *p = &s->table->spte[index];
	uint64_t old = load_relaxed(p);

	CHECK(load_relaxed(&s->state) == SHADOW_LIVE);
	s->writes = 0;
	if (old && (!spte_is_leaf(old) || spte_hfn(old).v != spte_hfn(value).v)) {
		shadow_drop(s, index);
		old = 0;
	}
	if (old == 0) {
		store_release(p, value); /* partner: the walker's acquiring load of the entry */
		s->present++;
		chain_add(slot_chain(slot, page, 1), r, p);
	} else if (((old ^ value) & ~(SPTE_A | SPTE_D)) == 0) {
		return true;
	} else {
		leaf_change(s, index, value, slot, page);
	}
	if (value & SPTE_W)
		slot_mark_dirty(slot, page);
	count_add(&s->mmu->stats.installs, 1);
	return false;
}
