/* SPDX-License-Identifier: MIT */
/* What follows from an exit: one switch. */
#include "hv/gdb_stub.h"
#include "hv/step.h"

#define NOINLINE __attribute__((noinline))

/* The same fault at the same instruction, repaired so often in less than a second, is no progress. */
#define REPEATS_MAX 10000
/* RETRYs in a row for so many seconds are none either. The longest turn that anyone holds is a stopped walker's. */
#define RETRY_SECONDS 10

enum runner_next exit_retry(struct runner *r, const struct exit *e)
{
	uint64_t now = host_clock(), exits = vcpu_exits(r->v);
	struct exit copy = *e;

	if (exits != r->retry_exits + 1)
		r->retry_since = now;
	r->retry_exits = exits;
	if (now - r->retry_since > RETRY_SECONDS * host_clock_hz())
		return report_crash(r, &copy, "no progress: one instruction was retried for %u s", RETRY_SECONDS);
	return NEXT_YIELD;
}

static enum runner_next repaired_again(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint64_t now;

	if (v->rip != v->last_rip || e->page_fault.error != v->last_error) {
		v->last_rip = v->rip;
		v->last_error = e->page_fault.error;
		v->repeats = 0;
		return NEXT_ENTER;
	}
	if (++v->repeats < REPEATS_MAX) {
		if (v->repeats == 1)
			v->repeat_since = host_clock();
		return NEXT_ENTER;
	}
	now = host_clock();
	if (now - v->repeat_since > host_clock_hz()) {
		v->repeats = 0; /* harvests interfere now and then */
		return NEXT_ENTER;
	}
	return report_crash(
		r, e, "no progress: the page fault at 0x%lx was repaired %u times", v->last_gva, REPEATS_MAX);
}

enum runner_next exit_page_fault(struct runner *r, struct exit *e, enum mmu_outcome o, const struct mmu_fault *f)
{
	switch (o) {
	case MMU_RESUME:
		return repaired_again(r, e);
	case MMU_INJECT:
		vcpu_set_cr2(r->v, f->gva.v);
		return inject_exception(r, e, VECTOR_PF, true, f->error);
	case MMU_RETRY:
		return exit_retry(r, e);
	case MMU_GUARD:
		return gdb_guard_stop(r, e);
	case MMU_MMIO:
	case MMU_EMULATE:
		return exit_emulate(r, e, f->gpa);
	default:
		return report_crash(r, e, "%s", f->reason);
	}
}

NOINLINE static enum runner_next exception(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;

	if (e->exception.vector == VECTOR_DB && gdb_stub_exception(r, e))
		return NEXT_ENTER;
	if (e->exception.soft) {
		vcpu_set_event(v, (struct event){
			.type = EVENT_SOFT_EXCEPTION, .vector = e->exception.vector, .length = e->length});
		return NEXT_ENTER;
	}
	if (e->exception.vector == VECTOR_DB) {
		v->dr6 = (v->dr6 & ~0xfUL) | e->exception.dr6;
		v->dr7 &= ~DR7_GD;
		v->changed |= VCPU_DEBUG;
	}
	return inject_exception(r, e, e->exception.vector, e->exception.has_error, e->exception.error);
}

NOINLINE static enum runner_next cpuid_exit(struct runner *r, struct exit *e)
{
	cpuid_execute(r->v);
	vcpu_skip(r->v, e->length);
	return NEXT_ENTER;
}

NOINLINE static enum runner_next halt(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;

	vcpu_skip(v, e->length);
	if (v->event.type != EVENT_NONE)
		return NEXT_ENTER;
	if (v->rflags & RFLAGS_IF) {
		if ((v->window || load_relaxed(&v->attention)) && vm_interrupt_pending(v)) {
			store_relaxed(&v->attention, 1); /* it waited for this instruction, or came just before */
			return NEXT_ENTER;
		}
		v->activity = VCPU_HALTED; /* the next turn looks at what else there may be */
		return NEXT_HALT;
	}
	v->activity = VCPU_ASLEEP;
	if (vm_fall_asleep(v))
		return report_crash(r, e, "halted with interrupts off: nothing can wake it");
	return NEXT_HALT;
}

