/* SPDX-License-Identifier: MIT */
#include "guest/text.h"
#include "mm/host.h"

/* Where the formatted bytes go; one place is kept for the zero. */
struct sink {
	char *to;
	size_t size, n;
};

/* One conversion, as parsed from the format. */
struct conversion {
	bool left, zero;
	int width, precision; /* precision -1: none */
	unsigned longs;       /* 0: int, else 64 bits */
	char type;
};

static void put(struct sink *s, char c)
{
	if (s->n + 1 < s->size)
		s->to[s->n++] = c;
}

static void put_padded(struct sink *s, const struct conversion *c, const char *text, int n)
{
	int pad = c->width > n ? c->width - n : 0;

	if (c->zero && pad && *text == '-') {
		put(s, *text++);
		n--;
	}
	for (; pad && !c->left; pad--)
		put(s, c->zero ? '0' : ' ');
	while (n--)
		put(s, *text++);
	for (; pad; pad--)
		put(s, ' ');
}

static void put_number(struct sink *s, const struct conversion *c, uint64_t value, unsigned base, bool negative)
{
	char digits[24];
	int n = sizeof digits;

	do {
		digits[--n] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		digits[--n] = '-';
	put_padded(s, c, digits + n, (int)sizeof digits - n);
}

static void put_string(struct sink *s, const struct conversion *c, const char *text)
{
	int n = 0;

	while ((c->precision < 0 || n < c->precision) && text[n])
		n++;
	put_padded(s, c, text, n);
}

static int parse_number(const char **fmt)
{
	int n = 0;

	while (**fmt >= '0' && **fmt <= '9' && n < 1000)
		n = n * 10 + *(*fmt)++ - '0';
	return n;
}

/* *fmt stands behind the percent sign, and then behind the conversion. */
static struct conversion parse(const char **fmt)
{
	struct conversion c = {.precision = -1};

	for (;; (*fmt)++) {
		if (**fmt == '-')
			c.left = true;
		else if (**fmt == '0')
			c.zero = true;
		else
			break;
	}
	c.width = parse_number(fmt);
	if (**fmt == '.') {
		(*fmt)++;
		c.precision = parse_number(fmt);
	}
	for (; **fmt == 'l' || **fmt == 'z'; (*fmt)++)
		c.longs++;
	c.type = *(*fmt)++;
	c.zero = c.zero && !c.left && c.type != 's';
	return c;
}

unsigned text_format_list(char *to, size_t size, const char *fmt, va_list arguments)
{
	struct sink s = {.to = to, .size = size};

	while (*fmt) {
		struct conversion c;
		int64_t i;
		char ch;

		if (*fmt != '%') {
			put(&s, *fmt++);
			continue;
		}
		fmt++;
		c = parse(&fmt);
		switch (c.type) {
		case '%':
			put(&s, '%');
			break;
		case 'c':
			ch = (char)va_arg(arguments, int);
			put_padded(&s, &c, &ch, 1);
			break;
		case 's':
			put_string(&s, &c, va_arg(arguments, const char *));
			break;
		case 'd':
			i = c.longs ? va_arg(arguments, int64_t) : va_arg(arguments, int);
			put_number(&s, &c, i < 0 ? -(uint64_t)i : (uint64_t)i, 10, i < 0);
			break;
		case 'u':
		case 'x':
			put_number(&s, &c, c.longs ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned),
				c.type == 'x' ? 16 : 10, false);
			break;
		default:
			host_panic("text_format: unknown conversion '%c'", c.type);
		}
	}
	s.to[s.n] = 0;
	return (unsigned)s.n;
}

unsigned text_format(char *to, size_t size, const char *fmt, ...)
{
	va_list arguments;
	unsigned n;

	va_start(arguments, fmt);
	n = text_format_list(to, size, fmt, arguments);
	va_end(arguments);
	return n;
}

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
