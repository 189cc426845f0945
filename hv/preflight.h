/* SPDX-License-Identifier: MIT */
/* Whether this machine can run guests, and if not, what to do about it. */
#ifndef HV_PREFLIGHT_H
#define HV_PREFLIGHT_H

#include <stdbool.h>

/* Logs what the boot processor offers. Returns NULL when guests can run; otherwise a short reason, logged with advice.
 * What the firmware left unlocked is switched on (IA32_FEATURE_CONTROL, VM_CR). */
const char *preflight(void);
/* The same switch on another processor, on it; false when it has no extension, or the firmware locked that off. */
bool preflight_cpu(void);

#endif
