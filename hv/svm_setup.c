/* SPDX-License-Identifier: MIT */
#include "guest/msr.h"
#include "hv/options.h"
#include "hv/svm.h"

/* The guest's own exceptions are its business, but #PF, two that an endless delivery of would never leave the guest
 * (CVE-2015-5307, CVE-2015-8104), machine checks, and #GP: with the real EFER.SVME it is what SVM's instructions raise before
 * their intercepts are looked at, where a guest without SVM has #UD (APM vol. 3, VMRUN). */
#define INTERCEPTED (1u << VECTOR_PF | 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC | 1u << VECTOR_GP)
/* There are no read shadows, so CR0's and CR4's reads exit too; CR2 is the guest's. */
#define CRS (1u << 0 | 1u << 3 | 1u << 4 | 1u << 8)
#define DRS 0xffffu

#define INTERCEPT1                                                                                                     \
	(INTERCEPT1_INTR | INTERCEPT1_NMI | INTERCEPT1_INIT | INTERCEPT1_RDPMC | INTERCEPT1_CPUID | INTERCEPT1_RSM |   \
		INTERCEPT1_INVD | INTERCEPT1_HLT | INTERCEPT1_INVLPG | INTERCEPT1_INVLPGA | INTERCEPT1_IO |            \
		INTERCEPT1_MSR | INTERCEPT1_TASK_SWITCH | INTERCEPT1_SHUTDOWN)
#define INTERCEPT2                                                                                                     \
	(INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL | INTERCEPT2_VMLOAD | INTERCEPT2_VMSAVE | INTERCEPT2_STGI |             \
		INTERCEPT2_CLGI | INTERCEPT2_SKINIT | INTERCEPT2_ICEBP | INTERCEPT2_WBINVD | INTERCEPT2_MONITOR |      \
		INTERCEPT2_MWAIT | INTERCEPT2_XSETBV)

/* The MSR permission map: 2 bits each, read and write, for 0 … 0x1fff, then for 0xc0000000 … 0xc0001fff, then for
 * 0xc0010000 … 0xc0011fff (APM vol. 2, 15.11). The I/O map: a bit each port, and three beyond (15.10.1). */
#define MSRPM_BYTES 8192
#define MSRPM_HIGH 2048
#define MSRPM_HIGH_FIRST 0xc0000000u
#define IOPM_BYTES 12288

/* The same for all guests, read by the hardware alone. */
static uint8_t msrpm[MSRPM_BYTES] __attribute__((aligned(PAGE_SIZE)));
static uint8_t iopm[IOPM_BYTES] __attribute__((aligned(PAGE_SIZE)));

static void pass_reads(uint32_t msr)
{
	uint32_t n = msr - MSRPM_HIGH_FIRST;

	msrpm[MSRPM_HIGH + n / 4] &= (uint8_t) ~(1u << n % 4 * 2);
}

void svm_setup_maps(void)
{
	for (unsigned i = 0; i < MSRPM_BYTES; i++)
		msrpm[i] = 0xff;
	for (unsigned i = 0; i < IOPM_BYTES; i++)
		iopm[i] = 0xff;
	/* In the VMCB. Writes exit for their check: QEMU makes none, and VMLOAD would change what it does not like. */
	pass_reads(MSR_FS_BASE);
	pass_reads(MSR_GS_BASE);
	pass_reads(MSR_KERNEL_GS_BASE);
}

/* m: all zeros. */
void svm_setup(struct vmcb *m, uint32_t asid)
{
	m->cr_read = m->cr_write = CRS;
	m->dr_read = m->dr_write = DRS;
	m->exceptions = INTERCEPTED;
	m->intercept1 = INTERCEPT1 | (svm_cap.tr_unchecked ? INTERCEPT1_TR_WRITE : 0);
	m->intercept2 = INTERCEPT2 | svm_cap.intercept2;
	m->intercept3 = svm_cap.intercept3;
	m->iopm = host_phys(iopm).v;
	m->msrpm = host_phys(msrpm).v;
	m->asid = asid;
	m->int_ctl = INT_CTL_V_INTR_MASKING;
	m->dr6 = DR6_FIXED;
}
