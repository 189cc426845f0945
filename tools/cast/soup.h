/* SPDX-License-Identifier: MIT */
/* Code that nobody wrote: bytes for a hostile guest to execute, in user mode and in the kernel; and its random numbers. */
#ifndef CAST_SOUP_H
#define CAST_SOUP_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
#endif

enum soup_flavour {
	SOUP_RANDOM,	/* any bytes */
	SOUP_SYSTEM,	/* privileged, VMX's, SVM's */
	SOUP_STRING,	/* string instructions with REP */
	SOUP_FAR,	/* far transfers, INT n, SYSENTER, SYSCALL, segment registers */
	SOUP_VECTOR,	/* x87, SSE, AVX, XSAVE */
	SOUP_MIXED,	/* the last four, and ordinary ones between */
	SOUP_FLAVOURS
};

/* An instruction's first bytes; tail: so many random ones follow, ModRM among them. */
struct soup_opcode {
	uint8_t flavour, size, tail;
	uint8_t bytes[4];
};

static const struct soup_opcode soup_opcodes[] = {
	{SOUP_SYSTEM, 2, 1, {0x0f, 0x00}}, {SOUP_SYSTEM, 2, 5, {0x0f, 0x00}}, {SOUP_SYSTEM, 2, 1, {0x0f, 0x01}},
	{SOUP_SYSTEM, 2, 5, {0x0f, 0x01}}, {SOUP_SYSTEM, 2, 1, {0x0f, 0x20}}, {SOUP_SYSTEM, 2, 1, {0x0f, 0x21}},
	{SOUP_SYSTEM, 2, 1, {0x0f, 0x22}}, {SOUP_SYSTEM, 2, 1, {0x0f, 0x23}}, {SOUP_SYSTEM, 3, 1, {0x44, 0x0f, 0x22}},
	{SOUP_SYSTEM, 2, 0, {0x0f, 0x30}}, {SOUP_SYSTEM, 2, 0, {0x0f, 0x32}}, {SOUP_SYSTEM, 2, 0, {0x0f, 0x33}},
	{SOUP_SYSTEM, 2, 0, {0x0f, 0x31}}, {SOUP_SYSTEM, 2, 0, {0x0f, 0xa2}}, {SOUP_SYSTEM, 2, 0, {0x0f, 0x06}},
	{SOUP_SYSTEM, 2, 0, {0x0f, 0x08}}, {SOUP_SYSTEM, 2, 0, {0x0f, 0x09}}, {SOUP_SYSTEM, 2, 1, {0x0f, 0x78}},
	{SOUP_SYSTEM, 2, 1, {0x0f, 0x79}}, {SOUP_SYSTEM, 2, 1, {0x0f, 0xc7}}, {SOUP_SYSTEM, 3, 1, {0x66, 0x0f, 0xc7}},
	{SOUP_SYSTEM, 3, 1, {0xf3, 0x0f, 0xc7}}, {SOUP_SYSTEM, 4, 1, {0x66, 0x0f, 0x38, 0x80}},
	{SOUP_SYSTEM, 4, 1, {0x66, 0x0f, 0x38, 0x81}}, {SOUP_SYSTEM, 4, 1, {0x66, 0x0f, 0x38, 0x82}},
	{SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xc1}}, {SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xd8}},
	{SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xd9}}, {SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xda}},
	{SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xdc}}, {SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xdd}},
	{SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xde}}, {SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xdf}},
	{SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xf8}}, {SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xd1}},
	{SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xc8}}, {SOUP_SYSTEM, 3, 0, {0x0f, 0x01, 0xc9}},
	{SOUP_SYSTEM, 1, 0, {0xf4}}, {SOUP_SYSTEM, 1, 0, {0xfa}}, {SOUP_SYSTEM, 1, 0, {0xfb}}, {SOUP_SYSTEM, 2, 0, {0x0f, 0xaa}},
	{SOUP_SYSTEM, 1, 0, {0x9d}}, {SOUP_SYSTEM, 1, 0, {0xec}}, {SOUP_SYSTEM, 1, 0, {0xef}},

	{SOUP_STRING, 2, 0, {0xf3, 0x6c}}, {SOUP_STRING, 2, 0, {0xf3, 0x6d}}, {SOUP_STRING, 2, 0, {0xf3, 0x6e}},
	{SOUP_STRING, 2, 0, {0xf3, 0x6f}}, {SOUP_STRING, 3, 0, {0x66, 0xf3, 0x6d}}, {SOUP_STRING, 3, 0, {0x67, 0xf3, 0x6e}},
	{SOUP_STRING, 2, 0, {0xf3, 0xa4}}, {SOUP_STRING, 3, 0, {0xf3, 0x48, 0xa5}}, {SOUP_STRING, 2, 0, {0xf3, 0xaa}},
	{SOUP_STRING, 3, 0, {0xf3, 0x48, 0xab}}, {SOUP_STRING, 2, 0, {0xf2, 0xa6}}, {SOUP_STRING, 2, 0, {0xf3, 0xae}},
	{SOUP_STRING, 3, 0, {0x65, 0xf3, 0xa5}}, {SOUP_STRING, 1, 0, {0xfd}}, {SOUP_STRING, 1, 0, {0xfc}},
	{SOUP_STRING, 1, 4, {0xb9}}, {SOUP_STRING, 1, 4, {0xba}},

	{SOUP_FAR, 1, 1, {0xcd}}, {SOUP_FAR, 1, 0, {0xcc}}, {SOUP_FAR, 1, 0, {0xf1}}, {SOUP_FAR, 1, 0, {0xce}},
	{SOUP_FAR, 2, 0, {0x0f, 0x05}}, {SOUP_FAR, 2, 0, {0x0f, 0x34}}, {SOUP_FAR, 2, 0, {0x0f, 0x35}},
	{SOUP_FAR, 2, 0, {0x0f, 0x07}}, {SOUP_FAR, 2, 0, {0x48, 0xcf}}, {SOUP_FAR, 1, 0, {0xcf}}, {SOUP_FAR, 1, 0, {0xcb}},
	{SOUP_FAR, 1, 2, {0xca}}, {SOUP_FAR, 1, 1, {0xff}}, {SOUP_FAR, 2, 1, {0x48, 0xff}}, {SOUP_FAR, 1, 1, {0x8e}},
	{SOUP_FAR, 2, 1, {0x0f, 0xb2}}, {SOUP_FAR, 2, 0, {0x0f, 0xa1}}, {SOUP_FAR, 2, 0, {0x0f, 0xa9}},
	{SOUP_FAR, 1, 6, {0xea}}, {SOUP_FAR, 2, 1, {0x0f, 0x02}}, {SOUP_FAR, 2, 1, {0x0f, 0x03}},
	{SOUP_FAR, 2, 0, {0x0f, 0x0b}}, {SOUP_FAR, 1, 0, {0xf0}},

	{SOUP_VECTOR, 2, 1, {0x0f, 0xae}}, {SOUP_VECTOR, 3, 1, {0x48, 0x0f, 0xae}}, {SOUP_VECTOR, 1, 1, {0xd9}},
	{SOUP_VECTOR, 1, 1, {0xdb}}, {SOUP_VECTOR, 1, 1, {0xdd}}, {SOUP_VECTOR, 1, 0, {0x9b}}, {SOUP_VECTOR, 2, 1, {0x0f, 0x28}},
	{SOUP_VECTOR, 2, 1, {0x0f, 0x11}}, {SOUP_VECTOR, 3, 1, {0x66, 0x0f, 0x7f}}, {SOUP_VECTOR, 3, 1, {0xf3, 0x0f, 0x6f}},
	{SOUP_VECTOR, 2, 0, {0x0f, 0x77}}, {SOUP_VECTOR, 2, 3, {0xc5, 0xf8}}, {SOUP_VECTOR, 2, 3, {0xc5, 0xfd}},
	{SOUP_VECTOR, 1, 4, {0xc4}}, {SOUP_VECTOR, 1, 6, {0x62}}, {SOUP_VECTOR, 3, 0, {0x0f, 0x01, 0xd0}},
	{SOUP_VECTOR, 2, 2, {0x0f, 0x38}}, {SOUP_VECTOR, 2, 3, {0x0f, 0x3a}}, {SOUP_VECTOR, 3, 1, {0x0f, 0xc7, 0x0f}},

	{SOUP_MIXED, 2, 1, {0x48, 0x89}}, {SOUP_MIXED, 2, 1, {0x48, 0x8b}}, {SOUP_MIXED, 1, 1, {0x00}},
	{SOUP_MIXED, 2, 2, {0x48, 0x83}}, {SOUP_MIXED, 2, 1, {0xf0, 0x01}}, {SOUP_MIXED, 3, 1, {0xf0, 0x0f, 0xb1}},
	{SOUP_MIXED, 1, 0, {0x50}}, {SOUP_MIXED, 1, 0, {0x5f}}, {SOUP_MIXED, 1, 0, {0x9c}}, {SOUP_MIXED, 1, 1, {0x75}},
	{SOUP_MIXED, 1, 1, {0xeb}}, {SOUP_MIXED, 2, 1, {0x48, 0xf7}}, {SOUP_MIXED, 2, 0, {0xf3, 0x90}},
	{SOUP_MIXED, 4, 1, {0x66, 0x0f, 0x1f, 0x44}}, {SOUP_MIXED, 1, 4, {0xe8}},
	/* Over the instructions ahead: mov %al, 1(%rip) and its like. */
	{SOUP_MIXED, 3, 1, {0x00, 0x05, 0x02}}, {SOUP_MIXED, 4, 3, {0x88, 0x05, 0x01, 0x00}},
};

