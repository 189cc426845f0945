/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/shadow.h"
#include "tools/host/machine.h"

#define TRIES 1000      /* faults that one access may take */
#define WAITS 10000000 /* turns given to other threads, whose work an entry or a fault waits for */

static void die(const char *what, uint64_t at)
{
	fprintf(stderr, "machine: %s at %#lx\n", what, at);
	abort();
}

void machine_init(struct machine *c, uint64_t pages, uint64_t budget)
{
	memset(c, 0, sizeof *c);
	if (!mmu_init(&c->mmu, "m", budget) || !mmu_add_ram(&c->mmu, pages * PAGE_SIZE) ||
		!mmu_vcpu_init(&c->vcpu, &c->mmu))
		die("no memory", pages);
	c->vcpu.paging.cr0 = CR0_PE | CR0_WP;
	c->next_table = 0x200;
}

void machine_destroy(struct machine *c)
{
	mmu_vcpu_destroy(&c->vcpu);
	mmu_destroy(&c->mmu);
}

void machine_join(struct machine *c, struct machine *first)
{
	memset(c, 0, sizeof *c);
	if (!mmu_vcpu_init(&c->vcpu, &first->mmu))
		die("no memory", 0);
	c->vcpu.paging.cr0 = CR0_PE | CR0_WP;
	if (first->vcpu.paging.cr0 & CR0_PG)
		machine_paging(c, first->vcpu.paging.cr0, first->vcpu.paging.cr3, first->vcpu.paging.efer);
}

void machine_part(struct machine *c)
{
	machine_exit(c);
	mmu_vcpu_destroy(&c->vcpu);
}

void machine_exit(struct machine *c)
{
	if (load_relaxed(&c->vcpu.in_guest))
		mmu_leave(&c->vcpu);
}

static struct machine_cache *cache(struct machine *c)
{
	if (host_cpu() >= MACHINE_CPUS)
		die("no cache for CPU", host_cpu());
	return &c->cache[host_cpu()];
}

static struct machine_tlb *tlb_entry(struct machine *c, uint64_t at)
{
	return &cache(c)->tlb[(at >> PAGE_SHIFT) % MACHINE_TLB];
}

static uint64_t psc_key(uint64_t at, unsigned level)
{
	return at >> (3 + 9 * level);
}

static struct machine_psc *psc_entry(struct machine *c, uint64_t at, unsigned level)
{
	return &cache(c)->psc[level][psc_key(at, level) % MACHINE_PSC];
}

/* The run loop's way into the guest. False: the guest has ended. */
static bool enter(struct machine *c)
{
	for (unsigned i = 0; i < WAITS; i++) {
		enum mmu_outcome o;

		switch (mmu_enter(&c->vcpu, host_cpu())) {
		case MMU_ENTER:
			return true;
		case MMU_FLUSH:
			memset(cache(c), 0, sizeof *cache(c));
			mmu_flushed(&c->vcpu);
			break;
		case MMU_RELOAD:
			o = mmu_reload(&c->vcpu, &c->fault);
			if (o == MMU_END) {
				c->outcome = o;
				return false;
			}
			if (o == MMU_RETRY)
				host_relax();
			break;
		}
	}
	die("cannot enter", 0);
	return false;
}

/* Where a walk begins: at the lowest table that is cached, else at the root. False: not even that is present. */
static bool walk_start(struct machine *c, uint64_t at, unsigned *level, struct machine_psc *from)
{
	spte_t *table = host_virt(mmu_root(&c->vcpu));

	for (unsigned l = 2; l <= 4; l++) {
		struct machine_psc *e = psc_entry(c, at, l);

		if (e->valid && e->key == psc_key(at, l)) {
			*level = l - 1;
			*from = *e;
			return true;
		}
	}
	*level = 4;
	if (c->vcpu.mode != PAGING_LONG) {
		uint64_t pdpte = load_acquire(&table[at >> 30 & 3]);

		if (!(pdpte & SPTE_P))
			return false;
		table = hfn_virt(spte_hfn(pdpte));
		*level = 2;
	}
	*from = (struct machine_psc){.rights = SPTE_W | SPTE_U, .table = table};
	return true;
}

/* Sets A or D in an entry that reads s, as the hardware does: by one locked exchange that fails if the entry has changed since
 * the walk read it (SDM vol. 3, 4.8 and 8.1.2.1), so that an entry that is cleared meanwhile stays 0. */
static bool set_flags(spte_t *p, uint64_t s, uint64_t flags)
{
	return (s & flags) == flags || cmpxchg_seq(p, &s, s | flags);
}

/* What the shadow's rights, and CR4 as the guest has it while it pages, make of an access (SDM vol. 3, 4.6.1). */
static bool allowed(const struct machine *c, uint64_t rights, uint32_t access)
{
	const struct mmu_vcpu *v = &c->vcpu;

	if (((access & PF_U) && !(rights & SPTE_U)) || ((access & PF_W) && !(rights & SPTE_W)) ||
		((access & PF_I) && (rights & SPTE_NX)))
		return false;
	if (v->mode == PAGING_OFF || (access & PF_U) || !(rights & SPTE_U))
		return true;
	return access & PF_I ? !(v->paging.cr4 & CR4_SMEP) : v->ac || !(v->paging.cr4 & CR4_SMAP);
}

