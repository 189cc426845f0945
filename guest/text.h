/* SPDX-License-Identifier: MIT */
/* Strings for the pure rooms, which have no C library. */
#ifndef GUEST_TEXT_H
#define GUEST_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Formats like printf into to[0 … size-1], always ending in a zero byte; what does not fit is cut off. Knows %% %c %s
 * %d %u %x with the flags 0 and -, a width, a precision of %s, and the lengths l, ll and z; CHECKs on any other.
 * Returns the bytes written without the zero. size is at least 1. */
unsigned text_format(char *to, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
unsigned text_format_list(char *to, size_t size, const char *fmt, va_list arguments)
	__attribute__((format(printf, 3, 0)));

/* Bytes before the zero. */
size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
/* Copies s and its zero when it fits into size bytes; otherwise nothing is written and the result is false. */
bool text_copy(char *to, size_t size, const char *s);

#endif
