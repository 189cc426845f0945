/* SPDX-License-Identifier: MIT */
/* The MSRs a guest has, as a table. What is not in it does not exist: #GP, counted. */
#ifndef GUEST_MSR_H
#define GUEST_MSR_H

#include "guest/cr.h"

/* Architectural MSRs (SDM vol. 4, table 2-2). */
#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_BIOS_SIGN_ID 0x8b
#define MSR_MTRRCAP 0xfe
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_MCG_CAP 0x179
#define MSR_MCG_STATUS 0x17a
#define MSR_MISC_ENABLE 0x1a0
#define MSR_PAT 0x277
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103

#define MSR_INT_PENDING 0xc0010055 /* AMD: Interrupt Pending and CMP-Halt */

/* RDMSR. False: #GP(0). VCPU_CONTROL must not be stale, nor VCPU_SEGMENTS for FS_BASE, GS_BASE and
 * KERNEL_GS_BASE; also for the next. */
bool msr_read(struct vcpu *v, uint32_t index, uint64_t *value);
/* WRMSR. CR_FAULT: #GP(0). Outside sections and locks. */
enum cr_outcome msr_write(struct vcpu *v, uint32_t index, uint64_t value, const char **reason);

#endif
