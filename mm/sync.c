/* SPDX-License-Identifier: MIT */
/* Protecting guest tables and reading them again.
 *
 * Shadowing a table, and unsync to synced, use one order: protect the frame, flush and collect the acknowledgements, and
 * only then read gptes. A gpte read earlier could be overwritten through a stale writable translation without anyone
 * noticing (HAZARDS H40a, H50). A table that is synced keeps its unsync flag until the last gpte is read: between protection
 * and reading it is not in step, and a vCPU that has changed an entry and executes INVLPG, loads CR3 or follows a link must
 * not take it for being so (found by tools/host/torture.c under TSan, when the flag was cleared first). A write meanwhile
 * faults, for the frame is protected, and takes the mark `syncing` away, which keeps the flag.
 *
 * Who protects flushes unless nothing can write any more: see protected_flush, and tools/model/owed.pml.
 *
 * Protection takes no lock: it is a reader of the frame's chain. It misses nothing, because the count (or the syncing mark)
 * was raised under the lock before the walk began, and every install reads it under the lock after that. A fix-up that
 * races has compared the whole spte, MMU_WRITABLE included, which protection clears.
 */
#include "mm/sync.h"
#include "mm/gpte.h"
#include "mm/leaf.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/tlb.h"
#include "mm/walk.h"

#define STEP 32       /* entries read between two lock breaks: all of them may be dropped */
#define LOOK 64       /* unsync tables looked at */
#define BATCH 16      /* tables synced with one flush */
#define WALK_TRIES 16 /* of a protection that churn makes give up */

struct protect {
	uint64_t want; /* P, size, frame */
	bool saw;      /* a mapping through which the guest may write */
	bool dirty;    /* one that had D */
};

static unsigned protect_visit(void *ctx, spte_t *s)
{
	struct protect *p = ctx;
	uint64_t old = load_acquire(s);
	unsigned tries = 0;

	p->saw |= !old; /* on its way out, and perhaps not yet owed */
	while ((old & (SPTE_P | SPTE_SIZE_MASK | SPTE_PFN_MASK)) == p->want && (old & SPTE_MMU_WRITABLE)) {
		p->saw = true;
		if (cmpxchg_seq(s, &old, old & ~(SPTE_W | SPTE_D | SPTE_MMU_WRITABLE))) {
			p->dirty |= (old & SPTE_D) != 0;
			park("sync-protected");
			break;
		}
		park("spte-changed");
		tries++;
	}
	return tries;
}

/* False when the walk was given up every time, or the slot moves. */
static bool protect_frame(struct slot *slot, gfn_t f, struct protect *p)
{
	struct chain_walk w = {0};
	bool done = false;

	for (unsigned i = 0; !done && i < WALK_TRIES; i++) {
		/* a publishing section: a harvest that finds D cleared here waits for the bits set instead (dbit.pml) */
		rcu_read_lock(RCU_PUBLISH);
		done = !mmu_moving(slot->mmu); /* else the table is dead, or about to be */
		for (unsigned level = 1; done && level <= SLOT_LEVELS; level++) {
			gfn_t first = gfn(f.v & ~(gpte_pages(level) - 1));

			p->want = hfn_hpa(slot_hfn(slot, first)).v | SPTE_P | SPTE_SIZE(level);
			p->dirty = false;
			done &= chain_walk(slot_chain(slot, f, level), protect_visit, p, &w);
			if (p->dirty)
				slot_mark_range(slot, first, gpte_pages(level));
		}
		rcu_read_unlock(RCU_PUBLISH);
	}
	return done;
}

/* After the walks of one flow (protecting was raised before them): flushes if the guest may still write the frame through
 * some TLB. That is so if the walk saw a mapping, or if what it did not see any more was narrowed just before: by a drop,
 * which is owed (asked under the lock, for a drop changes the spte first), or by another flow that has not flushed yet. */
static void protected_flush(struct mmu *m, bool saw)
{
	bool owing;

	park("sync-asking");
	lock_take(&m->lock);
	owing = tlb_owing(m);
	lock_drop(&m->lock);
	if (saw || owing || load_seq(&m->protecting) > 1)
		tlb_flush(m);
	fetch_sub_seq(&m->protecting, 1);
}

enum mmu_outcome sync_build(struct shadow *s)
{
	struct mmu *m = s->mmu;
	struct protect p = {0};
	struct shadow *dying = 0;
	bool done;

