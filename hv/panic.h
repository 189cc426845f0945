/* SPDX-License-Identifier: MIT */
/* The end after a bug of ours. host_panic() and unexpected traps come here. */
#ifndef HV_PANIC_H
#define HV_PANIC_H

#include "hv/trap.h"

/* Stops all CPUs, empties the log, prints why, the registers (frame may be NULL), a backtrace and where the other
 * CPUs were, and ends the platform with UMBRA PANIC. */
_Noreturn void panic_at(struct trap_frame *frame, const char *why);
/* The NMI handler asks: stop here if a panic is on. */
void panic_check_stop(struct trap_frame *frame);
/* The name of the function around address, or "?"; *offset bytes into it. */
const char *panic_symbol(uint64_t address, uint64_t *offset);

#endif
