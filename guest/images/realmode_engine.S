/* SPDX-License-Identifier: MIT */
/* realmode's assembly. It goes from 32-bit protected mode to real mode by way of a 16-bit segment, leaves a byte for each test
 * at RESULTS, 1 where it held, and comes back, once by LMSW and a 16-bit protected segment, once straight into long mode.
 *
 * The code is copied to CODE and runs with CS:IP relative to it, so that it can be anywhere in the image. */
#define CODE 0x20000
#define DATA 0x30000
#define STACK_SEGMENT 0x4000
#define STACK_TOP 0x1000
#define RESULTS 0 /* offsets in DATA */
#define TICKS 0x40
#define STEPS 0x42
#define COST 0x44
#define FROM 0x100
#define TO 0x200
#define HIGH_LINEAR 0x300000

#define SEL_CODE32 0x08
#define SEL_DATA32 0x10
#define SEL_CODE16 0x18
#define SEL_DATA16 0x20
#define SEL_CODE64 0x28

#define CR0_PE 1
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define FLAGS_CF 0x001
#define FLAGS_TF 0x100
#define FLAGS_IF 0x200

#define CONSOLE 0x3f8
#define LINE_STATUS 5
#define IRQ_VECTOR 0x50

/* The offset of a label in the copied code. */
#define AT(label) (label - real_code)

	/* Test n held if the flags say so. */
	.macro	held n, cc
	set\cc	%al
	mov	%al, RESULTS + \n
	.endm

	/* Vector n of the IVT leads to `handler`. ES is 0. */
	.macro	vector n, handler
	movw	$AT(\handler), %es:4 * \n
	mov	%cs, %es:4 * \n + 2
	.endm

	.text
	.code32
	.globl	unpaged
unpaged:
	pusha
	mov	%esp, saved_stack
	mov	$real_code, %esi
	mov	$CODE, %edi
	mov	$real_code_end - real_code, %ecx
	rep movsb
	mov	$DATA, %edi
	mov	$0x400, %ecx
	xor	%eax, %eax
	rep stosb
	lgdt	real_gdt_pointer
	movl	$AT(real_tests), trip_target
	ljmp	$SEL_CODE16, $AT(real_leave)
/* Back from the first trip, in 32-bit protected mode; the segments are flat. */
trip_protected:
	mov	saved_stack, %esp
	movl	$early_pdpt + 3, early_pml4
	movl	$early_pd + 3, early_pdpt
	movl	$0x83, early_pd
	movl	$0x200083, early_pd + 8
	movl	$AT(real_long), trip_target
	ljmp	$SEL_CODE16, $AT(real_leave)
/* Back from the second, in 64-bit code; the data segments are still real mode's. */
	.code64
trip_long:
	mov	$0x1234567890, %rax
	shr	$32, %rax
	cmp	$0x12, %eax
	sete	DATA + RESULTS + 30
	mov	$SEL_DATA32, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	mov	saved_stack, %esp
	ljmp	*trip_compatible
	.code32
trip_compatibility:
	mov	%cr0, %eax
	and	$~CR0_PG, %eax
	mov	%eax, %cr0
	mov	$MSR_EFER, %ecx
	rdmsr
	and	$~EFER_LME, %eax
	wrmsr
	mov	%cr4, %eax
	and	$~CR4_PAE, %eax
	mov	%eax, %cr4
	lgdt	gdt_pointer
	popa
	ret

/* ---- what is copied ---- */

	.code16
real_code:
/* In a 16-bit protected segment. */
real_leave:
	mov	$SEL_DATA16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%ax, %gs
	mov	$SEL_DATA32, %ax
	mov	%ax, %fs		/* whose limit stays: "unreal" */
	mov	$trip_target, %ebx
	mov	%fs:(%ebx), %ebx
	mov	%cr0, %eax
	and	$~CR0_PE, %al
	mov	%eax, %cr0
	ljmp	$CODE / 16, $AT(real_arrived)
real_arrived:
	mov	$STACK_SEGMENT, %ax
	mov	%ax, %ss
	mov	$STACK_TOP, %sp
	mov	$DATA / 16, %ax
	mov	%ax, %ds
	xor	%ax, %ax
	mov	%ax, %es
	lidtl	%cs:AT(real_idt_pointer)
	jmp	*%bx

