/* SPDX-License-Identifier: MIT */
#include "guest/cpuid.h"
#include "guest/pv.h"

#define BIT(n) (1u << (n))

/* Leaf 1. */
#define ECX1_XSAVE BIT(26)
#define ECX1_OSXSAVE BIT(27)
#define ECX1_AVX BIT(28)
#define ECX1_X2APIC BIT(21)
#define ECX1_TSC_DEADLINE BIT(24)
#define ECX1_HYPERVISOR BIT(31)
/* SSE3, PCLMULQDQ, SSSE3, FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND.
 * Hidden: MONITOR, VMX, SMX, debug store and power features, PCID (each load of CR3 flushes all, so that nothing could be kept by
 * it). The local APIC is ours: x2APIC, its timer's TSC deadline, and the APIC itself are there whatever the host has. */
#define ECX1_SHOWN                                                                                                     \
	(BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | ECX1_XSAVE | \
		ECX1_AVX | BIT(29) | BIT(30))
#define EDX1_VME BIT(1)
#define EDX1_DE BIT(2)
#define EDX1_PSE BIT(3)
#define EDX1_TSC BIT(4)
#define EDX1_PAE BIT(6)
#define EDX1_MCE BIT(7)
#define EDX1_MCA BIT(14)
#define EDX1_APIC BIT(9)
#define EDX1_PGE BIT(13)
#define EDX1_FXSR BIT(24)
#define EDX1_SSE BIT(25)
/* FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, SEP, MTRR, PGE, CMOV, PAT, PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2, SS.
 * Hidden: serial number, debug store, thermal features, HTT. The machine-check architecture is ours too: it has no banks. */
#define EDX1_SHOWN                                                                                                     \
	(BIT(0) | EDX1_VME | EDX1_DE | EDX1_PSE | EDX1_TSC | BIT(5) | EDX1_PAE | BIT(8) | BIT(11) | BIT(12) |          \
		EDX1_PGE | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | EDX1_FXSR | EDX1_SSE | BIT(26) | BIT(27))
#define EBX1_APIC_ID_SHIFT 24
#define EBX1_CLFLUSH 0x0000ff00u

/* Leaf 7. */
#define EBX7_FSGSBASE BIT(0)
#define EBX7_AVX2 BIT(5)
#define EBX7_SMEP BIT(7)
#define EBX7_SMAP BIT(20)
/* AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL. */
#define EBX7_AVX512 (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
/* FSGSBASE, BMI1, AVX2, FDP, BMI2, ERMS, FCS/FDS, RDSEED, ADX, CLFLUSHOPT, CLWB, SHA, AVX512.
 * SMEP, SMAP. Hidden: TSC_ADJUST, SGX, HLE, INVPCID (with PCID, see ECX1), RTM, PQM, MPX, PT. */
#define EBX7_SHOWN                                                                                                     \
	(EBX7_FSGSBASE | BIT(3) | EBX7_AVX2 | BIT(6) | EBX7_SMEP | BIT(8) | BIT(9) | BIT(13) | BIT(18) | BIT(19) |                 \
		EBX7_SMAP | BIT(23) | BIT(24) | BIT(29) | EBX7_AVX512)
/* VBMI, VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ. Hidden: UMIP, PKU, CET, LA57, RDPID and all else. */
#define ECX7_AVX512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
#define ECX7_AVX (BIT(9) | BIT(10))
#define ECX7_SHOWN (ECX7_AVX512 | ECX7_AVX | BIT(8))
/* 4VNNIW, 4FMAPS. */
#define EDX7_SHOWN (BIT(2) | BIT(3))

/* Leaf 0xd. */
/* XSAVEOPT; not XGETBV with ECX=1, XSAVES, nor XSAVEC: from its area Bochs 2.7 restores no YMM and no opmask registers. */
#define EAXD1_SHOWN BIT(0)
#define XSAVE_LEGACY_BYTES 576u

