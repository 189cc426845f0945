/* SPDX-License-Identifier: MIT */
/* Slots: a guest's RAM, and what is kept for each of its pages. */
#ifndef MM_SLOT_H
#define MM_SLOT_H

#include "mm/chain.h"

struct mmu;

#define SLOT_MAX 16
#define SLOT_PAGES_MAX (1UL << 22) /* 16 GiB: the rmap heads, in one piece of host memory, take 96 MiB then */
#define SLOT_LEVELS 2 /* leaves are of 4 KiB and 2 MiB; a guest's 1 GiB page is split */

/* Bitmaps of a slot, one bit a page. Only DIRTY is touched without the harvest's turn. */
enum slot_bitmap {
	SLOT_DIRTY,  /* written since the last harvest took it; set by publishers, taken by harvests */
	SLOT_TAKEN,  /* this harvest's */
	SLOT_COPY,   /* harvested, not yet copied to the replica */
	SLOT_SINCE,  /* harvested by anyone since the test device's last command 1 or 2 */
	SLOT_VIEW,   /* the set of the test device's last command 2 */
	SLOT_MAP,    /* harvested by anyone since the map's last harvest, while it is on */
	SLOT_BITMAPS,
};

struct slot {
	struct mmu *mmu;
	gfn_t gfn;      /* first page */
	hfn_t hfn;      /* backs gfn; the rest follows one to one while the slot lives */
	uint64_t pages;
	uint64_t words; /* of each bitmap */
	atomic64 *bits[SLOT_BITMAPS];
	struct chain *chain[SLOT_LEVELS];   /* rmap heads; [0]: one per page; [1]: one per aligned 2 MiB that it touches */
	atomic32 *tables[SLOT_LEVELS];      /* [0]: per page, shadow pages (not direct) that shadow it as a page table;
	                                       [1]: per aligned 2 MiB, the sum over its pages */
};

/* Bits that are set: in pairs, fours and eights, then all eight bytes by one product (the compiler's own is a function with a
 * table). */
static inline unsigned slot_count(uint64_t bits)
{
	bits -= bits >> 1 & 0x5555555555555555UL;
	bits = (bits & 0x3333333333333333UL) + (bits >> 2 & 0x3333333333333333UL);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fUL;
	return (unsigned)(bits * 0x0101010101010101UL >> 56);
}

/* The slot that owns a host frame, whatever guest it is of; 0 when it is not guest RAM. In an RCU section. */
struct slot *slot_owner(hfn_t f);

static inline hfn_t slot_hfn(const struct slot *s, gfn_t f) { return hfn(s->hfn.v + (f.v - s->gfn.v)); }
static inline gfn_t slot_gfn(const struct slot *s, hfn_t f) { return gfn(s->gfn.v + (f.v - s->hfn.v)); }
static inline uint64_t slot_index(const struct slot *s, gfn_t f) { return f.v - s->gfn.v; }
/* Index of the unit of `level` (1 … SLOT_LEVELS) that holds f. */
static inline uint64_t slot_unit(const struct slot *s, gfn_t f, unsigned level)
{
	unsigned shift = 9 * (level - 1);

	return (f.v >> shift) - (s->gfn.v >> shift);
}
/* The rmap head of leaves of `level` that cover f, and the count of page tables in its unit. */
static inline struct chain *slot_chain(const struct slot *s, gfn_t f, unsigned level)
{
	return &s->chain[level - 1][slot_unit(s, f, level)];
}
static inline atomic32 *slot_tables(const struct slot *s, gfn_t f, unsigned level)
{
	return &s->tables[level - 1][slot_unit(s, f, level)];
}

/* Sets the page's dirty bit: a locked RMW, so that every store before it is visible to whoever takes the bit. */
static inline void slot_mark_dirty(struct slot *s, gfn_t f)
{
	uint64_t i = slot_index(s, f);

	/* seq_cst RMW: partner is the acquiring xchg of the word in the harvest (log.c) */
	fetch_or_seq(&s->bits[SLOT_DIRTY][i / 64], 1UL << (i % 64));
}

/* The same for `pages` pages from f on, all in the slot: a word of the bitmap at a time. */
void slot_mark_range(struct slot *s, gfn_t f, uint64_t pages);
/* The page now is, or no longer is, shadowed as a page table (one shadow page more or less). Under the guest's lock. */
void slot_table_add(struct slot *s, gfn_t f);
void slot_table_drop(struct slot *s, gfn_t f);

/* Sets every bit of a bitmap, none past the slot's end. Any context. */
void slot_fill(struct slot *s, enum slot_bitmap which);

/* Pages of the `pages` from index `from` on that were written since the map's last harvest; a figure, beside a harvest. In an RCU
 * section. */
uint64_t slot_map_count(const struct slot *s, uint64_t from, uint64_t pages);

/* Makes a slot of `pages` pages at f, backed by the host frames from h on (not zeroed), all dirty; 0 when memory is out or
 * there are SLOT_MAX. Before the guest runs. */
struct slot *slot_add(struct mmu *m, gfn_t f, hfn_t h, uint64_t pages);
/* Forgets the slot's metadata; its frames stay the caller's. No vCPU of the guest runs, no spte maps it. */
void slot_drop(struct slot *s);

#endif
