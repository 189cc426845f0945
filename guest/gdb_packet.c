/* SPDX-License-Identifier: MIT */
/* Packets: $data#sum, acknowledged by + or - (gdb manual, appendix E.1). */
#include "guest/gdb.h"

#define BREAK_IN 0x03
#define ESCAPE '}'
#define ESCAPE_BIT 0x20
#define RESENDS 8 /* of a packet that does not get through: the line may be noise */
/* x*N is x and N - 29 more of it, N a printable character: a serial line is slow, and registers and memory are full of zeros. */
#define REPEATED '*'
#define REPEATS_BASE 29
#define REPEATS_LEAST 3
#define REPEATS_MOST (size_t)('~' - REPEATS_BASE)

static const char digits[] = "0123456789abcdef";

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void gdb_init(struct gdb *g, const struct gdb_target *target)
{
	g->target = target;
	g->attached = g->running = g->still = g->fresh = g->extended = g->no_ack = false;
	g->detached = g->known = g->described = 0;
	g->wanted = g->resends = 0;
	g->framing = FRAME_IDLE;
	g->out_n = 0;
	g->stopped_thread = g->general = (struct gdb_thread){GDB_HYPERVISOR, 1};
	g->why = GDB_ATTACH;
	g->listed = 0;
	for (unsigned i = 0; i < GDB_PROCESSES; i++)
		g->mode[i] = GDB_X86_64;
}

static void send(struct gdb *g, const char *bytes, size_t n)
{
	g->target->send(g->target->context, bytes, n);
}

static void packet_begin(struct gdb *g)
{
	g->framing = FRAME_DATA;
	g->oversized = g->escaped = false;
	g->in_n = 0;
	g->sum = 0;
}

static void packet_byte(struct gdb *g, uint8_t byte)
{
	if (byte == '#') {
		g->framing = FRAME_SUM_HIGH;
		return;
	}
	g->sum = (uint8_t)(g->sum + byte);
	if (byte == ESCAPE && !g->escaped) {
		g->escaped = true;
		return;
	}
	if (g->in_n == GDB_PACKET)
		g->oversized = true;
	else
		g->in[g->in_n++] = (char)(g->escaped ? byte ^ ESCAPE_BIT : byte);
	g->escaped = false;
}

static void packet_whole(struct gdb *g)
{
	g->in[g->in_n] = 0;
	g->resends = 0; /* gdb goes on, so it has what it was sent */
	if (!g->no_ack || gdb_begins_session(g)) /* which another gdb does, that does not know */
		send(g, "+", 1);
	if (!g->oversized)
		gdb_command(g);
	else if (g->attached && !g->running)
		gdb_reply(g, "E22");
}

void gdb_receive(struct gdb *g, uint8_t byte)
{
	if (byte == BREAK_IN && g->running) { /* gdb sends nothing else then */
		g->framing = FRAME_IDLE;
		g->target->stop(g->target->context);
		return;
	}
	if (byte == '$') { /* never within a packet: where there is one, its end was lost */
		packet_begin(g);
		return;
	}
	switch (g->framing) {
	case FRAME_IDLE:
		if (byte == '+')
			g->resends = 0;
		else if (byte == '-' && g->resends) {
			g->resends--;
			send(g, g->out, g->out_n);
		}
		return;
	case FRAME_DATA:
		packet_byte(g, byte);
		return;
	case FRAME_SUM_HIGH:
		g->sum_high = byte;
		g->framing = FRAME_SUM_LOW;
		return;
	case FRAME_SUM_LOW:
		g->framing = FRAME_IDLE;
		if (digit((char)g->sum_high) == g->sum >> 4 && digit((char)byte) == (g->sum & 15))
			packet_whole(g);
		else if (!g->no_ack)
			send(g, "-", 1);
		return;
	}
}

void gdb_reply_begin(struct gdb *g)
{
	g->out[0] = '$';
	g->out_n = 1;
}

size_t gdb_reply_room(const struct gdb *g)
{
	return GDB_PACKET + 1 - g->out_n;
}

void gdb_reply_char(struct gdb *g, char c)
{
	bool escape = c == '$' || c == '#' || c == ESCAPE || c == '*';

	if (gdb_reply_room(g) < 1u + escape)
		return;
	if (escape) {
		g->out[g->out_n++] = ESCAPE;
		c ^= ESCAPE_BIT;
	}
	g->out[g->out_n++] = c;
}

