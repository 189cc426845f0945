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
	bool launched; /* VMRESUME from now on */
	bool audit;    /* check the VMCS before the next entry */
	bool window;   /* interrupt-window exiting is on */
	uint16_t vpid; /* 0: none; every transition flushes */
	int cpu;       /* where the VMCS is active, -1 nowhere */
};

/* What this CPU holds. Its own. */
struct vmx_cpu {
	void *vmxon_region;
	struct vcpu *loaded; /* whose VMCS is current and whose registers are in the hardware */
};
struct vmx_cpu *vmx_this_cpu(void);

/* How an entry went (known to vmx_entry.S): the exit is there, RFLAGS.ZF, RFLAGS.CF, or an NMI came before it. */
enum vmx_status { VMX_OK = 0, VMX_FAIL_VALID = 1, VMX_FAIL_INVALID = 2, VMX_CANCELLED = 3 };

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

/* Guest entry (vmx_entry.S). gpr: struct vcpu.gpr; RSP, RIP and RFLAGS are in the VMCS. Interrupts off. Returns after
 * the next exit (VMX_OK), or with how the entry failed. */
enum vmx_status vmx_run(uint64_t *gpr, bool launched);
extern char vmx_entry_start[], vmx_entry_end[], vmx_entry_cancelled[];

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
void vmx_state_write_event(struct vcpu *v);
/* The registers that no VMCS field holds: SYSCALL's MSRs, DR0 … DR3, XCR0 and the FPU. */
void vmx_state_load_registers(struct vcpu *v);
void vmx_state_save_registers(struct vcpu *v);

/* vmx_exit.c: what an exit was. */
extern const uint8_t
	vmx_exit_plain[VMX_EXITS]; /* the enum exit_reason of an exit that its number alone tells, else 0 */
void vmx_exit_decode(struct vcpu *v, struct exit *e); /* e->code, which is no plain one */
void vmx_exit_describe(struct vcpu *v, struct exit *e);

#endif
