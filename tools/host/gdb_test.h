/* SPDX-License-Identifier: MIT */
/* A target for guest/gdb*.c: two CPUs, guest processes 2 and 3 with a thread each, 3 in 32-bit mode. */
#ifndef TOOLS_HOST_GDB_TEST_H
#define TOOLS_HOST_GDB_TEST_H

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
	bool empty; /* no process has threads */
	bool runs; /* everything; nothing but send and stop is called then */
	bool quoted; /* names need it */
	bool is_16bit; /* process 3 is */
	enum gdb_reg unknown; /* of the hypervisor */
	unsigned writes; /* of registers */
	uint64_t reg[4][GDB_REGS];
	uint8_t memory[MEMORY];
	uint64_t breakpoint, watch_bytes;
	enum gdb_watch watch;
	enum gdb_action action[4];
	uint64_t range[4][2];
} fake;

static const struct gdb_thread threads[] = {{1, 1}, {1, 2}, {2, 1}, {3, 1}};

static inline unsigned index_of(struct gdb_thread t)
{
	unsigned i = 0;

	while (threads[i].pid != t.pid || threads[i].tid != t.tid)
		assert_true(++i < 4);
	return i;
}

static inline void on_send(void *c, const char *bytes, size_t n)
{
	(void)c;
	assert_true(fake.out_n + n < OUT);
	memcpy(fake.out + fake.out_n, bytes, n);
	fake.out[fake.out_n += n] = 0;
}
static inline void on_stop(void *c) { (void)c, fake.stops++; }
static inline void on_resume(void *c) { (void)c, fake.resumes++, fake.runs = true; }
static inline bool on_thread(void *c, unsigned n, struct gdb_thread *t)
{
	(void)c;
	assert_false(fake.runs);
	if (fake.gone && n >= 2)
		n++;
	if (n >= 4 || fake.empty)
		return false;
	*t = threads[n];
	return true;
}
static inline void on_describe(void *c, struct gdb_thread t, char *to, size_t room)
{
	(void)c;
	snprintf(to, room, fake.quoted ? "<& t%u\"" : "t%u", index_of(t));
}
static inline enum gdb_mode on_mode(void *c, struct gdb_thread t)
{
	(void)c;
	return t.pid != 3 ? GDB_X86_64 : fake.is_16bit ? GDB_I8086 : GDB_I386;
}
static inline bool on_register_read(void *c, struct gdb_thread t, enum gdb_reg r, uint64_t *value)
{
	(void)c;
	assert_true(r < GDB_REGS);
	*value = fake.reg[index_of(t)][r];
	return t.pid != 1 || !fake.unknown || r != fake.unknown;
}
static inline bool on_register_write(void *c, struct gdb_thread t, enum gdb_reg r, uint64_t value)
{
	(void)c;
	if (t.pid == 1)
		return false;
	fake.reg[index_of(t)][r] = value;
	fake.writes++;
	return true;
}
static inline size_t on_memory_read(void *c, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n)
{
	(void)c, (void)t;
	assert_true(!n || a + n - 1 >= a);
	if (a + n == 0 && n) { /* the last bytes there are */
		memset(to, 0x77, n);
		return n;
	}
	if (a < BASE || a >= BASE + MEMORY)
		return 0;
	if (n > BASE + MEMORY - a)
		n = BASE + MEMORY - a;
	memcpy(to, fake.memory + (a - BASE), n);
	return n;
}
static inline bool on_memory_write(void *c, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n)
{
	(void)c, (void)t;
	assert_true(a + n - 1 >= a);
	if (a < BASE || a >= BASE + MEMORY || n > BASE + MEMORY - a)
		return false;
	memcpy(fake.memory + (a - BASE), from, n);
	return true;
}
static inline bool on_breakpoint(void *c, struct gdb_thread t, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert)
{
	(void)c;
	if (t.pid == 1)
		return false;
	fake.breakpoint = insert ? a : 0;
	fake.watch = kind;
	fake.watch_bytes = n;
	return true;
}
static inline bool on_can_step(void *c, struct gdb_thread t) { return (void)c, t.pid != 1; }
static inline void on_action(void *c, struct gdb_thread t, enum gdb_action a) { (void)c, fake.action[index_of(t)] = a; }
static inline unsigned on_core(void *c, struct gdb_thread t) { return (void)c, 8 + index_of(t); }
static inline bool on_kill(void *c, unsigned pid)
{
	(void)c;
	assert_false(fake.runs);
	fake.gone |= pid == 2;
	return pid == 2;
}
static inline void on_detach(void *c, unsigned pid)
{
	(void)c;
	assert_false(fake.runs);
	fake.detached |= 1UL << pid;
}

