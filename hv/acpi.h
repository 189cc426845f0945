/* SPDX-License-Identifier: MIT */
/* ACPI tables, as far as the list of processors. Pure. */
#ifndef HV_ACPI_H
#define HV_ACPI_H

#include <stdint.h>
#include "boot/bootinfo.h"

#define ACPI_MAX_CPUS 256

struct acpi {
	unsigned cpus;
	uint32_t apic_id[ACPI_MAX_CPUS];	/* of the processors that the firmware enabled */
	unsigned disabled;			/* listed, but not enabled */
	unsigned beyond;			/* enabled, but there was no room for them */
};

/* Finds the MADT from the root pointer that the boot loader passed, or by a search of the BIOS's areas, and lists the
 * processors. Nothing outside the window (whose start is host-physical) is read. Returns NULL, or what is wrong; then
 * out->cpus is 0. (ACPI 6.4, 5.2.5 to 5.2.12.) */
const char *acpi_parse(struct acpi *out, struct window window, const struct bootinfo *info);

#endif
