/* SPDX-License-Identifier: MIT */
/* The x87, SSE and AVX registers. The hypervisor uses none of them, so they are switched with the vCPU, not at exits.
 */
#ifndef HV_FPU_H
#define HV_FPU_H

#include "guest/cpuid.h"

/* Lets this CPU save and restore what guests may use. */
void fpu_cpu_on(const struct cpuid_model *m);
/* Gives v its area, in the state after reset. False: out of memory. */
bool fpu_create(struct vcpu *v);
void fpu_destroy(struct vcpu *v);
/* This CPU's registers to and from v's area; fpu_load leaves XCR0 = v->xcr0. v has CR0.TS and EM of its own: the
 * hardware's are clear here. */
void fpu_save(struct vcpu *v);
void fpu_load(const struct vcpu *v);
/* XCR0 = v->xcr0. */
void fpu_set_xcr0(const struct vcpu *v);

#endif
