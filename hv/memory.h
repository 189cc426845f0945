/* SPDX-License-Identifier: MIT */
/* Host memory before there is a page allocator. */
#ifndef HV_MEMORY_H
#define HV_MEMORY_H

#include <stdint.h>
#include "boot/bootinfo.h"

#define MEMORY_MAX_RANGES 64

/* Puts the modules where they are safe and finds the RAM that is free. *info is changed accordingly. Boot processor,
 * before anything is written outside the image. */
void memory_init(struct bootinfo *info);
/* Zeroed memory below 4 GiB, page aligned, never given back; NULL when there is none. Until memory_ranges(). */
void *memory_early(uint64_t bytes);
/* What is left, mapped and writable, for the page allocator. Ends memory_early(). Returns the number of ranges. */
unsigned memory_ranges(const struct range **ranges);

#endif
