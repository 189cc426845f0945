/* SPDX-License-Identifier: MIT */
/* Every store to shadow tables, chains and heads of one guest, recorded in order, with the rules of order that each
 * must keep; and memory put back to what it was after any of them. For test_history.c, one thread, mm/ built with
 * trace.h. */
#ifndef TOOLS_HOST_HISTORY_H
#define TOOLS_HOST_HISTORY_H

#include "mm/mmu.h"

enum history_kind {
	/* replayed */
	HISTORY_SPTE,
	HISTORY_SLOT, /* of a descriptor */
	HISTORY_NEXT, /* of a descriptor */
	HISTORY_HEAD,
	HISTORY_LENGTH, /* of a chain */
	/* looked at when they come */
	HISTORY_DIRTY,
	HISTORY_STATE, /* of a shadow page */
	HISTORY_OWED,
	HISTORY_LOCK,
	HISTORY_SECTION,
	HISTORY_OTHER,
};

struct history_record {
	void *at;
	uint64_t before, after;
	struct chain *chain; /* that the store belongs to; 0: none that is known */
	enum history_kind kind;
	uint8_t bytes;
};

/* What happened, each to be seen at least once by a test that claims to have tried all. */
enum history_event {
	EVENT_INSTALL,
	EVENT_INSTALL_LARGE,
	EVENT_DROP,
	EVENT_DROP_LARGE,
	EVENT_LINK,
	EVENT_UNLINK,
	EVENT_WIDEN,
	EVENT_NARROW,
	EVENT_FIXUP,
	EVENT_PROTECT,
	EVENT_TAKEN,
	EVENT_FIRST,
	EVENT_LAST,
	EVENT_GROW_SINGLE,
	EVENT_GROW,
	EVENT_HOLE_FILLED,
	EVENT_HOLE_MADE,
	EVENT_EMPTIED,
	EVENT_FREED,
	EVENTS
};
extern const char *const history_event_name[EVENTS];

#define HISTORY_MAX 65536u
extern struct history {
	struct mmu *mmu;
	void (*section)(unsigned first); /* called after the lock is dropped, or after a store without it: records from
					    first on */
	struct history_record record[HISTORY_MAX];
	unsigned n, at;   /* recorded; memory is as after the first `at` of them */
	unsigned longest; /* sptes changed under one hold of the lock */
	unsigned violations;
	uint64_t events[EVENTS];
} history;

/* Records from now on, what was recorded before is forgotten; history_off: not any more. */
void history_on(struct mmu *m, void (*section)(unsigned first));
void history_off(void);
/* Puts memory to what it was after the first n records. */
void history_goto(unsigned n);
/* Counts and prints one breach of a rule. */
void history_breach(const char *what, uint64_t where);
/* The chain in which an spte of this value has its entry. */
struct chain *history_chain_of(uint64_t spte);

#endif
