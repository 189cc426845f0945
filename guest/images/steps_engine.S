/* SPDX-License-Identifier: MIT */
/* The assembler part of steps.c: the way into its code, and instructions of many kinds. What leaves flags undefined is followed by
 * one that defines them before any is used. */
#define FLAGS_BEGIN 0x202
#define FLAG_CF 0x001
#define FLAG_DF 0x400
#define FLAGS_SEEN 0xfff /* those of a processor of long ago, TF among them */
#define X87_COMPARED 0x4500
#define STACK_BYTES 8192
#define NO_PORT 0x80

/* struct hurdles */
#define HURDLE_WINDOW 0
#define HURDLE_ENTRY 8
#define HURDLE_NEW 16
#define HURDLE_SECOND 24
#define HURDLE_LOADED 32
#define HURDLE_FAULTED 40
#define HURDLE_FLAGS 48
#define HURDLE_READ 56

	.text
	.globl	steps_enter
steps_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushfq
	mov	%rsp, stack_outside
	mov	$steps_stack_top, %esp
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebx, %ebx
	xor	%ebp, %ebp
	xor	%esi, %esi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
	push	$FLAGS_BEGIN
	popfq
	jmp	steps_begin
leave:
	mov	stack_outside, %rsp
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.globl	steps_hurdles
steps_hurdles:
	jmp	steps_hurdles_begin

	.section .text.steps, "ax"
/* What a debugger finds hard to step over, one behind the other. RDI: a struct hurdles. */
	.globl	steps_hurdles_begin, steps_hurdles_end, steps_fault
steps_hurdles_begin:
	push	%rbx
	mov	%rdi, %r8
	xor	%eax, %eax
	cpuid
	mov	$NO_PORT, %edx
	in	%dx, %al
	out	%al, %dx
	lea	HURDLE_READ(%r8), %rdi
	mov	%rdi, %rsi
	mov	$3, %ecx
	rep outsb
	mov	$3, %ecx
	rep insb
	mov	HURDLE_ENTRY(%r8), %rax
	mov	HURDLE_NEW(%r8), %rcx
	mov	HURDLE_WINDOW(%r8), %rsi
	mov	%rcx, (%rax)
	invlpg	(%rsi)
	mov	(%rsi), %r9
	mov	4096(%rsi), %r10
	mov	%ss, %eax
	mov	%eax, %ss
	nop
	pushfq
	pop	%r11
	mov	%r9, HURDLE_LOADED(%r8)
	mov	%r10, HURDLE_FAULTED(%r8)
	mov	%r11, HURDLE_FLAGS(%r8)
	sti
	nop /* which QEMU steps over together with STI */
	hlt
	nop
steps_hurdles_end:
	cli
	pop	%rbx
	ret

/* #PF at the second page: maps it, and goes back. R8: the struct hurdles. */
steps_fault:
	push	%rax
	push	%rcx
	mov	HURDLE_ENTRY(%r8), %rax
	mov	HURDLE_SECOND(%r8), %rcx
	mov	%rcx, 8(%rax)
	pop	%rcx
	pop	%rax
	add	$8, %rsp
	iretq

	.globl	steps_begin, steps_end
steps_begin:
	call	steps_run
steps_end:
	jmp	leave

/* RDI: words, RSI: x; RAX: the sum. */
	.globl	steps_odd
