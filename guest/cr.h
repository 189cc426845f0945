/* SPDX-License-Identifier: MIT */
/* Writes to the control registers, EFER and XCR0 as a guest's instructions make them: the architecture's checks, then
 * the change of paging. */
#ifndef GUEST_CR_H
#define GUEST_CR_H

#include "guest/vcpu.h"

/* CR0 and CR4 bits that the MMU does not look at. */
#define CR0_MP (1UL << 1)
#define CR0_EM (1UL << 2)
#define CR0_TS (1UL << 3)
#define CR0_ET (1UL << 4)
#define CR0_NE (1UL << 5)
#define CR0_AM (1UL << 18)
#define CR0_NW (1UL << 29)
#define CR0_CD (1UL << 30)
#define CR4_OSXSAVE (1UL << 18)
#define EFER_SCE (1UL << 0)

enum cr_outcome {
	CR_DONE,
	CR_FLUSH, /* done; the backend's flush may come at once, then mmu_flushed(). Of loads of CR3 alone */
	CR_FAULT, /* #GP(0) */
	CR_RETRY, /* nothing was changed: run the instruction again later */
	CR_END,   /* this guest cannot go on: *reason names why */
};

/* Each leaves v as it was unless it returns CR_DONE or CR_FLUSH. VCPU_CONTROL must not be stale (but for CR3, CR8 and XCR0), for
 * CR0 VCPU_SEGMENTS neither where PG changes, or PE becomes 1. A change of CR0.PE may set v->interpret or clear it. *reason is a string constant. Outside sections and locks. (SDM vol. 3, 2.5, 4.1.2, 9.8.5;
 * vol. 2, MOV CR, WRMSR.) */
enum cr_outcome cr_write_cr0(struct vcpu *v, uint64_t value, const char **reason);
enum cr_outcome cr_write_cr3(struct vcpu *v, uint64_t value, const char **reason);
enum cr_outcome cr_write_cr4(struct vcpu *v, uint64_t value, const char **reason);
enum cr_outcome cr_write_cr8(struct vcpu *v, uint64_t value);
enum cr_outcome cr_write_efer(struct vcpu *v, uint64_t value, const char **reason);
/* All of them as INIT leaves them (SDM vol. 3, table 9-1): real mode, CR0.CD and NW as they were. Never CR_FAULT. */
enum cr_outcome cr_reset(struct vcpu *v, const char **reason);
/* XSETBV with ECX = index; the caller checked CPL and CR4.OSXSAVE. */
enum cr_outcome cr_write_xcr(struct vcpu *v, uint32_t index, uint64_t value);

#endif
