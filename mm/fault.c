/* SPDX-License-Identifier: MIT */
/* The shadow page-fault path: a lock-free fix-up for writes that only the dirty log forbids, a quick path for a leaf
 * that is missing from a table in use, and a slow path that walks the guest's tables, builds what is missing and installs
 * one leaf.
 *
 * Fix-up. A write fault on a present 4 KiB leaf that is MMU_WRITABLE and lacks nothing but W is repaired by one cmpxchg of
 * the whole value, then the dirty bit of the page that the compared frame belongs to, both in one publishing section.
 *   - The table walked may have been freed and reused under us; it is still a table (type-stable slab). The frame of the
 *     compared value decides whose bit is set; a frame that is not this guest's is left to the slow path.
 *   - A harvest that takes the bit before we set it waits for our section first (publish.pml); one that protects after our
 *     cmpxchg finds W and clears it, and our bit stays set for the next.
 *   - The page may become a page table meanwhile: protection clears MMU_WRITABLE, so one of the two cmpxchgs fails.
 *
 * Quick path. Where the shadow already leads to a level-1 page and all that leads there is in step, one guest entry is read
 * and one leaf added or widened, under the locks of that table and of the page's chain: faults on different tables meet at no
 * lock. What would take something away, or open a page table, is left to the slow path.
 *   - The table walked to may have been freed and reused before its lock is taken. A table on the path is freed only after it
 *     was unlinked and a flush has moved the generation; the next life begins under the table's lock. So the same generation
 *     before the walk and under the lock says that each table walked is the one that was linked there, and LIVE that it may
 *     be filled; a killer's dismantling takes the lock after it said DYING, and finds what was filled before (quick.pml).
 *   - Upper tables may go unsync and change once they were found in step: this access, whose exit is under way, may have come
 *     before. What this vCPU has been told of, or has done itself, is seen as pending.
 *   - A sync, or an INVLPG, reads gptes again under the table's lock: an install came before and is looked at, or reads the
 *     gpte after.
 *   - Whether the page is a page table is asked under its chain's lock (leaf.c, slot.c), as DESIGN section 4 has it.
 *
 * Slow path. Slot look-up, guest walk and install share one publishing section; the gptes are read again under the lock;
 * all memory was reserved before. What must wait (a table to protect, unsync tables to read before a link, a demolition)
 * is noted under the lock, done outside it, and the fault starts anew.
 */
#include "mm/gpte.h"
#include "mm/guard.h"
#include "mm/leaf.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/reserve.h"
#include "mm/sync.h"
#include "mm/tlb.h"
#include "mm/walk.h"

#define FAULT_TRIES 32 /* rounds of the slow path before the run loop is asked to come again */
#define STEP 32        /* shadow pages of one table that go unsync between two lock breaks */
#define FLOOD 3        /* times unsync without use in between, until a shadow page is taken for dead */

/* What a try under the lock leaves to be done outside it. */
struct todo {
	struct shadow *build; /* protect and publish */
	struct shadow *dying; /* bury */
	bool sync;            /* sync every unsync table */
	bool wait;            /* another flow's work: back to the run loop */
	bool exhausted;       /* the budget */
};

/* The tables allow the access already: what the hardware went by is older. */
static void nothing_to_repair(struct mmu_vcpu *v)
{
	count_add(&v->stats.spurious, 1);
	shadow_forget_near(v);
	store_relaxed(&v->seen, 0);
}

/* p: where a level-1 shadow page maps the address. In a publishing section. */
static inline bool fixup(struct mmu_vcpu *v, spte_t *p, uint32_t error)
{
	uint64_t s;
	struct slot *slot;

	park("fixup-found");
	s = load_acquire(p); /* partner: leaf_add, leaf_install */
	if (!(s & SPTE_P) || spte_level(s) != 1 || !(s & SPTE_MMU_WRITABLE) ||
		(error & PF_U ? !(s & SPTE_U) : (s & SPTE_U) && v->smap && !v->ac))
		return false;
	slot = slot_owner(spte_hfn(s));
	if (!slot || slot->mmu != v->mmu)
		return false;
	if (s & SPTE_W) { /* repaired by someone else, or a stale TLB entry */
		nothing_to_repair(v);
		return true;
	}
	if (!cmpxchg_seq(p, &s, s | SPTE_W | SPTE_D)) {
		park("spte-changed");
		return false;
	}
	park("fixup-opened");
	slot_mark_dirty(slot, slot_gfn(slot, spte_hfn(s)));
	count_add(&v->stats.fixups, 1);
	return true;
}

