/* SPDX-License-Identifier: MIT */
/* Into the guest, once: the entry protocol of mm/tlb.c, then the exit and what follows from it. Compiled into each backend
 * around its own enter(), so that a round trip is a loop in one function: the registers that C keeps over a call are lost in
 * the guest anyway.
 *
 *   enum exit_reason enter(struct vcpu *v, uint32_t *off, struct exit *e)
 *
 * goes into the guest until the next exit, and returns why that came. Interrupts are off, and mmu_enter() said MMU_ENTER. What
 * CPU_ASKED asks for is looked at where an NMI can no longer be missed: if anything is, the entry is not made, and the reason
 * is EXIT_ASKED. The first act after the exit, or instead of it, is mmu_leave(). v->changed parts are written to the hardware;
 * afterwards those of the hardware are in v or said to be stale, and v->event holds what was not delivered. The caller counts
 * v->exits.
 * *off: irqoff_now() when interrupts went off; then the same for the exit. e->reason may be left out when it is EXIT_PAGE_FAULT
 * or EXIT_CPUID. */
#ifndef HV_STEP_H
#define HV_STEP_H

#include "guest/cpuid.h"
#include "hv/irqoff.h"
#include "hv/runner.h"

#define STEP_INLINE inline __attribute__((always_inline))

typedef enum exit_reason step_enter(struct vcpu *v, uint32_t *off, struct exit *e);

/* Two that come by the million. */
static STEP_INLINE enum runner_next step_page_fault(struct runner *r, struct vcpu *v, struct exit *e)
{
	struct mmu_fault f;
	enum mmu_outcome o;

	if (v->mmu.smap) {
		guests.backend->fetch(v, VCPU_SEGMENTS | VCPU_FLOW);
		vcpu_note_ac(v);
	}
	o = mmu_fault(&v->mmu, e->page_fault.gva, e->page_fault.error, &f);
	if (o != MMU_RESUME || e->page_fault.gva.v == v->last_gva)
		return exit_page_fault(r, e, o, &f);
	v->last_gva = e->page_fault.gva.v;
	v->repeats = 0;
	return NEXT_ENTER;
}

static STEP_INLINE enum runner_next step_invlpg(struct vcpu *v, const struct backend *b, const struct exit *e)
{
	gva_t a = e->page_fault.gva;

	/* Of an address that is not canonical nothing can be cached. */
	if (vcpu_canonical(a.v) && mmu_invlpg(&v->mmu, a))
		b->flush_address(v, a);
	vcpu_skip(v, e->length);
	return NEXT_ENTER;
}

/* once: the guest is entered no more than once. v is r's. */
static STEP_INLINE enum runner_next step(
	struct runner *r, struct vcpu *v, bool once, const struct backend *b, step_enter *enter)
{
	enum exit_reason reason;
	struct exit e;
	uint32_t off;

	if (__builtin_expect(load_relaxed(&v->attention), 0))
		inject_interrupt(r);
	off = irqoff_begin();
	for (;;) {
		switch (mmu_enter(&v->mmu, this_cpu_index())) {
		case MMU_ENTER:
			break;
		case MMU_FLUSH:
			b->flush(v);
			mmu_flushed(&v->mmu);
			irqoff_end(off, "TLB flush");
			return runner_asked() ? NEXT_YIELD : NEXT_ENTER;
		case MMU_RELOAD:
			irqoff_end(off, "stale root");
			return runner_reload(r);
		}
		reason = enter(v, &off, &e);
		count_add(&v->exits[reason], 1);
		switch (reason) {
		case EXIT_CPUID:
			/* It needs the vCPU alone, and goes back before interrupts could be of use: the entry looks at
			 * CPU_ASKED, and an interrupt that is pending ends it. */
			cpuid_execute(v);
			vcpu_skip(v, e.length);
			if (once)
				break;
			continue;
		case EXIT_PAGE_FAULT:
			irqoff_end(off, "VM exit");
			e.reason = EXIT_PAGE_FAULT;
			return step_page_fault(r, v, &e);
		case EXIT_INVLPG:
			irqoff_end(off, "VM exit");
			return step_invlpg(v, b, &e);
		case EXIT_CR_WRITE:
			irqoff_end(off, "VM exit");
			return exit_cr_write(r, &e);
		default:
			irqoff_end(off, "VM exit");
			return exit_handle(r, &e);
		}
		irqoff_end(off, "VM exit");
		return NEXT_ENTER;
	}
}

/* struct backend's step() and slice(). */
static STEP_INLINE enum runner_next step_once(struct runner *r, const struct backend *b, step_enter *enter)
{
	return step(r, r->v, true, b, enter);
}

static STEP_INLINE enum runner_next step_slice(struct runner *r, const struct backend *b, step_enter *enter)
{
	struct vcpu *v = r->v;
	enum runner_next next;

	do
		next = step(r, v, false, b, enter);
	while (next == NEXT_ENTER);
	return next;
}

#endif
