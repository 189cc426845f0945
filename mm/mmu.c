/* SPDX-License-Identifier: MIT */
/* The life of a guest's MMU and of its vCPUs' roots. */
#include "mm/mmu.h"
#include "mm/rcu.h"
#include "mm/reserve.h"
#include "mm/shadow.h"
#include "mm/sync.h"
#include "mm/tlb.h"
#include "mm/walk.h"

#define TABLE_BLOCK_ORDER 5  /* 128 KiB: fifteen shadow tables and their bookkeeping */
#define RELOAD_TRIES 16
#define ZAP_BATCH 16         /* shadow pages demolished with one flush */
#define ZAP_LOOKS 64         /* such looks in a step */
#define ZAP_LOOK 64          /* buckets looked into between two lock breaks */

unsigned mmu_phys_bits = 36;

void mmu_global_init(void)
{
	slab_init(&shadow_cache, "shadow", TABLE_BLOCK_ORDER, sizeof(struct table), (sizeof(struct shadow) + 7) & ~7u,
		PAGE_ANY, 0);
	chain_cache_init(&rmap_cache, "rmap");
	chain_cache_init(&parent_cache, "parents");
}

static uint64_t hash_bytes(const struct mmu *m)
{
	return (m->hash_mask + 1) * sizeof *m->hash;
}

static void free_tables(struct mmu *m)
{
	if (m->hash)
		page_free_array(m->hash, hash_bytes(m));
	if (m->leaf_table)
		page_free_array(m->leaf_table, m->budget * sizeof *m->leaf_table);
	m->hash = 0;
	m->leaf_table = 0;
}

bool mmu_init(struct mmu *m, const char *name, uint64_t budget)
{
	uint64_t buckets = 64;

	while (buckets < budget)
		buckets *= 2;
	*m = (struct mmu){.name = name, .budget = budget, .phys_bits = mmu_phys_bits, .hash_mask = buckets - 1};
	m->lock.rank = LOCK_MMU;
	m->hash_seed = host_clock() * 0x9e3779b97f4a7c15UL;
	store_relaxed(&m->generation, 1);
	m->hash = page_alloc_array(hash_bytes(m));
	m->leaf_table = page_alloc_array(budget * sizeof *m->leaf_table);
	if (m->hash && m->leaf_table)
		return true;
	free_tables(m);
	return false;
}

void mmu_destroy(struct mmu *m)
{
	CHECK(m->vcpus == 0);
	mmu_zap_all(m);
	CHECK(m->used == 0);
	/* Other guests' fix-ups may hold a slot of ours, found through a recycled table. */
	for (unsigned i = 0; i < load_relaxed(&m->slots); i++)
		for (uint64_t p = 0; p < m->slot[i].pages; p++)
			page_frame(hfn(m->slot[i].hfn.v + p))->owner = 0;
	rcu_wait(RCU_MASK_ALL);
	mmu_drop_ram(m);
	free_tables(m);
	if (m->blank_page)
		page_free_array(m->blank_page, PAGE_SIZE);
	m->blank_page = 0;
}

bool mmu_set_blank(struct mmu *m, uint64_t pages)
{
	CHECK(!m->blank_page);
	m->blank_page = page_alloc_array(PAGE_SIZE);
	if (!m->blank_page)
		return false;
	__builtin_memset(m->blank_page, 0xff, PAGE_SIZE);
	m->blank = pages;
	return true;
}

bool mmu_vcpu_init(struct mmu_vcpu *v, struct mmu *m)
{
	hfn_t low = page_alloc(0, PAGE_LOW); /* CR3 of a guest without long mode has 32 bits */

	if (!hfn_valid(low))
		return false;
	if (m->vcpus == MMU_MAX_VCPUS) {
		page_free(low, 0);
		return false;
	}
	*v = (struct mmu_vcpu){.mmu = m, .root_stale = true, .pae_root = hfn_virt(low)};
	__builtin_memset(v->pae_root, 0, PAGE_SIZE);
	v->rmap.cache = &rmap_cache;
	v->parents.cache = &parent_cache;
	store_relaxed(&v->cpu, ~0u);
	m->vcpu[m->vcpus++] = v;
	return true;
}

