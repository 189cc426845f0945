/* SPDX-License-Identifier: MIT */
/* struct vcpu to the VMCS and back.
 *
 * Real CR0.PE=PG=WP=1, CR4.PAE=1, EFER.NXE=1, always: the shadow's tables need them. The guest sees its own values
 * through the read shadows; the bits of CR0_GUEST are its own in the hardware too. */
#include "guest/cr.h"
#include "guest/msr.h"
#include "hv/fpu.h"
#include "hv/vmx.h"
#include "hv/x86.h"

#define CR0_GUEST (CR0_TS | CR0_MP | CR0_EM | CR0_AM)
#define CR0_ALWAYS (CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET)
/* Of the guest's CR4, what never reaches the hardware: it would act on the shadow's tables or take a kick away. */
#define CR4_HIDDEN (CR4_PGE | CR4_PSE)
/* The same while the guest does not page: what is direct is open to the user, and not forbidden to the supervisor. */
#define CR4_HIDDEN_UNPAGED (CR4_HIDDEN | CR4_SMEP | CR4_SMAP)

static void write_control(struct vcpu *v)
{
	bool long_mode = vcpu_long_mode(v);
	uint64_t hidden = v->cr0 & CR0_PG ? CR4_HIDDEN : CR4_HIDDEN_UNPAGED;
	uint32_t entry = vmx_cap.use_entry & ~ENTRY_CTL_IA32E;

	vmwrite(VMCS_GUEST_CR0, ((v->cr0 & CR0_GUEST) | CR0_ALWAYS | vmx_cap.cr0_must) & vmx_cap.cr0_may);
	vmwrite(VMCS_CR0_SHADOW, v->cr0);
	vmwrite(VMCS_GUEST_CR4, ((v->cr4 & ~hidden) | CR4_PAE | CR4_VMXE | vmx_cap.cr4_must) & vmx_cap.cr4_may);
	vmwrite(VMCS_CR4_SHADOW, v->cr4);
	vmwrite(VMCS_ENTRY_CONTROLS, entry | (long_mode ? ENTRY_CTL_IA32E : 0));
	if (vmx_cap.use_efer) {
		vmwrite(VMCS_GUEST_EFER, (v->efer & EFER_SCE) | EFER_NXE | (long_mode ? EFER_LMA | EFER_LME : 0));
		return;
	}
	/* The entry takes LMA and LME from its control; SCE is the host's, which has no use for it, NXE too. */
	uint64_t host = rdmsr(MSR_EFER), want = (host & ~EFER_SCE) | (v->efer & EFER_SCE);

	if (host != want)
		wrmsr(MSR_EFER, want);
}

static void write_segments(const struct vcpu *v)
{
	for (unsigned i = 0; i < SEGS; i++) {
		vmwrite(VMCS_GUEST_SELECTOR(i), v->seg[i].selector);
		vmwrite(VMCS_GUEST_BASE(i), v->seg[i].base);
		vmwrite(VMCS_GUEST_LIMIT(i), v->seg[i].limit);
		vmwrite(VMCS_GUEST_ATTR(i), v->seg[i].attr);
	}
}

/* DR0 … DR3 are in the hardware only while one of them is enabled: nothing else looks at them. */
static void write_debug(const struct vcpu *v)
{
	vmwrite(VMCS_GUEST_DR7, v->dr7);
	if (v->dr7 & DR7_ENABLES)
		write_breakpoints(v->dr);
}

static void write_msrs(const struct vcpu *v)
{
	vmwrite(VMCS_GUEST_SYSENTER_CS, v->sysenter_cs);
	vmwrite(VMCS_GUEST_SYSENTER_ESP, v->sysenter_esp);
	vmwrite(VMCS_GUEST_SYSENTER_EIP, v->sysenter_eip);
	vmwrite(VMCS_TSC_OFFSET, v->tsc_offset);
	wrmsr(MSR_STAR, v->star);
	wrmsr(MSR_LSTAR, v->lstar);
	wrmsr(MSR_CSTAR, v->cstar);
	wrmsr(MSR_SFMASK, v->sfmask);
	if (v->model->rdtscp)
		wrmsr(MSR_TSC_AUX, v->tsc_aux);
	fpu_set_xcr0(v);
}

/* Bochs 2.7 does not open NMIs at the entry of a vCPU that has them open. They stay blocked by another, whose slice ended between an
 * NMI and its IRET, and the VMCS says so after the exit; one that never comes to an IRET would take none again. */
bool vmx_state_nmis_blocked(struct vcpu *v)
{
	const struct vmx_vcpu *x = v->backend;

	if (!x->may_block)
		vmwrite(VMCS_INTERRUPTIBILITY, vmread(VMCS_INTERRUPTIBILITY) & ~(uint64_t)BLOCKING_NMI);
	return x->may_block;
}

static void write_event(const struct vcpu *v)
{
	static const uint32_t type[] = {
		[EVENT_INTERRUPT] = INTERRUPTION_EXTERNAL,
		[EVENT_NMI] = INTERRUPTION_NMI,
		[EVENT_EXCEPTION] = INTERRUPTION_EXCEPTION,
		[EVENT_SOFT_INTERRUPT] = INTERRUPTION_SOFT_INTERRUPT,
		[EVENT_SOFT_EXCEPTION] = INTERRUPTION_SOFT_EXCEPTION,
	};
	const struct event *e = &v->event;
	uint32_t info = INTERRUPTION_VALID | type[e->type] | e->vector;

	if (e->type == EVENT_NMI) { /* its delivery blocks them; where one is delivered again they are (26.3.1.5) */
		vmwrite(VMCS_INTERRUPTIBILITY, 0);
		((struct vmx_vcpu *)v->backend)->may_block = true;
	}

	/* ICEBP's #DB is a type of its own. */
	if (e->type == EVENT_SOFT_EXCEPTION && e->vector == VECTOR_DB)
		info ^= INTERRUPTION_SOFT_EXCEPTION ^ INTERRUPTION_PRIVILEGED_SOFT;
	if (e->has_error) {
		info |= INTERRUPTION_HAS_ERROR;
		vmwrite(VMCS_ENTRY_ERROR_CODE, e->error);
	}
	if (e->type == EVENT_SOFT_INTERRUPT || e->type == EVENT_SOFT_EXCEPTION)
		vmwrite(VMCS_ENTRY_LENGTH, e->length);
	vmwrite(VMCS_ENTRY_INTERRUPTION, info);
}

