/* SPDX-License-Identifier: MIT */
#include "mm/guard.h"
#include "mm/rcu.h"
#include "mm/shadow.h"
#include "mm/tlb.h"

bool mmu_guard(struct mmu *m, gva_t a)
{
	if (guard_has(m, a))
		return true;
	if (m->guards.n == MMU_GUARDS)
		return false;
	m->guards.page[m->guards.n++] = a.v >> PAGE_SHIFT;
	mmu_zap_all(m);
	tlb_bump(m); /* nothing that a walk of the shadow has led to is to be taken for current */
	return true;
}

void mmu_unguard(struct mmu *m, gva_t a)
{
	for (unsigned i = 0; i < m->guards.n; i++)
		if (m->guards.page[i] == a.v >> PAGE_SHIFT)
			m->guards.page[i--] = m->guards.page[--m->guards.n];
}

void guard_installed(struct mmu_vcpu *v, gva_t a, struct shadow *s, unsigned index)
{
	struct mmu_guards *g = &v->mmu->guards;

	if (g->open != v || !guard_has(v->mmu, a))
		return;
	if (g->leaves < MMU_GUARD_LEAVES)
		g->leaf[g->leaves] = (struct mmu_guard_leaf){s->gfn, s->role.word, index};
	g->leaves++;
}

void mmu_guard_open(struct mmu_vcpu *v)
{
	v->mmu->guards.leaves = 0;
	v->mmu->guards.open = v;
}

/* By its name: the shadow page may have died since, its memory be another's, and one like it loses a leaf that a fault brings
 * back. */
static void drop(struct mmu *m, const struct mmu_guard_leaf *leaf)
{
	struct shadow *s;

	rcu_read_lock(RCU_PUBLISH);
	lock_take(&m->lock);
	s = shadow_find(m, leaf->gfn, (union role){.word = leaf->role});
	if (s && load_relaxed(&s->state) == SHADOW_LIVE) {
		shadow_lock(s);
		shadow_drop(s, leaf->index);
		shadow_unlock(s);
	}
	tlb_bump(m);
	lock_drop(&m->lock);
	rcu_read_unlock(RCU_PUBLISH);
}

void mmu_guard_close(struct mmu_vcpu *v)
{
	struct mmu_guards *g = &v->mmu->guards;

	if (g->open != v)
		return;
	g->open = 0;
	if (g->leaves > MMU_GUARD_LEAVES)
		mmu_zap_all(v->mmu);
	for (unsigned i = 0; i < g->leaves && g->leaves <= MMU_GUARD_LEAVES; i++)
		drop(v->mmu, &g->leaf[i]);
	g->leaves = 0;
}
