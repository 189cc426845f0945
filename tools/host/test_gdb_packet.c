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
	packet_n("m1001,1", 7);
	feed("-", 1); /* gdb did not get that */
	expect("01", false, false);
	memset(large, 'm', sizeof large);
	packet_n(large, GDB_PACKET + 1);
	expect("E22", true, false);
	feed(large, 5000);
	assert_string_equal(fake.out, "");
	ask("m1000,1", "00");
	assert_int_equal(fake.resumes, 0);
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
		"qXfer:features:read:target.xml:", "qThreadExtraInfo,", "Z0,", "z0,", "D;", "q", "v", "", "?", "qSupported"};
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
			gdb_stopped(&gdb, threads[host_random(&seed) % 4], GDB_BREAKPOINT);
		ask("qSupported", "PacketSize=1000;multiprocess+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+");
		fake.memory[0] = 0x5a;
		ask("m1000,1", "5a");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(damaged_packets, set_up_attached),
		cmocka_unit_test_setup(noise_before_attaching, set_up),
		cmocka_unit_test_setup(random_packets, set_up_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
