/* SPDX-License-Identifier: MIT */
/* What insn.c and insn_memory.c do not know and interpret.c carries out, as a table by opcode (AMD APM vol. 3, A.1). */
#include "guest/insn_read.h"

enum shape {
	UNKNOWN,
	PLAIN,
	OPERAND,          /* by ModRM */
	OPERAND_BYTE,     /* and an immediate of one byte */
	REG_OPERAND,      /* ModRM's register is the destination */
	REG_OPERAND_BYTE, /* of it, the operand and an immediate */
	REG_OPERAND_IMMEDIATE,
	OPERAND_REG,      /* ModRM's register is the source */
	OPERAND_REG_BYTE,
	REGISTER,         /* the opcode's low three bits */
	REGISTER_IMMEDIATE, /* of the operand's size */
	REGISTER_ACCUMULATOR,
	ACCUMULATOR_IMMEDIATE,
	IMMEDIATE, /* of the operand's size, at most 4 bytes */
	IMMEDIATE_BYTE,
	PORT, /* a byte that is not signed; also an interrupt's vector */
	WORD,
	FRAME,       /* a word and a byte */
	FAR_POINTER, /* an offset of the operand's size, a selector */
	GROUP,       /* what it does, ModRM's reg says: op is the group's number */
};

/* Bits of entry.flags. */
#define BYTES_1 1u
#define BYTES_2 2u
#define BY_CL 4u
#define ONE 8u       /* the immediate is 1 */
#define NOT_LONG 16u /* not in 64-bit mode */
#define STACK 32u    /* in 64-bit mode 8 bytes, or 2 with 66 */
#define NEAR 64u     /* in 64-bit mode 8 bytes */
#define MEMORY 128u  /* the operand is no register */

struct entry {
	uint8_t op, shape, flags, extra;
};

enum group { GROUP_SHIFT, GROUP_SHIFT_BYTE, GROUP_MULTIPLY, GROUP_POP, GROUP_BRANCH, GROUP_TASK, GROUP_TABLES, GROUPS };

#define ACCUMULATOR(at, op)                                                                                            \
	[at] = {op, ACCUMULATOR_IMMEDIATE, BYTES_1, 0}, [(at) + 1] = {op, ACCUMULATOR_IMMEDIATE, 0, 0}

