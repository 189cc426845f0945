/* SPDX-License-Identifier: MIT */
/* The guest entry that returns.
 *
 * An NMI is a kick: it must not be forgotten between mmu_enter() and the entry. Before vmx_entry_start its handler sets
 * nmi_seen, which is looked at there; from there to vmx_entry_end it makes us go on at vmx_entry_cancelled. After that the
 * guest exits. */
#include "hv/cpu.h"
#include "hv/vmx_vmcs.h"

/* Offsets in struct vcpu.gpr. */
#define GPR(n) (8 * (n))(%rdi)

	.text
	.balign 16
	.globl vmx_run
	.type vmx_run, @function
vmx_run:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi
	mov $VMCS_HOST_RSP, %eax
	vmwrite %rsp, %rax

	.globl vmx_entry_start
vmx_entry_start:
	cmpl $0, %gs:CPU_NMI_SEEN
	jne vmx_entry_cancelled
	test %sil, %sil
	mov GPR(0), %rax
	mov GPR(1), %rcx
	mov GPR(2), %rdx
	mov GPR(3), %rbx
	mov GPR(5), %rbp
	mov GPR(6), %rsi
	mov GPR(8), %r8
	mov GPR(9), %r9
	mov GPR(10), %r10
	mov GPR(11), %r11
	mov GPR(12), %r12
	mov GPR(13), %r13
	mov GPR(14), %r14
	mov GPR(15), %r15
	mov GPR(7), %rdi
	jz 1f
	vmresume
	jmp 2f
1:	vmlaunch
	.globl vmx_entry_end
vmx_entry_end:
	/* Not entered: CF is VMfailInvalid, else VMfailValid. The guest's registers are still in struct vcpu. */
2:	setc %al
	movzbl %al, %eax
	inc %eax
	pop %rdi
	jmp 3f

	.globl vmx_entry_cancelled
vmx_entry_cancelled:
	mov $3, %eax
	pop %rdi
	jmp 3f

	.globl vmx_exit_entry
vmx_exit_entry:
	/* RSP is the host's; its top is the address of gpr. */
	push %rdi
	mov 8(%rsp), %rdi
	mov %rax, GPR(0)
	mov %rcx, GPR(1)
	mov %rdx, GPR(2)
	mov %rbx, GPR(3)
	mov %rbp, GPR(5)
	mov %rsi, GPR(6)
	popq GPR(7)
	mov %r8, GPR(8)
	mov %r9, GPR(9)
	mov %r10, GPR(10)
	mov %r11, GPR(11)
	mov %r12, GPR(12)
	mov %r13, GPR(13)
	mov %r14, GPR(14)
	mov %r15, GPR(15)
	pop %rdi
	xor %eax, %eax
3:	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
	.size vmx_run, . - vmx_run
