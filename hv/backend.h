/* SPDX-License-Identifier: MIT */
/* What the run loop asks of the processor's virtualisation extension, in words of no vendor. */
#ifndef HV_BACKEND_H
#define HV_BACKEND_H

#include "guest/vcpu.h"

enum exit_reason {
	EXIT_OTHER, /* name says what */
	EXIT_NONE,  /* between two exits: the shadow root was to be loaded */
	EXIT_ASKED, /* the entry was not made: this CPU is asked for something else */
	EXIT_INTERPRET, /* the entry was not made: v->interpret */
	/* of no instruction */
	EXIT_PAGE_FAULT, /* page_fault */
	EXIT_EXCEPTION,  /* exception: the guest's own, to be injected */
	EXIT_INTERRUPT,  /* a host interrupt is pending: it is taken when interrupts go on */
	EXIT_NMI,        /* a host NMI: handled already */
	EXIT_INTERRUPT_WINDOW, /* the guest can take an interrupt now */
	EXIT_NMI_WINDOW,       /* the same, an NMI */
	/* of an instruction */
	EXIT_CPUID,
	EXIT_HLT,
	EXIT_INVLPG,   /* page_fault.gva */
	EXIT_CR_READ,  /* cr */
	EXIT_CR_WRITE, /* cr */
	EXIT_TR_WRITE,
	EXIT_DR_READ,  /* dr */
	EXIT_DR_WRITE, /* dr */
	EXIT_IO,       /* io */
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_XSETBV,
	EXIT_HYPERCALL, /* VMCALL, VMMCALL */
	EXIT_NOP,        /* WBINVD, INVD and others that do nothing here */
	EXIT_UNDEFINED,  /* an instruction that this guest does not have: #UD (VMX instructions, MWAIT …) */
	EXIT_PRIVILEGED, /* an instruction that faults with #GP(0) here (RDPMC) */
	EXIT_TRIPLE_FAULT,
	EXIT_TASK_SWITCH,
	EXIT_INSTRUCTION,  /* of an instruction, as `decodes` says; what is missing its bytes tell (exit_insn.c) */
	EXIT_ENTRY_FAILED, /* the hardware refused the entry: name says why */
};
#define EXIT_REASONS (EXIT_ENTRY_FAILED + 1)
_Static_assert(EXIT_REASONS <= VCPU_EXIT_REASONS && EXIT_ASKED == VCPU_EXIT_NOT_ENTERED, "vcpu.exits");

/* INS and OUTS: the memory operand lies at segment:RSI or ES:RDI. */
struct exit_io {
	uint16_t port;
	uint8_t size;          /* bytes: 1, 2, 4 */
	uint8_t address_bytes; /* string: 2, 4, 8 */
	uint8_t seg;           /* string: enum seg */
	bool write, string, rep;
};

struct exit {
	enum exit_reason reason, decodes; /* decodes: the reason behind EXIT_INSTRUCTION; number is known */
	uint8_t length;                   /* bytes of the instruction, where it is the reason */
	union {
		struct {
			gva_t gva;
			uint32_t error;
		} page_fault;
		/* soft: INT3, INTO, ICEBP; dr6: the bits of #DB */
		struct {
			uint8_t vector;
			bool has_error, soft;
			uint32_t error;
			uint64_t dr6;
		} exception;
		struct {
			uint8_t number, gpr;
			bool from_value;
			uint64_t value;
		} cr; /* from_value: CLTS, LMSW */
		struct {
			uint8_t number, gpr;
		} dr;
		struct exit_io io;
	};
	/* For the report; name (but of EXIT_ENTRY_FAILED) and qualification are describe()'s. */
	const char *name;
	uint32_t code; /* the vendor's number */
	uint64_t qualification;
};

/* What a handled exit, or a slice, leads to. */
enum runner_next {
	NEXT_ENTER, /* into the guest again */
	NEXT_YIELD, /* waits for another flow, or its time is over */
	NEXT_HALT,  /* the vCPU waits for an interrupt */
	NEXT_END,   /* the guest has a verdict */
};

struct runner;

struct backend {
	const char *name;

	/* May this machine's extension be used? 0, or a short reason, logged with advice. Logs what is offered, and
	 * opens what the firmware left unlocked. Boot processor, before cpu_on(). */
	const char *(*preflight)(void);
	/* Opens it on another processor, on it. False: the firmware locked it off there. */
	bool (*preflight_cpu)(void);
	/* Switches the extension on, on this CPU. False, with what is missing in *why (a string constant). */
	bool (*cpu_on)(const char **why);
	void (*cpu_off)(void);
	/* Guests may be shown RDTSCP; XSAVE, which needs exits of XSETBV. After cpu_on(). */
	bool (*has_rdtscp)(void);
	bool (*has_xsave)(void);

	/* Makes v->backend. False: out of memory. */
	bool (*vcpu_create)(struct vcpu *v);
	/* On the CPU where it ran last. */
	void (*vcpu_destroy)(struct vcpu *v);

	/* Makes v the vCPU whose state this CPU holds; whichever it held before is saved to where it was taken from.
	 * Before step(), slice(), fetch() and flush() of v. Cheap when it is that already. */
	void (*load)(struct vcpu *v);
	/* Brings the VCPU_ parts `parts` of v up to date, if they are stale. */
	void (*fetch)(struct vcpu *v, uint32_t parts);
	/* step.h around this backend's entry: once, and until something but NEXT_ENTER comes of it. v is r's, and loaded. */
	enum runner_next (*step)(struct runner *r);
	enum runner_next (*slice)(struct runner *r);
	/* Fills in e->name and e->qualification if enter() left them out. */
	void (*describe)(struct vcpu *v, struct exit *e);

	/* The assembly that enters the guest and returns. */
	const void *run;

	/* Flush what this CPU's TLB holds of v: all of it, and mmu_root() is taken up, which never changes without; or
	 * one linear address. Interrupts may be on. */
	void (*flush)(struct vcpu *v);
	void (*flush_address)(struct vcpu *v, gva_t a);
};

extern const struct backend vmx_backend, svm_backend;

/* The one for this processor; 0: it has no extension. The only place that asks which. */
const struct backend *backend_pick(void);

#endif
