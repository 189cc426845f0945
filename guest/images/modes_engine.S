/* SPDX-License-Identifier: MIT */
/* The engine of modes.c: carries out a list of steps in 32-bit code, in whatever paging mode they switch to.
 *
 * engine_run(steps, count) leaves long mode, switches paging off and runs the steps (struct step in modes.c). All that
 * it touches itself must be mapped one to one, for supervisors, writable, in every mode that the steps enter; code for
 * user steps is the copy of engine_user that lies at engine_user_at. A fault ends its step and is noted there. Then it
 * goes back to long mode with CR0, CR3, CR4 and EFER as they were.
 */
#define SEL_CODE32 0x08
#define SEL_DATA 0x10
#define SEL_CODE 0x18
#define SEL_USER_DATA 0x23
#define SEL_USER_CODE32 0x2b
#define SEL_TSS 0x30

#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define FLAGS_FIXED 0x2
#define TSS_BUSY 2
#define TSS_TYPE 5 /* byte of a descriptor */

#define STEP_BYTES 32
#define STEP_OP 0
#define STEP_A 4
#define STEP_B 8
#define STEP_RESULT 12
#define STEP_VECTOR 16
#define STEP_ERROR 20
#define STEP_CR2 24
#define VECTOR_SYSCALL 0x80

	.text
	.code64
	.globl	engine_run
engine_run:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_rsp
	sgdt	saved_gdt
	sidt	saved_idt
	mov	%cr0, %rax
	mov	%eax, saved_cr0
	mov	%cr3, %rax
	mov	%eax, saved_cr3
	mov	%cr4, %rax
	mov	%eax, saved_cr4
	lea	-STEP_BYTES(%rdi), %eax
	mov	%eax, step_now
	shl	$5, %esi
	add	%edi, %esi
	mov	%esi, step_end
	movl	$FLAGS_FIXED, step_flags
	ljmp	*to_32

	.code32
engine_32:
	lgdt	engine_gdt_pointer
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$engine_stack_top, %esp
	mov	%cr0, %eax
	and	$~CR0_PG, %eax
	mov	%eax, %cr0
	mov	$MSR_EFER, %ecx
	rdmsr
	mov	%eax, saved_efer
	and	$~EFER_LME, %eax
	wrmsr
	mov	%cr4, %eax
	and	$~CR4_PAE, %eax
	mov	%eax, %cr4
	lidt	engine_idt32
	andb	$~TSS_BUSY, engine_tss_descriptor + TSS_TYPE
	mov	$SEL_TSS, %eax
	ltr	%ax
	jmp	step_next

step_value:
	mov	step_now, %ebp
	mov	%eax, STEP_RESULT(%ebp)
step_next:
	addl	$STEP_BYTES, step_now
	mov	step_now, %ebp
	cmp	step_end, %ebp
	jae	step_last
	pushl	step_flags
	popfl
	mov	STEP_A(%ebp), %ecx
	mov	STEP_B(%ebp), %eax
	mov	STEP_OP(%ebp), %ebx
	jmp	*step_ops(,%ebx,4)

op_cr0:	mov	%ecx, %cr0
	jmp	step_next
op_cr3:	mov	%ecx, %cr3
	jmp	step_next
op_cr4:	mov	%ecx, %cr4
	jmp	step_next
op_efer:
	mov	%ecx, %eax
	xor	%edx, %edx
	mov	$MSR_EFER, %ecx
	wrmsr
	jmp	step_next
op_idt:	lidt	(%ecx)
	jmp	step_next
op_flags:
	mov	%ecx, step_flags
	jmp	step_next
op_invlpg:
	invlpg	(%ecx)
	jmp	step_next
op_read:
	mov	(%ecx), %eax
	jmp	step_value
op_write:
	mov	%eax, (%ecx)
	jmp	step_next
op_fetch:
	mov	$step_value, %edx
	jmp	*%ecx

op_user_read:
	mov	$user_read - engine_user, %esi
	jmp	1f
op_user_write:
	mov	$user_write - engine_user, %esi
	jmp	1f
op_user_fetch:
	mov	$user_fetch - engine_user, %esi
1:	add	engine_user_at, %esi
	mov	engine_user_at, %edx
	add	$user_leave - engine_user, %edx
	mov	$SEL_USER_DATA, %edi
	mov	%edi, %ds
	mov	%edi, %es
	push	%edi
	push	$0
	push	$FLAGS_FIXED
	push	$SEL_USER_CODE32
	push	%esi
	iret