/* The LIVE child of s on the way to a, linked; 0 when something is to be done first. */
static struct shadow *descend(struct mmu_vcpu *v, struct shadow *s, gva_t a, const struct walk *w, struct todo *todo)
{
	struct mmu *m = v->mmu;
	unsigned level = s->role.level, i = gpte_index(a, level);
	uint64_t spte = load_relaxed(&s->table->spte[i]);
	struct shadow *c;
	union role r;
	gfn_t f;

	shadow_child(s, i, s->role.direct ? 0 : w->gpte[level], &f, &r);
	if (spte) {
		c = spte_is_leaf(spte) ? 0 : shadow_of_link(spte);
		if (c && c->gfn.v == f.v && c->role.word == r.word && load_relaxed(&c->state) == SHADOW_LIVE) {
			c->recent = true;
			return c;
		}
		shadow_drop(s, i); /* a large leaf is split by this: its pieces are installed below c */
		tlb_bump(m);
	}
	c = shadow_find(m, f, r);
	if (!c) {
		if (m->used >= m->budget) {
			todo->exhausted = true;
			return 0;
		}
		c = shadow_new(v, f, r);
		if (!r.direct) {
			todo->build = c;
			return 0;
		}
	} else if (load_relaxed(&c->state) == SHADOW_BUILDING) {
		todo->wait = true;
		return 0;
	} else if (!r.direct && shadow_pending(m, false)) {
		/* sync before linking: it, or a table below it, may have changed while nothing led here */
		todo->sync = true;
		return 0;
	}
	store_relaxed(&s->writes, 0);
	shadow_link(s, i, c, &v->parents);
	return c;
}

/* A write to a page that is shadowed as a page table: its shadows go unsync, or die if nobody uses them any more; a guest has
 * as many as it finds roles, so STEP of them under one hold of the lock. True: the page may be made writable now. */
static bool write_table(struct mmu *m, gfn_t page, struct todo *todo)
{
	struct shadow *s = 0, *next = shadow_next_table(m, page, 0);
	unsigned changed = 0;

	while ((s = next)) {
		next = shadow_next_table(m, page, s);
		if (load_relaxed(&s->state) == SHADOW_BUILDING) {
			todo->wait = true;
			return false;
		}
		if ((!s->unsync || load_relaxed(&s->writes) >= FLOOD) && changed++ == STEP)
			return false; /* the fault begins anew, and those are done */
		if (load_relaxed(&s->writes) >= FLOOD) {
			shadow_kill(s, &todo->dying);
			continue;
		}
		if (!s->unsync)
			count_add(&s->writes, 1);
		shadow_set_unsync(s); /* before the frame's W (H24) */
	}
	return !todo->dying;
}

/* What a leaf gets beside its rights. The log's mode is read inside the section. While logging, a read does not open a page
 * for writes, unless D will tell of them; log.c, dbit.c. */
static inline uint64_t opened(const struct mmu *m, bool write)
{
	if (write || !load_acquire(&m->logging))
		return SPTE_W | SPTE_D;
	return load_acquire(&m->by_dbit) ? SPTE_W : 0;
}

/* Publishes the leaf. page: its first; access and writable: what the guest's tables allow. */
static enum mmu_outcome publish(struct mmu_vcpu *v, struct shadow *s, gva_t a, bool write, unsigned access, bool writable,
	struct slot *slot, gfn_t page)
{
	unsigned level = s->role.level;
	uint64_t value = leaf_value(slot_hfn(slot, page), level, access, writable);

