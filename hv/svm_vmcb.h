/* SPDX-License-Identifier: MIT */
/* The VMCB (AMD APM vol. 2, appendix B): each field, and beneath it its bits (15.5 to 15.20). */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

/* attr: bits 3:0 type, 4 S, 6:5 DPL, 7 P, 8 AVL, 9 L, 10 D/B, 11 G. */
struct vmcb_segment {
	uint16_t selector, attr;
#define		VMCB_SEG_P (1u << 7)
#define		VMCB_SEG_L (1u << 9)
#define		VMCB_SEG_DB (1u << 10)
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	/* ---- intercepts; of the first four, bit n is register n ---- */
	uint16_t cr_read, cr_write, dr_read, dr_write;
	uint32_t exceptions; /* bit n: vector n */
	uint32_t intercept1;
#define		INTERCEPT1_INTR (1u << 0)
#define		INTERCEPT1_NMI (1u << 1)
#define		INTERCEPT1_INIT (1u << 3)
#define		INTERCEPT1_VINTR (1u << 4)
#define		INTERCEPT1_TR_WRITE (1u << 13)
#define		INTERCEPT1_RDPMC (1u << 15)
#define		INTERCEPT1_CPUID (1u << 18)
#define		INTERCEPT1_RSM (1u << 19)
#define		INTERCEPT1_IRET (1u << 20)
#define		INTERCEPT1_INVD (1u << 22)
#define		INTERCEPT1_HLT (1u << 24)
#define		INTERCEPT1_INVLPG (1u << 25)
#define		INTERCEPT1_INVLPGA (1u << 26)
#define		INTERCEPT1_IO (1u << 27)
#define		INTERCEPT1_MSR (1u << 28)
#define		INTERCEPT1_TASK_SWITCH (1u << 29)
#define		INTERCEPT1_SHUTDOWN (1u << 31)
	uint32_t intercept2;
#define		INTERCEPT2_VMRUN (1u << 0)
#define		INTERCEPT2_VMMCALL (1u << 1)
#define		INTERCEPT2_VMLOAD (1u << 2)
#define		INTERCEPT2_VMSAVE (1u << 3)
#define		INTERCEPT2_STGI (1u << 4)
#define		INTERCEPT2_CLGI (1u << 5)
#define		INTERCEPT2_SKINIT (1u << 6)
#define		INTERCEPT2_ICEBP (1u << 8)
#define		INTERCEPT2_WBINVD (1u << 9)
#define		INTERCEPT2_MONITOR (1u << 10)
#define		INTERCEPT2_MWAIT (1u << 11)
#define		INTERCEPT2_XSETBV (1u << 13)
#define		INTERCEPT2_RDPRU (1u << 14)
	uint32_t intercept3;
#define		INTERCEPT3_INVLPGB (1u << 0)
#define		INTERCEPT3_INVPCID (1u << 2)
#define		INTERCEPT3_MCOMMIT (1u << 3)
#define		INTERCEPT3_TLBSYNC (1u << 4)
	uint8_t reserved1[0x3c - 0x18];
	uint16_t pause_threshold, pause_count;

	/* ---- other controls ---- */
	uint64_t iopm, msrpm; /* physical addresses */
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control, reserved2[3];
#define		TLB_FLUSH_NOTHING 0
#define		TLB_FLUSH_ALL 1
#define		TLB_FLUSH_ASID 3
	uint32_t int_ctl;
#define		INT_CTL_V_TPR 0xffu
#define		INT_CTL_V_IRQ (1u << 8)
#define		INT_CTL_V_PRIORITY (0xfu << 16)
#define		INT_CTL_V_IGNORE_TPR (1u << 20)
#define		INT_CTL_V_INTR_MASKING (1u << 24)
#define		INT_CTL_VGIF (1u << 25)
#define		INT_CTL_AVIC (1u << 31)
	uint32_t int_vector;
	uint64_t int_state;
#define		INT_STATE_SHADOW 1u

	/* ---- what an exit was ---- */
	uint64_t exit_code, exit_info1, exit_info2;
/* of I/O, in exit_info1; exit_info2 is the next RIP */
#define		IOIO_IN (1u << 0)
#define		IOIO_STRING (1u << 2)
#define		IOIO_REP (1u << 3)
#define		IOIO_SIZE_SHIFT 4
#define		IOIO_SIZE 7u
#define		IOIO_PORT_SHIFT 16
/* of registers, in exit_info1, with decode assists; neither LMSW, SMSW nor CLTS is a MOV */
#define		REGISTER_MOV (1UL << 63)
#define		REGISTER_GPR 0xfu
/* of MSRs, in exit_info1 */
#define		MSR_ACCESS_WRITE 1u
	uint64_t exit_int_info; /* as event_inject */

