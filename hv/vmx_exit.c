/* SPDX-License-Identifier: MIT */
/* What an exit was: the VMCS's exit information in words of no vendor. */
#include "hv/vmx.h"
#include "hv/x86.h"

static const char *const exit_names[VMX_EXITS] = {
	[VMX_EXIT_EXCEPTION] = "exception or NMI",
	[VMX_EXIT_INTERRUPT] = "external interrupt",
	[VMX_EXIT_TRIPLE_FAULT] = "triple fault",
	[VMX_EXIT_INIT] = "INIT signal",
	[VMX_EXIT_SIPI] = "start-up IPI",
	[5] = "I/O SMI",
	[6] = "other SMI",
	[VMX_EXIT_INTERRUPT_WINDOW] = "interrupt window",
	[VMX_EXIT_NMI_WINDOW] = "NMI window",
	[VMX_EXIT_TASK_SWITCH] = "task switch",
	[VMX_EXIT_CPUID] = "CPUID",
	[VMX_EXIT_GETSEC] = "GETSEC",
	[VMX_EXIT_HLT] = "HLT",
	[VMX_EXIT_INVD] = "INVD",
	[VMX_EXIT_INVLPG] = "INVLPG",
	[VMX_EXIT_RDPMC] = "RDPMC",
	[VMX_EXIT_RDTSC] = "RDTSC",
	[VMX_EXIT_RSM] = "RSM",
	[VMX_EXIT_VMCALL] = "VMCALL",
	[19] = "VMCLEAR",
	[20] = "VMLAUNCH",
	[21] = "VMPTRLD",
	[22] = "VMPTRST",
	[23] = "VMREAD",
	[24] = "VMRESUME",
	[25] = "VMWRITE",
	[26] = "VMXOFF",
	[VMX_EXIT_VMXON] = "VMXON",
	[VMX_EXIT_CR] = "control-register access",
	[VMX_EXIT_DR] = "MOV DR",
	[VMX_EXIT_IO] = "I/O instruction",
	[VMX_EXIT_RDMSR] = "RDMSR",
	[VMX_EXIT_WRMSR] = "WRMSR",
	[VMX_EXIT_INVALID_STATE] = "VM entry failed: invalid guest state",
	[VMX_EXIT_MSR_LOAD] = "VM entry failed: MSR loading",
	[VMX_EXIT_MWAIT] = "MWAIT",
	[37] = "monitor trap flag",
	[VMX_EXIT_MONITOR] = "MONITOR",
	[VMX_EXIT_PAUSE] = "PAUSE",
	[VMX_EXIT_MACHINE_CHECK] = "VM entry failed: machine check",
	[43] = "TPR below threshold",
	[44] = "APIC access",
	[45] = "virtualised EOI",
	[46] = "GDTR or IDTR access",
	[47] = "LDTR or TR access",
	[48] = "EPT violation",
	[49] = "EPT misconfiguration",
	[VMX_EXIT_INVEPT] = "INVEPT",
	[VMX_EXIT_RDTSCP] = "RDTSCP",
	[52] = "preemption timer",
	[VMX_EXIT_INVVPID] = "INVVPID",
	[VMX_EXIT_WBINVD] = "WBINVD",
	[VMX_EXIT_XSETBV] = "XSETBV",
	[56] = "APIC write",
	[57] = "RDRAND",
	[VMX_EXIT_INVPCID] = "INVPCID",
	[59] = "VMFUNC",
	[60] = "ENCLS",
	[61] = "RDSEED",
	[62] = "page-modification log full",
	[63] = "XSAVES",
};

/* An event whose delivery the exit interrupted is delivered again (SDM vol. 3, 27.2.4). */
static void redeliver(struct vcpu *v)
{
	static const enum event_type type[] = {EVENT_INTERRUPT, EVENT_NONE, EVENT_NMI, EVENT_EXCEPTION,
		EVENT_SOFT_INTERRUPT, EVENT_SOFT_EXCEPTION, EVENT_SOFT_EXCEPTION, EVENT_NONE};
	uint32_t info = (uint32_t)vmread(VMCS_VECTORING);
	struct event event;

	if (!(info & INTERRUPTION_VALID))
		return;
	event = (struct event){
		.type = type[(info & INTERRUPTION_TYPE) >> INTERRUPTION_TYPE_SHIFT],
		.vector = info & INTERRUPTION_VECTOR,
		.has_error = info & INTERRUPTION_HAS_ERROR,
	};
	if (event.has_error)
		event.error = (uint32_t)vmread(VMCS_VECTORING_ERROR_CODE);
	if (event.type == EVENT_SOFT_INTERRUPT || event.type == EVENT_SOFT_EXCEPTION)
		event.length = (uint32_t)vmread(VMCS_EXIT_LENGTH);
	vcpu_set_event(v, event);
}

