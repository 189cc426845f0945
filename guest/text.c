/* SPDX-License-Identifier: MIT */
#include "guest/text.h"

size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool text_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

bool text_copy(char *to, size_t size, const char *s)
{
	size_t n = text_length(s);

	if (n >= size)
		return false;
	__builtin_memcpy(to, s, n + 1);
	return true;
}
