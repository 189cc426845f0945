/* SPDX-License-Identifier: MIT */
/* The guest entry that returns.
 *
 * A kick must not be forgotten between mmu_enter() and the entry. Interrupts are off all the way, and NMIs are off from CLGI
 * on: one that came before has set nmi_seen, one that comes later stays pending. STI lets a pending interrupt end the guest
 * at once, whatever the guest's RFLAGS.IF (V_INTR_MASKING takes the host's), and with GIF=0 it cannot come before VMRUN
 * (AMD APM vol. 2, 15.17, 15.21.1). */
#include "hv/cpu.h"

/* Offsets in struct vcpu.gpr. */
#define GPR(n, base) (8 * (n))(base)

	.text
	.balign 16
	.globl svm_run
	.type svm_run, @function
svm_run:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdx
	push %rdi
	clgi
	cmpl $0, %gs:CPU_NMI_SEEN
	jne 1f
	sti
	mov %rsi, %rax
	vmload %rax
	mov GPR(1, %rdi), %rcx
	mov GPR(2, %rdi), %rdx
	mov GPR(3, %rdi), %rbx
	mov GPR(5, %rdi), %rbp
	mov GPR(6, %rdi), %rsi
	mov GPR(8, %rdi), %r8
	mov GPR(9, %rdi), %r9
	mov GPR(10, %rdi), %r10
	mov GPR(11, %rdi), %r11
	mov GPR(12, %rdi), %r12
	mov GPR(13, %rdi), %r13
	mov GPR(14, %rdi), %r14
	mov GPR(15, %rdi), %r15
	mov GPR(7, %rdi), %rdi
	vmrun %rax
	/* RAX and RSP are the host's again. Until the second VMLOAD, GS is not. */
	cli
	vmsave %rax
	mov 8(%rsp), %rax
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
	/* A pending NMI is taken here: struct vcpu has the guest's registers, and RBP is garbage to a backtrace only. */
	stgi
	mov $1, %eax
	pop %rdx
	jmp 2f
1:	stgi
	pop %rdi
	pop %rdx
	xor %eax, %eax
2:	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
	.size svm_run, . - svm_run

	.section .note.GNU-stack, "", @progbits
