/* SPDX-License-Identifier: MIT */
/* The ACPI tables of a Linux guest (ACPI Specification 6.5; the FADT is of revision 4): RSDP, RSDT and XSDT, FADT with FACS,
 * MADT, and a DSDT with processors, serial port, clock and the value that powers off. They lie in the last 8 KiB of low
 * memory, which a BIOS would call its extended data area. */
#ifndef GUEST_ACPI_TABLES_H
#define GUEST_ACPI_TABLES_H

#include "guest/image.h"

#define ACPI_TABLES_START 0x9e000UL                   /* gpa; up to 0x9ffff */
#define ACPI_TABLES_RSDP (ACPI_TABLES_START + 0x10UL) /* gpa */

/* What the tables tell of other devices. */
#define ACPI_PM_EVENT_PORT 0x600u   /* PM1a status and enable, 16 bits each */
#define ACPI_PM_CONTROL_PORT 0x604u /* PM1a control, 16 bits; SCI_EN is always set */
#define ACPI_PM_TIMER_PORT 0x608u   /* 32 bits at 3579545 Hz */
#define ACPI_SCI_IRQ 9u             /* level, active high */
#define ACPI_RESET_PORT 0xcf9u
#define ACPI_RESET_VALUE 6u
#define ACPI_SLEEP_S5 5u            /* SLP_TYP in PM1a control that powers off */
#define ACPI_LAPIC_BASE 0xfee00000u
#define ACPI_IOAPIC_BASE 0xfec00000u
#define ACPI_IOAPIC_ID 8u           /* local APICs have those of their vCPUs, 0 … 7 */
#define ACPI_PIT_GSI 2u             /* IRQ 0's; any other IRQ n is GSI n */

/* Writes them. vcpus: 1 … 8. False: some of it is not RAM. */
bool acpi_tables_write(const struct image_memory *memory, unsigned vcpus);

#endif
