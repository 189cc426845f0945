/* SPDX-License-Identifier: MIT */
/* The guests' life, from the modules to the verdict. */
#ifndef HV_RUN_H
#define HV_RUN_H

#include "boot/bootinfo.h"

/* Runs the guests that the modules name, or the built-in ones, to their end; then ends the platform. Boot processor,
 * interrupts on, all others idle. The RAM to use comes from memory_ranges(). */
_Noreturn void run_guests(const struct bootinfo *info);

#endif
