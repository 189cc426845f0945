/* SPDX-License-Identifier: MIT */
/* What the files of the local APIC share: its state's meaning, not its registers' addresses. On the owner's CPU, but errors. */
#ifndef GUEST_LAPIC_INSIDE_H
#define GUEST_LAPIC_INSIDE_H

#include "guest/vm.h"

#define FIRST_VECTOR 16 /* below it no interrupt may be requested */

#define SVR_ENABLED (1u << 8)

#define LVT_VECTOR 0xffu
#define LVT_DELIVERY_SHIFT 8
#define LVT_MASKED (1u << 16)
#define TIMER_MODE (3u << 17)
#define TIMER_PERIODIC (1u << 17)
#define TIMER_DEADLINE (2u << 17)

/* Errors, as ESR shows them. */
#define ESR_SENT_ILLEGAL (1u << 5)
#define ESR_RECEIVED_ILLEGAL (1u << 6)
#define ESR_NO_REGISTER (1u << 7)

static inline bool lapic_x2apic(const struct lapic *l)
{
	return load_relaxed(&l->base) & LAPIC_BASE_X2APIC;
}
static inline bool lapic_enabled(const struct lapic *l)
{
	return load_relaxed(&l->base) & LAPIC_BASE_ENABLED && load_relaxed(&l->svr) & SVR_ENABLED;
}
/* There is something new for v's run loop, which is this CPU's. */
static inline void lapic_notice(struct vcpu *v)
{
	store_relaxed(&v->attention, 1);
}
/* The processor's priority may be lower now: a request that it held back may not have to wait any longer. */
static inline void lapic_lowered(struct vcpu *v)
{
	if (lapic_pending(v) >= 0)
		lapic_notice(v);
}
static inline uint32_t lapic_lvt(const struct lapic *l, enum lapic_lvt which)
{
	return load_relaxed(&l->lvt[which]);
}

/* The processor's priority: the task's, or that of what is in service (10.8.3.1). */
uint32_t lapic_priority(const struct lapic *l);
/* An ESR_ bit, and the interrupt that the first since the ESR was written may cause (10.5.3). Any CPU. */
void lapic_error(struct vcpu *v, uint32_t bit);
/* The end of the highest interrupt in service. */
void lapic_eoi(struct vcpu *v);
/* No more than that: takes it out of service, if there is one. Its vector, or -1. */
int lapic_end(struct vcpu *v);

/* lapic_timer.c: after a change of its registers, from what they say: when does it fire? */
void lapic_timer_set(struct vcpu *v);
/* The count that is left. */
uint32_t lapic_timer_count(const struct lapic *l, uint64_t now);
void lapic_timer_set_initial(struct vcpu *v, uint32_t value);
void lapic_timer_set_divide(struct vcpu *v, uint32_t value);
void lapic_timer_set_lvt(struct vcpu *v, uint32_t value);

#endif
