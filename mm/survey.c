/* SPDX-License-Identifier: MIT */
#include "mm/survey.h"
#include "mm/rcu.h"
#include "mm/walk.h"

void survey_page(struct mmu *m, gfn_t f, struct survey_page *p)
{
	struct slot *s = slot_find(m, f);
	uint64_t i;

	*p = (struct survey_page){.ram = s != 0};
	if (!s)
		return;
	i = slot_index(s, f);
	p->hfn = slot_hfn(s, f);
	p->dirty = load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) >> (i % 64) & 1;
	p->tables = load_relaxed(slot_tables(s, f, 1));
	for (unsigned level = 1; level <= SLOT_LEVELS; level++)
		p->length[level - 1] = load_relaxed(&slot_chain(s, f, level)->length);
}

static void survey_leaf(struct survey_leaf *leaf, spte_t *p)
{
	const struct shadow *s = shadow_of_spte(p);

	*leaf = (struct survey_leaf){
		.table = s->gfn, .role = s->role, .unsync = s->unsync, .index = spte_index(p), .spte = load_relaxed(p)};
}

/* mmu.lock and the chain's held: nothing in it moves. */
static unsigned survey_chain(const struct chain *c, struct survey_leaf *leaf, unsigned most)
{
	uint64_t at = load_relaxed(&c->head);
	unsigned n = 0;

	if (at && !(at & CHAIN_MANY) && most)
		survey_leaf(&leaf[n++], (spte_t *)at);
	if (!(at & CHAIN_MANY))
		return n;
	at &= ~CHAIN_MANY;
	for (unsigned d = 0; d < SURVEY_DESCS && !(at & CHAIN_MANY); d++) {
		const struct chain_desc *desc = (const struct chain_desc *)at;

		for (unsigned i = 0; i < CHAIN_SLOTS && n < most; i++)
			if (load_relaxed(&desc->slot[i]))
				survey_leaf(&leaf[n++], (spte_t *)load_relaxed(&desc->slot[i]));
		at = load_relaxed(&desc->next);
	}
	return n;
}

unsigned survey_leaves(struct mmu *m, gfn_t f, unsigned level, struct survey_leaf *leaf, unsigned most)
{
	struct slot *s;
	unsigned n = 0;

	lock_take(&m->lock);
	s = slot_find(m, f);
	if (s) {
		struct chain *c = slot_chain(s, f, level);

		spin_take(&c->lock, LOCK_CHAIN);
		n = survey_chain(c, leaf, most);
		spin_drop(&c->lock, LOCK_CHAIN);
	}
	lock_drop(&m->lock);
	return n;
}

/* ---- walks ---- */

static void enter(struct survey_entry *e, uint64_t at, uint64_t value)
{
	*e = (struct survey_entry){true, at, value};
}

/* The guest's, from the table at gpa `table` of this level on. */
static void walk_tables(struct mmu_vcpu *v, gva_t a, uint64_t table, unsigned level, struct survey_walk *w)
{
	bool narrow = gpte_narrow(v->mode);

	for (;; level--) {
		uint64_t at = table + (narrow ? 4ul * gpte_narrow_index(a, level) : 8ul * gpte_index(a, level)), e = 0;

		w->beyond = !mmu_read(v->mmu, gpa(at), &e, narrow ? 4 : 8);
		if (w->beyond)
			return;
		enter(&w->guest[level], at, e);
		if (!(e & GPTE_P))
			return;
		if (gpte_is_leaf(e, level, v->mode)) {
			gfn_t page = narrow ? gpte_narrow_leaf_gfn(e, level) : gpte_leaf_gfn(e, level);
			uint64_t pages = narrow ? gpte_narrow_pages(level) : gpte_pages(level);

			w->mapped = true;
			w->gpa = gpa(gfn_gpa(page).v + (a.v & (pages * PAGE_SIZE - 1)));
			return;
		}
		table = e & GPTE_ADDRESS;
	}
}

static void walk_guests(struct mmu_vcpu *v, gva_t a, struct survey_walk *w)
{
	uint64_t pdpte;

	switch (v->mode) {
	case PAGING_OFF:
		w->mapped = true;
		w->gpa = gpa(a.v);
		return;
	case PAGING_LONG:
		walk_tables(v, a, gfn_gpa(walk_root(v)).v, 4, w);
		return;
	case PAGING_PAE:
		pdpte = v->paging.pdpte[a.v >> 30 & 3];
		enter(&w->guest[3], 0, pdpte);
		if (pdpte & GPTE_P)
			walk_tables(v, a, pdpte & GPTE_ADDRESS, 2, w);
		return;
	case PAGING_32:
	case PAGING_PSE:
		walk_tables(v, a, gfn_gpa(walk_root(v)).v, 2, w);
		return;
	}
}

/* The shadow's. In a section: what is passed may become another table meanwhile, as a stale walk of the hardware's would not. */
static void walk_shadow(struct mmu_vcpu *v, gva_t a, struct survey_walk *w)
{
	struct shadow *root = shadow_root(v, a);
	const struct table *t;
	const struct slot *slot;

	w->stale = v->root_stale;
	if (w->stale)
		return;
	if (v->mode != PAGING_LONG)
		enter(&w->shadow[3], 0, load_relaxed(&v->pae_root[a.v >> 30 & 3]));
	if (!root)
		return;
	t = root->table;
	for (unsigned level = root->role.level;; level--) {
		uint64_t s = load_acquire(&t->spte[gpte_index(a, level)]); /* partner: shadow_link, leaf_install */

		enter(&w->shadow[level], 0, s);
		if (!(s & SPTE_P))
			return;
		if (spte_is_leaf(s)) {
			uint64_t within = a.v & (gpte_pages(level) * PAGE_SIZE - 1);

			slot = slot_owner(spte_hfn(s));
			w->shadowed = slot && slot->mmu == v->mmu;
			if (w->shadowed)
				w->shadow_gpa = gpa(gfn_gpa(slot_gfn(slot, spte_hfn(s))).v + within);
			return;
		}
		if (level == 1)
			return;
		t = hfn_virt(spte_hfn(s));
	}
}

void survey_walk(struct mmu_vcpu *v, gva_t a, struct survey_walk *w)
{
	*w = (struct survey_walk){.mode = v->mode};
	if (v->mode != PAGING_LONG)
		a.v &= 0xffffffff;
	walk_guests(v, a, w);
	rcu_read_lock(RCU_WALK);
	walk_shadow(v, a, w);
	rcu_read_unlock(RCU_WALK);
}