static const struct entry opcodes[2 * 256] = {
	ACCUMULATOR(0x04, INSN_ADD),
	ACCUMULATOR(0x0c, INSN_OR),
	ACCUMULATOR(0x14, INSN_ADC),
	ACCUMULATOR(0x1c, INSN_SBB),
	ACCUMULATOR(0x24, INSN_AND),
	ACCUMULATOR(0x2c, INSN_SUB),
	ACCUMULATOR(0x34, INSN_XOR),
	ACCUMULATOR(0x3c, INSN_CMP),
	[0x06] = {INSN_PUSH_SEG, PLAIN, NOT_LONG, ES},
	[0x07] = {INSN_POP_SEG, PLAIN, NOT_LONG, ES},
	[0x0e] = {INSN_PUSH_SEG, PLAIN, NOT_LONG, CS},
	[0x16] = {INSN_PUSH_SEG, PLAIN, NOT_LONG, SS},
	[0x17] = {INSN_POP_SEG, PLAIN, NOT_LONG, SS},
	[0x1e] = {INSN_PUSH_SEG, PLAIN, NOT_LONG, DS},
	[0x1f] = {INSN_POP_SEG, PLAIN, NOT_LONG, DS},
	[0x27] = {INSN_DAA, PLAIN, NOT_LONG, 0},
	[0x2f] = {INSN_DAS, PLAIN, NOT_LONG, 0},
	[0x37] = {INSN_AAA, PLAIN, NOT_LONG, 0},
	[0x3f] = {INSN_AAS, PLAIN, NOT_LONG, 0},
	[0x40 ... 0x47] = {INSN_INC, REGISTER, NOT_LONG, 0},
	[0x48 ... 0x4f] = {INSN_DEC, REGISTER, NOT_LONG, 0},
	[0x50 ... 0x57] = {INSN_PUSH, REGISTER, STACK, 0},
	[0x58 ... 0x5f] = {INSN_POP, REGISTER, STACK, 0},
	[0x60] = {INSN_PUSHA, PLAIN, NOT_LONG, 0},
	[0x61] = {INSN_POPA, PLAIN, NOT_LONG, 0},
	[0x62] = {INSN_BOUND, REG_OPERAND, NOT_LONG | MEMORY, 0},
	[0x68] = {INSN_PUSH, IMMEDIATE, STACK, 0},
	[0x69] = {INSN_IMUL_REG, REG_OPERAND_IMMEDIATE, 0, 0},
	[0x6a] = {INSN_PUSH, IMMEDIATE_BYTE, STACK, 0},
	[0x6b] = {INSN_IMUL_REG, REG_OPERAND_BYTE, 0, 0},
	[0x70 ... 0x7f] = {INSN_JCC, IMMEDIATE_BYTE, NEAR, 0},
	[0x8d] = {INSN_LEA, REG_OPERAND, MEMORY, 0},
	[0x8e] = {INSN_TO_SEG, REG_OPERAND, BYTES_2, 0},
	[0x8f] = {GROUP_POP, GROUP, STACK, 0},
	[0x90 ... 0x97] = {INSN_XCHG, REGISTER_ACCUMULATOR, 0, 0},
	[0x98] = {INSN_CBW, PLAIN, 0, 0},
	[0x99] = {INSN_CWD, PLAIN, 0, 0},
	[0x9a] = {INSN_CALL_FAR, FAR_POINTER, NOT_LONG, 0},
	[0x9c] = {INSN_PUSHF, PLAIN, STACK, 0},
	[0x9d] = {INSN_POPF, PLAIN, STACK, 0},
	[0x9e] = {INSN_SAHF, PLAIN, 0, 0},
	[0x9f] = {INSN_LAHF, PLAIN, 0, 0},
	ACCUMULATOR(0xa8, INSN_TEST),
	[0xb0 ... 0xb7] = {INSN_MOV, REGISTER_IMMEDIATE, BYTES_1, 0},
	[0xb8 ... 0xbf] = {INSN_MOV, REGISTER_IMMEDIATE, 0, 0},
	[0xc0] = {GROUP_SHIFT_BYTE, GROUP, 0, OPERAND_BYTE},
	[0xc1] = {GROUP_SHIFT, GROUP, 0, OPERAND_BYTE},
	[0xc2] = {INSN_RET, WORD, NEAR, 0},
	[0xc3] = {INSN_RET, PLAIN, NEAR, 0},
	[0xc4] = {INSN_LOAD_FAR, REG_OPERAND, NOT_LONG | MEMORY, ES},
	[0xc5] = {INSN_LOAD_FAR, REG_OPERAND, NOT_LONG | MEMORY, DS},
	[0xc8] = {INSN_ENTER, FRAME, STACK, 0},
	[0xc9] = {INSN_LEAVE, PLAIN, STACK, 0},
	[0xca] = {INSN_RET_FAR, WORD, 0, 0},
	[0xcb] = {INSN_RET_FAR, PLAIN, 0, 0},
	[0xcc] = {INSN_INT3, PLAIN, 0, 0},
	[0xcd] = {INSN_INT, PORT, 0, 0},
	[0xce] = {INSN_INTO, PLAIN, NOT_LONG, 0},
	[0xcf] = {INSN_IRET, PLAIN, 0, 0},
	[0xd0] = {GROUP_SHIFT_BYTE, GROUP, ONE, OPERAND},
	[0xd1] = {GROUP_SHIFT, GROUP, ONE, OPERAND},
	[0xd2] = {GROUP_SHIFT_BYTE, GROUP, BY_CL, OPERAND},
	[0xd3] = {GROUP_SHIFT, GROUP, BY_CL, OPERAND},
	[0xd4] = {INSN_AAM, IMMEDIATE_BYTE, NOT_LONG, 0},
	[0xd5] = {INSN_AAD, IMMEDIATE_BYTE, NOT_LONG, 0},
	[0xd7] = {INSN_XLAT, PLAIN, 0, 0},
	[0xe0] = {INSN_LOOPNE, IMMEDIATE_BYTE, NEAR, 0},
	[0xe1] = {INSN_LOOPE, IMMEDIATE_BYTE, NEAR, 0},
	[0xe2] = {INSN_LOOP, IMMEDIATE_BYTE, NEAR, 0},
	[0xe3] = {INSN_JCXZ, IMMEDIATE_BYTE, NEAR, 0},
	[0xe4] = {INSN_IN, PORT, BYTES_1, 0},
	[0xe5] = {INSN_IN, PORT, 0, 0},
	[0xe6] = {INSN_OUT, PORT, BYTES_1, 0},
	[0xe7] = {INSN_OUT, PORT, 0, 0},
	[0xe8] = {INSN_CALL, IMMEDIATE, NEAR, 0},
	[0xe9] = {INSN_JMP, IMMEDIATE, NEAR, 0},
	[0xea] = {INSN_JMP_FAR, FAR_POINTER, NOT_LONG, 0},
	[0xeb] = {INSN_JMP, IMMEDIATE_BYTE, NEAR, 0},
	[0xec] = {INSN_IN, PLAIN, BYTES_1, 0},
	[0xed] = {INSN_IN, PLAIN, 0, 0},
	[0xee] = {INSN_OUT, PLAIN, BYTES_1, 0},
	[0xef] = {INSN_OUT, PLAIN, 0, 0},
	[0xf5] = {INSN_CMC, PLAIN, 0, 0},
	[0xf6] = {GROUP_MULTIPLY, GROUP, BYTES_1, 0},
	[0xf7] = {GROUP_MULTIPLY, GROUP, 0, 0},
	[0xf8] = {INSN_CLC, PLAIN, 0, 0},
	[0xf9] = {INSN_STC, PLAIN, 0, 0},
	[0xfa] = {INSN_CLI, PLAIN, 0, 0},
	[0xfb] = {INSN_STI, PLAIN, 0, 0},
	[0xfc] = {INSN_CLD, PLAIN, 0, 0},
	[0xfd] = {INSN_STD, PLAIN, 0, 0},
	[0xff] = {GROUP_BRANCH, GROUP, 0, 0},
	[INSN_TWO_BYTE | 0x00] = {GROUP_TASK, GROUP, BYTES_2, 0},
	[INSN_TWO_BYTE | 0x01] = {GROUP_TABLES, GROUP, 0, 0},
	[INSN_TWO_BYTE | 0x0b] = {INSN_UD, PLAIN, 0, 0},
	[INSN_TWO_BYTE | 0x0d] = {INSN_NOP, OPERAND, 0, 0}, /* prefetches */
	[INSN_TWO_BYTE | 0x18 ... INSN_TWO_BYTE | 0x1f] = {INSN_NOP, OPERAND, 0, 0},
	[INSN_TWO_BYTE | 0x31] = {INSN_RDTSC, PLAIN, 0, 0},
	[INSN_TWO_BYTE | 0x33] = {INSN_RDPMC, PLAIN, 0, 0},
	[INSN_TWO_BYTE | 0x80 ... INSN_TWO_BYTE | 0x8f] = {INSN_JCC, IMMEDIATE, NEAR, 0},
	[INSN_TWO_BYTE | 0xa0] = {INSN_PUSH_SEG, PLAIN, STACK, FS},
	[INSN_TWO_BYTE | 0xa1] = {INSN_POP_SEG, PLAIN, STACK, FS},
	[INSN_TWO_BYTE | 0xa4] = {INSN_SHLD, OPERAND_REG_BYTE, 0, 0},
	[INSN_TWO_BYTE | 0xa5] = {INSN_SHLD, OPERAND_REG, BY_CL, 0},
	[INSN_TWO_BYTE | 0xa8] = {INSN_PUSH_SEG, PLAIN, STACK, GS},
	[INSN_TWO_BYTE | 0xa9] = {INSN_POP_SEG, PLAIN, STACK, GS},
	[INSN_TWO_BYTE | 0xac] = {INSN_SHRD, OPERAND_REG_BYTE, 0, 0},
	[INSN_TWO_BYTE | 0xad] = {INSN_SHRD, OPERAND_REG, BY_CL, 0},
	[INSN_TWO_BYTE | 0xaf] = {INSN_IMUL_REG, REG_OPERAND, 0, 0},
	[INSN_TWO_BYTE | 0xb2] = {INSN_LOAD_FAR, REG_OPERAND, MEMORY, SS},
	[INSN_TWO_BYTE | 0xb4] = {INSN_LOAD_FAR, REG_OPERAND, MEMORY, FS},
	[INSN_TWO_BYTE | 0xb5] = {INSN_LOAD_FAR, REG_OPERAND, MEMORY, GS},
	[INSN_TWO_BYTE | 0xb9] = {INSN_UD, OPERAND, 0, 0},
	[INSN_TWO_BYTE | 0xbc] = {INSN_BSF, REG_OPERAND, 0, 0},
	[INSN_TWO_BYTE | 0xbd] = {INSN_BSR, REG_OPERAND, 0, 0},
	[INSN_TWO_BYTE | 0xc8 ... INSN_TWO_BYTE | 0xcf] = {INSN_BSWAP, REGISTER, 0, 0},
	[INSN_TWO_BYTE | 0xff] = {INSN_UD, OPERAND, 0, 0},
};

