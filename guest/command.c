/* SPDX-License-Identifier: MIT */
#include "guest/command.h"
#include "guest/text.h"

/* A word in a text. */
struct word {
	const char *at;
	size_t n;
};

/* The next word of *p, which moves behind it, at most up to `end`. An empty one: there is none. */
static struct word next_word(const char **p, const char *end)
{
	struct word w;

	while (*p < end && **p == ' ')
		++*p;
	w.at = *p;
	while (*p < end && **p != ' ')
		++*p;
	w.n = (size_t)(*p - w.at);
	return w;
}

static bool begins(struct word w, const char *s)
{
	for (size_t i = 0; i < w.n; i++)
		if (s[i] != w.at[i])
			return false;
	return true;
}

static bool is(struct word w, const char *s)
{
	return text_length(s) == w.n && begins(w, s);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

static bool parse_number(struct word w, uint64_t *value)
{
	int base = w.n > 2 && w.at[0] == '0' && (w.at[1] | 0x20) == 'x' ? 16 : 10;

	*value = 0;
	for (size_t i = base == 16 ? 2 : 0; i < w.n; i++) {
		int d = digit(w.at[i]);

		if (d >= base || *value > (UINT64_MAX - (uint64_t)d) / (uint64_t)base)
			return false;
		*value = *value * (uint64_t)base + (uint64_t)d;
	}
	return true;
}

/* The nth thing that an argument may be, of those that have names; 0: there are no more, or it is a number. */
static const char *choice(const struct command_set *set, const struct command_argument *a, unsigned nth)
{
	switch (a->kind) {
	case COMMAND_GUEST:
		return set->guest(nth);
	case COMMAND_WORD:
		for (unsigned i = 0; i < nth; i++)
			if (!a->words[i])
				return 0;
		return a->words[nth];
	case COMMAND_NAME:
		return nth < set->commands ? set->command[nth].name : 0;
	default:
		return 0;
	}
}

/* What an argument is called, into COMMAND_USAGE bytes. */
static void call(const struct command_argument *a, char *to)
{
	unsigned n = 0;

	to[0] = 0;
	if (a->kind != COMMAND_WORD) {
		text_copy(to, COMMAND_USAGE, a->name);
		return;
	}
	for (unsigned i = 0; a->words[i]; i++)
		n += text_format(to + n, COMMAND_USAGE - n, i ? "|%s" : "%s", a->words[i]);
}

static bool parse_argument(const struct command_set *set, const struct command_argument *a, struct word w, uint64_t *value,
	char *error)
{
	static const char *const what[] = {[COMMAND_NUMBER] = "no number, in decimal or behind 0x in hexadecimal, of 64 bits",
		[COMMAND_GUEST] = "no guest", [COMMAND_WORD] = "not one of its words", [COMMAND_NAME] = "no command"};
	const char *name;

	if (a->kind == COMMAND_NUMBER && parse_number(w, value))
		return true;
	for (unsigned i = 0; (name = choice(set, a, i)); i++)
		if (is(w, name)) {
			*value = i;
			return true;
		}
	text_format(error, COMMAND_ERROR, "%.*s is %s", (int)w.n, w.at, what[a->kind]);
	return false;
}

static bool parse_arguments(const struct command_set *set, const char *p, const char *end, struct command_line *l, char *error)
{
	const struct command_argument *a = set->command[l->command].argument;
	struct word w = next_word(&p, end);
	char name[COMMAND_USAGE];

	for (; l->arguments < COMMAND_ARGUMENTS && a[l->arguments].kind != COMMAND_NONE; l->arguments++) {
		const struct command_argument *wanted = &a[l->arguments];

		if (!w.n) {
			if (wanted->optional)
				return true;
			call(wanted, name);
			text_format(error, COMMAND_ERROR, "%s is missing", name);
			return false;
		}
		if (!parse_argument(set, wanted, w, &l->value[l->arguments], error))
			return false;
		w = next_word(&p, end);
	}
	if (w.n)
		text_format(error, COMMAND_ERROR, "%.*s is too much", (int)w.n, w.at);
	return !w.n;
}

enum command_outcome command_parse(const struct command_set *set, const char *text, struct command_line *l, char *error)
{
	const char *p = text, *end = text + text_length(text);
	struct word w = next_word(&p, end);

	*l = (struct command_line){0};
	error[0] = 0;
	if (!w.n)
		return COMMAND_EMPTY;
	for (; l->command < set->commands; l->command++)
		if (is(w, set->command[l->command].name))
			return parse_arguments(set, p, end, l, error) ? COMMAND_OK : COMMAND_WRONG;
	text_format(error, COMMAND_ERROR, "%.*s is no command; help lists them", (int)w.n, w.at);
	return COMMAND_UNKNOWN;
}

void command_usage(const struct command *c, char *to)
{
	unsigned n = text_format(to, COMMAND_USAGE, "%s", c->name);
	char name[COMMAND_USAGE];

	for (unsigned i = 0; i < COMMAND_ARGUMENTS && c->argument[i].kind != COMMAND_NONE; i++) {
		call(&c->argument[i], name);
		n += text_format(to + n, COMMAND_USAGE - n, c->argument[i].optional ? " [%s]" : " %s", name);
	}
}

/* The nth of the choices that begin as w does. */
static const char *fitting(const struct command_set *set, const struct command_argument *a, struct word w, unsigned nth)
{
	const char *name;

	for (unsigned i = 0; (name = choice(set, a, i)); i++)
		if (begins(w, name) && !nth--)
			return name;
	return 0;
}

const char *command_complete(const struct command_set *set, const char *text, size_t n, unsigned nth)
{
	static const struct command_argument first = {.kind = COMMAND_NAME};
	const struct command_argument *a = &first;
	const char *p = text, *end = text + n;
	struct word w = next_word(&p, end);

	if (p < end) {
		unsigned i = 0;

		while (i < set->commands && !is(w, set->command[i].name))
			i++;
		if (i == set->commands)
			return 0;
		a = set->command[i].argument;
		for (w = next_word(&p, end); p < end; w = next_word(&p, end))
			if (++a == set->command[i].argument + COMMAND_ARGUMENTS)
				return 0;
	}
	return fitting(set, a, w, nth);
}
