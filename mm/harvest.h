/* SPDX-License-Identifier: MIT */
/* What the files of the dirty log share: a round under way. Inside mm/ only; everything here belongs to who has the turn. */
#ifndef MM_HARVEST_H
#define MM_HARVEST_H

#include "mm/log.h"

struct harvest {
	struct mmu *mmu;
	unsigned slots;
	uint64_t pages;     /* taken from the bitmap */
	uint64_t protected; /* leaves that lost W to the walk of chains */
	uint64_t restarts, gaveup;
	uint64_t other;     /* bits beside frame, size, P and W that the last protected leaf had: a guess for the next */
	uint64_t tables;    /* leaf tables walked */
	uint64_t cleared;   /* leaves that lost D, or W, to the walk of tables */
	uint64_t ticks;     /* TSC ticks of the walk */
};

/* log.c: log_harvest() and log_start() for who has the turn. */
void log_harvest_held(struct mmu *m, struct log_round *r);
void log_start_held(struct mmu *m);
/* log_map.c: what a harvest has taken is on the map too. */
void log_map_draw(struct mmu *m);

/* dbit.c: walks every leaf table; each leaf loses the bits `clear` (SPTE_D, or SPTE_W | SPTE_D), a large one W too, and
 * where D was set, the dirty bits are. Outside sections and locks. */
void dbit_walk(struct harvest *h, uint64_t clear);

/* log_auto.c: how the next round should go: true by D bits. It asks the mode, and for LOG_AUTO the costs so far. */
bool log_choose(struct mmu *m);
/* What a round cost. */
void log_learn(const struct harvest *h);

#endif