	fetch_add_seq(&m->protecting, 1);
	/* a slot lives as long as the guest does (slot.c) */
	done = protect_frame(slot_find(m, s->gfn), s->gfn, &p);
	protected_flush(m, p.saw);
	park("build-protected");
	lock_take(&m->lock);
	if (load_relaxed(&s->state) == SHADOW_BUILDING) { /* it may have died meanwhile */
		if (done)
			store_release(&s->state, SHADOW_LIVE);
		else
			shadow_kill(s, &dying);
	}
	shadow_unpin(s);
	lock_drop(&m->lock);
	shadow_bury(m, dying);
	return done ? MMU_RESUME : MMU_RETRY;
}

/* A large leaf over a gpte that maps memory at the same level. True: it was dropped. */
static bool sync_large(struct shadow *s, unsigned index, uint64_t gpte, uint64_t old)
{
	unsigned level = s->role.level, access = s->role.access & gpte_access(gpte, s->role.nx);
	gfn_t page = shadow_leaf_gfn(s, index, gpte);
	struct slot *slot = slot_find(s->mmu, page);
	uint64_t value;
	bool writable;

	if (!slot || slot_hfn(slot, page).v != spte_hfn(old).v)
		return shadow_drop(s, index);
	writable = (access & ACC_W) && (gpte & GPTE_D) && load_acquire(slot_tables(slot, page, level)) == 0;
	value = leaf_value(spte_hfn(old), level, access, writable);
	if ((old ^ value) & ~(SPTE_A | SPTE_D | (writable ? SPTE_W : 0)))
		leaf_change(s, &s->table->spte[index], old, value, slot, page);
	return false;
}

static bool link_current(struct shadow *s, unsigned index, uint64_t gpte, uint64_t old)
{
	struct shadow *child = shadow_of_link(old);
	union role r;
	gfn_t f;

	shadow_child(s, index, gpte, &f, &r);
	return child->gfn.v == f.v && child->role.word == r.word;
}

/* Reads one entry that is not 0, above level 1, again. reserved: bits that no gpte may have. */
static void read_upper(struct shadow *s, unsigned index, uint64_t reserved)
{
	uint64_t old = load_relaxed(&s->table->spte[index]), gpte = shadow_gpte(s, index);
	unsigned level = s->role.level;
	bool upper = false;

	reserved |= GPTE_PS; /* looked at more closely */
	if ((gpte & (GPTE_P | GPTE_A)) != (GPTE_P | GPTE_A) ||
		((gpte & reserved) && walk_reserved(s->mmu, gpte, level, s->role.mode, s->role.nx)))
		upper = shadow_drop(s, index);
	else if (spte_is_leaf(old) && gpte_is_leaf(gpte, level, s->role.mode))
		upper = sync_large(s, index, gpte, old);
	else if (spte_is_leaf(old) || !link_current(s, index, gpte, old))
		upper = shadow_drop(s, index);
	if (upper)
		tlb_bump(s->mmu);
}

/* What the entries of a level-1 table have in common. A gpte and an spte have P, W, U, A, D and NX in the same places. */
struct reading {
	uint64_t reserved; /* bits that no gpte may have */
	uint64_t keep;     /* bits of a gpte that its leaf has */
	uint64_t fixed;    /* bits that every leaf has */
	uint64_t write;    /* bits of a gpte that is to be writable */
	bool narrow;
	bool alone;        /* without mmu.lock */
	struct slot *slot; /* where their frames probably lie */
};
_Static_assert(SPTE_U == GPTE_U && SPTE_NX == GPTE_NX, "reading.keep");

static inline struct reading reading(struct shadow *s, uint64_t reserved, bool alone)
{
	struct mmu *m = s->mmu;
	unsigned access = s->role.access;

	return (struct reading){
		.reserved = reserved,
		.keep = (access & ACC_U ? GPTE_U : 0) | (s->role.nx ? GPTE_NX : 0),
		.fixed = leaf_value(hfn(0), 1, access & ACC_X, false),
		.write = access & ACC_W ? GPTE_W | GPTE_D : ~0UL, /* no gpte has them all: reserved */
		.narrow = s->narrow,
		.alone = alone,
		.slot = &m->slot[load_relaxed(&m->slots) - 1], /* the last is the largest */
	};
}

/* Reads one entry that is not 0 of a level-1 table again. The table's lock held. False: it is to be narrowed, or maps a page
 * table, which is not done alone. Inlined: the loop keeps what is known in registers. */
