/* SPDX-License-Identifier: MIT */
/* guest/insn_rest.c against Zydis: random bytes in 16-, 32- and 64-bit mode. What insn_decode_all knows Zydis must know, with the
 * same length, operation, operand size, immediate and registers; and what Zydis calls by a name of the table, insn_decode_all
 * must know.
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
#include <Zydis/Zydis.h>

#include "guest/insn.h"
#include "tools/host/native.h"

#define CASES 2000000u

static uint64_t seed, state, known, unknown;

static unsigned below(unsigned n) { return (unsigned)(host_random(&state) % n); }
static bool chance(unsigned percent) { return below(100) < percent; }

#define SAME(name) {ZYDIS_MNEMONIC_##name, INSN_##name}

static const struct {
	ZydisMnemonic mnemonic;
	enum insn_op op;
} words[] = {
	SAME(ADD), SAME(OR), SAME(ADC), SAME(SBB), SAME(AND), SAME(SUB), SAME(XOR), SAME(CMP), SAME(TEST), SAME(NOT), SAME(NEG),
	SAME(INC), SAME(DEC), SAME(BT), SAME(BTS), SAME(BTR), SAME(BTC), SAME(MOVZX), SAME(XCHG), SAME(XADD), SAME(CMPXCHG),
	SAME(ROL), SAME(ROR), SAME(RCL), SAME(RCR), SAME(SHL), SAME(SHR), SAME(SAR), SAME(SHLD), SAME(SHRD), SAME(MUL), SAME(DIV),
	SAME(IDIV), SAME(BSF), SAME(BSR), SAME(BSWAP), SAME(DAA), SAME(DAS), SAME(AAA), SAME(AAS), SAME(AAM), SAME(AAD), SAME(CLC),
	SAME(STC), SAME(CLI), SAME(STI), SAME(CLD), SAME(STD), SAME(CMC), SAME(SAHF), SAME(LAHF), SAME(LEA), SAME(XLAT),
	SAME(BOUND), SAME(ENTER), SAME(LEAVE), SAME(LOOPNE), SAME(LOOPE), SAME(LOOP), SAME(RET), SAME(INT), SAME(INT3), SAME(INTO),
	SAME(SLDT), SAME(STR), SAME(LLDT), SAME(LTR), SAME(SGDT), SAME(SIDT), SAME(LGDT), SAME(LIDT), SAME(IN), SAME(OUT),
	SAME(RDTSC), SAME(RDTSCP), SAME(RDPMC), SAME(CPUID), SAME(HLT), SAME(INVD), SAME(WBINVD), SAME(RDMSR), SAME(WRMSR),
	SAME(CLTS), SAME(SMSW), SAME(LMSW), SAME(INVLPG),
	{ZYDIS_MNEMONIC_UD2, INSN_UD}, {ZYDIS_MNEMONIC_UD0, INSN_UD}, {ZYDIS_MNEMONIC_UD1, INSN_UD},
	{ZYDIS_MNEMONIC_CBW, INSN_CBW}, {ZYDIS_MNEMONIC_CWDE, INSN_CBW}, {ZYDIS_MNEMONIC_CDQE, INSN_CBW},
	{ZYDIS_MNEMONIC_CWD, INSN_CWD}, {ZYDIS_MNEMONIC_CDQ, INSN_CWD}, {ZYDIS_MNEMONIC_CQO, INSN_CWD},
	{ZYDIS_MNEMONIC_PUSHA, INSN_PUSHA}, {ZYDIS_MNEMONIC_PUSHAD, INSN_PUSHA}, {ZYDIS_MNEMONIC_POPA, INSN_POPA},
	{ZYDIS_MNEMONIC_POPAD, INSN_POPA}, {ZYDIS_MNEMONIC_PUSHF, INSN_PUSHF}, {ZYDIS_MNEMONIC_PUSHFD, INSN_PUSHF},
	{ZYDIS_MNEMONIC_PUSHFQ, INSN_PUSHF}, {ZYDIS_MNEMONIC_POPF, INSN_POPF}, {ZYDIS_MNEMONIC_POPFD, INSN_POPF},
	{ZYDIS_MNEMONIC_POPFQ, INSN_POPF}, {ZYDIS_MNEMONIC_IRET, INSN_IRET}, {ZYDIS_MNEMONIC_IRETD, INSN_IRET},
	{ZYDIS_MNEMONIC_IRETQ, INSN_IRET}, {ZYDIS_MNEMONIC_LES, INSN_LOAD_FAR}, {ZYDIS_MNEMONIC_LDS, INSN_LOAD_FAR},
	{ZYDIS_MNEMONIC_LSS, INSN_LOAD_FAR}, {ZYDIS_MNEMONIC_LFS, INSN_LOAD_FAR}, {ZYDIS_MNEMONIC_LGS, INSN_LOAD_FAR},
	{ZYDIS_MNEMONIC_JCXZ, INSN_JCXZ}, {ZYDIS_MNEMONIC_JECXZ, INSN_JCXZ}, {ZYDIS_MNEMONIC_JRCXZ, INSN_JCXZ},
};

struct disassembled {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

static bool segment_operand(const struct disassembled *d, unsigned k)
{
	return d->o[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(d->o[k].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

/* -1: no word of ours, or one that the table leaves out on purpose. */
static int op_of(const struct disassembled *d)
{
	const ZydisDecodedInstruction *z = &d->i;
	bool far = z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || z->opcode_map > ZYDIS_OPCODE_MAP_0F)
		return -1;
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return segment_operand(d, 0) ? INSN_PUSH_SEG : INSN_PUSH;
	case ZYDIS_MNEMONIC_POP:
		return segment_operand(d, 0) ? INSN_POP_SEG : INSN_POP;
	case ZYDIS_MNEMONIC_JMP:
		return far ? INSN_JMP_FAR : INSN_JMP;
	case ZYDIS_MNEMONIC_CALL:
		return far ? INSN_CALL_FAR : INSN_CALL;
	case ZYDIS_MNEMONIC_RET:
		return far ? INSN_RET_FAR : INSN_RET;
	case ZYDIS_MNEMONIC_IMUL:
		return z->opcode == 0xf6 || z->opcode == 0xf7 ? INSN_IMUL : INSN_IMUL_REG;
	case ZYDIS_MNEMONIC_MOV:
		if (z->opcode_map == ZYDIS_OPCODE_MAP_0F)
			return -1;
		return z->opcode == 0x8e ? INSN_TO_SEG : z->opcode == 0x8c ? INSN_MOV_SEG : INSN_MOV;
	default:
		break;
	}
	if (z->meta.category == ZYDIS_CATEGORY_COND_BR &&
		((z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && z->opcode >> 4 == 7) || z->opcode >> 4 == 8))
		return INSN_JCC;
	for (unsigned k = 0; k < sizeof words / sizeof *words; k++)
		if (words[k].mnemonic == z->mnemonic)
			return words[k].op;
	return -1;
}

