/* SPDX-License-Identifier: MIT */
#include "guest/text.h"
#include "hv/options.h"

#define WORD_MAX 64
#define RESTARTS_MAX 100000u

struct options options = {.console_com1 = true, .console_vga = true, .level = HOST_INFO};

/* One accepted word: KEY=VALUE out of a list of values, KEY=number, or KEY alone. */
struct choice {
	const char *word;
	void (*set)(struct options *o);
};

struct number {
	const char *key;
	uint32_t max;
	uint32_t *(*field)(struct options *o);
};

static void audit_off(struct options *o) { o->audit = OPTION_AUDIT_OFF; }
static void audit_end(struct options *o) { o->audit = OPTION_AUDIT_END; }
static void audit_continuous(struct options *o) { o->audit = OPTION_AUDIT_CONTINUOUS; }
static void state_audit_on(struct options *o) { o->state_audit = true; }
static void state_audit_off(struct options *o) { o->state_audit = false; }
static void slab_normal(struct options *o) { o->slab = OPTION_SLAB_NORMAL; }
static void slab_lifo(struct options *o) { o->slab = OPTION_SLAB_LIFO; }
static void slab_poison(struct options *o) { o->slab = OPTION_SLAB_POISON; }
static void console_both(struct options *o) { o->console_com1 = o->console_vga = true; }
static void console_com1(struct options *o) { o->console_com1 = true, o->console_vga = false; }
static void console_vga(struct options *o) { o->console_com1 = false, o->console_vga = true; }
static void end_auto(struct options *o) { o->end = END_AUTO; }
static void end_halt(struct options *o) { o->end = END_HALT; }
static void end_reboot(struct options *o) { o->end = END_REBOOT; }
static void end_poweroff(struct options *o) { o->end = END_POWEROFF; }
static void gdb_com2(struct options *o) { o->gdb = OPTION_GDB_COM2; }
static void gdb_wait(struct options *o) { o->gdb = OPTION_GDB_WAIT; }
static void quiet(struct options *o) { o->level = HOST_WARN; }
static void test_panic(struct options *o) { o->test = OPTION_TEST_PANIC; }
static void test_trap(struct options *o) { o->test = OPTION_TEST_TRAP; }
static void test_overflow(struct options *o) { o->test = OPTION_TEST_OVERFLOW; }
static void test_hang(struct options *o) { o->test = OPTION_TEST_HANG; }

static const struct choice choices[] = {
	{"audit=off", audit_off}, {"audit=end", audit_end}, {"audit=continuous", audit_continuous},
	{"state-audit=on", state_audit_on}, {"state-audit=off", state_audit_off},
	{"slab=normal", slab_normal}, {"slab=lifo", slab_lifo}, {"slab=poison", slab_poison},
	{"console=com1,vga", console_both}, {"console=vga,com1", console_both}, {"console=com1", console_com1},
	{"console=vga", console_vga},
	{"end=auto", end_auto}, {"end=halt", end_halt}, {"end=reboot", end_reboot}, {"end=poweroff", end_poweroff},
	{"gdb=com2", gdb_com2}, {"gdb=wait", gdb_wait},
	{"quiet", quiet},
	{"test=panic", test_panic}, {"test=trap", test_trap}, {"test=overflow", test_overflow},
	{"test=hang", test_hang},
};

static uint32_t *walker_stop(struct options *o) { return &o->walker_stop; }
static uint32_t *walker_skip(struct options *o) { return &o->walker_skip; }
static uint32_t *cpus(struct options *o) { return &o->cpus; }

static const struct number numbers[] = {
	{"walker-stop", 60000, walker_stop},
	{"walker-skip", 1000000, walker_skip},
	{"cpus", HOST_MAX_CPUS, cpus},
};

#define CHOICES (sizeof(choices) / sizeof(choices[0]))
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

/* The part of word behind "key=", or NULL. */
static const char *value_of(const char *word, const char *key)
{
	while (*key && *word == *key) {
		word++;
		key++;
	}
	return !*key && *word == '=' ? word + 1 : NULL;
}

static bool number_parse(const char *text, uint32_t max, uint32_t *value)
{
	uint64_t v = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (uint64_t)(*text - '0');
		if (v > max)
			return false;
	}
	*value = (uint32_t)v;
	return true;
}

static bool same_key(const char *choice, const char *word)
{
	while (*choice && *choice != '=' && *choice == *word) {
		choice++;
		word++;
	}
	return (!*choice || *choice == '=') && (!*word || *word == '=');
}

/* "option 'x=y': ..." with the words accepted for that key, or with all keys. */
static void explain(const char *word, char *error, size_t room)
{
	size_t at = text_format(error, room, "option '%s': ", word);
	bool known = false;
	for (unsigned i = 0; i < CHOICES; i++) {
		if (!same_key(choices[i].word, word))
			continue;
		at += text_format(error + at, room - at, "%s%s", known ? ", " : "accepted are ", choices[i].word);
		known = true;
	}
	if (known)
		return;
	at += text_format(error + at, room - at, "unknown; accepted are");
	for (unsigned i = 0; i < CHOICES; i++)
		at += text_format(error + at, room - at, " %s", choices[i].word);
	for (unsigned i = 0; i < NUMBERS; i++)
		at += text_format(error + at, room - at, " %s=N", numbers[i].key);
	text_format(error + at, room - at, " restart=NAME:COUNT");
}

/* restart=NAME:COUNT. */
static bool restart_parse(struct options *o, const char *value)
{
	size_t n = 0;

	for (; *value && *value != ':'; value++) {
		if (n == OPTION_NAME - 1)
			return false;
		o->restart[n++] = *value;
	}
	o->restart[n] = 0;
	return n && *value == ':' && number_parse(value + 1, RESTARTS_MAX, &o->restarts);
}

static bool word_parse(struct options *o, const char *word, char *error, size_t room)
{
	for (unsigned i = 0; i < CHOICES; i++) {
		if (text_equal(choices[i].word, word)) {
			choices[i].set(o);
			return true;
		}
	}
	if (value_of(word, "restart")) {
		if (restart_parse(o, value_of(word, "restart")))
			return true;
		text_format(error, room, "option '%s': NAME:COUNT is expected, a guest's name and a number up to %u", word,
			RESTARTS_MAX);
		return false;
	}
	for (unsigned i = 0; i < NUMBERS; i++) {
		const char *value = value_of(word, numbers[i].key);
		if (!value)
			continue;
		if (number_parse(value, numbers[i].max, numbers[i].field(o)))
			return true;
		text_format(error, room, "option '%s': a number from 0 to %u is expected", word, numbers[i].max);
		return false;
	}
	explain(word, error, room);
	return false;
}

bool options_parse(struct options *o, const char *cmdline, char *error, size_t room)
{
	*o = (struct options){
		.audit = OPTION_AUDIT_END,
		.state_audit = true,
		.console_com1 = true,
		.console_vga = true,
		.level = HOST_INFO,
	};
	while (*cmdline) {
		char word[WORD_MAX];
		size_t n = 0;
		while (*cmdline == ' ')
			cmdline++;
		for (; *cmdline && *cmdline != ' '; cmdline++) {
			if (n == WORD_MAX - 1) {
				word[n] = 0;
				text_format(error, room, "option '%s...': longer than any known option", word);
				return false;
			}
			word[n++] = *cmdline;
		}
		word[n] = 0;
		if (n && !word_parse(o, word, error, room))
			return false;
	}
	return true;
}