static void decode_exception(struct vcpu *v, struct exit *e)
{
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INTERRUPTION);

	if ((info & INTERRUPTION_TYPE) == INTERRUPTION_NMI) {
		/* The host's handler runs as if it had been interrupted here; its IRET opens NMIs again. Without virtual NMIs
		 * the guest's are not blocked (Bochs says they are). */
		if (!(vmx_cap.use_pin & PIN_VIRTUAL_NMI))
			vmwrite(VMCS_INTERRUPTIBILITY, vmread(VMCS_INTERRUPTIBILITY) & ~(uint64_t)BLOCKING_NMI);
		asm volatile("int %0" : : "i"(VECTOR_NMI) : "memory");
		e->reason = EXIT_NMI;
		return;
	}
	e->exception.vector = info & INTERRUPTION_VECTOR;
	if (e->exception.vector == VECTOR_MC)
		host_panic("machine check in guest %s", v->mmu.mmu->name);
	redeliver(v);
	/* The IRET runs again, and is to find them blocked (SDM vol. 3, 27.2.3). */
	if (info & INTERRUPTION_UNBLOCKED_NMI && v->event.type == EVENT_NONE && vmx_cap.use_pin & PIN_VIRTUAL_NMI)
		vmwrite(VMCS_INTERRUPTIBILITY, vmread(VMCS_INTERRUPTIBILITY) | BLOCKING_NMI);
	if (e->exception.vector == VECTOR_PF) {
		e->reason = EXIT_PAGE_FAULT;
		e->page_fault.gva = gva(vmread(VMCS_QUALIFICATION));
		e->page_fault.error = (uint32_t)vmread(VMCS_EXIT_ERROR_CODE);
		return;
	}
	e->reason = EXIT_EXCEPTION;
	e->exception.soft = (info & INTERRUPTION_TYPE) > INTERRUPTION_SOFT_INTERRUPT;
	e->exception.has_error = info & INTERRUPTION_HAS_ERROR;
	if (e->exception.has_error)
		e->exception.error = (uint32_t)vmread(VMCS_EXIT_ERROR_CODE);
	e->exception.dr6 = 0;
	if (e->exception.vector == VECTOR_DB && !e->exception.soft) {
		e->exception.dr6 = vmread(VMCS_QUALIFICATION) & DEBUG_DR6;
		/* An entry with blocking and RFLAGS.TF wants a single step pending (SDM vol. 3, 26.3.1.5). */
		if (v->interrupt_shadow && v->rflags & RFLAGS_TF && !(v->step.on && !v->step.own_tf))
			vmwrite(VMCS_GUEST_PENDING_DEBUG, PENDING_DEBUG_BS);
	}
}

static void decode_cr(struct vcpu *v, struct exit *e)
{
	uint64_t q = e->qualification; /* no MOV to one, see vmx_enter() */

	e->cr.number = q & CR_ACCESS_NUMBER;
	e->cr.gpr = q >> CR_ACCESS_GPR_SHIFT & 15;
	e->cr.from_value = false;
	switch (q >> CR_ACCESS_TYPE_SHIFT & 3) {
	case CR_ACCESS_FROM:
		e->reason = EXIT_CR_READ;
		return;
	case CR_ACCESS_CLTS:
		vmx_state_fetch(v, VCPU_CONTROL);
		e->reason = EXIT_CR_WRITE;
		e->cr.from_value = true;
		e->cr.value = v->cr0 & ~CR0_TS;
		return;
	default: /* LMSW: PE, MP, EM, TS; it cannot clear PE */
		vmx_state_fetch(v, VCPU_CONTROL);
		e->reason = EXIT_CR_WRITE;
		e->cr.from_value = true;
		e->cr.value = (v->cr0 & ~0xeUL) | (q >> CR_ACCESS_LMSW_SHIFT & 0xf);
		return;
	}
}

