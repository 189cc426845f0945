/* SPDX-License-Identifier: MIT */
/* guest/gdb_packet.c: packets that are damaged, too long, or noise. */
#include "tools/host/gdb_test.h"

static void damaged_packets(void **state)
{
	static char large[2 * GDB_PACKET];

	(void)state;
	feed("$m1000,4#00", 11);
	assert_string_equal(fake.out, "-");
	feed("$m1000,4#xy", 11);
	assert_string_equal(fake.out, "-");
	feed("$m1000,", 7); /* half a packet, then a whole one */
	ask("m1001,1", "01");
	feed("$m1000,4#", 9); /* none of a sum either */
	ask("m1001,1", "01");
	memset(large, 'm', sizeof large);
	packet_n(large, GDB_PACKET + 1);
	expect("E22", true, false);
	feed(large, 5000);
	assert_string_equal(fake.out, "");
	ask("m1000,1", "00");
	assert_int_equal(fake.resumes, 0);
}

/* What gdb did not get is sent again, a few times; what it has got is not. */
static void sent_again(void **state)
{
	(void)state;
	packet_n("m1001,1", 7);
	feed("-", 1);
	expect("01", false, false);
	feed("-", 1);
	expect("01", false, false);
	feed("+-", 2);
	assert_string_equal(fake.out, "");
	packet_n("m1000,ff", 8);
	for (unsigned i = 0; i < 1000; i++) {
		feed("-", 1);
		assert_int_equal(fake.out_n != 0, i < 8);
	}
	ask("m1001,1", "01"); /* it goes on all the same */
	/* a stop reply; what is before it gdb has, acknowledged or not */
	packet_n("m1001,1", 7);
	packet_n("vCont;c", 7);
	feed("-", 1);
	assert_string_equal(fake.out, "");
	stand_still(2, GDB_STEPPED);
	feed("-", 1);
	expect("T05thread:p2.1;", false, false);
}

/* The answer to a question for `bytes` of memory, as it goes over the line. */
static void raw(unsigned bytes, const char *want)
{
	char question[16];

	sprintf(question, "m1000,%x", bytes);
	packet_n(question, strlen(question));
	assert_memory_equal(fake.out + 2, want, strlen(want));
	assert_int_equal(fake.out[2 + strlen(want)], '#');
	feed("+", 1);
}

static void run_lengths(void **state)
{
	char question[16], want[2 * MEMORY + 1];

	(void)state;
	memset(fake.memory, 0, MEMORY);
	raw(1, "00");
	raw(2, "0* ");
	raw(3, "0*\"");
	raw(4, "0*\"00"); /* # and $ are no counts */
	raw(5, "0*&");
	raw(49, "0*~");
	fake.memory[3] = 0x01;
	raw(4, "0*\"01");
	fake.memory[3] = 0;
	fake.memory[1] = 0x01;
	fake.memory[2] = 0x11;
	raw(4, "000111" "00");
	raw(6, "0001110*\"");
	/* whatever is in a row */
	for (unsigned n = 1; n <= MEMORY; n++) {
		memset(fake.memory, n, MEMORY);
		fake.memory[0] = fake.memory[n - 1] = 0xee;
		for (unsigned i = 0; i < n; i++)
			sprintf(want + 2 * i, "%02x", fake.memory[i]);
		sprintf(question, "m1000,%x", n);
		ask(question, want);
	}
}

static void without_acknowledgements(void **state)
{
	(void)state;
	ask("QStartNoAckMode", "OK");
	packet_n("m1001,1", 7);
	expect("01", false, false);
	feed("-", 1);
	assert_string_equal(fake.out, "");
	feed("$m1000,4#00", 11);
	assert_string_equal(fake.out, "");
}

