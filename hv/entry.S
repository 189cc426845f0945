/* SPDX-License-Identifier: MIT */
/* The 256 interrupt entries: each pushes an error code if the processor did not, and its vector. */
#include "boot/bootinfo.h"

#define ENTRY_BYTES 16
/* Exceptions for which the processor pushes an error code: #DF #TS #NP #SS #GP #PF #AC #CP. */
#define ERROR_CODE_VECTORS ((1 << 8) | (0x1f << 10) | (1 << 17) | (1 << 21))

	.text
	.balign ENTRY_BYTES
	.globl trap_entries
trap_entries:
	vector = 0
	.rept 256
	.balign ENTRY_BYTES
	.if vector < 32 && (ERROR_CODE_VECTORS >> (vector & 31)) & 1
	.else
	push $0
	.endif
	push $vector
	jmp trap_common
	vector = vector + 1
	.endr

	.balign 16
trap_common:
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi
	call trap_handle
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq

/* trap_load_segments(void): the selectors of the GDT just loaded. */
	.globl trap_load_segments
trap_load_segments:
	pop %rax
	push $SELECTOR_CODE
	push %rax
	mov $SELECTOR_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	lretq

	.section .note.GNU-stack, "", @progbits
