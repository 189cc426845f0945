/* SPDX-License-Identifier: MIT */
/* A shadow page-table entry: what the hardware reads, and our software bits in the positions it ignores
 * (SDM vol. 3 table 4-20: bits 11:9 and 58:52 are ignored in every 4-level entry, and 11:9 in PAE's).
 *
 * Invariants, checked by audit:
 *   S1  A non-present spte is 0 (no address bits: L1TF).
 *   S2  LEAF size bits are 0 in non-leaf entries; SPTE_SIZE(level) in leaves; PS is set iff the size is not 4 KiB.
 *   S3  Non-leaf sptes carry W and U; rights are narrowed in leaves alone (PAE's top four are built apart).
 *   S4  MMU_WRITABLE: the guest's tables allow the write and the guest's D bit is set: a cleared W means tracking only.
 *   S5  W in a leaf implies MMU_WRITABLE.
 */
#ifndef MM_SPTE_H
#define MM_SPTE_H

#include "mm/addr.h"
#include "mm/atomic.h"

typedef atomic64 spte_t;

#define SPTE_P (1UL << 0)
#define SPTE_W (1UL << 1)
#define SPTE_U (1UL << 2)
#define SPTE_A (1UL << 5)
#define SPTE_D (1UL << 6)
#define SPTE_PS (1UL << 7)
#define SPTE_SIZE(level) ((uint64_t)(level) << 9) /* leaf of 1: 4 KiB, 2: 2 MiB, 3: 1 GiB; 0: not a leaf */
#define SPTE_SIZE_MASK SPTE_SIZE(3)
#define SPTE_MMU_WRITABLE (1UL << 11)
#define SPTE_NX (1UL << 63)
#define SPTE_PFN_MASK 0x000ffffffffff000UL

static inline hfn_t spte_hfn(uint64_t s) { return hfn((s & SPTE_PFN_MASK) >> PAGE_SHIFT); }
static inline bool spte_is_leaf(uint64_t s) { return (s & SPTE_SIZE_MASK) != 0; }
static inline unsigned spte_level(uint64_t s) { return (unsigned)((s & SPTE_SIZE_MASK) >> 9); }

/* A shadow table is an object of two pages: 512 sptes, then 512 location words. A location word holds the address of the
 * chain word (head or descriptor slot) that points back at its spte; it belongs to the chain's lock. */
#define TABLE_ENTRIES 512
struct table {
	spte_t spte[TABLE_ENTRIES];
	void *location[TABLE_ENTRIES];
};
_Static_assert(sizeof(struct table) == 2 * PAGE_SIZE, "a table is two pages");

static inline void **spte_location(spte_t *s) { return (void **)((char *)s + PAGE_SIZE); }
static inline struct table *spte_table(spte_t *s) { return (struct table *)((uintptr_t)s & ~(2 * PAGE_SIZE - 1)); }
static inline unsigned spte_index(const spte_t *s) { return (unsigned)(((uintptr_t)s & (PAGE_SIZE - 1)) / sizeof *s); }

#endif