steps_odd:
	push	%rbx
	push	%r12
	mov	%rdi, %rbx
	mov	%rsi, %r12

	/* strings, both ways, in all sizes */
	cld
	mov	$buffer, %edi
	mov	$5, %ecx
	mov	%r12, %rax
	rep stosq
	mov	%rbx, %rsi
	mov	$buffer + 8, %edi
	mov	$13, %ecx
	rep movsb
	lodsw
	lodsl
	stosw
	mov	$buffer, %esi
	mov	$buffer + 40, %edi
	mov	$3, %ecx
	rep movsl
	mov	$buffer, %esi
	mov	$buffer + 40, %edi
	mov	$16, %ecx
	repe cmpsb
	setne	%al
	movzbl	%al, %r8d
	add	%rcx, %r8
	mov	$buffer, %edi
	mov	$40, %ecx
	mov	%r12b, %al
	repne scasb
	lea	(%r8,%rcx,2), %r8
	xor	%ecx, %ecx
	rep stosb
	std
	mov	$buffer + 30, %esi
	mov	$buffer + 46, %edi
	mov	$6, %ecx
	rep movsw
	lodsq
	cld
	xor	%rax, %r8

	/* carries */
	mov	(%rbx), %rax
	mov	8(%rbx), %rdx
	add	16(%rbx), %rax
	adc	24(%rbx), %rdx
	sbb	%rcx, %rcx
	sub	%r12, %rax
	sbb	$0x123456, %rdx
	add	%rcx, %rdx
	xor	%rax, %r8
	neg	%rdx
	sbb	%al, %al
	adc	%rdx, %r8
	stc
	rcl	$1, %r8
	cmc
	adc	$0, %r8d
	inc	%r8
	dec	%r12w

	/* products and quotients */
	mov	32(%rbx), %rax
	mulq	40(%rbx)
	add	%rdx, %r8
	imul	$-77, %rax, %rax
	imul	%r12, %rax
	imulb	%al
	cwtl
	cltd
	mov	%r12d, %ecx
	or	$0x10001, %ecx
	mov	48(%rbx), %eax
	xor	%edx, %edx
	div	%ecx
	lea	3(%rax,%rdx,4), %rax
	cqto
	mov	$-1009, %rcx
	idiv	%rcx
	add	%rax, %r8
	sub	%rdx, %r8

	/* shifts and rotates */
	mov	%r12d, %ecx
	or	$1, %ecx
	mov	56(%rbx), %rax
	rol	%cl, %rax
	sar	$3, %rax
	shr	%cl, %eax
	shld	$7, %r12, %rax
	shrd	%cl, %r8, %rax
	ror	$9, %ax
	rcr	$1, %eax
	sarb	%cl, 57(%rbx)
	add	%rax, %r8

	/* bits */
	mov	64(%rbx), %rax
	or	$0x100, %rax
	bsf	%rax, %rcx
	bsr	%rax, %rdx
	lea	(%rcx,%rdx), %r9
	bts	%r12, %rax
	btr	$5, %rax
	btc	$33, %rax
	bswap	%rax
	btq	$17, 64(%rbx)
	setc	%cl
	mov	%r12, %rdx
	and	$1023, %edx
	bts	%rdx, (%rbx)
	adc	%rax, %r9
	lock btcq $2, 72(%rbx)
	test	%cl, %cl
	cmovne	%r9, %rax
	cmp	%r12, %rax
	cmovl	%r8, %r9
	seta	%r9b
	add	%r9, %r8

	/* exchanges */
	mov	80(%rbx), %rax
	lock cmpxchg %r12, 80(%rbx)
	cmpxchg	%r8, 88(%rbx)
	lock xadd %r8, 96(%rbx)
	xchg	%r12, 96(%rbx)
	mov	112(%rbx), %rax
	mov	120(%rbx), %rdx
	push	%rbx
	lea	112(%rbx), %rsi
	mov	%r8, %rbx
	mov	%r12, %rcx
	lock cmpxchg16b (%rsi)
	cmpxchg8b (%rsi)
	pop	%rbx
	xor	%edx, %eax
	add	%rax, %r8

	/* flags as a program sees them */
	add	%r12, %rax
	pushfq
	popq	%rax
	and	$FLAGS_SEEN, %eax
	add	%rax, %r8
	cmp	%r8, %r12
	pushfw
	popw	%dx
	xor	%dx, %r8w
	test	%r8, %r8
	pushfq
	xorq	$FLAG_CF, (%rsp)
	orq	$FLAG_DF, (%rsp)
	popfq
	adc	$0x55, %r8
	pushfq
	mov	%rsp, %rsi
	lodsq
	cld
	popq	%rdx
	sub	%rax, %r8
	cmp	%r12d, %r8d
	lahf
	movzbl	%ah, %eax
	xor	$0xd5, %ah
	sahf
	adc	%rax, %r8

	/* the stack, calls, loops */
	enter	$24, $1
	pushq	$-5
	popq	-16(%rbp)
	push	%r8
	popq	-8(%rbp)
	mov	-8(%rbp), %rax
	add	-16(%rbp), %rax
	leave
	push	%rax
	push	%r8
	call	take_two
	mov	$steps_recurse, %eax
	mov	%rax, pointer
	mov	%r8, %rsi
	mov	$3, %edi
	push	%r8
	call	*pointer
	pop	%r8
	add	%rax, %r8
	mov	$4, %ecx
1:	lea	1(%r8,%rcx,8), %r8
	loop	1b
	mov	$6, %ecx
2:	add	%rcx, %r8
	test	$7, %r8b
	loopne	2b
	jrcxz	3f
	not	%r8
3:	mov	%r8d, %eax
	and	$3, %eax
	jmp	*ways(,%rax,8)
4:	xchg	%al, %ah
	movsbw	%r8b, %ax
5:	movslq	%r8d, %r9
	add	%r9, %r8
6:	movzwl	%r8w, %eax
7:
	push	%rbx
	mov	$words_of_text, %ebx
	and	$15, %eax
	xlat
	pop	%rbx
	add	%rax, %r8

	/* the x87 */
	fninit
	fildq	104(%rbx)
	fildl	(%rbx)
	faddp
	fistpq	104(%rbx)
	fildl	8(%rbx)
	fldz
	fcompp
	fnstsw	%ax
	and	$X87_COMPARED, %eax
	fnstcw	buffer
	add	buffer, %r8w
	add	%r8, %rax
	pop	%r12
	pop	%rbx
	ret

/* Two words on the stack, which go with the return: R8 += the first ^ the second. */
take_two:
	mov	8(%rsp), %rcx
	xor	16(%rsp), %rcx
	add	%rcx, %r8
	ret	$16

	.balign	8
ways:
	.quad	4b, 5b, 6b, 7b
words_of_text:
	.ascii	"single stepping!"

	.bss
	.balign	16
	.globl	steps_stack_top
	.skip	STACK_BYTES
steps_stack_top:
stack_outside:
	.skip	8
pointer:
	.skip	8
buffer:
	.skip	64

	.section .note.GNU-stack, "", @progbits
