/* SPDX-License-Identifier: MIT */
#include "guest/line.h"
#include "guest/text.h"

#define CONTROL(letter) ((letter) & 0x1f)
#define ESCAPE 0x1b
#define RUBOUT 0x7f
#define NUMBER_MAX 1000 /* of an escape sequence: more is none that is known */
#define LISTED_MAX 64   /* candidates shown */

static void echo(struct line *l, const char *bytes, size_t n)
{
	if (n)
		l->user->echo(l->user->context, bytes, n);
}

static void echo_text(struct line *l, const char *s)
{
	echo(l, s, text_length(s));
}

static void echo_repeated(struct line *l, char c, unsigned n)
{
	char bytes[LINE_MAX];

	for (unsigned i = 0; i < n; i++)
		bytes[i] = c;
	echo(l, bytes, n);
}

void line_init(struct line *l, const struct line_user *user)
{
	l->user = user;
	l->remembered = 0;
	l->returned = false;
	line_begin(l);
}

void line_begin(struct line *l)
{
	l->text[0] = 0;
	l->length = l->at = l->back = 0;
	l->state = LINE_PLAIN;
}

void line_show(struct line *l)
{
	echo_text(l, l->user->prompt);
	echo(l, l->text, l->length);
	echo_repeated(l, '\b', l->length - l->at);
}

/* The cursor to `at`. */
static void move(struct line *l, unsigned at)
{
	if (at < l->at)
		echo_repeated(l, '\b', l->at - at);
	else
		echo(l, l->text + l->at, at - l->at);
	l->at = at;
}

/* n characters at the cursor go. */
static void erase(struct line *l, unsigned n)
{
	for (unsigned i = l->at; i + n <= l->length; i++)
		l->text[i] = l->text[i + n];
	l->length -= n;
	echo(l, l->text + l->at, l->length - l->at);
	echo_repeated(l, ' ', n);
	echo_repeated(l, '\b', l->length - l->at + n);
}

/* … of those before the cursor. */
static void erase_back(struct line *l, unsigned n)
{
	move(l, l->at - n);
	erase(l, n);
}

/* As much as there is room for. */
static void insert(struct line *l, const char *s, unsigned n)
{
	unsigned from = l->at;

	if (n > LINE_MAX - l->length)
		n = LINE_MAX - l->length;
	for (unsigned i = l->length + 1; i-- > from;)
		l->text[i + n] = l->text[i];
	for (unsigned i = 0; i < n; i++)
		l->text[from + i] = s[i];
	l->length += n;
	echo(l, l->text + from, l->length - from);
	l->at = from + n;
	echo_repeated(l, '\b', l->length - l->at);
}

/* Another text in place of this one. */
static void replace(struct line *l, const char *s)
{
	move(l, 0);
	erase(l, l->length);
	insert(l, s, (unsigned)text_length(s));
}

/* Characters of the word before the cursor, and of the blanks between. */
static unsigned word_before(const struct line *l)
{
	unsigned at = l->at;

	while (at && l->text[at - 1] == ' ')
		at--;
	while (at && l->text[at - 1] != ' ')
		at--;
	return l->at - at;
}

/* ---- lines typed before ---- */

static char *past(struct line *l, unsigned back)
{
	return l->past[(l->remembered - back) % LINE_HISTORY];
}

static void remember(struct line *l)
{
	if (!l->length || (l->remembered && text_equal(past(l, 1), l->text)))
		return;
	l->remembered++;
	text_copy(past(l, 1), LINE_MAX + 1, l->text);
}

static void older(struct line *l)
{
	if (l->back == l->remembered || l->back == LINE_HISTORY)
		return;
	if (!l->back)
		text_copy(l->draft, sizeof l->draft, l->text);
	replace(l, past(l, ++l->back));
}

static void newer(struct line *l)
{
	if (l->back)
		replace(l, --l->back ? past(l, l->back) : l->draft);
}

/* ---- completion ---- */

static const char *candidate(struct line *l, unsigned nth)
{
	return l->user->complete ? l->user->complete(l->user->context, l->text, l->at, nth) : 0;
}

static unsigned common(const char *a, const char *b, unsigned most)
{
	unsigned n = 0;

	while (n < most && a[n] && a[n] == b[n])
		n++;
	return n;
}

static void list(struct line *l)
{
	const char *word;

	echo_text(l, "\r\n");
	for (unsigned i = 0; i < LISTED_MAX && (word = candidate(l, i)); i++) {
		echo_text(l, i ? "  " : "");
		echo_text(l, word);
	}
	echo_text(l, "\r\n");
	line_show(l);
}