/* A shape left out is the opcode's `extra`. */
static const struct entry groups[GROUPS][8] = {
	[GROUP_SHIFT] = {{INSN_ROL, 0, 0, 0}, {INSN_ROR, 0, 0, 0}, {INSN_RCL, 0, 0, 0}, {INSN_RCR, 0, 0, 0}, {INSN_SHL, 0, 0, 0},
		{INSN_SHR, 0, 0, 0}, {INSN_SAL, 0, 0, 0}, {INSN_SAR, 0, 0, 0}},
	[GROUP_SHIFT_BYTE] = {{INSN_ROL, 0, BYTES_1, 0}, {INSN_ROR, 0, BYTES_1, 0}, {INSN_RCL, 0, BYTES_1, 0},
		{INSN_RCR, 0, BYTES_1, 0}, {INSN_SHL, 0, BYTES_1, 0}, {INSN_SHR, 0, BYTES_1, 0}, {INSN_SAL, 0, BYTES_1, 0},
		{INSN_SAR, 0, BYTES_1, 0}},
	[GROUP_MULTIPLY] = {[4] = {INSN_MUL, OPERAND, 0, 0}, {INSN_IMUL, OPERAND, 0, 0}, {INSN_DIV, OPERAND, 0, 0},
		{INSN_IDIV, OPERAND, 0, 0}},
	[GROUP_POP] = {{INSN_POP, OPERAND, 0, 0}},
	[GROUP_BRANCH] = {[2] = {INSN_CALL, OPERAND, NEAR, 0}, {INSN_CALL_FAR, OPERAND, MEMORY, 0}, {INSN_JMP, OPERAND, NEAR, 0},
		{INSN_JMP_FAR, OPERAND, MEMORY, 0}, {INSN_PUSH, OPERAND, STACK, 0}},
	[GROUP_TASK] = {{INSN_SLDT, OPERAND, 0, 0}, {INSN_STR, OPERAND, 0, 0}, {INSN_LLDT, OPERAND, 0, 0},
		{INSN_LTR, OPERAND, 0, 0}},
	[GROUP_TABLES] = {{INSN_SGDT, OPERAND, MEMORY, 0}, {INSN_SIDT, OPERAND, MEMORY, 0}, {INSN_LGDT, OPERAND, MEMORY, 0},
		{INSN_LIDT, OPERAND, MEMORY, 0}},
};

