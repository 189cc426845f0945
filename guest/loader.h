/* SPDX-License-Identifier: MIT */
/* Puts an image and its modules into a new guest's memory: multiboot 1, as ELF32, ELF64 or by its header's address
 * fields. Anything else is refused with what was found. Nothing in the files is trusted. */
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
};

struct loader_entry {
	uint32_t entry; /* gpa where the guest begins */
	uint32_t info;  /* gpa of the multiboot information */
};

/* mem: the guest's RAM, bytes, all zero before. At most MULTIBOOT_MAX_MODULES modules; each is placed on a page
 * boundary above the image where there is room. False: error (LOADER_ERROR bytes) says why; RAM may be written. */
bool loader_load(uint64_t mem, const struct image_memory *memory, const struct loader_file *image,
	const struct loader_file *module, unsigned modules, struct loader_entry *entry, char *error);

#endif
