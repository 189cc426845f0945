/* SPDX-License-Identifier: MIT */
/* The hypervisor's own loads and stores to guest RAM.
 *
 * A store: the data, then the dirty bit (a locked RMW), then the count of page-table shadows; if that is not zero, every
 * shadow of those bytes is dropped under the lock; all in one publishing section. Whoever shadows the page raises the count
 * (locked RMW) before it reads a gpte: so either it reads our data, or we see its count. A harvest that takes the bit reads
 * our data, or waits for our section and takes the bit then (HAZARDS H35).
 */
#include "mm/gpte.h"
#include "mm/mmu.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/shadow.h"
#include "mm/tlb.h"

#define PIECE 64 /* bytes stored between two lock breaks: 16 narrow entries, of which 32 sptes may depend */

/* The guest's entries from `first` to `last`, as far as s shadows them. */
static bool drop_entries(struct shadow *s, unsigned first, unsigned last)
{
	unsigned each = s->narrow && s->role.level > 1 ? 2 : 1, base = shadow_guest_index(s, 0);
	bool upper = false;

	for (unsigned g = first < base ? base : first; g <= last && g - base < TABLE_ENTRIES / each; g++)
		for (unsigned k = 0; k < each; k++)
			upper |= shadow_drop(s, (g - base) * each + k);
	return upper;
}

/* The next shadow of f, pinned, for the lock is dropped between two of them; s, which was, no longer is. If s was
 * killed meanwhile it leads nowhere: from the first one again, where nothing is left to drop. Lock held. */
static struct shadow *next_pinned(struct mmu *m, gfn_t f, struct shadow *s)
{
	bool live = s && load_relaxed(&s->state) != SHADOW_DYING;
	struct shadow *next = shadow_next_table(m, f, live ? s : 0);

	if (next)
		next->pins++;
	if (s)
		shadow_unpin(s);
	return next;
}

/* One hold of the lock for each shadow: a guest has a page shadowed in as many roles as it likes. A shadow that is made
 * meanwhile reads what was stored. */
static void drop_shadows(struct mmu *m, gfn_t f, unsigned offset, unsigned bytes)
{
	struct shadow *s = 0;
	bool upper = false;

	do {
		lock_take(&m->lock);
		s = next_pinned(m, f, s);
		if (s) {
			unsigned entry = s->narrow ? 4 : 8;

			shadow_lock(s);
			upper |= drop_entries(s, offset / entry, (offset + bytes - 1) / entry);
			shadow_unlock(s);
		}
		lock_drop(&m->lock);
	} while (s);
	if (upper)
		tlb_bump(m);
}

/* Bytes up to the end of the piece that holds a. */
static uint64_t piece(gpa_t a, uint64_t bytes)
{
	uint64_t left = PIECE - a.v % PIECE;

	return bytes < left ? bytes : left;
}

/* The slot of f; in a publishing section, which the caller leaves, also when there is none (0). Waits while slots move: that
 * is another CPU's work, and here are no section and no lock. */
static struct slot *slot_enter(struct mmu *m, gfn_t f)
{
	for (;;) {
		rcu_read_lock(RCU_PUBLISH);
		if (!mmu_moving(m))
			return slot_find(m, f);
		rcu_read_unlock(RCU_PUBLISH);
		host_relax();
	}
}

bool mmu_read(struct mmu *m, gpa_t a, void *to, uint64_t bytes)
{
	for (uint64_t n; bytes; a.v += n, to = (char *)to + n, bytes -= n) {
		struct slot *s = slot_enter(m, gpa_gfn(a));

		n = piece(a, bytes);
		if (s)
			__builtin_memcpy(to, (char *)hfn_virt(slot_hfn(s, gpa_gfn(a))) + a.v % PAGE_SIZE, n);
		rcu_read_unlock(RCU_PUBLISH);
		if (!s)
			return false;
	}
	return true;
}

bool mmu_write(struct mmu *m, gpa_t a, const void *from, uint64_t bytes)
{
	for (uint64_t n; bytes; a.v += n, from = (const char *)from + n, bytes -= n) {
		gfn_t f = gpa_gfn(a);
		struct slot *s = slot_enter(m, f);

		n = piece(a, bytes);
		if (s) {
			__builtin_memcpy((char *)hfn_virt(slot_hfn(s, f)) + a.v % PAGE_SIZE, from, n);
			park("gmem-stored");
			slot_mark_dirty(s, f);
			if (load_seq(slot_tables(s, f, 1))) /* partner: shadow_new */
				drop_shadows(m, f, (unsigned)(a.v % PAGE_SIZE), (unsigned)n);
		}
		rcu_read_unlock(RCU_PUBLISH);
		if (!s)
			return false;
	}
	return true;
}
