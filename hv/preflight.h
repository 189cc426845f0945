/* SPDX-License-Identifier: MIT */
/* Whether this machine can run guests, and if not, what to do about it. */
#ifndef HV_PREFLIGHT_H
#define HV_PREFLIGHT_H

#include <stdbool.h>

/* Logs what the boot processor offers. Returns NULL when guests can run; otherwise a short reason, logged with advice.
 * Unlocked IA32_FEATURE_CONTROL is set and locked. */
const char *preflight(void);
/* Sets and locks IA32_FEATURE_CONTROL of another processor, on it; false when VMX is locked off there. */
bool preflight_cpu(void);

#endif