static void set_sizes(struct insn *i, unsigned mode, const struct insn_prefixes *x, unsigned flags)
{
	if (mode == 8 && flags & STACK)
		i->operand_bytes = x->operand && !(x->rex & INSN_REX_W) ? 2 : 8;
	if (mode == 8 && flags & NEAR)
		i->operand_bytes = 8;
	i->bytes = flags & BYTES_1 ? 1 : flags & BYTES_2 ? 2 : i->operand_bytes;
	i->reg_bytes = i->bytes;
	i->by_cl = flags & BY_CL;
	i->immediate = flags & ONE ? 1 : 0;
}

/* An immediate of the operand's size, but never of 8 bytes. */
static uint64_t immediate(struct insn_reader *r, const struct insn *i)
{
	return (uint64_t)insn_number(r, i->bytes == 8 ? 4 : i->bytes);
}

static void operand(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, struct insn *i, enum insn_form form)
{
	uint8_t modrm = insn_byte(r);

	i->form = form;
	i->reg = (modrm >> 3 & 7) | (x->rex & INSN_REX_R ? 8 : 0);
	insn_modrm(r, mode, x, i, modrm);
	insn_rm_high(x, i);
}

static void reg_operand(struct insn *i, const struct insn_prefixes *x, unsigned opcode, enum insn_form form)
{
	i->form = form;
	i->rm = (opcode & 7) | (x->rex & INSN_REX_B ? 8 : 0);
	insn_rm_high(x, i);
}

