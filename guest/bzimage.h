/* SPDX-License-Identifier: MIT */
/* Linux's bzImage, and what else has its setup header, memtest86+ for one (The Linux/x86 Boot Protocol). Boot protocol 2.10
 * or later, which says how much memory the kernel needs and where; the 64-bit entry where there is one, else the 32-bit
 * one. The guest gets ACPI tables (guest/acpi_tables.h). */
#ifndef GUEST_BZIMAGE_H
#define GUEST_BZIMAGE_H

#include "guest/loader.h"

/* True when the file has a setup header, be it good or not. */
bool bzimage_recognise(const struct loader_file *image);

/* As loader_load; at most one module, an initrd. */
bool bzimage_load(uint64_t mem, unsigned vcpus, const struct image_memory *memory, const struct loader_file *image,
	const struct loader_file *module, unsigned modules, struct loader_entry *entry, char *error);

#endif
