/* SPDX-License-Identifier: MIT */
/* guest/line.c: keys against what stands in the line, and the echo against a terminal that shows the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/line.h"
#include "tools/host/native.h"

#define UP "\033[A"
#define DOWN "\033[B"
#define RIGHT "\033[C"
#define LEFT "\033[D"
#define HOME "\033[H"
#define END "\033[F"
#define DELETE "\033[3~"
#define COLUMNS 80

/* A terminal of one row; what scrolled off it is in `above`. */
static struct terminal {
	char row[COLUMNS + 1], above[2048];
	unsigned at;
} terminal;

static void put(char c)
{
	struct terminal *t = &terminal;

	if (c == '\r') {
		t->at = 0;
	} else if (c == '\n') {
		size_t n = strlen(t->row);

		while (n && t->row[n - 1] == ' ')
			n--;
		t->row[n] = 0;
		assert_true(strlen(t->above) + n + 2 < sizeof t->above);
		strcat(strcat(t->above, t->row), "\n");
		memset(t->row, 0, sizeof t->row);
	} else if (c == '\b') {
		assert_true(t->at > 0);
		t->at--;
	} else {
		assert_in_range(c, ' ', '~');
		assert_true(t->at < COLUMNS - 1);
		t->row[t->at++] = c;
	}
}

static void echo(void *context, const char *bytes, size_t n)
{
	assert_ptr_equal(context, &terminal);
	assert_true(n > 0);
	while (n--)
		put(*bytes++);
}

static const char *const words[] = {"guests", "guest-of-honour", "mmu", "rmap", "rcu"};

static const char *complete(void *context, const char *text, size_t n, unsigned nth)
{
	size_t first = n;

	assert_ptr_equal(context, &terminal);
	while (first && text[first - 1] != ' ')
		first--;
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (!strncmp(words[i], text + first, n - first) && !nth--)
			return words[i];
	return 0;
}

static const struct line_user user = {.context = &terminal, .prompt = "umbra> ", .echo = echo, .complete = complete};
static struct line line;

/* The terminal shows the prompt and the line, and its cursor is where the line's is. */
static void look(void)
{
	char want[COLUMNS + 1];
	size_t n = strlen(terminal.row);

	snprintf(want, sizeof want, "umbra> %s", line.text);
	while (n > strlen(want) && terminal.row[n - 1] == ' ')
		n--;
	assert_int_equal(n, strlen(want));
	assert_memory_equal(terminal.row, want, n);
	assert_int_equal(terminal.at, strlen("umbra> ") + line.at);
	assert_int_equal(line.length, strlen(line.text));
	assert_true(line.at <= line.length);
}

static int start(void **state)
{
	(void)state;
	memset(&terminal, 0, sizeof terminal);
	line_init(&line, &user);
	line_show(&line);
	return 0;
}

static enum line_outcome type_bytes(const char *keys, size_t n)
{
	enum line_outcome o = LINE_MORE;

	while (n--) {
		assert_int_equal(o, LINE_MORE);
		o = line_receive(&line, (uint8_t)*keys++);
		if (o == LINE_MORE && line.state == LINE_PLAIN && !line.returned)
			look();
	}
	return o;
}

static enum line_outcome type(const char *keys)
{
	return type_bytes(keys, strlen(keys));
}

static void enter(const char *keys)
{
	assert_int_equal(type(keys), LINE_MORE);
	assert_int_equal(type("\r"), LINE_DONE);
	line_begin(&line);
	line_show(&line);
}

static void editing(void **state)
{
	static const struct { const char *keys, *text; unsigned at; } cases[] = {
		{"abc", "abc", 3},
		{"abc" LEFT "X", "abXc", 3},
		{"abc\002\002X\006Y", "aXbYc", 4},
		{"abc" LEFT LEFT LEFT LEFT "X", "Xabc", 1},
		{"abc" RIGHT "X", "abcX", 4},
		{"abc" HOME "X" END "Y", "XabcY", 5},
		{"abc\001X\005Y", "XabcY", 5},
		{"abc\033[1~X\033[4~Y", "XabcY", 5},
		{"abc\033[7~X\033[8~Y", "XabcY", 5},
		{"abc\033OHX\033OFY\033OD", "XabcY", 4},
		{"abc\b\177", "a", 1},
		{"\b\177a", "a", 1},
		{"abc" LEFT "\b", "ac", 1},
		{"abc" HOME DELETE "\004", "c", 0},
		{"abc" DELETE "\004", "abc", 3},
		{"abc def" LEFT LEFT "\025", "ef", 0},
		{"abc def" LEFT LEFT "\013", "abc d", 5},
		{"abc def  \027", "abc ", 4},
		{"abc def" LEFT "\027", "abc f", 4},
		{"  \027", "", 0},
		{"\027\025\013", "", 0},
		{"a\200\377\033[5~b\033[1;5Cc\033[99999999999~d\033xe", "abcde", 5},
		{"abc\033[\b\033\bd", "ad", 2},
		{"abc\014d", "abcd", 4},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		start(0);
		assert_int_equal(type(cases[i].keys), LINE_MORE);
		assert_string_equal(line.text, cases[i].text);
		assert_int_equal(line.at, cases[i].at);
	}
}