static void operands(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, enum shape shape,
	struct insn *i)
{
	switch (shape) {
	case OPERAND:
		operand(r, mode, x, i, i->op <= INSN_SHRD && i->op >= INSN_ROL ? INSN_MEMORY_IMMEDIATE : INSN_MEMORY_ALONE);
		break;
	case OPERAND_BYTE:
		operand(r, mode, x, i, INSN_MEMORY_IMMEDIATE);
		i->immediate = (uint64_t)insn_number(r, 1);
		break;
	case REG_OPERAND:
		operand(r, mode, x, i, INSN_REG_MEMORY);
		break;
	case REG_OPERAND_BYTE:
		operand(r, mode, x, i, INSN_REG_MEMORY);
		i->three = true;
		i->immediate = (uint64_t)insn_number(r, 1);
		break;
	case REG_OPERAND_IMMEDIATE:
		operand(r, mode, x, i, INSN_REG_MEMORY);
		i->three = true;
		i->immediate = immediate(r, i);
		break;
	case OPERAND_REG:
		operand(r, mode, x, i, INSN_MEMORY_REG);
		break;
	case OPERAND_REG_BYTE:
		operand(r, mode, x, i, INSN_MEMORY_REG);
		i->immediate = (uint64_t)insn_number(r, 1);
		break;
	case REGISTER:
		reg_operand(i, x, opcode, INSN_MEMORY_ALONE);
		break;
	case REGISTER_IMMEDIATE:
		reg_operand(i, x, opcode, INSN_MEMORY_IMMEDIATE);
		i->immediate = (uint64_t)insn_number(r, i->bytes);
		break;
	case REGISTER_ACCUMULATOR:
		reg_operand(i, x, opcode, INSN_MEMORY_REG);
		if (!i->rm)
			i->op = INSN_NOP; /* PAUSE too */
		break;
	case ACCUMULATOR_IMMEDIATE:
		i->form = INSN_MEMORY_IMMEDIATE;
		i->immediate = immediate(r, i);
		break;
	case IMMEDIATE:
		i->form = INSN_IMMEDIATE;
		i->immediate = immediate(r, i);
		break;
	case IMMEDIATE_BYTE:
		i->form = INSN_IMMEDIATE;
		i->immediate = (uint64_t)insn_number(r, 1);
		break;
	case PORT:
		i->form = INSN_IMMEDIATE;
		i->immediate = insn_byte(r);
		break;
	case WORD:
	case FRAME:
		i->form = INSN_IMMEDIATE;
		i->immediate = (uint16_t)insn_number(r, 2);
		if (shape == FRAME)
			i->extra = insn_byte(r);
		break;
	case FAR_POINTER:
		i->form = INSN_IMMEDIATE;
		i->immediate = insn_wrap((uint64_t)insn_number(r, i->operand_bytes), i->operand_bytes);
		i->extra = (uint16_t)insn_number(r, 2);
		break;
	default:
		i->form = INSN_PLAIN;
		break;
	}
}