void mmu_vcpu_destroy(struct mmu_vcpu *v)
{
	struct mmu *m = v->mmu;
	unsigned i = 0;

	while (m->vcpu[i] != v)
		i++;
	m->vcpu[i] = m->vcpu[--m->vcpus];
	lock_take(&m->lock);
	for (i = 0; i < 4; i++)
		if (v->root[i])
			shadow_unpin(v->root[i]);
	lock_drop(&m->lock);
	while (v->tables_n)
		slab_free(&shadow_cache, v->tables[--v->tables_n]);
	chain_unreserve(&v->rmap);
	chain_unreserve(&v->parents);
	page_free(hpa_hfn(host_phys(v->pae_root)), 0);
}

bool reserve_fill(struct mmu_vcpu *v)
{
	while (v->tables_n < sizeof v->tables / sizeof *v->tables) {
		struct table *t = slab_alloc(&shadow_cache);

		if (!t)
			break;
		v->tables[v->tables_n++] = t;
	}
	return v->tables_n >= RESERVE_TABLES && chain_reserve(&v->rmap, CHAIN_RESERVE) &&
	       chain_reserve(&v->parents, CHAIN_RESERVE);
}

static unsigned roots(const struct mmu_vcpu *v)
{
	return v->mode == PAGING_LONG ? 1 : 4;
}

/* gfn and role of root i. False: there is none, for its PDPTE is not present. */
static bool root_identity(const struct mmu_vcpu *v, unsigned i, gfn_t *f, union role *r)
{
	*r = (union role){.access = ACC_ALL, .level = 2, .mode = v->mode};
	if (v->mode == PAGING_OFF) {
		r->direct = 1;
		r->dirty = 1;
		*f = gfn((uint64_t)i << 18);
		return true;
	}
	r->nx = v->nxe;
	r->wp = (v->paging.cr0 & CR0_WP) != 0;
	r->smep = !r->wp && (v->paging.cr4 & CR4_SMEP);
	r->smap = !r->wp && v->smap;
	if (v->mode == PAGING_PAE) {
		*f = gpte_gfn(v->paging.pdpte[i]);
		/* one that is not in RAM: each walk finds that out again */
		return (v->paging.pdpte[i] & GPTE_P) && slot_find(v->mmu, *f);
	}
	if (v->mode == PAGING_LONG)
		r->level = 4;
	else
		r->quadrant = i;
	*f = walk_root(v);
	return true;
}

static inline void replace_root(struct mmu_vcpu *v, unsigned i, struct shadow *s)
{
	struct shadow *old = v->root[i];

	if (s == old)
		return;
	if (s) {
		s->pins++;
		s->recent = true;
	}
	if (old && load_relaxed(&old->state) == SHADOW_LIVE)
		old->pins--; /* it stays, pinned or not */
	else if (old)
		shadow_unpin(old);
	v->root[i] = s;
	v->near.generation = 0;
	store_relaxed(&v->seen, 0); /* any change of root flushes the id */
	store_relaxed(&v->pae_root[i], s ? host_phys(s->table).v | SPTE_P : 0);
}

/* What the sync that a reload begins with leaves pending, or another vCPU has made so since. Lock held. */
static bool reload_pending(const struct mmu *m)
{
	return load_relaxed(&m->unsync_all) != load_relaxed(&m->unsync_hot) || load_relaxed(&m->burying);
}

/* One root; MMU_RETRY with *again when only another try is needed. */
static enum mmu_outcome load_root(struct mmu_vcpu *v, unsigned i, struct mmu_fault *f, bool *again)
{
	struct mmu *m = v->mmu;
	struct shadow *s, *build = 0;
	bool sync = false, present;
	enum mmu_outcome o;
	union role r;
	gfn_t g;