/* The first trip. */
real_tests:
	smsw	%ax
	test	$CR0_PE, %al
	held	0, z

	/* Software interrupts by the IVT, and IRET. */
	vector	0x60, on_interrupt
	mov	$0x1111, %ax
	mov	%sp, %bp
	sti
	clc
	int	$0x60
	cli
	setc	RESULTS + 1		/* IRET took the flags that the handler left on the stack */
	cmp	$0x2222, %ax
	held	2, e
	cmp	%sp, %bp
	held	3, e

	/* Faults of instructions: IP is at them. */
	vector	0, on_fault
	vector	6, on_fault
	vector	13, on_fault
	xor	%si, %si
	xor	%cx, %cx
	mov	$7, %ax
	div	%cl
	mov	%ax, %bx
	cmp	$1, %si
	held	4, e
	cmp	$7, %bx
	held	5, e
	xor	%si, %si
	ud2
	cmp	$1, %si
	held	6, e
	xor	%si, %si
	mov	$0xffff, %bx
	mov	(%bx), %dx		/* a word beyond the limit; 2 bytes */
	cmp	$1, %si
	held	7, e

	/* Traps: IP is behind them. */
	vector	3, on_trap
	vector	4, on_trap
	vector	5, on_bound
	xor	%si, %si
	int3
	mov	$0x7fff, %ax
	add	$1, %ax
	into
	cmp	$2, %si
	held	8, e
	movw	$2, FROM
	movw	$5, FROM + 2
	mov	$5, %ax
	bound	%ax, FROM
	mov	$6, %ax
	bound	%ax, FROM
	cmp	$0x1002, %si
	held	9, e

	/* Unreal mode. */
	mov	$HIGH_LINEAR, %ebx
	movl	$0x12345678, %fs:(%ebx)
	mov	%fs:2(%ebx), %ax
	cmp	$0x1234, %ax
	held	10, e

	/* Strings, both ways. */
	mov	%ds, %ax
	mov	%ax, %es
	mov	$FROM, %di
	mov	$0x40, %cx
	mov	$0xa5a5a5a5, %eax
	cld
	rep stosl
	cmp	$FROM + 0x100, %di
	held	11, e
	movb	$1, FROM + 9
	mov	$FROM, %si
	mov	$TO, %di
	mov	$0x100, %cx
	rep movsb
	cmpb	$1, TO + 9
	held	12, e
	mov	$FROM + 0xfe, %si
	mov	$TO + 0xfe, %di
	mov	$0x80, %cx
	std
	repe cmpsw
	cld
	held	13, e
	mov	$FROM, %di
	mov	$0xa5, %al
	mov	$0x100, %cx
	repe scasb
	cmp	$FROM + 10, %di
	held	14, e

	/* Calls. */
	mov	%sp, %bp
	call	near_callee
	cmp	$0x77, %al
	held	15, e
	lcall	$CODE / 16, $AT(far_callee)
	cmp	$0x88, %al
	held	16, e
	push	$5
	push	$6
	call	callee_pops
	cmp	%sp, %bp
	held	17, e
	mov	$0x5555, %cx
	pushaw
	xor	%cx, %cx
	popaw
	cmp	$0x5555, %cx
	held	18, e
	mov	%sp, %di
	enterw	$0x20, $2
	leavew
	cmp	%sp, %di
	held	19, e

	/* Arithmetic that has no operand in memory. */
	mov	$0x12345678, %eax
	mov	$0x10000, %ecx
	mul	%ecx
	cmp	$0x1234, %dx
	held	20, e
	mov	$1000, %ax
	cwd
	mov	$-7, %bx
	idiv	%bx
	cmp	$-142, %ax
	held	21, e
	mov	$0x15, %al
	add	$0x27, %al
	daa
	cmp	$0x42, %al
	held	22, e
	mov	$10, %cx
	xor	%dx, %dx
1:	add	%cx, %dx
	loop	1b
	cmp	$55, %dx
	held	23, e

	/* How long 2000 instructions take. */
	rdtsc
	mov	%eax, %ebx
	mov	$1000, %cx
1:	add	%cx, %dx
	loop	1b
	rdtsc
	sub	%ebx, %eax
	mov	%eax, COST

	/* Instructions that the hypervisor carries out. */
	mov	$CONSOLE + LINE_STATUS, %dx
	in	%dx, %al
	test	$0x20, %al
	held	24, nz
	push	%ds
	push	%cs
	pop	%ds
	mov	$AT(greeting), %si
	mov	$greeting_end - greeting, %cx
	mov	$CONSOLE, %dx
	rep outsb
	pop	%ds
	cmp	$AT(greeting_end), %si
	held	25, e
	xor	%eax, %eax
	cpuid
	test	%eax, %eax
	held	26, nz

	/* The timer's interrupt. */
	xor	%ax, %ax
	mov	%ax, %es
	vector	IRQ_VECTOR, on_timer
	mov	$0x11, %al
	out	%al, $0x20
	mov	$IRQ_VECTOR, %al
	out	%al, $0x21
	mov	$4, %al
	out	%al, $0x21
	mov	$1, %al
	out	%al, $0x21
	mov	$0xfe, %al
	out	%al, $0x21
	mov	$0x34, %al
	out	%al, $0x43
	xor	%al, %al		/* 233 Hz */
	out	%al, $0x40
	mov	$0x14, %al
	out	%al, $0x40
