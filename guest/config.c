/* SPDX-License-Identifier: MIT */
#include "guest/config.h"
#include "guest/text.h"
#include "mm/mmu.h"

#define WORD 256 /* longest word before "--" and its zero, bytes */

#define VCPUS_MAX 8
#define CPU_MAX 255
#define PERIOD_MIN_US 100UL
#define PERIOD_MAX_US 60000000UL
#define PERIOD_DEFAULT_US 10000UL
#define LIMIT_MAX_US 2592000000000UL /* 30 days */
#define SHADOW_MIN MMU_FLOOR /* for each vCPU */
#define SHADOW_MAX (1UL << 24)

enum reading { READ_WELL, READ_BAD };

/* One key: reads its value into *c. `accepts` completes "expected ...". */
struct key {
	const char *name;
	enum reading (*read)(struct config *c, const char *value);
	const char *accepts;
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Decimal digits up to the first other character; false when there are none or more than 15. */
static bool read_digits(const char **s, uint64_t *v)
{
	const char *start = *s;

	for (*v = 0; digit(**s) && *s - start < 16; (*s)++)
		*v = *v * 10 + (uint64_t)(**s - '0');
	return *s > start && *s - start < 16;
}

static bool read_number(const char *s, uint64_t min, uint64_t max, uint64_t *v)
{
	return read_digits(&s, v) && !*s && *v >= min && *v <= max;
}

/* A size with K, M, G, T or none behind it, in bytes. */
static bool read_size(const char *s, uint64_t *v)
{
	static const char units[] = "kKmMgGtT";
	unsigned shift = 0;

	if (!read_digits(&s, v))
		return false;
	for (unsigned i = 0; *s && units[i]; i++)
		if (*s == units[i])
			shift = (i / 2 + 1) * 10;
	if (shift)
		s++;
	if (*s || *v > UINT64_MAX >> shift)
		return false;
	*v <<= shift;
	return true;
}

/* A time with us, ms or s behind it, or a bare number of seconds where allowed, in microseconds. */
static bool read_time(const char *s, bool bare, uint64_t min, uint64_t max, uint64_t *v)
{
	uint64_t unit;

	if (!read_digits(&s, v))
		return false;
	if (text_equal(s, "us"))
		unit = 1;
	else if (text_equal(s, "ms"))
		unit = 1000;
	else if (text_equal(s, "s") || (bare && !*s))
		unit = 1000000;
	else
		return false;
	if (*v > max / unit)
		return false;
	*v *= unit;
	return *v >= min;
}

static bool read_name(const char *s, char to[CONFIG_NAME])
{
	for (const char *c = s; *c; c++)
		if (!digit(*c) && !((*c | 32) >= 'a' && (*c | 32) <= 'z') && *c != '-' && *c != '_')
			return false;
	return *s && text_copy(to, CONFIG_NAME, s);
}

static enum reading read_name_key(struct config *c, const char *value)
{
	return read_name(value, c->name) ? READ_WELL : READ_BAD;
}

static enum reading read_mem(struct config *c, const char *value)
{
	uint64_t v;

	if (!read_size(value, &v) || v % 4096 || v < CONFIG_MEM_MIN || v > CONFIG_MEM_MAX)
		return READ_BAD;
	c->mem = v;
	return READ_WELL;
}

static enum reading read_vcpus(struct config *c, const char *value)
{
	uint64_t v;

