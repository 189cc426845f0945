/* SPDX-License-Identifier: MIT */
/* What gdb sees of a vCPU and does to it, while the vCPU stands still with nothing stale, on any CPU; but for
 * gdb_guest_step_settle(), gdb_guest_step_on() and gdb_guest_debug(). What the guest notices: an exception's frame, and R11 behind
 * SYSCALL, show RFLAGS.TF during a step, which it is to come back from, and its clocks go on while it stands still. */
#ifndef GUEST_GDB_GUEST_H
#define GUEST_GDB_GUEST_H

#include "guest/gdb_regs.h"
#include "guest/vcpu.h"

/* gdb_guest_regs.c. i386 and i8086 by CS's size, where it is not long mode. */
enum gdb_mode gdb_guest_mode(const struct vcpu *v);
/* Where the next instruction is, as a linear address. */
uint64_t gdb_guest_linear_rip(const struct vcpu *v);
bool gdb_guest_register(const struct vcpu *v, enum gdb_reg r, uint64_t *value);
/* False: it may not be written, or not with that value: the processor must be able to enter with it. Written are the general
 * registers, RFLAGS but for IOPL, VM, VIF and VIP, RIP within CS, CR2, GDTR, IDTR, bases of ES … GS (in 64-bit mode FS and GS
 * alone), and in real and virtual-8086 mode their selectors, bases with them. CR0, CR3, CR4, CR8, EFER, limits, attributes, TR and
 * LDTR are the guest's to change. */
bool gdb_guest_set_register(struct vcpu *v, enum gdb_reg r, uint64_t value);
/* gdb_guest_fpu.c: the same for GDB_FPU and those behind it. v->fpu holds them, not the processor. Written are all that v has;
 * MXCSR with the bits alone that the processor has, of ftag whether registers are empty. */
bool gdb_guest_fpu(const struct vcpu *v, enum gdb_reg r, uint64_t *value);
bool gdb_guest_set_fpu(struct vcpu *v, enum gdb_reg r, uint64_t value);

/* By the guest's page tables as they stand, whatever the rights; sets no A or D bits there. Bytes from a on that could be read, at
 * most n; false: some byte could not be written. A write goes to the dirty log, and to shadowed page tables, as the guest's own. */
size_t gdb_guest_read(const struct vcpu *v, uint64_t a, void *to, size_t n);
bool gdb_guest_write(const struct vcpu *v, uint64_t a, const void *from, size_t n);
/* The same at guest-physical addresses. */
size_t gdb_guest_read_physical(const struct vcpu *v, uint64_t a, void *to, size_t n);
bool gdb_guest_write_physical(const struct vcpu *v, uint64_t a, const void *from, size_t n);

/* A step is one instruction by RFLAGS.TF; interrupts wait for its end. One that faults ends when the handler has
 * returned, a system call that clears TF likewise. */
void gdb_guest_step(struct vcpu *v);
/* A step's instruction was carried out: what it stored of RFLAGS has TF as the guest has it, and TF that it loaded is the guest's. On
 * the vCPU's own CPU, before anything else of it runs; nothing is stale; outside sections and locks. */
void gdb_guest_step_settle(struct vcpu *v);
/* The step that was just begun is to go on while it leads to start … end-1, which are linear addresses. */
void gdb_guest_step_range(struct vcpu *v, uint64_t start, uint64_t end);
/* The step is done. True: the range has it go on, and the next has begun. On the vCPU's own CPU; nothing is stale. */
bool gdb_guest_step_on(struct vcpu *v);
/* The vCPU stands still again, wherever its step has come to. */
void gdb_guest_step_end(struct vcpu *v);
/* A #DB exit with these DR6 bits: takes away what is the step's. On the vCPU's own CPU. */
void gdb_guest_debug(struct vcpu *v, uint64_t *dr6);

#endif
