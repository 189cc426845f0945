/* SPDX-License-Identifier: MIT */
/* What this processor's VMX offers (SDM vol. 3, appendix A), and the controls chosen from it. */
#ifndef HV_VMX_CAP_H
#define HV_VMX_CAP_H

#include <stdbool.h>
#include <stdint.h>

/* must: bits that have to be 1; may: bits that can be 1. */
struct vmx_control {
	uint32_t must, may;
};

struct vmx_cap {
	uint32_t revision;         /* first word of VMXON region and VMCS */
	bool ins_outs_information; /* exits of INS and OUTS say their segment and address size */
	struct vmx_control pin, cpu, secondary, exit, entry;
	uint64_t cr0_must, cr0_may, cr4_must, cr4_may;
	bool invvpid_single, invvpid_address;
	unsigned phys_bits; /* the CPU's MAXPHYADDR */
	/* chosen, not counting what depends on the guest */
	uint32_t use_pin, use_cpu, use_secondary, use_exit, use_entry;
	bool use_vpid, use_efer; /* VPIDs; EFER by VM-entry and VM-exit controls */
};

/* Reads the MSRs and chooses. False: *why (a string constant) names the first thing that is missing. Needs CPUID's VMX
 * bit; works before VMXON. */
bool vmx_cap_read(struct vmx_cap *c, const char **why);

/* All CPUs have the same; read once by the boot processor's cpu_on(). */
extern struct vmx_cap vmx_cap;

#endif
