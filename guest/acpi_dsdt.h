/* SPDX-License-Identifier: MIT */
/* The AML of a guest's DSDT (ACPI Specification 6.5, 20.2), without the table's header. */
#ifndef GUEST_ACPI_DSDT_H
#define GUEST_ACPI_DSDT_H

#include <stdint.h>

#define ACPI_DSDT_MAX 512 /* bytes for 8 vCPUs, with some to spare */

/* Returns the bytes written. vcpus: 1 … 8. */
unsigned acpi_dsdt_build(uint8_t aml[ACPI_DSDT_MAX], unsigned vcpus);

#endif
