/* SPDX-License-Identifier: MIT */
/* AFL++'s target (make fuzz): what may come over the line to guest/gdb*.c, while threads come and go, and aborts where a promise
 * of guest/gdb.h does not hold.
 *
 * Input, in lines: `$` a packet, framed soundly here; `<` bytes as they are; `!x` something stops, `@x` a process ends or begins,
 * as x says. */
#include "guest/gdb.h"
#include "tools/host/fuzz.h"

#define PIDS 4u
#define TIDS 2u
#define MEMORY 512u
#define BASE 0x1000u

static struct gdb gdb;
static bool stands, stop_wanted;
static unsigned replies;
static bool gone[PIDS + 1];
static bool acted[PIDS + 1][TIDS + 1];
static struct gdb_thread stepping;
static uint64_t reg[GDB_REGS];
static uint8_t memory[MEMORY];

static int digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : 0;

	return at ? (int)(at - digits) : -1;
}

static void on_send(void *c, const char *bytes, size_t n)
{
	uint8_t sum = 0;

	(void)c;
	if (n == 1 && (*bytes == '+' || *bytes == '-'))
		return;
	promise(n >= 4 && n <= GDB_PACKET + 4 && bytes[0] == '$' && bytes[n - 3] == '#', "a reply has a frame, and fits");
	for (size_t i = 1; i < n - 3; i++) {
		promise(bytes[i] != '$' && bytes[i] != '#', "a reply is escaped");
		promise(bytes[i] != '*' || bytes[i - 1] == '*' || (i > 1 && bytes[i + 1] >= ' ' && bytes[i + 1] <= '~'), "repeats are counted");
		sum = (uint8_t)(sum + (uint8_t)bytes[i]);
	}
	promise(digit(bytes[n - 2]) == sum >> 4 && digit(bytes[n - 1]) == (sum & 15), "a reply's checksum");
	promise(!gdb.running, "nothing is said while the machine runs");
	replies++;
}

static void on_stop(void *c)
{
	(void)c;
	stop_wanted = true;
}

static bool there(struct gdb_thread t)
{
	return t.pid >= 1 && t.pid <= PIDS && t.tid >= 1 && t.tid <= TIDS && !gone[t.pid];
}

/* A callback about a thread. */
static void called(struct gdb_thread t)
{
	promise(stands, "everything stands still");
	promise(there(t), "the thread exists");
}

static bool on_thread(void *c, unsigned n, struct gdb_thread *t)
{
	(void)c;
	promise(stands, "everything stands still");
	for (t->pid = 1; t->pid <= PIDS; t->pid++)
		for (t->tid = 1; t->tid <= TIDS; t->tid++)
			if (there(*t) && !n--)
				return true;
	return false;
}

static unsigned on_core(void *c, struct gdb_thread t)
{
	(void)c;
	called(t);
	return t.tid;
}

static void on_describe(void *c, struct gdb_thread t, char *to, size_t room)
{
	(void)c;
	called(t);
	snprintf(to, room, "a \"<name>\" of %u.%u", t.pid, t.tid);
}

static enum gdb_mode on_mode(void *c, struct gdb_thread t)
{
	(void)c;
	called(t);
	return t.pid == 3 ? GDB_I386 : t.pid == 4 ? GDB_I8086 : GDB_X86_64;
}

static bool on_register_read(void *c, struct gdb_thread t, enum gdb_reg r, uint64_t *value)
{
	(void)c;
	called(t);
	promise(r < GDB_REGS, "the register exists");
	*value = reg[r];
	return t.pid != 1 || r != GDB_CR2;
}

static bool on_register_write(void *c, struct gdb_thread t, enum gdb_reg r, uint64_t value)
{
	(void)c;
	called(t);
	promise(r < GDB_REGS, "the register exists");
	reg[r] = value;
	return t.pid != 1;
}

static size_t on_memory_read(void *c, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n)
{
	(void)c;
	called(t);
	promise(n <= GDB_PACKET && (!n || a + n - 1 >= a), "as much as fits a packet, and does not wrap");
	memset(to, 0, n);
	if (a < BASE || a >= BASE + MEMORY)
		return 0;
	if (n > BASE + MEMORY - a)
		n = BASE + MEMORY - a;
	memcpy(to, memory + (a - BASE), n);
	return n;
}

static bool on_memory_write(void *c, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n)
{
	uint8_t copy[GDB_PACKET];

	(void)c;
	called(t);
	promise(n && n <= GDB_PACKET && a + n - 1 >= a, "as much as fits a packet, and does not wrap");
	memcpy(copy, from, n);
	if (a < BASE || a >= BASE + MEMORY || n > BASE + MEMORY - a)
		return false;
	memcpy(memory + (a - BASE), copy, n);
	return true;
}

static bool on_breakpoint(void *c, struct gdb_thread t, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert)
{
	(void)c, (void)n, (void)insert;
	called(t);
	promise(kind < GDB_WATCH_NONE, "what is watched is of a kind that there is");
	return a & 1;
}

static bool on_can_step(void *c, struct gdb_thread t)
{
	(void)c;
	called(t);
	return t.pid != 1;
}