/* The hardware's walk: true with a filled TLB entry, or the error code of a #PF. Sets A in what it reads, D in the leaf; what
 * changes meanwhile is walked again. */
static bool hardware_walk(struct machine *c, uint64_t at, uint32_t access, struct machine_tlb *e, uint32_t *error)
{
	struct machine_psc now;
	unsigned level;

again:
	*error = access;
	if (!walk_start(c, at, &level, &now))
		return false;
	for (;; level--) {
		spte_t *p = &now.table[gpte_index(gva(at), level)];
		uint64_t s = load_acquire(p), piece = at >> PAGE_SHIFT & (gpte_pages(level) - 1);

		if (!(s & SPTE_P))
			return false;
		now.rights &= s;
		now.nx |= s & SPTE_NX;
		if (level > 1 && !(s & SPTE_PS)) {
			if (!set_flags(p, s, SPTE_A))
				goto again;
			now.valid = true;
			now.key = psc_key(at, level);
			now.table = hfn_virt(spte_hfn(s));
			*psc_entry(c, at, level) = now;
			continue;
		}
		*error |= PF_P;
		if (!allowed(c, now.rights | now.nx, access))
			return false;
		if (!set_flags(p, s, access & PF_W ? SPTE_A | SPTE_D : SPTE_A))
			goto again;
		/* without D it serves no write: that one walks again, and sets D; or late_d */
		*e = (struct machine_tlb){.valid = true, .page = at >> PAGE_SHIFT};
		if (!(s & SPTE_D) && !(access & PF_W)) {
			e->late = c->late_d && (now.rights & SPTE_W) ? p : 0;
			now.rights &= ~SPTE_W;
		}
		e->spte = (spte_hfn(s).v + piece) << PAGE_SHIFT | (now.rights & (SPTE_W | SPTE_U)) | now.nx;
		return true;
	}
}

static bool tlb_allows(const struct machine *c, const struct machine_tlb *e, uint64_t at, uint32_t access)
{
	return e->valid && e->page == at >> PAGE_SHIFT && allowed(c, e->spte, access);
}

/* A write by a TLB entry that had W but not D: D is set in the leaf, if it still maps the page, whatever W is by now. */
static void set_late_d(const struct machine *c, struct machine_tlb *e, uint64_t at)
{
	uint64_t s = e->late ? load_acquire(e->late) : 0;

	if (!e->late || !tlb_allows(c, e, at, 0))
		return;
	while ((s & SPTE_P) && spte_hfn(s).v == (spte_hfn(e->spte).v & ~(gpte_pages(spte_level(s)) - 1)))
		if (cmpxchg_seq(e->late, &s, s | SPTE_D)) {
			e->spte |= SPTE_W;
			break;
		}
	e->late = 0;
}

static bool reach(struct machine *c, uint64_t at, uint32_t access, uint64_t *value, uint32_t *error)
{
	struct machine_tlb *e = tlb_entry(c, at);
	uint64_t *p;

	if (access & PF_W)
		set_late_d(c, e, at);
	if (!tlb_allows(c, e, at, access) && !hardware_walk(c, at, access, e, error))
		return false;
	p = (uint64_t *)((char *)hfn_virt(spte_hfn(e->spte)) + at % PAGE_SIZE);
	if (access & PF_W)
		__atomic_store_n(p, *value, __ATOMIC_RELAXED);
	else
		*value = __atomic_load_n(p, __ATOMIC_RELAXED);
	return true;
}

bool machine_inside(struct machine *c, uint64_t at, uint32_t access, uint64_t *value)
{
	uint32_t error;

	return load_relaxed(&c->vcpu.in_guest) && reach(c, at, access, value, &error);
}

/* What a #PF drops, on its way out (SDM vol. 3, 4.10.4.1). */
static void drop_address(struct machine *c, uint64_t at)
{
	tlb_entry(c, at)->valid = false;
	for (unsigned level = 2; level <= 4; level++)
		psc_entry(c, at, level)->valid = false;
}

/* What the hypervisor does about MMU_EMULATE: the store, by the guest's tables. */
static enum mmu_outcome emulate(struct machine *c, uint64_t at, uint32_t access, uint64_t value)
{
	gpa_t a, told = c->fault.gpa;
	enum mmu_outcome o;

	CHECK(access & PF_W && !(access & PF_U));
	o = mmu_translate(&c->vcpu, gva(at), access, &a, &c->fault);
	if (o != MMU_RESUME)
		return o;
	CHECK(a.v == told.v);
	CHECK(mmu_write(c->vcpu.mmu, a, &value, sizeof value));
	c->emulated++;
	return MMU_RESUME;
}

