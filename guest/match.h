/* SPDX-License-Identifier: MIT */
/* Finds a text in a stream of bytes, whatever lies between the calls (Knuth, Morris and Pratt). */
#ifndef GUEST_MATCH_H
#define GUEST_MATCH_H

#include "guest/config.h"

struct match {
	const char *text;              /* the caller's, kept */
	unsigned length;               /* its bytes; 0: nothing is ever found */
	unsigned matched;              /* bytes of it that the stream ends with */
	uint8_t shorter[CONFIG_UNTIL]; /* [n]: the longest proper prefix that ends the first n+1 bytes */
};

/* text: shorter than CONFIG_UNTIL; empty is never found. */
void match_init(struct match *m, const char *text);
/* The next byte of the stream: true when the text ends here. */
bool match_byte(struct match *m, uint8_t byte);

#endif
