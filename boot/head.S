/* SPDX-License-Identifier: MIT */
/* From the boot loader to umbra_main(), and from the AP trampoline to ap_main(). Both loaders enter at boot_entry in
 * 32-bit protected mode, paging off, interrupts off, flat segments:
 *   multiboot2: EAX = its magic, EBX = information block;    PVH: EBX = start info. */
#include "boot/boot.h"

#define MULTIBOOT2_MAGIC 0xe85250d6
#define MULTIBOOT2_I386 0
#define TAG_OPTIONAL 1

#define PTE_PRESENT 1
#define PTE_WRITE 2
#define PTE_LARGE 0x80

#define CR4_PAE (1 << 5)
#define CR0_LONG_MODE 0x80010033	/* PG WP NE ET MP PE */
#define MSR_EFER 0xc0000080
#define EFER_LME (1 << 8)
#define EFER_NXE (1 << 11)

	.section .multiboot2, "a"
	.balign 8
	.globl multiboot2_header
multiboot2_header:
	.long MULTIBOOT2_MAGIC, MULTIBOOT2_I386, header_end - multiboot2_header
	.long -(MULTIBOOT2_MAGIC + MULTIBOOT2_I386 + (header_end - multiboot2_header))
	/* Information request: command line, loader, modules, memory map. */
	.short 1, 0
	.long 8 + 4 * 4, 1, 2, 3, 6
	/* ACPI root pointers, if there are any. */
	.short 1, TAG_OPTIONAL
	.long 8 + 2 * 4, 14, 15
	/* Console: EGA text is supported. No framebuffer tag: with one, GRUB leaves text mode on a BIOS too; on UEFI it
	 * sets a mode of pixels without being asked. */
	.short 4, TAG_OPTIONAL
	.long 12, 2
	.balign 8
	/* Modules at page boundaries. */
	.short 6, 0
	.long 8
	.short 0, 0
	.long 8
header_end:

	.section .note.xen, "a", @note
	.balign 4
	.long 4, 8, 18			/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad boot_entry

	.section .boot.text, "ax"
	.code32
	.globl boot_entry
boot_entry:
	cli
	cld
	mov $boot_stack_end, %esp
	mov %eax, %esi
	mov %ebx, %ebp

	/* The first 4 GiB at their own addresses. */
	mov $boot_pd, %edi
	mov $(PTE_PRESENT | PTE_WRITE | PTE_LARGE), %eax
1:	mov %eax, (%edi)
	add $8, %edi
	add $0x200000, %eax
	jnc 1b
	mov $boot_pdpt, %edi
	mov $(boot_pd + (PTE_PRESENT | PTE_WRITE)), %eax
	mov $4, %ecx
1:	mov %eax, (%edi)
	add $8, %edi
	add $0x1000, %eax
	loop 1b
	movl $(boot_pdpt + (PTE_PRESENT | PTE_WRITE)), boot_pml4

	lgdt boot_gdt_pointer
	mov $boot_main, %edi
	jmp long_mode

/* Application processors come here from the trampoline: protected mode, boot_gdt. */
	.globl ap_entry32
ap_entry32:
	mov $SELECTOR_DATA, %eax
	mov %eax, %ds
	mov %eax, %ss
	mov $ap_start64, %edi

/* EDI: where to go on in 64-bit mode. ESI, EBP are passed along. */
long_mode:
	mov $CR4_PAE, %eax
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $MSR_EFER, %ecx
	mov $(EFER_LME | EFER_NXE), %eax
	xor %edx, %edx
	wrmsr
	mov $CR0_LONG_MODE, %eax
	mov %eax, %cr0
	ljmp $SELECTOR_CODE, $1f
	.code64
1:	mov $SELECTOR_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov %edi, %edi
	jmp *%rdi

boot_main:
	mov $boot_stack_end, %rsp
	mov %esi, %edi
	mov %ebp, %esi
	xor %ebp, %ebp
	push $0
	jmp umbra_main

ap_start64:
	xor %edi, %edi
	xchg %rdi, ap_stack_top
	test %rdi, %rdi
	jz 1f
	mov %rdi, %rsp
	xor %ebp, %ebp
	push $0
	jmp ap_main
1:	lock incl ap_parked
2:	hlt
	jmp 2b

	.section .rodata, "a"
	.balign 8
	.globl boot_gdt
boot_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 32-bit code */
	.quad 0x00af9b000000ffff	/* 64-bit code */
	.quad 0x00cf93000000ffff	/* data */
boot_gdt_pointer:
	.short boot_gdt_pointer - boot_gdt - 1
	.quad boot_gdt

	.section .bss, "aw", @nobits
	.balign 4096
	.globl boot_pml4, boot_pdpt, boot_pd, ap_stack_top, ap_parked, boot_stack_guard
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
boot_stack_guard:
	.skip 4096
	.skip BOOT_STACK_BYTES
boot_stack_end:
ap_stack_top:
	.skip 8
ap_parked:
	.skip 8

	.section .note.GNU-stack, "", @progbits
