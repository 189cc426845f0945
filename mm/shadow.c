/* SPDX-License-Identifier: MIT */
/* Shadow pages: finding, linking, emptying, demolishing. */
#include "mm/shadow.h"
#include "mm/gpte.h"
#include "mm/leaf.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/tlb.h"

#define STEP 32 /* items between two lock breaks: a leaf costs some 350 ticks on Bochs */

struct slab_cache shadow_cache, rmap_cache, parent_cache;

static struct shadow **bucket(struct mmu *m, gfn_t f)
{
	/* multiplicative hashing (Knuth, vol. 3, 6.4), seeded so that a guest cannot choose its collisions */
	return &m->hash[((f.v ^ m->hash_seed) * 0x9e3779b97f4a7c15UL >> 32) & m->hash_mask];
}

const struct mmu_near *shadow_seek(struct mmu_vcpu *v, gva_t a, uint64_t generation)
{
	unsigned level;
	spte_t *p = shadow_walk(v, a, &level);

	if (!p || level > 1 || v->mmu->guards.n)
		return 0;
	v->near = (struct mmu_near){generation, a.v >> 21, shadow_of_spte(p), spte_table(p)};
	return &v->near;
}

struct shadow *shadow_find(struct mmu *m, gfn_t f, union role r)
{
	for (struct shadow *s = *bucket(m, f); s; s = s->hash_next)
		if (s->gfn.v == f.v && s->role.word == r.word)
			return s;
	return 0;
}

struct shadow *shadow_next_table(struct mmu *m, gfn_t f, struct shadow *after)
{
	for (struct shadow *s = after ? after->hash_next : *bucket(m, f); s; s = s->hash_next)
		if (s->gfn.v == f.v && !s->role.direct)
			return s;
	return 0;
}

/* A table that may hold leaves enters the register before its first leaf, so that whoever walks the register after a write
 * through it finds it (dbit.c). */
static void shadow_register(struct shadow *s)
{
	struct mmu *m = s->mmu;
	uint32_t i = m->leaf_table_free;

	if (i) {
		s->registered = i - 1;
		m->leaf_table_free = (uint32_t)(load_relaxed(&m->leaf_table[i - 1]) >> 1);
	} else {
		s->registered = load_relaxed(&m->leaf_tables_top);
	}
	CHECK(s->registered < m->budget);
	store_release(&m->leaf_table[s->registered], (uint64_t)s->table); /* partner: dbit_walk */
	if (!i)
		store_release(&m->leaf_tables_top, s->registered + 1); /* partner: dbit_walk */
}

static void shadow_unregister(struct shadow *s)
{
	struct mmu *m = s->mmu;

	store_relaxed(&m->leaf_table[s->registered], (uint64_t)m->leaf_table_free << 1 | LEAF_TABLE_FREE);
	m->leaf_table_free = s->registered + 1;
}

struct shadow *shadow_new(struct mmu_vcpu *v, gfn_t f, union role r)
{
	struct mmu *m = v->mmu;
	struct table *t = v->tables[--v->tables_n];
	struct shadow *s = slab_side(&shadow_cache, t), **b = bucket(m, f);
	struct slot *slot;

	/* A fault that came by a link of the table's life before may hold its lock, or wait for it. */
	shadow_lock(s);
	__builtin_memset((char *)s + sizeof s->lock, 0, sizeof *s - sizeof s->lock);
	s->table = t;
	s->mmu = m;
	s->gfn = f;
	s->role = r;
	shadow_unlock(s);
	s->hash_next = *b;
	s->next = m->all;
	*b = s;
	if (m->all)
		m->all->prev = s;
	else
		m->all_last = s;
	m->all = s;
	m->used++;
	if (r.level <= SLOT_LEVELS)
		shadow_register(s);
	if (r.direct) {
		store_relaxed(&s->state, SHADOW_LIVE);
		return s;
	}
	slot = slot_find(m, f);
	s->guest = hfn_virt(slot_hfn(slot, f));
	s->narrow = gpte_narrow(r.mode);
	/* The count first: from here on every install of this frame sees a page table. */
	slot_table_add(slot, f);
	store_relaxed(&s->state, SHADOW_BUILDING);
	s->pins = 1;
	return s;
}

