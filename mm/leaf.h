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

/* True when memory from page f on may be one leaf of level 2: it lies in the slot as a whole, at a host address aligned
 * likewise, and no page of it is a page table. */
bool leaf_may_be_large(const struct slot *slot, gfn_t f);

enum leaf_outcome {
	LEAF_INSTALLED,
	LEAF_THERE,    /* the entry already allowed all that value allows */
	LEAF_REFUSED,  /* not without mmu.lock: it would take something away, or open a page table */
};

/* page: the leaf's first. Puts `value` into an entry of s: over nothing, or over a leaf of the same frame, whose W stays if the
 * new value is still MMU_WRITABLE; another frame's leaf is dropped first. Publishes: spte, rmap entry, dirty bit. At level 1,
 * under the table's lock; alone: that is all that is held, else mmu.lock is too, and the caller looked whether the page is a
 * page table. */
enum leaf_outcome leaf_install(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page,
	struct chain_reserve *r, bool alone);

/* Narrows or widens a present leaf in place, W never added; slot and page are those of its frame. mmu.lock held, and the
 * table's. */
void leaf_change(struct shadow *s, unsigned index, uint64_t value, struct slot *slot, gfn_t page);

#endif