/* Leaf 0x80000001. */
#define ECXE1_SHOWN (BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8)) /* LAHF, LZCNT, SSE4A, misaligned SSE, PREFETCHW */
#define EDXE1_AMD_TWINS 0x0183f3ffu                              /* what AMD shows as in leaf 1 */
#define EDXE1_SYSCALL BIT(11)
#define EDXE1_NX BIT(20)
#define EDXE1_1GB BIT(26)
#define EDXE1_RDTSCP BIT(27)
#define EDXE1_LM BIT(29)
#define EDXE1_SHOWN ((EDX1_SHOWN & EDXE1_AMD_TWINS) | EDXE1_SYSCALL | EDXE1_NX | BIT(22) | BIT(25) | EDXE1_LM)
#define EDXE7_INVARIANT_TSC BIT(8)

/* "UmbraUmbraUm" */
#define SIGNATURE_EBX 0x72626d55u
#define SIGNATURE_ECX 0x626d5561u
#define SIGNATURE_EDX 0x6d556172u

#define AMD_EBX 0x68747541u /* "Auth…" */

/* Leaf 0xb: a package has one core, a core one thread. */
#define TYPE_THREAD (1u << 8)
#define TYPE_CORE (2u << 8)

/* Leaf 4: no other processor shares a cache (bits 31:14). */
#define EAX4_SHOWN 0x00003fffu

/* What is shown of each leaf; leaves that are not here are 0. */
static const struct cpuid_regs basic_mask[CPUID_BASIC_LEAVES] = {
	[0] = {0, ~0u, ~0u, ~0u},
	[1] = {~0u, EBX1_CLFLUSH, ECX1_SHOWN, EDX1_SHOWN},
	[2] = {~0u, ~0u, ~0u, ~0u},
	[7] = {0, EBX7_SHOWN, ECX7_SHOWN, EDX7_SHOWN},
};
static const struct cpuid_regs extended_mask[CPUID_EXTENDED_LEAVES] = {
	[0] = {0, ~0u, ~0u, ~0u},
	[1] = {~0u, 0, ECXE1_SHOWN, EDXE1_SHOWN},
	[2] = {~0u, ~0u, ~0u, ~0u},
	[3] = {~0u, ~0u, ~0u, ~0u},
	[4] = {~0u, ~0u, ~0u, ~0u},
	[5] = {~0u, ~0u, ~0u, ~0u},
	[6] = {~0u, ~0u, ~0u, ~0u},
	[7] = {0, 0, 0, EDXE7_INVARIANT_TSC},
	[8] = {0x0000ffffu, 0, 0, 0},
};

/* CR4 bits, and the feature that each needs. */
struct cr4_rule {
	uint64_t bits;
	bool extended_leaf7;
	char reg;
	uint32_t feature;
};
static const struct cr4_rule cr4_rules[] = {
	{3UL << 0, false, 'd', EDX1_VME}, /* VME, PVI */
	{1UL << 2, false, 'd', EDX1_TSC}, /* TSD */
	{1UL << 3, false, 'd', EDX1_DE},  /* DE */
	{1UL << 6, false, 'd', EDX1_MCE}, /* MCE */
	{CR4_PSE, false, 'd', EDX1_PSE}, {CR4_PAE, false, 'd', EDX1_PAE}, {CR4_PGE, false, 'd', EDX1_PGE},
	{1UL << 8, false, 'd', EDX1_TSC},      /* PCE */
	{1UL << 9, false, 'd', EDX1_FXSR},     /* OSFXSR */
	{1UL << 10, false, 'd', EDX1_SSE},     /* OSXMMEXCPT */
	{1UL << 16, true, 'b', EBX7_FSGSBASE}, /* FSGSBASE */
	{1UL << 18, false, 'c', ECX1_XSAVE},   /* OSXSAVE */
	{CR4_SMEP, true, 'b', EBX7_SMEP}, {CR4_SMAP, true, 'b', EBX7_SMAP},
};

static struct cpuid_regs masked(struct cpuid_regs r, struct cpuid_regs m)
{
	return (struct cpuid_regs){r.eax & m.eax, r.ebx & m.ebx, r.ecx & m.ecx, r.edx & m.edx};
}

