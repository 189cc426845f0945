/* SPDX-License-Identifier: MIT */
/* The shadow page-fault path: a lock-free fix-up for writes that only the dirty log forbids, and a slow path that walks
 * the guest's tables, builds what is missing and installs one leaf.
 *
 * Fix-up. A write fault on a present 4 KiB leaf that is MMU_WRITABLE and lacks nothing but W is repaired by one cmpxchg of
 * the whole value, then the dirty bit of the page that the compared frame belongs to, both in one publishing section.
 *   - The table walked may have been freed and reused under us; it is still a table (type-stable slab). The frame of the
 *     compared value decides whose bit is set; a frame that is not this guest's is left to the slow path.
 *   - A harvest that takes the bit before we set it waits for our section first (fixup.pml); one that protects after our
 *     cmpxchg finds W and clears it, and our bit stays set for the next.
 *   - The page may become a page table meanwhile: protection clears MMU_WRITABLE, so one of the two cmpxchgs fails.
 *
 * Slow path. Slot look-up, guest walk and install share one publishing section; the gptes are read again under the lock;
 * all memory was reserved before. What must wait (a table to protect, unsync tables to read before a link, a demolition)
 * is noted under the lock, done outside it, and the fault starts anew.
 */
#include "mm/gpte.h"
#include "mm/leaf.h"
#include "mm/rcu.h"
#include "mm/reserve.h"
#include "mm/sync.h"
#include "mm/tlb.h"
#include "mm/walk.h"

#define FAULT_TRIES 32 /* rounds of the slow path before the run loop is asked to come again */
#define FLOOD 3        /* times unsync without use in between, until a shadow page is taken for dead */

/* What a try under the lock leaves to be done outside it. */
struct todo {
	struct shadow *build; /* protect and publish */
	struct shadow *dying; /* bury */
	bool sync;            /* sync every unsync table */
	bool wait;            /* another flow's work: back to the run loop */
	bool exhausted;       /* the budget */
};

static bool fixup(struct mmu_vcpu *v, gva_t a, uint32_t error)
{
	struct shadow *root = mmu_root_for(v, a);
	struct table *t = root->table;
	bool done = false;

	rcu_read_lock(RCU_PUBLISH);
	for (unsigned level = root->role.level;; level--) {
		spte_t *p = &t->spte[gpte_index(a, level)];
		uint64_t s = load_acquire(p); /* partner: shadow_link, leaf_install */
		struct slot *slot;

		if (!(s & SPTE_P))
			break;
		if (!spte_is_leaf(s)) {
			if (level == 1)
				break; /* the table was reused under the walk */
			t = hfn_virt(spte_hfn(s));
			continue;
		}
		if (spte_level(s) != 1 || !(s & SPTE_MMU_WRITABLE) || ((error & PF_U) && !(s & SPTE_U)))
			break;
		if (s & SPTE_W) { /* repaired by someone else, or a stale TLB entry */
			count_add(&v->mmu->stats.spurious, 1);
			store_relaxed(&v->seen, 0);
			done = true;
			break;
		}
		slot = slot_owner(spte_hfn(s));
		if (!slot || slot->mmu != v->mmu)
			break;
		if (cmpxchg_seq(p, &s, s | SPTE_W)) {
			slot_mark_dirty(slot, slot_gfn(slot, spte_hfn(s)));
			count_add(&v->mmu->stats.fixups, 1);
			done = true;
		}
		break;
	}
	rcu_read_unlock(RCU_PUBLISH);
	return done;
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
		if (c && c->gfn.v == f.v && c->role.word == r.word && load_relaxed(&c->state) == SHADOW_LIVE)
			return c;
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
	} else if (m->unsync && !r.direct) {
		/* sync before linking: it, or a table below it, may have changed while nothing led here */
		todo->sync = true;
		return 0;
	}
	s->writes = 0;
	shadow_link(s, i, c, &v->parents);
	return c;
}

/* A write to a page that is shadowed as a page table: its shadows go unsync, or die if nobody uses them any more. True:
 * the page may be made writable now. */
static bool write_table(struct mmu *m, gfn_t page, struct todo *todo)
{
	struct shadow *s = 0, *next = shadow_next_table(m, page, 0);

	while ((s = next)) {
		next = shadow_next_table(m, page, s);
		if (load_relaxed(&s->state) == SHADOW_BUILDING) {
			todo->wait = true;
			return false;
		}
		if (s->writes >= FLOOD) {
			shadow_kill(s, &todo->dying);
			continue;
		}
		if (!s->unsync)
			s->writes++;
		shadow_set_unsync(s); /* before the frame's W (H24) */
	}
	return !todo->dying;
}

/* Publishes the leaf. page: its first; access and writable: what the guest's tables allow. */
static enum mmu_outcome publish(struct mmu_vcpu *v, struct shadow *s, gva_t a, bool write, unsigned access, bool writable,
	struct slot *slot, gfn_t page)
{
	unsigned level = s->role.level;
	uint64_t value = leaf_value(slot_hfn(slot, page), level, access, writable);

	CHECK(!write || writable);
	/* the logging mode is read inside the section; while logging, a read does not open a page for writes */
	if (writable && (write || !load_acquire(&v->mmu->logging)))
		value |= SPTE_W | SPTE_D;
	if (leaf_install(s, gpte_index(a, level), value, slot, page, &v->rmap)) {
		count_add(&v->mmu->stats.spurious, 1);
		store_relaxed(&v->seen, 0);
	}
	return MMU_RESUME;
}

static enum mmu_outcome install(struct mmu_vcpu *v, struct shadow *s, gva_t a, bool write, const struct walk *w,
	struct slot *slot, struct todo *todo)
{
	unsigned access = s->role.access;
	bool dirty = s->role.dirty, writable;

