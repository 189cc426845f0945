/* SPDX-License-Identifier: MIT */
/* guest/text.c against the C library, and guest/match.c against a plain search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/match.h"
#include "guest/text.h"
#include "tools/host/native.h"

static void same(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void same(const char *fmt, ...)
{
	char ours[200], theirs[200];
	va_list a, b;

	va_start(a, fmt);
	va_copy(b, a);
	assert_int_equal(text_format_list(ours, sizeof ours, fmt, a), vsnprintf(theirs, sizeof theirs, fmt, b));
	assert_string_equal(ours, theirs);
	va_end(b);
	va_end(a);
}

static void numbers_as_the_c_library_prints_them(void **state)
{
	(void)state;
	same("%d %d %d %d", 0, -1, INT32_MAX, INT32_MIN);
	same("%ld %ld %lld", INT64_MAX, INT64_MIN, -5LL);
	same("%u %x %lu %lx %zu", 4000000000u, 0xdeadbeefu, UINT64_MAX, UINT64_MAX, (size_t)77);
	same("[%5d] [%-5d] [%05d] [%05d] [%2d]", 42, 42, 42, -42, 12345);
	same("[%016lx] [%-8x] [%8x]", 0x1234abcdUL, 0xabcu, 0xabcu);
}

static void strings_as_the_c_library_prints_them(void **state)
{
	(void)state;
	same("%s|%8s|%-8s|%.2s|%5.1s|", "abc", "abc", "abc", "abc", "abc");
	same("%c%c%% 100%%", 'x', 'y');
	same("%s", "");
}

static void what_does_not_fit_is_cut(void **state)
{
	char to[6] = "zzzzz";

	(void)state;
	assert_int_equal(text_format(to, sizeof to, "%s", "abcdefgh"), 5);
	assert_string_equal(to, "abcde");
	assert_int_equal(text_format(to, 1, "%d", 5), 0);
	assert_string_equal(to, "");
}

static void unknown(void *fmt)
{
	char to[8];

	text_format(to, sizeof to, fmt, 1);
}

static void an_unknown_conversion_is_our_bug(void **state)
{
	char fmt[] = "%q";

	(void)state;
	assert_true(host_panics(unknown, fmt, "unknown conversion 'q'"));
}

static void copies_whole_or_not_at_all(void **state)
{
	char to[4] = "zz";

	(void)state;
	assert_false(text_copy(to, sizeof to, "abcd"));
	assert_string_equal(to, "zz");
	assert_true(text_copy(to, sizeof to, "abc"));
	assert_string_equal(to, "abc");
	assert_true(text_equal("a", "a") && !text_equal("a", "ab") && !text_equal("ab", "a") && text_equal("", ""));
}

/* Random streams over two letters, where texts overlap themselves most. */
static void match_finds_what_a_search_finds(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		char text[8] = "", stream[201] = "";
		unsigned length = 1 + (unsigned)(host_random(&seed) % 6);
		struct match m;

		for (unsigned i = 0; i < length; i++)
			text[i] = "ab"[host_random(&seed) & 1];
		match_init(&m, text);
		for (unsigned n = 0; n < 200; n++) {
			bool ends;

			stream[n] = "ab"[host_random(&seed) & 1];
			ends = n + 1 >= length && !memcmp(stream + n + 1 - length, text, length);
			assert_int_equal(match_byte(&m, (uint8_t)stream[n]), ends);
		}
	}
}

static void an_empty_text_is_never_found(void **state)
{
	struct match m;

	(void)state;
	match_init(&m, "");
	for (unsigned i = 0; i < 256; i++)
		assert_false(match_byte(&m, (uint8_t)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_as_the_c_library_prints_them),
		cmocka_unit_test(strings_as_the_c_library_prints_them),
		cmocka_unit_test(what_does_not_fit_is_cut),
		cmocka_unit_test(an_unknown_conversion_is_our_bug),
		cmocka_unit_test(copies_whole_or_not_at_all),
		cmocka_unit_test(match_finds_what_a_search_finds),
		cmocka_unit_test(an_empty_text_is_never_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
