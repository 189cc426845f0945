/* SPDX-License-Identifier: MIT */
/* guest/insn_memory.c against Zydis, a disassembler that has nothing to do with it: random bytes, most of them behind an
 * opcode of the table, in 16-, 32- and 64-bit mode. What one knows the other must know, with the same length and operands.
 *
 *   SEED=n (environment)  the same bytes again; printed on failure
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <Zydis/Zydis.h>

#include "guest/insn.h"
#include "tools/host/native.h"

#define CASES 1000000u

static uint64_t seed, state, known, unknown;

static unsigned below(unsigned n) { return (unsigned)(host_random(&state) % n); }
static bool chance(unsigned percent) { return below(100) < percent; }

/* ---- what Zydis's words are in ours ---- */

static const struct {
	ZydisMnemonic mnemonic;
	enum insn_op op;
} words[] = {
	{ZYDIS_MNEMONIC_ADD, INSN_ADD}, {ZYDIS_MNEMONIC_OR, INSN_OR}, {ZYDIS_MNEMONIC_ADC, INSN_ADC},
	{ZYDIS_MNEMONIC_SBB, INSN_SBB}, {ZYDIS_MNEMONIC_AND, INSN_AND}, {ZYDIS_MNEMONIC_SUB, INSN_SUB},
	{ZYDIS_MNEMONIC_XOR, INSN_XOR}, {ZYDIS_MNEMONIC_CMP, INSN_CMP}, {ZYDIS_MNEMONIC_TEST, INSN_TEST},
	{ZYDIS_MNEMONIC_NOT, INSN_NOT}, {ZYDIS_MNEMONIC_NEG, INSN_NEG}, {ZYDIS_MNEMONIC_INC, INSN_INC},
	{ZYDIS_MNEMONIC_DEC, INSN_DEC}, {ZYDIS_MNEMONIC_BT, INSN_BT}, {ZYDIS_MNEMONIC_BTS, INSN_BTS},
	{ZYDIS_MNEMONIC_BTR, INSN_BTR}, {ZYDIS_MNEMONIC_BTC, INSN_BTC}, {ZYDIS_MNEMONIC_MOV, INSN_MOV},
	{ZYDIS_MNEMONIC_MOVNTI, INSN_MOV}, {ZYDIS_MNEMONIC_MOVSX, INSN_MOVSX}, {ZYDIS_MNEMONIC_MOVSXD, INSN_MOVSX},
	{ZYDIS_MNEMONIC_MOVZX, INSN_MOVZX}, {ZYDIS_MNEMONIC_XCHG, INSN_XCHG}, {ZYDIS_MNEMONIC_XADD, INSN_XADD},
	{ZYDIS_MNEMONIC_CMPXCHG, INSN_CMPXCHG}, {ZYDIS_MNEMONIC_CMPXCHG8B, INSN_CMPXCHG_PAIR},
	{ZYDIS_MNEMONIC_CMPXCHG16B, INSN_CMPXCHG_PAIR},
	{ZYDIS_MNEMONIC_MOVSB, INSN_MOVS}, {ZYDIS_MNEMONIC_MOVSW, INSN_MOVS}, {ZYDIS_MNEMONIC_MOVSD, INSN_MOVS},
	{ZYDIS_MNEMONIC_MOVSQ, INSN_MOVS}, {ZYDIS_MNEMONIC_CMPSB, INSN_CMPS}, {ZYDIS_MNEMONIC_CMPSW, INSN_CMPS},
	{ZYDIS_MNEMONIC_CMPSD, INSN_CMPS}, {ZYDIS_MNEMONIC_CMPSQ, INSN_CMPS}, {ZYDIS_MNEMONIC_STOSB, INSN_STOS},
	{ZYDIS_MNEMONIC_STOSW, INSN_STOS}, {ZYDIS_MNEMONIC_STOSD, INSN_STOS}, {ZYDIS_MNEMONIC_STOSQ, INSN_STOS},
	{ZYDIS_MNEMONIC_LODSB, INSN_LODS}, {ZYDIS_MNEMONIC_LODSW, INSN_LODS}, {ZYDIS_MNEMONIC_LODSD, INSN_LODS},
	{ZYDIS_MNEMONIC_LODSQ, INSN_LODS}, {ZYDIS_MNEMONIC_SCASB, INSN_SCAS}, {ZYDIS_MNEMONIC_SCASW, INSN_SCAS},
	{ZYDIS_MNEMONIC_SCASD, INSN_SCAS}, {ZYDIS_MNEMONIC_SCASQ, INSN_SCAS},
};