static void on_action(void *c, struct gdb_thread t, enum gdb_action action)
{
	(void)c;
	called(t);
	promise(action == GDB_HOLD || action == GDB_CONTINUE || (action == GDB_STEP && t.pid != 1), "only what can step steps");
	promise(action != GDB_HOLD || !gdb_is_detached(&gdb, t.pid), "what was let go goes on");
	acted[t.pid][t.tid] = true;
	stepping = action == GDB_STEP ? t : (struct gdb_thread){0};
}

static void on_step_range(void *c, struct gdb_thread t, uint64_t start, uint64_t end)
{
	(void)c;
	called(t);
	promise(gdb_same_thread(t, stepping) && start < end, "a range is of a thread that steps");
}

static bool on_kill(void *c, unsigned pid)
{
	(void)c;
	promise(stands && pid <= PIDS && !gone[pid] && !gdb_is_detached(&gdb, pid), "a process that gdb debugs is killed");
	gone[pid] = pid != 1;
	return pid != 1;
}

static void on_detach(void *c, unsigned pid)
{
	(void)c;
	promise(stands && pid && pid < GDB_PROCESSES, "a process is let go while everything stands still");
}

static void on_resume(void *c)
{
	struct gdb_thread t;

	(void)c;
	for (unsigned i = 0; on_thread(0, i, &t); i++)
		promise(acted[t.pid][t.tid], "each thread is told what to do");
	stands = false;
}

static const struct gdb_target target = {
	.send = on_send,
	.stop = on_stop,
	.thread = on_thread,
	.core = on_core,
	.describe = on_describe,
	.mode = on_mode,
	.register_read = on_register_read,
	.register_write = on_register_write,
	.memory_read = on_memory_read,
	.memory_write = on_memory_write,
	.breakpoint = on_breakpoint,
	.can_step = on_can_step,
	.action = on_action,
	.step_range = on_step_range,
	.kill = on_kill,
	.detach = on_detach,
	.resume = on_resume,
};

static void stand_still(unsigned x, enum gdb_why why)
{
	struct gdb_thread t = {1 + x % PIDS, 1 + x / PIDS % TIDS};
	bool waits = gdb.running;

	stop_wanted = false;
	stands = true;
	memset(acted, 0, sizeof acted);
	replies = 0;
	gdb_stopped(&gdb, there(t) ? t : (struct gdb_thread){1, 1}, why);
	promise(replies == waits && !gdb.running, "who waits is told of a stop, once");
}

static void feed(uint8_t byte)
{
	gdb_receive(&gdb, byte);
	if (stop_wanted)
		stand_still(byte, gdb.running ? GDB_BREAK_IN : GDB_ATTACH);
}

static void packet(const uint8_t *p, size_t n)
{
	bool was_attached, was_running;
	uint8_t sum = 0;
	char tail[4];

	feed('$');
	for (size_t i = 0; i < n; i++) {
		sum = (uint8_t)(sum + p[i]);
		feed(p[i]);
	}
	snprintf(tail, sizeof tail, "#%02x", sum);
	feed((uint8_t)tail[0]);
	feed((uint8_t)tail[1]);
	was_attached = gdb.attached;
	was_running = gdb.running;
	replies = 0;
	gdb_receive(&gdb, (uint8_t)tail[2]);
	if (was_attached && !was_running && !memchr(p, '$', n) && !memchr(p, '#', n) && !memchr(p, 3, n))
		promise(replies == !gdb.running, "a packet has one answer, or lets the machine run");
	if (stop_wanted)
		stand_still((unsigned)n, GDB_ATTACH);
	promise(!gdb.running || !stands || !gdb.attached, "gdb knows whether the machine runs");
}

static void process(unsigned pid)
{
	if (pid == 1 || stands)
		return;
	gone[pid] = !gone[pid];
	if (!gone[pid] || !gdb.running || !gdb_debugs(&gdb, pid))
		return;
	stands = true;
	memset(acted, 0, sizeof acted);
	replies = 0;
	gdb_exited(&gdb, pid, 0);
	promise(replies == 1 && !gdb.running && !gdb_debugs(&gdb, pid), "the end of a process is told, once");
}

static void line(const uint8_t *p, size_t n)
{
	uint8_t x = n > 1 ? p[1] : 0;

	if (!n)
		return;
	if (*p == '$') {
		packet(p + 1, n - 1);
	} else if (*p == '!') {
		if (!stands)
			stand_still(x, x & 0x40 ? GDB_BREAKPOINT : GDB_STEPPED);
	} else if (*p == '@') {
		process(1 + x % PIDS);
	} else {
		for (size_t i = *p == '<'; i < n; i++)
			feed(p[i]);
	}
}

static void one(const uint8_t *p, size_t n)
{
	stands = stop_wanted = false;
	memset(gone, 0, sizeof gone);
	memset(&gdb, 0xa5, sizeof gdb);
	for (unsigned r = 0; r < GDB_REGS; r++)
		reg[r] = 0x0123456789abcdefUL * (r + 1);
	for (unsigned i = 0; i < MEMORY; i++)
		memory[i] = (uint8_t)i;
	gdb_init(&gdb, &target);
	while (n) {
		const uint8_t *end = memchr(p, '\n', n);
		size_t bytes = end ? (size_t)(end - p) : n;

		line(p, bytes);
		p += bytes + !!end;
		n -= bytes + !!end;
	}
}

int main(void)
{
	return fuzz(one, 10000);
}
