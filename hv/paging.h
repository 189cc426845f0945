/* SPDX-License-Identifier: MIT */
/* The hypervisor's own address space: all RAM at its own address. */
#ifndef HV_PAGING_H
#define HV_PAGING_H

#include "boot/bootinfo.h"

#define PAGING_LIMIT (1ull << 40) /* host-physical: what lies above is not mapped, and not used */

/* Turns the boot page tables, which all CPUs share, into the final ones: page 0 unmapped; the image's text executable
 * and not writable, its constants neither, everything else not executable; device space uncached; RAM and ACPI tables
 * above 4 GiB mapped. Boot processor, before others start. Returns NULL or what went wrong. */
const char *paging_init(const struct bootinfo *info);

/* Unmaps the page at a host-physical address below 4 GiB, so that a stack that grows into it traps. Before other
 * processors start, for nobody tells them. False when there is no memory for the table that it may take. */
bool paging_guard(uint64_t address);

#endif