static inline void on_step_range(void *c, struct gdb_thread t, uint64_t start, uint64_t end)
{
	(void)c;
	assert_int_equal(fake.action[index_of(t)], GDB_STEP);
	fake.range[index_of(t)][0] = start;
	fake.range[index_of(t)][1] = end;
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

static inline void feed(const char *bytes, size_t n)
{
	fake.out_n = 0;
	fake.out[0] = 0;
	for (size_t i = 0; i < n; i++)
		gdb_receive(&gdb, (uint8_t)bytes[i]);
}

static inline void packet_n(const char *data, size_t n)
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

/* The packet's data at p, with run-length encoding undone. */
static inline const char *expanded(const char *p)
{
	static char text[2 * GDB_PACKET * 97];
	size_t n = 0;

	for (; *p && *p != '#'; p++) {
		if (*p == '}')
			text[n++] = *p++;
		else if (*p == '*') {
			assert_true(n && p[1] >= ' ' + 0 && p[1] != '#' && p[1] != '$' && p[1] <= '~');
			for (int i = *++p - 29; i; i--, n++)
				text[n] = text[n - 1];
			continue;
		}
		text[n++] = *p;
	}
	text[n] = 0;
	return text;
}

/* What came out is `want`, framed soundly and, for a packet's answer, acknowledged; more: what begins so will do. */
static inline void expect(const char *want, bool acknowledged, bool more)
{
	const char *p = fake.out;
	uint8_t sum = 0;
	char tail[4];

	if (acknowledged)
		assert_int_equal(*p++, '+');
	assert_int_equal(*p++, '$');
	assert_memory_equal(expanded(p), want, strlen(want));
	if (!more)
		assert_string_equal(expanded(p), want);
	for (; *p != '#'; p++)
		sum = (uint8_t)(sum + (uint8_t)*p);
	sprintf(tail, "#%02x", sum);
	assert_string_equal(p, tail);
}

static inline void ask(const char *data, const char *want)
{
	packet_n(data, strlen(data));
	expect(want, true, false);
	feed("+", 1);
}

/* Everything stands still. */
static inline void stand_still(unsigned thread, enum gdb_why why)
{
	fake.runs = false;
	fake.out_n = 0;
	gdb_stopped(&gdb, threads[thread], why);
}

static inline int set_up(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof fake);
	fake.runs = true;
	for (unsigned i = 0; i < MEMORY; i++)
		fake.memory[i] = (uint8_t)i;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned r = 0; r < GDB_REGS; r++)
			fake.reg[i][r] = 0x1122334455660000 + i * 256 + r;
	memset(&gdb, 0xa5, sizeof gdb);
	gdb_init(&gdb, &target);
	return 0;
}

#define SUPPORTED "PacketSize=1000;multiprocess+;qXfer:features:read+;qXfer:threads:read+;qXfer:exec-file:read+;swbreak+;hwbreak+;" \
	"vContSupported+"

static inline int set_up_attached(void **state)
{
	set_up(state);
	ask("qSupported:multiprocess+;swbreak+;xmlRegisters=i386", SUPPORTED);
	assert_int_equal(fake.stops, 1);
	stand_still(0, GDB_ATTACH);
	assert_int_equal(fake.out_n, 0);
	fake.detached = 0;
	return 0;
}

static inline void expect_actions(enum gdb_action cpu, enum gdb_action second, enum gdb_action third)
{
	assert_int_equal(fake.action[0], cpu);
	assert_int_equal(fake.action[1], cpu);
	assert_int_equal(fake.action[2], second);
	assert_int_equal(fake.action[3], third);
}

#endif
