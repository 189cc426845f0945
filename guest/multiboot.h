/* SPDX-License-Identifier: MIT */
/* Multiboot 1 (Multiboot Specification 0.6.96): the header in an image, and the information that the guest gets. */
#ifndef GUEST_MULTIBOOT_H
#define GUEST_MULTIBOOT_H

#include "guest/image.h"
#include "guest/layout.h"

#define MULTIBOOT_ENTRY_MAGIC 0x2badb002u /* EAX at the entry */
#define MULTIBOOT_MAX_MODULES 16

enum multiboot_found {
	MULTIBOOT_NONE,         /* no header in the first 8192 bytes */
	MULTIBOOT_BAD_CHECKSUM, /* one at *offset, but its checksum is wrong */
	MULTIBOOT_FOUND,
};

/* Looks for the header; *offset (bytes) is where it stands. */
enum multiboot_found multiboot_find(const void *file, uint64_t bytes, uint64_t *offset);

/* Reads what is to be loaded, by the header's address fields or else as ELF. False: error (size bytes) says what is
 * wrong. */
bool multiboot_read(struct image *m, const void *file, uint64_t bytes, uint64_t header, char *error, size_t size);

/* A module that lies in guest memory already. */
struct multiboot_module {
	uint32_t start, end; /* gpa; end is one past the last byte */
	const char *string;
};

/* Builds the information in memory that is free in *l. Returns its gpa, or 0 when there is no room. */
uint32_t multiboot_inform(struct layout *l, const struct image_memory *memory, const char *command_line,
	const struct multiboot_module *module, unsigned modules);

#endif
