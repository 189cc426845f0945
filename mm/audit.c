/* SPDX-License-Identifier: MIT */
/* The audit: the numbered invariants of mm/README.md, checked on one guest.
 *
 * Two ways. Of a guest that stands still (mmu_audit) everything is checked, without mmu.lock, for nothing moves. Beside running
 * vCPUs (audit_step) a pass goes in steps, each under mmu.lock, with the lock of the table or chain looked at and with the
 * harvest's turn: no round, no move of RAM and no change of the log's mode is in its midst. What holds at any instant under
 * these locks is checked there:
 *
 *   - M1 to M6, M8, M11 (present), M12, M13: their words change under these locks, or by one atomic access that keeps them.
 *     A link may lead to a DYING page until the burial has come by; BUILDING pages are not protected yet.
 *   - M7, M9, M10 are kept by publishing sections that take no lock: a fix-up opens the page and then sets the bit, a host store
 *     changes a gpte and then drops what it was read into. And an INVLPG clears an spte under its table's lock alone, and then
 *     takes the rmap entry away (M6). What seems wrong is doubted, and looked at again after a grace period for publishers: what
 *     was under way is over then. With the turn, nobody takes a bit meanwhile.
 *
 * A pass goes by the hash, and in a bucket by place; what is made, dies or changes its place meanwhile may be passed over, and
 * makes a pass no longer. Of a chain longer than CHAIN_PART descriptors a step looks at the first ones; of the others each leaf
 * or link looks at its own. Left to the audit of a guest that stands still: the length and the hole list of such a chain, how
 * many shadow pages there are (M11, used), that leaves and rmap entries are equal in number, and a page's count of more than
 * AUDIT_STEP tables. */
#include "mm/audit.h"
#include "mm/leaf.h"
#include "mm/log.h"
#include "mm/rcu.h"

#define REPORTS 8    /* lines a pass; more are counted */
#define CHAIN_PART 4 /* descriptors of a chain looked at in a step */
#define RECHECKS 8   /* grace periods that a doubt must outlast */

static void report(struct audit *a, const char *what, uint64_t x, uint64_t y)
{
	if (a->violations++ < REPORTS)
		host_log(HOST_ERROR, "audit %s: %s (%#lx, %#lx)", a->mmu->name, what, (unsigned long)x,
			(unsigned long)y);
}

/* The same for what a publishing section may be about to mend. */
static void suspect(struct audit *a, const char *what, uint64_t x, uint64_t y)
{
	if (a->quiet || a->certain)
		report(a, what, x, y);
	else
		a->doubtful = true;
}

/* True when each of the pages from f on has its dirty bit. */
static bool all_dirty(const struct slot *s, gfn_t f, uint64_t pages)
{
	for (uint64_t i = slot_index(s, f), end = i + pages; i < end;) {
		uint64_t first = i % 64, n = end - i < 64 - first ? end - i : 64 - first;
		uint64_t mask = (n == 64 ? ~0UL : (1UL << n) - 1) << first;

		if ((load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) & mask) != mask)
			return false;
		i += n;
	}
	return true;
}

/* True when a shadow of f as a page table relies on it not being written: while it is unsync it does not, but `anyway`. */
static bool relied_on(struct mmu *m, gfn_t f, bool anyway)
{
	for (struct shadow *s = shadow_next_table(m, f, 0); s; s = shadow_next_table(m, f, s))
		if ((anyway || !s->unsync) && load_relaxed(&s->state) == SHADOW_LIVE)
			return true;
	return false;
}