static void write_windows(const struct vcpu *v)
{
	uint32_t controls = vmx_cap.use_cpu & ~(CPU_INTERRUPT_WINDOW | CPU_NMI_WINDOW);

	if (v->window)
		controls |= CPU_INTERRUPT_WINDOW;
	if (v->nmi_window && vmx_cap.use_pin & PIN_VIRTUAL_NMI)
		controls |= CPU_NMI_WINDOW;
	vmwrite(VMCS_CPU_CONTROLS, controls);
}

void vmx_state_write(struct vcpu *v)
{
	struct vmx_vcpu *x = v->backend;
	uint32_t changed = v->changed;

	v->changed = 0;
	if (changed & VCPU_CARRY) {
		vmx_state_fetch(v, VCPU_SEGMENTS);
		vcpu_wrap_rip(v);
	}
	if (changed & VCPU_RIP)
		vmwrite(VMCS_GUEST_RIP, v->rip);
	if (changed & VCPU_RSP)
		vmwrite(VMCS_GUEST_RSP, v->gpr[RSP]);
	if (changed & VCPU_FLOW) {
		vmwrite(VMCS_GUEST_RFLAGS, v->rflags);
		x->may_block |= v->nmi_blocked;
		if (!v->interrupt_shadow) {
			vmwrite(VMCS_INTERRUPTIBILITY, v->nmi_blocked ? BLOCKING_NMI : 0);
			/* Bochs leaves BS of an instruction that exits and is carried out here: its #DB is queued here too, or gdb's. */
			vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) & ~(uint64_t)PENDING_DEBUG_BS);
		}
	}
	if (changed & VCPU_CR2)
		write_cr2(v->cr2);
	if (changed & VCPU_EVENT && v->event.type != EVENT_NONE)
		write_event(v);
	else if (changed & VCPU_EVENT) /* one that was written may not have been entered with: then INIT came */
		vmwrite(VMCS_ENTRY_INTERRUPTION, 0);
	if (changed & VCPU_WINDOW)
		write_windows(v);
	if (!(changed & ~VCPU_EASY))
		return;
	x->audit = true;
	if (changed & VCPU_CONTROL)
		write_control(v);
	if (changed & VCPU_SEGMENTS)
		write_segments(v);
	if (changed & VCPU_TABLES) {
		vmwrite(VMCS_GUEST_GDTR_BASE, v->gdtr.base);
		vmwrite(VMCS_GUEST_GDTR_LIMIT, v->gdtr.limit);
		vmwrite(VMCS_GUEST_IDTR_BASE, v->idtr.base);
		vmwrite(VMCS_GUEST_IDTR_LIMIT, v->idtr.limit);
	}
	if (changed & VCPU_DEBUG)
		write_debug(v);
	if (changed & VCPU_MSRS)
		write_msrs(v);
}

void vmx_state_fetch(struct vcpu *v, uint32_t parts)
{
	parts &= v->stale;
	v->stale &= ~parts;
	if (parts & VCPU_RSP)
		v->gpr[RSP] = vmread(VMCS_GUEST_RSP);
	if (parts & VCPU_FLOW)
		vmx_state_fetch_flow(v);
	if (parts & VCPU_CR2)
		v->cr2 = read_cr2();
	if (parts & VCPU_CONTROL)
		v->cr0 = (v->cr0 & ~CR0_GUEST) | (vmread(VMCS_GUEST_CR0) & CR0_GUEST);
	if (parts & VCPU_SEGMENTS)
		for (unsigned i = 0; i < SEGS; i++)
			v->seg[i] = (struct segment){
				.base = vmread(VMCS_GUEST_BASE(i)),
				.limit = (uint32_t)vmread(VMCS_GUEST_LIMIT(i)),
				.attr = (uint32_t)vmread(VMCS_GUEST_ATTR(i)),
				.selector = (uint16_t)vmread(VMCS_GUEST_SELECTOR(i)),
			};
	if (parts & VCPU_TABLES) {
		v->gdtr = (struct desc_table){vmread(VMCS_GUEST_GDTR_BASE), (uint32_t)vmread(VMCS_GUEST_GDTR_LIMIT)};
		v->idtr = (struct desc_table){vmread(VMCS_GUEST_IDTR_BASE), (uint32_t)vmread(VMCS_GUEST_IDTR_LIMIT)};
	}
}

void vmx_state_load_registers(struct vcpu *v)
{
	wrmsr(MSR_KERNEL_GS_BASE, v->kernel_gs_base);
	fpu_load(v);
	/* These are not in the VMCS alone. */
	v->changed |= VCPU_MSRS | VCPU_DEBUG | VCPU_CR2;
	/* CONTROL writes the host's EFER where the VMCS has none. */
	vmx_state_fetch(v, VCPU_CONTROL);
	v->changed |= VCPU_CONTROL;
}

void vmx_state_save_registers(struct vcpu *v)
{
	v->kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE);
	vmx_state_fetch(v, VCPU_CR2);
	fpu_save(v);
}