	present = root_identity(v, i, &g, &r);
	lock_take(&m->lock);
	if (mmu_moving(m)) {
		lock_drop(&m->lock);
		return MMU_RETRY;
	}
	if (!present) {
		replace_root(v, i, 0);
		lock_drop(&m->lock);
		return MMU_RESUME;
	}
	s = v->root[i];
	if (!s || s->gfn.v != g.v || s->role.word != r.word || load_relaxed(&s->state) != SHADOW_LIVE)
		s = shadow_find(m, g, r);
	if (!s && m->used >= m->budget) {
		lock_drop(&m->lock);
		f->reason = "all shadow pages are in use (raise shadow=)";
		o = shadow_reclaim(m);
		*again = o == MMU_RESUME;
		return *again ? MMU_RETRY : o;
	}
	if (!s) {
		s = shadow_new(v, g, r);
		build = r.direct ? 0 : s;
	} else if (s != v->root[i] && !r.direct && reload_pending(m)) {
		sync = true;
	}
	if (!build && !sync && load_relaxed(&s->state) == SHADOW_LIVE)
		replace_root(v, i, s);
	lock_drop(&m->lock);
	if (build || sync) {
		*again = (build ? sync_build(build) : sync_all(m)) == MMU_RESUME;
		return MMU_RETRY;
	}
	return v->root[i] == s ? MMU_RESUME : MMU_RETRY;
}

/* After a sync. */
static enum mmu_outcome load_roots(struct mmu_vcpu *v, struct mmu_fault *f)
{
	struct mmu *m = v->mmu;
	unsigned n = roots(v), tries = n * RELOAD_TRIES;

	if (v->mode != PAGING_OFF && v->mode != PAGING_PAE && !slot_find(m, walk_root(v))) {
		f->reason = "page-table root outside memory";
		return MMU_END;
	}
	for (unsigned i = 0; i < n;) {
		bool again = false;
		enum mmu_outcome o;

		if (!reserve(v)) {
			f->reason = "out of memory for shadow pages";
			return MMU_END;
		}
		o = load_root(v, i, f, &again);
		if (o == MMU_RESUME)
			i++;
		else if (o == MMU_END || !again || --tries == 0)
			return o;
	}
	if (n == 1 && (v->root[1] || v->root[2] || v->root[3])) { /* the mode changed */
		lock_take(&m->lock);
		for (unsigned i = n; i < 4; i++)
			replace_root(v, i, 0);
		lock_drop(&m->lock);
	}
	v->root_stale = false;
	return MMU_RESUME;
}

enum mmu_outcome mmu_reload(struct mmu_vcpu *v, struct mmu_fault *f)
{
	if ((v->sync_wanted || load_relaxed(&v->mmu->unsync_hot)) && sync_load(v->mmu) == MMU_RETRY)
		return MMU_RETRY;
	v->sync_wanted = false;
	return load_roots(v, f);
}

static enum paging_mode mode_of(const struct mmu_paging *p)
{
	if (!(p->cr0 & CR0_PG))
		return PAGING_OFF;
	if (p->efer & EFER_LMA)
		return PAGING_LONG;
	if (p->cr4 & CR4_PAE)
		return PAGING_PAE;
	return p->cr4 & CR4_PSE ? PAGING_PSE : PAGING_32;
}

enum mmu_outcome mmu_set_paging(struct mmu_vcpu *v, const struct mmu_paging *p, struct mmu_fault *f)
{
	if (shadow_pending(v->mmu, false) && sync_load(v->mmu) == MMU_RETRY)
		return MMU_RETRY;
	v->sync_wanted = false;
	v->paging = *p;
	v->mode = mode_of(p);
	v->nxe = (p->efer & EFER_NXE) && (v->mode == PAGING_LONG || v->mode == PAGING_PAE);
	v->smap = v->mode != PAGING_OFF && (p->cr4 & CR4_SMAP);
	v->reserved = walk_reserved_always(v->mmu, v->mode, v->nxe);
	v->root_stale = true;
	store_relaxed(&v->seen, 0);
	return load_roots(v, f) == MMU_END ? MMU_END : MMU_RESUME; /* a RETRY is done again before the entry */
}