	CHECK(!write || writable);
	if (writable)
		value |= opened(v->mmu, write);
	park("publish-decided");
	if (leaf_install(s, gpte_index(a, level), value, slot, page, &v->rmap))
		nothing_to_repair(v);
	return MMU_RESUME;
}

/* The 4 KiB leaf of `page` in a level-1 page; gpte: where that is not direct. */
static enum mmu_outcome install(struct mmu_vcpu *v, struct shadow *s, gva_t a, bool write, uint64_t gpte,
	struct slot *slot, gfn_t page, struct todo *todo)
{
	unsigned access = s->role.access;
	bool dirty = s->role.dirty, writable;

	if (!s->role.direct) {
		access &= gpte_access(gpte, s->role.nx);
		dirty = gpte & GPTE_D;
	}
	writable = (access & ACC_W) && dirty;
	if (write && !(access & ACC_W)) {
		/* a supervisor's write with CR0.WP = 0: open it for writes, close it to the user (DESIGN section 10) */
		writable = true;
		access &= s->role.smep ? ~(ACC_U | ACC_X) : ~ACC_U;
	}
	if (writable && load_acquire(slot_tables(slot, page, 1))) { /* raised under this lock */
		writable = write;
		if (write && !write_table(v->mmu, page, todo))
			return MMU_RETRY;
	}
	return publish(v, s, a, write, access, writable, slot, page);
}

/* A leaf of 2 MiB where the guest maps at least as much in one piece (or not at all: unpaged), nothing of it is a page
 * table, and the log, which goes by 4 KiB, is off. True: installed. */
static bool install_large(struct mmu_vcpu *v, struct shadow *s, gva_t a, bool write, const struct walk *w,
	struct slot *slot)
{
	unsigned i = gpte_index(a, 2);
	uint64_t spte = load_relaxed(&s->table->spte[i]);
	union role r;
	gfn_t f;

	if (s->role.level != 2 || load_acquire(&v->mmu->logging) || v->mmu->guards.n || (spte && !spte_is_leaf(spte)))
		return false;
	shadow_child(s, i, s->role.direct ? 0 : w->gpte[2], &f, &r);
	if (!r.direct || (write && !(r.access & ACC_W)) || !leaf_may_be_large(slot, f))
		return false;
	publish(v, s, a, write, r.access, (r.access & ACC_W) && r.dirty, slot, f);
	return true;
}

/* The blank page in a level-1 page; what is there for another frame goes. */
static enum mmu_outcome install_blank(struct mmu_vcpu *v, struct shadow *s, gva_t a, uint64_t gpte)
{
	unsigned index = gpte_index(a, 1), access = s->role.access;
	spte_t *p = &s->table->spte[index];

	if (!s->role.direct)
		access &= gpte_access(gpte, s->role.nx);
	shadow_drop(s, index);
	store_release(p, leaf_value(leaf_blank(v->mmu), 1, access, false));
	s->present++;
	return MMU_RESUME;
}

/* slot: 0 for the blank page. */
static enum mmu_outcome install_locked(struct mmu_vcpu *v, gva_t a, uint32_t error, const struct walk *w,
	struct slot *slot, struct todo *todo)
{
	struct shadow *s = shadow_root(v, a);
	enum mmu_outcome o;

	if (!s || load_relaxed(&s->state) != SHADOW_LIVE) {
		v->root_stale = true;
		store_relaxed(&v->seen, 0); /* so that the entry sees it */
		todo->wait = true;
		return MMU_RETRY;
	}
	if (!walk_current(w))
		return MMU_RETRY;
	while (s->role.level > 1) {
		if (slot && install_large(v, s, a, error & PF_W, w, slot))
			return MMU_RESUME;
		s = descend(v, s, a, w, todo);
		if (!s)
			return MMU_RETRY;
	}
	shadow_lock(s);
	if (slot)
		o = install(v, s, a, error & PF_W, s->role.direct ? 0 : w->gpte[1], slot, w->page, todo);
	else
		o = install_blank(v, s, a, s->role.direct ? 0 : w->gpte[1]);
	shadow_unlock(s);
	if (__builtin_expect(v->mmu->guards.n, 0))
		guard_installed(v, a, s, gpte_index(a, 1));
	return o;
}

