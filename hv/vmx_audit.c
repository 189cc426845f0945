/* SPDX-License-Identifier: MIT */
#include "guest/cr.h"
#include "hv/vmx_audit.h"
#include "hv/vmx_vmcs.h"

#define CR4_VMXE (1UL << 13)
#define CR4_PCIDE (1UL << 17)
#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define SELECTOR_RPL_TI 7u
#define INTERRUPTION_RESERVED 0x7ffff000u
#define RFLAGS_ZEROS 0xffffffffffc08028UL
#define INSTRUCTION_MAX 15
#define ERROR_CODE_MAX 0xffff
/* Exceptions that push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
#define WITH_ERROR (1u << 8 | 0x1fu << 10 | 1u << 17)

static uint64_t get(const struct vmx_view *w, uint32_t field)
{
	return vmx_view_read(w, field);
}

static bool allowed(uint64_t value, struct vmx_control c)
{
	return (value & c.must) == c.must && !(value & ~(uint64_t)c.may);
}

static bool physical(const struct vmx_view *w, uint64_t a, uint64_t align)
{
	return !(a & (align - 1)) && !(a >> w->cap->phys_bits);
}

static const char *audit_execution(const struct vmx_view *w)
{
	uint64_t pin = get(w, VMCS_PIN_CONTROLS), cpu = get(w, VMCS_CPU_CONTROLS), second = 0;

	if (!allowed(pin, w->cap->pin))
		return "26.2.1.1: pin-based controls against their capability MSR";
	if (!allowed(cpu, w->cap->cpu))
		return "26.2.1.1: processor-based controls against their capability MSR";
	if (cpu & CPU_SECONDARY) {
		second = get(w, VMCS_SECONDARY_CONTROLS);
		if (!allowed(second, w->cap->secondary))
			return "26.2.1.1: secondary controls against their capability MSR";
	}
	if (get(w, VMCS_CR3_TARGET_COUNT) > 4)
		return "26.2.1.1: more than 4 CR3 targets";
	if (cpu & CPU_IO_BITMAPS)
		return "Umbra: I/O bitmaps are not used";
	if (!(cpu & CPU_MSR_BITMAPS) || !physical(w, get(w, VMCS_MSR_BITMAP), PAGE_SIZE))
		return "26.2.1.1: MSR bitmap address";
	if (cpu & CPU_TPR_SHADOW)
		return "Umbra: the TPR shadow is not used";
	if (second & (SECONDARY_X2APIC | SECONDARY_APIC_REGISTERS | SECONDARY_VIRTUAL_INTERRUPTS))
		return "26.2.1.1: APIC virtualisation without TPR shadow";
	if (!(pin & PIN_NMI) && pin & PIN_VIRTUAL_NMI)
		return "26.2.1.1: virtual NMIs without NMI exiting";
	if (!(pin & PIN_VIRTUAL_NMI) && cpu & CPU_NMI_WINDOW)
		return "26.2.1.1: NMI-window exiting without virtual NMIs";
	if (!(pin & PIN_EXTERNAL_INTERRUPT) || !(pin & PIN_NMI))
		return "Umbra: external interrupts and NMIs exit";
	if (second & SECONDARY_VPID && !get(w, VMCS_VPID))
		return "26.2.1.1: VPID 0";
	if (second & (SECONDARY_EPT | SECONDARY_UNRESTRICTED_GUEST))
		return "Umbra: neither EPT nor unrestricted guest is used";
	return 0;
}

static const char *audit_injection(const struct vmx_view *w)
{
	uint64_t info = get(w, VMCS_ENTRY_INTERRUPTION);
	uint32_t type = (uint32_t)info & INTERRUPTION_TYPE, vector = (uint32_t)info & INTERRUPTION_VECTOR;
	bool error = info & INTERRUPTION_HAS_ERROR;

	if (!(info & INTERRUPTION_VALID))
		return 0;
	if (type == 1u << INTERRUPTION_TYPE_SHIFT || type == INTERRUPTION_OTHER || info & INTERRUPTION_RESERVED)
		return "26.2.1.3: interruption type";
	if ((type == INTERRUPTION_NMI && vector != 2) || (type == INTERRUPTION_EXCEPTION && vector > 31))
		return "26.2.1.3: vector against interruption type";
	if (error != (type == INTERRUPTION_EXCEPTION && WITH_ERROR >> vector & 1))
		return "26.2.1.3: deliver-error-code against vector";
	if (error && get(w, VMCS_ENTRY_ERROR_CODE) > ERROR_CODE_MAX)
		return "26.2.1.3: error code";
	if (type >= INTERRUPTION_SOFT_INTERRUPT) {
		uint64_t length = get(w, VMCS_ENTRY_LENGTH);

		if (length < 1 || length > INSTRUCTION_MAX)
			return "26.2.1.3: instruction length of a software event";
	}
	return 0;
}

const char *vmx_audit_controls(const struct vmx_view *w)
{
	const char *rule = audit_execution(w);
	uint64_t entry = get(w, VMCS_ENTRY_CONTROLS);

	if (rule)
		return rule;
	if (!allowed(get(w, VMCS_EXIT_CONTROLS), w->cap->exit))
		return "26.2.1.2: VM-exit controls against their capability MSR";
	if (get(w, VMCS_EXIT_MSR_STORE_COUNT) || get(w, VMCS_EXIT_MSR_LOAD_COUNT) || get(w, VMCS_ENTRY_MSR_LOAD_COUNT))
		return "Umbra: the MSR areas are empty";
	if (!allowed(entry, w->cap->entry))
		return "26.2.1.3: VM-entry controls against their capability MSR";
	if (entry & (ENTRY_CTL_SMM | ENTRY_CTL_DEACTIVATE_DUAL))
		return "26.2.1.3: entry to SMM from outside SMM";
	return audit_injection(w);
}

static const char *audit_host_segments(const struct vmx_view *w)
{
	static const uint32_t selectors[] = {
		VMCS_HOST_ES, VMCS_HOST_CS, VMCS_HOST_SS, VMCS_HOST_DS, VMCS_HOST_FS, VMCS_HOST_GS, VMCS_HOST_TR};
	static const uint32_t bases[] = {VMCS_HOST_FS_BASE, VMCS_HOST_GS_BASE, VMCS_HOST_TR_BASE, VMCS_HOST_GDTR_BASE,
		VMCS_HOST_IDTR_BASE, VMCS_HOST_SYSENTER_ESP, VMCS_HOST_SYSENTER_EIP, VMCS_HOST_RIP};

	for (unsigned i = 0; i < sizeof(selectors) / sizeof(*selectors); i++)
		if (get(w, selectors[i]) & SELECTOR_RPL_TI)
			return "26.2.3: host selector with RPL or TI";
	if (!get(w, VMCS_HOST_CS) || !get(w, VMCS_HOST_TR))
		return "26.2.3: host CS or TR is 0";
	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++)
		if (!vcpu_canonical(get(w, bases[i])))
			return "26.2.3: host address that is not canonical";
	return 0;
}

const char *vmx_audit_host(const struct vmx_view *w)
{
	uint64_t cr0 = get(w, VMCS_HOST_CR0), cr4 = get(w, VMCS_HOST_CR4), exit = get(w, VMCS_EXIT_CONTROLS);

	if ((cr0 & w->cap->cr0_must) != w->cap->cr0_must || cr0 & ~w->cap->cr0_may)
		return "26.2.2: host CR0 fixed bits";
	if ((cr4 & w->cap->cr4_must) != w->cap->cr4_must || cr4 & ~w->cap->cr4_may)
		return "26.2.2: host CR4 fixed bits";
	if (get(w, VMCS_HOST_CR3) >> w->cap->phys_bits)
		return "26.2.2: host CR3 beyond the physical-address width";
	if (!(exit & EXIT_CTL_HOST_64BIT) || !(cr4 & CR4_PAE))
		return "26.2.4: the host is in IA-32e mode";
	if (exit & EXIT_CTL_LOAD_EFER) {
		uint64_t efer = get(w, VMCS_HOST_EFER);

		if (efer & ~EFER_DEFINED || !(efer & EFER_LMA) || !(efer & EFER_LME))
			return "26.2.2: host EFER";
	}
	return audit_host_segments(w);
}

static const char *audit_guest_control(const struct vmx_view *w, bool long_mode)
{
	uint64_t cr0 = get(w, VMCS_GUEST_CR0), cr4 = get(w, VMCS_GUEST_CR4), entry = get(w, VMCS_ENTRY_CONTROLS);

	if (cr0 & CR0_PG && !(cr0 & CR0_PE))
		return "26.3.1.1: CR0.PG without CR0.PE";
	if (!(cr0 & CR0_PE) || !(cr0 & CR0_PG))
		return "26.3.1.1: CR0.PE and CR0.PG are 1 without unrestricted guest";
	if ((cr0 & w->cap->cr0_must) != w->cap->cr0_must || cr0 & ~w->cap->cr0_may)
		return "26.3.1.1: guest CR0 fixed bits";
	if (!(cr0 & CR0_WP))
		return "Umbra: real CR0.WP is 1";
	if ((cr4 & w->cap->cr4_must) != w->cap->cr4_must || cr4 & ~w->cap->cr4_may || !(cr4 & CR4_VMXE))
		return "26.3.1.1: guest CR4 fixed bits";
	if (!(cr4 & CR4_PAE))
		return long_mode ? "26.3.1.1: IA-32e mode without CR4.PAE" : "Umbra: real CR4.PAE is 1";
	if (cr4 & CR4_PCIDE)
		return "Umbra: real CR4.PCIDE is 0";
	if (get(w, VMCS_GUEST_CR3) >> w->cap->phys_bits)
		return "26.3.1.1: guest CR3 beyond the physical-address width";
	if (entry & ENTRY_CTL_LOAD_DEBUG && get(w, VMCS_GUEST_DEBUGCTL) & ~DEBUGCTL_DEFINED)
		return "26.3.1.1: guest IA32_DEBUGCTL";
	if (entry & ENTRY_CTL_LOAD_DEBUG && get(w, VMCS_GUEST_DR7) >> 32)
		return "26.3.1.1: guest DR7";
	if (!vcpu_canonical(get(w, VMCS_GUEST_SYSENTER_ESP)) || !vcpu_canonical(get(w, VMCS_GUEST_SYSENTER_EIP)))
		return "26.3.1.1: SYSENTER address that is not canonical";
	if (entry & ENTRY_CTL_LOAD_EFER) {
		uint64_t efer = get(w, VMCS_GUEST_EFER);

		if (efer & ~EFER_DEFINED)
			return "26.3.1.1: guest EFER reserved bits";
		if (!(efer & EFER_LMA) == long_mode || !(efer & EFER_LME) == long_mode)
			return "26.3.1.1: guest EFER.LMA and LME are the IA-32e mode control";
		if (!(efer & EFER_NXE))
			return "Umbra: real EFER.NXE is 1";
	}
	return 0;
}

static const char *audit_guest_flow(const struct vmx_view *w, bool long_mode)
{
	uint64_t rip = get(w, VMCS_GUEST_RIP), rflags = get(w, VMCS_GUEST_RFLAGS);
	bool code64 = long_mode && get(w, VMCS_GUEST_ATTR(CS)) & SEG_L;
	uint64_t info = get(w, VMCS_ENTRY_INTERRUPTION), blocking = get(w, VMCS_INTERRUPTIBILITY);
	bool external = info & INTERRUPTION_VALID && (info & INTERRUPTION_TYPE) == INTERRUPTION_EXTERNAL;
	bool nmi = info & INTERRUPTION_VALID && (info & INTERRUPTION_TYPE) == INTERRUPTION_NMI;
	uint64_t pending = get(w, VMCS_GUEST_PENDING_DEBUG);

	if (code64 ? !vcpu_canonical(rip) : rip >> 32 != 0)
		return "26.3.1.4: RIP";
	if (rflags & RFLAGS_ZEROS || !(rflags & RFLAGS_FIXED))
		return "26.3.1.4: RFLAGS reserved bits";
	if (rflags & RFLAGS_VM && long_mode)
		return "26.3.1.4: virtual-8086 mode in IA-32e mode";
	if (external && !(rflags & RFLAGS_IF))
		return "26.3.1.4: interrupt injected with RFLAGS.IF=0";
	if (get(w, VMCS_ACTIVITY) != ACTIVITY_ACTIVE)
		return "Umbra: the activity state is active";
	if (blocking & ~(uint64_t)(BLOCKING_STI | BLOCKING_MOV_SS | BLOCKING_NMI))
		return "26.3.1.5: interruptibility reserved bits or SMI blocking";
	if (blocking & BLOCKING_STI && blocking & BLOCKING_MOV_SS)
		return "26.3.1.5: blocking by STI and by MOV SS";
	if (blocking & BLOCKING_STI && !(rflags & RFLAGS_IF))
		return "26.3.1.5: blocking by STI with RFLAGS.IF=0";
	if (external && blocking & (BLOCKING_STI | BLOCKING_MOV_SS))
		return "26.3.1.5: interrupt injected while blocked";
	if (nmi && blocking & BLOCKING_MOV_SS)
		return "26.3.1.5: NMI injected while blocked by MOV SS";
	if (pending & ~PENDING_DEBUG_DEFINED)
		return "26.3.1.5: pending debug exceptions reserved bits";
	if (blocking & (BLOCKING_STI | BLOCKING_MOV_SS) && !(rflags & RFLAGS_TF) == !!(pending & PENDING_DEBUG_BS))
		return "26.3.1.5: pending single step against RFLAGS.TF";
	if (get(w, VMCS_LINK_POINTER) != LINK_POINTER_NONE)
		return "26.3.1.5: VMCS link pointer";
	return 0;
}

const char *vmx_audit_guest(const struct vmx_view *w)
{
	bool long_mode = get(w, VMCS_ENTRY_CONTROLS) & ENTRY_CTL_IA32E;
	const char *rule = audit_guest_control(w, long_mode);

	if (!rule)
		rule = vmx_audit_segments(w);
	if (!rule)
		rule = audit_guest_flow(w, long_mode);
	if (rule || long_mode)
		return rule;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t p = w->pdpte(w->context, i);
		uint64_t reserved = 0x1e6 | ~((1UL << w->cap->phys_bits) - 1);

		if (p & 1 && p & reserved)
			return "26.3.1.6: PDPTE reserved bits";
	}
	return 0;
}

const char *vmx_audit(const struct vmx_view *w)
{
	const char *rule = vmx_audit_controls(w);

	if (!rule)
		rule = vmx_audit_host(w);
	return rule ? rule : vmx_audit_guest(w);
}
