/* SPDX-License-Identifier: MIT */
/* The instructions with an operand in memory that emulate.c knows, as a table by opcode (AMD APM vol. 3, A.1). */
#include "guest/insn_read.h"

/* What an opcode's operands look like. */
enum shape {
	UNKNOWN,
	MEMORY_REG,
	REG_MEMORY,
	MEMORY_IMMEDIATE, /* of the operand's size, at most 4 bytes */
	MEMORY_BYTE,      /* immediate of one byte */
	MEMORY_ALONE,
	ACCUMULATOR_OFFSET, /* AL … RAX from an address in the instruction */
	OFFSET_ACCUMULATOR,
	STRING,
	GROUP, /* what it does, ModRM's reg says: op is the group's number */
};

/* The memory operand's size. */
enum size { BYTE, FULL, WORD, DWORD, DWORD_OR_MORE, PAIR };

/* Bits of entry.flags. */
#define LOCKABLE 1u
#define LONG_ONLY 2u        /* in 64-bit mode alone */
#define NOT_LONG 4u         /* in the other modes alone */
#define NO_PREFIX 8u        /* 66, F2 and F3 make another instruction of it */
#define REG_FULL 16u        /* the register is of the operand's size, whatever the memory operand's */
#define CONDITION 32u       /* the opcode's low four bits */
#define NO_OPERAND_SIZE 64u /* 66 makes another instruction of it */

struct entry {
	uint8_t op, shape, size, flags;
};

enum group {
	GROUP_IMMEDIATE_BYTE,
	GROUP_IMMEDIATE,
	GROUP_IMMEDIATE_SHORT,
	GROUP_UNARY_BYTE,
	GROUP_UNARY,
	GROUP_COUNT_BYTE,
	GROUP_COUNT,
	GROUP_MOV_BYTE,
	GROUP_MOV,
	GROUP_BIT,
	GROUP_PAIR,
	GROUPS
};

/* op between memory and register, both ways, bytes and more: four opcodes from `at` on. */
#define ARITHMETIC(at, op, flags)                                                                                      \
	[at] = {op, MEMORY_REG, BYTE, flags}, [(at) + 1] = {op, MEMORY_REG, FULL, flags},                              \
	[(at) + 2] = {op, REG_MEMORY, BYTE, 0}, [(at) + 3] = {op, REG_MEMORY, FULL, 0}

