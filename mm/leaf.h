/* SPDX-License-Identifier: MIT */
/* Leaf sptes: computing and writing one. Inside mm/ only. In a publishing section. */
#ifndef MM_LEAF_H
#define MM_LEAF_H

#include "mm/shadow.h"

/* A leaf of level 1 or 2 that begins at host frame h: rights from ACC_ bits; writable: MMU_WRITABLE too. Never W. */
static inline uint64_t leaf_value(hfn_t h, unsigned level, unsigned access, bool writable)
{
	return hfn_hpa(h).v | SPTE_P | SPTE_A | SPTE_SIZE(level) | (level > 1 ? SPTE_PS : 0) |
	       (access & ACC_U ? SPTE_U : 0) | (access & ACC_X ? 0 : SPTE_NX) | (writable ? SPTE_MMU_WRITABLE : 0);
}

/* The frame of mmu_set_blank's page, and whether a leaf is one of it. */
static inline hfn_t leaf_blank(const struct mmu *m)
{
	return hfn(host_phys(m->blank_page).v >> PAGE_SHIFT);
}
static inline bool leaf_is_blank(const struct mmu *m, uint64_t spte)
{
	return m->blank_page && spte_hfn(spte).v == leaf_blank(m).v;
}

/* True when memory from page f on may be one leaf of level 2: it lies in the slot as a whole, at a host address aligned
 * likewise, and no page of it is a page table. */
bool leaf_may_be_large(const struct slot *slot, gfn_t f);

/* page: the leaf's first. Puts `value` into an entry of s: over nothing, or over a leaf of the same frame, whose W stays if the
 * new value is still MMU_WRITABLE; another frame's leaf is dropped first. Publishes: spte, rmap entry, dirty bit. True when the
 * entry already allowed all that value allows. mmu.lock held, under which the caller looked whether the page is a page table,
 * and at level 1 the table's. */
bool leaf_install(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r);

enum leaf_outcome {
	LEAF_ADDED,
	LEAF_THERE,    /* the entry already allowed all that value allows */
	LEAF_REFUSED,  /* not without mmu.lock: it would take something away, or open a page table */
};

/* The same at level 1 with no more than the table's lock. */
enum leaf_outcome leaf_add(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r);

/* leaf_change at level 1 with no more than the table's lock, to a value that is MMU_WRITABLE. False: the page is a page table. */
bool leaf_widen(struct shadow *s, unsigned index, uint64_t old, uint64_t value, struct slot *slot, gfn_t page);

/* Replaces a present leaf of the same frame; the hardware may set A and D, walkers and fix-ups may change W and D meanwhile,
 * so a cmpxchg of the whole value, of which the bits in `stay` stay. old: as it was when last looked at; returns what was
 * there. */
static inline uint64_t leaf_replace(spte_t *p, uint64_t old, uint64_t value, uint64_t stay)
{
	do
		park("leaf-replace");
	while (!cmpxchg_seq(p, &old, value | (old & stay)));
	return old;
}

/* The dirty bits of a leaf's pages. */
static inline void leaf_mark(struct slot *slot, gfn_t page, uint64_t spte)
{
	if (spte_level(spte) == 1)
		slot_mark_dirty(slot, page);
	else
		slot_mark_range(slot, page, gpte_pages(spte_level(spte)));
}

/* Narrows or widens a present leaf of s in place, W never added; slot and page are those of its frame. mmu.lock held; or at
 * level 1 the table's if value and what is there are without MMU_WRITABLE, and the table's and the chain's, under which the page
 * is no page table, if value has it. */
static inline void leaf_change(struct shadow *s, spte_t *p, uint64_t old, uint64_t value, struct slot *slot, gfn_t page)
{
	if (value & SPTE_MMU_WRITABLE) {
		leaf_replace(p, old, value, SPTE_A | SPTE_W | SPTE_D);
		return;
	}
	old = leaf_replace(p, old, value, SPTE_A);
	park("leaf-narrowed");
	if (old & SPTE_D)
		leaf_mark(slot, page, value); /* D went with W: what it said is the bitmap's now */
	/* after the spte changed, before the lock is dropped (owed.pml) */
	if (old & SPTE_MMU_WRITABLE)
		fetch_add_seq(&s->mmu->owed, 1);
}

#endif
