/* SPDX-License-Identifier: MIT */
/* TLB invalidation by generation.
 *
 *   vCPU, interrupts off                         invalidator
 *   1 IN_GUEST = 1          (seq_cst RMW)        a change sptes
 *   2 g = generation        (seq_cst load)       b generation++           (seq_cst RMW)
 *   3 g != seen: IN_GUEST = 0, flush,            c IN_GUEST?              (seq_cst load)
 *     seen = g, back to 1                        d yes: kick, wait until IN_GUEST = 0 or seen >= generation
 *   4 enter the guest
 *
 * 1, 2 and the look at seen are mm/mmu.h's, for every entry passes there. A stale root has seen = 0, so it is behind.
 *
 * Why it is safe. Store-then-load on both sides: either 2 sees b, and the vCPU flushes after a; or c sees 1, and the
 * invalidator waits for the exit. The kick cannot be eaten between 1 and 4, for interrupts are off and a pending one makes
 * the entry exit at once (tlb.pml). Being behind, the vCPU looks at its root again before it flushes: the root may be what
 * was invalidated (tlb.pml).
 *
 * seen says what the TLB of one physical CPU is good for. It is kept per vCPU, not per (CPU, id), and set to 0, which no
 * generation is, whenever the vCPU enters on another CPU than its last: so its id is flushed on each CPU before its first
 * use there, and after each migration, also back (tlb.pml).
 *
 * owed counts narrowings of sptes through which a guest may write; flushed says how many of them a full flush has covered.
 * The sample is taken before the generation moves, so a narrowing during the flush stays owed (owed.pml). Local flushes do
 * not count.
 *
 * Not promised: that a vCPU outside the guest has flushed when tlb_flush returns; it flushes before it runs a guest
 * instruction.
 */
#include "mm/tlb.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/shadow.h"

bool tlb_owing(struct mmu *m)
{
	/* seq_cst: after the caller's own seq_cst changes of sptes; partner is the RMW of owed in shadow_drop */
	return load_seq(&m->owed) != load_seq(&m->flushed);
}

void tlb_bump(struct mmu *m)
{
	fetch_add_seq(&m->generation, 1); /* b */
}

static void wait_for(struct mmu_vcpu *v, uint64_t g)
{
	if (!load_seq(&v->in_guest)) /* c */
		return;
	host_kick(load_relaxed(&v->cpu));
	fetch_add_relaxed(&v->mmu->stats.kicks, 1);
	/* acquire: pairs with the releases in mmu_leave and mmu_flushed */
	while (load_acquire(&v->in_guest) && load_acquire(&v->seen) < g) {
		park("tlb-wait");
		host_relax();
	}
}

void tlb_flush(struct mmu *m)
{
	uint64_t owed, g, flushed;

	CHECK(!rcu_in_section());
	owed = load_seq(&m->owed); /* before the generation moves */
	g = fetch_add_seq(&m->generation, 1) + 1;
	for (unsigned i = 0; i < m->vcpus; i++)
		wait_for(m->vcpu[i], g);
	flushed = load_seq(&m->flushed);
	while (flushed < owed && !cmpxchg_seq(&m->flushed, &flushed, owed))
		;
	fetch_add_relaxed(&m->stats.flushes, 1);
}

static bool roots_live(const struct mmu_vcpu *v)
{
	for (unsigned i = 0; i < 4; i++)
		if (v->root[i] && load_acquire(&v->root[i]->state) != SHADOW_LIVE)
			return false;
	return true;
}

enum mmu_entry mmu_behind(struct mmu_vcpu *v, uint64_t g)
{
	store_release(&v->in_guest, 0);
	if (v->root_stale || !roots_live(v))
		return MMU_RELOAD;
	v->want = g;
	return MMU_FLUSH;
}
