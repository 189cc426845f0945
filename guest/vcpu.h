/* SPDX-License-Identifier: MIT */
/* A virtual CPU as the architecture shows it. The backend keeps what the hardware holds (VMCS, VMCB) and copies
 * between. */
#ifndef GUEST_VCPU_H
#define GUEST_VCPU_H

#include <stddef.h>
#include "guest/lapic.h"
#include "guest/msr_unknown.h"
#include "guest/pv.h"
#include "mm/mmu.h"

struct vm;
struct cpuid_model;
struct fpu_area;

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
struct desc_table {
	uint64_t base;
	uint32_t limit;
};

/* An event on its way into the guest. */
enum event_type { EVENT_NONE, EVENT_INTERRUPT, EVENT_NMI, EVENT_EXCEPTION, EVENT_SOFT_INTERRUPT, EVENT_SOFT_EXCEPTION };
struct event {
	enum event_type type;
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint32_t length; /* instruction length, bytes; software events */
};

enum vcpu_activity {
	VCPU_RUNNABLE,
	VCPU_HALTED, /* until an interrupt comes */
	VCPU_ASLEEP, /* halted, and no interrupt can reach it */
	VCPU_OFF,    /* until another vCPU starts it */
	VCPU_STOPPED,
};

/* What comes to a vCPU besides interrupts: messages of APICs, and vm_start_vcpu(). */
#define SIGNAL_NMI (1u << 0)
#define SIGNAL_INIT (1u << 1)
#define SIGNAL_STARTUP (1u << 2)
#define SIGNAL_START (1u << 3)

/* What the instruction of a step does with all of RFLAGS, TF among them. */
enum vcpu_step_flags { STEP_FLAGS_NONE, STEP_FLAGS_STORED, STEP_FLAGS_LOADED, STEP_FLAGS_RETURNED }; /* PUSHF, POPF, IRET */

/* A single step for gdb (guest/gdb_guest.h). */
struct vcpu_step {
	bool on;          /* RFLAGS.TF is set for it */
	bool done;        /* the instruction was carried out */
	bool own_tf;      /* the guest had set TF itself */
	bool left_behind; /* TF may come back from a frame on the guest's stack */
	bool wanted;      /* gdb wants it; else it only leads through guarded pages */
	bool guard;       /* which are open for it, while the other vCPUs stand still (hv/gdb_guard.c) */
	bool again;       /* the slice goes on: it ended for the guards alone */
	uint8_t watch;    /* enum gdb_watch: what it meets there */
	uint16_t left;    /* instructions that the guards may stay open for */
	uint64_t watch_at;
	uint8_t flags;       /* enum vcpu_step_flags */
	uint64_t behind;     /* that instruction, a linear address */
	uint64_t start, end; /* it goes on from here, linear addresses; none when equal */
};

/* Parts of struct vcpu that the hardware may hold in a newer or an older version than the struct. */
#define VCPU_RIP (1u << 0)      /* rip */
#define VCPU_FLOW (1u << 1)     /* rflags, interrupt_shadow, nmi_blocked */
#define VCPU_CR2 (1u << 2)      /* cr2 */
#define VCPU_CONTROL (1u << 3)  /* cr0, cr4, efer */
#define VCPU_SEGMENTS (1u << 4) /* seg; kernel_gs_base, where a write of it exits */
#define VCPU_TABLES (1u << 5)   /* gdtr, idtr */
#define VCPU_DEBUG (1u << 6)    /* dr, dr7 (dr6 is never in the hardware) */
#define VCPU_MSRS (1u << 7)     /* star … tsc_aux, tsc_offset, xcr0 */
#define VCPU_EVENT (1u << 8)    /* event */
#define VCPU_WINDOW (1u << 9)   /* window, nmi_window */
#define VCPU_RSP (1u << 10)     /* gpr[RSP] */
#define VCPU_ALL 0x7ffu
#define VCPU_CARRY (1u << 11)   /* of `changed` alone: rip is to go through vcpu_wrap_rip() first */
#define VCPU_EASY (VCPU_RIP | VCPU_FLOW | VCPU_CR2 | VCPU_EVENT | VCPU_WINDOW | VCPU_RSP) /* change at many exits */

/* VM exits are counted by hv/'s reasons (backend.h). One of them is none: the entry was not made. */
#define VCPU_EXIT_REASONS 40
#define VCPU_EXIT_NOT_ENTERED 2

struct vcpu {
	uint64_t gpr[GPRS]; /* RSP too; first, for assembly */
	struct vm *vm;
	unsigned index; /* 0 … vcpus-1 */
	unsigned cpu;   /* physical CPU it runs on */
	enum vcpu_activity activity;
	/* any CPU's */
	atomic32 attention; /* its run loop has something to look at: interrupts and signals of its local APIC, a start */
	atomic32 asleep;    /* it is not counted in vm.awake: only a signal or a start wakes it (activity.c) */
	atomic32 signals;   /* SIGNAL_, taken by its run loop */
	atomic32 startup;   /* the vector of the last SIGNAL_STARTUP */
	atomic32 start_claimed; /* it was started, or is about to be */
	uint32_t start_entry;   /* valid at SIGNAL_START */
	struct mmu_vcpu mmu;
	const struct cpuid_model *model; /* what its CPUID shows; before the first entry */