/* XSAVE components, and the features that fall with them. */
static void init_xsave(struct cpuid_model *m, cpuid_source host, uint32_t host_max)
{
	struct cpuid_regs d = {0};

	if (m->basic[1].ecx & ECX1_XSAVE && host_max >= 0xd) {
		d = host(0xd, 0);
		m->xcr0 = d.eax & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512);
	}
	if ((m->xcr0 & XCR0_AVX512) != XCR0_AVX512 || !(m->xcr0 & XCR0_AVX))
		m->xcr0 &= ~XCR0_AVX512;
	if (!(m->xcr0 & XCR0_X87) || !(m->xcr0 & XCR0_SSE)) {
		m->xcr0 = 0;
		m->basic[1].ecx &= ~ECX1_XSAVE;
	}
	if (!(m->xcr0 & XCR0_AVX)) {
		m->basic[1].ecx &= ~(ECX1_AVX | BIT(12) | BIT(29)); /* FMA, F16C */
		m->basic[7].ebx &= ~EBX7_AVX2;
		m->basic[7].ecx &= ~ECX7_AVX;
	}
	if (!(m->xcr0 & XCR0_AVX512)) {
		m->basic[7].ebx &= ~EBX7_AVX512;
		m->basic[7].ecx &= ~ECX7_AVX512;
		m->basic[7].edx = 0;
	}
	if (!m->xcr0)
		return;
	for (unsigned i = 1; i < CPUID_XSAVE_AREAS; i++)
		m->xsave[i] = i == 1             ? masked(host(0xd, 1), (struct cpuid_regs){EAXD1_SHOWN, 0, 0, 0})
			      : m->xcr0 & BIT(i) ? host(0xd, i)
						 : (struct cpuid_regs){0};
}

static void init_control_masks(struct cpuid_model *m)
{
	for (unsigned i = 0; i < sizeof(cr4_rules) / sizeof(*cr4_rules); i++) {
		const struct cr4_rule *r = &cr4_rules[i];
		const struct cpuid_regs *leaf = r->extended_leaf7 ? &m->basic[7] : &m->basic[1];
		uint32_t have = r->reg == 'b' ? leaf->ebx : r->reg == 'c' ? leaf->ecx : leaf->edx;

		if (have & r->feature)
			m->cr4 |= r->bits;
	}
	if (m->extended[1].edx & EDXE1_SYSCALL)
		m->efer |= 1; /* SCE */
	if (m->extended[1].edx & EDXE1_NX)
		m->efer |= EFER_NXE;
	if (m->extended[1].edx & EDXE1_LM)
		m->efer |= EFER_LME;
}

void cpuid_init(struct cpuid_model *m, cpuid_source host, bool rdtscp)
{
	uint32_t max = host(0, 0).eax, extended_max = host(CPUID_EXTENDED, 0).eax;

	*m = (struct cpuid_model){.phys_bits = 36};
	if (extended_max < CPUID_EXTENDED || extended_max > CPUID_EXTENDED + 0xffff)
		extended_max = CPUID_EXTENDED;
	for (uint32_t i = 0; i < CPUID_BASIC_LEAVES && i <= max; i++)
		m->basic[i] = masked(host(i, 0), basic_mask[i]);
	for (uint32_t i = 0; i < CPUID_EXTENDED_LEAVES && CPUID_EXTENDED + i <= extended_max; i++)
		m->extended[i] = masked(host(CPUID_EXTENDED + i, 0), extended_mask[i]);
	for (uint32_t i = 0; i < 4 && max >= 4; i++)
		m->cache[i] = masked(host(4, i), (struct cpuid_regs){EAX4_SHOWN, ~0u, ~0u, ~0u});

	m->basic[0].eax = max < CPUID_BASIC_LEAVES ? max : CPUID_BASIC_LEAVES - 1;
	m->basic[1].ecx |= ECX1_HYPERVISOR | ECX1_X2APIC | ECX1_TSC_DEADLINE;
	m->basic[1].edx |= EDX1_APIC | EDX1_MCE | EDX1_MCA;
	m->amd = m->basic[0].ebx == AMD_EBX;
	if (m->amd)
		m->extended[1].edx |= EDX1_APIC | EDX1_MCE | EDX1_MCA; /* a twin, see EDXE1_AMD_TWINS */
	m->extended[0].eax = extended_max < CPUID_EXTENDED + CPUID_EXTENDED_LEAVES
				     ? extended_max
				     : CPUID_EXTENDED + CPUID_EXTENDED_LEAVES - 1;
	if (m->extended[1].edx & EDXE1_LM)
		m->extended[1].edx |= EDXE1_1GB; /* the shadow splits them */
	m->rdtscp = rdtscp && extended_max >= CPUID_EXTENDED + 1 && host(CPUID_EXTENDED + 1, 0).edx & EDXE1_RDTSCP;
	if (m->rdtscp)
		m->extended[1].edx |= EDXE1_RDTSCP;
	if (extended_max >= CPUID_EXTENDED + 8) {
		m->phys_bits = m->extended[8].eax & 0xff;
		m->extended[8].eax = m->phys_bits | 48 << 8;
	}
	init_xsave(m, host, max);
	init_control_masks(m);
}

