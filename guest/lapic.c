/* SPDX-License-Identifier: MIT */
#include "guest/lapic_inside.h"

#define SVR_RESET 0xffu
#define SVR_FIRMWARE_VECTOR 0xfu /* spurious interrupts, where the MP specification has firmware put them */

/* The highest bit of 256, or -1. */
static int highest(const uint32_t *word)
{
	for (int i = LAPIC_WORDS - 1; i >= 0; i--)
		if (word[i])
			return 32 * i + 31 - __builtin_clz(word[i]);
	return -1;
}
static int highest_request(const struct lapic *l)
{
	uint32_t irr[LAPIC_WORDS];

	for (unsigned i = 0; i < LAPIC_WORDS; i++)
		irr[i] = load_seq(&l->irr[i]); /* partner: lapic_request */
	return highest(irr);
}

uint32_t lapic_priority(const struct lapic *l)
{
	int served = highest(l->isr);
	uint32_t tpr = load_relaxed(&l->tpr), class = served < 0 ? 0 : (uint32_t)served & 0xf0;

	return (tpr & 0xf0) >= class ? tpr : class;
}

int lapic_pending(const struct vcpu *v)
{
	const struct lapic *l = &v->lapic;
	int vector = highest_request(l);

	if (vector < 0 || !lapic_enabled(l) || ((uint32_t)vector & 0xf0) <= (lapic_priority(l) & 0xf0))
		return -1;
	return vector;
}

void lapic_accept(struct vcpu *v, uint8_t vector)
{
	struct lapic *l = &v->lapic;
	uint32_t bit = 1u << vector % 32;

	fetch_and_seq(&l->irr[vector / 32], ~bit);
	l->isr[vector / 32] |= bit;
}

bool lapic_eoi_may_wait(const struct vcpu *v)
{
	const struct lapic *l = &v->lapic;
	int served = highest(l->isr);

	if (served < 0 || highest_request(l) >= 0 || load_relaxed(&l->tmr[served / 32]) >> served % 32 & 1)
		return false;
	for (int i = 0; i < LAPIC_WORDS; i++)
		if (l->isr[i] & ~(i == served / 32 ? 1u << served % 32 : 0))
			return false;
	return true;
}

bool lapic_takes_extint(const struct vcpu *v)
{
	uint32_t lint0 = lapic_lvt(&v->lapic, LVT_LINT0);

	if (!(load_relaxed(&v->lapic.base) & LAPIC_BASE_ENABLED))
		return v->index == 0; /* the pin is INTR then */
	return !(lint0 & LVT_MASKED) && (lint0 >> LVT_DELIVERY_SHIFT & 7) == APIC_EXTINT && lapic_enabled(&v->lapic);
}

void lapic_error(struct vcpu *v, uint32_t bit)
{
	uint32_t lvt = lapic_lvt(&v->lapic, LVT_ERROR);

	if (fetch_or_seq(&v->lapic.errors, bit))
		return;
	if (!(lvt & LVT_MASKED) && (lvt & LVT_VECTOR) >= FIRST_VECTOR)
		lapic_request(v, lvt & LVT_VECTOR, false);
}

void lapic_request(struct vcpu *v, uint8_t vector, bool level)
{
	struct lapic *l = &v->lapic;
	uint32_t bit = 1u << vector % 32;

	if (!(load_relaxed(&l->svr) & SVR_ENABLED))
		return;
	if (vector < FIRST_VECTOR) {
		lapic_error(v, ESR_RECEIVED_ILLEGAL);
		return;
	}
	if (level)
		fetch_or_seq(&l->tmr[vector / 32], bit);
	else
		fetch_and_seq(&l->tmr[vector / 32], ~bit);
	if (!(fetch_or_seq(&l->irr[vector / 32], bit) & bit)) /* partner: highest_request, after attention was cleared */
		vcpu_attract(v);
}

int lapic_end(struct vcpu *v)
{
	struct lapic *l = &v->lapic;
	int vector = highest(l->isr);

	if (vector >= 0)
		l->isr[vector / 32] &= ~(1u << vector % 32);
	return vector;
}

void lapic_eoi(struct vcpu *v)
{
	struct lapic *l = &v->lapic;
	int vector = lapic_end(v);

	if (v->pv.eoi_offered)
		pv_eoi_withdraw(v);
	if (vector < 0)
		return;
	if (load_relaxed(&l->tmr[vector / 32]) >> vector % 32 & 1)
		vm_ioapic_eoi(v->vm, (uint8_t)vector);
	lapic_lowered(v);
}

/* Registers as after reset; whether it is enabled, and the id, stay. */
void lapic_reset(struct vcpu *v)
{
	struct lapic *l = &v->lapic;

	if (v->pv.eoi_offered)
		pv_eoi_withdraw(v);
	for (unsigned i = 0; i < LAPIC_WORDS; i++) {
		store_relaxed(&l->irr[i], 0);
		store_relaxed(&l->tmr[i], 0);
		l->isr[i] = 0;
	}
	for (unsigned i = 0; i < LVTS; i++)
		store_relaxed(&l->lvt[i], LVT_MASKED);
	store_relaxed(&l->tpr, 0);
	store_relaxed(&l->svr, SVR_RESET);
	store_relaxed(&l->ldr, 0);
	store_relaxed(&l->dfr, ~0u);
	store_relaxed(&l->errors, 0);
	l->esr = l->icr_low = l->icr_high = l->initial = l->divide = 0;
	l->counting = false;
	l->deadline = 0;
	l->due = LAPIC_NEVER;
}

void lapic_init(struct vcpu *v)
{
	struct lapic *l = &v->lapic;

	*l = (struct lapic){0};
	store_relaxed(&l->base, LAPIC_BASE | LAPIC_BASE_ENABLED | (v->index ? 0 : LAPIC_BASE_BSP));
	lapic_reset(v);
	if (v->index)
		return;
	store_relaxed(&l->svr, SVR_ENABLED | SVR_FIRMWARE_VECTOR);
	store_relaxed(&l->lvt[LVT_LINT0], APIC_EXTINT << LVT_DELIVERY_SHIFT);
	store_relaxed(&l->lvt[LVT_LINT1], APIC_NMI << LVT_DELIVERY_SHIFT);
}

bool lapic_set_base(struct vcpu *v, uint64_t value)
{
	struct lapic *l = &v->lapic;
	uint64_t mode = value & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC), old = load_relaxed(&l->base), was;

	was = old & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC);
	if ((value ^ old) & ~(LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)) /* it is not moved, and this stays the boot processor */
		return false;
	/* 10.12.5: x2APIC mode is entered from the xAPIC's, and left by switching all of it off. */
	if (mode == LAPIC_BASE_X2APIC || (mode & LAPIC_BASE_X2APIC && !was) ||
		(mode == LAPIC_BASE_ENABLED && was & LAPIC_BASE_X2APIC))
		return false;
	if (!mode && was)
		lapic_reset(v);
	store_relaxed(&l->base, value);
	lapic_notice(v);
	return true;
}

uint64_t lapic_cr8(const struct vcpu *v)
{
	return load_relaxed(&v->lapic.tpr) >> 4 & 15;
}

void lapic_set_cr8(struct vcpu *v, uint64_t value)
{
	store_relaxed(&v->lapic.tpr, (uint32_t)value << 4);
	lapic_lowered(v);
}