	uint32_t stale;     /* VCPU_ parts to be fetched from the backend before they are read */
	uint32_t changed;   /* VCPU_ parts to be written to the hardware at the next entry */
	uint64_t rip, rflags;
	uint64_t cr0, cr2, cr3, cr4, efer; /* as the guest sees them; CR8 is the local APIC's */
	uint64_t xcr0;
	uint64_t dr[4], dr6, dr7;
	struct segment seg[SEGS];
	struct desc_table gdtr, idtr;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, pat, misc_enable,
		tsc_aux, mtrr_def_type;
	uint64_t tsc_offset; /* the guest's TSC less the host's; no reset changes it */

	bool real_native; /* the hardware enters real mode; the backend's, before the first entry */
	bool interpret;   /* this state is not entered: interpret.h. While it is set, VCPU_CONTROL is in `changed` */

	bool held; /* gdb has it stand still; changed while it does */
	struct vcpu_step step;

	struct event event;    /* to be delivered at the next entry: vcpu_set_event() */
	bool window;           /* exit when an interrupt can be delivered: vcpu_want_window() */
	bool nmi_window;       /* the same for an NMI: vcpu_want_nmi_window() */
	bool interrupt_shadow; /* STI / MOV SS blocking */
	bool nmi_blocked;      /* from an NMI's delivery to the next IRET */
	bool was_reset;        /* INIT came since its run loop looked */

	/* progress check: the same fault again and again. rip and error are of a fault at gva, or of none that counts */
	uint64_t last_rip, last_gva;
	uint32_t last_error, repeats; /* 0 again when it got as far as another instruction, or an exception */
	uint64_t repeat_since; /* TSC at the first of them */

	atomic64 exits[VCPU_EXIT_REASONS]; /* by the run loop's reason; its CPU's, read by anyone. vcpu_exits() adds them up */
	atomic64 emulated;     /* by guest/emulate.c, each step of a REP counts; its CPU's, read by anyone */
	struct msr_unknown unknown_msrs; /* accesses to MSRs that it does not have: #GP */
	void *backend;         /* the backend's own (VMCS and so on) */
	struct fpu_area *fpu;  /* 64-byte aligned, of FPU_AREA_BYTES (guest/fpu.h) */
	struct lapic lapic;
	struct pv_vcpu pv;
};

_Static_assert(offsetof(struct vcpu, gpr) == 0, "assembly takes a vCPU's address for that of its registers");

/* Exception vectors (SDM vol. 3, table 6-1). */
enum {
	VECTOR_DE,
	VECTOR_DB,
	VECTOR_NMI,
	VECTOR_BP,
	VECTOR_OF,
	VECTOR_BR,
	VECTOR_UD,
	VECTOR_NM,
	VECTOR_DF,
	VECTOR_TS = 10,
	VECTOR_NP,
	VECTOR_SS,
	VECTOR_GP,
	VECTOR_PF,
	VECTOR_MF = 16,
	VECTOR_AC,
	VECTOR_MC,
	VECTOR_XM,
	VECTOR_VE,
	VECTOR_CP
};

/* Segment attribute bits (struct segment). */
#define SEG_TYPE 0xfu
#define SEG_S (1u << 4)
#define SEG_DPL_SHIFT 5
#define SEG_P (1u << 7)
#define SEG_L (1u << 13)
#define SEG_DB (1u << 14)
#define SEG_G (1u << 15)
#define SEG_UNUSABLE (1u << 16)

#define RFLAGS_FIXED (1UL << 1)
#define RFLAGS_TF (1UL << 8)
#define RFLAGS_IF (1UL << 9)
#define RFLAGS_DF (1UL << 10)
#define RFLAGS_RF (1UL << 16)
#define RFLAGS_VM (1UL << 17)
#define RFLAGS_AC (1UL << 18)

#define DR6_BS (1UL << 14)
#define DR6_BD (1UL << 13)
#define DR6_FIXED 0xffff0ff0UL
#define DR7_FIXED 0x400UL
#define DR7_GD (1UL << 13)
#define DR7_ENABLES 0xffUL

/* Puts it in the state of a multiboot 1 entry: 32-bit protected mode, flat segments, paging off, EAX = magic, EBX =
 * info, EIP = entry (Multiboot Specification 0.6.96, 3.2); all else as after reset. The MMU's side is in that state
 * already. Further vCPUs start so too, with EAX = 0 and EBX = index. */
