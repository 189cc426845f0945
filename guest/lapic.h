/* SPDX-License-Identifier: MIT */
/* A vCPU's local APIC, as registers of a page at 0xfee00000 (xAPIC) or as MSRs 0x800 … 0x83f (x2APIC). SDM vol. 3, chapter 10.
 *
 * What other CPUs write to it are atomics: requests (irr, tmr), errors, and the notice that there is something new,
 * vcpu.attention. All else is its vCPU's own, read by senders where a message may match (base, tpr, svr, ldr, dfr), or where an
 * error or the 8259A's output leads (lvt).
 *
 *   sender: irr |= vector, then attention = 1; the run loop is asked for a turn where it was 0
 *   owner:  attention = 0, then looks at irr
 *
 * so that a request is seen by the look that its notice leads to, or by one before it. */
#ifndef GUEST_LAPIC_H
#define GUEST_LAPIC_H

#include "guest/apic.h"
#include "mm/atomic.h"

struct vcpu;
struct vm;

#define LAPIC_BASE 0xfee00000UL
#define LAPIC_BYTES 0x1000UL
#define LAPIC_MSR_FIRST 0x800u
#define LAPIC_MSR_LAST 0x8ffu
#define LAPIC_NEVER UINT64_MAX
#define LAPIC_WORDS 8 /* of 32 vectors */

/* IA32_APIC_BASE. */
#define LAPIC_BASE_BSP (1UL << 8)
#define LAPIC_BASE_X2APIC (1UL << 10)
#define LAPIC_BASE_ENABLED (1UL << 11)

enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_COUNTERS, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };

struct lapic {
	/* any CPU's */
	atomic32 irr[LAPIC_WORDS], tmr[LAPIC_WORDS];
	atomic32 errors; /* found since the ESR was last written */
	/* the owner's, read by senders */
	atomic64 base; /* IA32_APIC_BASE */
	atomic32 tpr, svr, ldr, dfr;
	atomic32 lvt[LVTS];
	/* the owner's */
	uint32_t isr[LAPIC_WORDS];
	uint32_t esr; /* as read */
	uint32_t icr_high, icr_low;
	uint32_t initial, divide;
	bool counting;     /* down from `initial`; a one-shot that has fired does not */
	uint64_t since;    /* TSC of the host at which the present period began */
	uint64_t deadline; /* of the guest's TSC; 0: disarmed */
	uint64_t due;      /* TSC of the host at which the timer fires; LAPIC_NEVER */
	uint64_t fired;    /* times it did */
	uint64_t bad;      /* accesses to registers that it does not have */
};

/* As a PC's firmware leaves it: enabled, and on the boot processor LINT0 takes the 8259A's interrupts and LINT1 NMIs. */
void lapic_init(struct vcpu *v);
/* INIT: as after reset, but for the id and whether it is enabled at all (SDM vol. 3, 10.4.7.3). */
void lapic_reset(struct vcpu *v);

/* An access of the page, as mmio_handler; device is not used. On v's CPU. */
void lapic_mmio(void *device, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value);
/* MSRs 0x800 …; IA32_APIC_BASE, IA32_TSC_DEADLINE. False: #GP(0), nothing has happened. On v's CPU. */
bool lapic_msr_read(struct vcpu *v, uint32_t index, uint64_t *value);
bool lapic_msr_write(struct vcpu *v, uint32_t index, uint64_t value);
bool lapic_set_base(struct vcpu *v, uint64_t value);
uint64_t lapic_deadline(const struct vcpu *v);
void lapic_set_deadline(struct vcpu *v, uint64_t guest_tsc);
/* CR8: the upper half of the task priority, 0 … 15. */
uint64_t lapic_cr8(const struct vcpu *v);
void lapic_set_cr8(struct vcpu *v, uint64_t value);
/* v's tsc_offset has changed: a deadline is at another time of the host. */
void lapic_tsc_moved(struct vcpu *v);

/* Lets the timer fire when it is due; returns the TSC at which to call next, LAPIC_NEVER: no need. However late it is called, and
 * however short the period, one interrupt becomes pending, and the next call is at least 50 microseconds away. v's CPU. */
uint64_t lapic_tick(struct vcpu *v, uint64_t now);

/* The vector to be delivered now, or -1: the highest one requested, if its class is above the processor's priority. v's CPU. */
int lapic_pending(const struct vcpu *v);
/* That vector is delivered: from requested to in service. */
void lapic_accept(struct vcpu *v, uint8_t vector);
/* Is one interrupt in service, by an edge, and none requested, so that nobody need know when it ends? v's CPU. */
bool lapic_eoi_may_wait(const struct vcpu *v);
/* Does the 8259A's output reach this vCPU? */
bool lapic_takes_extint(const struct vcpu *v);

/* A vector is requested, of an APIC that is enabled; any CPU. One below 16 is an error that the receiver finds. */
void lapic_request(struct vcpu *v, uint8_t vector, bool level);

/* lapic_bus.c: a message to all that match it. Any context but an interrupt handler, bus.lock held or not. False: nobody takes it. */
bool lapic_send(struct vm *vm, const struct apic_message *m);
/* The same to all vCPUs but one, which may be 0. */
void lapic_send_all(struct vm *vm, const struct vcpu *but, const struct apic_message *m);

#endif
