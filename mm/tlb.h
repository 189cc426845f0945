/* SPDX-License-Identifier: MIT */
/* Generations, kicks and acknowledgements (DESIGN section 8). tlb.c opens with the argument. Inside mm/ only. */
#ifndef MM_TLB_H
#define MM_TLB_H

#include "mm/mmu.h"

/* Makes every vCPU of the guest flush wholly, and waits until those in guest mode have left it or caught up; vCPUs outside
 * flush at their next entry. Covers all that was owed before the call. Outside sections and locks: it waits. */
void tlb_flush(struct mmu *m);

/* The same without the wait: for changes that a guest makes visible by its own INVLPG or CR3 load. Any context. */
void tlb_bump(struct mmu *m);

/* True when some narrowing is not yet covered by a full flush. */
bool tlb_owing(struct mmu *m);

#endif
