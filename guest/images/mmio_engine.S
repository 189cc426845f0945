/* SPDX-License-Identifier: MIT */
/* mmio's assembly: the accesses before long mode, and the way into a piece of code of any width with all its registers. */
#define NOWHERE 0x20000000
#define CR0_PG 0x80000000
#define CR4_PSE 0x10
#define CR4_PAE 0x20
#define ENTRY_P_W_PS 0x83
#define FLAGS_STATUS 0x8d5

	.text
	.code32
/* The same accesses without paging, with 32-bit paging and with PAE paging; early[] gets the results of each. */
	.globl	unpaged
unpaged:
	mov	$early, %edi
	call	unpaged_accesses

	mov	$early_directory, %ecx
	mov	$ENTRY_P_W_PS, %eax
1:	mov	%eax, (%ecx)		/* 1 GiB as it is, by 4 MiB */
	add	$4, %ecx
	add	$0x400000, %eax
	cmp	$0x40000000, %eax
	jb	1b
	mov	%cr4, %eax
	or	$CR4_PSE, %eax
	mov	%eax, %cr4
	mov	$early_directory, %eax
	call	unpaged_paging

	mov	$early_directory, %ecx
	mov	$ENTRY_P_W_PS, %eax
1:	mov	%eax, (%ecx)		/* by 2 MiB */
	movl	$0, 4(%ecx)
	add	$8, %ecx
	add	$0x200000, %eax
	cmp	$0x40000000, %eax
	jb	1b
	movl	$early_directory + 1, early_pdpt
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$early_pdpt, %eax
	call	unpaged_paging
	ret

/* Those accesses with paging on, by the tables at EAX. */
unpaged_paging:
	mov	%eax, %cr3
	mov	%cr0, %eax
	or	$CR0_PG, %eax
	mov	%eax, %cr0
	call	unpaged_accesses
	mov	%cr0, %eax
	and	$~CR0_PG, %eax
	mov	%eax, %cr0
	ret

/* Ten words to EDI, which goes on. */
unpaged_accesses:
	mov	$NOWHERE, %esi
	mov	(%esi), %eax
	mov	%eax, (%edi)
	movzwl	6(%esi), %eax
	mov	%eax, 4(%edi)
	mov	$0x1234, %eax
	mov	%eax, (%esi)
	xchg	%eax, (%esi)
	mov	%eax, 8(%edi)
	mov	$3, %eax
	lock xadd %eax, (%esi)
	pushf
	mov	%eax, 12(%edi)
	pop	%eax
	and	$FLAGS_STATUS, %eax
	mov	%eax, 16(%edi)
	mov	%esi, %edx
	push	%edi
	mov	$100, %ecx
	mov	%edx, %edi
	mov	$7, %eax
	rep stosl
	pop	%edi
	mov	%ecx, 20(%edi)
	lea	24(%edi), %edx
	push	%edi
	mov	%edx, %edi
	mov	$6, %ecx
	rep movsw
	pop	%edi
	movzwl	NOWHERE, %eax
	mov	%eax, 36(%edi)
	add	$40, %edi
	ret

/* mmio_run(struct registers *r, const void *code): r's registers and flags, then `code`, which ends with LRETL and lies in
 * segment mmio_selector, or at its beginning where that has a base; then r is what they have become. */
	.code64
	.globl	mmio_run
mmio_run:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, run_registers
	mov	%rsp, run_stack
	mov	%esi, run_target
	mov	mmio_selector, %eax
	mov	%ax, run_target + 4
	push	48(%rdi)
	popfq
	mov	0(%rdi), %rax
	mov	8(%rdi), %rcx
	mov	16(%rdi), %rdx
	mov	24(%rdi), %rbx
	mov	32(%rdi), %rsi
	mov	40(%rdi), %rdi
	lcall	*run_target
	mov	%rax, run_rax
	mov	run_registers, %rax
	mov	run_stack, %rsp
	pushfq
	pop	48(%rax)
	cld
	mov	%rcx, 8(%rax)
	mov	%rdx, 16(%rax)
	mov	%rbx, 24(%rax)
	mov	%rsi, 32(%rax)
	mov	%rdi, 40(%rax)
	mov	run_rax, %rcx
	mov	%rcx, 0(%rax)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.bss
	.align	4096
early_directory:
	.skip	4096
early_pdpt:
	.skip	32
	.globl	early, mmio_selector
early:	.skip	3 * 40
run_registers:
	.skip	8
run_stack:
	.skip	8
run_rax:
	.skip	8
run_target:
	.skip	8
mmio_selector:
	.skip	4

	.section .note.GNU-stack, "", @progbits
