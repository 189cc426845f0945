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

#define PIECE 512 /* bytes stored between two lock breaks: 64 entries */

static void drop_shadows(struct mmu *m, gfn_t f, uint64_t offset, uint64_t bytes)
{
	bool upper = false;

	lock_take(&m->lock);
	for (struct shadow *s = shadow_next_table(m, f, 0); s; s = shadow_next_table(m, f, s))
		for (uint64_t i = offset / 8; i <= (offset + bytes - 1) / 8; i++)
			upper |= shadow_drop(s, i);
	lock_drop(&m->lock);
	if (upper)
		tlb_bump(m);
}

/* Bytes up to the end of the piece that holds a. */
static uint64_t piece(gpa_t a, uint64_t bytes)
{
	uint64_t left = PIECE - a.v % PIECE;

	return bytes < left ? bytes : left;
}

bool mmu_read(struct mmu *m, gpa_t a, void *to, uint64_t bytes)
{
	for (uint64_t n; bytes; a.v += n, to = (char *)to + n, bytes -= n) {
		struct slot *s;

		n = piece(a, bytes);
		rcu_read_lock(RCU_PUBLISH);
		s = slot_find(m, gpa_gfn(a));
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
		struct slot *s;

		n = piece(a, bytes);
		rcu_read_lock(RCU_PUBLISH);
		s = slot_find(m, f);
		if (s) {
			__builtin_memcpy((char *)hfn_virt(slot_hfn(s, f)) + a.v % PAGE_SIZE, from, n);
			park("gmem-stored");
			slot_mark_dirty(s, f);
			if (load_seq(slot_tables(s, f, 1))) /* partner: shadow_new */
				drop_shadows(m, f, a.v % PAGE_SIZE, n);
		}
		rcu_read_unlock(RCU_PUBLISH);
		if (!s)
			return false;
	}
	return true;
}
