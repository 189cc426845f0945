/* SPDX-License-Identifier: MIT */
/* An instruction's operand in guest memory, RAM or a device. */
#ifndef HV_OPERAND_H
#define HV_OPERAND_H

#include "guest/emulate.h"
#include "hv/runner.h"

/* Its two pages, should it cross a boundary. */
struct operand {
	gpa_t at[2];
	unsigned bytes[2];
};

/* Finds the operand of `bytes` (at most 16) bytes at linear address a, to be read or (write) written, by the guest's tables.
 * EMULATE_DONE; EMULATE_FAULT, with f; EMULATE_AGAIN.
 * VCPU_SEGMENTS must not be stale, also below. Outside sections and locks. */
enum emulate_outcome operand_locate(
	struct vcpu *v, uint64_t a, unsigned bytes, bool write, struct operand *o, struct emulate_fault *f);

/* Finds the operand of `bytes` bytes at seg:offset for the access that the instruction of exit e makes. True: *o is what the
 * guest may access so. False: a fault is queued, another flow waited for, or the guest's end; *next says which. */
bool operand_find(struct runner *r, struct exit *e, enum seg seg, uint64_t offset, unsigned bytes, bool write,
	struct operand *o, enum runner_next *next);
/* To it (write) or from it. */
void operand_copy(struct runner *r, const struct operand *o, void *value, bool write);
/* The gpa behind linear address a, for an access with these PF_ bits, as by the guest's own tables. EMULATE_FAULT: *f is for the
 * guest; EMULATE_AGAIN. Outside sections and locks. */
enum emulate_outcome operand_translate(struct vcpu *v, uint64_t a, uint32_t access, gpa_t *at, struct emulate_fault *f);
/* What EMULATE_FAULT or EMULATE_AGAIN leads to: the operand was not accessed. */
enum runner_next operand_refused(
	struct runner *r, struct exit *e, enum emulate_outcome o, const struct emulate_fault *f);
/* Memory as the instructions carried out for r's vCPU see it. */
struct emulate_memory operand_memory(struct runner *r);

#endif
