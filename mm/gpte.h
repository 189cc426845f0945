/* SPDX-License-Identifier: MIT */
/* Guest page-table entries, four-level paging (SDM vol. 3, 4.5). */
#ifndef MM_GPTE_H
#define MM_GPTE_H

#include "mm/addr.h"

#define GPTE_P (1UL << 0)
#define GPTE_W (1UL << 1)
#define GPTE_U (1UL << 2)
#define GPTE_A (1UL << 5)
#define GPTE_D (1UL << 6)
#define GPTE_PS (1UL << 7)
#define GPTE_NX (1UL << 63)
#define GPTE_ADDRESS 0x000ffffffffff000UL

/* First page of what an entry of this level maps or links. */
static inline gfn_t gpte_gfn(uint64_t g) { return gfn((g & GPTE_ADDRESS) >> PAGE_SHIFT); }
/* True when the entry maps memory (not a table). */
static inline bool gpte_is_leaf(uint64_t g, unsigned level) { return level == 1 || (level < 4 && (g & GPTE_PS)); }
/* Pages that one entry of `level` covers. */
static inline uint64_t gpte_pages(unsigned level) { return 1UL << (9 * (level - 1)); }
static inline unsigned gpte_index(gva_t a, unsigned level) { return (a.v >> (3 + 9 * level)) & 511; }
static inline gfn_t gpte_leaf_gfn(uint64_t g, unsigned level) { return gfn(gpte_gfn(g).v & ~(gpte_pages(level) - 1)); }

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
