/* SPDX-License-Identifier: MIT */
/* The guest entry that returns.
 *
 * An NMI is a kick: it must not be forgotten between mmu_enter() and the entry. Before vmx_entry_start its handler sets
 * a bit of CPU_ASKED, which is looked at there; from there to vmx_entry_end it makes us go on at vmx_entry_asked. After that
 * the guest exits.
 *
 * The caller's registers are lost, but for RSP, RBP and RBX, which is the vCPU: what else it needs over the guest it keeps on
 * its stack. */
#include "hv/cpu.h"
#include "hv/vmx_vmcs.h"

/* RBX is the vCPU's address, which is that of its registers. */
#define GPR(n) (8 * (n))(%rbx)

	.text
	.balign 16
	.globl vmx_run
	.type vmx_run, @function
vmx_run:
	push %rbp
	push %rbx
	mov $VMCS_HOST_RSP, %eax
	vmwrite %rsp, %rax

	.globl vmx_entry_start
vmx_entry_start:
	cmpl $0, %gs:CPU_ASKED
	jne vmx_entry_asked
	mov GPR(0), %rax
	mov GPR(1), %rcx
	mov GPR(2), %rdx
	mov GPR(5), %rbp
	mov GPR(6), %rsi
	mov GPR(7), %rdi
	mov GPR(8), %r8
	mov GPR(9), %r9
	mov GPR(10), %r10
	mov GPR(11), %r11
	mov GPR(12), %r12
	mov GPR(13), %r13
	mov GPR(14), %r14
	mov GPR(15), %r15
	mov GPR(3), %rbx
	vmresume
	/* Not entered. A VMCS that was not launched since VMCLEAR wants the other instruction. */
	jc 1f
	mov $VMCS_INSTRUCTION_ERROR, %eax
	vmread %rax, %rax
	cmp $ERROR_NOT_LAUNCHED, %eax
	clc
	jne 1f
	mov (%rsp), %rbx
	mov GPR(0), %rax
	mov GPR(3), %rbx
	vmlaunch
	.globl vmx_entry_end
vmx_entry_end:
	/* CF is VMfailInvalid, else it is VMfailValid. The guest's registers are still in struct vcpu. */
1:	setc %al
	movzbl %al, %eax
	inc %eax
	jmp 2f

	.globl vmx_entry_asked
vmx_entry_asked:
	mov $3, %eax
2:	pop %rbx
	pop %rbp
	stc
	ret

	.globl vmx_exit_entry
vmx_exit_entry:
	/* RSP is the host's; its top is the vCPU. CF is 0, as an exit leaves it, and stays so. */
	push %rbx
	mov 8(%rsp), %rbx
	mov %rax, GPR(0)
	mov %rcx, GPR(1)
	mov %rdx, GPR(2)
	popq GPR(3)
	mov %rbp, GPR(5)
	mov %rsi, GPR(6)
	mov %rdi, GPR(7)
	mov %r8, GPR(8)
	mov %r9, GPR(9)
	mov %r10, GPR(10)
	mov %r11, GPR(11)
	mov %r12, GPR(12)
	mov %r13, GPR(13)
	mov %r14, GPR(14)
	mov %r15, GPR(15)
	pop %rbx
	pop %rbp
	ret
	.size vmx_run, . - vmx_run

	.section .note.GNU-stack, "", @progbits
