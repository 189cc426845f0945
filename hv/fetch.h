/* SPDX-License-Identifier: MIT */
/* The bytes of the instruction at a vCPU's RIP. */
#ifndef HV_FETCH_H
#define HV_FETCH_H

#include "guest/insn.h"

struct fetch {
	uint8_t bytes[INSN_BYTES_MAX];
	unsigned n;	     /* read so far */
	struct mmu_fault f;  /* where it did not go on */
};

/* The linear address of the next byte. VCPU_SEGMENTS must not be stale, also below. */
uint64_t fetch_at(const struct vcpu *v, const struct fetch *x);
/* Reads on, to the end of the page or of the longest instruction, as an instruction fetch of the guest's. MMU_RESUME: there
 * are more; MMU_INJECT: x->f, as fetches fault; MMU_RETRY; MMU_MMIO: they are at x->f.gpa,
 * where there is no memory. fetch_at is canonical. Outside sections and locks. */
enum mmu_outcome fetch_more(struct vcpu *v, struct fetch *x);

#endif