static void decode_io(struct exit *e)
{
	uint64_t q = e->qualification;

	e->reason = EXIT_IO;
	e->io.port = (uint16_t)(q >> IO_PORT_SHIFT);
	e->io.size = (q & IO_SIZE) + 1;
	e->io.write = !(q & IO_IN);
	e->io.string = q & IO_STRING;
	e->io.rep = q & IO_REP;
	if (e->io.string) {
		uint32_t info = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION);

		e->io.address_bytes = 2 << (info >> INSTRUCTION_ADDRESS_SHIFT & INSTRUCTION_ADDRESS_MASK);
		e->io.seg = e->io.write ? info >> INSTRUCTION_SEGMENT_SHIFT & INSTRUCTION_SEGMENT_MASK : ES;
	}
}

static void decode_dr(struct exit *e)
{
	e->reason = e->qualification & DR_ACCESS_FROM ? EXIT_DR_READ : EXIT_DR_WRITE;
	e->dr.number = e->qualification & DR_ACCESS_NUMBER;
	e->dr.gpr = e->qualification >> DR_ACCESS_GPR_SHIFT & 15;
}

void vmx_exit_describe(struct vcpu *v, struct exit *e)
{
	uint32_t basic;

	(void)v;
	if (e->reason != EXIT_ENTRY_FAILED)
		e->code = (uint32_t)vmread(VMCS_EXIT_REASON);
	basic = e->code & EXIT_REASON_BASIC;
	if (e->reason != EXIT_ENTRY_FAILED || !e->name)
		e->name = basic < VMX_EXITS && exit_names[basic] ? exit_names[basic] : "unknown VM exit";
	e->qualification = vmread(VMCS_QUALIFICATION);
}

/* Exits that are told by their number alone, most of them of instructions. The rest is EXIT_OTHER, 0. */
static const uint8_t plain[VMX_EXITS] = {
	[VMX_EXIT_INTERRUPT] = EXIT_INTERRUPT,
	[VMX_EXIT_TRIPLE_FAULT] = EXIT_TRIPLE_FAULT,
	[VMX_EXIT_INTERRUPT_WINDOW] = EXIT_INTERRUPT_WINDOW,
	[VMX_EXIT_NMI_WINDOW] = EXIT_NMI_WINDOW,
	[VMX_EXIT_TASK_SWITCH] = EXIT_TASK_SWITCH,
	[VMX_EXIT_CPUID] = EXIT_CPUID,
	[VMX_EXIT_HLT] = EXIT_HLT,
	[VMX_EXIT_RDPMC] = EXIT_PRIVILEGED,
	[VMX_EXIT_RDMSR] = EXIT_RDMSR,
	[VMX_EXIT_WRMSR] = EXIT_WRMSR,
	[VMX_EXIT_XSETBV] = EXIT_XSETBV,
	[VMX_EXIT_INVD] = EXIT_NOP,
	[VMX_EXIT_WBINVD] = EXIT_NOP,
	[VMX_EXIT_PAUSE] = EXIT_NOP,
	[VMX_EXIT_GETSEC] = EXIT_UNDEFINED,
	[VMX_EXIT_RSM] = EXIT_UNDEFINED,
	[VMX_EXIT_VMCALL] = EXIT_HYPERCALL,
	[VMX_EXIT_VMCALL + 1 ... VMX_EXIT_VMXON] = EXIT_UNDEFINED,
	[VMX_EXIT_MWAIT] = EXIT_UNDEFINED,
	[VMX_EXIT_MONITOR] = EXIT_UNDEFINED,
	[VMX_EXIT_INVEPT] = EXIT_UNDEFINED,
	[VMX_EXIT_INVVPID] = EXIT_UNDEFINED,
	[VMX_EXIT_INVPCID] = EXIT_UNDEFINED,
};

void vmx_exit_decode(struct vcpu *v, struct exit *e)
{
	if (e->code >= VMX_EXITS) {
		e->name = 0;
		e->reason = e->code & EXIT_REASON_ENTRY_FAILURE ? EXIT_ENTRY_FAILED : EXIT_OTHER;
		return;
	}
	if (e->code == VMX_EXIT_EXCEPTION) {
		decode_exception(v, e);
		return;
	}
	e->reason = plain[e->code];
	if (e->reason)
		return;
	e->qualification = vmread(VMCS_QUALIFICATION);
	switch (e->code) {
	case VMX_EXIT_CR:
		decode_cr(v, e);
		return;
	case VMX_EXIT_DR:
		decode_dr(e);
		return;
	case VMX_EXIT_IO:
		decode_io(e);
		return;
	default:
		e->reason = EXIT_OTHER;
		return;
	}
}
