/* SPDX-License-Identifier: MIT */
/* The end of the machine. */
#ifndef HV_PLATFORM_H
#define HV_PLATFORM_H

#include "hv/acpi.h"

enum platform_end { END_AUTO, END_HALT, END_REBOOT, END_POWEROFF };

/* How to end from now on (option end=). END_AUTO: an emulator ends at once; elsewhere what the screen shows stays until
 * a key is pressed or COM1 receives a byte, and then the machine is switched off. */
void platform_set_end(enum platform_end end);
/* What ACPI says of the machine. Before this it counts as hardware that cannot be switched off. */
void platform_set_power(const struct acpi_power *power);
/* What the user should know before the last line, or NULL. */
const char *platform_hint(void);
/* Empties the log, prints `UMBRA verdict` as the last line, and ends the machine with that exit code where the
 * platform carries one. Any CPU, no lock held. */
_Noreturn void platform_finish(const char *verdict, unsigned code);
/* The same without the log: the caller has printed everything. Panic. */
_Noreturn void platform_stop(unsigned code);

#endif