void shadow_link(struct shadow *parent, unsigned index, struct shadow *child, struct chain_reserve *r)
{
	spte_t *s = &parent->table->spte[index];

	CHECK(load_relaxed(&parent->state) == SHADOW_LIVE && load_relaxed(&child->state) == SHADOW_LIVE);
	CHECK(load_relaxed(s) == 0);
	/* release: the child's sptes before the link; the partner is a lock-free walk of the shadow (fault.c) */
	store_release(s, host_phys(child->table).v | SPTE_P | SPTE_W | SPTE_U | SPTE_A);
	parent->present++;
	child->recent = true;
	chain_add(&child->parents, r, s);
}

static void drop_leaf(struct shadow *s, spte_t *p)
{
	struct chain *c;
	struct slot *slot;
	uint64_t old;
	gfn_t f;

	park("drop-start");
	/* The spte before its rmap entry: a walker that no longer finds the entry finds no mapping either. The hardware
	 * sets A and D meanwhile, so an exchange. */
	old = xchg_seq(p, 0);
	park("drop-cleared");
	slot = slot_owner(spte_hfn(old));
	if (!slot) /* the blank page (mmu_set_blank): for reading, and in no chain */
		return;
	f = slot_gfn(slot, spte_hfn(old));
	CHECK(slot->mmu == s->mmu);
	if (old & SPTE_D)
		leaf_mark(slot, f, old);
	/* owed: after the spte changed, before its entry leaves the chain (owed.pml) */
	if (old & SPTE_MMU_WRITABLE)
		fetch_add_seq(&s->mmu->owed, 1);
	c = slot_chain(slot, f, spte_level(old));
	spin_take(&c->lock, LOCK_CHAIN);
	chain_remove(c, &rmap_cache, p);
	spin_drop(&c->lock, LOCK_CHAIN);
	park("drop-unlinked");
}

bool shadow_drop(struct shadow *s, unsigned index)
{
	spte_t *p = &s->table->spte[index];
	uint64_t old = load_relaxed(p);

	if (old == 0)
		return false;
	s->present--;
	if (spte_is_leaf(old)) {
		drop_leaf(s, p);
		return spte_level(old) > 1;
	}
	store_release(p, 0);
	chain_remove(&shadow_of_link(old)->parents, &parent_cache, p);
	return true;
}

void shadow_set_unsync(struct shadow *s)
{
	struct mmu *m = s->mmu;

	s->syncing = 0;
	if (s->unsync)
		return;
	s->unsync = true;
	s->unsync_prev = 0;
	s->unsync_next = m->unsync;
	if (m->unsync)
		m->unsync->unsync_prev = s;
	m->unsync = s;
	/* before the frame becomes writable, so whoever writes it finds them; partner: the loads without the lock */
	count_add(&m->unsync_all, 1);
	if (s->role.level > 1)
		count_add(&m->unsync_upper, 1);
	count_add(&m->stats.unsyncs, 1);
}

void shadow_clear_unsync(struct shadow *s)
{
	struct mmu *m = s->mmu;

	if (!s->unsync)
		return;
	s->unsync = false;
	s->syncing = 0;
	if (s->hot)
		count_add(&m->unsync_hot, -1u);
	s->hot = false;
	if (s->unsync_prev)
		s->unsync_prev->unsync_next = s->unsync_next;
	else
		m->unsync = s->unsync_next;
	if (s->unsync_next)
		s->unsync_next->unsync_prev = s->unsync_prev;
	/* release: the sptes read again before it; partner: the acquiring loads of whoever then need not sync */
	store_release(&m->unsync_all, load_relaxed(&m->unsync_all) - 1);
	if (s->role.level > 1)
		store_release(&m->unsync_upper, load_relaxed(&m->unsync_upper) - 1);
}

