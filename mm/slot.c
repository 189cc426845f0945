/* SPDX-License-Identifier: MIT */
/* Slots. They are added before the guest runs and dropped after its last vCPU stopped, so readers need no more than the
 * acquiring load of their number, and in between to ask whether they are moving (move.c). */
#include "mm/slot.h"
#include "mm/mmu.h"

struct slot *slot_owner(hfn_t h)
{
	struct frame *f = page_frame(h);

	return f ? f->owner : 0;
}

/* Aligned units of `level` that the slot touches. */
static uint64_t units(const struct slot *s, unsigned level)
{
	unsigned shift = 9 * (level - 1);

	return ((s->gfn.v + s->pages - 1) >> shift) - (s->gfn.v >> shift) + 1;
}

static void free_metadata(struct slot *s)
{
	for (unsigned i = 0; i < SLOT_BITMAPS; i++)
		if (s->bits[i])
			page_free_array(s->bits[i], s->words * sizeof(atomic64));
	for (unsigned level = 1; level <= SLOT_LEVELS; level++) {
		if (s->chain[level - 1])
			page_free_array(s->chain[level - 1], units(s, level) * sizeof(struct chain));
		if (s->tables[level - 1])
			page_free_array(s->tables[level - 1], units(s, level) * sizeof(atomic32));
	}
}

static bool alloc_metadata(struct slot *s)
{
	for (unsigned i = 0; i < SLOT_BITMAPS; i++)
		if (!(s->bits[i] = page_alloc_array(s->words * sizeof(atomic64))))
			return false;
	for (unsigned level = 1; level <= SLOT_LEVELS; level++)
		if (!(s->chain[level - 1] = page_alloc_array(units(s, level) * sizeof(struct chain))) ||
			!(s->tables[level - 1] = page_alloc_array(units(s, level) * sizeof(atomic32))))
			return false;
	return true;
}

void slot_mark_range(struct slot *s, gfn_t f, uint64_t pages)
{
	for (uint64_t i = slot_index(s, f), end = i + pages; i < end;) {
		uint64_t first = i % 64, n = end - i < 64 - first ? end - i : 64 - first;

		/* seq_cst RMW: as slot_mark_dirty */
		fetch_or_seq(&s->bits[SLOT_DIRTY][i / 64], (n == 64 ? ~0UL : (1UL << n) - 1) << first);
		i += n;
	}
}

void slot_table_add(struct slot *s, gfn_t f)
{
	struct chain *c = slot_chain(s, f, 1);

	/* The large unit first, then the page. seq_cst RMW: partner is the host store, which stores data and then reads
	 * the page's count (gmem.c). Installs of large leaves read theirs under mmu.lock, others theirs under the chain's: so
	 * whoever walks the chain after this finds every mapping that was made without regard to it. */
	for (unsigned level = SLOT_LEVELS; level > 1; level--)
		fetch_add_seq(slot_tables(s, f, level), 1);
	spin_take(&c->lock, LOCK_CHAIN);
	fetch_add_seq(slot_tables(s, f, 1), 1);
	spin_drop(&c->lock, LOCK_CHAIN);
}

void slot_table_drop(struct slot *s, gfn_t f)
{
	for (unsigned level = 1; level <= SLOT_LEVELS; level++)
		fetch_sub_seq(slot_tables(s, f, level), 1);
}

void slot_fill(struct slot *s, enum slot_bitmap which)
{
	for (uint64_t w = 0; w < s->words; w++) {
		uint64_t left = s->pages - w * 64;

		/* RMW: publishers set bits of the same word; never past the slot's end */
		fetch_or_seq(&s->bits[which][w], left >= 64 ? ~0UL : (1UL << left) - 1);
	}
}

uint64_t slot_map_count(const struct slot *s, uint64_t from, uint64_t pages)
{
	uint64_t n = 0;

	for (uint64_t i = from, end = from + pages; i < end;) {
		uint64_t first = i % 64, here = end - i < 64 - first ? end - i : 64 - first;
		uint64_t bits = load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) | load_relaxed(&s->bits[SLOT_MAP][i / 64]);

		bits = bits >> first & (here == 64 ? ~0UL : (1UL << here) - 1);
		n += slot_count(bits);
		i += here;
	}
	return n;
}

struct slot *slot_add(struct mmu *m, gfn_t f, hfn_t h, uint64_t pages)
{
	unsigned n = load_relaxed(&m->slots);
	struct slot *s = &m->slot[n];

	if (n == SLOT_MAX)
		return 0;
	*s = (struct slot){.mmu = m, .gfn = f, .hfn = h, .pages = pages, .words = (pages + 63) / 64};
	if (!alloc_metadata(s)) {
		free_metadata(s);
		return 0;
	}
	slot_fill(s, SLOT_DIRTY);
	for (uint64_t i = 0; i < pages; i++)
		page_frame(hfn(h.v + i))->owner = s;
	store_release(&m->slots, n + 1); /* pairs with slot_find */
	return s;
}

void slot_drop(struct slot *s)
{
	for (uint64_t i = 0; i < s->pages; i++)
		page_frame(hfn(s->hfn.v + i))->owner = 0;
	free_metadata(s);
	s->pages = 0;
}
