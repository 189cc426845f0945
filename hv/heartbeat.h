/* SPDX-License-Identifier: MIT */
/* A periodic NMI from the 8254, for a machine with one CPU. With more, the CPUs watch each other (runner.c). */
#ifndef HV_HEARTBEAT_H
#define HV_HEARTBEAT_H

#include <stdbool.h>

/* Makes this CPU get HEARTBEAT_HZ NMIs a second. False when there is no I/O APIC where it usually is. */
bool heartbeat_start(void);

#endif