struct disassembled {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

/* -1: no word of ours. */
static int op_of(const ZydisDecodedInstruction *z)
{
	bool two_byte = z->opcode_map == ZYDIS_OPCODE_MAP_0F;

	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return -1;
	if (two_byte && z->opcode >= 0x90 && z->opcode <= 0x9f)
		return INSN_SETCC;
	if (two_byte && z->opcode >= 0x40 && z->opcode <= 0x4f)
		return INSN_CMOVCC;
	if (z->mnemonic == ZYDIS_MNEMONIC_MOV && z->opcode == 0x8c)
		return INSN_MOV_SEG;
	for (unsigned k = 0; k < sizeof words / sizeof *words; k++)
		if (words[k].mnemonic == z->mnemonic)
			return words[k].op >= INSN_MOVS && z->meta.category != ZYDIS_CATEGORY_STRINGOP ? -1 : (int)words[k].op;
	return -1;
}

/* Its first operand that is memory and is meant as such. */
static const ZydisDecodedOperand *memory_of(const struct disassembled *d)
{
	for (unsigned k = 0; k < d->i.operand_count; k++)
		if (d->o[k].type == ZYDIS_OPERAND_TYPE_MEMORY && d->o[k].mem.type == ZYDIS_MEMOP_TYPE_MEM)
			return &d->o[k];
	return 0;
}

/* What both know, and ours leaves out on purpose. */
static bool left_out(const ZydisDecodedInstruction *z)
{
	bool size = z->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;

	return (z->mnemonic == ZYDIS_MNEMONIC_MOV && z->opcode == 0x8e) || /* to a segment register */
		(z->mnemonic == ZYDIS_MNEMONIC_MOVSXD && size) ||	   /* AMD and Intel differ */
		(z->mnemonic == ZYDIS_MNEMONIC_MOVNTI && (size || z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE)));
}

/* A register's number, or GPRS for none and RIP. */
static unsigned number_of(ZydisRegister r)
{
	return r == ZYDIS_REGISTER_NONE || r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP ? GPRS
											      : (unsigned)ZydisRegisterGetId(r);
}

/* ---- the comparison; 0, or what differs ---- */

static const char *memory_differs(const struct insn *i, const ZydisDecodedOperand *m)
{
	if (m->size != 8 * i->bytes)
		return "operand size";
	if (m->mem.segment != ZYDIS_REGISTER_ES + i->seg)
		return "segment";
	if (i->form == INSN_STRING)
		return 0;
	if (number_of(m->mem.base) != (i->has_base ? i->base : GPRS))
		return "base";
	if (number_of(m->mem.index) != (i->has_index ? i->index : GPRS))
		return "index";
	if (i->has_index && m->mem.scale != i->scale)
		return "scale";
	if ((m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP) != i->rip_relative)
		return "RIP";
	if ((m->mem.disp.has_displacement ? m->mem.disp.value : 0) != i->displacement)
		return "displacement";
	return 0;
}