NOINLINE static enum runner_next hypercall(struct runner *r, struct exit *e)
{
	guests.backend->fetch(r->v, VCPU_SEGMENTS | VCPU_CONTROL);
	if (!pv_call(r->v))
		return inject_exception(r, e, VECTOR_UD, false, 0);
	vcpu_skip(r->v, e->length);
	return NEXT_ENTER;
}

NOINLINE static enum runner_next page_fault(struct runner *r, struct exit *e)
{
	return step_page_fault(r, r->v, e);
}

NOINLINE static enum runner_next invlpg(struct runner *r, struct exit *e)
{
	return step_invlpg(r->v, guests.backend, e);
}

NOINLINE static enum runner_next described(struct runner *r, struct exit *e, const char *what)
{
	guests.backend->describe(r->v, e);
	return report_crash(r, e, "%s: %s (%u)", what, e->name, e->code);
}

/* Each case calls one function, so that the switch itself keeps no registers. */
enum runner_next exit_handle(struct runner *r, struct exit *e)
{
	switch (e->reason) {
	case EXIT_PAGE_FAULT:
		return page_fault(r, e);
	case EXIT_EXCEPTION:
		return exception(r, e);
	case EXIT_INTERRUPT:
	case EXIT_NMI:
	case EXIT_ASKED:
		return runner_asked() ? NEXT_YIELD : NEXT_ENTER;
	case EXIT_INTERPRET:
		return exit_interpret(r, e);
	case EXIT_INTERRUPT_WINDOW:
		vcpu_want_window(r->v, false);
		store_relaxed(&r->v->attention, 1);
		return NEXT_ENTER;
	case EXIT_NMI_WINDOW:
		vcpu_want_nmi_window(r->v, false);
		store_relaxed(&r->v->attention, 1);
		return NEXT_ENTER;
	case EXIT_CPUID:
		return cpuid_exit(r, e);
	case EXIT_HLT:
		return halt(r, e);
	case EXIT_INVLPG:
		return invlpg(r, e);
	case EXIT_CR_READ:
		return exit_cr_read(r, e);
	case EXIT_CR_WRITE:
		return exit_cr_write(r, e);
	case EXIT_TR_WRITE:
		r->v->interpret = true; /* this one */
		return exit_interpret(r, e);
	case EXIT_DR_READ:
	case EXIT_DR_WRITE:
		return exit_dr(r, e);
	case EXIT_IO:
		return exit_io(r, e);
	case EXIT_RDMSR:
		return exit_rdmsr(r, e);
	case EXIT_WRMSR:
		return exit_wrmsr(r, e);
	case EXIT_XSETBV:
		return exit_xsetbv(r, e);
	case EXIT_HYPERCALL:
		return hypercall(r, e);
	case EXIT_NOP:
		vcpu_skip(r->v, e->length);
		return NEXT_ENTER;
	case EXIT_UNDEFINED:
		return inject_exception(r, e, VECTOR_UD, false, 0);
	case EXIT_PRIVILEGED:
		return inject_exception(r, e, VECTOR_GP, true, 0);
	case EXIT_INSTRUCTION:
		return exit_instruction(r, e);
	case EXIT_TRIPLE_FAULT:
		return report_crash(r, e, "triple fault");
	case EXIT_TASK_SWITCH:
		return report_crash(r, e, "task switch: not supported");
	case EXIT_ENTRY_FAILED:
		return described(r, e, "the entry failed");
	case EXIT_OTHER:
		return described(r, e, "unhandled VM exit");
	case EXIT_NONE:
		break;
	}
	host_panic("exit reason %u", e->reason);
}
