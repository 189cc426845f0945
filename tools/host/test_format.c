/* SPDX-License-Identifier: MIT */
/* guest/format.c against the C library's printf, at its edges, and the option parser that writes with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "guest/text.h"
#include "hv/options.h"

#define SAME(...) \
	do { \
		char ours[200], libc[200]; \
		int length = snprintf(libc, sizeof(libc), __VA_ARGS__); \
		assert_int_equal(text_format(ours, sizeof(ours), __VA_ARGS__), length); \
		assert_string_equal(ours, libc); \
	} while (0)

static void numbers_as_the_c_library(void **state)
{
	(void)state;
	const int ints[] = {0, 1, -1, 9, 10, 255, 65536, INT32_MAX, INT32_MIN};
	for (unsigned i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		SAME("%d|%5d|%-5d|%05d|%u|%x|%X|%08x|%-8x|", ints[i], ints[i], ints[i], ints[i], (unsigned)ints[i],
			(unsigned)ints[i], (unsigned)ints[i], (unsigned)ints[i], (unsigned)ints[i]);
		SAME("%*d|%-*d|%0*d", 12, ints[i], 12, ints[i], 12, ints[i]);
	}
	const int64_t longs[] = {0, -1, INT64_MAX, INT64_MIN, 1234567890123};
	for (unsigned i = 0; i < sizeof(longs) / sizeof(longs[0]); i++) {
		SAME("%ld %lu %lx %016lx %20ld %-20ld|", longs[i], (unsigned long)longs[i], (unsigned long)longs[i],
			(unsigned long)longs[i], longs[i], longs[i]);
		SAME("%llu %zu", (unsigned long long)longs[i], (size_t)longs[i]);
	}
	SAME("%#x %#lx %#08x %#8X %-#8x| %#x", 0x12u, 0xffff00000000ul, 0xabu, 0xcdu, 0xefu, 0u);
	SAME("%p", (void *)0x123456789abc);
}

static void text_as_the_c_library(void **state)
{
	(void)state;
	SAME("%s", "");
	SAME("%s|%10s|%-10s|%2s|%.3s|%-6.2s|%.0s|", "umbra", "umbra", "umbra", "umbra", "umbra", "umbra", "umbra");
	SAME("%.*s|%c%c|%3c|%-3c|", 2, "umbra", 'a', 'b', 'c', 'd');
	SAME("100%% plain");
}

static void room_is_never_exceeded(void **state)
{
	(void)state;
	char full[64], cut[64];
	size_t length = text_format(full, sizeof(full), "%s %08x %-6d|", "some text", 0xbeefu, -42);
	for (size_t room = 0; room <= length + 1; room++) {
		memset(cut, '#', sizeof(cut));
		size_t n = text_format(cut, room, "%s %08x %-6d|", "some text", 0xbeefu, -42);
		assert_int_equal(n, room == 0 ? 0 : room - 1);
		assert_memory_equal(cut, full, n);
		if (room)
			assert_int_equal(cut[n], 0);
		assert_int_equal(cut[room], '#');
	}
}

static void huge_width_ends(void **state)
{
	(void)state;
	char to[16];
	assert_int_equal(text_format(to, sizeof(to), "%2000000000d", 5), 15);
	assert_int_equal(text_format(to, sizeof(to), "%-*d", -2000000000, 5), 15);
}

static void unknown_conversions_are_copied(void **state)
{
	(void)state;
	char to[32];
	const char *volatile odd[] = {"%", "%q", "%5", "50%", "%-"};
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		const char *text = odd[i];
		text_format(to, sizeof(to), text, 0);
		assert_string_equal(to, text);
	}
	const char *volatile nothing = NULL;
	text_format(to, sizeof(to), "%s", nothing);
	assert_string_equal(to, "(null)");
}

static bool parse(struct options *o, const char *text, char *error)
{
	strcpy(error, "untouched");
	return options_parse(o, text, error, 700);
}

static void options_defaults(void **state)
{
	(void)state;
	struct options o;
	char error[700];
	assert_true(parse(&o, "", error));
	assert_true(o.audit == OPTION_AUDIT_END && o.state_audit && o.slab == OPTION_SLAB_NORMAL && o.end == END_AUTO);
	assert_true(o.console_com1 && o.console_vga && o.level == HOST_INFO && !o.cpus && !o.walker_skip);
	assert_true(o.test == OPTION_TEST_NONE && !o.walker_stop && o.gdb == OPTION_GDB_OFF);
}

static void options_all_are_taken(void **state)
{
	(void)state;
	struct options o;
	char error[700];
	assert_true(parse(&o, "  audit=off state-audit=off slab=poison walker-stop=1000 walker-skip=999 "
			      "console=com1 end=halt quiet cpus=3  test=panic ", error));
	assert_true(o.audit == OPTION_AUDIT_OFF && !o.state_audit && o.slab == OPTION_SLAB_POISON);
	assert_true(o.walker_stop == 1000 && o.walker_skip == 999 && o.console_com1 && !o.console_vga);
	assert_true(o.end == END_HALT && o.level == HOST_WARN && o.cpus == 3 && o.test == OPTION_TEST_PANIC);
	assert_true(parse(&o, "audit=continuous", error));
	assert_true(o.audit == OPTION_AUDIT_CONTINUOUS);
	assert_true(parse(&o, "audit=end slab=lifo console=vga end=poweroff", error));
	assert_true(o.audit == OPTION_AUDIT_END && o.slab == OPTION_SLAB_LIFO && !o.console_com1 && o.console_vga);
	assert_true(o.end == END_POWEROFF && o.test == OPTION_TEST_NONE);
	assert_true(parse(&o, "restart=a-1:1000 quiet", error) && !strcmp(o.restart, "a-1") && o.restarts == 1000);
	assert_true(parse(&o, "gdb=com2", error) && !o.restarts && !o.restart[0]);
	assert_true(parse(&o, "gdb=com2", error) && o.gdb == OPTION_GDB_COM2);
	assert_true(parse(&o, "gdb=wait", error) && o.gdb == OPTION_GDB_WAIT);
}

static void options_errors_name_word_and_choices(void **state)
{
	(void)state;
	struct options o;
	char error[700];
	assert_false(parse(&o, "quiet audit=maybe", error));
	assert_non_null(strstr(error, "'audit=maybe'"));
	assert_non_null(strstr(error, "audit=end"));
	assert_non_null(strstr(error, "audit=continuous"));
	assert_null(strstr(error, "slab="));
	assert_false(parse(&o, "bogus", error));
	assert_non_null(strstr(error, "'bogus'"));
	assert_non_null(strstr(error, "walker-stop=N"));
	const char *const bad[] = {"cpus=", "cpus=x", "cpus=1x", "cpus=-1", "cpus=99999999999999999999", "cpus=257",
		"cpus", "gdb=com1", "audit", "audit=", "audit=offf", "quiet=1", "=", "aud=off", "walker-skip=1000001",
		"restart", "restart=", "restart=a", "restart=:3", "restart=a:", "restart=a:x", "restart=a:100001",
		"restart=a12345678901234567890123456789012:1"};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(parse(&o, bad[i], error));
		assert_non_null(strstr(error, bad[i]));
	}
}

static void options_very_long_word(void **state)
{
	(void)state;
	struct options o;
	char error[700], text[1024];
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	assert_false(parse(&o, text, error));
	assert_non_null(strstr(error, "longer than any known"));
	char small[16];
	assert_false(options_parse(&o, "bogus", small, sizeof(small)));
	assert_int_equal(strlen(small), sizeof(small) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_as_the_c_library),
		cmocka_unit_test(text_as_the_c_library),
		cmocka_unit_test(room_is_never_exceeded),
		cmocka_unit_test(huge_width_ends),
		cmocka_unit_test(unknown_conversions_are_copied),
		cmocka_unit_test(options_defaults),
		cmocka_unit_test(options_all_are_taken),
		cmocka_unit_test(options_errors_name_word_and_choices),
		cmocka_unit_test(options_very_long_word),
	};
	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
