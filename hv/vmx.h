/* SPDX-License-Identifier: MIT */
/* Inside the VMX backend. */
#ifndef HV_VMX_H
#define HV_VMX_H

#include "hv/backend.h"
#include "hv/vmx_cap.h"
#include "hv/vmx_vmcs.h"

/* A vCPU's side: struct vcpu.backend. Only the CPU that runs the vCPU touches it. */
struct vmx_vcpu {
	void *vmcs;
	void *msr_bitmap;
	bool audit;    /* check the VMCS before the next entry */
	bool may_block; /* an NMI was delivered, and its IRET may be to come */
	uint16_t vpid; /* 0: none; every transition flushes */
	int cpu;       /* where the VMCS is active, -1 nowhere */
};

/* What this CPU holds. Its own. */
struct vmx_cpu {
	void *vmxon_region;
	struct vcpu *loaded; /* whose VMCS is current and whose registers are in the hardware */
};
struct vmx_cpu *vmx_this_cpu(void);

/* Why an entry was not made (known to vmx_entry.S): RFLAGS.ZF, RFLAGS.CF, or something is asked of this CPU. */
enum vmx_status { VMX_FAIL_VALID = 1, VMX_FAIL_INVALID = 2, VMX_ASKED = 3 };

static inline uint64_t vmread(uint64_t field)
{
	uint64_t value;

	asm volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
	return value;
}

static inline void vmwrite(uint64_t field, uint64_t value)
{
	asm volatile("vmwrite %1, %0" : : "r"(field), "r"(value) : "cc", "memory");
}

/* vmx_entry.S. It is called by vmx_enter() alone, which knows what registers it loses. */
extern char vmx_run[], vmx_entry_start[], vmx_entry_end[], vmx_entry_asked[];

/* vmx_preflight.c: struct backend's. */
const char *vmx_preflight(void);
bool vmx_preflight_cpu(void);

/* vmx_setup.c: fills a new, current VMCS: controls, host state of this CPU, constants of the guest state. */
void vmx_setup(struct vcpu *v);
/* The host-state fields that differ between CPUs. */
void vmx_setup_host_cpu(void);

/* vmx_state.c: struct vcpu to the VMCS and back. v is loaded. */
void vmx_state_write(struct vcpu *v);
void vmx_state_fetch(struct vcpu *v, uint32_t parts);
/* The VMCS has NMIs blocked. Is that so? If not it is mended. */
bool vmx_state_nmis_blocked(struct vcpu *v);
/* VCPU_FLOW. */
static inline void vmx_state_fetch_flow(struct vcpu *v)
{
	uint64_t blocking = vmread(VMCS_INTERRUPTIBILITY);

	v->rflags = vmread(VMCS_GUEST_RFLAGS);
	v->interrupt_shadow = blocking & (BLOCKING_STI | BLOCKING_MOV_SS);
	v->nmi_blocked = blocking & BLOCKING_NMI && vmx_state_nmis_blocked(v);
}
/* The registers that no VMCS field holds: SYSCALL's MSRs, DR0 … DR3, XCR0 and the FPU. */
void vmx_state_load_registers(struct vcpu *v);
void vmx_state_save_registers(struct vcpu *v);

/* vmx_exit.c: what an exit was. */
void vmx_exit_decode(struct vcpu *v, struct exit *e); /* e->code and e->length are known */
void vmx_exit_describe(struct vcpu *v, struct exit *e);

#endif
