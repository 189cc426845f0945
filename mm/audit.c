/* SPDX-License-Identifier: MIT */
/* The audit: every numbered invariant of mm/README.md, checked on one guest. The guest does not run meanwhile and the audit
 * has the harvest's turn, so nothing moves and no lock is needed. */
#include "mm/gpte.h"
#include "mm/leaf.h"
#include "mm/log.h"
#include "mm/rcu.h"
#include "mm/shadow.h"
#include "mm/walk.h"

#define REPORTS 8 /* lines a run; more are counted */

struct audit {
	struct mmu *mmu;
	struct slot *slot; /* of the chain being checked */
	gfn_t page;
	unsigned level;
	struct shadow *child;
	uint64_t violations;
	uint64_t leaves, linked; /* sptes seen in tables, entries seen in chains */
};

static void report(struct audit *a, const char *what, uint64_t x, uint64_t y)
{
	if (a->violations++ < REPORTS)
		host_log(HOST_ERROR, "audit %s: %s (%#lx, %#lx)", a->mmu->name, what, (unsigned long)x,
			(unsigned long)y);
}

/* True when each of the pages from f on has its dirty bit. */
static bool all_dirty(const struct slot *s, gfn_t f, uint64_t pages)
{
	for (uint64_t i = slot_index(s, f); pages--; i++)
		if (!(load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) >> (i % 64) & 1))
			return false;
	return true;
}

static bool all_unsync(struct mmu *m, gfn_t f)
{
	for (struct shadow *s = shadow_next_table(m, f, 0); s; s = shadow_next_table(m, f, s))
		if (!s->unsync)
			return false;
	return true;
}

/* What the guest's tables allow here, for a table in step with them. */
static void check_leaf_rights(struct audit *a, struct shadow *s, unsigned i, uint64_t spte)
{
	uint64_t gpte = s->role.direct ? 0 : shadow_gpte(s, i);
	unsigned access = s->role.access, level = s->role.level;
	bool dirty = s->role.dirty;
	gfn_t f = gfn(s->gfn.v + i * gpte_pages(level));

	if (!s->role.direct) {
		if ((gpte & (GPTE_P | GPTE_A)) != (GPTE_P | GPTE_A) || !gpte_is_leaf(gpte, level, s->role.mode)) {
			report(a, "M10 leaf over a gpte that is not present and accessed", gpte, spte);
			return;
		}
		access &= gpte_access(gpte, s->role.nx);
		dirty = gpte & GPTE_D;
		f = shadow_leaf_gfn(s, i, gpte);
	}
	if (slot_gfn(slot_owner(spte_hfn(spte)), spte_hfn(spte)).v != f.v)
		report(a, "M10 leaf maps another page than the guest's table", spte, f.v);
	if ((spte & SPTE_U) && !(access & ACC_U))
		report(a, "M10 user access that the guest does not allow", gpte, spte);
	if (!(spte & SPTE_NX) && !(access & ACC_X))
		report(a, "M10 execution that the guest does not allow", gpte, spte);
	if ((spte & SPTE_MMU_WRITABLE) && !dirty)
		report(a, "M10 writable over a clear D bit", gpte, spte);
	if ((spte & SPTE_MMU_WRITABLE) && !(access & ACC_W) && (s->role.wp || (spte & SPTE_U)) )
		report(a, "M10 writable though the guest does not allow it", gpte, spte);
	if (s->role.smap && (access & ACC_U) && !(spte & SPTE_U))
		report(a, "M10 the user's, but SMAP does not stop the supervisor", gpte, spte);
}

static void check_leaf(struct audit *a, struct shadow *s, unsigned i, uint64_t spte)
{
	spte_t *p = &s->table->spte[i];
	atomic64 *word = *spte_location(p);
	struct slot *slot = slot_owner(spte_hfn(spte));
	gfn_t f;

	a->leaves++;
	if (spte_level(spte) != s->role.level || s->role.level > SLOT_LEVELS ||
		!(spte & SPTE_PS) != (s->role.level == 1)) {
		report(a, "M2 leaf of a wrong size", s->role.level, spte);
		return;
	}
	if (!slot || slot->mmu != a->mmu) {
		report(a, "M5 leaf maps a frame that is not this guest's", spte, s->gfn.v);
		return;
	}
	f = slot_gfn(slot, spte_hfn(spte));
	if (load_relaxed(word) != (uintptr_t)p)
		report(a, "M6 location word does not lead back", (uintptr_t)p, (uintptr_t)word);
	if ((spte & SPTE_W) && !(spte & SPTE_MMU_WRITABLE))
		report(a, "M4 W without MMU_WRITABLE", spte, f.v);
	if ((spte & SPTE_D) && !(spte & SPTE_W))
		report(a, "M4 D without W", spte, f.v);
	if ((spte & SPTE_W) && !load_relaxed(&a->mmu->by_dbit) && !all_dirty(slot, f, gpte_pages(s->role.level)))
		report(a, "M7 writable page without its dirty bit", spte, f.v);
	if ((spte & SPTE_MMU_WRITABLE) && load_relaxed(slot_tables(slot, f, s->role.level)) &&
		(s->role.level > 1 || !all_unsync(a->mmu, f)))
		report(a, "M8 writable page that is a synced page table", spte, f.v);
	if (!s->unsync)
		check_leaf_rights(a, s, i, spte);
}