2:	sti
	hlt
	cli
	cmpw	$3, TICKS
	jb	2b
	mov	$0xff, %al
	out	%al, $0x21
	cmpw	$3, TICKS		/* one more may have come before CLI, where the host is late */
	held	27, ae

	/* Single steps. */
	vector	1, on_step
	pushf
	mov	%sp, %bx
	orw	$FLAGS_TF, %ss:(%bx)
	popf
	nop
	nop
	nop
	cmpw	$3, STEPS
	held	28, e

	/* A lock as trampolines take it. */
	movl	$0, FROM
	lock btsl $0, FROM
	setnc	%bl
	lock btsl $0, FROM
	setc	%al
	and	%bl, %al
	mov	%al, RESULTS + 29

	/* Back by LMSW; the segments one after the other, and CS last. */
	lgdtl	%cs:AT(real_gdt_copy)
	smsw	%ax
	or	$CR0_PE, %ax
	lmsw	%ax
	mov	$SEL_DATA32, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %fs
	mov	%ax, %gs
	mov	%ax, %ss
	ljmpl	$SEL_CODE32, $trip_protected

/* The second trip: paging, long mode and protected mode at once. */
real_long:
	lgdtl	%cs:AT(real_gdt_copy)
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$early_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	%cr0, %eax
	or	$CR0_PG | CR0_PE, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE64, $trip_long

on_interrupt:
	push	%bp
	mov	%sp, %bp
	pushf
	pop	%ax
	test	$FLAGS_IF, %ax
	jnz	1f
	testw	$FLAGS_IF, 6(%bp)
	jz	1f
	orw	$FLAGS_CF, 6(%bp)
	mov	$0x2222, %ax
1:	pop	%bp
	iret

/* Steps over an instruction of two bytes. */
on_fault:
	inc	%si
	push	%bp
	mov	%sp, %bp
	addw	$2, 2(%bp)
	pop	%bp
	iret

on_trap:
	inc	%si
	iret

/* BOUND with a displacement of 16 bits has four. */
on_bound:
	add	$0x1000, %si
	push	%bp
	mov	%sp, %bp
	addw	$4, 2(%bp)
	pop	%bp
	iret

on_timer:
	push	%ax
	incw	TICKS
	mov	$0x20, %al
	out	%al, $0x20
	pop	%ax
	iret

on_step:
	incw	STEPS
	cmpw	$3, STEPS
	jb	1f
	push	%bp
	mov	%sp, %bp
	andw	$~FLAGS_TF, 6(%bp)
	pop	%bp
1:	iret

near_callee:
	mov	$0x77, %al
	ret
far_callee:
	mov	$0x88, %al
	lret
callee_pops:
	ret	$4

greeting:
	.ascii	"hello from real mode\n"
greeting_end:
	.align	4
real_idt_pointer:
	.word	0x3ff
	.long	0
real_gdt_copy:
	.word	real_gdt_end - real_gdt - 1
	.long	real_gdt
real_code_end:

	.data
	.align	8
real_gdt:
	.quad	0
	.quad	0x00cf9b000000ffff /* SEL_CODE32 */
	.quad	0x00cf93000000ffff /* SEL_DATA32 */
	.quad	0x00009b020000ffff /* SEL_CODE16, at CODE */
	.quad	0x000093000000ffff /* SEL_DATA16 */
	.quad	0x00af9b000000ffff /* SEL_CODE64 */
real_gdt_end:
real_gdt_pointer:
	.word	real_gdt_end - real_gdt - 1
	.long	real_gdt
trip_compatible:
	.long	trip_compatibility
	.word	SEL_CODE32

	.bss
	.balign	4096
early_pml4:	.skip	4096
early_pdpt:	.skip	4096
early_pd:	.skip	4096
trip_target:	.skip	4
saved_stack:	.skip	8

	.section .note.GNU-stack, "", @progbits
