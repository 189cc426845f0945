/* SPDX-License-Identifier: MIT */
/* The log ring: many producers, one consumer at a time, no lock.
 *
 * The ring is an array of slots, each with a sequence number. Position p uses slot p % SLOTS. A slot is free for
 * position p while its number is p, holds p's text when it is p+1, and becomes free for p+SLOTS when the consumer has
 * read it. A producer claims as many positions as its line needs by one cmpxchg of `head`; since slots are freed in
 * order, all are free if the last one is. It fills them and publishes each by a store-release of its number, whose
 * partner is the consumer's load-acquire. A producer that is interrupted in between holds up the consumer at its slot
 * and nobody else. The consumer's side is entered by one CPU at a time (`draining`).
 *
 * Raw bytes of a guest go the same way, in slots of their own. The consumer ends the row that they have begun before
 * it prints a line: a line is always whole and alone.
 *
 * A debugger finds the text in log_ring.slot[].text, slot log_ring.tail % SLOTS being the oldest not yet printed;
 * older text stays until it is overwritten.
 */
#include "hv/console.h"
#include "hv/log.h"
#include "mm/atomic.h"
#include "mm/host.h"

#define LOG_SLOTS 8192u
#define LOG_SLOT_TEXT 115u
#define LOG_COMMON_LIMIT (LOG_SLOTS / 4 * 3)
#define LOG_DRAIN_STEP 64

struct log_slot {
	atomic64 sequence;		/* minus the slot's index, so that a zeroed ring is an empty one */
	uint16_t bytes;
	bool ends_line;
	bool raw;			/* goes out as it is */
	char text[LOG_SLOT_TEXT];
};

_Static_assert(sizeof(struct log_slot) == 128, "slots are two cache lines");

struct log_ring {
	atomic64 head;			/* positions claimed */
	atomic64 tail;			/* positions printed; written by the holder of draining */
	atomic64 lost;
	atomic32 draining;
	unsigned at;			/* characters of slot tail already printed; the holder's, as the next */
	atomic32 row_begun;		/* by raw bytes; the holder's, read by anyone */
	struct log_slot slot[LOG_SLOTS];
};

struct log_ring log_ring;

static struct log_slot *slot_of(uint64_t position)
{
	return &log_ring.slot[position % LOG_SLOTS];
}

static uint64_t sequence_get(struct log_slot *s)
{
	return load_acquire(&s->sequence) + (uint64_t)(s - log_ring.slot);
}

static void sequence_set(struct log_slot *s, uint64_t v)
{
	store_release(&s->sequence, v - (uint64_t)(s - log_ring.slot));
}

/* Claims `count` positions; false when the ring is full. */
static bool log_claim(unsigned count, bool vital, uint64_t *first)
{
	uint64_t head = load_acquire(&log_ring.head);
	do {
		uint64_t last = head + count - 1;
		if ((int64_t)(sequence_get(slot_of(last)) - last) < 0)
			return false;
		if (!vital && last - load_relaxed(&log_ring.tail) >= LOG_COMMON_LIMIT)
			return false;
	} while (!cmpxchg_seq(&log_ring.head, &head, head + count));
	*first = head;
	return true;
}

static void append(const char *line, size_t bytes, bool vital, bool raw)
{
	uint64_t position;
	if (bytes > LOG_LINE_MAX)
		bytes = LOG_LINE_MAX;
	unsigned count = bytes ? (bytes + LOG_SLOT_TEXT - 1) / LOG_SLOT_TEXT : 1;
	if (!log_claim(count, vital, &position)) {
		fetch_add_seq(&log_ring.lost, 1);
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		struct log_slot *s = slot_of(position + i);
		s->bytes = bytes < LOG_SLOT_TEXT ? bytes : LOG_SLOT_TEXT;
		s->ends_line = i + 1 == count && !raw;
		s->raw = raw;
		for (unsigned k = 0; k < s->bytes; k++)
			s->text[k] = *line++;
		bytes -= s->bytes;
		sequence_set(s, position + i + 1);
	}
}

void log_append(const char *line, size_t bytes, bool vital)
{
	append(line, bytes, vital, false);
}

void log_append_raw(const char *bytes, size_t n)
{
	if (n)
		append(bytes, n, true, true);
}

uint64_t log_lost(void)
{
	return load_relaxed(&log_ring.lost);
}

static void put(const struct log_slot *s)
{
	char c = s->text[log_ring.at++];

	if (s->raw)
		console_put_raw(c);
	else
		console_putc(c);
	store_relaxed(&log_ring.row_begun, s->raw && c != '\n');
}

