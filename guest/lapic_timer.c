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

static uint32_t mode(const struct lapic *l)
{
	return lapic_lvt(l, LVT_TIMER) & TIMER_MODE;
}

/* Ticks of the TSC. */
static uint64_t period(const struct lapic *l)
{
	return (uint64_t)l->initial << timer_shift(l);
}

static uint64_t shortest(void)
{
	return host_clock_hz() / 1000000 * SHORTEST_US;
}

void lapic_timer_set(struct vcpu *v)
{
	struct lapic *l = &v->lapic;
	uint64_t now, guest;

	l->due = LAPIC_NEVER;
	if (mode(l) == TIMER_DEADLINE && l->deadline) {
		now = host_clock();
		guest = now + v->tsc_offset;
		if (l->deadline <= guest)
			l->due = 0;
		else if (l->deadline - guest < LAPIC_NEVER - now) /* the host's TSC gets there */
			l->due = now + (l->deadline - guest);
	} else if (l->counting) {
		l->due = l->since + period(l);
	}
}

uint32_t lapic_timer_count(const struct lapic *l, uint64_t now)
{
	uint64_t passed = (now - l->since) >> timer_shift(l);

	if (!l->counting)
		return 0;
	if (mode(l) == TIMER_PERIODIC)
		return l->initial - (uint32_t)(passed % l->initial);
	return passed < l->initial ? l->initial - (uint32_t)passed : 0;
}

uint64_t lapic_tick(struct vcpu *v, uint64_t now)
{
	struct lapic *l = &v->lapic;
	uint32_t lvt = lapic_lvt(l, LVT_TIMER);

	if (now < l->due)
		return l->due;
	l->fired++;
	if (!(lvt & LVT_MASKED))
		lapic_request(v, lvt & LVT_VECTOR, false);
	switch (lvt & TIMER_MODE) {
	case TIMER_PERIODIC:
		l->since += (now - l->since) / period(l) * period(l);
		l->due = l->since + period(l);
		if (l->due < now + shortest())
			l->due = now + shortest();
		break;
	default:
		l->counting = false;
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
	uint64_t now = host_clock();

	if (mode(l) != TIMER_DEADLINE)
		return;
	lapic_tick(v, now); /* one that has passed is not lost */
	l->deadline = guest_tsc;
	lapic_timer_set(v);
	lapic_tick(v, now);
}

void lapic_tsc_moved(struct vcpu *v)
{
	if (mode(&v->lapic) != TIMER_DEADLINE)
		return;
	lapic_tick(v, host_clock()); /* by the TSC as it was */
	lapic_timer_set(v);
}

void lapic_timer_set_initial(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;

	if (mode(l) >= TIMER_DEADLINE)
		return;
	l->since = host_clock();
	lapic_tick(v, l->since); /* what was due before is not lost */
	l->initial = value;
	l->counting = value;
	lapic_timer_set(v);
}

void lapic_timer_set_divide(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;
	uint64_t now = host_clock(), left;

	lapic_tick(v, now);
	left = lapic_timer_count(l, now);
	l->divide = value & 0xb;
	/* What is left to count is counted at the new speed. */
	l->since = now - ((l->initial - left) << timer_shift(l));
	lapic_timer_set(v);
}

void lapic_timer_set_lvt(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;
	uint32_t old = lapic_lvt(l, LVT_TIMER);

	lapic_tick(v, host_clock()); /* as it was until now */
	store_relaxed(&l->lvt[LVT_TIMER], value);
	if ((old ^ value) & TIMER_DEADLINE) {
		/* To or from the deadline mode: disarmed (10.5.4.1). */
		l->initial = 0;
		l->counting = false;
		l->deadline = 0;
	}
	lapic_timer_set(v);
}
