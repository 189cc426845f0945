/* SPDX-License-Identifier: MIT */
/* The guest page-table walker (SDM vol. 3, 4.5 to 4.8). */
#include "mm/walk.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/slot.h"

uint64_t walk_reserved(const struct mmu *m, uint64_t gpte, unsigned level, enum paging_mode mode, bool nxe)
{
	uint64_t bad = walk_reserved_always(m, mode, nxe);

	if (gpte_narrow(mode)) {
		/* of a 4 MiB page: bit 21, and address bits that lie above MAXPHYADDR (table 4-4) */
		if (level == 2 && gpte_is_leaf(gpte, level, mode))
			bad = 1UL << 21 | (m->phys_bits < 40 ? (0xffUL << (m->phys_bits - 32) & 0xff) << 13 : 0);
	} else if (level == 4) {
		bad |= GPTE_PS;
	} else if (level > 1 && (gpte & GPTE_PS)) {
		bad |= (gpte_pages(level) - 1) << PAGE_SHIFT & ~(1UL << PAGE_SHIFT); /* bit 12 is PAT */
	}
	return gpte & bad;
}

static uint32_t error_code(const struct mmu_vcpu *v, uint32_t access, uint32_t why)
{
	/* I is reported only where instruction fetches can be forbidden (4.7) */
	if (!v->nxe && !(v->paging.cr4 & CR4_SMEP))
		access &= ~PF_I;
	return access | why;
}

/* A supervisor's access to a user page: SMEP, SMAP (4.6.1). */
static __attribute__((noinline)) bool supervisor_allowed(const struct mmu_vcpu *v, uint32_t access)
{
	return access & PF_I ? !(v->paging.cr4 & CR4_SMEP) : v->ac || !v->smap;
}

bool walk_allowed(const struct mmu_vcpu *v, unsigned rights, uint32_t access)
{
	if ((access & PF_U) && !(rights & ACC_U))
		return false;
	if ((access & PF_I) && !(rights & ACC_X))
		return false;
	if ((rights & ACC_U) && !(access & PF_U) && (v->paging.cr4 & (CR4_SMEP | CR4_SMAP)) &&
		v->mode != PAGING_OFF && !supervisor_allowed(v, access))
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
		if (!gpte_cmpxchg(w->at[level], w->narrow, &old, set))
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

/* The entry maps memory, `pages` pages from `first` on: rights, then A and D. all: the AND of the entries; any: their OR. */
static inline __attribute__((always_inline)) enum mmu_outcome finish(struct mmu_vcpu *v, gva_t a, uint32_t access,
	struct walk *w, uint64_t all, uint64_t any, gfn_t first, uint64_t pages)
{
	w->access = gpte_access((all & ~GPTE_NX) | (any & GPTE_NX), v->nxe);
	if (!walk_allowed(v, w->access, access))
		return refuse(v, w, access, PF_P);
	w->page = gfn(first.v + (a.v >> PAGE_SHIFT & (pages - 1)));
	if ((all & GPTE_A) && (!(access & PF_W) || (w->gpte[w->level] & GPTE_D)))
		return MMU_RESUME;
	return set_accessed(v, w, access) ? MMU_RESUME : MMU_RETRY;
}

/* The walk from the table at level w->top on; inlined once for each width of entries. */
static inline __attribute__((always_inline)) enum mmu_outcome walk_tables(struct mmu_vcpu *v, gva_t a, uint32_t access,
	struct walk *w, gfn_t table, bool narrow)
{
	struct slot *s = 0;
	uint64_t all = ~0UL, any = 0;

	w->narrow = narrow;
	for (unsigned level = w->top;; level--) {
		unsigned index = narrow ? gpte_narrow_index(a, level) : gpte_index(a, level), bytes = narrow ? 4 : 8;
		uint64_t g, forbidden = v->reserved;

		/* tables mostly lie in one slot */
		if (!s || table.v - s->gfn.v >= s->pages)
			s = slot_find(v->mmu, table);
		if (!s) /* it reads as all ones, reserved bits and all; without PAE it says so too */
			return refuse(v, w, access, PF_P | PF_RSVD);
		w->table[level] = table;
		w->at[level] = (char *)hfn_virt(slot_hfn(s, table)) + index * bytes;
		w->gpte[level] = g = gpte_load(w->at[level], narrow);
		if (!(g & GPTE_P))
			return refuse(v, w, access, 0);
		if (level > 1)
			forbidden |= GPTE_PS; /* looked at more closely */
		if ((g & forbidden) && walk_reserved(v->mmu, g, level, v->mode, v->nxe))
			return refuse(v, w, access, PF_P | PF_RSVD);
		all &= g;
		any |= g;
		if (gpte_is_leaf(g, level, v->mode)) {
			w->level = level;
			return narrow ? finish(v, a, access, w, all, any, gpte_narrow_leaf_gfn(g, level),
						gpte_narrow_pages(level))
				      : finish(v, a, access, w, all, any, gpte_leaf_gfn(g, level), gpte_pages(level));
		}
		table = gpte_gfn(g);
	}
}

static __attribute__((noinline)) enum mmu_outcome walk_32(struct mmu_vcpu *v, gva_t a, uint32_t access, struct walk *w)
{
	w->top = 2;
	return walk_tables(v, a, access, w, walk_root(v), true);
}

/* The PDPTEs were loaded with CR3: four registers, without rights and without A (4.4.1). */
static __attribute__((noinline)) enum mmu_outcome walk_pae(struct mmu_vcpu *v, gva_t a, uint32_t access, struct walk *w)
{
	uint64_t pdpte = v->paging.pdpte[a.v >> 30 & 3];

	if (!(pdpte & GPTE_P))
		return refuse(v, w, access, 0);
	w->top = 2;
	return walk_tables(v, a, access, w, gpte_gfn(pdpte), false);
}

enum mmu_outcome walk_guest(struct mmu_vcpu *v, gva_t a, uint32_t access, struct walk *w)
{
	if (v->mode == PAGING_LONG) {
		w->top = 4;
		return walk_tables(v, a, access, w, walk_root(v), false);
	}
	if (v->mode != PAGING_OFF)
		return v->mode == PAGING_PAE ? walk_pae(v, a, access, w) : walk_32(v, a, access, w);
	w->top = 0;
	w->level = 1;
	w->access = ACC_ALL;
	w->page = gpa_gfn(gpa((uint32_t)a.v));
	return MMU_RESUME;
}

bool walk_current(const struct walk *w)
{
	if (w->top == 0)
		return true;
	for (unsigned level = w->top; level >= w->level; level--)
		if (gpte_load(w->at[level], w->narrow) != w->gpte[level])
			return false;
	return true;
}

enum mmu_outcome mmu_translate(struct mmu_vcpu *v, gva_t a, uint32_t access, gpa_t *out, struct mmu_fault *f)
{
	struct walk w;
	enum mmu_outcome o;

	rcu_read_lock(RCU_PUBLISH);
	o = mmu_moving(v->mmu) ? MMU_RETRY : walk_guest(v, a, access, &w);
	rcu_read_unlock(RCU_PUBLISH);
	f->gva = a;
	f->error = w.error;
	if (o == MMU_RESUME)
		*out = gpa(gfn_gpa(w.page).v | (a.v & (PAGE_SIZE - 1)));
	return o;
}