	if (!s->role.direct) {
		access &= gpte_access(w->gpte[1], s->role.nx);
		dirty = w->gpte[1] & GPTE_D;
	}
	writable = (access & ACC_W) && dirty;
	if (write && !(access & ACC_W)) {
		/* a supervisor's write with CR0.WP = 0: open it for writes, close it to the user (DESIGN section 10) */
		writable = true;
		access &= ~ACC_U;
	}
	if (writable && load_acquire(slot_tables(slot, w->page, 1))) { /* raised under this lock */
		writable = write;
		if (write && !write_table(v->mmu, w->page, todo))
			return MMU_RETRY;
	}
	return publish(v, s, a, write, access, writable, slot, w->page);
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

	if (s->role.level != 2 || load_acquire(&v->mmu->logging) || (spte && !spte_is_leaf(spte)))
		return false;
	shadow_child(s, i, s->role.direct ? 0 : w->gpte[2], &f, &r);
	if (!r.direct || (write && !(r.access & ACC_W)) || !leaf_may_be_large(slot, f))
		return false;
	publish(v, s, a, write, r.access, (r.access & ACC_W) && r.dirty, slot, f);
	return true;
}

static enum mmu_outcome install_locked(struct mmu_vcpu *v, gva_t a, uint32_t error, const struct walk *w,
	struct slot *slot, struct todo *todo)
{
	struct shadow *s = mmu_root_for(v, a);

	if (load_relaxed(&s->state) != SHADOW_LIVE) {
		v->root_stale = true;
		todo->wait = true;
		return MMU_RETRY;
	}
	if (!walk_current(w))
		return MMU_RETRY;
	while (s->role.level > 1) {
		if (install_large(v, s, a, error & PF_W, w, slot))
			return MMU_RESUME;
		s = descend(v, s, a, w, todo);
		if (!s)
			return MMU_RETRY;
	}
	return install(v, s, a, error & PF_W, w, slot, todo);
}

static enum mmu_outcome try(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f, struct todo *todo)
{
	struct mmu *m = v->mmu;
	struct walk w;
	struct slot *slot;
	enum mmu_outcome o;

	rcu_read_lock(RCU_PUBLISH);
	o = walk_guest(v, a, error & (PF_W | PF_U | PF_I), &w);
	if (o == MMU_RESUME) {
		slot = slot_find(m, w.page);
		if (slot) {
			lock_take(&m->lock);
			o = install_locked(v, a, error, &w, slot, todo);
			lock_drop(&m->lock);
		} else {
			o = MMU_MMIO;
			w.gpa = gpa(gfn_gpa(w.page).v | (a.v & (PAGE_SIZE - 1)));
		}
	}
	rcu_read_unlock(RCU_PUBLISH);
	f->error = w.error;
	f->gpa = w.gpa;
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

static enum mmu_outcome slow(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f)
{
	for (unsigned i = 0; i < FAULT_TRIES; i++) {
		struct todo todo = {0};
		enum mmu_outcome o;

		if (!reserve(v)) {
			f->reason = "out of memory for shadow pages";
			return MMU_END;
		}
		o = try(v, a, error, f, &todo);
		if (o != MMU_RETRY)
			return o;
		if (todo.exhausted) {
			f->reason = "shadow-page budget exhausted (raise shadow=)";
			return MMU_END;
		}
		if (settle(v->mmu, &todo) == MMU_RETRY)
			return MMU_RETRY;
	}
	return MMU_RETRY;
}

enum mmu_outcome mmu_fault(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f)
{
	struct mmu_stats *stats = &v->mmu->stats;
	uint64_t start = host_clock(), ticks;
	enum mmu_outcome o = MMU_RESUME;

	count_add(&stats->faults, 1);
	f->gva = a;
	if ((error & (PF_P | PF_W | PF_RSVD | PF_I)) != (PF_P | PF_W) || !fixup(v, a, error))
		o = slow(v, a, error, f);
	if (o == MMU_INJECT)
		count_add(&stats->injected, 1);
	ticks = host_clock() - start;
	if (ticks > load_relaxed(&stats->worst_fault))
		store_relaxed(&stats->worst_fault, ticks);
	return o;
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

bool mmu_invlpg(struct mmu_vcpu *v, gva_t a)
{
	struct mmu *m = v->mmu;
	struct shadow *s = mmu_root_for(v, a);
	bool local = true;

	if (m->unsync_upper) { /* INVLPG drops every paging-structure cache entry, whatever its address (4.10.4.1) */
		if (sync_all(m) == MMU_RETRY)
			v->root_stale = v->sync_wanted = true;
		store_relaxed(&v->seen, 0);
		return false;
	}
	rcu_read_lock(RCU_PUBLISH);
	lock_take(&m->lock);
	while (s && s->role.level > 1) {
		uint64_t spte = load_relaxed(&s->table->spte[gpte_index(a, s->role.level)]);

		if (spte_is_leaf(spte))
			break;
		s = spte ? shadow_of_link(spte) : 0;
	}
	if (s && (s->role.direct || s->role.level > 1)) {
		/* a large page, or a piece of one: every vCPU is to drop all of its pieces, at its own INVLPG */
		tlb_bump(m);
		local = false;
	} else if (s && s->unsync && load_relaxed(&s->state) == SHADOW_LIVE) {
		unsigned i = gpte_index(a, 1);

		sync_entry(s, i, load_acquire(&shadow_guest_table(s)[i])); /* partner: the guest */
	}
	lock_drop(&m->lock);
	rcu_read_unlock(RCU_PUBLISH);
	return local;
}
