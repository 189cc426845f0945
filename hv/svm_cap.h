/* SPDX-License-Identifier: MIT */
/* What this processor's SVM offers (AMD APM vol. 3, CPUID Fn8000_000A), and the intercepts of instructions that only
 * some processors have. */
#ifndef HV_SVM_CAP_H
#define HV_SVM_CAP_H

#include <stdbool.h>
#include <stdint.h>

struct svm_cap {
	uint32_t asids;                     /* 1 … asids-1 can be used */
	bool next_rip, flush_by_asid;       /* exits save the next RIP; TLB_FLUSH_ASID */
	bool decode_assists;                /* and exits of registers and INVLPG their operand; with next_rip alone */
	bool xsetbv_exits;                  /* its intercept works */
	bool interrupts_twice;              /* an injected interrupt may come once more: svm_state.c */
	/* QEMU 7.2 has LTR take a null selector, and TR hold a TSS that is not busy; it ends itself at a change of privilege with
	 * the one or, in TR, a busy one. There LTR is interpreted, and the VMCB has no busy TSS. */
	bool tr_unchecked;
	unsigned phys_bits;                 /* the CPU's MAXPHYADDR */
	uint32_t intercept2, intercept3;    /* of instructions that guests do not have, where the processor does */
};

/* All CPUs have the same; read once by the boot processor's preflight. */
extern struct svm_cap svm_cap;

/* struct backend's preflight() and preflight_cpu(). */
const char *svm_preflight(void);
bool svm_preflight_cpu(void);

#endif
