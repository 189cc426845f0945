/* SPDX-License-Identifier: MIT */
/* The guest's entries are read again: all of a table, by a sync; the one that maps an address, by INVLPG.
 *
 * Above level 1 that belongs to mmu.lock. The entries of a level-1 table are read, and what follows is written, under the
 * table's lock: an install that came before is looked at, and one that comes later reads the gpte later.
 */
#include "mm/leaf.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/sync.h"
#include "mm/tlb.h"
#include "mm/walk.h"

#define STEP 32 /* entries read between two lock breaks: all of them may be dropped */

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

/* STEP entries of a level-1 table, under one hold of the lock. False: the table is empty, and what comes is in step. */
static __attribute__((noinline)) bool read_leaves(struct shadow *s, unsigned first)
{
	struct reading r = reading(s, walk_reserved_always(s->mmu, s->role.mode, s->role.nx), false);
	bool some;

	shadow_lock(s);
	some = s->present;
	for (unsigned i = first; some && i < first + STEP; i++) {
		uint64_t old = load_relaxed(&s->table->spte[i]);

		if (old)
			read_leaf(s, i, old, r);
	}
	shadow_unlock(s);
	return some;
}

static bool read_uppers(struct shadow *s, unsigned first)
{
	uint64_t reserved = walk_reserved_always(s->mmu, s->role.mode, s->role.nx);

	for (unsigned i = first; i < first + STEP; i++)
		if (load_relaxed(&s->table->spte[i]))
			read_upper(s, i, reserved);
	return true;
}

void reread_table(struct shadow *s)
{
	struct mmu *m = s->mmu;
	bool more = true;

	for (unsigned i = 0; more && i < TABLE_ENTRIES; i += STEP) {
		rcu_read_lock(RCU_PUBLISH);
		lock_take(&m->lock);
		more = load_relaxed(&s->state) == SHADOW_LIVE && (s->role.level == 1 ? read_leaves : read_uppers)(s, i);
		lock_drop(&m->lock);
		rcu_read_unlock(RCU_PUBLISH);
	}
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
		if (sync_load(m) == MMU_RETRY)
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
