/* SPDX-License-Identifier: MIT */
/* The audit in steps, for a guest that runs (audit.c). A whole one of a guest that stands still is mmu_audit. */
#ifndef MM_AUDIT_H
#define MM_AUDIT_H

#include "mm/shadow.h"

#define AUDIT_STEP 32 /* entries of a table, pages, or entries of chains, looked at in one hold of the lock */

enum audit_part { AUDIT_TABLES, AUDIT_SLOTS, AUDIT_OVER };

/* What may be wrong only because another CPU is in the midst of something: an entry of a table, or of a page's chain. */
struct audit_doubt {
	gfn_t gfn;
	union role role; /* of the table, */
	unsigned index;  /* and in it */
	struct slot *slot; /* of the page, else 0 */
	unsigned level;
	spte_t *leaving; /* the chain's entry */
};

/* One pass. Its owner's alone; fields are audit.c's but for `violations`. */
struct audit {
	struct mmu *mmu;
	uint64_t violations; /* so far; each is logged by name, up to a few */
	bool quiet;          /* nothing of the guest's runs */
	bool certain;        /* a doubt is a violation */
	bool doubtful;       /* this entry is in doubt */
	/* where the next step begins */
	enum audit_part part;
	uint64_t bucket;        /* of the hash, */
	unsigned nth, entry;    /* its nth table, there */
	const struct shadow *shadow; /* which that was */
	unsigned slot;
	uint64_t page;          /* index in the slot */
	bool unit;              /* the 2 MiB before it are to be summed up */
	/* what is looked at */
	struct slot *chain_slot;
	gfn_t chain_page;
	unsigned chain_level;
	struct shadow *child;
	spte_t *leaving;         /* an entry of the chain whose spte is 0 */
	uint64_t leaves, linked; /* quiet: sptes seen in tables, entries seen in chains */
	unsigned doubts;
	struct audit_doubt doubt[AUDIT_STEP];
};

enum audit_outcome {
	AUDIT_MORE, /* call again */
	AUDIT_DONE, /* the pass is over: see violations */
	AUDIT_BUSY, /* a harvest has the turn: call again later */
};

/* A pass over m is to begin, beside its running vCPUs. */
void audit_begin(struct audit *a, struct mmu *m);
/* The next step. It takes the guest's lock for AUDIT_STEP items and a few, and may then wait for grace periods of publishers;
 * harvests are held off meanwhile. Any CPU, outside sections and locks. */
enum audit_outcome audit_step(struct audit *a);

#endif