static struct cpuid_regs xsave_leaf(const struct vcpu *v, uint32_t subleaf)
{
	const struct cpuid_model *m = v->model;
	uint32_t now = XSAVE_LEGACY_BYTES, most = XSAVE_LEGACY_BYTES;

	if (!m->xcr0 || subleaf >= CPUID_XSAVE_AREAS)
		return (struct cpuid_regs){0};
	if (subleaf)
		return m->xsave[subleaf];
	for (unsigned i = 2; i < CPUID_XSAVE_AREAS; i++) {
		uint32_t end = m->xsave[i].eax + m->xsave[i].ebx;

		if (m->xcr0 & BIT(i) && end > most)
			most = end;
		if (v->xcr0 & BIT(i) && end > now)
			now = end;
	}
	return (struct cpuid_regs){(uint32_t)m->xcr0, now, most, 0};
}

/* Leaves that are more than an entry of the table. */
static struct cpuid_regs special_leaf(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	const struct cpuid_model *m = v->model;
	struct cpuid_regs r = m->basic[leaf];

	switch (leaf) {
	case 1:
		r.ebx |= v->index << EBX1_APIC_ID_SHIFT;
		if (v->cr4 & 1UL << 18)
			r.ecx |= ECX1_OSXSAVE;
		return r;
	case 4:
		return subleaf < 4 ? m->cache[subleaf] : (struct cpuid_regs){0};
	case 0xb:
		r = (struct cpuid_regs){.ecx = subleaf & 0xff, .edx = v->index};
		if (subleaf < 2) {
			r.ebx = 1;
			r.ecx |= subleaf ? TYPE_CORE : TYPE_THREAD;
		}
		return m->basic[0].eax >= 0xb ? r : (struct cpuid_regs){0};
	case 7:
		return subleaf ? (struct cpuid_regs){0} : r;
	default:
		return xsave_leaf(v, subleaf);
	}
}

struct cpuid_regs cpuid_guest(const struct vcpu *v, uint32_t leaf, uint32_t subleaf)
{
	const struct cpuid_model *m = v->model;
	struct cpuid_regs r;

	if (leaf < CPUID_BASIC_LEAVES) /* beyond the guest's last basic leaf they are all 0 */
		return CPUID_SPECIAL_LEAVES >> leaf & 1 ? special_leaf(v, leaf, subleaf) : m->basic[leaf];
	if (leaf - CPUID_EXTENDED < CPUID_EXTENDED_LEAVES)
		return m->extended[leaf - CPUID_EXTENDED];
	if (leaf == CPUID_HYPERVISOR)
		return (struct cpuid_regs){CPUID_HYPERVISOR, SIGNATURE_EBX, SIGNATURE_ECX, SIGNATURE_EDX};
	pv_cpuid(v, leaf, &r);
	return r;
}

bool cpuid_xcr0_valid(const struct cpuid_model *m, uint64_t value)
{
	if (value & ~m->xcr0 || !(value & XCR0_X87))
		return false;
	if (value & XCR0_AVX && !(value & XCR0_SSE))
		return false;
	return !(value & XCR0_AVX512) || ((value & XCR0_AVX512) == XCR0_AVX512 && value & XCR0_AVX);
}
