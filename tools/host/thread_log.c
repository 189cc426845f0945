/* SPDX-License-Identifier: MIT */
/* The log ring with real threads: no line is torn, each producer's lines keep their order, and what is lost is
 * counted. The console here is a buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>
#include "hv/console.h"
#include "hv/log.h"
#include "mm/atomic.h"

#define PRODUCERS 4
#define LINES 5000
#define TEXT_MAX 600
#define OUTPUT_MAX (PRODUCERS * LINES * (TEXT_MAX + 1ul))

static char *output;
static size_t output_bytes;
static atomic32 producing;

/* Called by whoever drains: the ring admits one at a time, which TSan checks here. */
void console_putc(char c)
{
	assert_true(output_bytes < OUTPUT_MAX);
	output[output_bytes++] = c;
}

/* Raw bytes are shown by what is behind them. */
void console_put_raw(char c)
{
	console_putc(c);
	console_putc('~');
}

/* "P N LENGTH xxxx…", as long as it says. */
static size_t line_make(char *line, unsigned producer, unsigned n)
{
	unsigned length = 20 + (n * 37 + producer * 11) % (TEXT_MAX - 20);
	int head = snprintf(line, TEXT_MAX, "%u %u %u ", producer, n, length);
	memset(line + head, 'a' + producer, length - head);
	return length;
}

static void *produce(void *argument)
{
	unsigned producer = (unsigned)(uintptr_t)argument;
	char line[TEXT_MAX];
	for (unsigned n = 0; n < LINES; n++) {
		log_append(line, line_make(line, producer, n), producer % 2);
		if (n % 64 == 0 && producer < 2)
			log_wait_room();
	}
	fetch_sub_seq(&producing, 1);
	return NULL;
}

static void *drain(void *argument)
{
	(void)argument;
	while (load_seq(&producing) || log_drain(1000))
		log_drain(1000);
	return NULL;
}

/* Returns the number of lines, each checked. */
static unsigned check_output(void)
{
	int last[PRODUCERS] = {-1, -1, -1, -1};
	unsigned lines = 0;
	for (char *at = output, *end; at < output + output_bytes; at = end + 1, lines++) {
		end = memchr(at, '\n', (size_t)(output + output_bytes - at));
		assert_non_null(end);
		unsigned producer, n, length;
		assert_int_equal(sscanf(at, "%u %u %u", &producer, &n, &length), 3);
		assert_true(producer < PRODUCERS);
		assert_int_equal(end - at, length);
		char want[TEXT_MAX];
		assert_int_equal(line_make(want, producer, n), length);
		assert_memory_equal(at, want, length);
		assert_true((int)n > last[producer]);
		last[producer] = (int)n;
	}
	return lines;
}

static void producers_and_drainers(void **state)
{
	(void)state;
	pthread_t thread[PRODUCERS + 2];
	output = malloc(OUTPUT_MAX);
	output_bytes = 0;
	uint64_t lost = log_lost();
	store_relaxed(&producing, PRODUCERS);
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		pthread_create(&thread[i], NULL, produce, (void *)i);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&thread[PRODUCERS + i], NULL, drain, NULL);
	for (unsigned i = 0; i < PRODUCERS + 2; i++)
		pthread_join(thread[i], NULL);
	log_flush(false);
	assert_int_equal(check_output() + (log_lost() - lost), PRODUCERS * LINES);
	free(output);
}

static void a_full_ring_keeps_room_for_vital_lines(void **state)
{
	(void)state;
	output = malloc(OUTPUT_MAX);
	output_bytes = 0;
	uint64_t lost = log_lost();
	unsigned common = 0, vital = 0;
	for (; log_lost() == lost; common++)
		log_append("0 0 6 ", 6, false);
	common--;
	for (lost = log_lost(); log_lost() == lost; vital++)
		log_append("v", 1, true);
	vital--;
	assert_int_equal(common, 3 * vital);
	log_flush(false);
	assert_int_equal(output_bytes, common * 7 + vital * 2);
	free(output);
}

static void long_and_empty_lines(void **state)
{
	(void)state;
	char line[LOG_LINE_MAX + 50];
	output = malloc(OUTPUT_MAX);
	output_bytes = 0;
	memset(line, 'x', sizeof(line));
	log_append(line, sizeof(line), true);
	log_append("", 0, true);
	assert_int_equal(log_drain(10), 10);
	assert_int_equal(output_bytes, 10);
	log_flush(false);
	assert_int_equal(output_bytes, LOG_LINE_MAX + 2);
	assert_int_equal(output[LOG_LINE_MAX], '\n');
	assert_int_equal(log_drain(10), 0);
	free(output);
}