static const ZydisDecodedOperand *immediate_of(const struct disassembled *d)
{
	for (unsigned k = 0; k < d->i.operand_count_visible; k++)
		if (d->o[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			return &d->o[k];
	return 0;
}

static bool on_stack(enum insn_op op)
{
	return op == INSN_PUSH || op == INSN_POP || op == INSN_PUSHA || op == INSN_POPA || op == INSN_PUSHF || op == INSN_POPF ||
	       op == INSN_ENTER || op == INSN_LEAVE || op == INSN_RET || op == INSN_RET_FAR || op == INSN_IRET;
}

/* The register or memory that ModRM's r/m, or the opcode's low bits, name. */
static const char *operand_differs(const struct insn *i, const struct disassembled *d)
{
	bool high;
	unsigned id;

	for (unsigned k = 0; k < d->i.operand_count_visible; k++) {
		const ZydisDecodedOperand *o = &d->o[k];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && !i->memory && i->form != INSN_PLAIN)
			return "memory";
		if (o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || o->type != ZYDIS_OPERAND_TYPE_REGISTER || i->form >= INSN_STRING)
			continue;
		id = (unsigned)ZydisRegisterGetId(o->reg.value);
		high = o->reg.value >= ZYDIS_REGISTER_AH && o->reg.value <= ZYDIS_REGISTER_BH;
		if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR8)
			id = high ? (unsigned)(o->reg.value - ZYDIS_REGISTER_AH)
				  : (unsigned)(o->reg.value - ZYDIS_REGISTER_AL) - (o->reg.value >= ZYDIS_REGISTER_SPL ? 4 : 0);
		if (i->memory || id != i->rm || high != i->rm_high)
			return "register";
	}
	return 0;
}

