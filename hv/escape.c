/* SPDX-License-Identifier: MIT */
#include "hv/escape.h"

enum escape_key escape_byte(bool *escaped, uint8_t byte, uint8_t *out)
{
	if (!*escaped) {
		*escaped = byte == ESCAPE_BYTE;
		*out = byte;
		return *escaped ? ESCAPE_NONE : ESCAPE_PASS;
	}
	*escaped = false;
	if (byte >= '1' && byte <= '9') {
		*out = byte - '1';
		return ESCAPE_GUEST;
	}
	switch (byte) {
	case 'n':
		return ESCAPE_NEXT;
	case 'p':
		return ESCAPE_PREVIOUS;
	case 'h':
		return ESCAPE_HYPERVISOR;
	case 'r':
		return ESCAPE_RAW;
	case 'm':
		return ESCAPE_MONITOR;
	case 'a':
		*out = ESCAPE_BYTE;
		return ESCAPE_PASS;
	default:
		return ESCAPE_USAGE;
	}
}
