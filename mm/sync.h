/* SPDX-License-Identifier: MIT */
/* Keeping shadows in step with the guest's tables: protecting a table, and reading it again. Inside mm/ only. */
#ifndef MM_SYNC_H
#define MM_SYNC_H

#include "mm/shadow.h"

/* Finishes a BUILDING page that the caller made: protects its frame, collects the acknowledgements, publishes. Drops the
 * builder's pin. MMU_RESUME: it is LIVE (or was killed meanwhile: look again); MMU_RETRY: given up. Outside locks. */
enum mmu_outcome sync_build(struct shadow *s);

/* Brings every unsync page in step and protects it again. MMU_RESUME or MMU_RETRY. Outside locks and sections. */
enum mmu_outcome sync_all(struct mmu *m);

/* The same where a vCPU is out of the guest and flushes before it enters again, and the tables that it will go by are those of
 * its registers: pages that are hot are brought in step, and stay unsync. */
enum mmu_outcome sync_load(struct mmu *m);

/* Reads the entries of a LIVE page again: what the guest's table does not give any more goes, what it gives is widened. In
 * steps. Outside locks and sections. */
void reread_table(struct shadow *s);

#endif
