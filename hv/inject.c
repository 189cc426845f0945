/* SPDX-License-Identifier: MIT */
#include "hv/runner.h"

enum runner_next inject_exception(struct runner *r, struct exit *e, uint8_t vector, bool has_error, uint32_t error)
{
	if (vcpu_inject_exception(r->v, vector, has_error, error))
		return NEXT_ENTER;
	return report_crash(r, e, "triple fault: exception %u while a double fault was delivered", vector);
}

bool inject_interrupt(struct runner *r)
{
	if (vm_interrupt_pending(r->vm) < 0) {
		store_relaxed(&r->irq, 0);
		return false;
	}
	if (!vcpu_interruptible(r->v))
		return true;
	r->v->event = (struct event){.type = EVENT_INTERRUPT, .vector = vm_interrupt_acknowledge(r->vm)};
	store_relaxed(&r->irq, vm_interrupt_pending(r->vm) >= 0);
	return load_relaxed(&r->irq);
}