/* What ModRM's byte, which is still to be read, names in a group; one that is UNKNOWN: nothing. */
static struct entry in_group(const struct insn_reader *r, const struct entry *e)
{
	struct insn_reader ahead = *r;
	struct entry found = groups[e->op][insn_byte(&ahead) >> 3 & 7];

	if (e->op == GROUP_SHIFT || e->op == GROUP_SHIFT_BYTE)
		found.shape = e->extra;
	found.flags |= e->flags;
	return found;
}

static bool by_rest(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, struct insn *i)
{
	struct entry e = opcodes[opcode];

	if (e.shape == GROUP)
		e = in_group(r, &e);
	if (e.shape == UNKNOWN || x->lock || (mode == 8 && e.flags & NOT_LONG))
		return false;
	i->op = e.op;
	set_sizes(i, mode, x, e.flags);
	operands(r, mode, x, opcode, e.shape, i);
	if (e.op == INSN_PUSH_SEG || e.op == INSN_POP_SEG)
		i->reg = e.extra;
	i->extra |= e.op == INSN_LOAD_FAR ? e.extra : 0;
	i->condition = e.op == INSN_JCC ? opcode & 15 : 0;
	if (e.op == INSN_TO_SEG && (i->reg % 8 > GS || i->reg % 8 == CS))
		i->op = INSN_UD;
	if (e.op == INSN_XLAT)
		i->seg = x->seg == INSN_NO_SEG ? DS : x->seg;
	return i->memory || !(e.flags & MEMORY);
}

/* 0F AE with mod 3: LFENCE, MFENCE, SFENCE. 0F 01 F9: RDTSCP. */
static bool by_byte(struct insn_reader *r, unsigned opcode, struct insn *i)
{
	uint8_t modrm;

	if (opcode != (INSN_TWO_BYTE | 0xae) && opcode != (INSN_TWO_BYTE | 0x01))
		return false;
	modrm = insn_byte(r);
	i->form = INSN_PLAIN;
	i->op = opcode == (INSN_TWO_BYTE | 0xae) ? INSN_NOP : INSN_RDTSCP;
	return i->op == INSN_NOP ? modrm >= 0xe8 : modrm == 0xf9;
}

static bool by_all(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, struct insn *i)
{
	const struct insn_reader before = *r;
	const struct insn fresh = *i;

	if (by_rest(r, mode, x, opcode, i))
		return true;
	*r = before;
	*i = fresh;
	if (by_byte(r, opcode, i))
		return true;
	*r = before;
	*i = fresh;
	if (insn_exiting(r, mode, x, opcode, i))
		return true;
	*r = before;
	*i = fresh;
	return insn_by_table(r, mode, x, opcode, i);
}

enum insn_outcome insn_decode_all(unsigned mode, const uint8_t *p, unsigned n, struct insn *out)
{
	return insn_decode_by(by_all, mode, p, n, out);
}
