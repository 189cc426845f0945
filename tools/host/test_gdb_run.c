/* SPDX-License-Identifier: MIT */
/* guest/gdb_run.c: going on and stopping, as gdb 13.1 asks for it. */
#include "tools/host/gdb_test.h"

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
	stand_still(2, GDB_BREAK_IN);
	expect("T02thread:p2.1;", false, false);
	ask("m1000,1", "00");
	packet_n("vCont;s:p2.1;c:p2.-1", 20);
	expect_actions(GDB_HOLD, GDB_STEP, GDB_HOLD);
	stand_still(2, GDB_STEPPED);
	expect("T05thread:p2.1;", false, false);
	packet_n("vCont;C05:p3.1;c", 16);
	expect_actions(GDB_CONTINUE, GDB_CONTINUE, GDB_CONTINUE);
	stand_still(3, GDB_BREAKPOINT);
	expect("T05swbreak:;thread:p3.1;", false, false);
	ask("?", "T05swbreak:;thread:p3.1;");
	assert_int_equal(fake.resumes, 3);
	ask("vCont;s:p1.1", "E16");
	ask("vCont", "E16");
	ask("vCont;", "E16");
	ask("vCont;t", "E16"); /* nothing would ever stop */
	ask("vCont;c:p2.1x", "E16");
	assert_int_equal(fake.resumes, 3);
	packet_n("vCont;c", 7);
	fake.gone = true;
	fake.runs = false;
	fake.out_n = 0;
	gdb_exited(&gdb, 2, 1);
	expect("W01;process:2", false, false);
	ask("qfThreadInfo", "mp1.1,p1.2,p3.1");
	ask("Hgp2.1", "E03");
	ask("?", "T05thread:p1.1;");
	/* what gdb does not know of is no news */
	packet_n("vCont;c", 7);
	gdb_exited(&gdb, 2, 1);
	assert_string_equal(fake.out, "+");
	assert_false(gdb_debugs(&gdb, 2));
	assert_true(gdb_debugs(&gdb, 3));
	fake.empty = true;
	fake.runs = false;
	fake.out_n = 0;
	gdb_exited(&gdb, 3, 0);
	expect("W00;process:3", false, false);
	ask("?", "W00");
}

/* gdb 13.1's `next`, and what else vCont may say. */
static void actions(void **state)
{
	(void)state;
	ask("vCont?", "vCont;c;C;s;S;t;r");
	packet_n("vCont;r401020,401034:p2.1;c:p2.-1", 33);
	assert_string_equal(fake.out, "+");
	expect_actions(GDB_HOLD, GDB_STEP, GDB_HOLD);
	assert_int_equal(fake.range[2][0], 0x401020);
	assert_int_equal(fake.range[2][1], 0x401034);
	stand_still(2, GDB_STEPPED);
	/* an empty range is a step */
	memset(fake.range, 0xff, sizeof fake.range);
	packet_n("vCont;r401020,401020:p2.1", 25);
	expect_actions(GDB_HOLD, GDB_STEP, GDB_HOLD);
	assert_int_equal(fake.range[2][0], ~0UL);
	stand_still(2, GDB_STEPPED);
	/* the first that names a thread counts, whatever comes behind it */
	packet_n("vCont;t:p2;S0b:p2.1;s:p3.1;C05", 30);
	expect_actions(GDB_CONTINUE, GDB_HOLD, GDB_STEP);
	stand_still(3, GDB_STEPPED);
	packet_n("vCont;c:p3.-1;s:p2.1;t", 22);
	expect_actions(GDB_HOLD, GDB_STEP, GDB_CONTINUE);
	stand_still(3, GDB_STEPPED);
	assert_int_equal(fake.resumes, 4);
	memset(fake.action, 0xff, sizeof fake.action);
	ask("vCont;t:p2.1;t:p3.1", "E16");
	ask("vCont;r:p2.1", "E16");
	ask("vCont;r10:p2.1", "E16");
	ask("vCont;r20,10:p2.1", "E16");
	ask("vCont;r10,20:p1.1", "E16");
	ask("vCont;c:p3.1;r10,20:p1.-1", "E16");
	ask("vCont;C:p2.1", "E16");
	ask("vCont;C100:p2.1", "E16");
	ask("vCont;S1;", "E16");
	ask("vCont;cs", "E16");
	ask("vCont;x", "E16");
	assert_int_equal(fake.resumes, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal((int)fake.action[i], -1); /* what is refused changes nothing */
}

/* What gdb looks at after each stop comes with it, once it has the process's description. */
static void frame_of_a_stop(void **state)
{
	(void)state;
	packet_n("vCont;s:p2.1", 12);
	stand_still(2, GDB_STEPPED);
	expect("T05thread:p2.1;", false, false);
	ask("Hgp2.1", "OK");
	packet_n("qXfer:features:read:target.xml:0,10", 35);
	feed("+", 1);
	packet_n("vCont;s:p2.1", 12);
	stand_still(2, GDB_STEPPED);
	expect("T05thread:p2.1;6:0502665544332211;7:0402665544332211;10:1002665544332211;", false, false);
	ask("Hgp3.1", "OK");
	packet_n("qXfer:features:read:target.xml:0,10", 35);
	feed("+", 1);
	packet_n("vCont;s:p3.1", 12);
	stand_still(3, GDB_STEPPED);
	expect("T05thread:p3.1;4:04036655;5:05036655;8:10036655;", false, false);
	/* it was let go: gdb will ask anew */
	ask("D;3", "OK");
	ask("vAttach;3", "T05thread:p3.1;");
	/* the next gdb has not asked */
	packet_n("qXfer:features:read:target.xml:0,10", 35);
	feed("+", 1);
	ask("?", "T05thread:p3.1;4:04036655;5:05036655;8:10036655;");
	packet_n("qSupported:multiprocess+", 24);
	ask("?", "T05thread:p3.1;");
}

static void as_many_actions_as_there_is_room_for(void **state)
{
	char text[400] = "vCont";

	(void)state;
	for (unsigned i = 0; i < 31; i++)
		strcat(text, ";t:p2.9");
	strcat(text, ";s:p2.1");
	packet_n(text, strlen(text));
	expect_actions(GDB_HOLD, GDB_STEP, GDB_HOLD);
	stand_still(2, GDB_STEPPED);
	strcat(text, ";c:p3.1");
	ask(text, "E16");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(running, set_up_attached),
		cmocka_unit_test_setup(actions, set_up_attached),
		cmocka_unit_test_setup(frame_of_a_stop, set_up_attached),
		cmocka_unit_test_setup(as_many_actions_as_there_is_room_for, set_up_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
