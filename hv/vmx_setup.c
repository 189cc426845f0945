/* SPDX-License-Identifier: MIT */
#include "boot/bootinfo.h"
#include "guest/msr.h"
#include "hv/cpu.h"
#include "hv/trap.h"
#include "hv/vmx.h"
#include "hv/x86.h"

/* The guest's own exceptions are its business, but #PF, and two that an endless delivery of would never leave the guest
 * (CVE-2015-5307, CVE-2015-8104), and machine checks. */
#define INTERCEPTED (1u << VECTOR_PF | 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC)

/* The MSR bitmap's four parts: reads and writes of 0 … 0x1fff, then of 0xc0000000 … 0xc0001fff. */
#define BITMAP_READ_HIGH 1024
#define BITMAP_WRITE_HIGH 3072
#define BITMAP_HIGH_FIRST 0xc0000000u

extern char vmx_exit_entry[];

static void pass_through(uint8_t *bitmap, uint32_t msr)
{
	uint32_t n = msr - BITMAP_HIGH_FIRST;

	bitmap[BITMAP_READ_HIGH + n / 8] &= (uint8_t) ~(1u << n % 8);
	bitmap[BITMAP_WRITE_HIGH + n / 8] &= (uint8_t) ~(1u << n % 8);
}

static void setup_controls(const struct vmx_vcpu *x)
{
	uint32_t secondary = vmx_cap.use_secondary;

	if (x->vpid) {
		secondary |= SECONDARY_VPID;
		vmwrite(VMCS_VPID, x->vpid);
	}
	vmwrite(VMCS_PIN_CONTROLS, vmx_cap.use_pin);
	vmwrite(VMCS_CPU_CONTROLS, vmx_cap.use_cpu & ~CPU_INTERRUPT_WINDOW);
	if (vmx_cap.use_cpu & CPU_SECONDARY)
		vmwrite(VMCS_SECONDARY_CONTROLS, secondary);
	vmwrite(VMCS_EXIT_CONTROLS, vmx_cap.use_exit);
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_cap.use_entry & ~ENTRY_CTL_IA32E);
	vmwrite(VMCS_EXCEPTION_BITMAP, INTERCEPTED);
	/* With both 0 every #PF exits. */
	vmwrite(VMCS_PF_ERROR_MASK, 0);
	vmwrite(VMCS_PF_ERROR_MATCH, 0);
	vmwrite(VMCS_CR3_TARGET_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_INTERRUPTION, 0);
	vmwrite(VMCS_MSR_BITMAP, host_phys(x->msr_bitmap).v);
	vmwrite(VMCS_LINK_POINTER, LINK_POINTER_NONE);
}

static void setup_host(void)
{
	vmwrite(VMCS_HOST_CR0, read_cr0());
	vmwrite(VMCS_HOST_CR3, read_cr3());
	vmwrite(VMCS_HOST_CR4, read_cr4());
	vmwrite(VMCS_HOST_CS, SELECTOR_CODE);
	vmwrite(VMCS_HOST_SS, SELECTOR_DATA);
	vmwrite(VMCS_HOST_DS, SELECTOR_DATA);
	vmwrite(VMCS_HOST_ES, SELECTOR_DATA);
	vmwrite(VMCS_HOST_FS, 0);
	vmwrite(VMCS_HOST_GS, 0);
	vmwrite(VMCS_HOST_TR, SELECTOR_TSS);
	vmwrite(VMCS_HOST_FS_BASE, 0);
	vmwrite(VMCS_HOST_IDTR_BASE, trap_idt_base());
	vmwrite(VMCS_HOST_SYSENTER_CS, 0);
	vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
	vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
	vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_exit_entry);
	if (vmx_cap.use_efer)
		vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
}

void vmx_setup_host_cpu(void)
{
	struct cpu *c = this_cpu();

	vmwrite(VMCS_HOST_GS_BASE, (uint64_t)c);
	vmwrite(VMCS_HOST_TR_BASE, (uint64_t)&c->tss);
	vmwrite(VMCS_HOST_GDTR_BASE, (uint64_t)c->gdt);
}

void vmx_setup(struct vcpu *v)
{
	struct vmx_vcpu *x = v->backend;

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		((uint8_t *)x->msr_bitmap)[i] = 0xff;
	/* In the VMCS, or switched with the vCPU: SWAPGS changes the last without an exit anyway. */
	pass_through(x->msr_bitmap, MSR_FS_BASE);
	pass_through(x->msr_bitmap, MSR_GS_BASE);
	pass_through(x->msr_bitmap, MSR_KERNEL_GS_BASE);

	setup_controls(x);
	setup_host();
	vmwrite(VMCS_CR0_MASK, ~(CR0_TS | CR0_MP | CR0_EM | CR0_AM));
	vmwrite(VMCS_CR4_MASK, ~0UL);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
	vmwrite(VMCS_INTERRUPTIBILITY, 0);
	vmwrite(VMCS_ACTIVITY, ACTIVITY_ACTIVE);
}
