/* SPDX-License-Identifier: MIT */
/* What a person types at the console: bytes for whoever has the focus, and keys behind Ctrl-a for the hypervisor. Pure. */
#ifndef HV_ESCAPE_H
#define HV_ESCAPE_H

#include <stdbool.h>
#include <stdint.h>

#define ESCAPE_BYTE 0x01 /* Ctrl-a */

enum escape_key {
	ESCAPE_NONE,       /* more is to come */
	ESCAPE_PASS,       /* the byte is for who has the focus; so is ESCAPE_BYTE itself, behind Ctrl-a, as 'a' */
	ESCAPE_GUEST,      /* 1…9: the focus to the n-th guest */
	ESCAPE_NEXT,       /* n */
	ESCAPE_PREVIOUS,   /* p */
	ESCAPE_HYPERVISOR, /* h */
	ESCAPE_RAW,        /* r: raw mode on or off */
	ESCAPE_MONITOR,    /* m */
	ESCAPE_USAGE,      /* ?, and what is no key */
};

/* ESCAPE_USAGE's answer. */
#define ESCAPE_KEYS "Ctrl-a and 1-9: that guest, n: next, p: previous, h: hypervisor, r: raw on or off, m: monitor, a: Ctrl-a itself, ?: this"

/* One byte more. *escaped: the byte before it was Ctrl-a. With ESCAPE_PASS, *out is what to pass; with ESCAPE_GUEST, the
 * guest's number from 0. */
enum escape_key escape_byte(bool *escaped, uint8_t byte, uint8_t *out);

#endif