/* The same for a leaf's pages: a large one may not even be over tables that are unsync. */
static bool written_behind(struct mmu *m, const struct slot *slot, gfn_t f, unsigned level)
{
	if (load_relaxed(slot_tables(slot, f, level)) == 0)
		return false;
	for (uint64_t i = 0; i < gpte_pages(level); i++)
		if (load_relaxed(slot_tables(slot, gfn(f.v + i), 1)) && relied_on(m, gfn(f.v + i), level > 1))
			return true;
	return false;
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
			suspect(a, "M10 leaf over a gpte that is not present and accessed", gpte, spte);
			return;
		}
		access &= gpte_access(gpte, s->role.nx);
		dirty = gpte & GPTE_D;
		f = shadow_leaf_gfn(s, i, gpte);
	}
	if (leaf_is_blank(a->mmu, spte) ? !mmu_is_blank(a->mmu, f) : slot_gfn(slot_owner(spte_hfn(spte)), spte_hfn(spte)).v != f.v)
		suspect(a, "M10 leaf maps another page than the guest's table", spte, f.v);
	if ((spte & SPTE_U) && !(access & ACC_U))
		suspect(a, "M10 user access that the guest does not allow", gpte, spte);
	if (!(spte & SPTE_NX) && !(access & ACC_X))
		suspect(a, "M10 execution that the guest does not allow", gpte, spte);
	if ((spte & SPTE_MMU_WRITABLE) && !dirty)
		suspect(a, "M10 writable over a clear D bit", gpte, spte);
	if ((spte & SPTE_MMU_WRITABLE) && !(access & ACC_W) && (s->role.wp || (spte & SPTE_U)))
		suspect(a, "M10 writable though the guest does not allow it", gpte, spte);
	if (s->role.smap && (access & ACC_U) && !(spte & SPTE_U))
		suspect(a, "M10 the user's, but SMAP does not stop the supervisor", gpte, spte);
}

static unsigned rmap_visit(void *ctx, spte_t *p)
{
	struct audit *a = ctx;
	uint64_t spte = load_relaxed(p);

	a->linked++;
	if (!spte && !a->quiet && !a->certain) {
		/* on its way out: cleared under its table's lock, which waits for this chain's now */
		if (!a->leaving)
			a->leaving = p;
		a->doubtful |= a->leaving == p;
		return 0;
	}
	if (!spte && !a->quiet && a->leaving != p)
		return 0;
	if (spte_level(spte) != a->chain_level || spte_hfn(spte).v != slot_hfn(a->chain_slot, a->chain_page).v)
		report(a, "M6 rmap entry whose spte does not map the page", spte, a->chain_page.v);
	return 0;
}

static unsigned parent_visit(void *ctx, spte_t *p)
{
	struct audit *a = ctx;

	if (!load_relaxed(p) || shadow_of_link(load_relaxed(p)) != a->child)
		report(a, "M6 parent entry does not link this page", (uintptr_t)p, load_relaxed(p));
	return 0;
}

static void set_chain(struct audit *a, struct slot *slot, gfn_t f, unsigned level)
{
	a->chain_slot = slot;
	a->chain_page = gfn(f.v & ~(gpte_pages(level) - 1));
	a->chain_level = level;
}

/* A chain, from its head on. Returns the entries looked at. */
static unsigned check_chain(struct audit *a, struct chain *c, chain_visit visit)
{
	uint32_t length = load_relaxed(&c->length);

	a->violations += chain_audit(c, a->quiet ? CHAIN_ALL : CHAIN_PART, visit, a);
	return length < CHAIN_PART * CHAIN_SLOTS ? length : CHAIN_PART * CHAIN_SLOTS;
}

/* The chain of a page, or of 2 MiB, which has a lock of its own. */
static unsigned check_rmap(struct audit *a, struct slot *slot, gfn_t f, unsigned level)
{
	struct chain *c = slot_chain(slot, f, level);
	unsigned entries;

	set_chain(a, slot, f, level);
	a->doubtful = false;
	spin_take(&c->lock, LOCK_CHAIN);
	entries = check_chain(a, c, rmap_visit);
	spin_drop(&c->lock, LOCK_CHAIN);
	if (a->doubtful)
		a->doubt[a->doubts++] = (struct audit_doubt){.gfn = f, .slot = slot, .level = level, .leaving = a->leaving};
	a->leaving = 0;
	return entries;
}

/* One entry of a chain that no step looks at as a whole. */
static void check_in_chain(struct audit *a, struct chain *c, spte_t *p, chain_visit visit)
{
	if (!a->quiet && load_relaxed(&c->length) > CHAIN_PART)
		a->violations += chain_audit_at(c, p, visit, a);
}

