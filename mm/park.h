/* SPDX-License-Identifier: MIT */
/* Park points: named places where a native test stops one thread of control to let others run. Nothing on the metal. */
#ifndef MM_PARK_H
#define MM_PARK_H

#if __STDC_HOSTED__
void park(const char *point);
#else
static inline void park(const char *point) { (void)point; }
#endif

#endif