/* A supervisor's write that CR0.WP = 0 allows, to a page of the user's, under SMAP. Open to the hardware it would be a page
 * of the supervisor's, and SMAP would not stop the next access without AC; so it stays as it is, and each such write is
 * emulated. rights: ACC_ of the whole path. */
static bool must_emulate(const struct mmu_vcpu *v, unsigned rights, uint32_t error)
{
	return (error & PF_W) && (rights & (ACC_W | ACC_U)) == ACC_U && v->smap;
}

static enum mmu_outcome try(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f, struct todo *todo)
{
	struct mmu *m = v->mmu;
	struct walk w;
	struct slot *slot;
	enum mmu_outcome o;

	rcu_read_lock(RCU_PUBLISH);
	w.error = 0;
	todo->wait = mmu_moving(m);
	o = todo->wait ? MMU_RETRY : walk_guest(v, a, error & (PF_W | PF_U | PF_I), &w);
	if (o == MMU_RESUME) {
		slot = slot_find(m, w.page);
		f->gpa = gpa(gfn_gpa(w.page).v | (a.v & (PAGE_SIZE - 1)));
		if (__builtin_expect(m->guards.n, 0) && guard_stops(v, a)) {
			o = MMU_GUARD;
		} else if (!slot && (error & PF_W || !mmu_is_blank(m, w.page))) {
			o = MMU_MMIO;
		} else if (slot && must_emulate(v, w.access, error)) {
			o = MMU_EMULATE;
		} else {
			park("fault-walked");
			lock_take(&m->lock);
			o = install_locked(v, a, error, &w, slot, todo);
			lock_drop(&m->lock);
		}
	}
	rcu_read_unlock(RCU_PUBLISH);
	f->error = w.error;
	return o;
}

/* The waiting part of a try. */
static enum mmu_outcome settle(struct mmu *m, const struct todo *todo)
{
	shadow_bury(m, todo->dying);
	if (todo->build && sync_build(todo->build) == MMU_RETRY)
		return MMU_RETRY;
	if (todo->sync && sync_all(m) == MMU_RETRY)
		return MMU_RETRY;
	return todo->wait ? MMU_RETRY : MMU_RESUME;
}

static __attribute__((noinline)) enum mmu_outcome slow(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f)
{
	f->gva = a;
	for (unsigned i = 0; i < FAULT_TRIES; i++) {
		struct todo todo = {0};
		enum mmu_outcome o;

		if (!reserve(v)) {
			f->reason = "out of memory for shadow pages";
			return MMU_END;
		}
		o = try(v, a, error, f, &todo);
		if (o == MMU_INJECT)
			count_add(&v->stats.injected, 1);
		if (o != MMU_RETRY)
			return o;
		if (settle(v->mmu, &todo) == MMU_RETRY)
			return MMU_RETRY;
		if (todo.exhausted && (o = shadow_reclaim(v->mmu)) != MMU_RESUME) {
			f->reason = "all shadow pages are in use (raise shadow=)";
			return o;
		}
	}
	return MMU_RETRY;
}

/* Sets A, and D for a write, in the guest's entry of s; *gpte: as it was read, and then as it is. As walk.c does it. */
static bool set_accessed(struct shadow *s, unsigned index, bool write, uint64_t *gpte)
{
	uint64_t set = *gpte | GPTE_A | (write ? GPTE_D : 0);

	if (set == *gpte)
		return true;
	park("quick-read");
	if (!gpte_cmpxchg(shadow_guest_at(s, index), s->narrow, gpte, set))
		return false;
	*gpte = set;
	slot_mark_dirty(slot_find(s->mmu, s->gfn), s->gfn);
	return true;
}

/* One guest entry is read and one leaf added or widened. The table's lock is held, and the table is the one that was walked
 * to. */