/* Break-ins that come between packets, in the midst of them, and where there is none to break into. */
static void break_ins(void **state)
{
	(void)state;
	feed("\x03", 1);
	assert_int_equal(fake.stops, 1);
	packet_n("X1004,3:a\x03z", 11); /* data */
	expect("OK", true, false);
	assert_memory_equal(fake.memory + 4, "a\x03z", 3);
	packet_n("vCont;c", 7);
	feed("$vCont;\x03\x03", 9);
	assert_int_equal(fake.stops, 3);
	assert_string_equal(fake.out, "");
	feed("c#a8", 4); /* the rest of what was broken off */
	assert_string_equal(fake.out, "");
	stand_still(2, GDB_BREAK_IN);
	expect("T02thread:p2.1;", false, false);
	ask("m1001,1", "01");
	ask("D", "OK");
	feed("\x03", 1); /* it has let go */
	assert_int_equal(fake.stops, 3);
}

static void too_long(void **state)
{
	static char large[2 * GDB_PACKET];
	int n;

	(void)state;
	memset(large, 'm', sizeof large);
	packet_n(large, GDB_PACKET + 1);
	expect("E22", true, false);
	packet_n(large, GDB_PACKET);
	expect("E16", true, false);
	/* as much as fits, each byte escaped: a packet counts as it is meant */
	n = sprintf(large, "X1000,%x:", MEMORY);
	for (unsigned i = 0; i < MEMORY; i++, n += 2)
		memcpy(large + n, "}\x03", 2); /* # */
	packet_n(large, (size_t)n);
	expect("OK", true, false);
	assert_int_equal(fake.memory[MEMORY - 1], '#');
	/* while the machine runs, it is as any other */
	packet_n("vCont;c", 7);
	memset(large, 'm', sizeof large);
	packet_n(large, GDB_PACKET + 1);
	assert_string_equal(fake.out, "+");
}

/* Noise on the line of a running machine: whatever comes, nothing stops and nothing is read or written. */
static void noise_before_attaching(void **state)
{
	uint64_t seed = 0x5eed;
	uint8_t byte;

	(void)state;
	for (unsigned i = 0; i < 2000000; i++) {
		byte = (uint8_t)host_random(&seed);
		if (i % 3 == 0)
			byte = (uint8_t)"$#\x03+-}m"[byte % 7];
		fake.out_n = 0;
		gdb_receive(&gdb, byte);
	}
	assert_int_equal(fake.stops, 0);
	assert_int_equal(fake.resumes, 0);
}

/* Sound packets with random contents, after the letters that lead somewhere. Nothing is read or written out of
 * bounds (the sanitizers watch), and every answer is sound. */
static void random_packets(void **state)
{
	static const char *const begin[] = {"m", "M10", "X1000,", "vCont;", "vCont;s:p", "H", "Hg", "T", "p", "P", "g", "G",
		"qXfer:features:read:target.xml:", "qXfer:threads:read::", "vKill;", "vAttach;", "!", "Q",
		"qThreadExtraInfo,", "Z0,", "z0,", "D;", "q", "v", "", "?", "qSupported"};
	static const char likely[] = "0123456789abcdef,:;.-=p}$#*";
	uint64_t seed = 0xbad5eed;
	char text[64];
	size_t n;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		n = (size_t)sprintf(text, "%s", begin[host_random(&seed) % (sizeof begin / sizeof *begin)]);
		for (size_t end = n + host_random(&seed) % 20; n < end; n++)
			text[n] = host_random(&seed) % 8 ? likely[host_random(&seed) % (sizeof likely - 1)]
							 : (char)host_random(&seed);
		packet_n(text, n);
		if (gdb.running)
			stand_still((unsigned)(host_random(&seed) % 4), GDB_BREAKPOINT);
		packet_n("qSupported", 10);
		if (fake.runs) /* it had let all go */
			stand_still(0, GDB_ATTACH);
		fake.memory[0] = 0x5a;
		ask("m1000,1", "5a");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(damaged_packets, set_up_attached),
		cmocka_unit_test_setup(sent_again, set_up_attached),
		cmocka_unit_test_setup(run_lengths, set_up_attached),
		cmocka_unit_test_setup(without_acknowledgements, set_up_attached),
		cmocka_unit_test_setup(break_ins, set_up_attached),
		cmocka_unit_test_setup(too_long, set_up_attached),
		cmocka_unit_test_setup(noise_before_attaching, set_up),
		cmocka_unit_test_setup(random_packets, set_up_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
