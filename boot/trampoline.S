/* SPDX-License-Identifier: MIT */
/* Where an application processor starts: real mode, CS:IP = page:0. Runs at any page below 1 MiB, for it names no
 * address of its own but relative to CS. */
#include "boot/boot.h"

#define CR0_PE 1

	.section .rodata, "a"
	.globl ap_trampoline_start, ap_trampoline_end
	.code16
ap_trampoline_start:
	cli
	cld
	mov %cs, %ax
	mov %ax, %ds
	lgdtl 1f - ap_trampoline_start
	mov $CR0_PE, %eax
	mov %eax, %cr0
	ljmpl $SELECTOR_CODE32, $ap_entry32
	.balign 4
1:	.short 4 * 8 - 1
	.long boot_gdt
ap_trampoline_end:

	.section .note.GNU-stack, "", @progbits
