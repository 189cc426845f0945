/* SPDX-License-Identifier: MIT */
/* guest/command.c: what lines mean, what is wrong with them, and what they may become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/command.h"
#include "tools/host/native.h"

static const char *const actions[] = {"start", "stop", "map", 0};
static const char *const names[] = {"a", "ab", "b-2"};

enum { HELP, GUESTS, RMAP, LOG, LAST, THREE };
static const struct command commands[] = {
	[HELP] = {"help", "what there is", 0, {{COMMAND_NAME, "COMMAND", 0, true}}},
	[GUESTS] = {"guests", "all guests", 0, {{0}}},
	[RMAP] = {"rmap", "mappings", 0, {{COMMAND_GUEST, "NAME", 0, false}, {COMMAND_NUMBER, "GFN", 0, false},
		{COMMAND_NUMBER, "FROM", 0, true}}},
	[LOG] = {"log", "the log", 0, {{COMMAND_GUEST, "NAME", 0, false}, {COMMAND_WORD, 0, actions, false}}},
	[LAST] = {"guest", "a name that another begins with", 0, {{COMMAND_NUMBER, "N", 0, true}}},
	[THREE] = {"three", "three names", 0, {{COMMAND_GUEST, "ONE", 0, false}, {COMMAND_GUEST, "TWO", 0, false},
		{COMMAND_WORD, 0, actions, false}}},
};

static const char *guest(unsigned nth)
{
	return nth < 3 ? names[nth] : 0;
}

static const struct command_set set = {commands, sizeof commands / sizeof *commands, guest};

static void lines_mean(void **state)
{
	static const struct {
		const char *text;
		enum command_outcome outcome;
		unsigned command, arguments;
		uint64_t value[COMMAND_ARGUMENTS];
		const char *error;
	} cases[] = {
		{"", COMMAND_EMPTY, 0, 0, {0}, ""},
		{"   ", COMMAND_EMPTY, 0, 0, {0}, ""},
		{"help", COMMAND_OK, HELP, 0, {0}, ""},
		{"  help   rmap ", COMMAND_OK, HELP, 1, {RMAP}, ""},
		{"guests", COMMAND_OK, GUESTS, 0, {0}, ""},
		{"guest", COMMAND_OK, LAST, 0, {0}, ""},
		{"guest 007", COMMAND_OK, LAST, 1, {7}, ""},
		{"rmap ab 0x1fF", COMMAND_OK, RMAP, 2, {1, 0x1ff}, ""},
		{"rmap b-2 12 18446744073709551615", COMMAND_OK, RMAP, 3, {2, 12, UINT64_MAX}, ""},
		{"rmap a 0XffffFFFFffffFFFF", COMMAND_OK, RMAP, 2, {0, UINT64_MAX}, ""},
		{"log a map", COMMAND_OK, LOG, 2, {0, 2}, ""},
		{"gues", COMMAND_UNKNOWN, 0, 0, {0}, "gues is no command; help lists them"},
		{"guestsx 1", COMMAND_UNKNOWN, 0, 0, {0}, "guestsx is no command; help lists them"},
		{"help me", COMMAND_WRONG, HELP, 0, {0}, "me is no command"},
		{"guests a", COMMAND_WRONG, GUESTS, 0, {0}, "a is too much"},
		{"rmap", COMMAND_WRONG, RMAP, 0, {0}, "NAME is missing"},
		{"rmap c 1", COMMAND_WRONG, RMAP, 0, {0}, "c is no guest"},
		{"rmap a", COMMAND_WRONG, RMAP, 0, {0}, "GFN is missing"},
		{"rmap a 1 2 3", COMMAND_WRONG, RMAP, 0, {0}, "3 is too much"},
		{"log a", COMMAND_WRONG, LOG, 0, {0}, "start|stop|map is missing"},
		{"log a sto", COMMAND_WRONG, LOG, 0, {0}, "sto is not one of its words"},
	};
	static const char *const no_number[] = {"x", "1x", "-1", "0x", "0xg", "18446744073709551616", "0x10000000000000000", "1f",
		"99999999999999999999999999"};
	char error[COMMAND_ERROR], text[100], want[COMMAND_ERROR];
	struct command_line l;

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(command_parse(&set, cases[i].text, &l, error), cases[i].outcome);
		assert_string_equal(error, cases[i].error);
		if (cases[i].outcome == COMMAND_OK || cases[i].outcome == COMMAND_WRONG)
			assert_int_equal(l.command, cases[i].command);
		if (cases[i].outcome != COMMAND_OK)
			continue;
		assert_int_equal(l.arguments, cases[i].arguments);
		for (unsigned k = 0; k < l.arguments; k++)
			assert_int_equal(l.value[k], cases[i].value[k]);
	}
	for (unsigned i = 0; i < sizeof no_number / sizeof *no_number; i++) {
		snprintf(text, sizeof text, "guest %s", no_number[i]);
		snprintf(want, sizeof want, "%s is no number, in decimal or behind 0x in hexadecimal, of 64 bits", no_number[i]);
		assert_int_equal(command_parse(&set, text, &l, error), COMMAND_WRONG);
		assert_string_equal(error, want);
	}
}

static void usages(void **state)
{
	static const char *const want[] = {"help [COMMAND]", "guests", "rmap NAME GFN [FROM]", "log NAME start|stop|map", "guest [N]",
		"three ONE TWO start|stop|map"};
	char text[COMMAND_USAGE];

	(void)state;
	for (unsigned i = 0; i < set.commands; i++) {
		command_usage(&commands[i], text);
		assert_string_equal(text, want[i]);
	}
}

/* All that text may become, one after the other. */
static void becomes(const char *text, const char *want)
{
	char all[200] = "";
	const char *word;

	for (unsigned i = 0; (word = command_complete(&set, text, strlen(text), i)); i++)
		strcat(strcat(all, i ? " " : ""), word);
	assert_string_equal(all, want);
}

