/* SPDX-License-Identifier: MIT */
/* Host RAM from address 0 on, in .bss: untouched pages cost nothing. In a file of its own, for the compiler is not to know
 * where it ends: more is mapped behind it. */
#include "tools/host/native.h"

char host_direct_base[NATIVE_ARENA_BYTES] __attribute__((aligned(2 << 20)));
