/* SPDX-License-Identifier: MIT */
/* Exceptions and interrupts of the hypervisor itself. */
#ifndef HV_TRAP_H
#define HV_TRAP_H

#include <stdint.h>

#define TRAP_DEBUG 1
#define TRAP_NMI 2
#define TRAP_BREAKPOINT 3
#define TRAP_DOUBLE_FAULT 8
#define TRAP_GENERAL_PROTECTION 13
#define TRAP_PAGE_FAULT 14
#define TRAP_MACHINE_CHECK 18
#define TRAP_EXCEPTIONS 32

/* As hv/entry.S pushes it. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Builds the one IDT that all CPUs share. Boot processor, once. */
void trap_init(void);
/* Loads it on this CPU. */
void trap_load_idt(void);
/* What the IDT's base is, for the VMCS. */
uint64_t trap_idt_base(void);

/* The last instructions before a guest entry: an NMI that comes at address start … end-1 returns to `resume` instead, so
 * that it is not forgotten by entering. Set once, before the first entry. */
struct trap_window { uint64_t start, end, resume; };
extern struct trap_window trap_nmi_window;

/* Called by hv/entry.S, and by the run loop for a vector that a VM exit acknowledged (frame NULL then).
 * Interrupts off. */
void trap_handle_irq(unsigned vector);
void trap_handle(struct trap_frame *frame);

#endif