void gdb_reply_text(struct gdb *g, const char *s)
{
	while (*s)
		gdb_reply_char(g, *s++);
}

void gdb_reply_hex(struct gdb *g, const void *bytes, size_t n)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < n; i++) {
		gdb_reply_char(g, digits[b[i] >> 4]);
		gdb_reply_char(g, digits[b[i] & 15]);
	}
}

void gdb_reply_number(struct gdb *g, uint64_t value)
{
	unsigned shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		gdb_reply_char(g, digits[value >> shift & 15]);
		if (!shift)
			return;
	}
}

void gdb_reply_thread(struct gdb *g, struct gdb_thread t)
{
	gdb_reply_char(g, 'p');
	gdb_reply_number(g, t.pid);
	gdb_reply_char(g, '.');
	gdb_reply_number(g, t.tid);
}

/* How often the character at p comes again at once, at most up to end. What tells that may have no meaning of its own on the line. */
static size_t repeats(const char *p, const char *end)
{
	size_t n = 0;
	char c;

	while (n < REPEATS_MOST && p + n + 1 < end && p[n + 1] == *p)
		n++;
	for (c = (char)(n + REPEATS_BASE); n >= REPEATS_LEAST && (c == '#' || c == '$' || c == '+' || c == '-'); c--)
		n--;
	return n >= REPEATS_LEAST ? n : 0;
}

/* In place. */
static void shorten(struct gdb *g)
{
	const char *end = g->out + g->out_n;
	char *to = g->out + 1;

	for (const char *p = to; p < end; p++) {
		size_t n = repeats(p, end);

		*to++ = *p;
		if (n) {
			*to++ = REPEATED;
			*to++ = (char)(n + REPEATS_BASE);
		}
		p += n;
	}
	g->out_n = (size_t)(to - g->out);
}

void gdb_reply_end(struct gdb *g)
{
	uint8_t sum = 0;

	shorten(g);
	for (size_t i = 1; i < g->out_n; i++)
		sum = (uint8_t)(sum + (uint8_t)g->out[i]);
	g->out[g->out_n++] = '#';
	g->out[g->out_n++] = digits[sum >> 4];
	g->out[g->out_n++] = digits[sum & 15];
	g->resends = g->attached && !g->no_ack ? RESENDS : 0;
	send(g, g->out, g->out_n);
}

bool gdb_parse_char(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

bool gdb_parse_word(const char **p, const char *word)
{
	const char *at = *p;

	for (; *word; word++)
		if (*at++ != *word)
			return false;
	*p = at;
	return true;
}

bool gdb_parse_number(const char **p, uint64_t *value)
{
	const char *start = *p;

	for (*value = 0; digit(**p) >= 0; ++*p) {
		if (*value >> 60)
			return false;
		*value = *value << 4 | (uint64_t)digit(**p);
	}
	return *p != start;
}

bool gdb_parse_range(const char **p, uint64_t *a, uint64_t *n)
{
	return gdb_parse_number(p, a) && gdb_parse_char(p, ',') && gdb_parse_number(p, n);
}

static bool parse_id(const char **p, unsigned *id)
{
	uint64_t n;

	if (gdb_parse_word(p, "-1")) {
		*id = GDB_ALL;
		return true;
	}
	if (!gdb_parse_number(p, &n) || n >= GDB_ALL)
		return false;
	*id = (unsigned)n;
	return true;
}

bool gdb_parse_thread(const char **p, struct gdb_thread *t)
{
	if (!gdb_parse_char(p, 'p')) {
		t->pid = GDB_ANY;
		return parse_id(p, &t->tid);
	}
	t->tid = GDB_ALL;
	if (!parse_id(p, &t->pid))
		return false;
	return !gdb_parse_char(p, '.') || parse_id(p, &t->tid);
}

bool gdb_parse_hex(const char **p, uint8_t *to, size_t n)
{
	for (; n; n--, *p += 2) {
		int high = digit((*p)[0]), low = high < 0 ? -1 : digit((*p)[1]);

		if (low < 0)
			return false;
		*to++ = (uint8_t)(high << 4 | low);
	}
	return true;
}
