/* SPDX-License-Identifier: MIT */
/* guest/gdb_process.c: gdb comes, goes, and picks processes, as 13.1 does with `target remote` and `target extended-remote`. */
#include "tools/host/gdb_test.h"

#define ALL_PROCESSES (~0UL & ~1UL) /* there is no 0 */

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
	stand_still(3, GDB_STEPPED);
	fake.action[3] = GDB_HOLD;
	ask("D;0", "E16");
	ask("D;1", "OK");
	assert_int_equal(fake.resumes, 1);
	ask("D;3", "OK");
	assert_int_equal(fake.resumes, 2);
	expect_actions(GDB_CONTINUE, GDB_CONTINUE, GDB_CONTINUE);
	assert_false(gdb.attached);
	ask("m1000,1", "");
	/* and once more */
	ask("qSupported", SUPPORTED);
	assert_int_equal(fake.stops, 2);
	stand_still(0, GDB_ATTACH);
	ask("qfThreadInfo", "mp1.1,p1.2,p2.1,p3.1");
	ask("D", "OK");
	assert_int_equal(fake.resumes, 3);
}

/* A gdb that went without a word leaves no breakpoint to the next. */
static void another_gdb(void **state)
{
	(void)state;
	ask("qSupported", SUPPORTED); /* everything stands still already */
	assert_int_equal(fake.stops, 1);
	assert_int_equal(fake.detached, ALL_PROCESSES);
	fake.detached = 0;
	ask("D;2", "OK");
	ask("QStartNoAckMode", "OK");
	packet_n("vCont;c", 7);
	assert_string_equal(fake.out, "");
	ask("qSupported:x", SUPPORTED); /* acknowledged again */
	assert_int_equal(fake.stops, 2);
	assert_int_equal(fake.detached, 1UL << 2);
	stand_still(1, GDB_BREAK_IN);
	assert_int_equal(fake.out_n, 0);
	assert_int_equal(fake.detached, ALL_PROCESSES);
	ask("qfThreadInfo", "mp1.1,p1.2,p2.1,p3.1");
	ask("qSupportedX", "");
	assert_int_equal(fake.stops, 2);
}

/* gdb=wait: what it sets before the machine ever ran is there at the first stop. */
static void it_stands_still_already(void **state)
{
	(void)state;
	stand_still(0, GDB_ATTACH);
	ask("qSupported", SUPPORTED);
	assert_int_equal(fake.stops, 0);
	assert_int_equal(fake.detached, ALL_PROCESSES);
	fake.detached = 0;
	ask("Hgp2.1", "OK");
	ask("Z0,1010,1", "OK");
	packet_n("vCont;c", 7);
	stand_still(2, GDB_BREAKPOINT);
	assert_int_equal(fake.detached, 0);
	assert_true(gdb_debugs(&gdb, 2) && gdb_debugs(&gdb, 3));
}

static void killing(void **state)
{
	(void)state;
	ask("vKill;1", "E01");
	ask("vKill;", "E03");
	ask("vKill;4", "E03");
	ask("vKill;40", "E03");
	ask("vKill;2x", "E03");
	assert_false(fake.gone);
	ask("vKill;2", "OK");
	assert_true(fake.gone);
	ask("vKill;2", "E03");
	ask("qfThreadInfo", "mp1.1,p1.2,p3.1");
	ask("Tp2.1", "E03");
	packet_n("vCont;c", 7);
	assert_false(gdb_debugs(&gdb, 2)); /* its end is no news */
	stand_still(3, GDB_BREAKPOINT);
	expect("T05swbreak:;thread:p3.1;", false, false);
	ask("D;3", "OK");
	ask("vKill;3", "E03");
	ask("?", "T05thread:p1.1;"); /* the one that stopped was let go */
}

static void attaching_to_a_process(void **state)
{
	(void)state;
	ask("vAttach;2", "T05thread:p2.1;"); /* which it was */
	ask("D;2", "OK");
	ask("D;3", "OK");
	ask("vAttach;3", "T05thread:p3.1;");
	ask("?", "T05thread:p3.1;");
	ask("qC", "QCp3.1");
	ask("qfThreadInfo", "mp1.1,p1.2,p3.1");
	ask("vAttach;4", "E03");
	ask("vAttach;0", "E16");
	ask("vAttach;40", "E16");
	ask("vAttach;3x", "E16");
	ask("vAttach;", "E16");
	fake.gone = true;
	ask("vAttach;2", "E03");
	assert_false(gdb_debugs(&gdb, 2));
	assert_int_equal(fake.stops, 1);
}

