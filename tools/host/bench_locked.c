/* SPDX-License-Identifier: MIT */
/* The same walk over the same chains with the same cmpxchg as mm/log.c, but shut off from faults by a lock instead of a
 * grace period. A ticket lock, so that a fault that waits comes next. Linked with --wrap=mmu_fault. */
#include "tools/host/bench_locked.h"
#include "mm/rcu.h"
#include "mm/tlb.h"

#define MATCH (SPTE_P | SPTE_W | SPTE_SIZE_MASK | SPTE_PFN_MASK)

enum mmu_outcome __real_mmu_fault(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f);
enum mmu_outcome __wrap_mmu_fault(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f);

static enum locked_hold locked_hold;
static struct {
	atomic32 next, serving;
} __attribute__((aligned(64))) locked_lock;

struct locked_protect {
	uint64_t want, other, done;
};

static void take(void)
{
	uint32_t ticket = fetch_add_seq(&locked_lock.next, 1);

	while (load_acquire(&locked_lock.serving) != ticket)
		__builtin_ia32_pause();
}

static void drop(void)
{
	store_release(&locked_lock.serving, load_relaxed(&locked_lock.serving) + 1);
}

void locked_set(enum locked_hold hold)
{
	locked_hold = hold;
}

enum mmu_outcome __wrap_mmu_fault(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f)
{
	enum mmu_outcome o;

	if (locked_hold == LOCKED_NOT)
		return __real_mmu_fault(v, a, error, f);
	take();
	o = __real_mmu_fault(v, a, error, f);
	drop();
	return o;
}

/* As protect_visit of mm/log.c: the hardware's A and D make a cmpxchg necessary under the lock too. */
static unsigned visit(void *ctx, spte_t *s)
{
	struct locked_protect *p = ctx;
	uint64_t old = p->want | p->other;

	while (!cmpxchg_seq(s, &old, old & ~(SPTE_W | SPTE_D)))
		if ((old & MATCH) != p->want)
			return 0;
	p->other = old & ~MATCH;
	p->done++;
	return 0;
}

static uint64_t protect_word(struct slot *s, uint64_t w, struct locked_protect *p)
{
	uint64_t taken = 0;

	if (load_relaxed(&s->bits[SLOT_DIRTY][w]))
		taken = xchg_acquire(&s->bits[SLOT_DIRTY][w], 0);
	store_relaxed(&s->bits[SLOT_TAKEN][w], taken);
	for (uint64_t bits = taken; bits; bits &= bits - 1) {
		uint64_t i = w * 64 + (unsigned)__builtin_ctzl(bits);
		struct chain_walk walk = {0};

		p->want = hfn_hpa(hfn(s->hfn.v + i)).v | SPTE_P | SPTE_W | SPTE_SIZE(1);
		chain_walk(&s->chain[0][i], visit, p, &walk);
	}
	return taken;
}

static void hand_on(struct slot *s)
{
	for (uint64_t w = 0; w < s->words; w++) {
		uint64_t bits = load_relaxed(&s->bits[SLOT_TAKEN][w]);

		if (bits == 0)
			continue;
		fetch_or_seq(&s->bits[SLOT_COPY][w], bits);
		store_relaxed(&s->bits[SLOT_SINCE][w], load_relaxed(&s->bits[SLOT_SINCE][w]) | bits);
	}
}

uint64_t locked_harvest(struct mmu *m)
{
	struct locked_protect p = {0};

	take();
	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		for (uint64_t w = 0; w < m->slot[i].words; w++)
			if (protect_word(&m->slot[i], w, &p) && locked_hold == LOCKED_WORD) {
				drop();
				take();
			}
	drop();
	tlb_flush(m);
	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		hand_on(&m->slot[i]);
	return p.done;
}