static const char *other_differs(const struct insn *i, const ZydisDecodedOperand *other)
{
	ZydisRegisterClass class;
	unsigned id;

	if (i->form == INSN_MEMORY_IMMEDIATE) {
		uint64_t mask = i->bytes == 8 ? ~0UL : (1UL << 8 * i->bytes) - 1;

		if (other->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
			return "no immediate";
		if (i->op >= INSN_BT && i->op <= INSN_BTC)
			mask = 0xff;
		return (other->imm.value.u ^ i->immediate) & mask ? "immediate" : 0;
	}
	if (other->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return "no register";
	id = (unsigned)ZydisRegisterGetId(other->reg.value);
	class = ZydisRegisterGetClass(other->reg.value);
	if (i->op == INSN_MOV_SEG)
		return class != ZYDIS_REGCLASS_SEGMENT || id != i->reg % 8 ? "segment register" : 0;
	if (other->size != 8 * i->reg_bytes)
		return "register size";
	if (class == ZYDIS_REGCLASS_GPR8) {
		bool high = other->reg.value >= ZYDIS_REGISTER_AH && other->reg.value <= ZYDIS_REGISTER_BH;

		if (high != i->high)
			return "high byte";
		id = high ? (unsigned)(other->reg.value - ZYDIS_REGISTER_AH)
			  : (unsigned)(other->reg.value - ZYDIS_REGISTER_AL) -
				(other->reg.value >= ZYDIS_REGISTER_SPL ? 4 : 0);
	}
	return id != i->reg ? "register" : 0;
}

static const char *string_differs(const struct insn *i, const struct disassembled *d)
{
	uint64_t a = d->i.attributes;
	enum insn_rep rep = a & ZYDIS_ATTRIB_HAS_REPNE				      ? INSN_REPNE
			    : a & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? INSN_REPE
										      : INSN_ONCE;
	const ZydisDecodedOperand *source = 0;

	for (unsigned k = 0; k < d->i.operand_count; k++)
		if (d->o[k].type == ZYDIS_OPERAND_TYPE_MEMORY && ZydisRegisterGetId(d->o[k].mem.base) == RSI)
			source = &d->o[k];
	if (d->o[0].size != 8 * i->bytes)
		return "element size";
	if (source && source->mem.segment != ZYDIS_REGISTER_ES + i->seg)
		return "source segment";
	if ((i->op == INSN_CMPS || i->op == INSN_SCAS) && rep != i->rep)
		return "REP";
	return (rep != INSN_ONCE) != (i->rep != INSN_ONCE) ? "REP" : 0;
}

static const char *differs(const struct insn *i, const struct disassembled *d)
{
	const ZydisDecodedOperand *m = memory_of(d);
	const char *what;

	if (i->length != d->i.length)
		return "length";
	if (op_of(&d->i) != (int)i->op || !m)
		return "operation";
	if (i->address_bytes * 8 != d->i.address_width)
		return "address size";
	if (i->form == INSN_STRING)
		return string_differs(i, d);
	what = memory_differs(i, m);
	if (what)
		return what;
	if (!(d->i.attributes & ZYDIS_ATTRIB_HAS_LOCK) != !i->lock)
		return "LOCK";
	if ((i->op == INSN_SETCC || i->op == INSN_CMOVCC) && i->condition != (d->i.opcode & 15))
		return "condition";
	if ((m == &d->o[0]) != (i->form != INSN_REG_MEMORY))
		return "direction";
	return i->form == INSN_MEMORY_ALONE ? 0 : other_differs(i, m == &d->o[0] ? &d->o[1] : &d->o[0]);
}

/* ---- the bytes ---- */

static void make(uint8_t *p)
{
	static const uint8_t prefix[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	static const uint8_t one_byte[] = {0x63, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c,
		0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xc6, 0xc7, 0xf6, 0xf7, 0xfe,
		0xff};
	static const uint8_t two_byte[] = {0xa3, 0xab, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xc3,
		0xc7, 0x45, 0x9a};
	unsigned n = 0;

	for (unsigned k = 0; k < INSN_BYTES_MAX; k++)
		p[k] = (uint8_t)host_random(&state);
	while (n < INSN_BYTES_MAX - 1 && chance(35))
		p[n++] = prefix[below(sizeof prefix)];
	if (n < INSN_BYTES_MAX - 1 && chance(40))
		p[n++] = (uint8_t)(0x40 | below(16));
	if (n < INSN_BYTES_MAX - 1 && chance(40)) {
		p[n] = 0x0f;
		if (chance(50))
			p[n + 1] = two_byte[below(sizeof two_byte)];
	} else if (chance(70)) {
		p[n] = chance(50) ? one_byte[below(sizeof one_byte)] : (uint8_t)below(0x40);
	}
}

static void one(ZydisDecoder *decoder, unsigned mode)
{
	uint8_t bytes[INSN_BYTES_MAX];
	struct disassembled d;
	struct insn i;
	bool ours, theirs;
	const char *what = 0;

	make(bytes);
	ours = insn_decode_memory(mode, bytes, sizeof bytes, &i) == INSN_OK;
	theirs = ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, sizeof bytes, &d.i, d.o));
	if (ours)
		what = theirs ? differs(&i, &d) : "nothing known";
	else if (theirs && op_of(&d.i) >= 0 && memory_of(&d) && !left_out(&d.i))
		what = "known";
	*(ours ? &known : &unknown) += 1;
	if (!what)
		return;
	print_error("SEED=%lu, %u-bit:", seed, mode * 8);
	for (unsigned k = 0; k < sizeof bytes; k++)
		print_error(" %02x", bytes[k]);
	fail_msg("to Zydis: %s (ours: op %u, length %u)", what, i.op, i.length);
}

static void zydis_agrees(void **unused)
{
	ZydisDecoder decoder[3];
	static const unsigned mode[] = {2, 4, 8};

	(void)unused;
	ZydisDecoderInit(&decoder[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoder[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoder[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned k = 0; k < CASES; k++) {
		unsigned m = below(4) < 2 ? 2 : below(2);

		one(&decoder[m], mode[m]);
	}
	printf("%lu decoded, %lu refused alike\n", known, unknown);
	assert_true(known > CASES / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(zydis_agrees)};
	const char *given = getenv("SEED");

	seed = state = given ? strtoul(given, 0, 10) : host_clock() | 1;
	return cmocka_run_group_tests_name("decoder against Zydis", tests, 0, 0);
}
