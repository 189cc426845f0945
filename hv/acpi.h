/* SPDX-License-Identifier: MIT */
/* ACPI tables, as far as the list of processors and the way to switch off. Pure. */
#ifndef HV_ACPI_H
#define HV_ACPI_H

#include <stdbool.h>
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

/* I/O ports and what to write there. A port that does not exist is 0. */
struct acpi_power {
	bool off;			/* state S5 can be entered: type_a to pm1a, type_b to pm1b */
	uint16_t pm1a, pm1b;		/* PM1 control registers */
	uint8_t type_a, type_b;		/* SLP_TYP of S5 */
	uint16_t smi;			/* SMI command port: `enable` there switches ACPI mode on */
	uint8_t enable;
	uint16_t reset;			/* the reset register */
	uint8_t reset_value;
	bool emulator;			/* the tables are those of Bochs or QEMU */
};

/* Reads from the FADT, and from \_S5 in the DSDT, how to switch the machine off and how to reset it. *out says "no" to
 * all when there is no FADT. Only ports are understood: registers in memory and the hardware-reduced machine's sleep
 * register count as absent, as does an _S5 that is not a plain package. (ACPI 6.4, 4.8.3.2, 5.2.9, 7.4.2, 20.2.) */
void acpi_power_parse(struct acpi_power *out, struct window window, const struct bootinfo *info);

/* The first table with that signature and a right checksum, and its length, or NULL. *error: NULL, or why there are no
 * tables at all. */
const uint8_t *acpi_find(struct window window, const struct bootinfo *info, const char *signature, uint32_t *bytes,
	const char **error);
/* The table at host-physical address, if its signature, length and checksum are right, else NULL. */
const uint8_t *acpi_table(struct window window, uint64_t address, const char *signature, uint32_t *bytes);

#endif
