/* SPDX-License-Identifier: MIT */
/* printf into a buffer. */
#include "guest/text.h"

struct out {
	char *to;
	size_t room, length;
};

struct spec {
	bool left, zero, prefix;
	int width, precision;
	int longs;
};

static void out_char(struct out *o, char c)
{
	if (o->length + 1 < o->room)
		o->to[o->length++] = c;
}

static void out_fill(struct out *o, char c, long count)
{
	for (; count > 0 && o->length + 1 < o->room; count--)
		out_char(o, c);
}

static void out_string(struct out *o, const struct spec *spec, const char *s)
{
	long length = 0;
	while ((spec->precision < 0 || length < spec->precision) && s[length])
		length++;
	if (!spec->left)
		out_fill(o, ' ', spec->width - length);
	for (long i = 0; i < length; i++)
		out_char(o, s[i]);
	if (spec->left)
		out_fill(o, ' ', spec->width - length);
}

static void out_number(struct out *o, const struct spec *spec, uint64_t v, bool negative, unsigned base, char ten,
	const char *prefix)
{
	char digits[20];
	int n = 0;
	do {
		unsigned d = v % base;
		digits[n++] = d < 10 ? '0' + d : ten + (d - 10);
		v /= base;
	} while (v);

	long pad = spec->width - n - negative;
	for (const char *p = prefix; *p; p++)
		pad--;
	if (!spec->left && !spec->zero)
		out_fill(o, ' ', pad);
	if (negative)
		out_char(o, '-');
	for (; *prefix; prefix++)
		out_char(o, *prefix);
	if (!spec->left && spec->zero)
		out_fill(o, '0', pad);
	while (n > 0)
		out_char(o, digits[--n]);
	if (spec->left)
		out_fill(o, ' ', pad);
}

static const char *number_parse(const char *f, int *value, va_list *args)
{
	if (*f == '*') {
		*value = va_arg(*args, int);
		return f + 1;
	}
	for (*value = 0; *f >= '0' && *f <= '9'; f++)
		if (*value < 100000)
			*value = *value * 10 + (*f - '0');
	return f;
}

static const char *spec_parse(const char *f, struct spec *spec, va_list *args)
{
	*spec = (struct spec){.precision = -1};
	for (; *f == '-' || *f == '0' || *f == '#'; f++) {
		spec->left |= *f == '-';
		spec->zero |= *f == '0';
		spec->prefix |= *f == '#';
	}
	f = number_parse(f, &spec->width, args);
	if (spec->width < 0) {
		spec->left = true;
		spec->width = -spec->width;
	}
	if (*f == '.')
		f = number_parse(f + 1, &spec->precision, args);
	for (; *f == 'l' || *f == 'z'; f++)
		spec->longs++;
	return f;
}

static uint64_t unsigned_arg(const struct spec *spec, va_list *args)
{
	return spec->longs ? va_arg(*args, uint64_t) : va_arg(*args, unsigned);
}

static int64_t signed_arg(const struct spec *spec, va_list *args)
{
	return spec->longs ? va_arg(*args, int64_t) : va_arg(*args, int);
}

/* One conversion at f (behind the %); false when it is none we know. */
static bool convert(struct out *o, const struct spec *spec, char c, va_list *args)
{
	int64_t s;
	uint64_t u;
	switch (c) {
	case 'd':
	case 'i':
		s = signed_arg(spec, args);
		out_number(o, spec, s < 0 ? -(uint64_t)s : (uint64_t)s, s < 0, 10, 'a', "");
		return true;
	case 'u':
		out_number(o, spec, unsigned_arg(spec, args), false, 10, 'a', "");
		return true;
	case 'x':
	case 'X':
		u = unsigned_arg(spec, args);
		out_number(o, spec, u, false, 16, c == 'x' ? 'a' : 'A', !spec->prefix || !u ? "" : c == 'x' ? "0x" : "0X");
		return true;
	case 'p':
		out_number(o, spec, (uintptr_t)va_arg(*args, void *), false, 16, 'a', "0x");
		return true;
	case 's': {
		const char *text = va_arg(*args, const char *);
		out_string(o, spec, text ? text : "(null)");
		return true;
	}
	case 'c': {
		char one[2] = {(char)va_arg(*args, int), 0};
		out_string(o, spec, one);
		return true;
	}
	}
	return false;
}

unsigned text_format_list(char *to, size_t room, const char *fmt, va_list given)
{
	struct out o = {to, room, 0};
	va_list args;
	va_copy(args, given);
	while (*fmt) {
		if (*fmt != '%' || fmt[1] == '%') {
			out_char(&o, *fmt);
			fmt += *fmt == '%' ? 2 : 1;
			continue;
		}
		struct spec spec;
		const char *end = spec_parse(fmt + 1, &spec, &args);
		if (*end && convert(&o, &spec, *end, &args)) {
			fmt = end + 1;
			continue;
		}
		out_char(&o, *fmt++);
	}
	va_end(args);
	if (room)
		to[o.length] = 0;
	return (unsigned)o.length;
}

unsigned text_format(char *to, size_t room, const char *fmt, ...)
{
	unsigned length;
	va_list args;

	va_start(args, fmt);
	length = text_format_list(to, room, fmt, args);
	va_end(args);
	return length;
}
