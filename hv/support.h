/* SPDX-License-Identifier: MIT */
/* What someone who helps from afar has to know of this machine. */
#ifndef HV_SUPPORT_H
#define HV_SUPPORT_H

#include "boot/bootinfo.h"

/* Whose memory map support_print() tells. *info stays where it is. */
void support_init(const struct bootinfo *info);
/* Gives `line` the lines of the support block, one by one: processor, capability registers, memory map. Allowed in a
 * panic. */
void support_print(void (*line)(const char *text));

#endif
