/* SPDX-License-Identifier: MIT */
/* The guest entry that returns.
 *
 * A kick must not be forgotten between mmu_enter() and the entry. Interrupts are off all the way, and NMIs are off from CLGI
 * on: one that came before has set a bit of CPU_ASKED, one that comes later stays pending. STI lets a pending interrupt end the guest
 * at once, whatever the guest's RFLAGS.IF (V_INTR_MASKING takes the host's), and with GIF=0 it cannot come before VMRUN
 * (AMD APM vol. 2, 15.17, 15.21.1).
 *
 * The caller's registers are lost, but for RSP, RBP and RBX, which is the vCPU: what else it needs over the guest it keeps on
 * its stack. CF says that the entry was not made. */
#include "hv/cpu.h"

/* RBX is the vCPU's address, which is that of its registers. */
#define GPR(n, base) (8 * (n))(base)

	.text
	.balign 16
	.globl svm_run
	.type svm_run, @function
svm_run:
	push %rbp
	push %rbx
	push %rdx
	clgi
	cmpl $0, %gs:CPU_ASKED
	jne 1f
	sti
	mov %rsi, %rax
	vmload %rax
	mov GPR(1, %rbx), %rcx
	mov GPR(2, %rbx), %rdx
	mov GPR(5, %rbx), %rbp
	mov GPR(6, %rbx), %rsi
	mov GPR(7, %rbx), %rdi
	mov GPR(8, %rbx), %r8
	mov GPR(9, %rbx), %r9
	mov GPR(10, %rbx), %r10
	mov GPR(11, %rbx), %r11
	mov GPR(12, %rbx), %r12
	mov GPR(13, %rbx), %r13
	mov GPR(14, %rbx), %r14
	mov GPR(15, %rbx), %r15
	mov GPR(3, %rbx), %rbx
	vmrun %rax
	/* RAX and RSP are the host's again. Until the second VMLOAD, GS is not. */
	cli
	vmsave %rax
	pop %rax
	vmload %rax
	pop %rax
	mov %rcx, GPR(1, %rax)
	mov %rdx, GPR(2, %rax)
	mov %rbx, GPR(3, %rax)
	mov %rbp, GPR(5, %rax)
	mov %rsi, GPR(6, %rax)
	mov %rdi, GPR(7, %rax)
	mov %r8, GPR(8, %rax)
	mov %r9, GPR(9, %rax)
	mov %r10, GPR(10, %rax)
	mov %r11, GPR(11, %rax)
	mov %r12, GPR(12, %rax)
	mov %r13, GPR(13, %rax)
	mov %r14, GPR(14, %rax)
	mov %r15, GPR(15, %rax)
	mov %rax, %rbx
	/* A pending NMI is taken here: struct vcpu has the guest's registers, and RBP is garbage to a backtrace only. */
	stgi
	pop %rbp
	clc
	ret
1:	stgi
	pop %rdx
	pop %rbx
	pop %rbp
	stc
	ret
	.size svm_run, . - svm_run

	.section .note.GNU-stack, "", @progbits