static inline __attribute__((always_inline)) bool read_leaf(struct shadow *s, unsigned index, uint64_t old, struct reading r)
{
	uint64_t gpte = r.narrow ? shadow_gpte(s, index) : gpte_load((atomic64 *)s->guest + index, false);
	uint64_t i, value, differ;

	if ((gpte & (GPTE_P | GPTE_A)) != (GPTE_P | GPTE_A) || (gpte & r.reserved))
		goto drop;
	i = gpte_gfn(gpte).v - r.slot->gfn.v;
	if (__builtin_expect(i >= r.slot->pages, 0)) {
		r.slot = slot_find(s->mmu, gpte_gfn(gpte));
		if (!r.slot)
			goto drop;
		i = slot_index(r.slot, gpte_gfn(gpte));
	}
	if (r.slot->hfn.v + i != spte_hfn(old).v)
		goto drop;
	value = (old & SPTE_PFN_MASK) | r.fixed | (gpte & r.keep);
	differ = ~(SPTE_A | SPTE_D);
	if ((gpte & r.write) == r.write && load_acquire(&r.slot->tables[0][i]) == 0) {
		value |= SPTE_MMU_WRITABLE;
		differ &= ~SPTE_W;
	}
	if (!((old ^ value) & differ))
		return true;
	if (r.alone && (old & ~value & SPTE_MMU_WRITABLE))
		return false;
	if (r.alone && (value & SPTE_MMU_WRITABLE))
		return leaf_widen(s, index, old, value, r.slot, gpte_gfn(gpte));
	leaf_change(s, &s->table->spte[index], old, value, r.slot, gpte_gfn(gpte));
	return true;
drop:
	shadow_drop(s, index);
	return true;
}

/* STEP entries of a level-1 table, under one hold of the lock. An install reads the gpte and writes the spte under the table's:
 * it came before and is looked at, or reads now. */
static __attribute__((noinline)) void read_leaves(struct shadow *s, unsigned first)
{
	struct reading r = reading(s, walk_reserved_always(s->mmu, s->role.mode, s->role.nx), false);

	shadow_lock(s);
	for (unsigned i = first; i < first + STEP; i++) {
		uint64_t old = load_relaxed(&s->table->spte[i]);

		if (old)
			read_leaf(s, i, old, r);
	}
	shadow_unlock(s);
}

static void read_uppers(struct shadow *s, unsigned first)
{
	uint64_t reserved = walk_reserved_always(s->mmu, s->role.mode, s->role.nx);

	for (unsigned i = first; i < first + STEP; i++)
		if (load_relaxed(&s->table->spte[i]))
			read_upper(s, i, reserved);
}

static void read_table(struct shadow *s)
{
	struct mmu *m = s->mmu;

	for (unsigned i = 0; i < TABLE_ENTRIES; i += STEP) {
		rcu_read_lock(RCU_PUBLISH);
		lock_take(&m->lock);
		if (load_relaxed(&s->state) == SHADOW_LIVE)
			(s->role.level == 1 ? read_leaves : read_uppers)(s, i);
		lock_drop(&m->lock);
		rcu_read_unlock(RCU_PUBLISH);
	}
}

/* One flow through sync_all. */
struct sync {
	struct mmu *mmu;
	uint64_t call;
	struct shadow *batch[BATCH];
	unsigned n;
	bool busy; /* some table is being read by a flow that began before: not all is in step when this one is through */
};

/* Pins up to BATCH unsync tables that nobody is syncing and that no call has read since this one began. */
static bool take_batch(struct sync *y)
{
	struct mmu *m = y->mmu;
	unsigned looked = 0;
	struct shadow *s;

	y->n = 0;
	lock_take(&m->lock);
	for (s = m->unsync; s && y->n < BATCH && looked < LOOK; s = s->unsync_next, looked++) {
		if (s->read_call >= y->call)
			continue;
		if (s->syncing) {
			y->busy = true;
			continue;
		}
		s->syncing = y;
		s->pins++;
		y->batch[y->n++] = s;
	}
	if (s && looked == LOOK && y->n == 0)
		y->busy = true; /* other vCPUs keep writing that many tables */
	lock_drop(&m->lock);
	return y->n > 0;
}

/* The table stays unsync, and on the list, until it has been read: whoever meets it meanwhile (INVLPG, a CR3 load, a link,
 * the quick path) must not take it for being in step. A write after the protection faults, and clears syncing. */
