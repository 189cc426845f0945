/* SPDX-License-Identifier: MIT */
#include "guest/match.h"
#include "guest/text.h"
#include "mm/host.h"

/* The longest prefix, at most n bytes of it matched so far, that `byte` continues; its length with the byte. */
static unsigned extend(const struct match *m, unsigned n, uint8_t byte)
{
	while (n && (uint8_t)m->text[n] != byte)
		n = m->shorter[n - 1];
	return (uint8_t)m->text[n] == byte ? n + 1 : 0;
}

void match_init(struct match *m, const char *text)
{
	*m = (struct match){.text = text, .length = (unsigned)text_length(text)};
	CHECK(m->length < CONFIG_UNTIL);
	for (unsigned i = 1; i < m->length; i++)
		m->shorter[i] = (uint8_t)extend(m, m->shorter[i - 1], (uint8_t)text[i]);
}

bool match_byte(struct match *m, uint8_t byte)
{
	if (m->length == 0)
		return false;
	m->matched = extend(m, m->matched, byte);
	if (m->matched < m->length)
		return false;
	m->matched = m->shorter[m->length - 1];
	return true;
}
