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

static bool bit(const struct slot *s, gfn_t f)
{
	uint64_t i = slot_index(s, f);

	return load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) >> (i % 64) & 1;
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
	uint64_t gpte = s->role.direct ? 0 : load_acquire(&shadow_guest_table(s)[i]);
	unsigned access = s->role.access;
	bool dirty = s->role.dirty;
	gfn_t f = gfn(s->gfn.v + i);

	if (!s->role.direct) {
		if ((gpte & (GPTE_P | GPTE_A)) != (GPTE_P | GPTE_A)) {
			report(a, "M10 leaf over a gpte that is not present and accessed", gpte, spte);
			return;
		}
		access &= gpte_access(gpte, s->role.nx);
		dirty = gpte & GPTE_D;
		f = gpte_gfn(gpte);
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
}

static void check_leaf(struct audit *a, struct shadow *s, unsigned i, uint64_t spte)
{
	spte_t *p = &s->table->spte[i];
	atomic64 *word = *spte_location(p);
	struct slot *slot = slot_owner(spte_hfn(spte));
	gfn_t f;

	a->leaves++;
	if (s->role.level != 1 || spte_level(spte) != 1)
		report(a, "M2 leaf of a wrong size", s->role.level, spte);
	if (!slot || slot->mmu != a->mmu) {
		report(a, "M5 leaf maps a frame that is not this guest's", spte, s->gfn.v);
		return;
	}
	f = slot_gfn(slot, spte_hfn(spte));
	if (load_relaxed(word) != (uintptr_t)p)
		report(a, "M6 location word does not lead back", (uintptr_t)p, (uintptr_t)word);
	if ((spte & SPTE_W) && !(spte & SPTE_MMU_WRITABLE))
		report(a, "M4 W without MMU_WRITABLE", spte, f.v);
	if ((spte & SPTE_W) && !bit(slot, f))
		report(a, "M7 writable page without its dirty bit", spte, f.v);
	if ((spte & SPTE_MMU_WRITABLE) && load_relaxed(slot_tables(slot, f)) && !all_unsync(a->mmu, f))
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
	gpte = s->role.direct ? 0 : load_acquire(&shadow_guest_table(s)[i]);
	shadow_child(s, i, gpte, &f, &r);
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
	if (!spte_is_leaf(spte) || spte_hfn(spte).v != slot_hfn(a->slot, a->page).v)
		report(a, "M6 rmap entry whose spte does not map the page", spte, a->page.v);
	return 0;
}

static void check_slot(struct audit *a, struct slot *s)
{
	a->slot = s;
	for (uint64_t i = 0; i < s->pages; i++) {
		uint64_t tables = 0;

		a->page = gfn(s->gfn.v + i);
		a->violations += chain_audit(&s->chain[0][i], rmap_visit, a);
		if (load_relaxed(&s->tables[i]) == 0)
			continue;
		for (struct shadow *t = shadow_next_table(a->mmu, a->page, 0); t;
			t = shadow_next_table(a->mmu, a->page, t))
			tables++;
		if (tables != load_relaxed(&s->tables[i]))
			report(a, "M12 count of page-table shadows", tables, a->page.v);
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