static void sync_batch(struct sync *y)
{
	struct mmu *m = y->mmu;
	struct protect p = {0};
	bool done[BATCH];

	fetch_add_seq(&m->protecting, 1);
	for (unsigned i = 0; i < y->n; i++)
		done[i] = protect_frame(slot_find(m, y->batch[i]->gfn), y->batch[i]->gfn, &p);
	protected_flush(m, p.saw);
	park("sync-flushed");
	for (unsigned i = 0; i < y->n; i++)
		read_table(y->batch[i]);
	lock_take(&m->lock);
	for (unsigned i = 0; i < y->n; i++) {
		struct shadow *s = y->batch[i];

		if (s->read_call < y->call)
			s->read_call = y->call;
		if (s->syncing == y) {
			if (done[i])
				shadow_clear_unsync(s);
			s->syncing = 0;
		}
		count_add(&m->stats.synced, 1);
		shadow_unpin(s);
	}
	lock_drop(&m->lock);
}

enum mmu_outcome sync_all(struct mmu *m)
{
	struct sync y = {.mmu = m};

	lock_take(&m->lock);
	y.call = ++m->sync_call;
	lock_drop(&m->lock);
	while (take_batch(&y))
		sync_batch(&y);
	/* acquire: partner is the release in shadow_bury */
	return y.busy || load_acquire(&m->burying) ? MMU_RETRY : MMU_RESUME;
}

/* Where the address is mapped through a level-1 table and all above is in step, the entry is read again under that table's lock
 * alone, as the quick path of a fault reads it (fault.c has the argument), and made writable under its chain's. What is dropped
 * so is owed before its entry leaves the chain, and until then counts as writable (protect_visit). True: done, and flushing the
 * address on this CPU is enough. */
static bool invlpg_quick(struct mmu_vcpu *v, gva_t a)
{
	struct mmu *m = v->mmu;
	uint64_t generation = load_acquire(&m->generation), old, since; /* partner: the flush before a table is freed */
	unsigned index = gpte_index(a, 1);
	const struct mmu_near *near;
	struct shadow *s;
	bool done = false;

	if (shadow_pending(m, true) || !(near = shadow_near(v, a, generation)))
		return false;
	s = near->s;
	park("invlpg-walked");
	since = shadow_lock_alone(s);
	if (load_acquire(&m->generation) == generation && load_relaxed(&s->state) == SHADOW_LIVE && !s->role.direct) {
		old = load_relaxed(&s->table->spte[index]);
		done = !old || read_leaf(s, index, old, reading(s, v->reserved, true));
	}
	shadow_unlock_alone(v, s, since);
	return done;
}

/* The entry that maps a, read again. True: flushing the address on this CPU is enough. mmu.lock held, in a section, and all
 * above level 1 in step. */
static bool read_mapping(struct mmu_vcpu *v, gva_t a)
{
	struct mmu *m = v->mmu;
	unsigned level;
	spte_t *p = shadow_walk(v, a, &level);
	struct shadow *s;
	uint64_t old;

	if (!p)
		return true;
	s = shadow_of_spte(p);
	if (s->role.direct || spte_level(load_relaxed(p)) > 1) {
		/* a large page, or a piece of one: every vCPU is to drop all of its pieces, at its own INVLPG */
		tlb_bump(m);
		return false;
	}
	if (level == 1 && load_relaxed(&s->state) == SHADOW_LIVE) {
		shadow_lock(s);
		old = load_relaxed(p);
		if (old)
			read_leaf(s, spte_index(p), old, reading(s, v->reserved, false));
		shadow_unlock(s);
	}
	return true;
}

static __attribute__((noinline)) bool invlpg_slow(struct mmu_vcpu *v, gva_t a)
{
	struct mmu *m = v->mmu;
	bool pending, local = false;

	rcu_read_lock(RCU_PUBLISH);
	lock_take(&m->lock);
	/* INVLPG drops every paging-structure cache entry, whatever its address (4.10.4.1). Asked under the lock: a kill by
	 * another vCPU comes before, and is seen, or after the entry was read (kill.pml). */
	pending = shadow_pending(m, true);
	if (!pending)
		local = read_mapping(v, a);
	lock_drop(&m->lock);
	rcu_read_unlock(RCU_PUBLISH);
	if (pending) {
		if (sync_all(m) == MMU_RETRY)
			v->root_stale = v->sync_wanted = true;
		store_relaxed(&v->seen, 0);
	}
	return local;
}

bool mmu_invlpg(struct mmu_vcpu *v, gva_t a)
{
	bool done;

	park("invlpg");
	rcu_read_lock(RCU_PUBLISH);
	done = invlpg_quick(v, a);
	rcu_read_unlock(RCU_PUBLISH);
	return done || invlpg_slow(v, a);
}