void vcpu_reset_multiboot(struct vcpu *v, uint32_t entry, uint32_t magic, uint32_t info);

/* Puts it in the state of Linux's 32-bit or 64-bit entry (The Linux/x86 Boot Protocol): flat segments of those selectors,
 * which the GDT describes, RSI = boot_params, RIP = entry; all else as after reset, the MMU's side included. 64-bit: in
 * long mode, and the MMU follows. False: it cannot. Before the guest runs, outside sections and locks. */
#define LINUX_CS 0x10
#define LINUX_DS 0x18
void vcpu_reset_linux32(struct vcpu *v, uint32_t entry, uint32_t boot_params, struct desc_table gdt);
bool vcpu_reset_linux64(struct vcpu *v, uint32_t entry, uint32_t boot_params, struct desc_table gdt, uint32_t cr3);


/* VM exits so far, of all reasons. Any CPU. */
uint64_t vcpu_exits(const struct vcpu *v);

/* Current privilege level, 0 … 3. VCPU_SEGMENTS must not be stale here or in the next. */
static inline unsigned vcpu_cpl(const struct vcpu *v)
{
	return v->seg[SS].attr >> SEG_DPL_SHIFT & 3;
}
/* Tells the MMU whether SMAP stops a data access of the supervisor's now; before mmu_fault and mmu_translate. */
static inline void vcpu_note_ac(struct vcpu *v)
{
	v->mmu.ac = v->rflags & RFLAGS_AC && vcpu_cpl(v) < 3;
}
static inline bool vcpu_long_mode(const struct vcpu *v)
{
	return v->efer & EFER_LMA;
}
/* 64-bit mode, not compatibility mode. */
static inline bool vcpu_64bit(const struct vcpu *v)
{
	return vcpu_long_mode(v) && v->seg[CS].attr & SEG_L;
}
/* A linear address of 48 bits, sign-extended. */
static inline bool vcpu_canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

/* Queue a fault for the next entry; a fault during the delivery of another becomes #DF or a triple fault as the
 * architecture says (SDM vol. 3 table 6-5). An interrupt in delivery is dropped for it, as hardware does. False: triple
 * fault, nothing queued. */
bool vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);

/* An event for the next entry, in the place of what may be there. */
static inline void vcpu_set_event(struct vcpu *v, struct event e)
{
	v->event = e;
	v->changed |= VCPU_EVENT;
}
static inline void vcpu_want_window(struct vcpu *v, bool want)
{
	if (v->window != want)
		v->changed |= VCPU_WINDOW;
	v->window = want;
}

static inline void vcpu_want_nmi_window(struct vcpu *v, bool want)
{
	if (v->nmi_window != want)
		v->changed |= VCPU_WINDOW;
	v->nmi_window = want;
}

/* The hardware's CR2 is older from now on. */
static inline void vcpu_set_cr2(struct vcpu *v, uint64_t value)
{
	v->cr2 = value;
	v->stale &= ~VCPU_CR2;
	v->changed |= VCPU_CR2;
}

#define VCPU_INSN_BYTES 15 /* an instruction has no more */

/* The rest of vcpu_skip(), which few need: RIP of 32 bits, the end of blocking, RF cleared, the #DB of a single step. */
void vcpu_skip_rest(struct vcpu *v);
/* Outside 64-bit mode RIP has 32 bits. VCPU_SEGMENTS must not be stale in long mode. */
void vcpu_wrap_rip(struct vcpu *v);

/* The instruction of `length` bytes was carried out: go past it. Ends STI/MOV SS blocking; with RFLAGS.TF a #DB
 * follows. In compatibility mode RIP is cut by the entry (VCPU_CARRY) where only the hardware knows CS. */
static inline void vcpu_skip(struct vcpu *v, unsigned length)
{
	uint64_t rip = v->rip + length;

	v->repeats = 0;
	v->rip = rip;
	if (__builtin_expect((uint32_t)rip < VCPU_INSN_BYTES || /* perhaps past 4 GiB */
			     v->interrupt_shadow || v->rflags & (RFLAGS_TF | RFLAGS_RF), 0))
		vcpu_skip_rest(v);
	v->changed |= VCPU_RIP;
}

/* May an external interrupt be delivered at the next entry? */
static inline bool vcpu_interruptible(const struct vcpu *v)
{
	return v->rflags & RFLAGS_IF && !v->interrupt_shadow && v->event.type == EVENT_NONE;
}

/* Debug registers as MOV DR reads and writes them (SDM vol. 3, 17.2). n: 0 … 7. VECTOR_UD, VECTOR_GP or VECTOR_DB
 * (general detect) when the access faults, -1 when it is done. VCPU_SEGMENTS must not be stale. */
int vcpu_read_dr(struct vcpu *v, unsigned n, uint64_t *value);
int vcpu_write_dr(struct vcpu *v, unsigned n, uint64_t value);

#endif