static void check_in_rmap(struct audit *a, struct slot *slot, gfn_t f, unsigned level, spte_t *p)
{
	struct chain *c = slot_chain(slot, f, level);

	set_chain(a, slot, f, level);
	a->leaving = p; /* which is not: of the others, those that are are left to the chain's own look */
	spin_take(&c->lock, LOCK_CHAIN);
	check_in_chain(a, c, p, rmap_visit);
	spin_drop(&c->lock, LOCK_CHAIN);
	a->leaving = 0;
}

static void check_leaf(struct audit *a, struct shadow *s, unsigned i, uint64_t spte)
{
	spte_t *p = &s->table->spte[i];
	atomic64 *word = *spte_location(p);
	struct slot *slot = slot_owner(spte_hfn(spte));
	unsigned level = s->role.level;
	gfn_t f;

	if (spte_level(spte) != level || level > SLOT_LEVELS || !(spte & SPTE_PS) != (level == 1)) {
		report(a, "M2 leaf of a wrong size", level, spte);
		return;
	}
	if (leaf_is_blank(a->mmu, spte) && !(spte & (SPTE_W | SPTE_D | SPTE_MMU_WRITABLE)))
		goto rights;
	if (!slot || slot->mmu != a->mmu)
		return report(a, "M5 leaf maps a frame that is not this guest's", spte, s->gfn.v);
	a->leaves++;
	f = slot_gfn(slot, spte_hfn(spte));
	if (!word || load_relaxed(word) != (uintptr_t)p)
		report(a, "M6 location word does not lead back", (uintptr_t)p, (uintptr_t)word);
	else
		check_in_rmap(a, slot, f, level, p);
	if ((spte & SPTE_W) && !(spte & SPTE_MMU_WRITABLE))
		report(a, "M4 W without MMU_WRITABLE", spte, f.v);
	if ((spte & SPTE_D) && !(spte & SPTE_W) && !load_relaxed(&a->mmu->by_dbit)) /* dbit.c: some processors */
		report(a, "M4 D without W", spte, f.v);
	if ((spte & SPTE_W) && !load_relaxed(&a->mmu->by_dbit) && !all_dirty(slot, f, gpte_pages(level)))
		suspect(a, "M7 writable page without its dirty bit", spte, f.v);
	if ((spte & SPTE_MMU_WRITABLE) && written_behind(a->mmu, slot, f, level))
		report(a, "M8 writable page that is a synced page table", spte, f.v);
rights:
	if (!s->unsync)
		check_leaf_rights(a, s, i, spte);
}

static void check_link(struct audit *a, struct shadow *s, unsigned i, uint64_t spte)
{
	uint64_t flags = spte & ~SPTE_PFN_MASK & ~(SPTE_A | SPTE_D);
	struct shadow *child = shadow_of_link(spte);
	spte_t *p = &s->table->spte[i];
	atomic64 *word = *spte_location(p);
	uint32_t state;
	uint64_t gpte;
	union role r;
	gfn_t f;

	if (s->role.level == 1 || flags != (SPTE_P | SPTE_W | SPTE_U)) {
		report(a, "M3 malformed link", s->role.level, spte);
		return;
	}
	state = load_relaxed(&child->state);
	if (state != SHADOW_LIVE && (a->quiet || state != SHADOW_DYING))
		report(a, "M3 link to a page that is not LIVE", spte, child->gfn.v);
	a->child = child;
	if (!word || load_relaxed(word) != (uintptr_t)p)
		report(a, "M6 location word does not lead back", (uintptr_t)p, (uintptr_t)word);
	else
		check_in_chain(a, &child->parents, p, parent_visit);
	if (s->unsync)
		return;
	gpte = s->role.direct ? 0 : shadow_gpte(s, i);
	shadow_child(s, i, gpte, &f, &r);
	/* The guest's D bit may have been set through another shadow of this table since: narrower, and mended by the write */
	if (!child->role.dirty)
		r.dirty = 0;
	if (child->gfn.v != f.v || child->role.word != r.word || (!s->role.direct && !(gpte & GPTE_P)))
		suspect(a, "M9 link does not follow the guest's table", gpte, spte);
}