bool machine_access(struct machine *c, uint64_t at, uint32_t access, uint64_t *value)
{
	for (unsigned tries = 0, waits = 0; tries < TRIES && waits < WAITS;) {
		uint32_t error;

		if (!load_relaxed(&c->vcpu.in_guest) && !enter(c))
			return false;
		if (reach(c, at, access, value, &error)) {
			if (!c->stay)
				mmu_leave(&c->vcpu);
			return true;
		}
		mmu_leave(&c->vcpu);
		drop_address(c, at);
		c->faults++;
		c->outcome = mmu_fault(&c->vcpu, gva(at), error, &c->fault);
		if (c->outcome == MMU_RETRY) {
			waits++;
			host_relax();
		} else if (c->outcome == MMU_RESUME) {
			tries++;
		} else if (c->outcome == MMU_EMULATE) {
			c->outcome = emulate(c, at, access, *value);
			if (c->outcome == MMU_RESUME)
				return true;
			waits++;
		} else {
			return false;
		}
	}
	c->outcome = MMU_RETRY;
	return false;
}

bool machine_store(struct machine *c, uint64_t at, uint64_t value)
{
	return machine_access(c, at, PF_W, &value);
}

uint64_t machine_load(struct machine *c, uint64_t at)
{
	uint64_t value;

	if (!machine_access(c, at, 0, &value))
		die("load refused", at);
	return value;
}

void machine_invlpg(struct machine *c, uint64_t at)
{
	machine_exit(c);
	if (!mmu_invlpg(&c->vcpu, gva(at)))
		return;
	tlb_entry(c, at)->valid = false;
	memset(cache(c)->psc, 0, sizeof cache(c)->psc); /* of every address (4.10.4.1) */
}

enum mmu_outcome machine_try_set(struct machine *c, const struct mmu_paging *p)
{
	const struct mmu_paging *now = &c->vcpu.paging;

	machine_exit(c);
	/* as guest/cr.c and hv/exit_cr.c have it */
	if (c->vcpu.mode == PAGING_LONG && p->cr0 == now->cr0 && p->cr4 == now->cr4 && p->efer == now->efer &&
		mmu_load_cr3(&c->vcpu, p->cr3)) {
		memset(cache(c), 0, sizeof *cache(c));
		mmu_flushed(&c->vcpu);
		return MMU_RESUME;
	}
	return mmu_set_paging(&c->vcpu, p, &c->fault);
}

void machine_set(struct machine *c, const struct mmu_paging *p)
{
	enum mmu_outcome o;

	for (unsigned i = 0; (o = machine_try_set(c, p)) == MMU_RETRY && i < WAITS; i++)
		host_relax();
	if (o != MMU_RESUME)
		die("paging refused", p->cr3);
}

void machine_paging(struct machine *c, uint64_t cr0, uint64_t root, uint64_t efer)
{
	struct mmu_paging p = {.cr0 = cr0, .cr3 = root, .cr4 = CR4_PAE, .efer = efer};

	machine_set(c, &p);
}

void machine_cr3(struct machine *c, uint64_t root)
{
	machine_paging(c, c->vcpu.paging.cr0, root, c->vcpu.paging.efer);
}

uint64_t machine_table(struct machine *c)
{
	return c->next_table++ << PAGE_SHIFT;
}

uint64_t machine_pte(struct machine *c, uint64_t root, uint64_t at, unsigned level)
{
	uint64_t table = root;

	for (unsigned l = 4; l > level; l--) {
		uint64_t entry = table + gpte_index(gva(at), l) * 8, g = machine_load(c, entry);

		if (!(g & GPTE_P)) {
			g = machine_table(c) | GPTE_P | GPTE_W | GPTE_U;
			machine_store(c, entry, g);
		}
		table = g & GPTE_ADDRESS;
	}
	return table + gpte_index(gva(at), level) * 8;
}

void machine_map(struct machine *c, uint64_t root, uint64_t at, uint64_t entry, unsigned level)
{
	machine_store(c, machine_pte(c, root, at, level), entry);
}

uint64_t machine_long_mode(struct machine *c)
{
	uint64_t root = machine_table(c), end = 0;

	for (unsigned i = 0; i < load_relaxed(&c->vcpu.mmu->slots); i++)
		end = (c->vcpu.mmu->slot[i].gfn.v + c->vcpu.mmu->slot[i].pages) << PAGE_SHIFT;
	for (uint64_t a = 0; a < end; a += PAGE_SIZE)
		machine_map(c, root, a, a | GPTE_P | GPTE_W, 1);
	machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, EFER_LME | EFER_LMA | EFER_NXE);
	return root;
}

uint64_t machine_peek(struct machine *c, uint64_t at)
{
	uint64_t value;

	if (!mmu_read(c->vcpu.mmu, gpa(at), &value, sizeof value))
		die("not RAM", at);
	return value;
}

uint64_t machine_spte(struct machine *c, uint64_t at)
{
	struct shadow *root = shadow_root(&c->vcpu, gva(at));
	struct table *t = root->table;

	for (unsigned level = root->role.level;; level--) {
		uint64_t s = load_relaxed(&t->spte[gpte_index(gva(at), level)]);

		if (spte_is_leaf(s) || !(s & SPTE_P))
			return s;
		t = hfn_virt(spte_hfn(s));
	}
}
