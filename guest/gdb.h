/* SPDX-License-Identifier: MIT */
/* gdb's remote serial protocol (gdb manual, appendix E), the stub's side: bytes in, bytes out. What stands behind
 * it, the hypervisor and its guests, is in the callbacks.
 *
 * Multiprocess: process 1 is the hypervisor with a thread per CPU, process 2 and on are the guests with a thread per
 * vCPU. All-stop. A packet that is damaged, too long or not understood is answered by `-`, an error or an empty
 * reply; while the machine runs, only a whole and sound qSupported, or the byte 0x03 from a gdb that has attached,
 * stops it, or vAttach from one that stayed (extended-remote) when it let the last process go. */
#ifndef GUEST_GDB_H
#define GUEST_GDB_H

#include "guest/gdb_regs.h"
#include "guest/gdb_watch.h"

#define GDB_PACKET 4096   /* longest packet either way, bytes between $ and # */
#define GDB_PROCESSES 64  /* numbers a process may have are below */
#define GDB_HYPERVISOR 1u /* its process number; guest i's is GDB_HYPERVISOR + 1 + i */

/* Both from 1. As an argument of a packet also GDB_ANY or GDB_ALL. */
struct gdb_thread {
	unsigned pid, tid;
};
#define GDB_ANY 0u
#define GDB_ALL (~0u)

enum gdb_action { GDB_HOLD, GDB_CONTINUE, GDB_STEP };

/* Why the machine stopped. */
enum gdb_why { GDB_ATTACH, GDB_BREAK_IN, GDB_BREAKPOINT, GDB_BREAKPOINT_HARD, GDB_STEPPED, GDB_PANICKED, GDB_WATCHED };

/* All but send and stop are called while everything stands still. */
struct gdb_target {
	void *context;
	void (*send)(void *context, const char *bytes, size_t n);
	/* Everything is to stand still: nothing more is fed before it does. */
	void (*stop)(void *context);
	/* The n-th thread, those of a process in a row; false: there are no more. */
	bool (*thread)(void *context, unsigned n, struct gdb_thread *t);
	/* The CPU that it runs on. */
	unsigned (*core)(void *context, struct gdb_thread t);
	/* What to call it, for people. */
	void (*describe)(void *context, struct gdb_thread t, char *to, size_t room);
	enum gdb_mode (*mode)(void *context, struct gdb_thread t);
	bool (*register_read)(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t *value);
	bool (*register_write)(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t value);
	/* Bytes read from address a on, at most n. */
	size_t (*memory_read)(void *context, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n);
	bool (*memory_write)(void *context, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n);
	/* n: bytes, of what is watched. */
	bool (*breakpoint)(void *context, struct gdb_thread t, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert);
	bool (*can_step)(void *context, struct gdb_thread t);
	/* What the thread is to do at the next resume. */
	void (*action)(void *context, struct gdb_thread t, enum gdb_action action);
	/* After the action GDB_STEP: it goes on as long as steps lead to start … end-1, or stops sooner. */
	void (*step_range)(void *context, struct gdb_thread t, uint64_t start, uint64_t end);
	/* Ends the process and no other; its threads are gone at once. False: this one is not to be ended. */
	bool (*kill)(void *context, unsigned pid);
	/* The process is not debugged any more, or never was: its breakpoints go. */
	void (*detach)(void *context, unsigned pid);
	/* On, by the actions. */
	void (*resume)(void *context);
	/* A command of the monitor: each row of its answer, of at most 2000 bytes and without a newline, goes to put. */
	void (*monitor)(void *context, const char *line, void (*put)(void *to, const char *row), void *to);
};

enum gdb_framing { FRAME_IDLE, FRAME_DATA, FRAME_SUM_HIGH, FRAME_SUM_LOW };

struct gdb {
	const struct gdb_target *target;
	bool attached, running;
	bool still;        /* everything stands still */
	bool fresh;        /* gdb has just come: nothing stands still for it yet */
	bool extended;     /* it stays when all processes are let go */
	bool no_ack;       /* neither side acknowledges packets */
	uint64_t detached; /* processes that gdb let go, by number */
	uint64_t known;    /* processes that had threads when everything stood still, and whose end gdb has not heard */
	unsigned wanted;   /* a process that gdb attaches to once everything stands still */

	enum gdb_framing framing;
	bool oversized, escaped;
	uint8_t sum, sum_high;
	size_t in_n;
	char in[GDB_PACKET + 1]; /* unescaped, ends in a zero byte once whole */

	unsigned resends; /* times that it may still be sent again; 0: gdb has it */
	size_t out_n;
	char out[GDB_PACKET + 8]; /* "$…#xx" as sent, for another time */

