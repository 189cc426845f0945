/* SPDX-License-Identifier: MIT */
/* Numbers of the way from 32-bit mode to umbra_main(), shared with assembly. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#define BOOT_STACK_BYTES 0x8000

/* Selectors of boot_gdt and of every CPU's own GDT. */
#define SELECTOR_CODE32 0x08
#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18
#define SELECTOR_TSS 0x20

#ifndef __ASSEMBLER__
#include <stdint.h>

#define BOOT_PAGE_ENTRIES 512

/* The page tables that every CPU runs on: identity, the first 4 GiB from the start, by 2 MiB pages. */
extern uint64_t boot_pml4[BOOT_PAGE_ENTRIES];
extern uint64_t boot_pdpt[BOOT_PAGE_ENTRIES];
extern uint64_t boot_pd[4 * BOOT_PAGE_ENTRIES];

/* The page below the boot processor's stack, to be unmapped. */
extern const char boot_stack_guard[];

/* Position-independent real-mode code to be copied to a page below 1 MiB: where an application processor starts. */
extern const char ap_trampoline_start[], ap_trampoline_end[];

/* The next application processor takes this (and leaves 0): the top of its stack. With 0 it parks itself. */
extern volatile uint64_t ap_stack_top;
/* Counts the processors that found no stack and halted. */
extern volatile uint32_t ap_parked;

/* Entered in long mode with interrupts off; each is defined in hv/. */
_Noreturn void umbra_main(uint32_t loader_magic, uint64_t info_address);
/* stack_top: what was taken from ap_stack_top. */
_Noreturn void ap_main(uint64_t stack_top);
#endif

#endif
