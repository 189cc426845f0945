/* SPDX-License-Identifier: MIT */
/* Strings where there is no C library. */
#ifndef GUEST_TEXT_H
#define GUEST_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* printf into to[0 … room-1], always ending in a zero byte when room > 0; what does not fit is cut off. Knows %d %i %u %x %X
 * %c %s %p %%, with -, 0, # (hexadecimal), width, .precision (strings; both may be *) and the lengths l, ll, z; any other
 * conversion is copied as it stands and takes no argument. Returns the bytes written without the zero. format.c. */
unsigned text_format(char *to, size_t room, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
unsigned text_format_list(char *to, size_t room, const char *fmt, va_list given) __attribute__((format(printf, 3, 0)));

/* Bytes before the zero. */
size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
/* Copies s and its zero when it fits into size bytes; otherwise nothing is written and the result is false. */
bool text_copy(char *to, size_t size, const char *s);

#endif
