/* SPDX-License-Identifier: MIT */
/* The hypervisor's own address space: all RAM at its own address. */
#ifndef HV_PAGING_H
#define HV_PAGING_H

#include "boot/bootinfo.h"

/* Turns the boot page tables, which all CPUs share, into the final ones: page 0 unmapped; the image's text executable
 * and not writable, its constants neither, everything else not executable; device space uncached; RAM and ACPI tables
 * above 4 GiB mapped. Boot processor, before others start. Returns NULL or what went wrong. */
const char *paging_init(const struct bootinfo *info);

#endif