step_last:
	mov	%cr0, %eax
	and	$~CR0_PG, %eax
	mov	%eax, %cr0
	mov	saved_cr4, %eax
	mov	%eax, %cr4
	mov	saved_cr3, %eax
	mov	%eax, %cr3
	mov	saved_efer, %eax
	xor	%edx, %edx
	mov	$MSR_EFER, %ecx
	wrmsr
	mov	saved_cr0, %eax
	mov	%eax, %cr0
	lidt	saved_idt
	lgdt	saved_gdt
	ljmp	$SEL_CODE, $1f

	.code64
1:	andb	$~TSS_BUSY, gdt_tss + TSS_TYPE
	mov	$SEL_TSS, %eax
	ltr	%ax
	mov	saved_rsp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

/* ---- what a user step runs: ECX = address, EAX = value, EDX = engine_user_at + (user_leave - engine_user) ---- */

	.code32
	.globl	engine_user, engine_user_end
	.align	16
engine_user:
user_read:
	mov	(%ecx), %eax
	int	$VECTOR_SYSCALL
user_write:
	mov	%eax, (%ecx)
	xor	%eax, %eax
	int	$VECTOR_SYSCALL
user_fetch:
	jmp	*%ecx
user_leave:
	int	$VECTOR_SYSCALL
engine_user_end:

/* ---- faults: 32 vectors and the system call, for 32-bit modes and for 32-bit code in long mode ---- */

	.macro	stubs to
	.set	vector, 0
	.rept	33
	.align	16
	.if	(vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
	.else
	push	$0
	.endif
	.if	vector == 32
	push	$VECTOR_SYSCALL
	.else
	push	$vector
	.endif
	jmp	\to
	.set	vector, vector + 1
	.endr
	.endm

	.globl	engine_stubs32, engine_stubs64
	.align	16
engine_stubs32:
	stubs	fault32
fault32:
	mov	$SEL_DATA, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	pop	%ecx
	pop	%edx
	mov	$engine_stack_top, %esp
	cmp	$VECTOR_SYSCALL, %ecx
	je	step_value
	mov	step_now, %ebp
	mov	%ecx, STEP_VECTOR(%ebp)
	mov	%edx, STEP_ERROR(%ebp)
	mov	%cr2, %ecx
	mov	%ecx, STEP_CR2(%ebp)
	jmp	step_next

	.code64
	.align	16
engine_stubs64:
	stubs	fault64
fault64:
	pop	%rcx
	pop	%rdx
	mov	$engine_stack_top, %esp
	mov	step_now, %ebp
	mov	%ecx, STEP_VECTOR(%rbp)
	mov	%edx, STEP_ERROR(%rbp)
	mov	%cr2, %rcx
	mov	%ecx, STEP_CR2(%rbp)
	push	$SEL_CODE32
	push	$step_next
	lretq

	.data
	.align	8
	.globl	engine_idt32, engine_idt64
step_ops: /* enum op in modes.c */
	.long	op_cr0, op_cr3, op_cr4, op_efer, op_idt, op_flags, op_invlpg
	.long	op_read, op_write, op_fetch, op_user_read, op_user_write, op_user_fetch
to_32:	.long	engine_32
	.word	SEL_CODE32
	.align	8
engine_gdt:
	.quad	0
	.quad	0x00cf9b000000ffff /* SEL_CODE32 */
	.quad	0x00cf93000000ffff /* SEL_DATA */
	.quad	0x00af9b000000ffff /* SEL_CODE */
	.quad	0x00cff3000000ffff /* SEL_USER_DATA */
	.quad	0x00cffb000000ffff /* SEL_USER_CODE32 */
	.globl	engine_tss_descriptor, engine_tss
engine_tss_descriptor: /* its base is modes.c's to fill in */
	.quad	0x0000890000000067
engine_gdt_end:
engine_gdt_pointer:
	.word	engine_gdt_end - engine_gdt - 1
	.long	engine_gdt
	.align	8
engine_idt32: /* limit and base, modes.c's to fill in */
	.skip	8
engine_idt64:
	.skip	8
engine_tss:
	.long	0
	.long	engine_stack_top /* ESP0 */
	.long	SEL_DATA	 /* SS0 */
	.fill	90, 1, 0
	.word	104 /* no I/O bitmap */

	.bss
	.align	16
engine_stack:
	.skip	1024
engine_stack_top:
saved_rsp:
	.skip	8
saved_gdt:
	.skip	16
saved_idt:
	.skip	16
saved_cr0:
	.skip	4
saved_cr3:
	.skip	4
saved_cr4:
	.skip	4
saved_efer:
	.skip	4
step_now:
	.skip	4
step_end:
	.skip	4
step_flags:
	.skip	4
	.globl	engine_user_at
engine_user_at:
	.skip	4

	.section .note.GNU-stack, "", @progbits