enum { SOUP_OPCODES = sizeof soup_opcodes / sizeof soup_opcodes[0], SOUP_RET = 0xc3 };

/* xorshift64*; the state is never zero. */
static inline uint64_t soup_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static inline uint32_t soup_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(soup_random(state) >> 32) % n;
}

static inline uint64_t soup_seeded(uint64_t seed)
{
	return 0x9e3779b97f4a7c15ULL * (seed + 1) | 1;
}

/* A number of a kind that is met in registers: few bits, many, one, an address. */
static inline uint64_t soup_value(uint64_t *state)
{
	uint64_t value = soup_random(state);

	switch (soup_below(state, 6)) {
	case 0: return value;
	case 1: return 1ULL << (value & 63);
	case 2: return value & soup_random(state) & soup_random(state);
	case 3: return value >> (value & 63);
	case 4: return ~0ULL << (value & 63);
	default: return value & 0xffff;
	}
}

/* Fills room bytes, of which the last is a RET. */
static inline void soup_fill(uint8_t *at, unsigned room, uint64_t *state, enum soup_flavour flavour)
{
	unsigned i = 0;

	while (i < room) {
		const struct soup_opcode *o = &soup_opcodes[soup_below(state, SOUP_OPCODES)];

		if (flavour == SOUP_RANDOM || o->size + o->tail >= room - i) {
			at[i++] = (uint8_t)(soup_random(state) >> 56);
			continue;
		}
		if (flavour != SOUP_MIXED && o->flavour != flavour && (o->flavour != SOUP_MIXED || soup_below(state, 4)))
			continue;
		for (unsigned n = 0; n < o->size; n++)
			at[i++] = o->bytes[n];
		for (unsigned n = 0; n < o->tail; n++)
			at[i++] = (uint8_t)(soup_random(state) >> 56);
	}
	at[room - 1] = SOUP_RET;
}

#endif
