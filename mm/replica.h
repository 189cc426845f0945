/* SPDX-License-Identifier: MIT */
/* A copy of a guest's RAM, kept up by harvests alone: the proof that the log loses nothing. */
#ifndef MM_REPLICA_H
#define MM_REPLICA_H

#include "mm/log.h"

#define REPLICA_PIECE 4096UL /* pages: 16 MiB, whatever pieces host memory is in */

struct replica {
	struct mmu *mmu;
	void **copy[SLOT_MAX];  /* of each slot, by pieces */
	uint64_t copied;        /* pages copied so far */
	uint64_t last[2];       /* pages copied in the last period, and in the one before */
};

/* Where the copy of page p of slot i is. */
static inline void *replica_page(const struct replica *r, unsigned i, uint64_t p)
{
	return (char *)r->copy[i][p / REPLICA_PIECE] + p % REPLICA_PIECE * PAGE_SIZE;
}

/* Allocates the copy (zeroed) and starts the log. False: out of memory. */
bool replica_init(struct replica *r, struct mmu *m);
/* One period: harvest, then copy exactly the pages harvested by anyone since the last call. */
enum log_outcome replica_round(struct replica *r, struct log_round *round);
/* After the guest stopped and the last replica_round: compares byte by byte; the number of pages that differ, the first of
 * them in *first. */
uint64_t replica_compare(const struct replica *r, gfn_t *first);
void replica_destroy(struct replica *r);

#endif
