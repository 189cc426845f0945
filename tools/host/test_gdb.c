/* SPDX-License-Identifier: MIT */
/* guest/gdb*.c: exchanges as gdb 13.1 makes them, and packets that are damaged. The target: two CPUs, guest
 * processes 2 and 3 with a thread each, 3 in 32-bit mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/gdb.h"
#include "tools/host/native.h"

#define MEMORY 256
#define BASE 0x1000u
#define OUT 20000

static struct gdb gdb;
static struct fake {
	char out[OUT];
	size_t out_n;
	unsigned stops, resumes;
	uint64_t detached;
	bool gone; /* process 2 is */
	uint64_t reg[4][GDB_REGS];
	uint8_t memory[MEMORY];
	uint64_t breakpoint;
	enum gdb_action action[4];
} fake;

static const struct gdb_thread threads[] = {{1, 1}, {1, 2}, {2, 1}, {3, 1}};

static unsigned index_of(struct gdb_thread t)
{
	unsigned i = 0;

	while (threads[i].pid != t.pid || threads[i].tid != t.tid)
		assert_true(++i < 4);
	return i;
}

static void on_send(void *c, const char *bytes, size_t n)
{
	(void)c;
	assert_true(fake.out_n + n < OUT);
	memcpy(fake.out + fake.out_n, bytes, n);
	fake.out[fake.out_n += n] = 0;
}
static void on_stop(void *c) { (void)c, fake.stops++; }
static void on_resume(void *c) { (void)c, fake.resumes++; }
static bool on_thread(void *c, unsigned n, struct gdb_thread *t)
{
	(void)c;
	if (fake.gone && n >= 2)
		n++;
	if (n >= 4)
		return false;
	*t = threads[n];
	return true;
}
static void on_describe(void *c, struct gdb_thread t, char *to, size_t room)
{
	(void)c;
	snprintf(to, room, "t%u", index_of(t));
}
static enum gdb_mode on_mode(void *c, struct gdb_thread t)
{
	(void)c;
	return t.pid == 3 ? GDB_I386 : GDB_X86_64;
}
static bool on_register_read(void *c, struct gdb_thread t, enum gdb_reg r, uint64_t *value)
{
	(void)c;
	assert_true(r < GDB_REGS);
	*value = fake.reg[index_of(t)][r];
	return true;
}
static bool on_register_write(void *c, struct gdb_thread t, enum gdb_reg r, uint64_t value)
{
	(void)c;
	if (t.pid == 1)
		return false;
	fake.reg[index_of(t)][r] = value;
	return true;
}
static size_t on_memory_read(void *c, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n)
{
	(void)c, (void)t;
	if (a < BASE || a >= BASE + MEMORY)
		return 0;
	if (n > BASE + MEMORY - a)
		n = BASE + MEMORY - a;
	memcpy(to, fake.memory + (a - BASE), n);
	return n;
}
static bool on_memory_write(void *c, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n)
{
	(void)c, (void)t;
	if (a < BASE || a >= BASE + MEMORY || n > BASE + MEMORY - a)
		return false;
	memcpy(fake.memory + (a - BASE), from, n);
	return true;
}
static bool on_breakpoint(void *c, struct gdb_thread t, uint64_t a, bool insert)
{
	(void)c;
	if (t.pid == 1)
		return false;
	fake.breakpoint = insert ? a : 0;
	return true;
}
static bool on_can_step(void *c, struct gdb_thread t) { return (void)c, t.pid != 1; }
static void on_action(void *c, struct gdb_thread t, enum gdb_action a) { (void)c, fake.action[index_of(t)] = a; }
static void on_detach(void *c, unsigned pid) { (void)c, fake.detached |= 1UL << pid; }

static const struct gdb_target target = {0, on_send, on_stop, on_thread, on_describe, on_mode, on_register_read,
	on_register_write, on_memory_read, on_memory_write, on_breakpoint, on_can_step, on_action, on_detach, on_resume, 0};