static const struct entry opcodes[2 * 256] = {
	ARITHMETIC(0x00, INSN_ADD, LOCKABLE),
	ARITHMETIC(0x08, INSN_OR, LOCKABLE),
	ARITHMETIC(0x10, INSN_ADC, LOCKABLE),
	ARITHMETIC(0x18, INSN_SBB, LOCKABLE),
	ARITHMETIC(0x20, INSN_AND, LOCKABLE),
	ARITHMETIC(0x28, INSN_SUB, LOCKABLE),
	ARITHMETIC(0x30, INSN_XOR, LOCKABLE),
	ARITHMETIC(0x38, INSN_CMP, 0),
	[0x63] = {INSN_MOVSX, REG_MEMORY, DWORD, LONG_ONLY | REG_FULL | NO_OPERAND_SIZE},
	[0x80] = {GROUP_IMMEDIATE_BYTE, GROUP, BYTE, 0},
	[0x81] = {GROUP_IMMEDIATE, GROUP, FULL, 0},
	[0x82] = {GROUP_IMMEDIATE_BYTE, GROUP, BYTE, NOT_LONG},
	[0x83] = {GROUP_IMMEDIATE_SHORT, GROUP, FULL, 0},
	[0x84] = {INSN_TEST, MEMORY_REG, BYTE, 0},
	[0x85] = {INSN_TEST, MEMORY_REG, FULL, 0},
	[0x86] = {INSN_XCHG, MEMORY_REG, BYTE, LOCKABLE},
	[0x87] = {INSN_XCHG, MEMORY_REG, FULL, LOCKABLE},
	ARITHMETIC(0x88, INSN_MOV, 0),
	[0x8c] = {INSN_MOV_SEG, MEMORY_REG, WORD, 0},
	[0xa0] = {INSN_MOV, ACCUMULATOR_OFFSET, BYTE, 0},
	[0xa1] = {INSN_MOV, ACCUMULATOR_OFFSET, FULL, 0},
	[0xa2] = {INSN_MOV, OFFSET_ACCUMULATOR, BYTE, 0},
	[0xa3] = {INSN_MOV, OFFSET_ACCUMULATOR, FULL, 0},
	[0xa4] = {INSN_MOVS, STRING, BYTE, 0},
	[0xa5] = {INSN_MOVS, STRING, FULL, 0},
	[0xa6] = {INSN_CMPS, STRING, BYTE, 0},
	[0xa7] = {INSN_CMPS, STRING, FULL, 0},
	[0xaa] = {INSN_STOS, STRING, BYTE, 0},
	[0xab] = {INSN_STOS, STRING, FULL, 0},
	[0xac] = {INSN_LODS, STRING, BYTE, 0},
	[0xad] = {INSN_LODS, STRING, FULL, 0},
	[0xae] = {INSN_SCAS, STRING, BYTE, 0},
	[0xaf] = {INSN_SCAS, STRING, FULL, 0},
	[0xc6] = {GROUP_MOV_BYTE, GROUP, BYTE, 0},
	[0xc7] = {GROUP_MOV, GROUP, FULL, 0},
	[0xf6] = {GROUP_UNARY_BYTE, GROUP, BYTE, 0},
	[0xf7] = {GROUP_UNARY, GROUP, FULL, 0},
	[0xfe] = {GROUP_COUNT_BYTE, GROUP, BYTE, 0},
	[0xff] = {GROUP_COUNT, GROUP, FULL, 0},
	[INSN_TWO_BYTE | 0x40 ... INSN_TWO_BYTE | 0x4f] = {INSN_CMOVCC, REG_MEMORY, FULL, CONDITION},
	[INSN_TWO_BYTE | 0x90 ... INSN_TWO_BYTE | 0x9f] = {INSN_SETCC, MEMORY_ALONE, BYTE, CONDITION},
	[INSN_TWO_BYTE | 0xa3] = {INSN_BT, MEMORY_REG, FULL, 0},
	[INSN_TWO_BYTE | 0xab] = {INSN_BTS, MEMORY_REG, FULL, LOCKABLE},
	[INSN_TWO_BYTE | 0xb0] = {INSN_CMPXCHG, MEMORY_REG, BYTE, LOCKABLE},
	[INSN_TWO_BYTE | 0xb1] = {INSN_CMPXCHG, MEMORY_REG, FULL, LOCKABLE},
	[INSN_TWO_BYTE | 0xb3] = {INSN_BTR, MEMORY_REG, FULL, LOCKABLE},
	[INSN_TWO_BYTE | 0xb6] = {INSN_MOVZX, REG_MEMORY, BYTE, REG_FULL},
	[INSN_TWO_BYTE | 0xb7] = {INSN_MOVZX, REG_MEMORY, WORD, REG_FULL},
	[INSN_TWO_BYTE | 0xba] = {GROUP_BIT, GROUP, FULL, 0},
	[INSN_TWO_BYTE | 0xbb] = {INSN_BTC, MEMORY_REG, FULL, LOCKABLE},
	[INSN_TWO_BYTE | 0xbe] = {INSN_MOVSX, REG_MEMORY, BYTE, REG_FULL},
	[INSN_TWO_BYTE | 0xbf] = {INSN_MOVSX, REG_MEMORY, WORD, REG_FULL},
	[INSN_TWO_BYTE | 0xc0] = {INSN_XADD, MEMORY_REG, BYTE, LOCKABLE},
	[INSN_TWO_BYTE | 0xc1] = {INSN_XADD, MEMORY_REG, FULL, LOCKABLE},
	[INSN_TWO_BYTE | 0xc3] = {INSN_MOV, MEMORY_REG, DWORD_OR_MORE, NO_PREFIX}, /* MOVNTI */
	[INSN_TWO_BYTE | 0xc7] = {GROUP_PAIR, GROUP, PAIR, 0},
};

