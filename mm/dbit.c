/* SPDX-License-Identifier: MIT */
/* Harvest by the hardware's D bits: no page is protected, no guest exits for the log's sake.
 *
 * While rounds go by D bits (mmu.by_dbit), a writable leaf has W from the start, and D tells what was written. A round:
 *
 *   1 walk every leaf table; clear D (cmpxchg of the whole value), set the dirty bit of the page that the compared frame is
 *   2 a grace period for publishers       whoever took D away with its leaf has set the bit
 *   3 take the bits (acquiring xchg)
 *   4 if any bit was taken or any D cleared: flush, collect the acknowledgements
 *   5 hand the bits on                    only now may the pages be read
 *
 * Why nothing is lost. The processor sets D in the leaf, by a locked exchange that looks at the leaf again, before a write
 * through it completes, unless its TLB says that it has done so since the last flush (SDM vol. 3, 4.8). A write that
 * completed before the call thus had D in a leaf of a table that was in the register of leaf tables: tables are registered
 * before their first leaf, under the lock, and leave it when they are empty. That D is found by 1; or it was moved to the
 * bitmap before 1 came by: by a drop, a protection or a change of the leaf (M4: D goes with W), in a section that 2 waits
 * for, and the bit is taken in 3; or an earlier round cleared it, whose flush came before its pages were read, and after
 * which the TLB had forgotten. A write between 1 and 4 is in the page before 5 reads it. A write after 4 sets D again.
 *
 * The walk goes by tables and not by chains: a leaf whose rmap entry is not there yet is found nevertheless, so an install
 * for a read need not set a bit. A table may be freed and reused under the walk; then the frame of the compared value decides
 * whose page it is, and one that is not this guest's is let alone. A section per table keeps the tables type-stable and lets
 * grace periods through.
 *
 * A large leaf found with D counts for all its pages and loses W, so that the next write splits it.
 *
 * Back to protection (log_auto.c): mmu.by_dbit is cleared, a grace period ends the installs that read it, then this walk
 * clears W and D alike, and a round by protection follows; from then on W implies the dirty bit again (M7).
 *
 * Some processors look at P of the leaf again before they set D, as all software relies on, but not at W (SDM vol. 3, 4.8: a
 * write beside the clearing of R/W may leave D set and R/W clear). The write is done, through a translation from before, until
 * the flush that follows. So while rounds go by D bits there may be D without W: whoever takes the leaf or its rights away, or
 * walks, finds it as any D. Back to protection, where nobody looks for it: a flush, and a walk that takes D alone. After that
 * every translation for writes is of a leaf that had D, and its processor has no D to set.
 * Model: dbit. Not promised: a bound by what was written; a walk costs in proportion to the guest's leaf tables.
 */
#include "mm/gpte.h"
#include "mm/harvest.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/shadow.h"

#define GROUP 8 /* entries looked at together */

/* Dirty bits not yet in the bitmap: neighbours in a table are mostly neighbours in memory. */
struct pending {
	atomic64 *word;
	uint64_t bits;
};

static void set_pending(struct pending *p)
{
	/* seq_cst RMW: as slot_mark_dirty; the round takes it in its step 3 */
	if (p->bits)
		fetch_or_seq(p->word, p->bits);
	p->bits = 0;
}

static void mark(struct pending *p, struct slot *s, uint64_t spte)
{
	gfn_t f = slot_gfn(s, spte_hfn(spte));
	uint64_t i = slot_index(s, f);

	if (spte_level(spte) > 1) {
		slot_mark_range(s, f, gpte_pages(spte_level(spte)));
		return;
	}
	if (p->word != &s->bits[SLOT_DIRTY][i / 64]) {
		set_pending(p);
		p->word = &s->bits[SLOT_DIRTY][i / 64];
	}
	p->bits |= 1UL << (i % 64);
}

/* One entry that had something to clear. */
static void take(struct harvest *h, struct pending *pending, spte_t *p, uint64_t clear)
{
	uint64_t s = load_acquire(p); /* partner: leaf_install */
	struct slot *slot;

	do {
		slot = spte_is_leaf(s) ? slot_owner(spte_hfn(s)) : 0;
		if (!slot || slot->mmu != h->mmu)
			return;
		if (spte_level(s) > 1)
			clear |= SPTE_W;
		if (!(s & clear))
			return;
		park("dbit-clear");
	} while (!cmpxchg_seq(p, &s, s & ~clear));
	h->cleared++;
	if (s & SPTE_D)
		mark(pending, slot, s);
}

static void walk_table(struct harvest *h, struct table *t, uint64_t clear)
{
	struct pending pending = {0};

	for (unsigned i = 0; i < TABLE_ENTRIES; i += GROUP) {
		uint64_t any = 0;

#pragma GCC unroll 8
		for (unsigned k = 0; k < GROUP; k++)
			any |= load_relaxed(&t->spte[i + k]); /* looked at again */
		for (unsigned k = 0; (any & clear) && k < GROUP; k++)
			if (load_relaxed(&t->spte[i + k]) & clear)
				take(h, &pending, &t->spte[i + k], clear);
	}
	set_pending(&pending);
	h->tables++;
}

void dbit_walk(struct harvest *h, uint64_t clear)
{
	struct mmu *m = h->mmu;
	uint64_t start = host_clock();
	/* acquire: what lies below is initialised; partner: shadow_register */
	uint32_t top = load_acquire(&m->leaf_tables_top);

	for (uint32_t i = 0; i < top; i++) {
		uint64_t t;

		rcu_read_lock(RCU_WALK);
		t = load_acquire(&m->leaf_table[i]); /* partner: shadow_register */
		park("dbit-table");
		if (t && !(t & LEAF_TABLE_FREE))
			walk_table(h, (struct table *)t, clear);
		rcu_read_unlock(RCU_WALK);
	}
	park("dbit-walked");
	h->ticks += host_clock() - start;
}