static void feed(const char *bytes, size_t n)
{
	fake.out_n = 0;
	fake.out[0] = 0;
	for (size_t i = 0; i < n; i++)
		gdb_receive(&gdb, (uint8_t)bytes[i]);
}

static void packet_n(const char *data, size_t n)
{
	char framed[3 * GDB_PACKET];
	uint8_t sum = 0;

	assert_true(n + 8 < sizeof framed);
	framed[0] = '$';
	memcpy(framed + 1, data, n);
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + (uint8_t)data[i]);
	sprintf(framed + 1 + n, "#%02x", sum);
	feed(framed, n + 4);
}

/* What came out is `want`, framed soundly and, for a packet's answer, acknowledged; more: what begins so will do. */
static void expect(const char *want, bool acknowledged, bool more)
{
	const char *p = fake.out;
	uint8_t sum = 0;
	char tail[4];

	if (acknowledged)
		assert_int_equal(*p++, '+');
	assert_int_equal(*p++, '$');
	assert_memory_equal(p, want, strlen(want));
	if (!more)
		assert_int_equal(p[strlen(want)], '#');
	for (; *p != '#'; p++)
		sum = (uint8_t)(sum + (uint8_t)*p);
	sprintf(tail, "#%02x", sum);
	assert_string_equal(p, tail);
}

static void ask(const char *data, const char *want)
{
	packet_n(data, strlen(data));
	expect(want, true, false);
	feed("+", 1);
}

static int set_up(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof fake);
	for (unsigned i = 0; i < MEMORY; i++)
		fake.memory[i] = (uint8_t)i;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned r = 0; r < GDB_REGS; r++)
			fake.reg[i][r] = 0x1122334455660000 + i * 256 + r;
	memset(&gdb, 0xa5, sizeof gdb);
	gdb_init(&gdb, &target);
	return 0;
}

static int set_up_attached(void **state)
{
	set_up(state);
	ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386",
		"PacketSize=1000;multiprocess+;qXfer:features:read+;swbreak+;vContSupported+");
	assert_int_equal(fake.stops, 1);
	gdb_stopped(&gdb, threads[0], GDB_ATTACH);
	assert_int_equal(fake.out_n, 0);
	return 0;
}

static void attaching(void **state)
{
	(void)state;
	ask("vMustReplyEmpty", "");
	ask("!", "");
	ask("Hgp0.0", "OK");
	ask("qC", "QCp1.1");
	ask("?", "T05thread:p1.1;");
	ask("qfThreadInfo", "mp1.1,p1.2,p2.1,p3.1");
	ask("qsThreadInfo", "l");
	ask("qAttached:2", "1");
	ask("Hc-1", "OK");
	ask("qThreadExtraInfo,p2.1", "7432");
	ask("qThreadExtraInfo,p2.2", "E03");
	ask("Tp1.2", "OK");
	ask("Tp1.3", "E03");
	ask("Hgp2.1", "OK");
	ask("qC", "QCp2.1");
	ask("Hgp4.1", "E03");
	ask("vCont?", "vCont;c;C;s;S");
	ask("vKill;2", "E01");
	ask("QNonStop:1", "");
	assert_int_equal(fake.stops, 1);
	assert_int_equal(fake.resumes, 0);
}

/* Reads a whole description as gdb does, in pieces; returns its length. */
static size_t description(const char *thread, char *whole)
{
	size_t n = 0;
	char text[64];

	sprintf(text, "Hg%s", thread);
	ask(text, "OK");
	do {
		const char *p;

		sprintf(text, "qXfer:features:read:target.xml:%zx,200", n);
		packet_n(text, strlen(text));
		assert_true(fake.out[2] == 'm' || fake.out[2] == 'l');
		for (p = fake.out + 3; *p != '#'; p++)
			whole[n++] = *p == '}' ? *++p ^ 0x20 : *p;
	} while (fake.out[2] == 'm');
	whole[n] = 0;
	return n;
}

static unsigned registers_in(const char *xml)
{
	unsigned n = 0;

	for (; (xml = strstr(xml, "<reg ")); xml++)
		n++;
	return n;
}

