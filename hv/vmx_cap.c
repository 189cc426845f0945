/* SPDX-License-Identifier: MIT */
#include "hv/vmx_cap.h"
#include "hv/vmx_vmcs.h"
#include "hv/x86.h"

/* Capability MSRs. */
#define MSR_VMX_BASIC 0x480
#define MSR_VMX_PIN 0x481
#define MSR_VMX_CPU 0x482
#define MSR_VMX_EXIT 0x483
#define MSR_VMX_ENTRY 0x484
#define MSR_VMX_CR0_FIXED0 0x486
#define MSR_VMX_CR0_FIXED1 0x487
#define MSR_VMX_CR4_FIXED0 0x488
#define MSR_VMX_CR4_FIXED1 0x489
#define MSR_VMX_SECONDARY 0x48b
#define MSR_VMX_EPT_VPID 0x48c
#define MSR_VMX_TRUE_PIN 0x48d
#define MSR_VMX_TRUE_CPU 0x48e
#define MSR_VMX_TRUE_EXIT 0x48f
#define MSR_VMX_TRUE_ENTRY 0x490

#define BASIC_REVISION 0x7fffffffu
#define BASIC_INS_OUTS (1UL << 54)
#define BASIC_TRUE (1UL << 55)
#define EPT_VPID_INVVPID (1UL << 32)
#define EPT_VPID_ADDRESS (1UL << 40)
#define EPT_VPID_SINGLE (1UL << 41)

struct vmx_cap vmx_cap;

/* A control that this hypervisor cannot do without. */
struct need {
	uint32_t bit;
	const char *missing;
};

static const struct need pin_needs[] = {
	{PIN_EXTERNAL_INTERRUPT, "VMX control external-interrupt exiting"},
	{PIN_NMI, "VMX control NMI exiting"},
	{0, 0},
};
static const struct need cpu_needs[] = {
	{CPU_INTERRUPT_WINDOW, "VMX control interrupt-window exiting"},
	{CPU_TSC_OFFSETTING, "VMX control use TSC offsetting"},
	{CPU_HLT, "VMX control HLT exiting"},
	{CPU_INVLPG, "VMX control INVLPG exiting"},
	{CPU_MWAIT, "VMX control MWAIT exiting"},
	{CPU_RDPMC, "VMX control RDPMC exiting"},
	{CPU_CR3_LOAD, "VMX control CR3-load exiting"},
	{CPU_CR3_STORE, "VMX control CR3-store exiting"},
	{CPU_CR8_LOAD, "VMX control CR8-load exiting"},
	{CPU_CR8_STORE, "VMX control CR8-store exiting"},
	{CPU_MOV_DR, "VMX control MOV-DR exiting"},
	{CPU_IO, "VMX control unconditional I/O exiting"},
	{CPU_MSR_BITMAPS, "VMX control use MSR bitmaps"},
	{CPU_MONITOR, "VMX control MONITOR exiting"},
	{0, 0},
};
static const struct need exit_needs[] = {
	{EXIT_CTL_SAVE_DEBUG, "VM-exit control save debug controls"},
	{EXIT_CTL_HOST_64BIT, "VM-exit control host address-space size"},
	{0, 0},
};
static const struct need entry_needs[] = {
	{ENTRY_CTL_LOAD_DEBUG, "VM-entry control load debug controls"},
	{ENTRY_CTL_IA32E, "VM-entry control IA-32e mode guest"},
	{0, 0},
};

static struct vmx_control control(uint32_t msr)
{
	uint64_t v = rdmsr(msr);

	return (struct vmx_control){.must = (uint32_t)v, .may = (uint32_t)(v >> 32)};
}

/* What is needed, what is wanted if it can be had, and what must be set anyway. */
static bool choose(uint32_t *use, struct vmx_control c, const struct need *needs, uint32_t wanted, const char **why)
{
	*use = c.must | (wanted & c.may);
	for (const struct need *n = needs; n->bit; n++) {
		if (!(c.may & n->bit)) {
			*why = n->missing;
			return false;
		}
		*use |= n->bit;
	}
	return true;
}

static void read_controls(struct vmx_cap *c, bool exact)
{
	c->pin = control(exact ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN);
	c->cpu = control(exact ? MSR_VMX_TRUE_CPU : MSR_VMX_CPU);
	c->exit = control(exact ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT);
	c->entry = control(exact ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY);
	if (c->cpu.may & CPU_SECONDARY)
		c->secondary = control(MSR_VMX_SECONDARY);
	/* This MSR exists only with EPT or VPID. */
	if (c->secondary.may & (SECONDARY_EPT | SECONDARY_VPID)) {
		uint64_t v = rdmsr(MSR_VMX_EPT_VPID);

		c->invvpid_single = v & EPT_VPID_INVVPID && v & EPT_VPID_SINGLE;
		c->invvpid_address = v & EPT_VPID_INVVPID && v & EPT_VPID_ADDRESS;
	}
}

bool vmx_cap_read(struct vmx_cap *c, const char **why)
{
	uint64_t basic = rdmsr(MSR_VMX_BASIC);

	*c = (struct vmx_cap){.revision = basic & BASIC_REVISION, .ins_outs_information = basic & BASIC_INS_OUTS};
	read_controls(c, basic & BASIC_TRUE);
	c->cr0_must = rdmsr(MSR_VMX_CR0_FIXED0);
	c->cr0_may = rdmsr(MSR_VMX_CR0_FIXED1);
	c->cr4_must = rdmsr(MSR_VMX_CR4_FIXED0);
	c->cr4_may = rdmsr(MSR_VMX_CR4_FIXED1);
	c->phys_bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;

	if (!c->ins_outs_information) {
		*why = "VMX information about INS and OUTS exits";
		return false;
	}
	c->use_vpid = c->secondary.may & SECONDARY_VPID && c->invvpid_single;
	c->use_efer = c->entry.may & ENTRY_CTL_LOAD_EFER && c->exit.may & EXIT_CTL_LOAD_EFER;
	/* VPID is set when a vCPU gets one. */
	c->use_secondary = c->secondary.must | (c->secondary.may & (SECONDARY_RDTSCP | SECONDARY_WBINVD));
	return choose(&c->use_pin, c->pin, pin_needs, PIN_VIRTUAL_NMI, why) &&
	       choose(&c->use_cpu, c->cpu, cpu_needs, CPU_SECONDARY, why) &&
	       choose(&c->use_exit, c->exit, exit_needs, c->use_efer ? EXIT_CTL_LOAD_EFER : 0, why) &&
	       choose(&c->use_entry, c->entry, entry_needs, c->use_efer ? ENTRY_CTL_LOAD_EFER : 0, why);
}
