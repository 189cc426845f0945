/* SPDX-License-Identifier: MIT */
/* What an exit was: the VMCB's exit information in words of no vendor. What it leaves out (lengths without next-RIP save,
 * operands) exit_insn.c reads from the instruction. */
#include "hv/svm.h"

#define DR6_SEEN 0x600fu /* B0 … B3, BD, BS */

static const char *const exit_names[SVM_EXITS] = {
	[SVM_EXIT_CR_READ... SVM_EXIT_CR_READ + 15] = "control-register read",
	[SVM_EXIT_CR_WRITE... SVM_EXIT_CR_WRITE + 15] = "control-register write",
	[SVM_EXIT_DR_READ... SVM_EXIT_DR_READ + 15] = "MOV from DR",
	[SVM_EXIT_DR_WRITE... SVM_EXIT_DR_WRITE + 15] = "MOV to DR",
	[SVM_EXIT_EXCEPTION... SVM_EXIT_EXCEPTION + 31] = "exception",
	[SVM_EXIT_INTR] = "physical interrupt",
	[SVM_EXIT_NMI] = "NMI",
	[SVM_EXIT_SMI] = "SMI",
	[SVM_EXIT_INIT] = "INIT",
	[SVM_EXIT_VINTR] = "virtual interrupt",
	[SVM_EXIT_IRET] = "IRET",
	[SVM_EXIT_TR_WRITE] = "LTR",
	[SVM_EXIT_RDPMC] = "RDPMC",
	[SVM_EXIT_CPUID] = "CPUID",
	[SVM_EXIT_RSM] = "RSM",
	[SVM_EXIT_INVD] = "INVD",
	[SVM_EXIT_HLT] = "HLT",
	[SVM_EXIT_INVLPG] = "INVLPG",
	[SVM_EXIT_INVLPGA] = "INVLPGA",
	[SVM_EXIT_IO] = "I/O instruction",
	[SVM_EXIT_MSR] = "RDMSR or WRMSR",
	[SVM_EXIT_TASK_SWITCH] = "task switch",
	[SVM_EXIT_SHUTDOWN] = "shutdown",
	[SVM_EXIT_VMRUN] = "VMRUN",
	[SVM_EXIT_VMMCALL] = "VMMCALL",
	[SVM_EXIT_VMLOAD] = "VMLOAD",
	[SVM_EXIT_VMSAVE] = "VMSAVE",
	[SVM_EXIT_STGI] = "STGI",
	[SVM_EXIT_CLGI] = "CLGI",
	[SVM_EXIT_SKINIT] = "SKINIT",
	[SVM_EXIT_ICEBP] = "ICEBP",
	[SVM_EXIT_WBINVD] = "WBINVD",
	[SVM_EXIT_MONITOR] = "MONITOR",
	[SVM_EXIT_MWAIT] = "MWAIT",
	[SVM_EXIT_XSETBV] = "XSETBV",
	[SVM_EXIT_RDPRU] = "RDPRU",
	[SVM_EXIT_INVLPGB] = "INVLPGB",
	[SVM_EXIT_INVPCID] = "INVPCID",
	[SVM_EXIT_MCOMMIT] = "MCOMMIT",
	[SVM_EXIT_TLBSYNC] = "TLBSYNC",
};

/* Exits that are told by their number alone. */
static const uint8_t plain[SVM_EXITS] = {
	[SVM_EXIT_INTR] = EXIT_INTERRUPT,
	[SVM_EXIT_NMI] = EXIT_NMI, /* it stayed pending: the host's handler ran after STGI */
	[SVM_EXIT_VINTR] = EXIT_INTERRUPT_WINDOW,
	[SVM_EXIT_IRET] = EXIT_NMI, /* see follow_iret() */
	[SVM_EXIT_TR_WRITE] = EXIT_TR_WRITE,
	[SVM_EXIT_RDPMC] = EXIT_PRIVILEGED,
	[SVM_EXIT_RSM] = EXIT_UNDEFINED,
	[SVM_EXIT_INVLPGA] = EXIT_UNDEFINED,
	[SVM_EXIT_TASK_SWITCH] = EXIT_TASK_SWITCH,
	[SVM_EXIT_SHUTDOWN] = EXIT_TRIPLE_FAULT,
	[SVM_EXIT_VMRUN] = EXIT_UNDEFINED,
	[SVM_EXIT_VMLOAD... SVM_EXIT_SKINIT] = EXIT_UNDEFINED,
	[SVM_EXIT_MONITOR] = EXIT_UNDEFINED,
	[SVM_EXIT_MWAIT] = EXIT_UNDEFINED,
	[SVM_EXIT_RDPRU] = EXIT_UNDEFINED,
	[SVM_EXIT_INVLPGB] = EXIT_UNDEFINED,
	[SVM_EXIT_INVPCID] = EXIT_UNDEFINED,
	[SVM_EXIT_MCOMMIT] = EXIT_UNDEFINED,
	[SVM_EXIT_TLBSYNC] = EXIT_UNDEFINED,
};