static const char *differs(const struct insn *i, const struct disassembled *d)
{
	const ZydisDecodedOperand *immediate = immediate_of(d);
	int op = op_of(d);

	if (i->length != d->i.length)
		return "length";
	if (op >= 0 && op != (int)i->op && !(i->op == INSN_SAL && op == INSN_SHL) && !(i->op == INSN_NOP && op == INSN_XCHG))
		return "operation";
	if (op < 0)
		return 0;
	if (on_stack(i->op) && d->i.operand_width != 8 * i->operand_bytes)
		return "operand size";
	if (i->address_bytes * 8 != d->i.address_width)
		return "address size";
	if (immediate && i->op != INSN_RET_FAR && i->form != INSN_MEMORY_ALONE) {
		unsigned shift = 64 - immediate->size;

		if (i->op == INSN_IN || i->op == INSN_OUT || i->op == INSN_INT)
			shift = 0;
		if (shift < 64 && (immediate->imm.value.u ^ i->immediate) << shift)
			return "immediate";
	}
	if ((i->op == INSN_JCC) && i->condition != (d->i.opcode & 15))
		return "condition";
	return operand_differs(i, d);
}

static void make(uint8_t *p)
{
	static const uint8_t prefix[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	unsigned n = 0;

	for (unsigned k = 0; k < INSN_BYTES_MAX; k++)
		p[k] = (uint8_t)host_random(&state);
	while (n < 5 && chance(30))
		p[n++] = prefix[below(sizeof prefix)];
	if (chance(25))
		p[n++] = (uint8_t)(0x40 | below(16));
	if (chance(30))
		p[n] = 0x0f;
}

/* What both know, and ours refuses: prefixes that are reserved there, 66 with near branches, which processors take differently,
 * and hints that are extensions' own. */
static bool left_out(const struct disassembled *d, unsigned mode)
{
	(void)mode;
	return (d->i.mnemonic == ZYDIS_MNEMONIC_MOV && d->i.opcode_map == ZYDIS_OPCODE_MAP_0F) ||
	       d->i.attributes & (ZYDIS_ATTRIB_HAS_XACQUIRE | ZYDIS_ATTRIB_HAS_XRELEASE);
}

static void one(ZydisDecoder *decoder, unsigned mode)
{
	uint8_t bytes[INSN_BYTES_MAX];
	struct disassembled d;
	struct insn i;
	bool ours, theirs;
	const char *what = 0;

	make(bytes);
	ours = insn_decode_all(mode, bytes, sizeof bytes, &i) == INSN_OK;
	theirs = ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, sizeof bytes, &d.i, d.o));
	if (ours && theirs)
		what = differs(&i, &d);
	else if (!ours && theirs && op_of(&d) >= 0 && !left_out(&d, mode))
		what = "known";
	*(ours ? &known : &unknown) += 1;
	if (!what)
		return;
	print_error("SEED=%lu, %u-bit:", seed, mode * 8);
	for (unsigned k = 0; k < sizeof bytes; k++)
		print_error(" %02x", bytes[k]);
	print_error("\n");
	fail_msg("to Zydis (%s, length %u): %s (ours: op %u, length %u, %u bytes)", ZydisMnemonicGetString(d.i.mnemonic), d.i.length, what, i.op,
		i.length, i.operand_bytes);
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
		unsigned m = below(3);

		one(&decoder[m], mode[m]);
	}
	printf("%lu decoded, %lu refused\n", known, unknown);
	assert_true(known > CASES / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(zydis_agrees)};
	const char *given = getenv("SEED");

	seed = state = given ? strtoul(given, 0, 10) : host_clock() | 1;
	return cmocka_run_group_tests_name("whole decoder against Zydis", tests, 0, 0);
}
