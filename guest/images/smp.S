/* SPDX-License-Identifier: MIT */
/* Further vCPUs: their way from the start (32-bit protected mode, paging off, EBX = index) to smp_main(index) in long
 * mode; and single accesses whose page fault is caught on the vCPU where it happens. See smp_storm.c.
 */
#define CR0_PG_WP_PE 0x80010001
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900

#define SEL_CODE32 0x08
#define SEL_DATA 0x10
#define SEL_CODE 0x18

#define STACK_SHIFT 13
#define STACKS 8

	.text
	.code32
	.globl smp_entry
smp_entry:
	cli
	cld
	lgdt	gdt_pointer
	ljmp	$SEL_CODE32, $1f
1:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	lea	1(%ebx), %esp
	shl	$STACK_SHIFT, %esp
	add	$stacks, %esp
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$boot_root, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME_NXE, %eax
	wrmsr
	mov	%cr0, %eax
	or	$CR0_PG_WP_PE, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE, $2f

	.code64
2:	lidt	smp_idt
	mov	%ebx, %edi
	call	smp_main
3:	cli
	hlt
	jmp	3b

/* struct tried smp_read(uint64_t va), smp_write(uint64_t va, uint64_t value): RDX = 1 and the error code in RAX if it
 * faulted, else RDX = 0 and what was read.
 */
	.globl smp_read, smp_write, smp_page_fault, smp_other_fault
smp_read:
	xor	%edx, %edx
read_here:
	mov	(%rdi), %rax
	ret
smp_write:
	xor	%edx, %edx
write_here:
	mov	%rsi, (%rdi)
	ret
faulted:
	mov	$1, %edx
	ret

/* The page-fault gate: error code, RIP … on the stack. */
smp_page_fault:
	push	%rax
	mov	16(%rsp), %rax
	cmp	$read_here, %rax
	je	4f
	cmp	$write_here, %rax
	je	4f
	pop	%rax
	jmp	*smp_other_fault
4:	movq	$faulted, 16(%rsp)
	add	$8, %rsp
	pop	%rax
	iretq

	.bss
	.align	4096
stacks:
	.skip	STACKS << STACK_SHIFT
	.globl smp_idt
smp_idt: /* limit and base */
	.skip	10
	.align	8
smp_other_fault: /* where other page faults go */
	.skip	8

	.section .note.GNU-stack, "", @progbits