	struct gdb_thread general; /* of g, m and their like */
	struct gdb_thread stopped_thread;
	enum gdb_why why;
	enum gdb_watch watch; /* of GDB_WATCHED */
	uint64_t watch_at;
	unsigned listed; /* threads told by qfThreadInfo and qsThreadInfo so far */
	/* enum gdb_mode of the description each process was given last, by number: g and p keep to it. Of a process
	 * whose description gdb did not ask for, x86-64: gdb asks for the first's alone, and has 64-bit programs
	 * otherwise. */
	uint8_t mode[GDB_PROCESSES];
	uint64_t described; /* processes whose description gdb asked for, by number */
	char text[GDB_DESCRIPTION]; /* the description being sent */
};

void gdb_init(struct gdb *g, const struct gdb_target *target);
/* A byte from gdb. */
void gdb_receive(struct gdb *g, uint8_t byte);
/* The machine stands still after gdb let it run, or for gdb's attaching. */
void gdb_stopped(struct gdb *g, struct gdb_thread t, enum gdb_why why);
/* The same, with GDB_WATCHED: what is watched at address a was accessed. */
void gdb_watched(struct gdb *g, struct gdb_thread t, enum gdb_watch kind, uint64_t a);
/* gdb is to hear of this process's end. */
bool gdb_debugs(const struct gdb *g, unsigned pid);
/* A process of a running machine came to its end, one that gdb debugs, and the machine stands still for that. */
void gdb_exited(struct gdb *g, unsigned pid, uint8_t status);

/* gdb_packet.c: reply building and number parsing. A reply that does not fit is cut off. */
void gdb_reply_begin(struct gdb *g);
void gdb_reply_char(struct gdb *g, char c);
void gdb_reply_text(struct gdb *g, const char *s);
void gdb_reply_hex(struct gdb *g, const void *bytes, size_t n);
void gdb_reply_number(struct gdb *g, uint64_t value);
void gdb_reply_thread(struct gdb *g, struct gdb_thread t);
void gdb_reply_end(struct gdb *g);
/* Bytes that a reply has room for. */
size_t gdb_reply_room(const struct gdb *g);
/* Each advances *p past what it took. False: not what was to be there. */
bool gdb_parse_number(const char **p, uint64_t *value);
/* a,n */
bool gdb_parse_range(const char **p, uint64_t *a, uint64_t *n);
bool gdb_parse_char(const char **p, char c);
bool gdb_parse_word(const char **p, const char *word);
bool gdb_parse_thread(const char **p, struct gdb_thread *t);
/* n bytes as 2n hexadecimal digits. */
bool gdb_parse_hex(const char **p, uint8_t *to, size_t n);

/* gdb_command.c: answers the packet in g->in, of g->in_n bytes. */
void gdb_command(struct gdb *g);
/* That packet is the first of a gdb: qSupported. */
bool gdb_begins_session(const struct gdb *g);
/* A reply that is no more than that. Errors are numbered as errno is. */
#define GDB_REFUSED "E01"
#define GDB_NO_THREAD "E03"
#define GDB_FAULT "E0e"
#define GDB_INVALID "E16"
void gdb_reply(struct gdb *g, const char *text);
/* The thread that a packet means: one that fits, of a process that is debugged, the one that stopped before others. */
bool gdb_find(struct gdb *g, struct gdb_thread wanted, struct gdb_thread *t);
/* The thread of g, m and their like; false: it is gone, and an error was sent. */
bool gdb_general(struct gdb *g, struct gdb_thread *t);

bool gdb_is_detached(const struct gdb *g, unsigned pid);
/* t is one of those that a packet names. */
bool gdb_thread_fits(struct gdb_thread wanted, struct gdb_thread t);

bool gdb_same_thread(struct gdb_thread a, struct gdb_thread b);

/* gdb_process.c: qSupported, vAttach, D and vKill; p: behind those words. */
void gdb_attach(struct gdb *g);
void gdb_attach_process(struct gdb *g, const char *p);
void gdb_detach(struct gdb *g, const char *p);
void gdb_kill(struct gdb *g, const char *p);

/* gdb_xfer.c: qXfer, p: behind that word. */
void gdb_xfer(struct gdb *g, const char *p);

/* gdb_run.c: why everything stands still; vCont, p: behind that word. */
void gdb_reply_stop(struct gdb *g);
void gdb_vcont(struct gdb *g, const char *p);

/* gdb_monitor.c: the packet qRcmd, behind its comma. */
void gdb_monitor(struct gdb *g, const char *p);
/* gdb_data.c: the packets g, G, p and P, m, M and X, Z and z; p: behind their letters. */
void gdb_read_registers(struct gdb *g);
void gdb_write_registers(struct gdb *g, const char *p);
void gdb_one_register(struct gdb *g, const char *p, bool write);
void gdb_read_memory(struct gdb *g, const char *p);
void gdb_write_memory(struct gdb *g, const char *p, bool binary);
void gdb_breakpoint(struct gdb *g, const char *p, bool insert);

#endif
