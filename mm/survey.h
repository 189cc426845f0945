/* SPDX-License-Identifier: MIT */
/* What a person may want to see of a guest's MMU. Nothing is changed by looking: no A or D bit, no shadow page. */
#ifndef MM_SURVEY_H
#define MM_SURVEY_H

#include "mm/shadow.h"

/* A page of the guest's. */
struct survey_page {
	bool ram;                    /* else the rest is 0 */
	hfn_t hfn;
	bool dirty;                  /* written since the last harvest */
	uint32_t tables;             /* shadow pages that shadow it as a page table */
	uint32_t length[SLOT_LEVELS]; /* leaves of each size that map it: [0] of 4 KiB, [1] of 2 MiB */
};

/* Looks at page f. In an RCU section. */
void survey_page(struct mmu *m, gfn_t f, struct survey_page *p);

/* A leaf that maps a page. */
struct survey_leaf {
	gfn_t table;    /* the guest's table that the shadow page shadows, or where direct, the first page that it maps */
	union role role;
	bool unsync;
	unsigned index; /* in the shadow page */
	uint64_t spte;
};

/* Leaves of `level`, 1 … SLOT_LEVELS, that map page f, by its rmap chain from the head on: at most `most`, of at most SURVEY_DESCS
 * descriptors. Returns how many. Takes mmu.lock and the chain's for that. In an RCU section, outside locks. */
#define SURVEY_DESCS 8
unsigned survey_leaves(struct mmu *m, gfn_t f, unsigned level, struct survey_leaf *leaf, unsigned most);

/* An entry that a walk has come by. */
struct survey_entry {
	bool there;
	uint64_t at;    /* the guest's: its guest-physical address; 0: a PDPTE that was loaded with CR3 */
	uint64_t value;
};

#define SURVEY_LEVELS 5 /* indexed by level, 1 … 4 */
/* Where an address leads, by the guest's tables as they stand, and by the shadow tables. */
struct survey_walk {
	enum paging_mode mode;
	struct survey_entry guest[SURVEY_LEVELS], shadow[SURVEY_LEVELS];
	bool beyond;    /* the guest's walk came to a table that is not in RAM */
	bool mapped;    /* by the guest's tables: to this address; whether it is RAM or not, and whatever the rights */
	gpa_t gpa;
	bool stale;     /* the shadow root is to be loaded anew before the guest goes on: no shadow was looked at */
	bool shadowed;  /* by the shadow: to this one */
	gpa_t shadow_gpa;
};

/* On v's CPU, outside the guest, locks and sections; or while nothing of it runs. */
void survey_walk(struct mmu_vcpu *v, gva_t a, struct survey_walk *w);

#endif
