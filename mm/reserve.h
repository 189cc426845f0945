/* SPDX-License-Identifier: MIT */
/* A vCPU's reserve: what one try of the fault path may need, taken before any lock. Inside mm/ only. */
#ifndef MM_RESERVE_H
#define MM_RESERVE_H

#include "mm/mmu.h"

#define RESERVE_TABLES 4  /* one path of direct tables, or one guest table */
#define RESERVE_PARENTS 4 /* one link a level */
#define RESERVE_RMAP 1

bool reserve_fill(struct mmu_vcpu *v);

/* False when memory is out. Outside sections and locks. */
static inline bool reserve(struct mmu_vcpu *v)
{
	if (v->tables_n >= RESERVE_TABLES && v->parents.n >= RESERVE_PARENTS && v->rmap.n >= RESERVE_RMAP)
		return true;
	return reserve_fill(v);
}

#endif
