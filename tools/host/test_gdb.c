/* SPDX-License-Identifier: MIT */
/* guest/gdb_command.c, gdb_data.c: exchanges as gdb 13.1 makes them. */
#include "tools/host/gdb_test.h"

static void attaching(void **state)
{
	(void)state;
	ask("vMustReplyEmpty", "");
	ask("!", "OK");
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
	/* what is not there */
	ask("QNonStop:1", "E16");
	ask("QNonStop:0", "OK");
	ask("QThreadEvents:1", "");
	ask("QPassSignals:0e", "");
	ask("qSymbol::", "");
	ask("qOffsets", "");
	ask("qTStatus", "");
	ask("qCRC:1000,10", "");
	ask("qAttachedX", "");
	ask("qXfer:exec-file:read:1:0,100", "lumbra.elf");
	ask("qXfer:exec-file:read:1:0,5", "mumbra");
	ask("qXfer:exec-file:read:2:0,100", "E00");
	ask("qXfer:exec-file:read::0,100", "E00");
	ask("qXfer:auxv:read::0,100", "");
	ask("vRun;", "");
	ask("vStopped", "");
	ask("c", "");
	ask("s", "");
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

/* Large texts come in pieces that fit, wherever they are cut. */
static void threads_in_pieces(void **state)
{
	static const char want[] = "<?xml version=\"1.0\"?><threads><thread id=\"p1.1\" core=\"8\" name=\"t0\"/>"
		"<thread id=\"p1.2\" core=\"9\" name=\"t1\"/><thread id=\"p2.1\" core=\"10\" name=\"t2\"/>"
		"<thread id=\"p3.1\" core=\"11\" name=\"t3\"/></threads>";
	char text[64], all[sizeof want + 1] = "l";

	(void)state;
	strcpy(all + 1, want);
	ask("qXfer:threads:read::0,1000", all);
	for (unsigned i = 0; i < sizeof want; i++) {
		sprintf(text, "qXfer:threads:read::%x,7", i);
		packet_n(text, strlen(text));
		assert_int_equal(fake.out[2], i + 7 < sizeof want - 1 ? 'm' : 'l');
		assert_int_equal(fake.out_n, 1 + 2 + (i + 7 < sizeof want ? 7 : sizeof want - 1 - i) + 3);
		assert_memory_equal(fake.out + 3, want + i, fake.out_n - 6);
	}
	ask("qXfer:threads:read::1000,7", "l");
	ask("qXfer:threads:read::0,0", "m");
	ask("qXfer:threads:read::0", "E00");
	ask("qXfer:threads:read:x:0,7", "E00");
	ask("qXfer:features:read:other.xml:0,7", "E00");
	ask("qXfer:features:read:target.xml:0,", "E00");
	fake.quoted = true;
	packet_n("qXfer:threads:read::0,1000", 26);
	assert_non_null(strstr(fake.out, "name=\"?? t0?\"/>"));
	ask("D;2", "OK");
	packet_n("qXfer:threads:read::0,1000", 26);
	assert_null(strstr(fake.out, "p2.1"));
}

static unsigned registers_in(const char *xml)
{
	unsigned n = 0;

	for (; (xml = strstr(xml, "<reg ")); xml++)
		n++;
	return n;
}

static size_t bytes_of_system(void)
{
	const struct gdb_register *r;
	size_t n = 0;

	for (unsigned i = 0; (r = gdb_system_part(i)); i++)
		n += r->bits / 8;
	return n;
}

static void registers(void **state)
{
	static char xml[2 * GDB_DESCRIPTION];

	(void)state;
	assert_true(description("p2.1", xml) < GDB_DESCRIPTION);
	assert_non_null(strstr(xml, "<architecture>i386:x86-64</architecture><osabi>none</osabi>"));
	assert_int_equal(registers_in(xml), 66);
	assert_string_equal(xml + strlen(xml) - 9, "</target>");
	packet_n("g", 1);
	expect("0002665544332211", true, true);
	assert_int_equal(fake.out_n, 2 + 2 * (17 * 8 + 7 * 4) + 3);
	/* rbx, the second, is RBX of enum gpr, the fourth; rip; gs_base; efer; none */
	fake.reg[2][GDB_RAX + 3] = 0x1234;
	ask("p1", "3412000000000000");
	fake.reg[2][GDB_RIP] = 0x10bf1c;
	ask("p10", "1cbf100000000000");
	fake.reg[2][GDB_GS_BASE] = 0x12;
	ask("p3a", "1200000000000000");
	fake.reg[2][GDB_EFER] = 0xd01;
	ask("p40", "010d000000000000");
	ask("p52", "E16");
	ask("p", "E16");
	ask("P10=0000200000000000", "OK");
	assert_int_equal(fake.reg[2][GDB_RIP], 0x200000);
	ask("P10=00002000", "E16");
}

/* Those of more than 64 bits are in several pieces; the processor's others have numbers behind them, and AVX the last. */
static void wide_registers(void **state)
{
	static char xml[2 * GDB_DESCRIPTION], with[2 * GDB_DESCRIPTION];
	size_t n;

	(void)state;
	description("p2.1", xml);
	assert_non_null(strstr(xml, "<reg name=\"st7\" bitsize=\"80\" type=\"i387_ext\"/>"));
	assert_non_null(strstr(xml, "<reg name=\"xmm15\" bitsize=\"128\" type=\"vec128\"/>"));
	fake.reg[2][GDB_ST + 14] = 0xc90fdaa22168c235;
	fake.reg[2][GDB_ST_LAST] = 0x4000;
	ask("p1f", "35c26821a2da0fc90040"); /* st7 */
	fake.reg[2][GDB_FCTRL] = 0x37f;
	ask("p20", "7f030000");
	fake.reg[2][GDB_XMM_LAST - 1] = 0x112233445566030f;
	fake.reg[2][GDB_XMM_LAST] = 0x0123456789abcdef;
	ask("p37", "0f03665544332211efcdab8967452301");
	ask("P37=0f03665544332211efcdab8967452301", "OK");
	assert_int_equal(fake.writes, 0); /* it is the same */
	ask("P37=10036655443322110000000000000080", "OK");
	assert_int_equal(fake.writes, 2);
	assert_int_equal(fake.reg[2][GDB_XMM_LAST - 1], 0x1122334455660310);
	assert_int_equal(fake.reg[2][GDB_XMM_LAST], 1UL << 63);
	ask("P37=1003665544332211000000000000", "E16");
	ask("P18=0807060504030201ff3f", "OK"); /* st0 */
	assert_int_equal(fake.reg[2][GDB_ST], 0x0102030405060708);
	assert_int_equal(fake.reg[2][GDB_ST + 1], 0x3fff);
	fake.refuses = true;
	ask("P18=0807060504030201ff3e", "E16");
	fake.reg[2][GDB_MXCSR] = 0x1f80;
	ask("p38", "801f0000");
	/* no AVX, and AVX */
	assert_null(strstr(xml, "ymm"));
	ask("p42", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	fake.avx = true;
	n = description("p2.1", with);
	assert_true(n < GDB_DESCRIPTION);
	assert_int_equal(registers_in(with), 66 + 16);
	assert_memory_equal(xml, with, strlen(xml) - strlen("</target>"));
	assert_non_null(strstr(with, "<feature name=\"org.gnu.gdb.i386.avx\"><reg name=\"ymm0h\" bitsize=\"128\" type=\"uint128\"/>"));
	fake.reg[2][GDB_YMMH] = 0x0706050403020100;
	fake.reg[2][GDB_YMMH + 1] = 0x0f0e0d0c0b0a0908;
	ask("p42", "000102030405060708090a0b0c0d0e0f");
	description("p3.1", with);
	assert_int_equal(registers_in(with), 48 + 8);
	fake.reg[3][GDB_YMMH + 14] = fake.reg[3][GDB_YMMH + 15] = 0;
	ask("p37", "00000000000000000000000000000000");
	ask("p38", "E16");
	/* the hypervisor has none of them */
	ask("Hgp1.1", "OK");
	ask("p18", "xxxxxxxxxxxxxxxxxxxx");
	ask("p20", "xxxxxxxx");
	ask("p37", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	ask("P20=7f030000", "E16");
}

static void registers_of_smaller_modes(void **state)
{
	static char xml[2 * GDB_DESCRIPTION];

	(void)state;
	assert_true(description("p3.1", xml) < GDB_DESCRIPTION);
	assert_non_null(strstr(xml, "<architecture>i386</architecture>"));
	assert_int_equal(registers_in(xml), 48);
	fake.reg[3][GDB_RIP] = 0x101000;
	ask("p8", "00101000");
	packet_n("g", 1);
	assert_int_equal(fake.out_n, 2 + 2 * 16 * 4 + 3);
	fake.is_16bit = true;
	ask("p8", "00101000"); /* as described before */
	assert_true(description("p3.1", xml) < GDB_DESCRIPTION);
	assert_non_null(strstr(xml, "<architecture>i8086</architecture>"));
	assert_int_equal(registers_in(xml), 48);
	packet_n("g", 1);
	assert_int_equal(fake.out_n, 2 + 2 * 16 * 4 + 3);
	fake.reg[3][GDB_EFER] = 0x500;
	ask("p2e", "0005000000000000");
}

/* The register "system" has parts, described one behind the other, as gdb 13.1 takes a struct apart; a write changes those that
 * are not the same. */
static void system_register(void **state)
{
	static char xml[2 * GDB_DESCRIPTION], text[1000];
	const struct gdb_register *r;
	const char *at;

	(void)state;
	description("p2.1", xml);
	at = strstr(xml, "<struct id=\"system\">") + strlen("<struct id=\"system\">");
	sprintf(text, "<reg name=\"system\" bitsize=\"%zu\" type=\"system\"/></feature>", 8 * bytes_of_system());
	assert_non_null(strstr(xml, text));
	strcpy(text, "P41=");
	for (unsigned i = 0; (r = gdb_system_part(i)); i++) {
		uint64_t value = fake.reg[2][r->reg];

		char field[64];

		sprintf(field, "<field name=\"%s\" type=\"uint%u\"/>", r->name, r->bits);
		assert_memory_equal(at, field, strlen(field));
		at += strlen(field);
		for (unsigned byte = 0; byte < r->bits / 8; byte++)
			sprintf(text + strlen(text), "%02x", (unsigned)(value >> 8 * byte & 0xff));
	}
	ask("p41", text + 4);
	ask(text, "OK");
	memcpy(text + 4, "efbe", 4); /* CR0, the first */
	ask(text, "OK");
	assert_int_equal(fake.reg[2][GDB_CR0], (0x1122334455660000 | 0xbeef));
	assert_int_equal(fake.writes, 1);
	text[strlen(text) - 2] = 0;
	ask(text, "E16");
	/* with a part that is not known, gdb is to take none: it stumbles over digits before it */
	ask("Hgp1.1", "OK");
	fake.unknown = GDB_IDTR_LIMIT;
	memset(text, 'x', 2 * bytes_of_system());
	text[2 * bytes_of_system()] = 0;
	ask("p41", text);
	fake.unknown = GDB_CR2;
	ask("p3c", "xxxxxxxxxxxxxxxx");
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
	ask("mfffffffffffffffe,8", "7777");
	ask("Mfffffffffffffffe,3:112233", "E0e");
	ask("Mffffffffffffffff,2:1122", "E0e");
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
	for (unsigned kind = 1; kind <= 4; kind++) {
		char packet[] = "Z0,1020,8";

		packet[1] = (char)('0' + kind);
		ask(packet, "OK");
		assert_int_equal(fake.breakpoint, 0x1020);
		assert_int_equal(fake.watch, kind);
		assert_int_equal(fake.watch_bytes, 8);
	}
	ask("Z5,1010,1", "");
	ask("Z2,1010", "E0e");
	ask("Z0,", "E0e");
	ask("Hgp1.1", "OK");
	ask("Z0,1010,1", "E0e");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(attaching, set_up_attached),
		cmocka_unit_test_setup(threads_in_pieces, set_up_attached),
		cmocka_unit_test_setup(registers, set_up_attached),
		cmocka_unit_test_setup(wide_registers, set_up_attached),
		cmocka_unit_test_setup(registers_of_smaller_modes, set_up_attached),
		cmocka_unit_test_setup(system_register, set_up_attached),
		cmocka_unit_test_setup(write_all_registers, set_up_attached),
		cmocka_unit_test_setup(memory, set_up_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
