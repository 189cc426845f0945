/* SPDX-License-Identifier: MIT */
/* An instruction's bytes, in the order in which they are read: prefixes, ModRM, SIB, displacement (AMD APM vol. 3, 1.2 to
 * 1.5). What the decoders share. */
#ifndef GUEST_INSN_READ_H
#define GUEST_INSN_READ_H

#include "guest/insn.h"

#define INSN_NO_SEG SEGS
#define INSN_TWO_BYTE 0x100u /* opcode 0F xx */

#define INSN_REX_W 8u
#define INSN_REX_R 4u
#define INSN_REX_X 2u
#define INSN_REX_B 1u

struct insn_reader {
	const uint8_t *p;
	unsigned n, at;
	bool ended; /* a byte was asked for that is not there */
};

struct insn_prefixes {
	bool operand, address, lock;
	enum insn_rep rep; /* the last of them */
	uint8_t rex;       /* 0: none */
	enum seg seg;      /* the override, or INSN_NO_SEG */
};

/* The next byte; 0 at the end, which is noted. */
static inline uint8_t insn_byte(struct insn_reader *r)
{
	if (r->at < r->n)
		return r->p[r->at++];
	r->ended = true;
	return 0;
}
/* A little-endian number of 1, 2, 4 or 8 bytes, sign-extended. */
int64_t insn_number(struct insn_reader *r, unsigned bytes);

/* The operand that ModRM's byte, just read, begins: i->memory, rm, or where in memory. */
void insn_modrm(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, struct insn *i, uint8_t modrm);
/* A decoder's own part: what follows the opcode, which has INSN_TWO_BYTE where it stood behind 0F. False: not one of its. *i
 * begins with the sizes that follow from the prefixes and mode (2, 4, 8). */
typedef bool insn_decoder(
	struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, struct insn *i);
/* insn.c's: the instructions that exit; insn_memory.c's table, with operands in registers too. */
insn_decoder insn_exiting, insn_by_table;
/* Register rm of a byte: without REX, 4 … 7 are AH, CH, DH and BH. */
void insn_rm_high(const struct insn_prefixes *x, struct insn *i);
/* Decodes n bytes at p, of which no more count than an instruction may have. */
enum insn_outcome insn_decode_by(insn_decoder *decoder, unsigned mode, const uint8_t *p, unsigned n, struct insn *out);

#endif