static void how_a_line_ends(void **state)
{
	(void)state;
	assert_int_equal(type("one\r"), LINE_DONE);
	assert_string_equal(line.text, "one");
	assert_string_equal(terminal.above, "umbra> one\n");
	line_begin(&line);
	line_show(&line);
	/* a newline behind a carriage return is no line; one alone is */
	assert_int_equal(type("\n"), LINE_MORE);
	assert_int_equal(type("\n"), LINE_DONE);
	assert_string_equal(line.text, "");
	line_begin(&line);
	line_show(&line);
	assert_int_equal(type("two" LEFT "\003"), LINE_DROPPED);
	assert_string_equal(terminal.above, "umbra> one\numbra>\numbra> two^C\n");
	line_begin(&line);
	line_show(&line);
	assert_int_equal(type("\004"), LINE_END);
	line_begin(&line);
	line_show(&line);
	/* what was dropped is not remembered */
	type(UP);
	assert_string_equal(line.text, "one");
}

static void it_takes_no_more_than_there_is_room_for(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LINE_MAX + 5; i++)
		type("x");
	assert_int_equal(line.length, LINE_MAX);
	type(HOME "y" DELETE "z");
	assert_int_equal(line.length, LINE_MAX);
	assert_int_equal(line.text[0], 'z');
	/* a completion that does not fit wholly is cut off */
	start(0);
	for (unsigned i = 0; i < LINE_MAX - 4; i++)
		type("x");
	type(" mm\t");
	assert_string_equal(line.text + LINE_MAX - 4, " mmu");
	type("\t");
	assert_int_equal(line.length, LINE_MAX);
}

static void history(void **state)
{
	char keys[8];

	(void)state;
	type(UP DOWN);
	assert_string_equal(line.text, "");
	enter("first");
	enter("second");
	enter("second");
	enter("");
	type("draft" UP);
	assert_string_equal(line.text, "second");
	assert_int_equal(line.at, 6);
	type("\020");
	assert_string_equal(line.text, "first");
	type(UP);
	assert_string_equal(line.text, "first");
	type("!\016");
	assert_string_equal(line.text, "second");
	type(DOWN);
	assert_string_equal(line.text, "draft");
	type(DOWN);
	assert_string_equal(line.text, "draft");
	/* one that was changed is a line of its own, and leaves the old one as it was */
	type(UP UP);
	enter("!");
	type(UP);
	assert_string_equal(line.text, "first!");
	type(UP UP);
	assert_string_equal(line.text, "first");
	type("\003");
	line_begin(&line);
	line_show(&line);
	for (unsigned i = 0; i < LINE_HISTORY + 3; i++) {
		snprintf(keys, sizeof keys, "n%u", i);
		enter(keys);
	}
	for (unsigned i = LINE_HISTORY + 3; i-- > 3;) {
		snprintf(keys, sizeof keys, "n%u", i);
		type(UP);
		assert_string_equal(line.text, keys);
	}
	type(UP);
	assert_string_equal(line.text, "n3");
}

static void completion(void **state)
{
	(void)state;
	type("g\t");
	assert_string_equal(line.text, "guest");
	type("s\t");
	assert_string_equal(line.text, "guests ");
	type("mm\t");
	assert_string_equal(line.text, "guests mmu ");
	type("x\t");
	assert_string_equal(line.text, "guests mmu x");
	assert_string_equal(terminal.above, "");
	type("\025r\t");
	assert_string_equal(line.text, "r");
	assert_string_equal(terminal.above, "umbra> r\nrmap  rcu\n");
	/* in the middle the cursor's word counts, and no blank comes */
	start(0);
	type("rc x" LEFT LEFT "\t");
	assert_string_equal(line.text, "rcu x");
	assert_int_equal(line.at, 3);
	type("\t");
	assert_string_equal(line.text, "rcu x");
}

/* Whatever is typed, the terminal shows the line. */
static void random_keys(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		start(0);
		for (unsigned i = 0; i < 300; i++) {
			static const char some[] = "abr g \b\177\t\t\001\002\005\006\013\016\020\025\027\033\033\033[[[OADCBHF37~\r";
			uint64_t r = host_random(&seed);
			char byte = r & 0x700 ? some[(r >> 16) % (sizeof some - 1)] : (char)r;

			terminal.above[0] = 0;
			if (type_bytes(&byte, 1) != LINE_MORE) {
				line_begin(&line);
				line_show(&line);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(editing, start),
		cmocka_unit_test_setup(how_a_line_ends, start),
		cmocka_unit_test_setup(it_takes_no_more_than_there_is_room_for, start),
		cmocka_unit_test_setup(history, start),
		cmocka_unit_test_setup(completion, start),
		cmocka_unit_test_setup(random_keys, start),
	};

	return cmocka_run_group_tests_name("line", tests, 0, 0);
}
