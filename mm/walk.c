/* SPDX-License-Identifier: MIT */
/* The guest page-table walker (SDM vol. 3, 4.5 to 4.8). */
#include "mm/walk.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/slot.h"

uint64_t walk_reserved(const struct mmu *m, uint64_t gpte, unsigned level, bool nxe)
{
	uint64_t bad = walk_reserved_always(m, nxe);

	if (level == 4)
		bad |= GPTE_PS;
	else if (level > 1 && (gpte & GPTE_PS))
		bad |= (gpte_pages(level) - 1) << PAGE_SHIFT & ~(1UL << PAGE_SHIFT); /* bit 12 is PAT */
	return gpte & bad;
}

static uint32_t error_code(const struct mmu_vcpu *v, uint32_t access, uint32_t why)
{
	/* I is reported only where instruction fetches can be forbidden (4.7) */
	if (!(v->paging.efer & EFER_NXE))
		access &= ~PF_I;
	return access | why;
}

bool walk_allowed(const struct mmu_vcpu *v, unsigned rights, uint32_t access)
{
	if ((access & PF_U) && !(rights & ACC_U))
		return false;
	if ((access & PF_I) && !(rights & ACC_X))
		return false;
	if ((access & PF_W) && !(rights & ACC_W))
		return !(access & PF_U) && !(v->paging.cr0 & CR0_WP);
	return true;
}

/* Sets A everywhere and D in the leaf: a cmpxchg of the whole entry, for a plain store would bring back a PTE that the
 * guest has just cleared. Data first, then the dirty bit of the table's page. They only widen, so no shadow is dropped. */
static bool set_accessed(struct mmu_vcpu *v, struct walk *w, uint32_t access)
{
	for (unsigned level = w->top; level >= w->level; level--) {
		uint64_t old = w->gpte[level], set = old | GPTE_A;

		if (level == w->level && (access & PF_W))
			set |= GPTE_D;
		if (set == old)
			continue;
		park("walk-read");
		if (!cmpxchg_seq(w->at[level], &old, set))
			return false;
		w->gpte[level] = set;
		slot_mark_dirty(slot_find(v->mmu, w->table[level]), w->table[level]);
	}
	return true;
}

static enum mmu_outcome refuse(const struct mmu_vcpu *v, struct walk *w, uint32_t access, uint32_t why)
{
	w->error = error_code(v, access, why);
	return MMU_INJECT;
}

/* The entry maps memory: rights, then A and D. all: the AND of the entries; any: their OR. */
static enum mmu_outcome finish(struct mmu_vcpu *v, gva_t a, uint32_t access, struct walk *w, uint64_t all, uint64_t any)
{
	uint64_t leaf = w->gpte[w->level], pages = gpte_pages(w->level);

	w->access = gpte_access((all & ~GPTE_NX) | (any & GPTE_NX), v->paging.efer & EFER_NXE);
	if (!walk_allowed(v, w->access, access))
		return refuse(v, w, access, PF_P);
	w->page = gfn((gpte_gfn(leaf).v & ~(pages - 1)) + (a.v >> PAGE_SHIFT & (pages - 1)));
	if ((all & GPTE_A) && (!(access & PF_W) || (leaf & GPTE_D)))
		return MMU_RESUME;
	return set_accessed(v, w, access) ? MMU_RESUME : MMU_RETRY;
}

enum mmu_outcome walk_guest(struct mmu_vcpu *v, gva_t a, uint32_t access, struct walk *w)
{
	gfn_t table = gpa_gfn(gpa(v->paging.cr3 & GPTE_ADDRESS));
	struct slot *s = 0;
	uint64_t all = ~0UL, any = 0;

	if (!(v->paging.cr0 & CR0_PG)) {
		w->top = 0;
		w->level = 1;
		w->access = ACC_ALL;
		w->page = gpa_gfn(gpa((uint32_t)a.v));
		return MMU_RESUME;
	}
	w->top = 4;
	for (unsigned level = 4;; level--) {
		uint64_t g, forbidden = v->reserved;

		/* tables mostly lie in one slot */
		if (!s || table.v - s->gfn.v >= s->pages)
			s = slot_find(v->mmu, table);
		if (!s) {
			w->gpa = gpa(gfn_gpa(table).v + gpte_index(a, level) * 8);
			return MMU_MMIO;
		}
		w->table[level] = table;
		w->at[level] = (atomic64 *)hfn_virt(slot_hfn(s, table)) + gpte_index(a, level);
		w->gpte[level] = g = load_acquire(w->at[level]); /* the guest's own stores are its partner */
		if (!(g & GPTE_P))
			return refuse(v, w, access, 0);
		if (level > 1)
			forbidden |= GPTE_PS; /* looked at more closely */
		if ((g & forbidden) && walk_reserved(v->mmu, g, level, v->paging.efer & EFER_NXE))
			return refuse(v, w, access, PF_P | PF_RSVD);
		all &= g;
		any |= g;
		if (gpte_is_leaf(g, level)) {
			w->level = level;
			return finish(v, a, access, w, all, any);
		}
		table = gpte_gfn(g);
	}
}

bool walk_current(const struct walk *w)
{
	if (w->top == 0)
		return true;
	for (unsigned level = w->top; level >= w->level; level--)
		/* acquire: the partner is the guest */
		if (load_acquire(w->at[level]) != w->gpte[level])
			return false;
	return true;
}

enum mmu_outcome mmu_translate(struct mmu_vcpu *v, gva_t a, uint32_t access, gpa_t *out, struct mmu_fault *f)
{
	struct walk w;
	enum mmu_outcome o;

	rcu_read_lock(RCU_PUBLISH);
	o = walk_guest(v, a, access, &w);
	rcu_read_unlock(RCU_PUBLISH);
	f->gva = a;
	f->error = w.error;
	f->gpa = w.gpa;
	if (o == MMU_RESUME)
		*out = gpa(gfn_gpa(w.page).v | (a.v & (PAGE_SIZE - 1)));
	return o;
}
