/* SPDX-License-Identifier: MIT */
/* The end of the machine. */
#ifndef HV_PLATFORM_H
#define HV_PLATFORM_H

enum platform_end { END_AUTO, END_HALT, END_REBOOT, END_POWEROFF };

/* How to end from now on (option end=). */
void platform_set_end(enum platform_end end);
/* Empties the log, prints `UMBRA verdict` as the last line, and ends the machine with that exit code where the
 * platform carries one. Any CPU, no lock held. */
_Noreturn void platform_finish(const char *verdict, unsigned code);
/* The same without the log: the caller has printed everything. Panic. */
_Noreturn void platform_stop(unsigned code);

#endif
