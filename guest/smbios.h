/* SPDX-License-Identifier: MIT */
/* What a PC's firmware tells of itself at 0xf0000 (DMTF DSP0134, System Management BIOS 3.0): an entry point, and the two structures
 * that say what this machine is. A kernel that looks for it elsewhere reads 64 KiB of nothing, each byte an exit. */
#ifndef GUEST_SMBIOS_H
#define GUEST_SMBIOS_H

#include "guest/mmio.h"

#define SMBIOS_ADDRESS 0xf0000UL /* gpa; read-only */

/* Of the 64 pages from 0xc0000 on, all but this one are nobody's (mmu_set_blank). */
#define SMBIOS_LEAVES_BLANK (~(1UL << (SMBIOS_ADDRESS - 0xc0000) / 4096))

/* Connects it to the guest's memory. */
void smbios_attach(struct mmio *m);

#endif