/* Those of instructions of which the length alone is to be known. */
static const uint8_t sized[SVM_EXITS] = {
	[SVM_EXIT_CPUID] = EXIT_CPUID,
	[SVM_EXIT_INVD] = EXIT_NOP,
	[SVM_EXIT_HLT] = EXIT_HLT,
	[SVM_EXIT_MSR] = EXIT_RDMSR, /* or EXIT_WRMSR */
	[SVM_EXIT_WBINVD] = EXIT_NOP,
	[SVM_EXIT_VMMCALL] = EXIT_HYPERCALL,
	[SVM_EXIT_XSETBV] = EXIT_XSETBV,
};

/* Is that what was being delivered? Only what the entry injected, or an exception that does not exit. (Bochs leaves the last
 * one there when an INT n is interrupted.) */
static bool believable(const struct vmcb *m, bool injected)
{
	uint64_t info = m->exit_int_info;

	if (!(info & EVENT_VALID))
		return false;
	return injected || ((info >> EVENT_TYPE_SHIFT & EVENT_TYPE) == EVENT_TYPE_EXCEPTION &&
				   !(m->exceptions >> (info & 31) & 1));
}

/* An event whose delivery the exit interrupted is delivered again (APM vol. 2, 15.7.2). One that an instruction raised
 * (INT n, INT3, INTO) is not: RIP is still at the instruction, which runs again. */
static void redeliver(struct vcpu *v, const struct vmcb *m, bool injected)
{
	static const enum event_type type[] = {EVENT_INTERRUPT, EVENT_NONE, EVENT_NMI, EVENT_EXCEPTION, EVENT_NONE,
		EVENT_NONE, EVENT_NONE, EVENT_NONE};
	uint64_t info = m->exit_int_info;
	uint8_t vector = info & EVENT_VECTOR;

	if (!believable(m, injected))
		return;
	vcpu_set_event(v, (struct event){
		.type = type[info >> EVENT_TYPE_SHIFT & EVENT_TYPE],
		.vector = vector,
		.has_error = info & EVENT_HAS_ERROR,
		.error = (uint32_t)(info >> EVENT_ERROR_SHIFT),
	});
	if (v->event.type == EVENT_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF))
		v->event.type = EVENT_NONE;
}

static void decode_exception(struct vcpu *v, struct vmcb *m, struct exit *e, uint8_t vector)
{
	if (vector == VECTOR_MC)
		host_panic("machine check in guest %s", v->mmu.mmu->name);
	if (vector == VECTOR_PF) {
		e->reason = EXIT_PAGE_FAULT;
		e->page_fault.gva = gva(m->exit_info2);
		e->page_fault.error = (uint32_t)m->exit_info1;
		return;
	}
	e->reason = EXIT_EXCEPTION;
	e->exception.vector = vector;
	e->exception.soft = false;
	e->exception.has_error = vector == VECTOR_AC || vector == VECTOR_GP;
	e->exception.error = (uint32_t)m->exit_info1;
	e->exception.dr6 = 0;
	if (vector == VECTOR_GP && !e->exception.error && v->event.type == EVENT_NONE) {
		e->reason = EXIT_INSTRUCTION; /* #UD if it is SVM's */
		e->decodes = EXIT_EXCEPTION;
	} else if (vector == VECTOR_DB) {
		e->exception.dr6 = m->dr6 & DR6_SEEN;
		m->dr6 = DR6_FIXED;
	}
}

static void decode_io(const struct vcpu *v, const struct vmcb *m, struct exit *e)
{
	uint64_t info = m->exit_info1;

	e->reason = e->decodes = EXIT_IO;
	e->length = (uint8_t)(m->exit_info2 - v->rip);
	e->io.port = (uint16_t)(info >> IOIO_PORT_SHIFT);
	e->io.size = info >> IOIO_SIZE_SHIFT & IOIO_SIZE;
	e->io.write = !(info & IOIO_IN);
	e->io.string = info & IOIO_STRING;
	e->io.rep = info & IOIO_REP;
	if (e->io.string)
		e->reason = EXIT_INSTRUCTION; /* segment and address size */
}

/* Registers: without decode assists all but their number, which is filled in at once, and whether it is a read, is in the
 * instruction. */