/* One entry. A table that dies is left alone by the guest's changes: what its entries say need no longer be so. */
static void check_entry(struct audit *a, struct shadow *s, unsigned i)
{
	uint64_t spte = load_relaxed(&s->table->spte[i]);

	a->doubtful = false;
	if (spte == 0)
		return;
	if (!(spte & SPTE_P))
		report(a, "M1 non-present spte that is not 0", spte, s->gfn.v);
	else if (spte_is_leaf(spte))
		check_leaf(a, s, i, spte);
	else
		check_link(a, s, i, spte);
	if (a->doubtful)
		a->doubt[a->doubts++] = (struct audit_doubt){.gfn = s->gfn, .role = s->role, .index = i};
}

static void check_present(struct audit *a, const struct shadow *s)
{
	unsigned present = 0;

	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		present += load_relaxed(&s->table->spte[i]) != 0;
	if (present != s->present)
		report(a, "M11 count of present entries", present, s->present);
}

/* The next entries of the table at hand. */
static void check_table(struct audit *a, struct shadow *s)
{
	unsigned end = a->entry + AUDIT_STEP;

	if (a->entry == 0) {
		check_present(a, s);
		a->child = s;
		check_chain(a, &s->parents, parent_visit);
	}
	for (unsigned i = a->entry; i < end && load_relaxed(&s->state) == SHADOW_LIVE; i++)
		check_entry(a, s, i);
	a->entry = end;
	if (end == TABLE_ENTRIES) {
		a->entry = 0;
		a->nth++;
	}
}

static void tables_step(struct audit *a)
{
	struct mmu *m = a->mmu;

	for (unsigned looked = 0; looked < AUDIT_STEP && a->bucket <= m->hash_mask; looked++) {
		struct shadow *s = m->hash[a->bucket];

		for (unsigned i = 0; s && i < a->nth; i++)
			s = s->hash_next;
		if (s && a->entry && s != a->shadow) {
			/* another has come to its place, by one that was made: it is the next now, or it is gone */
			a->entry = 0;
			a->nth++;
		} else if (s) {
			a->shadow = s;
			shadow_lock(s);
			check_table(a, s);
			shadow_unlock(s);
			return;
		} else {
			a->bucket++;
			a->nth = a->entry = 0;
		}
	}
	if (a->bucket > m->hash_mask)
		a->part = AUDIT_SLOTS;
}

static void check_tables(struct audit *a, struct slot *s, gfn_t f)
{
	uint64_t tables = 0, counted = load_relaxed(slot_tables(s, f, 1));

	if (counted == 0 || (!a->quiet && counted > AUDIT_STEP))
		return;
	for (struct shadow *t = shadow_next_table(a->mmu, f, 0); t; t = shadow_next_table(a->mmu, f, t))
		tables++;
	if (tables != counted)
		report(a, "M12 count of page-table shadows", tables, f.v);
}

/* The 2 MiB unit whose last page is f: its chain, and its count, which is the sum of its pages'. */
static void check_unit(struct audit *a, struct slot *s, gfn_t f)
{
	gfn_t first = gfn(f.v & ~(gpte_pages(2) - 1));
	uint64_t tables = 0;

	for (gfn_t g = first.v < s->gfn.v ? s->gfn : first; g.v <= f.v; g.v++)
		tables += load_relaxed(slot_tables(s, g, 1));
	if (tables != load_relaxed(slot_tables(s, f, 2)))
		report(a, "M12 count of page-table shadows in 2 MiB", tables, f.v);
	check_rmap(a, s, f, 2);
}

/* The next pages of the slot at hand, up to the end of 2 MiB. */
static void slot_step(struct audit *a, struct slot *s)
{
	for (unsigned items = 0; items < AUDIT_STEP && a->page < s->pages && !a->unit; items++, a->page++) {
		gfn_t f = gfn(s->gfn.v + a->page);

		items += check_rmap(a, s, f, 1);
		check_tables(a, s, f);
		a->unit = (f.v + 1) % gpte_pages(2) == 0 || a->page + 1 == s->pages;
	}
}