static void check_link(struct audit *a, struct shadow *s, unsigned i, uint64_t spte)
{
	uint64_t flags = spte & ~SPTE_PFN_MASK & ~(SPTE_A | SPTE_D);
	struct shadow *child = shadow_of_link(spte);
	uint64_t gpte;
	union role r;
	gfn_t f;

	if (s->role.level == 1 || flags != (SPTE_P | SPTE_W | SPTE_U)) {
		report(a, "M3 malformed link", s->role.level, spte);
		return;
	}
	if (load_relaxed(&child->state) != SHADOW_LIVE)
		report(a, "M3 link to a page that is not LIVE", spte, child->gfn.v);
	if (s->unsync)
		return;
	gpte = s->role.direct ? 0 : shadow_gpte(s, i);
	shadow_child(s, i, gpte, &f, &r);
	/* The guest's D bit may have been set through another shadow of this table since: narrower, and mended by the write */
	if (!child->role.dirty)
		r.dirty = 0;
	if (child->gfn.v != f.v || child->role.word != r.word || (!s->role.direct && !(gpte & GPTE_P)))
		report(a, "M9 link does not follow the guest's table", gpte, spte);
}

static unsigned parent_visit(void *ctx, spte_t *p)
{
	struct audit *a = ctx;

	if (!load_relaxed(p) || shadow_of_link(load_relaxed(p)) != a->child)
		report(a, "M6 parent entry does not link this page", (uintptr_t)p, load_relaxed(p));
	return 0;
}

static void check_shadow(struct audit *a, struct shadow *s)
{
	unsigned present = 0;

	for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
		uint64_t spte = load_relaxed(&s->table->spte[i]);

		if (spte == 0)
			continue;
		present++;
		if (!(spte & SPTE_P))
			report(a, "M1 non-present spte that is not 0", spte, s->gfn.v);
		else if (spte_is_leaf(spte))
			check_leaf(a, s, i, spte);
		else
			check_link(a, s, i, spte);
	}
	if (present != s->present)
		report(a, "M11 count of present entries", present, s->present);
	a->child = s;
	a->violations += chain_audit(&s->parents, parent_visit, a);
}

static unsigned rmap_visit(void *ctx, spte_t *p)
{
	struct audit *a = ctx;
	uint64_t spte = load_relaxed(p);

	a->linked++;
	if (spte_level(spte) != a->level || spte_hfn(spte).v != slot_hfn(a->slot, a->page).v)
		report(a, "M6 rmap entry whose spte does not map the page", spte, a->page.v);
	return 0;
}

static unsigned rmap_visit_large(void *ctx, spte_t *p)
{
	struct audit *a = ctx;

	a->page.v &= ~(gpte_pages(2) - 1);
	return rmap_visit(ctx, p);
}

static uint64_t check_tables(struct audit *a, struct slot *s, gfn_t f)
{
	uint64_t tables = 0, counted = load_relaxed(slot_tables(s, f, 1));

	if (counted == 0)
		return 0;
	for (struct shadow *t = shadow_next_table(a->mmu, f, 0); t; t = shadow_next_table(a->mmu, f, t))
		tables++;
	if (tables != counted)
		report(a, "M12 count of page-table shadows", tables, f.v);
	return counted;
}

static void check_slot(struct audit *a, struct slot *s)
{
	uint64_t tables = 0;

	a->slot = s;
	for (uint64_t i = 0; i < s->pages; i++) {
		a->page = gfn(s->gfn.v + i);
		a->level = 1;
		a->violations += chain_audit(slot_chain(s, a->page, 1), rmap_visit, a);
		tables += check_tables(a, s, a->page);
		if ((a->page.v + 1) % gpte_pages(2) != 0 && i + 1 < s->pages)
			continue;
		/* the last page of a 2 MiB unit */
		if (tables != load_relaxed(slot_tables(s, a->page, 2)))
			report(a, "M12 count of page-table shadows in 2 MiB", tables, a->page.v);
		tables = 0;
		a->level = 2;
		a->violations += chain_audit(slot_chain(s, a->page, 2), rmap_visit_large, a);
	}
}

uint64_t mmu_audit(struct mmu *m)
{
	struct audit a = {.mmu = m};
	uint64_t used = 0;

	if (!log_turn_take(m))
		return MMU_AUDIT_BUSY;
	for (struct shadow *s = m->all; s; s = s->next, used++)
		check_shadow(&a, s);
	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		check_slot(&a, &m->slot[i]);
	if (used != m->used)
		report(&a, "M11 count of shadow pages", used, m->used);
	if (a.leaves != a.linked)
		report(&a, "M6 leaves and rmap entries differ in number", a.leaves, a.linked);
	if (load_relaxed(&m->flushed) > load_relaxed(&m->owed))
		report(&a, "M13 more flushed than was owed", load_relaxed(&m->flushed), load_relaxed(&m->owed));
	log_turn_end(m);
	return a.violations;
}