void shadow_kill(struct shadow *s, struct shadow **list)
{
	struct mmu *m = s->mmu;
	struct shadow **b = bucket(m, s->gfn);

	if (load_relaxed(&s->state) == SHADOW_DYING)
		return;
	while (*b != s)
		b = &(*b)->hash_next;
	*b = s->hash_next;
	if (!s->role.direct) {
		count_add(&m->burying, 1); /* before it leaves the unsync list and the count */
		slot_table_drop(slot_find(m, s->gfn), s->gfn);
	}
	count_add(&m->dying, 1);
	shadow_clear_unsync(s);
	store_release(&s->state, SHADOW_DYING); /* partner: mmu_enter's look at the roots, after the flush's bump */
	s->dying_next = *list;
	*list = s;
	s->pins++; /* the burial's */
	count_add(&m->stats.zapped, 1);
}

static void free_shadow(struct shadow *s)
{
	struct mmu *m = s->mmu;

	CHECK(s->present == 0 && chain_empty(&s->parents));
	if (s->prev)
		s->prev->next = s->next;
	else
		m->all = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		m->all_last = s->prev;
	m->used--;
	if (s->role.level <= SLOT_LEVELS)
		shadow_unregister(s);
	slab_free(&shadow_cache, s->table);
}

void shadow_unpin(struct shadow *s)
{
	CHECK(s->pins > 0);
	if (--s->pins == 0 && load_relaxed(&s->state) == SHADOW_DYING)
		free_shadow(s);
}

/* A step of at most STEP items; false when there is nothing left. Sections are per step: a grace period gets through. */
static bool dismantle(struct mmu *m, struct shadow *s, unsigned *index)
{
	unsigned n = 0;
	spte_t *p;

	rcu_read_lock(RCU_PUBLISH);
	lock_take(&m->lock);
	while (n < STEP && (p = chain_first(&s->parents))) {
		shadow_drop(shadow_of_spte(p), spte_index(p));
		n++;
	}
	shadow_lock(s);
	for (; n < STEP && s->present && *index < TABLE_ENTRIES; n++)
		shadow_drop(s, (*index)++);
	shadow_unlock(s);
	lock_drop(&m->lock);
	rcu_read_unlock(RCU_PUBLISH);
	return n == STEP;
}

void shadow_bury(struct mmu *m, struct shadow *list)
{
	if (!list)
		return;
	for (struct shadow *s = list; s; s = s->dying_next)
		for (unsigned index = 0; dismantle(m, s, &index);)
			;
	/* Unhook, flush, then reuse: paging-structure caches hold links that are gone from memory. */
	tlb_flush(m);
	while (list) {
		struct shadow *s = list;

		list = s->dying_next;
		lock_take(&m->lock);
		if (!s->role.direct)
			store_release(&m->burying, load_relaxed(&m->burying) - 1); /* partner: shadow_pending */
		store_release(&m->dying, load_relaxed(&m->dying) - 1);             /* partner: mmu_move_ram */
		shadow_unpin(s);
		lock_drop(&m->lock);
	}
}

const char *shadow_miscounted(const struct mmu *m)
{
	uint64_t used = 0;
	uint32_t unsync = 0, upper = 0, hot = 0;

	for (const struct shadow *s = m->all; s; s = s->next, used++) {
		unsync += s->unsync;
		upper += s->unsync && s->role.level > 1;
		hot += s->hot;
		if (s->hot && (!s->unsync || s->role.level > 1))
			return "M11 hot page that is not an unsync one of level 1";
	}
	if (used != m->used)
		return "M11 count of shadow pages";
	return unsync != load_relaxed(&m->unsync_all) || upper != load_relaxed(&m->unsync_upper) || hot != load_relaxed(&m->unsync_hot)
		? "M11 counts of unsync pages" : 0;
}
