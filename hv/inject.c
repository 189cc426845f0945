/* SPDX-License-Identifier: MIT */
#include "hv/fetch.h"
#include "hv/runner.h"

#define HLT 0xf4

enum runner_next inject_exception(struct runner *r, struct exit *e, uint8_t vector, bool has_error, uint32_t error)
{
	if (vcpu_inject_exception(r->v, vector, has_error, error))
		return NEXT_ENTER;
	return report_crash(r, e, "triple fault: exception %u while a double fault was delivered", vector);
}

/* An NMI waits: now, or when its window opens. */
__attribute__((noinline)) static void inject_nmi(struct vcpu *v)
{
	bool wait;

	guests.backend->fetch(v, VCPU_FLOW);
	wait = v->event.type != EVENT_NONE || v->interrupt_shadow || v->nmi_blocked;
	vcpu_want_nmi_window(v, wait);
	if (v->event.type != EVENT_NONE || v->interrupt_shadow)
		store_relaxed(&v->attention, 1); /* the window may not open for it */
	if (wait)
		return;
	fetch_and_seq(&v->signals, ~SIGNAL_NMI);
	vcpu_set_event(v, (struct event){.type = EVENT_NMI, .vector = VECTOR_NMI});
}

/* Is HLT what runs in the shadow of STI? At CPL 0 it exits, and then the interrupt can be delivered: no window is wanted. One
 * that opened too early, as on QEMU (svm.c), would have the guest sleep on what it was to be woken by. */
__attribute__((noinline)) static bool halts_next(struct vcpu *v)
{
	struct fetch x = {.n = 0};

	guests.backend->fetch(v, VCPU_SEGMENTS);
	return v->event.type == EVENT_NONE && !vcpu_cpl(v) && vcpu_canonical(fetch_at(v, &x)) &&
	       fetch_more(v, &x) == MMU_RESUME && x.bytes[0] == HLT;
}

void inject_interrupt(struct runner *r)
{
	struct vcpu *v = r->v;
	uint32_t signals;
	bool more;

	xchg_seq(&v->attention, 0); /* before anything is looked at; partner: vcpu_attract */
	signals = load_relaxed(&v->signals);
	if (signals & ~(uint32_t)SIGNAL_NMI) {
		vcpu_attract(v); /* it is for the next turn, which comes before the entry */
		return;
	}
	if (signals)
		inject_nmi(v);
	more = vm_interrupt_pending(v);
	if (more) {
		guests.backend->fetch(v, VCPU_FLOW);
		if (vcpu_interruptible(v)) {
			int vector = vm_interrupt_acknowledge(v);

			if (vector >= 0)
				vcpu_set_event(v, (struct event){.type = EVENT_INTERRUPT, .vector = (uint8_t)vector});
			more = vm_interrupt_pending(v);
		} else if (v->interrupt_shadow && halts_next(v)) {
			store_relaxed(&v->attention, 1);
			more = false;
		}
	}
	if (v->pv.eoi)
		pv_eoi_settle(v);
	vcpu_want_window(v, more);
}