static void registers(void **state)
{
	static char xml[2 * GDB_PACKET];

	(void)state;
	assert_true(description("p2.1", xml) < GDB_PACKET);
	assert_non_null(strstr(xml, "<architecture>i386:x86-64</architecture>"));
	assert_int_equal(registers_in(xml), 48);
	assert_string_equal(xml + strlen(xml) - 9, "</target>");
	packet_n("g", 1);
	expect("0002665544332211", true, true);
	assert_int_equal(fake.out_n, 2 + 2 * (17 * 8 + 7 * 4) + 3);
	/* rbx, the second, is RBX of enum gpr, the fourth; rip; an st; efer; none */
	fake.reg[2][GDB_RAX + 3] = 0x1234;
	ask("p1", "3412000000000000");
	fake.reg[2][GDB_RIP] = 0x10bf1c;
	ask("p10", "1cbf100000000000");
	ask("p18", "xxxxxxxxxxxxxxxxxxxx");
	ask("p2f", "1f02665544332211");
	ask("p30", "E16");
	ask("p", "E16");
	ask("P10=0000200000000000", "OK");
	assert_int_equal(fake.reg[2][GDB_RIP], 0x200000);
	ask("P10=00002000", "E16");
	ask("P18=00000000000000000000", "E16");

	assert_true(description("p3.1", xml) < GDB_PACKET);
	assert_non_null(strstr(xml, "<architecture>i386</architecture>"));
	fake.reg[3][GDB_RIP] = 0x101000;
	ask("p8", "00101000");
	packet_n("g", 1);
	assert_int_equal(fake.out_n, 2 + 2 * 16 * 4 + 3);
}

static void write_all_registers(void **state)
{
	char text[2 * (17 * 8 + 7 * 4) + 2];

	(void)state;
	ask("Hgp2.1", "OK");
	text[0] = 'G';
	memset(text + 1, '0', sizeof text - 2);
	text[sizeof text - 1] = 0;
	memcpy(text + 1 + 16 * 16, "78563412", 8);
	ask(text, "OK");
	assert_int_equal(fake.reg[2][GDB_RIP], 0x12345678);
	assert_int_equal(fake.reg[2][GDB_RAX], 0);
	text[40] = 0;
	ask(text, "E16");
	ask("Hgp1.1", "OK");
	ask("P10=0000200000000000", "E16"); /* the hypervisor's are not written */
}

static void memory(void **state)
{
	(void)state;
	ask("Hgp2.1", "OK");
	ask("m1000,4", "00010203");
	ask("m10fe,8", "feff");
	ask("m1100,1", "E0e");
	ask("m1000,0", "");
	ask("m1000", "E16");
	ask("mffffffffffffffff0,1", "E16");
	packet_n("m1000,fffff", 11);
	expect("000102", true, true);
	ask("M1002,2:abCD", "OK");
	ask("m1001,4", "01abcd04");
	ask("M1002,3:abcd", "E16");
	ask("M1002,2:abcg", "E16");
	ask("M10ff,2:0000", "E0e");
	packet_n("X1004,5:a\0}\x03}\x04!", 15);
	expect("OK", true, false);
	assert_memory_equal(fake.memory + 4, "a\0#$!", 5);
	packet_n("X1004,5:abc", 11);
	expect("E16", true, false);
	ask("X1000,0:", "OK");
	ask("Z0,1010,1", "OK");
	assert_int_equal(fake.breakpoint, 0x1010);
	ask("z0,1010,1", "OK");
	ask("Z1,1010,1", "");
	ask("Z0,", "E0e");
	ask("Hgp1.1", "OK");
	ask("Z0,1010,1", "E0e");
}

static void expect_actions(enum gdb_action cpu, enum gdb_action second, enum gdb_action third)
{
	assert_int_equal(fake.action[0], cpu);
	assert_int_equal(fake.action[1], cpu);
	assert_int_equal(fake.action[2], second);
	assert_int_equal(fake.action[3], third);
}

