/* SPDX-License-Identifier: MIT */
/* From the multiboot 1 hand-over (32-bit protected mode, paging off) to image_start() in long mode, and the way into
 * and out of every trap. The first 1 GiB is mapped as it is, by 2 MiB supervisor pages.
 *
 * An image that defines `unpaged` is called there first, in 32-bit code, paging still off, flat segments, with a
 * stack; EBX holds the multiboot information. If it returns, the way to long mode goes on.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 3 /* align modules to pages; give the memory size */

#define ENTRY_P 0x01
#define ENTRY_W 0x02
#define ENTRY_PS 0x80

#define CR0_PG_WP_PE 0x80010001
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900

#define SEL_CODE32 0x08
#define SEL_DATA 0x10
#define SEL_CODE 0x18
#define SEL_USER_DATA 0x23
#define SEL_USER_CODE 0x2b
#define SEL_TSS 0x30

#define FLAGS_FIXED 0x2

	.section .multiboot, "a"
	.align 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.code32
	.globl start
start:
	cli
	cld
	mov	%eax, boot_magic
	mov	%ebx, boot_info
	lgdt	gdt_pointer
	ljmp	$SEL_CODE32, $1f
1:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	mov	$stack_top, %esp

	.weak	unpaged
	mov	$unpaged, %eax
	test	%eax, %eax
	jz	2f
	call	*%eax

2:	movl	$boot_pdpt + ENTRY_P + ENTRY_W, boot_root
	movl	$boot_pd + ENTRY_P + ENTRY_W, boot_pdpt
	mov	$ENTRY_P | ENTRY_W | ENTRY_PS, %eax
	mov	$boot_pd, %edi
	mov	$512, %ecx
3:	mov	%eax, (%edi)
	add	$0x200000, %eax
	add	$8, %edi
	loop	3b

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
	ljmp	$SEL_CODE, $4f

	.code64
4:	mov	$tss, %eax
	mov	%ax, gdt_tss + 2
	shr	$16, %eax
	mov	%al, gdt_tss + 4
	mov	%ah, gdt_tss + 7
	mov	$SEL_TSS, %eax
	ltr	%ax
	mov	$stack_top, %esp
	mov	boot_magic, %edi
	mov	boot_info, %esi
	call	image_start
5:	cli
	hlt
	jmp	5b

/* ---- traps: one stub for each of the first 48 vectors and for the system call; they leave a struct frame ---- */

	.macro	stub vector
	.align	16
	.if	(\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17) || (\vector == 21)
	.else
	push	$0
	.endif
	push	$\vector
	jmp	trap_common
	.endm

	.globl	trap_stubs, trap_syscall
	.align	16
trap_stubs:
	.set	vector, 0
	.rept	48
	stub	vector
	.set	vector, vector + 1
	.endr
trap_syscall:
	stub	0x80

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	call	trap
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/* uint64_t trap_call(uint64_t (*fn)(uint64_t, uint64_t), uint64_t a, uint64_t b): fn(a, b) with its faults caught.
 * A fault comes back at trap_return, with the stack as it was, because trap() sends it there.
 */
	.globl	trap_call, trap_call_user, trap_return
trap_call:
	pushfq
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, trap_stack
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	call	*%rax
trap_return:
	movq	$0, trap_stack
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	popfq
	ret

/* uint64_t trap_call_user(uint64_t at, uint64_t a, uint64_t b, uint64_t stack): jumps to `at` with CPL 3 and the given
 * stack, RDI = a, RSI = b; comes back at its INT 0x80 or at its first fault.
 */
trap_call_user:
	pushfq
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, trap_stack
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	push	$SEL_USER_DATA
	push	%rcx
	push	$FLAGS_FIXED
	push	$SEL_USER_CODE
	push	%rax
	iretq

/* ---- the accesses an image tries, position-independent so that they can be copied to a user page ---- */

	.globl	access_code, access_code_end, access_read, access_write, access_fetch, access_leave
	.align	16
access_code:
access_read: /* (address) -> the 8 bytes there */
	mov	(%rdi), %rax
	ret
access_write: /* (address, value) */
	mov	%rsi, (%rdi)
	ret
access_fetch: /* (address) -> what the function there returns */
	call	*%rdi
	ret
access_leave: /* a user function returns here */
	int	$0x80
access_code_end:

	.data
	.align	8
	.globl	gdt_tss, gdt_pointer
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff /* SEL_CODE32 */
	.quad	0x00cf93000000ffff /* SEL_DATA */
	.quad	0x00af9b000000ffff /* SEL_CODE */
	.quad	0x00cff3000000ffff /* SEL_USER_DATA */
	.quad	0x00affb000000ffff /* SEL_USER_CODE */
gdt_tss:
	.quad	0x0000890000000067
	.quad	0
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.align	16
tss:
	.long	0
	.quad	trap_stack_top /* RSP0 */
	.fill	90, 1, 0
	.word	104 /* no I/O bitmap */

	.bss
	.align	4096
	.globl	boot_root
boot_root:
	.skip	4096
boot_pdpt:
	.skip	4096
boot_pd:
	.skip	4096
stack:
	.skip	16384
stack_top:
	.skip	8192
trap_stack_top:
	.globl	boot_magic, boot_info, trap_stack
boot_magic:
	.skip	8
boot_info:
	.skip	8
trap_stack: /* where trap_return finds its stack; 0 = no fault is expected */
	.skip	8

	.section .note.GNU-stack, "", @progbits
