/* SPDX-License-Identifier: MIT */
/* guest/gdb_monitor.c: gdb's `monitor …`, as gdb 13.1 sends it, and what comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/gdb.h"

static char out[20000], asked[300];
static unsigned commands, rows;

static void on_send(void *c, const char *bytes, size_t n)
{
	(void)c;
	assert_true(strlen(out) + n < sizeof out);
	strncat(out, bytes, n);
}

static void on_stop(void *c)
{
	(void)c;
}

static void on_monitor(void *c, const char *line, void (*put)(void *to, const char *row), void *to)
{
	static const char *const answer[] = {"one", "", "$#}*"};

	(void)c;
	commands++;
	snprintf(asked, sizeof asked, "%s", line);
	for (unsigned i = 0; i < rows; i++)
		put(to, answer[i]);
}

static const struct gdb_target target = {.send = on_send, .stop = on_stop, .monitor = on_monitor};
static struct gdb gdb;

static void packet(const char *data)
{
	char framed[1000];
	uint8_t sum = 0;

	for (const char *p = data; *p; p++)
		sum = (uint8_t)(sum + (uint8_t)*p);
	out[0] = 0;
	snprintf(framed, sizeof framed, "$%s#%02x", data, sum);
	for (const char *p = framed; *p; p++)
		gdb_receive(&gdb, (uint8_t)*p);
}

static int set_up(void **state)
{
	(void)state;
	memset(&gdb, 0, sizeof gdb);
	gdb_init(&gdb, &target);
	packet("qSupported:multiprocess+");
	commands = rows = 0;
	return 0;
}

static void rows_come_in_packets_of_their_own(void **state)
{
	(void)state;
	rows = 3;
	packet("qRcmd,68656c70206d6d75");
	assert_string_equal(asked, "help mmu");
	assert_string_equal(out, "+$O6f6e650a#82$O0a#e0$O24237d2a0a#d9$OK#9a");
	rows = 0;
	packet("qRcmd,");
	assert_string_equal(asked, "");
	assert_string_equal(out, "+$OK#9a");
	assert_int_equal(commands, 2);
}

static void damaged_commands_are_refused(void **state)
{
	char text[500] = "qRcmd,";

	(void)state;
	packet("qRcmd,6");
	assert_string_equal(out, "+$E16#ac");
	packet("qRcmd,6g");
	assert_string_equal(out, "+$E16#ac");
	packet("qRcmd,616");
	assert_string_equal(out, "+$E16#ac");
	packet("qRcmd");
	assert_string_equal(out, "+$#00");
	for (unsigned i = 0; i < 200; i++)
		strcat(text, "61");
	packet(text);
	assert_int_equal(strlen(asked), 200);
	assert_int_equal(commands, 1);
	strcat(text, "61");
	packet(text);
	assert_string_equal(out, "+$E16#ac");
	assert_int_equal(commands, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(rows_come_in_packets_of_their_own, set_up),
		cmocka_unit_test_setup(damaged_commands_are_refused, set_up),
	};

	return cmocka_run_group_tests_name("gdb_monitor", tests, 0, 0);
}