static void running(void **state)
{
	(void)state;
	packet_n("vCont;c:p2.-1", 13);
	assert_string_equal(fake.out, "+");
	expect_actions(GDB_HOLD, GDB_CONTINUE, GDB_HOLD);
	assert_int_equal(fake.resumes, 1);
	packet_n("m1000,4", 7); /* not while it runs */
	assert_string_equal(fake.out, "+");
	feed("$m10\x03", 5);
	assert_int_equal(fake.stops, 2);
	fake.out_n = 0;
	gdb_stopped(&gdb, threads[2], GDB_BREAK_IN);
	expect("T02thread:p2.1;", false, false);
	ask("m1000,1", "00");
	packet_n("vCont;s:p2.1;c:p2.-1", 20);
	expect_actions(GDB_HOLD, GDB_STEP, GDB_HOLD);
	fake.out_n = 0;
	gdb_stopped(&gdb, threads[2], GDB_STEPPED);
	expect("T05thread:p2.1;", false, false);
	packet_n("vCont;C05:p3.1;c", 16);
	expect_actions(GDB_CONTINUE, GDB_CONTINUE, GDB_CONTINUE);
	fake.out_n = 0;
	gdb_stopped(&gdb, threads[3], GDB_BREAKPOINT);
	expect("T05swbreak:;thread:p3.1;", false, false);
	ask("?", "T05swbreak:;thread:p3.1;");
	assert_int_equal(fake.resumes, 3);
	ask("vCont;s:p1.1", "E16");
	ask("vCont", "E16");
	ask("vCont;", "E16");
	ask("vCont;t", "E16");
	ask("vCont;c:p2.1x", "E16");
	assert_int_equal(fake.resumes, 3);
	packet_n("vCont;c", 7);
	fake.gone = true;
	fake.out_n = 0;
	gdb_exited(&gdb, 2, 1);
	expect("W01;process:2", false, false);
	ask("qfThreadInfo", "mp1.1,p1.2,p3.1");
	ask("Hgp2.1", "E03");
}

static void detaching(void **state)
{
	(void)state;
	ask("D;40", "E16");
	ask("D;2", "OK");
	assert_int_equal(fake.detached, 1UL << 2);
	assert_int_equal(fake.resumes, 0);
	ask("qfThreadInfo", "mp1.1,p1.2,p3.1");
	ask("Hgp2.1", "E03");
	packet_n("vCont;c:p3.1", 12);
	expect_actions(GDB_HOLD, GDB_CONTINUE, GDB_CONTINUE);
	gdb_stopped(&gdb, threads[3], GDB_STEPPED);
	fake.action[3] = GDB_HOLD;
	ask("D;1", "OK");
	assert_int_equal(fake.resumes, 1);
	ask("D;3", "OK");
	assert_int_equal(fake.resumes, 2);
	expect_actions(GDB_CONTINUE, GDB_CONTINUE, GDB_CONTINUE);
	assert_false(gdb.attached);
	ask("m1000,1", "");
	/* and once more */
	ask("qSupported", "PacketSize=1000;multiprocess+;qXfer:features:read+;swbreak+;vContSupported+");
	assert_int_equal(fake.stops, 2);
	ask("qfThreadInfo", "mp1.1,p1.2,p2.1,p3.1");
	ask("D", "OK");
	assert_int_equal(fake.resumes, 3);
}

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
		ask("qSupported", "PacketSize=1000;multiprocess+;qXfer:features:read+;swbreak+;vContSupported+");
		fake.memory[0] = 0x5a;
		ask("m1000,1", "5a");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(attaching, set_up_attached),
		cmocka_unit_test_setup(registers, set_up_attached),
		cmocka_unit_test_setup(write_all_registers, set_up_attached),
		cmocka_unit_test_setup(memory, set_up_attached),
		cmocka_unit_test_setup(running, set_up_attached),
		cmocka_unit_test_setup(detaching, set_up_attached),
		cmocka_unit_test_setup(damaged_packets, set_up_attached),
		cmocka_unit_test_setup(noise_before_attaching, set_up),
		cmocka_unit_test_setup(random_packets, set_up_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
