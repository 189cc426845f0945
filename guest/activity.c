/* SPDX-License-Identifier: MIT */
/* Whether a vCPU runs, waits or sleeps, and what wakes it.
 *
 * vm.awake counts the vCPUs that are not asleep: those that run, and those that halt with interrupts on, which a device may wake.
 * The others wait for a signal, which only one who is awake can send. So when the count is 0 nothing will ever happen.
 * It is kept by whoever turns `asleep`: the owner sets it and then takes itself away; who wakes it adds it and then clears
 * `asleep`, or takes back what it added if another was there first. Between the two the count is too high, never too low: the
 * owner too wakes itself, and what it is woken by may be asleep by then. */
#include "guest/startup.h"
#include "guest/vm.h"
#include "mm/park.h"

void vcpu_attract(struct vcpu *v)
{
	if (!xchg_seq(&v->attention, 1) && v->vm->attend) /* partner: vcpu_attend and inject_interrupt, on v's CPU */
		v->vm->attend(v);
}

static void wake(struct vcpu *v)
{
	uint32_t asleep = 1;

	if (!load_seq(&v->asleep)) /* after the signal; partner: vm_fall_asleep */
		return;
	fetch_add_seq(&v->vm->awake, 1);
	park("waking");
	if (!cmpxchg_seq(&v->asleep, &asleep, 0)) /* partner: itself */
		fetch_sub_seq(&v->vm->awake, 1);
}

void vcpu_signal(struct vcpu *v, uint32_t signal)
{
	if (signal & SIGNAL_INIT)
		fetch_and_seq(&v->signals, ~SIGNAL_STARTUP); /* what came before it counts no more */
	fetch_or_seq(&v->signals, signal); /* partners: vm_fall_asleep, vcpu_attend */
	wake(v);
	vcpu_attract(v);
}

bool vm_fall_asleep(struct vcpu *v)
{
	park("falling-asleep");
	xchg_seq(&v->asleep, 1);
	if (load_seq(&v->signals))
		wake(v); /* whoever sent it may have found it awake */
	return fetch_sub_seq(&v->vm->awake, 1) == 1;
}

bool vm_start_vcpu(struct vm *vm, uint32_t index, uint32_t entry)
{
	uint32_t unclaimed = 0;
	struct vcpu *v;

	if (index == 0 || index >= vm->vcpus)
		return false;
	v = vm->vcpu[index];
	if (!cmpxchg_seq(&v->start_claimed, &unclaimed, 1)) /* partner: itself, on another CPU */
		return false;
	v->start_entry = entry; /* before the signal */
	vcpu_signal(v, SIGNAL_START);
	return true;
}

/* Did it work out? What cannot end the guest may be tried again. */
static bool done(struct vcpu *v, enum cr_outcome o, const char *reason)
{
	if (o != CR_DONE && o != CR_RETRY)
		vm_end_fail(v->vm, "crash: %s", reason ? reason : "INIT");
	return o != CR_RETRY;
}

/* INIT: it waits for a start-up. False: not now. */
static bool take_init(struct vcpu *v)
{
	const char *reason = 0;

	if (v->index == 0) {
		vm_end_fail(v->vm, "reset: INIT of the boot processor");
		return true;
	}
	if (!done(v, vcpu_reset_init(v, &reason), reason))
		return false;
	lapic_reset(v);
	pv_reset(v);
	return true;
}

/* Of a vCPU that is off. */
static void take_start(struct vcpu *v, uint32_t signals)
{
	const char *reason = 0;

	if (signals & SIGNAL_STARTUP) {
		store_relaxed(&v->start_claimed, 1);
		if (!done(v, vcpu_reset_startup(v, (uint8_t)load_relaxed(&v->startup), &reason), reason))
			vcpu_signal(v, SIGNAL_STARTUP);
	} else if (signals & SIGNAL_START) {
		vcpu_reset_multiboot(v, v->start_entry, 0, v->index);
	}
}

void vcpu_attend(struct vcpu *v)
{
	uint32_t signals = load_relaxed(&v->signals), kept;

	if (v->activity == VCPU_RUNNABLE && !(signals & ~SIGNAL_NMI))
		return; /* its next entry looks */
	xchg_seq(&v->attention, 0); /* before anything is looked at; partner: vcpu_attract */
	signals = load_seq(&v->signals);
	do {
		if (signals & SIGNAL_INIT && !take_init(v)) {
			vcpu_attract(v); /* nothing is taken: what comes meanwhile has its place before it or behind */
			return;
		}
		/* What waits for a start-up takes no NMI, and INIT forgets one. */
		kept = v->activity == VCPU_OFF ? 0 : SIGNAL_NMI;
		park("signals-seen");
	} while (!cmpxchg_seq(&v->signals, &signals, signals & kept)); /* an INIT since then is not swallowed */
	if (signals)
		wake(v); /* the sender may be about to: then it finds that done */
	if (v->activity == VCPU_OFF)
		take_start(v, signals);
	else if (v->activity == VCPU_ASLEEP && signals & SIGNAL_NMI)
		v->activity = VCPU_RUNNABLE;
	else if (v->activity == VCPU_HALTED && (signals & SIGNAL_NMI || vm_interrupt_pending(v)))
		v->activity = VCPU_RUNNABLE;
	park("attended");
	if (v->activity == VCPU_RUNNABLE) {
		store_relaxed(&v->attention, 1);
		return;
	}
	/* What woke it was nothing to get up for. */
	if (v->activity != VCPU_HALTED && !load_relaxed(&v->asleep) && vm_fall_asleep(v))
		vm_end_fail(v->vm, "crash: every vCPU is halted with interrupts off: nothing can wake them");
}
