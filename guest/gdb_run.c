/* SPDX-License-Identifier: MIT */
/* Stop replies and vCont (gdb manual, appendices E.2 and E.3). */
#include "guest/gdb.h"

#define ACTIONS 32 /* of one vCont */
#define SIGNALS 0x100

/* What gdb looks at after each stop, so that it need not ask. Of a process whose description it has not, it may count registers
 * in another way. */
static void reply_frame(struct gdb *g, struct gdb_thread t)
{
	const struct gdb_register *r;
	uint64_t value;

	if (!(g->described >> t.pid & 1))
		return;
	for (unsigned i = 0; i < gdb_g_registers(g->mode[t.pid]); i++) {
		r = gdb_register(g->mode[t.pid], i);
		if ((r->reg != GDB_RIP && r->reg != GDB_RSP && r->reg != GDB_RBP) ||
			!g->target->register_read(g->target->context, t, r->reg, &value))
			continue;
		gdb_reply_number(g, i);
		gdb_reply_char(g, ':');
		gdb_reply_hex(g, &value, r->bits / 8);
		gdb_reply_char(g, ';');
	}
}

void gdb_reply_stop(struct gdb *g)
{
	struct gdb_thread t;

	gdb_reply_begin(g);
	if (!gdb_find(g, (struct gdb_thread){GDB_ANY, GDB_ANY}, &t)) {
		gdb_reply_text(g, "W00"); /* nothing is left to stand still */
		gdb_reply_end(g);
		return;
	}
	if (!gdb_same_thread(t, g->stopped_thread)) /* which is gone */
		g->why = GDB_ATTACH;
	gdb_reply_text(g, g->why == GDB_BREAK_IN ? "T02" : g->why == GDB_PANICKED ? "T06" : "T05"); /* SIGINT, SIGABRT, SIGTRAP */
	if (g->why == GDB_BREAKPOINT)
		gdb_reply_text(g, "swbreak:;");
	if (g->why == GDB_BREAKPOINT_HARD)
		gdb_reply_text(g, "hwbreak:;");
	if (g->why == GDB_WATCHED) {
		gdb_reply_text(g, g->watch == GDB_WATCH_WRITE ? "watch:" : g->watch == GDB_WATCH_READ ? "rwatch:" : "awatch:");
		gdb_reply_number(g, g->watch_at);
		gdb_reply_char(g, ';');
	}
	g->stopped_thread = g->general = t; /* which gdb takes for granted */
	gdb_reply_text(g, "thread:");
	gdb_reply_thread(g, t);
	gdb_reply_char(g, ';');
	reply_frame(g, t);
	gdb_reply_end(g);
}

void gdb_watched(struct gdb *g, struct gdb_thread t, enum gdb_watch kind, uint64_t a)
{
	g->watch = kind;
	g->watch_at = a;
	gdb_stopped(g, t, GDB_WATCHED);
}

void gdb_exited(struct gdb *g, unsigned pid, uint8_t status)
{
	if (!g->running || !gdb_debugs(g, pid))
		return;
	g->running = false;
	g->still = true;
	g->known &= ~(1UL << pid);
	g->stopped_thread = g->general = (struct gdb_thread){GDB_ANY, GDB_ANY};
	gdb_reply_begin(g);
	gdb_reply_char(g, 'W');
	gdb_reply_hex(g, &status, 1);
	gdb_reply_text(g, ";process:");
	gdb_reply_number(g, pid);
	gdb_reply_end(g);
}

/* start == end: no range. */
struct vcont {
	struct gdb_thread who;
	enum gdb_action action;
	uint64_t start, end;
};

/* action[:thread]. There are no signals to be delivered: that of C and S is read and forgotten. */
static bool parse_action(const char **p, struct vcont *a)
{
	char c = **p;
	uint64_t signal;

	*a = (struct vcont){.who = {GDB_ALL, GDB_ALL}};
	switch (c) {
	case 't':
		a->action = GDB_HOLD;
		break;
	case 'c':
	case 'C':
		a->action = GDB_CONTINUE;
		break;
	case 's':
	case 'S':
	case 'r':
		a->action = GDB_STEP;
		break;
	default:
		return false;
	}
	++*p;
	if ((c == 'C' || c == 'S') && (!gdb_parse_number(p, &signal) || signal >= SIGNALS))
		return false;
	if (c == 'r' && (!gdb_parse_range(p, &a->start, &a->end) || a->start > a->end))
		return false;
	return !gdb_parse_char(p, ':') || gdb_parse_thread(p, &a->who);
}

/* ";action…", one of which lets something run: what all threads' holding would lead to, gdb waited for forever. */
static bool parse_actions(const char *p, struct vcont *a, unsigned *n)
{
	bool runs = false;

	for (*n = 0; gdb_parse_char(&p, ';'); ++*n) {
		if (*n == ACTIONS || !parse_action(&p, &a[*n]))
			return false;
		runs |= a[*n].action != GDB_HOLD;
	}
	return runs && !*p;
}

/* What a thread is to do: what the first action says that names it, or hold; what gdb let go goes on. */
static struct vcont action_of(const struct gdb *g, struct gdb_thread t, const struct vcont *a, unsigned n)
{
	if (gdb_is_detached(g, t.pid))
		return (struct vcont){.action = GDB_CONTINUE};
	for (; n--; a++)
		if (gdb_thread_fits(a->who, t))
			return *a;
	return (struct vcont){.action = GDB_HOLD};
}

void gdb_vcont(struct gdb *g, const char *p)
{
	const struct gdb_target *target = g->target;
	struct vcont a[ACTIONS];
	struct gdb_thread t;
	unsigned n;

	if (!parse_actions(p, a, &n)) {
		gdb_reply(g, GDB_INVALID);
		return;
	}
	for (unsigned i = 0; target->thread(target->context, i, &t); i++)
		if (action_of(g, t, a, n).action == GDB_STEP && !target->can_step(target->context, t)) {
			gdb_reply(g, GDB_INVALID);
			return;
		}
	for (unsigned i = 0; target->thread(target->context, i, &t); i++) {
		struct vcont todo = action_of(g, t, a, n);

		target->action(target->context, t, todo.action);
		if (todo.start != todo.end)
			target->step_range(target->context, t, todo.start, todo.end);
	}
	g->running = true;
	g->still = false;
	target->resume(target->context);
}
