/* SPDX-License-Identifier: MIT */
/* A virtual CPU as the architecture shows it. The backend keeps what the hardware holds (VMCS, VMCB) and copies between. */
#ifndef GUEST_VCPU_H
#define GUEST_VCPU_H

#include "mm/mmu.h"

struct vm;

/* General registers, numbered as instructions encode them. */
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPRS };
/* Segment registers, numbered as instructions encode them; then LDTR and TR. */
enum seg { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGS };

/* attr: bits 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable (SDM vol. 3, 24.4.1). */
struct segment {
	uint64_t base;
	uint32_t limit, attr;
	uint16_t selector;
};
struct desc_table { uint64_t base; uint32_t limit; };

/* An event on its way into the guest. */
enum event_type { EVENT_NONE, EVENT_INTERRUPT, EVENT_NMI, EVENT_EXCEPTION, EVENT_SOFT_INTERRUPT, EVENT_SOFT_EXCEPTION };
struct event {
	enum event_type type;
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint32_t length; /* instruction length, bytes; software events */
};

enum vcpu_activity { VCPU_RUNNABLE, VCPU_HALTED, VCPU_STOPPED };

struct vcpu {
	struct vm *vm;
	unsigned index;           /* 0 … vcpus-1 */
	unsigned cpu;             /* physical CPU it runs on */
	enum vcpu_activity activity;
	struct mmu_vcpu mmu;

	uint64_t gpr[GPRS];       /* RSP too */
	uint64_t rip, rflags;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer; /* as the guest sees them */
	uint64_t xcr0;
	uint64_t dr[4], dr6, dr7;
	struct segment seg[SEGS];
	struct desc_table gdtr, idtr;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, pat, misc_enable,
		tsc_aux, apic_base, mtrr_def_type;

	struct event event;       /* to be delivered at the next entry */
	bool interrupt_shadow;    /* STI / MOV SS blocking */
	bool nmi_blocked;

	/* progress check: the same fault again and again */
	uint64_t last_rip, last_gva;
	uint32_t last_error, repeats;

	uint64_t exits;           /* VM exits so far */
	void *backend;            /* the backend's own (VMCS and so on) */
	void *fpu;                /* 64-byte aligned XSAVE/FXSAVE area */
};

/* Puts it in the state of a multiboot 1 entry: 32-bit protected mode, flat segments, paging off, EAX = magic, EBX = info,
 * EIP = entry (Multiboot Specification 0.6.96, 3.2); all else as after reset. */
void vcpu_reset_multiboot(struct vcpu *v, uint32_t entry, uint32_t magic, uint32_t info);
/* Current privilege level, 0 … 3. */
static inline unsigned vcpu_cpl(const struct vcpu *v) { return (v->seg[SS].attr >> 5) & 3; }
static inline bool vcpu_long_mode(const struct vcpu *v) { return v->efer & EFER_LMA; }
/* Queue a fault for the next entry; a fault during the delivery of another becomes #DF or a triple fault as the
 * architecture says (SDM vol. 3 table 6-5). False: triple fault. */
bool vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);

#endif
