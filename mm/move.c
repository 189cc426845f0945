/* SPDX-License-Identifier: MIT */
/* Moving a guest's RAM to other host frames while its vCPUs run: its slots go and come back (DESIGN section 9).
 *
 *   1 the harvest's turn, and nobody copies    no walker will look at a frame
 *   2 mmu.moving, under the lock               from here on faults, root loads and host stores wait
 *   3 a grace period for publishers            whoever has translated through a slot has installed by now, or given up
 *   4 zap all, also what others have killed    no table and no TLB leads to a frame
 *     and not yet buried; flush
 *   5 a grace period for both kinds            nobody stands on an spte that did
 *   6 copy to new frames, give the old back    where there is no room (or a slot is of more than 1 GiB), the
 *                                              old ones stay
 *   7 every page dirty; moving = 0
 *
 * Why nobody reaches an old frame after 5. A fault looks slots up, walks and installs in one publishing section, and reads
 * `moving` in it: it ends before 3 does, and 4 takes what it installed; or it saw `moving`. A root load reads it under the
 * lock, and so comes before 4's zap, or gives up. A builder that is flushing when its table dies finds that under the lock
 * (H49). What walks by an spte of a recycled table compares the frame's owner; after 5 there is no such spte. A host store
 * is in a section, as a fault is, but waits when it sees `moving`: the slot is not absent, it moves. It waits for another
 * CPU alone, outside sections and locks, since this function never yields.
 * What another flow (a reclaim, a zap-all) has killed is not in the hash, so 4 does not find it, and it leads to the frames
 * until it is buried: that is waited for. A burial depends on other CPUs alone, and comes at once after the kill.
 * Either grace period would do for faults, as all tables die: an install asks whether its table lives. Host stores need one.
 * Model: slot. Not promised: that the guest's other vCPUs get anything done meanwhile.
 */
#include "mm/log.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/tlb.h"

static void set_moving(struct mmu *m, uint32_t moving)
{
	lock_take(&m->lock);
	store_release(&m->moving, moving); /* partners: mmu_moving in sections, and under the lock */
	lock_drop(&m->lock);
}

/* Frames that lie to 2 MiB as the old ones do, so that large leaves stay possible; HFN_NONE: no room. */
static hfn_t take_frames(const struct slot *s)
{
	uint64_t lead = s->hfn.v % 512;
	hfn_t f = page_alloc_run(lead + s->pages);

	if (!hfn_valid(f))
		return f;
	page_free_run(f, lead);
	return hfn(f.v + lead);
}

/* Steps 6 and 7 for one slot. */
static void move_slot(struct slot *s)
{
	hfn_t to = take_frames(s), from = s->hfn;

	if (hfn_valid(to)) {
		for (uint64_t i = 0; i < s->pages; i++) {
			__builtin_memcpy(hfn_virt(hfn(to.v + i)), hfn_virt(hfn(from.v + i)), PAGE_SIZE);
			page_frame(hfn(to.v + i))->owner = s;
			page_frame(hfn(from.v + i))->owner = 0;
		}
		page_free_run(from, s->pages);
		s->hfn = to;
	}
	slot_fill(s, SLOT_DIRTY);
}

enum mmu_outcome mmu_move_ram(struct mmu *m)
{
	if (!log_turn_take(m))
		return MMU_RETRY;
	if (load_seq(&m->copying)) { /* partner: replica_round, which counts itself before it asks for the turn */
		log_turn_end(m);
		return MMU_RETRY;
	}
	set_moving(m, 1);
	park("move-unpublished");
	rcu_wait(RCU_MASK_PUBLISH);
	mmu_zap_all(m);
	while (load_acquire(&m->dying)) /* partner: shadow_bury */
		host_relax();
	tlb_flush(m); /* also what was dropped before, and is owed */
	rcu_wait(RCU_MASK_ALL);
	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		move_slot(&m->slot[i]);
	park("move-moved");
	set_moving(m, 0);
	log_turn_end(m);
	return MMU_RESUME;
}