/* What all candidates have in common is typed for the person; where that is nothing, they are shown. */
static void complete(struct line *l)
{
	unsigned typed = 0, same, n;
	char first[LINE_MAX + 1];
	const char *word;

	while (typed < l->at && l->text[l->at - typed - 1] != ' ')
		typed++;
	word = candidate(l, 0);
	if (!word || !text_copy(first, sizeof first, word))
		return;
	same = (unsigned)text_length(first);
	for (n = 1; n < LISTED_MAX && (word = candidate(l, n)); n++)
		same = common(first, word, same);
	if (same > typed)
		insert(l, first + typed, same - typed);
	else if (n > 1)
		list(l);
	if (n == 1 && l->at == l->length)
		insert(l, " ", 1);
}

/* ---- keys ---- */

static void key(struct line *l, char c)
{
	switch (c) {
	case 'A':
		older(l);
		break;
	case 'B':
		newer(l);
		break;
	case 'C':
		move(l, l->at < l->length ? l->at + 1 : l->at);
		break;
	case 'D':
		move(l, l->at ? l->at - 1 : 0);
		break;
	case 'H':
		move(l, 0);
		break;
	case 'F':
		move(l, l->length);
		break;
	}
}

/* ESC [ number ~ */
static void numbered_key(struct line *l)
{
	if (l->number == 1 || l->number == 7)
		move(l, 0);
	else if (l->number == 4 || l->number == 8)
		move(l, l->length);
	else if (l->number == 3 && l->at < l->length)
		erase(l, 1);
}

/* A byte of an escape sequence: ESC [ numbers letter, or ESC O letter. */
static void sequence(struct line *l, uint8_t byte)
{
	enum line_state state = l->state;

	l->state = LINE_PLAIN;
	if (state == LINE_ESCAPE) {
		l->number = 0;
		if (byte == '[')
			l->state = LINE_SEQUENCE;
		else if (byte == 'O')
			l->state = LINE_LETTER;
	} else if (state == LINE_SEQUENCE && byte >= '0' && byte <= '9') {
		l->number = l->number < NUMBER_MAX ? l->number * 10 + (byte - '0') : NUMBER_MAX;
		l->state = LINE_SEQUENCE;
	} else if (state == LINE_SEQUENCE && byte == ';') {
		l->number = NUMBER_MAX;
		l->state = LINE_SEQUENCE;
	} else if (state == LINE_SEQUENCE && byte == '~') {
		numbered_key(l);
	} else {
		key(l, (char)byte);
	}
}

static enum line_outcome over(struct line *l, enum line_outcome outcome)
{
	move(l, l->length);
	echo_text(l, outcome == LINE_DROPPED ? "^C\r\n" : "\r\n");
	if (outcome == LINE_DONE)
		remember(l);
	return outcome;
}

static enum line_outcome control(struct line *l, uint8_t byte)
{
	switch (byte) {
	case '\r':
	case '\n':
		return over(l, LINE_DONE);
	case CONTROL('c'):
		return over(l, LINE_DROPPED);
	case CONTROL('d'):
		if (!l->length)
			return over(l, LINE_END);
		if (l->at < l->length)
			erase(l, 1);
		break;
	case CONTROL('h'):
	case RUBOUT:
		if (l->at)
			erase_back(l, 1);
		break;
	case CONTROL('u'):
		erase_back(l, l->at);
		break;
	case CONTROL('k'):
		erase(l, l->length - l->at);
		break;
	case CONTROL('w'):
		erase_back(l, word_before(l));
		break;
	case CONTROL('a'):
		move(l, 0);
		break;
	case CONTROL('e'):
		move(l, l->length);
		break;
	case CONTROL('b'):
		key(l, 'D');
		break;
	case CONTROL('f'):
		key(l, 'C');
		break;
	case CONTROL('p'):
		older(l);
		break;
	case CONTROL('n'):
		newer(l);
		break;
	case CONTROL('l'):
		echo_text(l, "\r\n");
		line_show(l);
		break;
	case '\t':
		complete(l);
		break;
	case ESCAPE:
		l->state = LINE_ESCAPE;
		break;
	}
	return LINE_MORE;
}

enum line_outcome line_receive(struct line *l, uint8_t byte)
{
	bool returned = l->returned;
	char c = (char)byte;

	l->returned = byte == '\r';
	if (byte == '\n' && returned)
		return LINE_MORE;
	if (byte < ' ' || byte == RUBOUT) {
		l->state = LINE_PLAIN; /* a sequence that was cut off */
		return control(l, byte);
	}
	if (l->state != LINE_PLAIN)
		sequence(l, byte);
	else if (byte < RUBOUT)
		insert(l, &c, 1);
	return LINE_MORE;
}
