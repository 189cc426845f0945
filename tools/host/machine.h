/* SPDX-License-Identifier: MIT */
/* A guest on a modelled processor: loads and stores go through a TLB filled by a hardware walk of the shadow tables, so
 * that a missed flush, a stale paging-structure cache or a stale spte shows as wrong data. One vCPU, and more that join
 * it; natively only. */
#ifndef TOOLS_HOST_MACHINE_H
#define TOOLS_HOST_MACHINE_H

#include "mm/log.h"
#include "mm/gpte.h"

#define MACHINE_CPUS 4
#define MACHINE_TLB 64
#define MACHINE_PSC 8
#define MACHINE_PSC_LEVELS 5 /* by level of the link, 2 … 4 */

/* late: the leaf, which had W but not yet D. */
struct machine_tlb { bool valid; uint64_t page, spte; spte_t *late; };
/* A paging-structure cache entry: the table that a link leads to, and the rights down to it. */
struct machine_psc { bool valid; uint64_t key, rights, nx; spte_t *table; };

/* What one physical CPU caches under this vCPU's id. */
struct machine_cache {
	struct machine_tlb tlb[MACHINE_TLB]; /* one way each: page % MACHINE_TLB */
	struct machine_psc psc[MACHINE_PSC_LEVELS][MACHINE_PSC];
};

struct machine {
	struct mmu mmu;                      /* of one that joined: not used */
	struct mmu_vcpu vcpu;
	struct machine_cache cache[MACHINE_CPUS];
	bool stay;                           /* remain in guest mode after an access, until a fault or machine_exit */
	bool late_d;                         /* sets D without another look at W, as some processors do (SDM vol. 3, 4.8) */
	uint64_t next_table;                 /* gfn of the next free guest table */
	uint64_t faults;                     /* #PF exits */
	uint64_t emulated;                   /* stores that were carried out outside the guest */
	enum mmu_outcome outcome;            /* of the last fault that did not resume */
	struct mmu_fault fault;              /* and what it said */
};

/* A guest with `pages` pages of RAM, paging off, on the calling CPU. */
void machine_init(struct machine *c, uint64_t pages, uint64_t budget);
void machine_destroy(struct machine *c);
/* c becomes one more vCPU of the guest, with the paging registers of `first`. machine_part comes before the end of first. */
void machine_join(struct machine *c, struct machine *first);
void machine_part(struct machine *c);
/* Out of guest mode, where `stay` left it; what a kick does. */
void machine_exit(struct machine *c);

/* One access of 8 bytes, aligned, as the guest makes it: access is PF_W, PF_U, PF_I. True when it went through; else
 * outcome and fault say why; MMU_RETRY: a thousand faults were repaired in vain. */
bool machine_access(struct machine *c, uint64_t at, uint32_t access, uint64_t *value);
bool machine_store(struct machine *c, uint64_t at, uint64_t value);
uint64_t machine_load(struct machine *c, uint64_t at); /* must go through */

/* The same inside guest mode alone, by what is cached and by the hardware's walk: false where it would fault. */
bool machine_inside(struct machine *c, uint64_t at, uint32_t access, uint64_t *value);

/* The privileged instructions. */
void machine_invlpg(struct machine *c, uint64_t at);
void machine_cr3(struct machine *c, uint64_t root);
/* All paging registers at once. */
void machine_set(struct machine *c, const struct mmu_paging *p);
enum mmu_outcome machine_try_set(struct machine *c, const struct mmu_paging *p); /* MMU_RETRY, MMU_END: refused */
void machine_paging(struct machine *c, uint64_t cr0, uint64_t root, uint64_t efer);

/* Guest page tables, built by the guest's own stores through an identity mapping (or with paging off). */
uint64_t machine_table(struct machine *c);                              /* gpa of a fresh table */
uint64_t machine_pte(struct machine *c, uint64_t root, uint64_t at, unsigned level); /* gpa of the entry; makes tables */
void machine_map(struct machine *c, uint64_t root, uint64_t at, uint64_t entry, unsigned level);
/* Long mode with all RAM mapped at its own address by 4 KiB pages; the root's gpa. */
uint64_t machine_long_mode(struct machine *c);

/* The guest's memory behind its back, for the tests' eyes. */
uint64_t machine_peek(struct machine *c, uint64_t at);
/* The spte that the shadow tables hold for an address now; 0 when there is none. */
uint64_t machine_spte(struct machine *c, uint64_t at);

#endif
