/* SPDX-License-Identifier: MIT */
/* Epoch-based RCU with per-CPU state only (DESIGN section 5). See rcu.c for the argument. */
#ifndef MM_RCU_H
#define MM_RCU_H

#include "mm/atomic.h"
#include "mm/host.h"
#include "mm/park.h"

/* Walkers (the dirty log's reader) and publishers (who make sptes writable) have separate words: a harvest's leading
 * grace period waits for publishers only. */
enum rcu_kind { RCU_PUBLISH, RCU_WALK, RCU_KINDS };
#define RCU_MASK_PUBLISH 1u
#define RCU_MASK_ALL 3u

/* One CPU's. The words are written by that CPU alone and read by any; nest belongs to the CPU. */
struct rcu_cpu {
	atomic64 word[RCU_KINDS]; /* 0: no section of the kind; else the epoch at its entry */
	unsigned nest[RCU_KINDS];
} __attribute__((aligned(64)));

extern struct rcu_cpu rcu_cpus[HOST_MAX_CPUS];
extern atomic64 rcu_epoch; /* from 1 */

/* Enter and leave a section of one kind; they nest. Inside: no allocation, no wait for a grace period or for another
 * CPU's acknowledgement. Not for interrupt handlers. Inline: every shadow fault passes here. */
static inline void rcu_read_lock(enum rcu_kind kind)
{
	struct rcu_cpu *r = &rcu_cpus[host_cpu()];

	if (r->nest[kind]++ == 0) {
		/* acquire: a value >= a tag comes with the unlinks before that tag's fetch_add in rcu_tag */
		uint64_t epoch = load_acquire(&rcu_epoch);

		park("rcu-lock");
		/* locked RMW: store the word, then load links; partner: rcu_tag, then the loads in rcu_passed */
		xchg_seq(&r->word[kind], epoch);
	}
}

static inline void rcu_read_unlock(enum rcu_kind kind)
{
	struct rcu_cpu *r = &rcu_cpus[host_cpu()];

	CHECK(r->nest[kind] > 0);
	if (--r->nest[kind] == 0)
		/* release: all of the section before it; partner: the load in rcu_passed */
		store_release(&r->word[kind], 0);
}

/* True inside a section of any kind on this CPU (for CHECKs); _of: for who knows its number already. */
static inline bool rcu_in_section_of(unsigned cpu)
{
	return rcu_cpus[cpu].nest[RCU_PUBLISH] | rcu_cpus[cpu].nest[RCU_WALK];
}

static inline bool rcu_in_section(void)
{
	return rcu_in_section_of(host_cpu());
}

/* Retire: call after the object was unlinked; returns its tag. rcu_passed(tag, mask): no reader of the kinds in mask
 * that could have seen the object is left. */
uint64_t rcu_tag(void);
bool rcu_passed(uint64_t tag, unsigned mask);
/* Wait for a grace period of the kinds in mask. Spins (depends on other CPUs alone); outside sections and locks. */
void rcu_wait(unsigned mask);

#endif