static inline bool quick_install(struct mmu_vcpu *v, struct shadow *s, gva_t a, uint32_t error)
{
	unsigned index = gpte_index(a, 1), access = s->role.access;
	bool write = error & PF_W, dirty = s->role.dirty;
	gfn_t page = gfn(s->gfn.v + index);
	struct slot *slot;
	uint64_t gpte, value;

	if (load_relaxed(&s->state) != SHADOW_LIVE)
		return false;
	if (!s->role.direct) {
		gpte = shadow_gpte(s, index);
		access &= gpte_access(gpte, s->role.nx);
		if (!(gpte & GPTE_P) || (gpte & v->reserved) || !walk_allowed(v, access, error) ||
			!set_accessed(s, index, write, &gpte))
			return false;
		page = gpte_gfn(gpte);
		dirty = gpte & GPTE_D;
	} else if (!walk_allowed(v, access, error)) {
		return false;
	}
	dirty &= access & ACC_W;
	slot = slot_find(v->mmu, page);
	if (!slot || dirty < write) /* a large page's D is to be set first; or WP is 0 and the page is for reading */
		return false;
	value = leaf_value(slot_hfn(slot, page), 1, access, dirty) | (dirty ? opened(v->mmu, write) : 0);
	park("publish-decided");
	switch (leaf_add(s, index, value, slot, page, &v->rmap)) {
	case LEAF_ADDED:
		return true;
	case LEAF_THERE:
		nothing_to_repair(v);
		return true;
	case LEAF_REFUSED:
		break;
	}
	return false;
}

/* In a publishing section, in which the generation was loaded before s was found. */
static inline bool quick(struct mmu_vcpu *v, struct shadow *s, gva_t a, uint32_t error, uint64_t generation)
{
	struct mmu *m = v->mmu;
	uint64_t since;
	bool done;

	if (v->rmap.n < RESERVE_RMAP || shadow_pending(m, true) || mmu_moving(m))
		return false;
	park("quick-walked");
	since = shadow_lock_alone(s);
	done = load_acquire(&m->generation) == generation && quick_install(v, s, a, error);
	shadow_unlock_alone(v, s, since);
	return done;
}

enum repair { REPAIR_NONE, REPAIR_FIXUP, REPAIR_QUICK };

/* What needs no lock of the guest's. */
static inline enum repair repair(struct mmu_vcpu *v, gva_t a, uint32_t error)
{
	enum repair done = REPAIR_NONE;
	uint64_t generation;
	const struct mmu_near *near;

	if (error & PF_RSVD)
		return REPAIR_NONE;
	rcu_read_lock(RCU_PUBLISH);
	/* acquire: before the walk; partner: the flush before a table is freed */
	generation = load_acquire(&v->mmu->generation);
	near = shadow_near(v, a, generation);
	if (near) {
		if ((error & (PF_P | PF_W | PF_I)) == (PF_P | PF_W) && fixup(v, &near->table->spte[gpte_index(a, 1)], error))
			done = REPAIR_FIXUP;
		else if (quick(v, near->s, a, error, generation))
			done = REPAIR_QUICK;
	}
	rcu_read_unlock(RCU_PUBLISH);
	return done;
}

enum mmu_outcome mmu_fault(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f)
{
	struct mmu_vcpu_stats *stats = &v->stats;
	uint64_t start = host_clock(), ticks;
	enum mmu_outcome o = MMU_RESUME;
	enum repair done;

	count_add(&stats->faults, 1);
	if (__builtin_expect(v->rmap.n < RESERVE_RMAP, 0))
		reserve(v); /* or else the slow path says so */
	done = repair(v, a, error);
	if (done == REPAIR_NONE)
		o = slow(v, a, error, f);
	ticks = host_clock() - start;
	if (done == REPAIR_FIXUP)
		count_add(&stats->fixup_ticks, ticks);
	else if (done == REPAIR_QUICK)
		count_add(&stats->quick, 1);
	count_longest(&stats->worst_fault, ticks);
	return o;
}
