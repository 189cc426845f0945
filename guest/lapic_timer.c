/* SPDX-License-Identifier: MIT */
/* The local APIC's timer. Nothing counts: what it shows is computed from the time that has passed (SDM vol. 3, 10.5.4). */
#include "guest/lapic_inside.h"

#define TIMER_SHIFT 2    /* its clock is a quarter of the TSC's */
#define SHORTEST_US 50UL /* between two interrupts */

static unsigned timer_shift(const struct lapic *l)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return TIMER_SHIFT + (code == 7 ? 0 : code + 1);
}

static uint64_t shortest(void)
{
	return host_clock_hz() / 1000000 * SHORTEST_US;
}

void lapic_timer_set(struct vcpu *v)
{
	struct lapic *l = &v->lapic;
	uint64_t host;

	l->due = LAPIC_NEVER;
	if ((l->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE) {
		host = l->deadline - v->tsc_offset;
		if (l->deadline) /* where the guest's TSC has wrapped below it, it has passed */
			l->due = l->deadline <= host_clock() + v->tsc_offset ? 0 : host;
	} else if (l->initial) {
		l->due = l->since + ((uint64_t)l->initial << timer_shift(l));
	}
}

uint32_t lapic_timer_count(const struct lapic *l, uint64_t now)
{
	uint64_t passed = (now - l->since) >> timer_shift(l);

	if (!l->initial || (l->lvt[LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE)
		return 0;
	if (l->lvt[LVT_TIMER] & TIMER_PERIODIC)
		return l->initial - (uint32_t)(passed % l->initial);
	return passed < l->initial ? l->initial - (uint32_t)passed : 0;
}

uint64_t lapic_tick(struct vcpu *v, uint64_t now)
{
	struct lapic *l = &v->lapic;
	uint32_t lvt = l->lvt[LVT_TIMER];
	uint64_t period;

	if (now < l->due)
		return l->due;
	l->fired++;
	if (!(lvt & LVT_MASKED))
		lapic_request(v, lvt & LVT_VECTOR, false);
	switch (lvt & TIMER_MODE) {
	case TIMER_PERIODIC:
		period = (uint64_t)l->initial << timer_shift(l);
		l->since += (now - l->since) / period * period;
		l->due = l->since + period;
		if (l->due < now + shortest())
			l->due = now + shortest();
		break;
	default:
		l->initial = 0;
		l->deadline = 0;
		l->due = LAPIC_NEVER;
		break;
	}
	return l->due;
}

uint64_t lapic_deadline(const struct vcpu *v)
{
	const struct lapic *l = &v->lapic;

	/* Once it has passed it reads as zero, even if its interrupt is still to be requested. */
	return l->deadline <= host_clock() + v->tsc_offset ? 0 : l->deadline;
}

void lapic_set_deadline(struct vcpu *v, uint64_t guest_tsc)
{
	struct lapic *l = &v->lapic;

	if ((l->lvt[LVT_TIMER] & TIMER_MODE) != TIMER_DEADLINE)
		return;
	l->deadline = guest_tsc;
	lapic_timer_set(v);
	lapic_tick(v, host_clock());
}

void lapic_tsc_moved(struct vcpu *v)
{
	if ((v->lapic.lvt[LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE)
		lapic_timer_set(v);
}

void lapic_timer_set_initial(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;

	if ((l->lvt[LVT_TIMER] & TIMER_MODE) >= TIMER_DEADLINE)
		return;
	l->initial = value;
	l->since = host_clock();
	lapic_timer_set(v);
}

void lapic_timer_set_divide(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;
	uint64_t now = host_clock();
	uint64_t left = lapic_timer_count(l, now);

	l->divide = value & 0xb;
	/* What is left to count is counted at the new speed. */
	l->since = now - ((l->initial - left) << timer_shift(l));
	lapic_timer_set(v);
}

void lapic_timer_set_lvt(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;
	uint32_t old = l->lvt[LVT_TIMER];

	l->lvt[LVT_TIMER] = value;
	if ((old ^ value) & TIMER_DEADLINE) {
		/* To or from the deadline mode: disarmed (10.5.4.1). */
		l->initial = 0;
		l->deadline = 0;
	}
	lapic_timer_set(v);
}