/* The eight operations of 80h … 83h, with an immediate of this shape. */
#define ARITHMETIC_GROUP(shape, size)                                                                                  \
	{                                                                                                              \
		{INSN_ADD, shape, size, LOCKABLE}, {INSN_OR, shape, size, LOCKABLE},                                   \
			{INSN_ADC, shape, size, LOCKABLE}, {INSN_SBB, shape, size, LOCKABLE},                          \
			{INSN_AND, shape, size, LOCKABLE}, {INSN_SUB, shape, size, LOCKABLE},                          \
			{INSN_XOR, shape, size, LOCKABLE},                                                             \
		{                                                                                                      \
			INSN_CMP, shape, size, 0                                                                       \
		}                                                                                                      \
	}
#define UNARY_GROUP(size)                                                                                              \
	{                                                                                                              \
		{INSN_TEST, MEMORY_IMMEDIATE, size, 0}, {INSN_TEST, MEMORY_IMMEDIATE, size, 0},                        \
			{INSN_NOT, MEMORY_ALONE, size, LOCKABLE},                                                      \
		{                                                                                                      \
			INSN_NEG, MEMORY_ALONE, size, LOCKABLE                                                         \
		}                                                                                                      \
	}
#define COUNT_GROUP(size)                                                                                              \
	{                                                                                                              \
		{INSN_INC, MEMORY_ALONE, size, LOCKABLE},                                                              \
		{                                                                                                      \
			INSN_DEC, MEMORY_ALONE, size, LOCKABLE                                                         \
		}                                                                                                      \
	}

static const struct entry groups[GROUPS][8] = {
	[GROUP_IMMEDIATE_BYTE] = ARITHMETIC_GROUP(MEMORY_BYTE, BYTE),
	[GROUP_IMMEDIATE] = ARITHMETIC_GROUP(MEMORY_IMMEDIATE, FULL),
	[GROUP_IMMEDIATE_SHORT] = ARITHMETIC_GROUP(MEMORY_BYTE, FULL),
	[GROUP_UNARY_BYTE] = UNARY_GROUP(BYTE),
	[GROUP_UNARY] = UNARY_GROUP(FULL),
	[GROUP_COUNT_BYTE] = COUNT_GROUP(BYTE),
	[GROUP_COUNT] = COUNT_GROUP(FULL),
	[GROUP_MOV_BYTE] = {{INSN_MOV, MEMORY_IMMEDIATE, BYTE, 0}},
	[GROUP_MOV] = {{INSN_MOV, MEMORY_IMMEDIATE, FULL, 0}},
	[GROUP_BIT] = {[4] = {INSN_BT, MEMORY_BYTE, FULL, 0},
		{INSN_BTS, MEMORY_BYTE, FULL, LOCKABLE},
		{INSN_BTR, MEMORY_BYTE, FULL, LOCKABLE},
		{INSN_BTC, MEMORY_BYTE, FULL, LOCKABLE}},
	[GROUP_PAIR] = {[1] = {INSN_CMPXCHG_PAIR, MEMORY_ALONE, PAIR, LOCKABLE}},
};

static uint8_t size_bytes(enum size s, const struct insn *i)
{
	switch (s) {
	case BYTE:
		return 1;
	case WORD:
		return 2;
	case DWORD:
		return 4;
	case DWORD_OR_MORE:
		return i->operand_bytes == 8 ? 8 : 4;
	case PAIR:
		return i->operand_bytes == 8 ? 16 : 8;
	default:
		return i->operand_bytes;
	}
}

static bool allowed(const struct entry *e, unsigned mode, const struct insn_prefixes *x)
{
	if (e->shape == UNKNOWN || (x->lock && e->shape != GROUP && !(e->flags & LOCKABLE)))
		return false;
	if (e->flags & (mode == 8 ? NOT_LONG : LONG_ONLY))
		return false;
	if (e->flags & (NO_PREFIX | NO_OPERAND_SIZE) && x->operand)
		return false;
	return !(e->flags & NO_PREFIX && x->rep != INSN_ONCE);
}

