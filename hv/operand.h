/* SPDX-License-Identifier: MIT */
/* An instruction's operand in guest memory. */
#ifndef HV_OPERAND_H
#define HV_OPERAND_H

#include "hv/runner.h"

/* Its two pages, should it cross a boundary. */
struct operand {
	gpa_t at[2];
	unsigned bytes[2];
};

/* Finds the operand of `bytes` bytes (at most 4) at seg:offset for the access that the instruction of exit e makes. True:
 * *o is RAM that the guest may access so. False: a fault is queued, another flow waited for, or the guest's end; *next says
 * which. VCPU_SEGMENTS must not be stale. Outside sections and locks. */
bool operand_find(struct runner *r, struct exit *e, enum seg seg, uint64_t offset, unsigned bytes, bool write,
	struct operand *o, enum runner_next *next);
/* To it (write) or from it. */
void operand_copy(struct mmu *m, const struct operand *o, uint32_t *value, bool write);

#endif
