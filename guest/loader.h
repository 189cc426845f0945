/* SPDX-License-Identifier: MIT */
/* Puts an image and its modules into a new guest's memory: multiboot 1, as ELF32, ELF64 or by its header's address
 * fields, or a Linux bzImage. Anything else is refused with what was found. Nothing in the files is trusted. */
#ifndef GUEST_LOADER_H
#define GUEST_LOADER_H

#include "guest/multiboot.h"

#define LOADER_ERROR 160 /* longest error text and its zero, bytes */

/* A file in host memory. string: a module's own; for an image the guest's command line, which it gets as it stands,
 * with no program name before it. */
struct loader_file {
	const void *data;
	uint64_t bytes;
	const char *string;
	bool initrd; /* named by initrd-of=; a multiboot guest's is a module like the others */
};

/* The state that the first vCPU begins in. */
enum loader_kind {
	LOADER_MULTIBOOT,
	LOADER_LINUX32, /* the boot protocol's 32-bit entry: paging off */
	LOADER_LINUX64, /* its 64-bit entry: long mode */
};

struct loader_entry {
	enum loader_kind kind;
	uint32_t entry; /* gpa where the guest begins */
	uint32_t info;  /* gpa of the multiboot information, or of Linux's boot_params */
	/* Linux's alone: */
	uint32_t gdt, gdt_limit; /* gpa; bytes - 1 */
	uint32_t cr3;            /* LOADER_LINUX64: gpa of the level-4 page table */
};

/* mem: the guest's RAM, bytes, all zero before. vcpus: 1 … 8, for the ACPI tables that Linux gets. At most
 * MULTIBOOT_MAX_MODULES modules; each is placed on a page boundary above the image where there is room, Linux's initrd as
 * high as the kernel lets it. False: error (LOADER_ERROR bytes) says why; RAM may be written. */
bool loader_load(uint64_t mem, unsigned vcpus, const struct image_memory *memory, const struct loader_file *image,
	const struct loader_file *module, unsigned modules, struct loader_entry *entry, char *error);

#endif
