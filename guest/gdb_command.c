/* SPDX-License-Identifier: MIT */
/* What gdb asks for, and the answers (gdb manual, appendices E.2 to E.5). An empty reply: not known here. */
#include "guest/gdb.h"
#include "guest/text.h"

#define NAME 64
#define LISTED_AT_ONCE 64 /* threads in one reply */

void gdb_reply(struct gdb *g, const char *text)
{
	gdb_reply_begin(g);
	gdb_reply_text(g, text);
	gdb_reply_end(g);
}

bool gdb_is_detached(const struct gdb *g, unsigned pid)
{
	return pid >= GDB_PROCESSES || g->detached >> pid & 1;
}

/* The n-th thread of the processes that are debugged. */
static bool thread(struct gdb *g, unsigned n, struct gdb_thread *t)
{
	for (unsigned i = 0; g->target->thread(g->target->context, i, t); i++)
		if (!gdb_is_detached(g, t->pid) && !n--)
			return true;
	return false;
}

bool gdb_thread_fits(struct gdb_thread wanted, struct gdb_thread t)
{
	return (wanted.pid == GDB_ANY || wanted.pid == GDB_ALL || wanted.pid == t.pid) &&
		(wanted.tid == GDB_ANY || wanted.tid == GDB_ALL || wanted.tid == t.tid);
}

bool gdb_same_thread(struct gdb_thread a, struct gdb_thread b)
{
	return a.pid == b.pid && a.tid == b.tid;
}

bool gdb_find(struct gdb *g, struct gdb_thread wanted, struct gdb_thread *t)
{
	struct gdb_thread each;
	bool found = false;

	for (unsigned i = 0; g->target->thread(g->target->context, i, &each); i++) {
		if (gdb_is_detached(g, each.pid) || !gdb_thread_fits(wanted, each))
			continue;
		if (!found || gdb_same_thread(each, g->stopped_thread))
			*t = each;
		found = true;
	}
	return found;
}

bool gdb_general(struct gdb *g, struct gdb_thread *t)
{
	if (gdb_find(g, g->general, t))
		return true;
	gdb_reply(g, GDB_NO_THREAD);
	return false;
}

/* ---- questions ---- */

static void list_threads(struct gdb *g)
{
	struct gdb_thread t;

	gdb_reply_begin(g);
	for (unsigned i = 0; i < LISTED_AT_ONCE && thread(g, g->listed, &t); i++, g->listed++) {
		gdb_reply_char(g, i ? ',' : 'm');
		gdb_reply_thread(g, t);
	}
	if (g->out_n == 1)
		gdb_reply_char(g, 'l');
	gdb_reply_end(g);
}

static void describe_thread(struct gdb *g, const char *p)
{
	struct gdb_thread t;
	char name[NAME];

	if (!gdb_parse_thread(&p, &t) || !gdb_find(g, t, &t)) {
		gdb_reply(g, GDB_NO_THREAD);
		return;
	}
	g->target->describe(g->target->context, t, name, sizeof name);
	gdb_reply_begin(g);
	gdb_reply_hex(g, name, text_length(name));
	gdb_reply_end(g);
}

static void query(struct gdb *g, const char *p)
{
	struct gdb_thread t;

	if (gdb_parse_word(&p, "fThreadInfo")) {
		g->listed = 0;
		list_threads(g);
	} else if (gdb_parse_word(&p, "sThreadInfo")) {
		list_threads(g);
	} else if (gdb_parse_word(&p, "ThreadExtraInfo,")) {
		describe_thread(g, p);
	} else if (gdb_parse_word(&p, "Rcmd,")) {
		gdb_monitor(g, p);
	} else if (gdb_parse_word(&p, "Xfer:")) {
		gdb_xfer(g, p);
	} else if (gdb_parse_word(&p, "Attached") && (!*p || *p == ':')) {
		gdb_reply(g, "1"); /* at its end gdb detaches, it does not kill */
	} else if (gdb_parse_char(&p, 'C') && !*p) { /* not CRC */
		if (!gdb_general(g, &t))
			return;
		gdb_reply_begin(g);
		gdb_reply_text(g, "QC");
		gdb_reply_thread(g, t);
		gdb_reply_end(g);
	} else {
		gdb_reply(g, "");
	}
}