	uint64_t np_enable;
	uint8_t reserved3[0xa8 - 0x98];
	uint64_t event_inject;
#define		EVENT_VECTOR 0xffu
#define		EVENT_TYPE_SHIFT 8
#define		EVENT_TYPE 7u
#define		EVENT_TYPE_INTERRUPT 0u
#define		EVENT_TYPE_NMI 2u
#define		EVENT_TYPE_EXCEPTION 3u
#define		EVENT_TYPE_SOFT_INTERRUPT 4u
#define		EVENT_HAS_ERROR (1u << 11)
#define		EVENT_VALID (1u << 31)
#define		EVENT_ERROR_SHIFT 32
	uint64_t n_cr3, lbr_control;
	uint32_t clean, reserved4; /* 0: the processor takes nothing from its cache */
	uint64_t next_rip;
	uint8_t reserved5[0x400 - 0xd0];

	/* ---- state: index enum seg of ES … GS; then tables, LDTR, TR ---- */
	struct vmcb_segment seg[6], gdtr, ldtr, idtr, tr;
	uint8_t reserved6[0xcb - 0xa0], cpl, reserved7[4];
	uint64_t efer;
	uint8_t reserved8[0x148 - 0xd8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t reserved9[0x1d8 - 0x180];
	uint64_t rsp;
	uint8_t reserved10[0x1f8 - 0x1e0];
	uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	uint8_t reserved11[0x268 - 0x248];
	uint64_t g_pat, debugctl;
	uint8_t reserved12[0xc00 - 0x278];
};

#define VMCB_AT(field, offset) _Static_assert(offsetof(struct vmcb, field) == (offset), #field)
VMCB_AT(exceptions, 0x008);
VMCB_AT(intercept3, 0x014);
VMCB_AT(pause_threshold, 0x03c);
VMCB_AT(iopm, 0x040);
VMCB_AT(tsc_offset, 0x050);
VMCB_AT(asid, 0x058);
VMCB_AT(int_ctl, 0x060);
VMCB_AT(int_state, 0x068);
VMCB_AT(exit_code, 0x070);
VMCB_AT(exit_int_info, 0x088);
VMCB_AT(np_enable, 0x090);
VMCB_AT(event_inject, 0x0a8);
VMCB_AT(clean, 0x0c0);
VMCB_AT(next_rip, 0x0c8);
VMCB_AT(seg, 0x400);
VMCB_AT(gdtr, 0x460);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(rip, 0x578);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(rax, 0x5f8);
VMCB_AT(kernel_gs_base, 0x620);
VMCB_AT(cr2, 0x640);
VMCB_AT(g_pat, 0x668);
_Static_assert(sizeof(struct vmcb) == 4096, "one page");

/* Exit codes (APM vol. 2, appendix C). Of registers and exceptions the first of a row. */
enum svm_exit {
	SVM_EXIT_CR_READ = 0x00,
	SVM_EXIT_CR_WRITE = 0x10,
	SVM_EXIT_DR_READ = 0x20,
	SVM_EXIT_DR_WRITE = 0x30,
	SVM_EXIT_EXCEPTION = 0x40,
	SVM_EXIT_INTR = 0x60,
	SVM_EXIT_NMI = 0x61,
	SVM_EXIT_SMI = 0x62,
	SVM_EXIT_INIT = 0x63,
	SVM_EXIT_VINTR = 0x64,
	SVM_EXIT_TR_WRITE = 0x6d,
	SVM_EXIT_RDPMC = 0x6f,
	SVM_EXIT_CPUID = 0x72,
	SVM_EXIT_RSM = 0x73,
	SVM_EXIT_IRET = 0x74,
	SVM_EXIT_INVD = 0x76,
	SVM_EXIT_HLT = 0x78,
	SVM_EXIT_INVLPG = 0x79,
	SVM_EXIT_INVLPGA = 0x7a,
	SVM_EXIT_IO = 0x7b,
	SVM_EXIT_MSR = 0x7c,
	SVM_EXIT_TASK_SWITCH = 0x7d,
	SVM_EXIT_SHUTDOWN = 0x7f,
	SVM_EXIT_VMRUN = 0x80,
	SVM_EXIT_VMMCALL = 0x81,
	SVM_EXIT_VMLOAD = 0x82,
	SVM_EXIT_VMSAVE = 0x83,
	SVM_EXIT_STGI = 0x84,
	SVM_EXIT_CLGI = 0x85,
	SVM_EXIT_SKINIT = 0x86,
	SVM_EXIT_ICEBP = 0x88,
	SVM_EXIT_WBINVD = 0x89,
	SVM_EXIT_MONITOR = 0x8a,
	SVM_EXIT_MWAIT = 0x8b,
	SVM_EXIT_XSETBV = 0x8d,
	SVM_EXIT_RDPRU = 0x8e,
	SVM_EXIT_INVLPGB = 0xa0,
	SVM_EXIT_INVPCID = 0xa2,
	SVM_EXIT_MCOMMIT = 0xa3,
	SVM_EXIT_TLBSYNC = 0xa4,
	SVM_EXITS = 0xa8,
};
#define SVM_EXIT_INVALID (~0UL) /* VMRUN refused the VMCB */

#endif
