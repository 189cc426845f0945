/* SPDX-License-Identifier: MIT */
/* What CPUID shows a guest: the host's features, less those that this hypervisor does not carry, as a table. */
#ifndef GUEST_CPUID_H
#define GUEST_CPUID_H

#include "guest/vcpu.h"

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};
/* The host's CPUID. */
typedef struct cpuid_regs (*cpuid_source)(uint32_t leaf, uint32_t subleaf);

#define CPUID_BASIC_LEAVES 0xe
#define CPUID_EXTENDED_LEAVES 9
#define CPUID_SPECIAL_LEAVES (1u << 1 | 1u << 4 | 1u << 7 | 1u << 0xb | 1u << 0xd) /* basic ones that are more than an entry of the table */
#define CPUID_XSAVE_AREAS 8 /* components 0 … 7 of XCR0 are the most that is offered */
#define CPUID_HYPERVISOR 0x40000000u
#define CPUID_EXTENDED 0x80000000u

/* Features that change what an opcode does (SDM vol. 2, CPUID). */
#define CPUID_EBX7_BMI1 (1u << 3)    /* F3 BSF is TZCNT */
#define CPUID_ECXE1_LZCNT (1u << 5)  /* F3 BSR is LZCNT */

/* XCR0 components (SDM vol. 1, 13.1). */
#define XCR0_X87 (1UL << 0)
#define XCR0_SSE (1UL << 1)
#define XCR0_AVX (1UL << 2)
#define XCR0_AVX512 (7UL << 5)

/* Fixed after cpuid_init; shared by all guests. */
struct cpuid_model {
	struct cpuid_regs basic[CPUID_BASIC_LEAVES], extended[CPUID_EXTENDED_LEAVES]; /* masked, subleaf 0 */
	struct cpuid_regs xsave[CPUID_XSAVE_AREAS];                                   /* leaf 0xd, subleaf n */
	struct cpuid_regs cache[4];                                                   /* leaf 4, subleaf n */
	uint64_t cr4;                                                                 /* bits that a guest may set */
	uint64_t efer;                                                                /* the same */
	uint64_t xcr0;                                                                /* the same; 0: no XSAVE */
	unsigned phys_bits;                                                           /* MAXPHYADDR */
	bool rdtscp;
	bool amd; /* the vendor */
};

/* Makes the model. rdtscp: the backend lets guests execute RDTSCP. */
void cpuid_init(struct cpuid_model *m, cpuid_source host, bool rdtscp);

/* CPUID as vCPU v sees it now (OSXSAVE, APIC id and the size of the XSAVE area depend on it). */
struct cpuid_regs cpuid_guest(const struct vcpu *v, uint32_t leaf, uint32_t subleaf);

/* The instruction, but for RIP. Most leaves are an entry of the table. */
static inline void cpuid_execute(struct vcpu *v)
{
	const struct cpuid_regs *r;
	struct cpuid_regs made;
	uint32_t leaf = (uint32_t)v->gpr[RAX];

	if (leaf < CPUID_BASIC_LEAVES && !(CPUID_SPECIAL_LEAVES >> leaf & 1)) {
		r = &v->model->basic[leaf];
	} else {
		made = cpuid_guest(v, leaf, (uint32_t)v->gpr[RCX]);
		r = &made;
	}
	v->gpr[RAX] = r->eax;
	v->gpr[RBX] = r->ebx;
	v->gpr[RCX] = r->ecx;
	v->gpr[RDX] = r->edx;
}

/* May XCR0 be set to this value (SDM vol. 1, 13.3)? */
bool cpuid_xcr0_valid(const struct cpuid_model *m, uint64_t value);

#endif