	if (!read_number(value, 1, VCPUS_MAX, &v))
		return READ_BAD;
	c->vcpus = (unsigned)v;
	return READ_WELL;
}

static enum reading read_cpus(struct config *c, const char *value)
{
	c->cpus = 0;
	for (;; value++) {
		uint64_t v;

		if (!read_digits(&value, &v) || v > CPU_MAX || c->cpus == CONFIG_MAX_CPUS)
			return READ_BAD;
		for (unsigned i = 0; i < c->cpus; i++)
			if (c->cpu[i] == v)
				return READ_BAD;
		c->cpu[c->cpus++] = (unsigned)v;
		if (!*value)
			return READ_WELL;
		if (*value != ',')
			return READ_BAD;
	}
}

const char *const config_log_names[CONFIG_LOGS] = {"off", "wp", "dbit", "auto"};

static enum reading read_log(struct config *c, const char *value)
{
	for (unsigned i = 0; i < CONFIG_LOGS; i++)
		if (text_equal(value, config_log_names[i])) {
			c->log = (enum config_log)i;
			return READ_WELL;
		}
	return READ_BAD;
}

static enum reading read_period(struct config *c, const char *value)
{
	return read_time(value, false, PERIOD_MIN_US, PERIOD_MAX_US, &c->period_us) ? READ_WELL : READ_BAD;
}

static enum reading read_limit(struct config *c, const char *value)
{
	return read_time(value, true, 1, LIMIT_MAX_US, &c->limit_us) ? READ_WELL : READ_BAD;
}

static enum reading read_until(struct config *c, const char *value)
{
	size_t n = text_length(value);

	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value++;
		n -= 2;
	}
	if (n == 0 || n >= CONFIG_UNTIL)
		return READ_BAD;
	__builtin_memcpy(c->until, value, n);
	c->until[n] = 0;
	return READ_WELL;
}

static enum reading read_shadow(struct config *c, const char *value)
{
	return read_number(value, SHADOW_MIN, SHADOW_MAX, &c->shadow) ? READ_WELL : READ_BAD;
}

/* One part's name up to a comma or the end; 0: it is none. *s then stands behind it. */
static unsigned read_part(const char **s)
{
	static const struct {
		const char *name;
		unsigned part;
	} parts[] = {{"clock", CONFIG_PV_CLOCK}, {"eoi", CONFIG_PV_EOI}, {"steal", CONFIG_PV_STEAL}, {"tlb", CONFIG_PV_TLB},
		{"ipi", CONFIG_PV_IPI}};
	size_t n = 0;

	while ((*s)[n] && (*s)[n] != ',')
		n++;
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
		if (text_length(parts[i].name) == n && !__builtin_memcmp(*s, parts[i].name, n)) {
			*s += n;
			return parts[i].part;
		}
	return 0;
}

static enum reading read_pv(struct config *c, const char *value)
{
	c->pv = 0;
	if (text_equal(value, "off"))
		return READ_WELL;
	for (;; value++) {
		unsigned part = read_part(&value);

		if (!part || c->pv & part)
			return READ_BAD;
		c->pv |= part;
		if (!*value)
			return c->pv & CONFIG_PV_TLB && !(c->pv & CONFIG_PV_STEAL) ? READ_BAD : READ_WELL;
	}
}

static enum reading read_initrd_of(struct config *c, const char *value)
{
	c->role = CONFIG_INITRD;
	return read_name(value, c->of) ? READ_WELL : READ_BAD;
}

static enum reading read_module_of(struct config *c, const char *value)
{
	c->role = CONFIG_MODULE;
	return read_name(value, c->of) ? READ_WELL : READ_BAD;
}

#define ACCEPTS_NAME "1 to 31 letters, digits, '-' and '_'"

static const struct key keys[] = {
	{"name", read_name_key, ACCEPTS_NAME},
	{"mem", read_mem, "a size like 64M, from 2M to 1T, in whole pages of 4K"},
	{"vcpus", read_vcpus, "a number from 1 to 8"},
	{"cpus", read_cpus, "up to 8 different CPU numbers from 0 to 255 like 1,2"},
	{"log", read_log, "off, wp, dbit or auto"},
	{"period", read_period, "a time like 10ms, from 100us to 60s"},
	{"limit", read_limit, "a time like 30s, at most 30 days"},
	{"until", read_until, "1 to 127 bytes of text, in double quotes if it has blanks"},
	{"shadow", read_shadow, "a number of shadow pages from 64 to 16777216"},
	{"pv", read_pv, "off, or a list of clock, eoi, steal, tlb and ipi like clock,eoi; tlb only with steal"},
	{"initrd-of", read_initrd_of, "a guest's name: " ACCEPTS_NAME},
	{"module-of", read_module_of, "a guest's name: " ACCEPTS_NAME},
};
#define KEYS (sizeof keys / sizeof *keys)
#define ACCEPTED_KEYS "name, mem, vcpus, cpus, log, period, limit, until, shadow, pv, initrd-of, module-of"

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next word into word[WORD], quotes and backslashes resolved. False: *error is set. *s stands behind it. */
static bool read_word(const char **s, char *word, char *error)
{
	const char *start = *s;
	bool quoted = false;
	size_t n = 0;

	for (; **s && (quoted || !blank(**s)); (*s)++) {
		if (**s == '"') {
			quoted = !quoted;
			continue;
		}
		if (**s == '\\' && (*s)[1])
			(*s)++;
		if (n + 1 == WORD) {
			text_format(error, CONFIG_ERROR, "a word of more than %d bytes: %.32s...", WORD - 1, start);
			return false;
		}
		word[n++] = **s;
	}
	word[n] = 0;
	if (quoted)
		text_format(error, CONFIG_ERROR, "double quotes are not closed: %.64s", start);
	return !quoted;
}