/* H: the thread of what follows. Hc is of old ways to resume, which are not offered. */
static void select_thread(struct gdb *g, const char *p)
{
	bool for_general = *p == 'g';
	struct gdb_thread t, found;

	if (*p++ == 0 || !gdb_parse_thread(&p, &t) || !gdb_find(g, t, &found)) {
		gdb_reply(g, GDB_NO_THREAD);
		return;
	}
	if (for_general)
		g->general = found;
	gdb_reply(g, "OK");
}

static void is_alive(struct gdb *g, const char *p)
{
	struct gdb_thread t;

	gdb_reply(g, gdb_parse_thread(&p, &t) && gdb_find(g, t, &t) ? "OK" : GDB_NO_THREAD);
}

static void words(struct gdb *g, const char *p)
{
	if (gdb_parse_word(&p, "Cont?"))
		gdb_reply(g, "vCont;c;C;s;S;t;r");
	else if (gdb_parse_word(&p, "Cont"))
		gdb_vcont(g, p);
	else if (gdb_parse_word(&p, "Kill;"))
		gdb_kill(g, p);
	else if (gdb_parse_word(&p, "Attach;"))
		gdb_attach_process(g, p);
	else
		gdb_reply(g, "");
}

/* All-stop is what there is. Without acknowledgements nothing is sent again: for a line that loses nothing; gdb asks for it only
 * when told to. */
static void set(struct gdb *g, const char *p)
{
	if (gdb_parse_word(&p, "NonStop:")) {
		gdb_reply(g, text_equal(p, "0") ? "OK" : GDB_INVALID);
	} else if (text_equal(p, "StartNoAckMode")) {
		gdb_reply(g, "OK");
		g->no_ack = true;
	} else {
		gdb_reply(g, "");
	}
}

bool gdb_begins_session(const struct gdb *g)
{
	const char *p = g->in;

	return gdb_parse_word(&p, "qSupported") && (!*p || *p == ':');
}

/* The packets that end a wait, or begin a session. */
static bool begins(struct gdb *g)
{
	const char *p = g->in;

	if (gdb_begins_session(g))
		gdb_attach(g);
	else if (!g->attached && g->extended && gdb_parse_word(&p, "vAttach;"))
		gdb_attach_process(g, p);
	else
		return false;
	return true;
}

void gdb_command(struct gdb *g)
{
	const char *p = g->in;

	if (begins(g))
		return;
	if (!g->attached || g->running) {
		if (!g->running)
			gdb_reply(g, "");
		return;
	}
	switch (*p++) {
	case '?':
		gdb_reply_stop(g);
		return;
	case 'D':
		gdb_detach(g, p);
		return;
	case 'H':
		select_thread(g, p);
		return;
	case 'T':
		is_alive(g, p);
		return;
	case 'g':
		gdb_read_registers(g);
		return;
	case 'G':
		gdb_write_registers(g, p);
		return;
	case 'p':
	case 'P':
		gdb_one_register(g, p, p[-1] == 'P');
		return;
	case 'm':
		gdb_read_memory(g, p);
		return;
	case 'M':
	case 'X':
		gdb_write_memory(g, p, p[-1] == 'X');
		return;
	case 'z':
	case 'Z':
		gdb_breakpoint(g, p, p[-1] == 'Z');
		return;
	case '!':
		g->extended = true;
		gdb_reply(g, "OK");
		return;
	case 'Q':
		set(g, p);
		return;
	case 'q':
		query(g, p);
		return;
	case 'v':
		words(g, p);
		return;
	default:
		gdb_reply(g, "");
		return;
	}
}