static void slots_step(struct audit *a)
{
	struct mmu *m = a->mmu;
	struct slot *s = &m->slot[a->slot];

	if (a->unit) {
		a->unit = false;
		check_unit(a, s, gfn(s->gfn.v + a->page - 1));
	} else if (a->slot == load_acquire(&m->slots)) {
		a->part = AUDIT_OVER;
	} else if (a->page < s->pages) {
		slot_step(a, s);
	} else {
		a->slot++;
		a->page = 0;
	}
}

static void look(struct audit *a)
{
	rcu_read_lock(RCU_WALK); /* for the owners of frames */
	if (!a->quiet)
		lock_take(&a->mmu->lock);
	if (a->part == AUDIT_TABLES)
		tables_step(a);
	else
		slots_step(a);
	if (!a->quiet)
		lock_drop(&a->mmu->lock);
	rcu_read_unlock(RCU_WALK);
}

static void look_again(struct audit *a, const struct audit_doubt *d)
{
	struct shadow *s;

	if (d->slot) {
		a->leaving = d->leaving;
		check_rmap(a, d->slot, d->gfn, d->level);
		return;
	}
	s = shadow_find(a->mmu, d->gfn, d->role);
	if (!s || load_relaxed(&s->state) != SHADOW_LIVE)
		return;
	shadow_lock(s);
	check_entry(a, s, d->index);
	shadow_unlock(s);
}

/* What is in doubt is looked at again, after a grace period each time, until it is right or gone, or surely wrong. */
static void settle(struct audit *a)
{
	struct audit_doubt doubt[AUDIT_STEP];

	for (unsigned tries = 1; a->doubts; tries++) {
		unsigned n = a->doubts;

		__builtin_memcpy(doubt, a->doubt, n * sizeof *doubt);
		a->doubts = 0;
		a->certain = tries == RECHECKS;
		park("audit-doubt");
		rcu_wait(RCU_MASK_PUBLISH);
		rcu_read_lock(RCU_WALK);
		lock_take(&a->mmu->lock);
		for (unsigned i = 0; i < n; i++)
			look_again(a, &doubt[i]);
		lock_drop(&a->mmu->lock);
		rcu_read_unlock(RCU_WALK);
	}
	a->certain = false;
}

static void check_owed(struct audit *a)
{
	uint64_t flushed = load_seq(&a->mmu->flushed), owed = load_seq(&a->mmu->owed); /* in this order: owed only grows */

	if (flushed > owed)
		report(a, "M13 more flushed than was owed", flushed, owed);
}

void audit_begin(struct audit *a, struct mmu *m)
{
	*a = (struct audit){.mmu = m};
}

enum audit_outcome audit_step(struct audit *a)
{
	struct mmu *m = a->mmu;

	if (!log_turn_take(m))
		return AUDIT_BUSY;
	look(a);
	settle(a);
	if (a->part == AUDIT_OVER)
		check_owed(a);
	log_turn_end(m);
	return a->part == AUDIT_OVER ? AUDIT_DONE : AUDIT_MORE;
}

/* What only a guest that stands still can be asked: all shadow pages, those too that have died and are still loaded. */
static void check_sums(struct audit *a)
{
	struct mmu *m = a->mmu;
	const char *miscounted = shadow_miscounted(m);

	for (struct shadow *s = m->all; s; s = s->next)
		if (load_relaxed(&s->state) == SHADOW_DYING && (s->present || !chain_empty(&s->parents)))
			report(a, "M11 dead page that is not empty", s->present, s->gfn.v);
	if (miscounted)
		report(a, miscounted, m->used, load_relaxed(&m->unsync_all));
	if (a->leaves != a->linked)
		report(a, "M6 leaves and rmap entries differ in number", a->leaves, a->linked);
	check_owed(a);
}

uint64_t mmu_audit(struct mmu *m)
{
	struct audit a = {.mmu = m, .quiet = true};

	if (!log_turn_take(m))
		return MMU_AUDIT_BUSY;
	while (a.part != AUDIT_OVER)
		look(&a);
	check_sums(&a);
	log_turn_end(m);
	return a.violations;
}
