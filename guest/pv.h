/* SPDX-License-Identifier: MIT */
/* The paravirtual interface, KVM's (Linux, Documentation/virt/kvm/x86/cpuid.rst, msr.rst, hypercalls.rst), so that guests find
 * what they know. pv= tells which parts a guest has (config.h):
 *
 *   clock  a clock of nanoseconds in the guest's memory, computed from its TSC; the date at which it started
 *   eoi    the end of an interrupt is a bit in memory that the guest clears, where nobody need know at once
 *   steal  how long a vCPU could have run and did not; whether it runs now
 *   tlb    a vCPU that does not run is told to flush its TLB by a bit in memory, instead of being interrupted
 *   ipi    one hypercall sends an interrupt to many vCPUs
 *
 * All of it is in the guest's own memory, written as by mmu_write(). Memory that is no RAM is refused when it is named; a part
 * whose memory has gone since does nothing. */
#ifndef GUEST_PV_H
#define GUEST_PV_H

#include <stdbool.h>
#include <stdint.h>
#include "mm/atomic.h"

struct cpuid_regs;
struct vcpu;
struct vm;

/* cpuid.rst */
#define PV_CPUID_SIGNATURE 0x40000100u
#define PV_CPUID_FEATURES 0x40000101u
enum pv_feature {
	PV_FEATURE_NOP_IO_DELAY = 1,
	PV_FEATURE_CLOCK = 3, /* by the MSRs below */
	PV_FEATURE_STEAL_TIME = 5,
	PV_FEATURE_EOI = 6,
	PV_FEATURE_TLB_FLUSH = 9,
	PV_FEATURE_SEND_IPI = 11,
	PV_FEATURE_CLOCK_STABLE = 24, /* and monotonic across vCPUs */
};

/* msr.rst */
#define PV_MSR_FIRST 0x4b564d00u
#define PV_MSR_WALL_CLOCK 0x4b564d00u
#define PV_MSR_SYSTEM_TIME 0x4b564d01u
#define PV_MSR_STEAL_TIME 0x4b564d03u
#define PV_MSR_EOI 0x4b564d04u
#define PV_MSR_LAST 0x4b564dffu
#define PV_MSR_ENABLE 1UL

/* At the address written to PV_MSR_WALL_CLOCK: the date when the clock was 0. */
struct pv_wall {
	uint32_t version, seconds, nanoseconds;
};
/* At PV_MSR_SYSTEM_TIME's. version is odd while the rest changes. Nanoseconds at a value t of this vCPU's TSC:
 * system_time + ((t - tsc_timestamp) shifted left by tsc_shift, which may be negative) * tsc_to_system_mul / 2^32. */
struct pv_clock {
	uint32_t version, zero;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t zeros[2];
};
#define PV_CLOCK_STABLE (1u << 0)  /* all vCPUs' clocks are one, whosever TSC is read */
#define PV_CLOCK_STOPPED (1u << 1) /* the guest stood still; cleared by the guest */

/* At PV_MSR_STEAL_TIME's, 64 bytes. */
struct pv_steal {
	uint64_t nanoseconds;
	uint32_t version, flags;
	uint8_t preempted;
	uint8_t zeros[47];
};
#define PV_PREEMPTED (1u << 0) /* it does not run */
#define PV_FLUSH_TLB (1u << 1) /* set by another vCPU: it is to flush before it runs */

/* At PV_MSR_EOI's, 4 bytes. */
#define PV_EOI_OFFERED (1u << 0)

/* hypercalls.rst: RAX = number, RBX, RCX, RDX, RSI; RAX = result. */
#define PV_CALL_SEND_IPI 10
#define PV_CALL_EPERM 1
#define PV_CALL_EINVAL 22
#define PV_CALL_ENOSYS 1000

/* A vCPU's side. Its CPU's, but for the atomics. */
struct pv_vcpu {
	uint64_t clock, steal, eoi; /* the MSRs: an address and PV_MSR_ENABLE, or 0 */
	bool slices;                /* clock or steal is not 0: pv_slice_begin() and pv_slice_end() have work */
	bool eoi_offered;           /* pv_eoi.c */
	bool stopped;               /* it stood still since its clock was written */
	atomic32 clock_due;         /* its clock is to be written before it runs. Any CPU's */
	uint64_t waits;             /* TSC since when it could run and does not; 0: it runs, or could not */
	uint64_t stolen, told;      /* TSC ticks spent so since it asked; and told to the guest */
};

/* The leaves of CPUID from PV_CPUID_SIGNATURE on; zeros where there are none. */
void pv_cpuid(const struct vcpu *v, uint32_t leaf, struct cpuid_regs *r);

/* MSRs PV_MSR_FIRST … PV_MSR_LAST. False: #GP(0), nothing has happened. On v's CPU, outside sections and locks. */
bool pv_msr_read(const struct vcpu *v, uint32_t index, uint64_t *value);
bool pv_msr_write(struct vcpu *v, uint32_t index, uint64_t value);
/* INIT: everything is off. On its CPU, or before it runs. */
void pv_reset(struct vcpu *v);
/* slices, after a change of the MSRs. */
void pv_note(struct vcpu *v);

/* Around v's time in the guest, when v->pv.slices; outside sections and locks. */
void pv_slice_begin(struct vcpu *v);
void pv_slice_end(struct vcpu *v);
/* v, which did not run, could do so from `now` on, TSC ticks. Any number of times. */
void pv_waits(struct vcpu *v, uint64_t now);
/* gdb has had it stand still. Its clock has gone on, and says so. */
void pv_stood_still(struct vcpu *v);

/* pv_clock.c: of a TSC of hz ticks a second. The relative error is below 2^-32. */
void pv_clock_scale(uint64_t hz, uint32_t *mul, int8_t *shift);
/* Writes v's clock; false: no RAM there. */
bool pv_clock_write(struct vcpu *v);
bool pv_wall_write(struct vcpu *v, uint64_t at);
/* v's TSC has been set: clocks of other vCPUs may no longer be read by it. */
void pv_tsc_moved(struct vcpu *v);

/* pv_steal.c: the MSR, and a slice's begin and end when it is on. */
bool pv_steal_set(struct vcpu *v, uint64_t value);
void pv_steal_begin(struct vcpu *v);
void pv_steal_end(struct vcpu *v);

/* pv_eoi.c: before v's local APIC is looked at, if v->pv.eoi_offered; */
void pv_eoi_sync(struct vcpu *v);
/* an end by the APIC's register, a reset: the bit is taken back; */
void pv_eoi_withdraw(struct vcpu *v);
/* after all was looked at for the next entry, if v->pv.eoi: the bit is offered, or taken back. */
void pv_eoi_settle(struct vcpu *v);

/* pv_call.c: VMCALL or VMMCALL, but for RIP. False: #UD, this guest has none. VCPU_SEGMENTS and VCPU_CONTROL must not be stale. */
bool pv_call(struct vcpu *v);

#endif