static void decode_register(const struct vcpu *v, const struct vmcb *m, struct exit *e, uint32_t code)
{
	static const enum exit_reason reason[] = {EXIT_CR_READ, EXIT_CR_WRITE, EXIT_DR_READ, EXIT_DR_WRITE};
	uint8_t number = code & 15, gpr = m->exit_info1 & REGISTER_GPR;

	e->reason = EXIT_INSTRUCTION;
	e->decodes = reason[code >> 4];
	if (code < SVM_EXIT_DR_READ)
		e->cr.number = number;
	else
		e->dr.number = number;
	if (!svm_cap.decode_assists || (code < SVM_EXIT_DR_READ && !(m->exit_info1 & REGISTER_MOV)))
		return;
	e->reason = e->decodes;
	e->length = (uint8_t)(m->next_rip - v->rip);
	if (code >= SVM_EXIT_DR_READ) {
		e->dr.gpr = gpr;
		return;
	}
	e->cr.gpr = gpr;
	e->cr.from_value = false;
}

static void decode_invlpg(const struct vcpu *v, const struct vmcb *m, struct exit *e)
{
	e->reason = EXIT_INSTRUCTION;
	e->decodes = EXIT_INVLPG;
	if (!svm_cap.decode_assists)
		return;
	e->reason = EXIT_INVLPG;
	e->length = (uint8_t)(m->next_rip - v->rip);
	e->page_fault.gva = gva(m->exit_info1);
}

/* Without next-RIP save the instruction itself tells its length. */
static void decode_sized(const struct vcpu *v, const struct vmcb *m, struct exit *e, enum exit_reason reason)
{
	if (reason == EXIT_RDMSR && m->exit_info1 & MSR_ACCESS_WRITE)
		reason = EXIT_WRMSR;
	e->reason = e->decodes = reason;
	if (svm_cap.next_rip)
		e->length = (uint8_t)(m->next_rip - v->rip);
	else
		e->reason = EXIT_INSTRUCTION;
}

/* There is no NMI window: the IRET that ends a handler exits before it runs. At the first exit after that with another RIP it has,
 * and NMIs are open again; one that waits then waits no longer than for this exit. */
static void follow_iret(struct vcpu *v, struct svm_vcpu *x, uint32_t code)
{
	if (code == SVM_EXIT_IRET) {
		x->iret = true;
		x->iret_rip = v->rip;
		x->vmcb->intercept1 &= ~INTERCEPT1_IRET;
	} else if (x->iret && v->rip != x->iret_rip) {
		x->iret = v->nmi_blocked = false;
		if (v->nmi_window) {
			vcpu_want_nmi_window(v, false);
			store_relaxed(&v->attention, 1);
		}
	}
}

void svm_exit_decode(struct vcpu *v, bool injected, struct exit *e)
{
	struct svm_vcpu *x = v->backend;
	struct vmcb *m = x->vmcb;
	uint32_t code = (uint32_t)m->exit_code;

	e->code = code;
	e->length = 0;
	if (m->exit_code >= SVM_EXITS) {
		e->name = 0;
		e->reason = m->exit_code == SVM_EXIT_INVALID ? EXIT_ENTRY_FAILED : EXIT_OTHER;
		return;
	}
	redeliver(v, m, injected);
	if (__builtin_expect(v->nmi_blocked, 0))
		follow_iret(v, x, code);
	if (plain[code]) {
		e->reason = plain[code];
	} else if (sized[code]) {
		decode_sized(v, m, e, sized[code]);
	} else if (code >= SVM_EXIT_EXCEPTION && code < SVM_EXIT_EXCEPTION + 32) {
		decode_exception(v, m, e, (uint8_t)(code - SVM_EXIT_EXCEPTION));
	} else if (code == SVM_EXIT_IO) {
		decode_io(v, m, e);
	} else if (code == SVM_EXIT_INVLPG) {
		decode_invlpg(v, m, e);
	} else if (code == SVM_EXIT_ICEBP) {
		e->reason = EXIT_INSTRUCTION;
		e->decodes = EXIT_EXCEPTION;
		e->exception.vector = VECTOR_DB;
		e->exception.has_error = false;
	} else if (code < SVM_EXIT_EXCEPTION) {
		decode_register(v, m, e, code);
	} else {
		e->reason = EXIT_OTHER;
	}
}

void svm_exit_describe(struct vcpu *v, struct exit *e)
{
	struct svm_vcpu *x = v->backend;

	if (e->reason != EXIT_ENTRY_FAILED || !e->name) {
		e->name = e->code < SVM_EXITS && exit_names[e->code] ? exit_names[e->code] : "unknown VM exit";
		if (e->reason == EXIT_ENTRY_FAILED)
			e->name = "VMRUN refused the VMCB";
	}
	e->qualification = x->vmcb->exit_info1;
}