/* gdb takes the thread that it hears of for the one that g reads, so it has to be one that it may. */
static void a_stop_of_what_was_let_go(void **state)
{
	(void)state;
	ask("D;2", "OK");
	packet_n("vCont;c", 7);
	stand_still(2, GDB_BREAK_IN);
	expect("T02thread:p1.1;", false, false);
	ask("qC", "QCp1.1");
	packet_n("vCont;c", 7);
	stand_still(2, GDB_BREAKPOINT);
	expect("T05thread:p1.1;", false, false);
	fake.gone = true;
	ask("Hgp3.1", "OK");
	ask("D;1", "OK");
	ask("?", "T05thread:p3.1;");
	ask("qC", "QCp3.1");
}

/* `target extended-remote`: gdb stays when it has let all processes go. */
static void extended(void **state)
{
	(void)state;
	ask("!", "OK");
	ask("D", "OK");
	assert_int_equal(fake.resumes, 1);
	ask("vKill;2", "");
	ask("vAttach;40", "E16");
	assert_int_equal(fake.stops, 1);
	packet_n("vAttach;3", 9);
	assert_string_equal(fake.out, "+");
	assert_int_equal(fake.stops, 2);
	packet_n("vAttach;2", 9); /* not before the other */
	assert_string_equal(fake.out, "+");
	stand_still(0, GDB_BREAK_IN);
	expect("T05thread:p3.1;", false, false);
	ask("qfThreadInfo", "mp3.1");
	assert_true(gdb_debugs(&gdb, 3));
	assert_false(gdb_debugs(&gdb, 1));
	memset(fake.action, 0xff, sizeof fake.action);
	ask("D;3", "OK");
	assert_int_equal(fake.resumes, 2);
	expect_actions(GDB_CONTINUE, GDB_CONTINUE, GDB_CONTINUE);
	/* one that is gone by then */
	packet_n("vAttach;2", 9);
	fake.gone = true;
	memset(fake.action, 0xff, sizeof fake.action);
	stand_still(0, GDB_BREAK_IN);
	expect("E03", false, false);
	assert_int_equal(fake.resumes, 3);
	assert_int_equal(fake.action[3], GDB_CONTINUE);
	assert_false(gdb.attached);
	/* another gdb, which is not extended */
	ask("qSupported", SUPPORTED);
	stand_still(0, GDB_ATTACH);
	ask("D", "OK");
	ask("vAttach;3", "");
	assert_int_equal(fake.stops, 4);
}

/* A guest that ended before gdb came, or that gdb let go, ends unheard; one that ends beside another's stop is told of later. */
static void ends_that_are_news(void **state)
{
	(void)state;
	assert_false(gdb_debugs(&gdb, 4));
	assert_false(gdb_debugs(&gdb, 0x40));
	ask("D;3", "OK");
	assert_false(gdb_debugs(&gdb, 3));
	packet_n("vCont;c", 7);
	fake.gone = true;
	stand_still(0, GDB_BREAK_IN);
	expect("T02thread:p1.1;", false, false);
	assert_true(gdb_debugs(&gdb, 2));
	packet_n("vCont;c", 7);
	fake.runs = false;
	fake.out_n = 0;
	gdb_exited(&gdb, 2, 0);
	expect("W00;process:2", false, false);
	assert_false(gdb_debugs(&gdb, 2));
	ask("qSupported", SUPPORTED);
	packet_n("vCont;c", 7);
	stand_still(0, GDB_BREAK_IN);
	assert_true(gdb_debugs(&gdb, 3));
	assert_false(gdb_debugs(&gdb, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(detaching, set_up_attached),
		cmocka_unit_test_setup(another_gdb, set_up_attached),
		cmocka_unit_test_setup(killing, set_up_attached),
		cmocka_unit_test_setup(attaching_to_a_process, set_up_attached),
		cmocka_unit_test_setup(it_stands_still_already, set_up),
		cmocka_unit_test_setup(a_stop_of_what_was_let_go, set_up_attached),
		cmocka_unit_test_setup(extended, set_up_attached),
		cmocka_unit_test_setup(ends_that_are_news, set_up_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
