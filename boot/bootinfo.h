/* SPDX-License-Identifier: MIT */
/* What the boot loader told us, whichever it was: one struct, filled by pure code from untrusted bytes. */
#ifndef BOOT_BOOTINFO_H
#define BOOT_BOOTINFO_H

#include "boot/boot.h"

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOTINFO_MAX_MAP 128
#define BOOTINFO_MAX_MODULES 32
#define BOOTINFO_STRING 1024
#define BOOTINFO_RSDP_BYTES 36

/* Values of EAX (multiboot2) and of the first word of the start info (PVH) that tell the loaders apart. */
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289u
#define PVH_START_INFO_MAGIC 0x336ec578u

/* Types of memory, numbered as both boot protocols and the BIOS number them. Others count as reserved. */
enum memory_type { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3, MEMORY_ACPI_NVS = 4, MEMORY_BAD = 5 };

/* Host-physical bytes start … end-1. */
struct range {
	uint64_t start, end;
};

struct bootinfo_map {
	struct range range;
	uint32_t type;
};

struct bootinfo_module {
	struct range range;
	/* Why this module may not be used, or NULL. */
	const char *refused;
	char string[BOOTINFO_STRING];
};

/* A screen of pixels of 16, 24 or 32 bits; white is all bits of `white`. No screen: address 0. */
struct bootinfo_frame {
	uint64_t address;
	uint32_t line_bytes, width, height, white;
	unsigned bits;
};

struct bootinfo {
	char loader[64];
	char cmdline[BOOTINFO_STRING];
	unsigned maps;
	unsigned modules;
	/* Copy of the ACPI root pointer, or its address, or neither (0 and 0). */
	unsigned rsdp_bytes;
	uint64_t rsdp_address;
	uint8_t rsdp[BOOTINFO_RSDP_BYTES];
	/* The screen is in VGA text mode, or was never told to be in another. */
	bool vga_text;
	struct bootinfo_frame frame;
	struct bootinfo_map map[BOOTINFO_MAX_MAP];
	struct bootinfo_module module[BOOTINFO_MAX_MODULES];
};

/* The part of host-physical memory that a parser may read: bytes at host-physical start … start+bytes-1 are found
 * from base on. */
struct window {
	const uint8_t *base;
	uint64_t start, bytes;
};

/* The bytes at a host-physical address, or NULL when they are not all inside the window. */
static inline const uint8_t *window_at(struct window w, uint64_t address, uint64_t bytes)
{
	if (address < w.start || address - w.start > w.bytes || bytes > w.bytes - (address - w.start))
		return NULL;
	return w.base + (address - w.start);
}

/* Fill *info from a multiboot2 information block, or from a PVH start info, at host-physical address. Nothing outside
 * the window is read, however damaged the blob is. Return NULL, or what is wrong with the blob; then *info holds
 * what was read before. (Multiboot2 specification 2.0, section 3.6; Xen's xen/include/public/arch-x86/hvm/start_info.h
 * describes the other.) */
const char *bootinfo_multiboot2(struct bootinfo *info, struct window window, uint64_t address);
const char *bootinfo_pvh(struct bootinfo *info, struct window window, uint64_t address);

/* When the only module is a bundle (a newc cpio archive, see boot/README.md), puts the modules that it carries in its
 * place. Nothing outside the window is read. Returns NULL, also when there is no bundle, or what is wrong with it; then
 * there are no modules. */
const char *bootinfo_bundle(struct bootinfo *info, struct window window);

/* One module to be copied before anything else uses memory. */
struct move {
	uint64_t from, to, bytes;
};

/* Refuses, by setting its `refused`, every module that overlaps the image, another module or memory that is not RAM.
 * Plans a move for each good one that lies below 1 MiB and enters the new place in *info; the caller copies, in
 * order. Returns the number of moves (at most BOOTINFO_MAX_MODULES, the size of moves[]). */
unsigned memory_place_modules(struct bootinfo *info, struct range image, struct move *moves);

/* The RAM that is free for use, in whole pages, sorted, without the first MiB, the image and the modules that are
 * not refused. Fills at most max ranges and returns their number; the smallest are dropped when there are more. */
unsigned memory_usable(const struct bootinfo *info, struct range image, struct range *out, unsigned max);

/* A page of RAM between 4 KiB and 640 KiB, for code that a CPU runs in real mode, or 0 when there is none. */
uint64_t memory_low_page(const struct bootinfo *info);

/* Takes bytes (rounded up to pages), aligned to align (a power of two, at least a page), from the top of the highest
 * range below limit that can give them. Returns the address, or 0 when none can. */
uint64_t memory_take(struct range *ranges, unsigned count, uint64_t bytes, uint64_t align, uint64_t limit);

#endif

#endif
