/* SPDX-License-Identifier: MIT */
/* The dirty log of one guest and its lockless walker (DESIGN section 7). log.c opens with the argument. */
#ifndef MM_LOG_H
#define MM_LOG_H

#include "mm/mmu.h"

/* protected: leaves that lost W; cleared: leaves that lost D. */
struct log_round { uint64_t pages, protected, cleared, restarts, gaveup; };

enum log_outcome {
	LOG_DONE,
	LOG_BUSY, /* another harvest has the turn: back to the run loop, then again */
	LOG_OFF,  /* not started */
};

/* Test options, hypervisor-wide: a walker that stops for so many TSC ticks between taking bits and protecting
 * (walker-stop=), and one that skips a page in `skip` (walker-skip=; 0 = never). Set before any guest runs. */
struct log_test { uint64_t stop_ticks, skip; };
extern struct log_test log_test;

/* How the guest is logged; LOG_WP if never called. Before it runs and before the log is started. */
void log_set_mode(struct mmu *m, enum log_mode mode);

/* The turn that harvests of one guest take, and whoever needs them to stand still. Never waited for: false is LOG_BUSY. */
bool log_turn_take(struct mmu *m);
void log_turn_end(struct mmu *m);

/* Starts logging for one more user: O(words of bitmap), all pages count as dirty. LOG_BUSY or LOG_DONE. */
enum log_outcome log_start(struct mmu *m);
enum log_outcome log_stop(struct mmu *m);

/* One complete round: bits taken, mappings protected, TLBs flushed and acknowledged; what it took is added to SLOT_COPY and
 * SLOT_SINCE. Takes no lock that a vCPU takes. Outside sections and locks, from any CPU. r may be 0. */
enum log_outcome log_harvest(struct mmu *m, struct log_round *r);

/* The test device's view: commands 1, 2, 3 and the query of a gfn. */
enum log_outcome log_view_start(struct mmu *m);
enum log_outcome log_view_harvest(struct mmu *m, uint64_t *pages);
enum log_outcome log_view_stop(struct mmu *m);
bool log_view_test(struct mmu *m, gfn_t f);

/* The map: what was written since its last harvest, for a person (slot_map_count). It is a user of the log while it is on. A start
 * harvests too, for all pages count as dirty at first; if it is on, that is all it does. log_map_harvest: *pages were written since
 * the one before; the map begins anew. As log_harvest. */
enum log_outcome log_map_start(struct mmu *m);
enum log_outcome log_map_harvest(struct mmu *m, struct log_round *r, uint64_t *pages);
enum log_outcome log_map_stop(struct mmu *m);

#endif