/* Reads one word, key=value. Bit i of *seen: keys[i] was there before. */
static bool read_key(struct config *c, const char *word, uint32_t *seen, char *error)
{
	size_t n = 0;

	while (word[n] && word[n] != '=')
		n++;
	for (unsigned i = 0; i < KEYS; i++) {
		const struct key *k = &keys[i];
		enum reading r;

		if (text_length(k->name) != n || __builtin_memcmp(word, k->name, n))
			continue;
		if (*seen >> i & 1) {
			text_format(error, CONFIG_ERROR, "%s= is there twice", k->name);
			return false;
		}
		*seen |= 1u << i;
		r = word[n] ? k->read(c, word + n + 1) : READ_BAD;
		if (r != READ_WELL)
			text_format(error, CONFIG_ERROR, "%.64s: expected %s", word, k->accepts);
		return r == READ_WELL;
	}
	text_format(error, CONFIG_ERROR, "unknown key in '%.64s'; the keys are " ACCEPTED_KEYS, word);
	return false;
}

static bool path(const char *word)
{
	bool slash = false;

	for (; *word; word++) {
		if (*word == '=')
			return false;
		slash |= *word == '/';
	}
	return slash;
}

static bool check_roles(uint32_t seen, char *error)
{
	uint32_t roles = seen >> (KEYS - 2), rest = seen & ((1u << (KEYS - 2)) - 1);

	if (roles == 3)
		text_format(error, CONFIG_ERROR, "initrd-of= and module-of= exclude each other");
	else if (roles && rest)
		text_format(error, CONFIG_ERROR, "%s-of= takes no other key", roles == 1 ? "initrd" : "module");
	else
		return true;
	return false;
}

static bool parse(struct config *c, const char *s, char *error)
{
	char word[WORD];
	uint32_t seen = 0;
	bool first = true;

	for (;; first = false) {
		while (blank(*s))
			s++;
		if (!*s)
			break;
		if (s[0] == '-' && s[1] == '-' && (!s[2] || blank(s[2]))) {
			for (s += 2; blank(*s); s++)
				;
			if (text_copy(c->command_line, CONFIG_COMMAND_LINE, s))
				break;
			text_format(error, CONFIG_ERROR, "the command line behind -- has more than %d bytes",
				CONFIG_COMMAND_LINE - 1);
			return false;
		}
		if (!read_word(&s, word, error))
			return false;
		if (first && path(word))
			continue;
		if (!read_key(c, word, &seen, error))
			return false;
	}
	if (c->shadow && c->shadow < (uint64_t)SHADOW_MIN * c->vcpus) {
		text_format(error, CONFIG_ERROR, "shadow=%lu: expected at least %u for each of %u vCPUs", c->shadow, SHADOW_MIN,
			c->vcpus);
		return false;
	}
	return check_roles(seen, error);
}

bool config_parse(struct config *c, const char *string, char *error)
{
	*c = (struct config){.mem = CONFIG_MEM_DEFAULT, .vcpus = 1, .period_us = PERIOD_DEFAULT_US, .pv = CONFIG_PV_ALL};
	error[0] = 0;
	if (parse(c, string, error))
		return true;
	/* The text goes to a console that machines read: the string's bytes must not make lines of their own. */
	for (char *e = error; *e; e++)
		if (*e < ' ' || *e > '~')
			*e = '?';
	return false;
}