static unsigned log_drain_held(unsigned max_chars)
{
	unsigned done = 0;
	while (done < max_chars) {
		uint64_t tail = load_relaxed(&log_ring.tail);
		struct log_slot *s = slot_of(tail);
		if (sequence_get(s) != tail + 1)
			break;
		if (load_relaxed(&log_ring.row_begun) && !s->raw) {
			console_putc('\n');
			store_relaxed(&log_ring.row_begun, 0);
			done++;
			continue;
		}
		if (log_ring.at < s->bytes) {
			put(s);
			done++;
			continue;
		}
		if (s->ends_line) {
			console_putc('\n');
			done++;
		}
		log_ring.at = 0;
		sequence_set(s, tail + LOG_SLOTS);
		store_release(&log_ring.tail, tail + 1);
	}
	return done;
}

unsigned log_drain(unsigned max_chars)
{
	/* Acquire and release hand the consumer's side over from CPU to CPU. */
	if (atomic_exchange_explicit(&log_ring.draining.v, 1, memory_order_acquire))
		return 0;
	unsigned done = log_drain_held(max_chars);
	store_release(&log_ring.draining, 0);
	return done;
}

bool log_pending(void)
{
	return load_relaxed(&log_ring.head) != load_relaxed(&log_ring.tail); /* looked at again and again */
}

uint64_t log_head(void)
{
	return load_acquire(&log_ring.head);
}

bool log_passed(uint64_t position)
{
	return load_acquire(&log_ring.tail) >= position; /* partner: log_drain_held */
}

bool log_row_begun(void)
{
	return load_relaxed(&log_ring.row_begun);
}

uint64_t log_last(unsigned lines)
{
	uint64_t at = log_head(), oldest = at > LOG_LOOK ? at - LOG_LOOK : 0;

	for (; at > oldest; at--)
		if (slot_of(at - 1)->ends_line && lines-- == 0)
			break;
	return at;
}

/* The slot's text behind the n bytes in `to`. False: it is not there yet, or another has come in its place. */
static bool read_slot(uint64_t position, char *to, size_t room, size_t *n, bool *ends, bool *raw)
{
	struct log_slot *s = slot_of(position);

	if ((int64_t)(sequence_get(s) - position - 1) < 0)
		return false;
	*ends = s->ends_line;
	*raw = s->raw;
	for (unsigned k = 0; k < s->bytes && k < LOG_SLOT_TEXT && *n + 1 < room; k++)
		to[(*n)++] = s->text[k];
	/* An RMW, behind the loads: who overwrites has claimed before; partner: log_claim. */
	return fetch_add_seq(&log_ring.head, 0) <= position + LOG_SLOTS;
}

bool log_read(uint64_t *position, uint64_t end, char *to, size_t room)
{
	bool ends, raw, whole = true;
	size_t n = 0;

	while (*position < end) {
		if (!read_slot((*position)++, to, room, &n, &ends, &raw)) {
			whole = false; /* what is left of the line is none */
			ends = raw = false;
		}
		if (raw || (ends && !whole)) {
			n = 0;
			whole = true;
		} else if (ends) {
			to[n] = 0;
			return true;
		}
	}
	return false;
}

void log_wait_room(void)
{
	uint64_t end = host_clock() + host_clock_hz();
	while (load_relaxed(&log_ring.head) - load_relaxed(&log_ring.tail) > LOG_SLOTS / 2 && host_clock() < end)
		if (!log_drain(LOG_DRAIN_STEP))
			host_relax();
}

void log_flush(bool force)
{
	uint64_t end = load_acquire(&log_ring.head);
	if (force)
		store_release(&log_ring.draining, 0);
	uint64_t since = host_clock();
	while (load_relaxed(&log_ring.tail) < end && (force || host_clock() - since < host_clock_hz())) {
		if (log_drain(LOG_DRAIN_STEP)) {
			since = host_clock();
			continue;
		}
		if (force) {
			/* Its producer is stopped and will never publish it. */
			uint64_t tail = load_relaxed(&log_ring.tail);
			sequence_set(slot_of(tail), tail + LOG_SLOTS);
			log_ring.at = 0;
			store_release(&log_ring.tail, tail + 1);
		}
		host_relax();
	}
	if (force && load_relaxed(&log_ring.row_begun)) {
		console_putc('\n');
		store_relaxed(&log_ring.row_begun, 0);
	}
}
