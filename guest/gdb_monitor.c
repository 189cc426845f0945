/* SPDX-License-Identifier: MIT */
/* gdb's `monitor …`: qRcmd, answered by a packet for each row (gdb manual, appendix E.4). */
#include "guest/gdb.h"
#include "guest/text.h"

#define LINE 200 /* longest command, bytes */

static void put(void *to, const char *row)
{
	struct gdb *g = to;

	gdb_reply_begin(g);
	gdb_reply_char(g, 'O');
	gdb_reply_hex(g, row, text_length(row));
	gdb_reply_hex(g, "\n", 1);
	gdb_reply_end(g);
}

void gdb_monitor(struct gdb *g, const char *p)
{
	size_t n = text_length(p) / 2;
	uint8_t line[LINE + 1];

	if (n > LINE || !gdb_parse_hex(&p, line, n) || *p) {
		gdb_reply(g, GDB_INVALID);
		return;
	}
	line[n] = 0;
	g->target->monitor(g->target->context, (const char *)line, put, g);
	gdb_reply(g, "OK");
}