/* As sync_all, load_root and mmu_set_paging do it when sync_all would find nothing, then an entry that stops at the flush (3 in
 * tlb.c). The guest does not run meanwhile, so nothing is cached between this look at the generation and the entry's own; a
 * kill that the look at the root misses comes before a bump that the entry does not miss. The new root has the old one's
 * role, for nothing but CR3 changes. */
bool mmu_load_cr3(struct mmu_vcpu *v, uint64_t cr3)
{
	struct mmu *m = v->mmu;
	struct shadow *old = v->root[0], *s = old;
	gfn_t g = gpa_gfn(gpa(cr3 & GPTE_ADDRESS));
	bool there;

	if (v->root_stale)
		return false;
	lock_take(&m->lock);
	v->want = load_seq(&m->generation); /* before the look at the root */
	if (s->gfn.v != g.v)
		s = shadow_find(m, g, s->role);
	there = s && load_relaxed(&s->state) == SHADOW_LIVE && !shadow_pending(m, false) && !mmu_moving(m);
	if (there)
		replace_root(v, 0, s);
	lock_drop(&m->lock);
	if (!there)
		return false;
	v->paging.cr3 = cr3;
	store_relaxed(&v->seen, 0); /* until mmu_flushed() */
	return true;
}

/* What is pending is asked by sync_all, in the reload that the entry finds due. A failure there is a RETRY, and it stays due. */
void mmu_flush_tlb(struct mmu_vcpu *v)
{
	v->sync_wanted = v->root_stale = true;
	store_relaxed(&v->seen, 0);
}

hpa_t mmu_root(const struct mmu_vcpu *v)
{
	return host_phys(v->mode == PAGING_LONG ? (void *)v->root[0]->table : (void *)v->pae_root);
}

struct mmu_faults mmu_faults(const struct mmu *m)
{
	struct mmu_faults sum = {0};

	for (unsigned i = 0; i < m->vcpus; i++) {
		const struct mmu_vcpu_stats *s = &m->vcpu[i]->stats;
		uint64_t worst = load_relaxed(&s->worst_fault);

		sum.faults += load_relaxed(&s->faults);
		sum.fixups += load_relaxed(&s->fixups);
		sum.quick += load_relaxed(&s->quick);
		sum.injected += load_relaxed(&s->injected);
		sum.fixup_ticks += load_relaxed(&s->fixup_ticks);
		sum.worst_fault = worst > sum.worst_fault ? worst : sum.worst_fault;
	}
	return sum;
}

/* Kills up to `most` of what is in up to ZAP_LOOK buckets, from *bucket on, which moves past those that are empty then. */
static unsigned kill_buckets(struct mmu *m, uint64_t *bucket, unsigned most, struct shadow **dying)
{
	unsigned killed = 0;

	lock_take(&m->lock);
	for (unsigned looked = 0; looked < ZAP_LOOK && *bucket <= m->hash_mask && killed < most; looked++) {
		for (; m->hash[*bucket] && killed < most; killed++)
			shadow_kill(m->hash[*bucket], dying);
		*bucket += !m->hash[*bucket];
	}
	lock_drop(&m->lock);
	return killed;
}

bool mmu_zap_step(struct mmu *m, uint64_t *bucket)
{
	struct shadow *dying = 0;

	if (!m->hash || *bucket > m->hash_mask)
		return false;
	for (unsigned n = 0, looks = 0; n < ZAP_BATCH && looks < ZAP_LOOKS && *bucket <= m->hash_mask; looks++)
		n += kill_buckets(m, bucket, ZAP_BATCH - n, &dying);
	shadow_bury(m, dying);
	return true;
}

enum mmu_outcome mmu_zap_all(struct mmu *m)
{
	/* By the hash, each bucket once: what is made meanwhile may escape, and makes this no longer. */
	for (uint64_t bucket = 0; mmu_zap_step(m, &bucket);)
		;
	return MMU_RESUME;
}
