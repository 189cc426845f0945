/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/shadow.h"
#include "tools/host/machine.h"

#define TRIES 1000 /* faults that one access may take */

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

static void flush(struct machine *c)
{
	for (unsigned i = 0; i < MACHINE_TLB; i++)
		c->tlb[i].valid = false;
}

/* The run loop's way into the guest. */
static void enter(struct machine *c)
{
	for (unsigned i = 0; i < TRIES; i++) {
		switch (mmu_enter(&c->vcpu)) {
		case MMU_ENTER:
			return;
		case MMU_FLUSH:
			flush(c);
			mmu_flushed(&c->vcpu);
			break;
		case MMU_RELOAD:
			if (mmu_reload(&c->vcpu, &c->fault) == MMU_END)
				die(c->fault.reason, 0);
			break;
		}
	}
	die("cannot enter", 0);
}

/* The hardware's walk: true with a filled TLB entry, or the error code of a #PF. */
static bool hardware_walk(struct machine *c, uint64_t at, uint32_t access, struct machine_tlb *e, uint32_t *error)
{
	bool paged = c->vcpu.paging.cr0 & CR0_PG;
	spte_t *table = host_virt(mmu_root(&c->vcpu)), *path[5];
	uint64_t rights = SPTE_W | SPTE_U, nx = 0, s = 0;
	unsigned level = 4;

	*error = access;
	if (!paged) {
		s = load_acquire(&table[at >> 30 & 3]);
		if (!(s & SPTE_P))
			return false;
		table = hfn_virt(spte_hfn(s));
		level = 2;
	}
	for (unsigned top = level;; level--) {
		spte_t *p = path[level] = &table[gpte_index(gva(at), level)];

		s = load_acquire(p);
		if (!(s & SPTE_P))
			return false;
		rights &= s;
		nx |= s & SPTE_NX;
		if (spte_is_leaf(s)) {
			uint64_t piece = at >> PAGE_SHIFT & (gpte_pages(level) - 1);

			*error |= PF_P;
			if (((access & PF_U) && !(rights & SPTE_U)) || ((access & PF_W) && !(rights & SPTE_W)) ||
				((access & PF_I) && nx))
				return false;
			for (; top >= level; top--)
				fetch_or_seq(path[top], top == level && (access & PF_W) ? SPTE_A | SPTE_D : SPTE_A);
			*e = (struct machine_tlb){true, at >> PAGE_SHIFT,
				(spte_hfn(s).v + piece) << PAGE_SHIFT | (rights & (SPTE_W | SPTE_U)) | nx};
			return true;
		}
		table = hfn_virt(spte_hfn(s));
	}
}

static bool tlb_allows(const struct machine_tlb *e, uint64_t at, uint32_t access)
{
	return e->valid && e->page == at >> PAGE_SHIFT && !((access & PF_U) && !(e->spte & SPTE_U)) &&
	       !((access & PF_W) && !(e->spte & SPTE_W)) && !((access & PF_I) && (e->spte & SPTE_NX));
}

bool machine_access(struct machine *c, uint64_t at, uint32_t access, uint64_t *value)
{
	struct machine_tlb *e = &c->tlb[(at >> PAGE_SHIFT) % MACHINE_TLB];

	for (unsigned i = 0; i < TRIES; i++) {
		uint32_t error;

		enter(c);
		if (tlb_allows(e, at, access) || hardware_walk(c, at, access, e, &error)) {
			uint64_t *p = (uint64_t *)((char *)hfn_virt(spte_hfn(e->spte)) + at % PAGE_SIZE);

			if (access & PF_W)
				__atomic_store_n(p, *value, __ATOMIC_RELAXED);
			else
				*value = __atomic_load_n(p, __ATOMIC_RELAXED);
			mmu_leave(&c->vcpu);
			return true;
		}
		mmu_leave(&c->vcpu);
		e->valid = false; /* a #PF drops the address */
		c->faults++;
		c->outcome = mmu_fault(&c->vcpu, gva(at), error, &c->fault);
		if (c->outcome != MMU_RESUME && c->outcome != MMU_RETRY)
			return false;
	}
	die("no progress", at);
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
	if (mmu_invlpg(&c->vcpu, gva(at)))
		c->tlb[(at >> PAGE_SHIFT) % MACHINE_TLB].valid = false;
}

void machine_paging(struct machine *c, uint64_t cr0, uint64_t root, uint64_t efer)
{
	struct mmu_paging p = {.cr0 = cr0, .cr3 = root, .cr4 = CR4_PAE, .efer = efer};

	if (mmu_set_paging(&c->vcpu, &p, &c->fault) != MMU_RESUME)
		die("paging refused", root);
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

	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++)
		end = (c->mmu.slot[i].gfn.v + c->mmu.slot[i].pages) << PAGE_SHIFT;
	for (uint64_t a = 0; a < end; a += PAGE_SIZE)
		machine_map(c, root, a, a | GPTE_P | GPTE_W, 1);
	machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, EFER_LME | EFER_LMA | EFER_NXE);
	return root;
}

uint64_t machine_peek(struct machine *c, uint64_t at)
{
	uint64_t value;

	if (!mmu_read(&c->mmu, gpa(at), &value, sizeof value))
		die("not RAM", at);
	return value;
}

uint64_t machine_spte(struct machine *c, uint64_t at)
{
	bool paged = c->vcpu.paging.cr0 & CR0_PG;
	struct shadow *root = c->vcpu.root[paged ? 0 : at >> 30 & 3];
	struct table *t = root->table;

	for (unsigned level = root->role.level;; level--) {
		uint64_t s = load_relaxed(&t->spte[gpte_index(gva(at), level)]);

		if (spte_is_leaf(s) || !(s & SPTE_P))
			return s;
		t = hfn_virt(spte_hfn(s));
	}
}
