/* SPDX-License-Identifier: MIT */
/* Whom a message between APICs reaches (SDM vol. 3, 10.6.2, 10.12.10). */
#include "guest/lapic_inside.h"

#define EVERYONE_8 0xffu
#define EVERYONE_32 0xffffffffu
#define DFR_CLUSTER 0x0fffffffu

static bool is_everyone(uint32_t destination)
{
	return destination == EVERYONE_8 || destination == EVERYONE_32;
}

static bool in_logical_set(const struct vcpu *v, uint32_t destination)
{
	const struct lapic *l = &v->lapic;
	uint32_t ldr = load_relaxed(&l->ldr) >> 24;

	if (destination == EVERYONE_32)
		return true;
	if (lapic_x2apic(l))
		return destination >> 16 == v->index >> 4 && destination >> (v->index & 15) & 1;
	if (destination == EVERYONE_8)
		return true;
	if (load_relaxed(&l->dfr) != DFR_CLUSTER)
		return ldr & destination & 0xff;
	return (destination >> 4 & 15) == ldr >> 4 && destination & ldr & 15;
}

static bool is_on(const struct vcpu *v)
{
	return load_relaxed(&v->lapic.base) & LAPIC_BASE_ENABLED;
}

static bool matches(const struct vcpu *v, const struct apic_message *m)
{
	if (!is_on(v))
		return false;
	if (m->logical)
		return in_logical_set(v, m->destination);
	return is_everyone(m->destination) || m->destination == v->index;
}

/* False: it does not take it. */
static bool deliver(struct vcpu *v, const struct apic_message *m)
{
	switch (m->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (!lapic_enabled(&v->lapic))
			return false;
		lapic_request(v, m->vector, m->level);
		return m->vector >= FIRST_VECTOR;
	case APIC_NMI:
		vcpu_signal(v, SIGNAL_NMI);
		return true;
	case APIC_INIT:
		vcpu_signal(v, SIGNAL_INIT);
		return true;
	case APIC_STARTUP:
		store_relaxed(&v->startup, m->vector); /* before the signal */
		vcpu_signal(v, SIGNAL_STARTUP);
		return true;
	case APIC_SMI:    /* there is no system management */
	case APIC_EXTINT: /* the 8259A's output goes to LINT0 */
		break;
	}
	return false;
}

/* The one of lowest task priority among those that match; where several have it, they take turns by the vector. */
static struct vcpu *lowest(struct vm *vm, const struct apic_message *m)
{
	struct vcpu *best = 0;

	for (unsigned i = 0; i < vm->vcpus; i++) {
		struct vcpu *v = vm->vcpu[(i + m->vector) % vm->vcpus];

		if (matches(v, m) && lapic_enabled(&v->lapic) &&
			(!best || load_relaxed(&v->lapic.tpr) < load_relaxed(&best->lapic.tpr)))
			best = v;
	}
	return best;
}

bool lapic_send(struct vm *vm, const struct apic_message *m)
{
	bool taken = false;

	if (m->delivery == APIC_LOWEST) {
		struct vcpu *v = lowest(vm, m);

		return v && deliver(v, m);
	}
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (matches(vm->vcpu[i], m) && deliver(vm->vcpu[i], m))
			taken = true;
	return taken;
}

void lapic_send_all(struct vm *vm, const struct vcpu *but, const struct apic_message *m)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (vm->vcpu[i] != but && is_on(vm->vcpu[i]))
			deliver(vm->vcpu[i], m);
}
