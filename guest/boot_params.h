/* SPDX-License-Identifier: MIT */
/* What a Linux kernel finds in low memory when it is entered: the boot_params structure ("zero page") with its memory map
 * and setup header, the command line, a GDT, and page tables for the 64-bit entry (The Linux/x86 Boot Protocol; Zero
 * Page). */
#ifndef GUEST_BOOT_PARAMS_H
#define GUEST_BOOT_PARAMS_H

#include "guest/image.h"
#include "guest/layout.h"

/* The setup header has a place of its own in both the file and boot_params, the same. */
#define SETUP_HEADER_OFFSET 0x1f1u
#define SETUP_HEADER_END 0x290u /* and no further, however long a kernel says that its is */

struct setup_header {
	uint8_t setup_sects;    /* 0x1f1: sectors of real-mode code behind the first; 0: 4 */
	uint16_t root_flags;    /* 0x1f2 */
	uint32_t syssize;       /* 0x1f4: what follows the real-mode code, paragraphs of 16 bytes */
	uint16_t unused_1f8[3]; /* 0x1f8 */
	uint16_t boot_flag;     /* 0x1fe */
	uint8_t jump;           /* 0x200: opcode, a short jump past the header, */
	uint8_t jump_bytes;     /* 0x201: and how far from the next byte */
	uint32_t magic;         /* 0x202 */
	uint16_t version;       /* 0x206: major, minor: a byte each */
	uint8_t unused_208[8];  /* 0x208 */
	uint8_t type_of_loader; /* 0x210 */
	uint8_t loadflags;      /* 0x211 */
	uint16_t unused_212;    /* 0x212 */
	uint32_t code32_start;  /* 0x214: gpa of what follows the real-mode code */
	uint32_t ramdisk_image; /* 0x218: gpa */
	uint32_t ramdisk_size;  /* 0x21c: bytes */
	uint8_t unused_220[8];  /* 0x220 */
	uint32_t cmd_line_ptr;  /* 0x228: gpa */
	uint32_t initrd_addr_max;     /* 0x22c: gpa that the initrd's last byte may have */
	uint32_t kernel_alignment;    /* 0x230: bytes */
	uint8_t relocatable_kernel;   /* 0x234 */
	uint8_t min_alignment;        /* 0x235 */
	uint16_t xloadflags;          /* 0x236: since 2.12 */
	uint32_t cmdline_size;        /* 0x238: longest command line without its zero, bytes */
	uint8_t unused_23c[20];       /* 0x23c */
	uint64_t setup_data;          /* 0x250 */
	uint64_t pref_address;        /* 0x258: gpa */
	uint32_t init_size;           /* 0x260: memory that it needs from where it runs, bytes */
	uint8_t rest[SETUP_HEADER_END - 0x264];
} __attribute__((packed));
_Static_assert(sizeof(struct setup_header) == SETUP_HEADER_END - SETUP_HEADER_OFFSET, "offsets of the boot protocol");

/* Entries as boot_params has them, and as firmware's INT 15h, AX=E820h tells them. */
#define E820_RAM 1
#define E820_RESERVED 2
#define E820_NVS 4
#define E820_MAX 7
struct e820_entry {
	uint64_t start, bytes;
	uint32_t type;
} __attribute__((packed));

/* The memory map of a guest with `mem` bytes of RAM that has ACPI tables; returns how many entries. */
unsigned e820_build(uint64_t mem, struct e820_entry map[E820_MAX]);

/* Where it all lies, gpa. */
struct boot_params_places {
	uint32_t boot_params, gdt, gdt_limit;
	uint32_t page_table; /* level 4; maps the first 4 GiB to themselves. Only if wanted */
};

/* Writes them into memory that is free in *l and zero; *h gets the command line's address. code64: the entry is the
 * 64-bit one. False: no room. */
bool boot_params_write(struct layout *l, const struct image_memory *memory, struct setup_header *h,
	const char *command_line, bool code64, struct boot_params_places *p);

#endif
