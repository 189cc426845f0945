/* SPDX-License-Identifier: MIT */
/* qXfer: texts that gdb reads in pieces (gdb manual, appendices E.4, F and G). */
#include "guest/gdb.h"
#include "guest/text.h"

#define NAME 64

/* The piece of a text that gdb wants. */
struct piece {
	struct gdb *g;
	uint64_t skip, left; /* bytes before it, bytes of it */
	bool more;           /* behind it, or what the reply has no room for */
};

static bool piece_begin(struct gdb *g, struct piece *w, const char *p)
{
	*w = (struct piece){.g = g};
	if (!gdb_parse_range(&p, &w->skip, &w->left) || *p)
		return false;
	gdb_reply_begin(g);
	gdb_reply_char(g, 'l');
	return true;
}

static void piece_char(struct piece *w, char c)
{
	if (w->skip) {
		w->skip--;
	} else if (w->left && gdb_reply_room(w->g) >= 2) { /* it may have to be escaped */
		w->left--;
		gdb_reply_char(w->g, c);
	} else {
		w->more = true;
	}
}

static void piece_text(struct piece *w, const char *s)
{
	while (*s)
		piece_char(w, *s++);
}

static void piece_end(struct piece *w)
{
	if (w->more)
		w->g->out[1] = 'm';
	gdb_reply_end(w->g);
}

/* target.xml:offset,length */
static void read_features(struct gdb *g, const char *p)
{
	struct gdb_thread t;
	uint64_t value;
	struct piece w;

	if (!gdb_parse_word(&p, "target.xml:")) {
		gdb_reply(g, "E00");
		return;
	}
	if (!gdb_general(g, &t))
		return;
	if (!piece_begin(g, &w, p)) {
		gdb_reply(g, "E00");
		return;
	}
	/* Asked from the start: the vCPU may have another mode by now. */
	if (!w.skip)
		g->mode[t.pid] = (uint8_t)g->target->mode(g->target->context, t);
	g->described |= 1UL << t.pid;
	gdb_describe_target(g->mode[t.pid], g->target->register_read(g->target->context, t, GDB_YMMH, &value), g->text,
		sizeof g->text);
	piece_text(&w, g->text);
	piece_end(&w);
}

/* In an XML attribute. */
static void piece_quoted(struct piece *w, const char *s)
{
	for (; *s; s++)
		if (*s == '&' || *s == '<' || *s == '>' || *s == '"' || (unsigned char)*s < ' ' || (unsigned char)*s > '~')
			piece_char(w, '?');
		else
			piece_char(w, *s);
}

static void piece_thread(struct piece *w, struct gdb_thread t)
{
	const struct gdb_target *target = w->g->target;
	char name[NAME], text[NAME];

	text_format(text, sizeof text, "<thread id=\"p%x.%x\" core=\"%u\" name=\"", t.pid, t.tid, target->core(target->context, t));
	target->describe(target->context, t, name, sizeof name);
	piece_text(w, text);
	piece_quoted(w, name);
	piece_text(w, "\"/>");
}

/* :offset,length; the annex is empty */
static void read_threads(struct gdb *g, const char *p)
{
	struct gdb_thread t;
	struct piece w;

	if (!gdb_parse_char(&p, ':') || !piece_begin(g, &w, p)) {
		gdb_reply(g, "E00");
		return;
	}
	piece_text(&w, "<?xml version=\"1.0\"?><threads>");
	for (unsigned i = 0; g->target->thread(g->target->context, i, &t); i++)
		if (!gdb_is_detached(g, t.pid))
			piece_thread(&w, t);
	piece_text(&w, "</threads>");
	piece_end(&w);
}

/* process:offset,length. gdb looks for the file in its own directory. What a guest is made of has no name here. */
static void read_exec_file(struct gdb *g, const char *p)
{
	struct piece w;
	uint64_t pid;

	if (!gdb_parse_number(&p, &pid) || pid != GDB_HYPERVISOR || !gdb_parse_char(&p, ':') || !piece_begin(g, &w, p)) {
		gdb_reply(g, "E00");
		return;
	}
	piece_text(&w, "umbra.elf");
	piece_end(&w);
}

void gdb_xfer(struct gdb *g, const char *p)
{
	if (gdb_parse_word(&p, "features:read:"))
		read_features(g, p);
	else if (gdb_parse_word(&p, "threads:read:"))
		read_threads(g, p);
	else if (gdb_parse_word(&p, "exec-file:read:"))
		read_exec_file(g, p);
	else
		gdb_reply(g, "");
}
