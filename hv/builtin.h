/* SPDX-License-Identifier: MIT */
/* The guests inside the hypervisor's own image: they run when no boot module names any. */
#ifndef HV_BUILTIN_H
#define HV_BUILTIN_H

#include <stdint.h>

#define BUILTIN_COUNT 2

struct builtin {
	const char *string;		/* as a boot module's: keys, " -- ", the guest's command line */
	const uint8_t *start, *end;	/* a multiboot image */
};

extern const struct builtin builtins[BUILTIN_COUNT];

#endif