/* The register that ModRM names. Without REX, byte registers 4 … 7 are AH, CH, DH, BH. */
static void set_reg(struct insn *i, uint8_t number, const struct insn_prefixes *x)
{
	i->reg = number | (x->rex & INSN_REX_R ? 8 : 0);
	i->high = i->reg_bytes == 1 && !x->rex && number >= 4;
	if (i->high)
		i->reg -= 4;
}

/* The source of strings that have one takes an override; ES:RDI does not. */
static void string_operand(struct insn *i, const struct insn_prefixes *x)
{
	i->form = INSN_STRING;
	i->seg = x->seg == INSN_NO_SEG ? DS : x->seg;
}

/* AL … RAX and an offset in the instruction. */
static void offset_operand(struct insn_reader *r, struct insn *i, const struct insn_prefixes *x, enum insn_form form)
{
	i->form = form;
	i->memory = true;
	i->displacement = insn_number(r, i->address_bytes);
	i->seg = x->seg == INSN_NO_SEG ? DS : x->seg;
	i->reg = RAX;
}

static bool operands(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, const struct entry *e,
	struct insn *i, uint8_t modrm)
{
	insn_modrm(r, mode, x, i, modrm);
	insn_rm_high(x, i);
	set_reg(i, modrm >> 3 & 7, x);
	switch (e->shape) {
	case MEMORY_REG:
		i->form = INSN_MEMORY_REG;
		break;
	case REG_MEMORY:
		i->form = INSN_REG_MEMORY;
		break;
	case MEMORY_IMMEDIATE:
		i->form = INSN_MEMORY_IMMEDIATE;
		i->immediate = (uint64_t)insn_number(r, i->bytes == 8 ? 4 : i->bytes);
		break;
	case MEMORY_BYTE:
		i->form = INSN_MEMORY_IMMEDIATE;
		i->immediate = (uint64_t)insn_number(r, 1);
		break;
	default:
		i->form = INSN_MEMORY_ALONE;
		break;
	}
	if (!i->memory && (x->lock || e->size == PAIR || e->flags & NO_PREFIX))
		return false;
	return e->op != INSN_MOV_SEG || i->reg % 8 <= GS;
}

bool insn_by_table(
	struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, struct insn *i)
{
	const struct entry *e = &opcodes[opcode];
	uint8_t modrm = 0;

	if (!allowed(e, mode, x))
		return false;
	if (e->shape != STRING && e->shape != ACCUMULATOR_OFFSET && e->shape != OFFSET_ACCUMULATOR)
		modrm = insn_byte(r);
	if (e->shape == GROUP) {
		e = &groups[e->op][modrm >> 3 & 7];
		if (!allowed(e, mode, x))
			return false;
	}
	i->op = e->op;
	i->bytes = size_bytes(e->size, i);
	i->reg_bytes = e->flags & REG_FULL ? i->operand_bytes : i->bytes;
	i->condition = e->flags & CONDITION ? opcode & 15 : 0;
	switch (e->shape) {
	case STRING:
		string_operand(i, x);
		return true;
	case ACCUMULATOR_OFFSET:
		offset_operand(r, i, x, INSN_REG_MEMORY);
		return true;
	case OFFSET_ACCUMULATOR:
		offset_operand(r, i, x, INSN_MEMORY_REG);
		return true;
	default:
		return operands(r, mode, x, e, i, modrm);
	}
}

static bool in_memory(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, struct insn *i)
{
	return insn_by_table(r, mode, x, opcode, i) && (i->memory || i->form == INSN_STRING);
}

enum insn_outcome insn_decode_memory(unsigned mode, const uint8_t *p, unsigned n, struct insn *out)
{
	return insn_decode_by(in_memory, mode, p, n, out);
}
