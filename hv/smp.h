/* SPDX-License-Identifier: MIT */
/* Starting the other processors. */
#ifndef HV_SMP_H
#define HV_SMP_H

#include <stdbool.h>
#include "hv/acpi.h"

/* Starts processors until `limit` are online (0: all), through a trampoline in the page at low_page. Every wait is
 * bounded; what does not answer, and what is not wanted, is counted and logged. False when VMX is locked off on one of
 * them. Boot processor, once; host_cpus() is final afterwards. */
bool smp_start(const struct acpi *acpi, unsigned limit, uint64_t low_page);

#endif
