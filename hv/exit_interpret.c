/* SPDX-License-Identifier: MIT */
/* A turn of the interpreter, for a vCPU whose state the hardware does not enter; or one instruction that exits, on SVM. The same
 * protocol as an entry's: an event first, then instructions until there is another, or something is asked of this CPU. */
#include "guest/interpret.h"
#include "guest/msr.h"
#include "hv/gdb_stub.h"
#include "hv/operand.h"

#define TURN 64 /* instructions at most before interrupts are looked at again */

static enum emulate_outcome fetch(void *runner, uint64_t a, void *to, unsigned bytes, struct emulate_fault *f)
{
	struct runner *r = runner;
	gpa_t at;
	enum emulate_outcome done = operand_translate(r->v, a, PF_I, &at, f);

	if (done != EMULATE_DONE)
		return done;
	f->cr2 = a;
	return mmu_read(&r->vm->mmu, at, to, bytes) ? EMULATE_DONE : EMULATE_END;
}

/* What an instruction, or the delivery of an event, led to. */
static enum runner_next follow(struct runner *r, struct exit *e, enum emulate_outcome o, const struct insn *i,
	const struct emulate_fault *f)
{
	switch (o) {
	case EMULATE_DONE:
		return NEXT_ENTER;
	case EMULATE_FAULT:
		if (f->vector == VECTOR_PF)
			vcpu_set_cr2(r->v, f->cr2);
		return inject_exception(r, e, f->vector, interpret_has_error(f->vector), f->error);
	case EMULATE_AGAIN:
		return exit_retry(r, e);
	case EMULATE_EXIT:
		/* VMX leaves it to the guest: v has not its value. */
		if ((i->op == INSN_RDMSR || i->op == INSN_WRMSR) && (uint32_t)r->v->gpr[RCX] == MSR_KERNEL_GS_BASE)
			return report_crash(r, e, "not interpreted: an access to the MSR KERNEL_GS_BASE");
		return exit_interpreted(r, e, i);
	case EMULATE_UNKNOWN:
		if (r->v->real_native) { /* another vCPU has changed it since it exited */
			r->v->interpret = false;
			return exit_retry(r, e);
		}
		return report_crash(r, e, "not interpreted, before the segments are protected mode's: %s",
			r->v->event.type == EVENT_NONE ? "this instruction" : "this event");
	default:
		return report_crash(r, e, "interpreted code at 0x%lx: no memory at 0x%lx", r->v->rip, f->cr2);
	}
}

static bool nmi_waits_no_more(const struct vcpu *v)
{
	return v->nmi_window && !v->nmi_blocked;
}

/* No event, no interrupt that can be one. */
static bool goes_on(struct runner *r)
{
	const struct vcpu *v = r->v;

	return v->interpret && v->event.type == EVENT_NONE && !load_relaxed(&v->attention) &&
	       !(v->window && vcpu_interruptible(v)) && !nmi_waits_no_more(v);
}

enum runner_next exit_interpret(struct runner *r, struct exit *e)
{
	const struct interpret_memory m = {operand_memory(r), fetch};
	struct vcpu *v = r->v;
	unsigned left = v->step.on ? 1 : TURN;
	struct emulate_fault f = {.vector = VECTOR_GP};
	enum runner_next next = NEXT_ENTER;
	struct insn i = {.length = 0};

	if (runner_asked())
		return NEXT_YIELD;
	guests.backend->fetch(v, VCPU_ALL);
	e->name = "none, instructions are interpreted";
	e->length = 0;
	e->code = 0;
	e->qualification = 0;
	if (v->event.type != EVENT_NONE)
		next = follow(r, e, interpret_event(v, &m.data, &f), &i, &f);
	while (next == NEXT_ENTER && goes_on(r) && left--) {
		e->reason = EXIT_INTERPRET;
		if (v->mmu.mmu->guards.n && gdb_guard_code(r)) {
			next = NEXT_YIELD;
			break;
		}
		next = follow(r, e, interpret(v, &m, &i, &f), &i, &f);
	}
	if (v->window && vcpu_interruptible(v)) { /* as an exit would have said */
		vcpu_want_window(v, false);
		store_relaxed(&v->attention, 1);
	}
	if (nmi_waits_no_more(v)) {
		vcpu_want_nmi_window(v, false);
		store_relaxed(&v->attention, 1);
	}
	runner_arm(v->lapic.due); /* an access may have been to the local APIC */
	/* Wherever it goes on, all of it is newer here than in the hardware. */
	v->changed |= VCPU_RIP | VCPU_FLOW | VCPU_CONTROL | VCPU_SEGMENTS | VCPU_TABLES | VCPU_RSP | VCPU_DEBUG;
	return next;
}
