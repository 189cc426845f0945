/* SPDX-License-Identifier: MIT */
/* Epoch-based RCU with per-CPU state only (DESIGN section 5). See rcu.c for the argument. */
#ifndef MM_RCU_H
#define MM_RCU_H

#include "mm/atomic.h"
#include "mm/host.h"

/* Walkers (the dirty log's reader) and publishers (who make sptes writable) have separate words: a harvest's leading
 * grace period waits for publishers only. */
enum rcu_kind { RCU_PUBLISH, RCU_WALK, RCU_KINDS };
#define RCU_MASK_PUBLISH 1u
#define RCU_MASK_ALL 3u

/* Enter and leave a section of one kind; they nest. Inside: no allocation, no wait for a grace period or for another
 * CPU's acknowledgement. Not for interrupt handlers. */
void rcu_read_lock(enum rcu_kind kind);
void rcu_read_unlock(enum rcu_kind kind);
/* True inside a section of any kind on this CPU (for CHECKs). */
bool rcu_in_section(void);

/* Retire: call after the object was unlinked; returns its tag. rcu_passed(tag, mask): no reader of the kinds in mask
 * that could have seen the object is left. */
uint64_t rcu_tag(void);
bool rcu_passed(uint64_t tag, unsigned mask);
/* Wait for a grace period of the kinds in mask. Spins (depends on other CPUs alone); outside sections and locks. */
void rcu_wait(unsigned mask);

#endif
