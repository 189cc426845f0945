/* SPDX-License-Identifier: MIT */
/* guest/text.c, and guest/match.c against a plain search. guest/format.c has test_format.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/match.h"
#include "guest/text.h"
#include "tools/host/native.h"

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
		cmocka_unit_test(copies_whole_or_not_at_all),
		cmocka_unit_test(match_finds_what_a_search_finds),
		cmocka_unit_test(an_empty_text_is_never_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
