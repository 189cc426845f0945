/* SPDX-License-Identifier: MIT */
/* gdb comes and goes, and picks processes: qSupported, vAttach, D, vKill (gdb manual, appendices E.2 and E.4). */
#include "guest/gdb.h"

/* No breakpoint is left of a gdb that went without a word. */
static void begin_session(struct gdb *g)
{
	g->fresh = false;
	g->known = 0;
	for (unsigned i = 1; i < GDB_PROCESSES; i++)
		g->target->detach(g->target->context, i);
}

/* gdb is gone, or has nothing to do with any process: all go on. */
static void release(struct gdb *g)
{
	struct gdb_thread t;

	g->attached = false;
	for (unsigned i = 0; g->target->thread(g->target->context, i, &t); i++)
		g->target->action(g->target->context, t, GDB_CONTINUE);
	g->still = false;
	g->target->resume(g->target->context);
}

/* gdb hears of processes that have threads, and is to hear of their end. */
static void note_processes(struct gdb *g)
{
	struct gdb_thread t;

	for (unsigned i = 0; g->target->thread(g->target->context, i, &t); i++)
		if (t.pid < GDB_PROCESSES)
			g->known |= 1UL << t.pid;
}

void gdb_attach(struct gdb *g)
{
	bool stands_still = g->still; /* for the gdb before this one, or for the first (gdb=wait) */

	g->no_ack = g->extended = g->running = false;
	g->resends = 0;
	gdb_reply(g, "PacketSize=1000;multiprocess+;qXfer:features:read+;qXfer:threads:read+;qXfer:exec-file:read+;swbreak+;hwbreak+;"
		"vContSupported+");
	g->attached = g->fresh = true;
	g->detached = g->described = 0;
	g->wanted = 0;
	g->why = GDB_ATTACH;
	for (unsigned i = 0; i < GDB_PROCESSES; i++)
		g->mode[i] = GDB_X86_64;
	if (!stands_still) {
		g->target->stop(g->target->context);
		return;
	}
	begin_session(g);
	note_processes(g);
}

bool gdb_debugs(const struct gdb *g, unsigned pid)
{
	return g->attached && pid < GDB_PROCESSES && g->known >> pid & 1 && !gdb_is_detached(g, pid);
}

void gdb_stopped(struct gdb *g, struct gdb_thread t, enum gdb_why why)
{
	bool waits = g->running;

	if (g->fresh)
		begin_session(g);
	g->still = true;
	g->running = false;
	note_processes(g);
	if (g->wanted && !gdb_find(g, (struct gdb_thread){g->wanted, GDB_ANY}, &t)) {
		g->wanted = 0;
		gdb_reply(g, GDB_NO_THREAD);
		release(g);
		return;
	}
	if (gdb_is_detached(g, t.pid) && gdb_find(g, (struct gdb_thread){GDB_ANY, GDB_ANY}, &t) && why != GDB_BREAK_IN)
		why = GDB_ATTACH; /* that is nothing to gdb */
	g->stopped_thread = g->general = t;
	g->why = g->wanted ? GDB_ATTACH : why;
	g->wanted = 0;
	if (waits)
		gdb_reply_stop(g);
}

/* Of a process that was let go. When all were, gdb waits for everything to stand still. */
void gdb_attach_process(struct gdb *g, const char *p)
{
	struct gdb_thread t;
	uint64_t pid;

	if (!gdb_parse_number(&p, &pid) || *p || !pid || pid >= GDB_PROCESSES) {
		gdb_reply(g, GDB_INVALID);
		return;
	}
	g->described &= ~(1UL << pid); /* gdb has forgotten it, and asks again behind the stop */
	if (!g->attached) {
		g->attached = g->running = true;
		g->detached = ~(1UL << pid);
		g->wanted = (unsigned)pid;
		g->target->stop(g->target->context);
		return;
	}
	g->detached &= ~(1UL << pid);
	if (!gdb_find(g, (struct gdb_thread){(unsigned)pid, GDB_ANY}, &t)) {
		g->detached |= 1UL << pid;
		gdb_reply(g, GDB_NO_THREAD);
		return;
	}
	g->stopped_thread = g->general = t;
	g->why = GDB_ATTACH;
	gdb_reply_stop(g);
}

void gdb_detach(struct gdb *g, const char *p)
{
	struct gdb_thread t;
	uint64_t pid = 0;

	if (gdb_parse_char(&p, ';') && (!gdb_parse_number(&p, &pid) || !pid || pid >= GDB_PROCESSES)) {
		gdb_reply(g, GDB_INVALID);
		return;
	}
	for (unsigned i = 1; i < GDB_PROCESSES; i++) {
		if (gdb_is_detached(g, i) || (pid && i != pid))
			continue;
		g->target->detach(g->target->context, i);
		g->detached |= 1UL << i;
	}
	gdb_reply(g, "OK");
	if (!gdb_find(g, (struct gdb_thread){GDB_ANY, GDB_ANY}, &t))
		release(g);
}

void gdb_kill(struct gdb *g, const char *p)
{
	uint64_t pid;

	if (!gdb_parse_number(&p, &pid) || *p || pid >= GDB_PROCESSES || !gdb_debugs(g, (unsigned)pid)) {
		gdb_reply(g, GDB_NO_THREAD);
	} else if (!g->target->kill(g->target->context, (unsigned)pid)) {
		gdb_reply(g, GDB_REFUSED);
	} else {
		g->known &= ~(1UL << pid); /* its end is not news */
		gdb_reply(g, "OK");
	}
}