static void completions(void **state)
{
	(void)state;
	becomes("", "help guests rmap log guest three");
	becomes("  g", "guests guest");
	becomes("guests", "guests");
	becomes("x", "");
	becomes("x ", "");
	becomes("guests ", "");
	becomes("help ", "help guests rmap log guest three");
	becomes("help r", "rmap");
	becomes("rmap ", "a ab b-2");
	becomes("rmap  a", "a ab");
	becomes("rmap a ", "");
	becomes("rmap a 1 2 ", "");
	becomes("rmap a 1 2 3", "");
	becomes("rmap a 1 2 3 ", "");
	becomes("log b-2 ", "start stop map");
	becomes("log b-2 st", "start stop");
	becomes("log b-2 map", "map");
	becomes("log b-2 map ", "");
	becomes("three a b-2 st", "start stop");
	becomes("three a b-2 map ", "");
	becomes("three a b-2 map st ", "");
	/* what is behind the cursor does not count */
	assert_non_null(command_complete(&set, "rm a", 2, 0));
	assert_string_equal(command_complete(&set, "rm a", 2, 0), "rmap");
}

/* Whatever stands in a line: an outcome, an error that fits, and completions that end. */
static void random_lines(void **state)
{
	static const char some[] = "rmap log help guests a ab 0x1 0 12 start  ";
	char text[201], error[COMMAND_ERROR];
	struct command_line l;
	uint64_t seed = 3;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned n = (unsigned)(host_random(&seed) % 200), count = 0;

		for (unsigned i = 0; i < n;) {
			uint64_t r = host_random(&seed), from = r % (sizeof some - 1);

			if (r >> 60 == 0) {
				text[i++] = (char)(1 + (r >> 20) % 255);
				continue;
			}
			do
				text[i++] = some[from];
			while (i < n && some[from++] != ' ' && from < sizeof some - 1);
		}
		text[n] = 0;
		if (command_parse(&set, text, &l, error) == COMMAND_OK)
			assert_true(l.command < set.commands && l.arguments <= COMMAND_ARGUMENTS);
		else
			assert_true(strlen(error) < COMMAND_ERROR);
		while (command_complete(&set, text, n, count))
			assert_true(++count < 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_mean),
		cmocka_unit_test(usages),
		cmocka_unit_test(completions),
		cmocka_unit_test(random_lines),
	};

	return cmocka_run_group_tests_name("command", tests, 0, 0);
}