static void raw_bytes_go_as_they_are_and_lines_stay_alone(void **state)
{
	static const char want[] = "one\n$~ ~\nVERDICT a PASS 0\nl~s~\r~\n~two\n\x1b~\0~\n\n";

	(void)state;
	output = malloc(OUTPUT_MAX);
	output_bytes = 0;
	log_append("one", 3, true);
	log_append_raw("$", 1);
	log_append_raw("", 0);
	log_append_raw(" ", 1);
	log_append("VERDICT a PASS 0", 16, true);
	log_append_raw("ls\r\n", 4);
	log_append("two", 3, true);
	log_append_raw("\x1b\0", 2);
	log_append("", 0, true);
	log_flush(false);
	assert_int_equal(output_bytes, sizeof want - 1);
	assert_memory_equal(output, want, sizeof want - 1);
	/* Who panics begins a row too: it prints beside the ring. */
	output_bytes = 0;
	log_append_raw("$", 1);
	log_flush(true);
	assert_int_equal(output_bytes, 3);
	assert_memory_equal(output, "$~\n", 3);
	free(output);
}

static void a_line_of_many_slots_stays_whole_behind_raw_bytes(void **state)
{
	char line[LOG_LINE_MAX];

	(void)state;
	output = malloc(OUTPUT_MAX);
	output_bytes = 0;
	memset(line, 'x', sizeof line);
	log_append_raw("$", 1);
	log_append(line, sizeof line, true);
	/* A character at a time, as an idle CPU does it. */
	while (log_drain(1))
		;
	assert_int_equal(output_bytes, 3 + sizeof line + 1);
	assert_memory_equal(output + 3, line, sizeof line);
	free(output);
}

/* The lines that stand in the ring from log_last(n) on. */
static void last_are(unsigned n, const char *const *want, unsigned wanted)
{
	uint64_t at = log_last(n), end = log_head();
	char line[LOG_LINE_MAX + 1];

	for (unsigned i = 0; i < wanted; i++) {
		assert_true(log_read(&at, end, line, sizeof line));
		assert_string_equal(line, want[i]);
	}
	assert_false(log_read(&at, end, line, sizeof line));
	assert_true(at == end);
}

static void lines_are_read_again(void **state)
{
	static const char *const want[] = {"one", "", "three"};
	char line[LOG_LINE_MAX + 1], cut[10];
	uint64_t at, head = log_head();

	(void)state;
	output = malloc(OUTPUT_MAX);
	output_bytes = 0;
	log_append("one", 3, true);
	log_append_raw("$ ls", 4);
	log_append("", 0, true);
	log_append_raw("\r\n", 2);
	log_append_raw("more", 4);
	log_append("three", 5, true);
	assert_int_equal(log_head(), head + 6);
	assert_true(log_passed(head) && !log_passed(head + 1));
	last_are(3, want, 3);
	last_are(1, want + 2, 1);
	last_are(0, 0, 0);
	/* printed or not */
	while (log_drain(1) && !log_row_begun())
		;
	assert_true(log_row_begun());
	assert_int_equal(output_bytes, 6);
	log_flush(false);
	assert_false(log_row_begun());
	assert_true(log_passed(head + 6));
	last_are(3, want, 3);
	/* one of many slots, whole and cut off */
	memset(line, 'y', LOG_LINE_MAX);
	line[LOG_LINE_MAX] = 0;
	log_append(line, LOG_LINE_MAX, true);
	last_are(1, (const char *const[]){line}, 1);
	at = log_last(1);
	assert_true(log_read(&at, log_head(), cut, sizeof cut));
	assert_string_equal(cut, "yyyyyyyyy");
	log_flush(false);
	/* What was overwritten is not read: nor is the rest of a line whose beginning was. */
	at = log_last(1);
	for (unsigned i = 0; i < 8192 - 3; i++) {
		log_append("z", 1, true);
		log_flush(false);
	}
	assert_true(log_read(&at, log_head(), line, sizeof line));
	assert_string_equal(line, "z");
	assert_int_equal(at, head + 6 + (LOG_LINE_MAX + 114) / 115 + 1);
	at = log_last(1000000);
	assert_int_equal(at, log_head() - LOG_LOOK);
	free(output);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(producers_and_drainers),
		cmocka_unit_test(a_full_ring_keeps_room_for_vital_lines),
		cmocka_unit_test(long_and_empty_lines),
		cmocka_unit_test(raw_bytes_go_as_they_are_and_lines_stay_alone),
		cmocka_unit_test(a_line_of_many_slots_stays_whole_behind_raw_bytes),
		cmocka_unit_test(lines_are_read_again),
	};
	return cmocka_run_group_tests_name("log ring", tests, NULL, NULL);
}
