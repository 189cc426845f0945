/* SPDX-License-Identifier: MIT */
/* The guest's own translation of an address, as its page tables stand now. Inside mm/ only. */
#ifndef MM_WALK_H
#define MM_WALK_H

#include "mm/gpte.h"
#include "mm/mmu.h"

#define WALK_LEVELS 5 /* indexed by level, 1 … 4; [0] unused */

struct walk {
	unsigned top;                /* level of the first table in memory; 0 when paging is off */
	bool narrow;                 /* entries of 32 bits */
	unsigned level;              /* level of the entry that maps the page; 1 when paging is off */
	gfn_t table[WALK_LEVELS];    /* the table of each level walked */
	void *at[WALK_LEVELS];       /* the entry in host memory */
	uint64_t gpte[WALK_LEVELS];  /* its value, A and D as they stand after the walk */
	gfn_t page;                  /* the 4 KiB page that holds the address */
	unsigned access;             /* ACC_ bits of the whole path; D not looked at */
	uint32_t error;              /* of a fault */
};

/* Walks a with the access rights `access` (PF_W, PF_U, PF_I as in an error code) and sets A, and D on a write, as the
 * hardware would: only when the access is allowed. In a publishing section, which the result's pointers do not outlive.
 * MMU_RESUME; MMU_INJECT with error; MMU_RETRY: an entry changed. */
enum mmu_outcome walk_guest(struct mmu_vcpu *v, gva_t a, uint32_t access, struct walk *w);

/* True when ACC_ rights allow the access (PF_ bits) at this vCPU's CR0.WP, SMEP, SMAP and AC. */
bool walk_allowed(const struct mmu_vcpu *v, unsigned rights, uint32_t access);

/* True when every entry still reads as it did: an install is allowed under the lock. */
bool walk_current(const struct walk *w);

/* The guest's table that CR3 names, where it names one: not with PAE paging, whose PDPTEs were loaded. */
static inline gfn_t walk_root(const struct mmu_vcpu *v)
{
	return gpa_gfn(gpa(v->paging.cr3 & (v->mode == PAGING_LONG ? GPTE_ADDRESS : 0xfffff000)));
}

/* Bits reserved in every entry: above the guest's MAXPHYADDR, and NX where it does not count. Narrow entries have none. */
static inline uint64_t walk_reserved_always(const struct mmu *m, enum paging_mode mode, bool nxe)
{
	uint64_t high = mode == PAGING_PAE ? ~GPTE_NX & ~(PAGE_SIZE - 1) : GPTE_ADDRESS;

	if (gpte_narrow(mode))
		return 0;
	return (high & ~((1UL << m->phys_bits) - 1)) | (nxe ? 0 : GPTE_NX);
}

/* The reserved bits that are set in an entry of this level. nxe: NX counts. */
uint64_t walk_reserved(const struct mmu *m, uint64_t gpte, unsigned level, enum paging_mode mode, bool nxe);

#endif
