/* SPDX-License-Identifier: MIT */
/* printf into a buffer: %d %i %u %x %X %c %s %p %%, with -, 0, # (hexadecimal), width, .precision (strings; both may be *) and the
 * lengths l, ll, z. Pure. */
#ifndef HV_FORMAT_H
#define HV_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* Fills at most room bytes, always ending with 0 when room > 0. Returns the length without the 0 of what was written
 * (not of what would have been). An unknown conversion is copied as it stands and takes no argument. */
size_t format(char *to, size_t room, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
size_t format_va(char *to, size_t room, const char *fmt, va_list args);

#endif
