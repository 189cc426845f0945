/* SPDX-License-Identifier: MIT */
/* Registers, memory and breakpoints (gdb manual, appendix E.2). */
#include "guest/gdb.h"

/* ---- registers ---- */

/* Any but "system". */
static bool read_value(struct gdb *g, struct gdb_thread t, const struct gdb_register *r, uint64_t value[GDB_PIECES])
{
	for (unsigned i = 0; i * 64 < r->bits; i++)
		if (!g->target->register_read(g->target->context, t, r->reg + i, &value[i]))
			return false;
	return true;
}

static void reply_unknown(struct gdb *g, unsigned bits)
{
	for (unsigned i = 0; i < bits / 8; i++)
		gdb_reply_text(g, "xx");
}

/* All of it, or all unknown: gdb takes nothing in between. */
static void reply_system(struct gdb *g, struct gdb_thread t)
{
	const struct gdb_register *r;
	uint64_t value[GDB_PIECES];
	bool known = true;

	for (unsigned i = 0; known && (r = gdb_system_part(i)); i++)
		known = read_value(g, t, r, value);
	for (unsigned i = 0; (r = gdb_system_part(i)); i++)
		if (known && read_value(g, t, r, value))
			gdb_reply_hex(g, value, r->bits / 8);
		else
			reply_unknown(g, r->bits);
}

static void reply_register(struct gdb *g, struct gdb_thread t, const struct gdb_register *r)
{
	uint64_t value[GDB_PIECES];

	if (r->reg == GDB_SYSTEM)
		reply_system(g, t);
	else if (read_value(g, t, r, value))
		gdb_reply_hex(g, value, r->bits / 8);
	else
		reply_unknown(g, r->bits);
}

void gdb_read_registers(struct gdb *g)
{
	struct gdb_thread t;
	enum gdb_mode mode;

	if (!gdb_general(g, &t))
		return;
	mode = g->mode[t.pid];
	gdb_reply_begin(g);
	for (unsigned i = 0; i < gdb_g_registers(mode); i++)
		reply_register(g, t, gdb_register(mode, i));
	gdb_reply_end(g);
}

/* What does not change may be written to any register that can be read. */
static bool write_value(struct gdb *g, struct gdb_thread t, const struct gdb_register *r, const char **p)
{
	uint64_t value[GDB_PIECES] = {0}, old[GDB_PIECES];

	if (!gdb_parse_hex(p, (uint8_t *)value, r->bits / 8) || !read_value(g, t, r, old))
		return false;
	if (r->bits == 32)
		old[0] = (uint32_t)old[0];
	for (unsigned i = 0; i * 64 < r->bits; i++)
		if (value[i] != old[i] && !g->target->register_write(g->target->context, t, r->reg + i, value[i]))
			return false;
	return true;
}

static bool write_register(struct gdb *g, struct gdb_thread t, const struct gdb_register *r, const char **p)
{
	bool ok = true;

	if (r->reg != GDB_SYSTEM)
		return write_value(g, t, r, p);
	for (unsigned i = 0; ok && (r = gdb_system_part(i)); i++)
		ok = write_value(g, t, r, p);
	return ok;
}

/* All of them or those before the first that cannot be written. */
void gdb_write_registers(struct gdb *g, const char *p)
{
	struct gdb_thread t;
	enum gdb_mode mode;
	bool ok = true;

	if (!gdb_general(g, &t))
		return;
	mode = g->mode[t.pid];
	for (unsigned i = 0; ok && i < gdb_g_registers(mode); i++)
		ok = write_register(g, t, gdb_register(mode, i), &p);
	gdb_reply(g, ok ? "OK" : GDB_INVALID);
}

void gdb_one_register(struct gdb *g, const char *p, bool write)
{
	const struct gdb_register *r;
	struct gdb_thread t;
	uint64_t n;

	if (!gdb_general(g, &t))
		return;
	r = gdb_parse_number(&p, &n) && n <= GDB_PACKET ? gdb_register(g->mode[t.pid], (unsigned)n) : 0;
	if (!r) {
		gdb_reply(g, GDB_INVALID);
	} else if (write) {
		gdb_reply(g, gdb_parse_char(&p, '=') && write_register(g, t, r, &p) ? "OK" : GDB_INVALID);
	} else {
		gdb_reply_begin(g);
		reply_register(g, t, r);
		gdb_reply_end(g);
	}
}

/* ---- memory ---- */

void gdb_read_memory(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_PACKET / 2];
	struct gdb_thread t;
	uint64_t a, n;
	size_t got;

	if (!gdb_general(g, &t))
		return;
	if (!gdb_parse_range(&p, &a, &n)) {
		gdb_reply(g, GDB_INVALID);
		return;
	}
	if (n > sizeof bytes)
		n = sizeof bytes;
	if (a + n < a) /* it is not to go on at 0 */
		n = -a;
	got = g->target->memory_read(g->target->context, t, a, bytes, n);
	if (n && !got) {
		gdb_reply(g, GDB_FAULT);
		return;
	}
	gdb_reply_begin(g);
	gdb_reply_hex(g, bytes, got);
	gdb_reply_end(g);
}

/* M: hexadecimal; X: the bytes themselves. */
void gdb_write_memory(struct gdb *g, const char *p, bool binary)
{
	uint8_t bytes[GDB_PACKET / 2];
	const uint8_t *from = bytes;
	struct gdb_thread t;
	uint64_t a, n;
	size_t left;
	bool ok;

	if (!gdb_general(g, &t))
		return;
	ok = gdb_parse_range(&p, &a, &n) && gdb_parse_char(&p, ':');
	left = ok ? g->in_n - (size_t)(p - g->in) : 0;
	if (binary) {
		ok = ok && n == left;
		from = (const uint8_t *)p;
	} else {
		ok = ok && n <= sizeof bytes && n * 2 == left && gdb_parse_hex(&p, bytes, n);
	}
	if (!ok)
		gdb_reply(g, GDB_INVALID);
	else if (n && a + n - 1 < a)
		gdb_reply(g, GDB_FAULT);
	else
		gdb_reply(g, !n || g->target->memory_write(g->target->context, t, a, from, n) ? "OK" : GDB_FAULT);
}

void gdb_breakpoint(struct gdb *g, const char *p, bool insert)
{
	uint64_t kind, a, n;
	struct gdb_thread t;
	bool ok;

	if (!gdb_parse_number(&p, &kind) || kind >= GDB_WATCH_NONE) {
		gdb_reply(g, "");
		return;
	}
	if (!gdb_general(g, &t))
		return;
	ok = gdb_parse_char(&p, ',') && gdb_parse_range(&p, &a, &n);
	gdb_reply(g,
		ok && g->target->breakpoint(g->target->context, t, (enum gdb_watch)kind, a, n, insert) ? "OK" : GDB_FAULT);
}
