/* SPDX-License-Identifier: MIT */
/* Guest page-table entries in every paging mode (SDM vol. 3, 4.3 to 4.5). */
#ifndef MM_GPTE_H
#define MM_GPTE_H

#include "mm/addr.h"
#include "mm/atomic.h"

enum paging_mode {
	PAGING_OFF,
	PAGING_LONG, /* four levels */
	PAGING_PAE,  /* two levels below four PDPTE registers */
	PAGING_32,   /* two levels of 1024 entries of 32 bits */
	PAGING_PSE,  /* the same with pages of 4 MiB */
};

#define GPTE_P (1UL << 0)
#define GPTE_W (1UL << 1)
#define GPTE_U (1UL << 2)
#define GPTE_A (1UL << 5)
#define GPTE_D (1UL << 6)
#define GPTE_PS (1UL << 7)
#define GPTE_NX (1UL << 63)
#define GPTE_ADDRESS 0x000ffffffffff000UL

/* Tables of 1024 entries of 32 bits. */
static inline bool gpte_narrow(enum paging_mode mode) { return mode >= PAGING_32; }

/* An entry as it stands, a narrow one in the low half: its bits lie where a wide one's do, but for the address of a 4 MiB
 * page. Acquire: the partner is the guest. */
static inline uint64_t gpte_load(const void *at, bool narrow)
{
	return narrow ? load_acquire((atomic32 *)at) : load_acquire((atomic64 *)at);
}
/* Replaces *old by set; false, with what was found in *old, when it was another. */
static inline bool gpte_cmpxchg(void *at, bool narrow, uint64_t *old, uint64_t set)
{
	uint32_t low = (uint32_t)*old;
	bool done;

	if (!narrow)
		return cmpxchg_seq((atomic64 *)at, old, set);
	done = cmpxchg_seq((atomic32 *)at, &low, (uint32_t)set);
	*old = low;
	return done;
}

/* First page of what an entry of this level maps or links. */
static inline gfn_t gpte_gfn(uint64_t g) { return gfn((g & GPTE_ADDRESS) >> PAGE_SHIFT); }
/* True when the entry maps memory (not a table). */
static inline bool gpte_is_leaf(uint64_t g, unsigned level, enum paging_mode mode)
{
	return level == 1 || (level < 4 && (g & GPTE_PS) && mode != PAGING_32);
}
/* Pages that one entry of `level` of a wide table covers, and one of ours. */
static inline uint64_t gpte_pages(unsigned level) { return 1UL << (9 * (level - 1)); }
static inline unsigned gpte_index(gva_t a, unsigned level) { return (a.v >> (3 + 9 * level)) & 511; }
static inline gfn_t gpte_leaf_gfn(uint64_t g, unsigned level) { return gfn(gpte_gfn(g).v & ~(gpte_pages(level) - 1)); }

/* The same of narrow tables. A 4 MiB page's address: bits 31:22, and 20:13 for bits 39:32 (PSE-36). */
static inline uint64_t gpte_narrow_pages(unsigned level) { return 1UL << (10 * (level - 1)); }
static inline unsigned gpte_narrow_index(gva_t a, unsigned level) { return (a.v >> (2 + 10 * level)) & 1023; }
static inline gfn_t gpte_narrow_leaf_gfn(uint64_t g, unsigned level)
{
	return level == 1 ? gpte_gfn(g) : gfn((g >> 22 & 0x3ff) << 10 | (g >> 13 & 0xff) << 20);
}

/* Access rights, ANDed over the levels of a walk. */
#define ACC_W 1u
#define ACC_U 2u
#define ACC_X 4u
#define ACC_ALL 7u

static inline unsigned gpte_access(uint64_t g, bool nxe)
{
	/* W and U are neighbours in both */
	return (g >> 1 & (ACC_W | ACC_U)) | (nxe && (g & GPTE_NX) ? 0 : ACC_X);
}
_Static_assert(GPTE_W >> 1 == ACC_W && GPTE_U >> 1 == ACC_U, "gpte_access shifts them");

#endif
