/* SPDX-License-Identifier: MIT */
/* guest/insn.c against the assembler: it writes the bytes and knows their number; the operands are told here. */
#include <stdlib.h>
#include <string.h>

#include "guest/insn.h"
#include "tools/host/vcpu_test.h"

/* mode: 16, 32, 64. */
#define CODE(name, mode, text)                                                                                         \
	extern const uint8_t name[], name##_end[];                                                                     \
	__asm__(".pushsection .rodata\n.code" #mode "\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection")

CODE(cpuid64, 64, "cpuid");
CODE(cpuid32, 32, "data16 cpuid");
CODE(hlt64, 64, "hlt");
CODE(hlt_rex, 64, ".byte 0x66, 0x48\nhlt");
CODE(invd64, 64, "invd");
CODE(wbinvd64, 64, ".byte 0xf3\nwbinvd");
CODE(rdmsr64, 64, "rdmsr");
CODE(wrmsr32, 32, "wrmsr");
CODE(xsetbv64, 64, "xsetbv");
CODE(icebp64, 64, ".byte 0xf1");
CODE(clts16, 16, "clts");
CODE(vmrun64, 64, "vmrun");
CODE(invlpga64, 64, "invlpga");
CODE(vmmcall32, 32, "vmmcall");

CODE(to_cr0, 64, "mov %rax, %cr0");
CODE(to_cr3, 64, "mov %r15, %cr3");
CODE(from_cr4, 32, "mov %cr4, %edi");
CODE(from_cr8, 64, "mov %cr8, %r9");
CODE(to_cr8_lock, 32, ".byte 0xf0\nmov %ebx, %cr0");
CODE(from_cr0_mod0, 64, ".byte 0x0f, 0x20, 0x04"); /* mod 0, rm 4: no SIB follows */
CODE(to_dr7, 64, "mov %rdx, %dr7");
CODE(from_dr6, 64, "mov %dr6, %r8");

CODE(smsw_reg, 64, "smsw %r10");
CODE(smsw_reg16, 64, "smsw %cx");
CODE(smsw_memory, 32, "smsw %ss:0x12345678(%eax,%ebp,8)");
CODE(lmsw_reg, 64, "lmsw %ax");
CODE(lmsw_memory, 16, "lmsw 4(%bp)");

CODE(invlpg_base, 64, "invlpg (%rsi)");
CODE(invlpg_r12, 64, "invlpg (%r12)");
CODE(invlpg_r13, 64, "invlpg (%r13)");
CODE(invlpg_sib, 64, "invlpg -8(%r8,%r9,4)");
CODE(invlpg_index12, 64, "invlpg (%rax,%r12,2)");
CODE(invlpg_stack, 64, "invlpg 0x100(%rsp)");
CODE(invlpg_absolute, 64, "invlpg 0x1000");
CODE(invlpg_rip, 64, "invlpg 0x40(%rip)");
CODE(invlpg_eip, 64, "invlpg 0x40(%eip)");
CODE(invlpg_gs, 64, "invlpg %gs:(%rbx)");
CODE(invlpg_cs_ignored, 64, ".byte 0x2e\ninvlpg (%rbx)");
CODE(invlpg_addr32, 64, "invlpg (%eax,%ecx)");
CODE(invlpg_absolute32, 32, "invlpg 0x80000000");
CODE(invlpg_ebp, 32, "invlpg 4(%ebp)");
CODE(invlpg_fs32, 32, "invlpg %fs:(%edx)");
CODE(invlpg_bxsi, 16, "invlpg (%bx,%si)");
CODE(invlpg_bpdi, 16, "invlpg -2(%bp,%di)");
CODE(invlpg_disp16, 16, "invlpg 0x1234");
CODE(invlpg_16in32, 32, "invlpg 0x1234(%si)");
CODE(invlpg_32in16, 16, "addr32 invlpg (%edi)");

CODE(outs64, 64, "outsb");
CODE(outs_fs, 64, "rep outsl %fs:(%rsi), %dx");
CODE(outs_es32, 32, "outsw %es:(%si), %dx");
CODE(ins64, 64, "rep insb");
CODE(ins_addr32, 64, "addr32 insw");
CODE(ins_fs_ignored, 16, ".byte 0x64\ninsb");

struct fact {
	const uint8_t *start, *end;
	unsigned mode;
	enum insn_op op;
	unsigned reg, rm, operand_bytes, address_bytes;
	bool memory;
	enum seg seg;
	uint64_t offset;
};

#define CASE(name, bits, what) .start = name, .end = name##_end, .mode = (bits) / 8, .op = what

/* In the offsets' sums: the register numbered n holds 0x10000000 * n + 0x100 * n, R15's top bit is set; RIP is 0x400000. */
#define REG(n) (0x10000100UL * (n))
#define RIP_HERE 0x400000UL

static const struct fact facts[] = {
	{CASE(cpuid64, 64, INSN_CPUID)},
	{CASE(cpuid32, 32, INSN_CPUID)},
	{CASE(hlt64, 64, INSN_HLT)},
	{CASE(hlt_rex, 64, INSN_HLT)},
	{CASE(invd64, 64, INSN_INVD)},
	{CASE(wbinvd64, 64, INSN_WBINVD)},
	{CASE(rdmsr64, 64, INSN_RDMSR)},
	{CASE(wrmsr32, 32, INSN_WRMSR)},
	{CASE(xsetbv64, 64, INSN_XSETBV)},
	{CASE(icebp64, 64, INSN_ICEBP)},
	{CASE(clts16, 16, INSN_CLTS)},
	{CASE(vmrun64, 64, INSN_SVM)},
	{CASE(invlpga64, 64, INSN_SVM)},
	{CASE(vmmcall32, 32, INSN_SVM)},
	{CASE(to_cr0, 64, INSN_TO_CR), .reg = 0, .rm = RAX},
	{CASE(to_cr3, 64, INSN_TO_CR), .reg = 3, .rm = R15},
	{CASE(from_cr4, 32, INSN_FROM_CR), .reg = 4, .rm = RDI},
	{CASE(from_cr8, 64, INSN_FROM_CR), .reg = 8, .rm = R9},
	{CASE(to_cr8_lock, 32, INSN_TO_CR), .reg = 8, .rm = RBX},
	{CASE(from_cr0_mod0, 64, INSN_FROM_CR), .reg = 0, .rm = RSP},
	{CASE(to_dr7, 64, INSN_TO_DR), .reg = 7, .rm = RDX},
	{CASE(from_dr6, 64, INSN_FROM_DR), .reg = 6, .rm = R8},
	{CASE(smsw_reg, 64, INSN_SMSW), .rm = R10, .operand_bytes = 8},
	{CASE(smsw_reg16, 64, INSN_SMSW), .rm = RCX, .operand_bytes = 2},
	{CASE(smsw_memory, 32, INSN_SMSW), .memory = true, .seg = SS, .offset = (uint32_t)(0x12345678 + 8 * REG(RBP))},
	{CASE(lmsw_reg, 64, INSN_LMSW), .rm = RAX},
	{CASE(lmsw_memory, 16, INSN_LMSW), .memory = true, .seg = SS, .offset = (uint16_t)(REG(RBP) + 4)},
	{CASE(invlpg_base, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(RSI)},
	{CASE(invlpg_r12, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(R12)},
	{CASE(invlpg_r13, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(R13)},
	{CASE(invlpg_sib, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(R8) + 4 * REG(R9) - 8},
	{CASE(invlpg_index12, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = 2 * REG(R12)},
	{CASE(invlpg_stack, 64, INSN_INVLPG), .memory = true, .seg = SS, .offset = REG(RSP) + 0x100},
	{CASE(invlpg_absolute, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = 0x1000},
	{CASE(invlpg_rip, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = RIP_HERE + 7 + 0x40},
	{CASE(invlpg_eip, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = RIP_HERE + 8 + 0x40, .address_bytes = 4},
	{CASE(invlpg_gs, 64, INSN_INVLPG), .memory = true, .seg = GS, .offset = REG(RBX)},
	{CASE(invlpg_cs_ignored, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(RBX)},
	{CASE(invlpg_addr32, 64, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(RCX), .address_bytes = 4},
	{CASE(invlpg_absolute32, 32, INSN_INVLPG), .memory = true, .seg = DS, .offset = 0x80000000},
	{CASE(invlpg_ebp, 32, INSN_INVLPG), .memory = true, .seg = SS, .offset = REG(RBP) + 4},
	{CASE(invlpg_fs32, 32, INSN_INVLPG), .memory = true, .seg = FS, .offset = REG(RDX)},
	{CASE(invlpg_bxsi, 16, INSN_INVLPG), .memory = true, .seg = DS, .offset = (uint16_t)(REG(RBX) + REG(RSI))},
	{CASE(invlpg_bpdi, 16, INSN_INVLPG), .memory = true, .seg = SS, .offset = (uint16_t)(REG(RBP) + REG(RDI) - 2)},
	{CASE(invlpg_disp16, 16, INSN_INVLPG), .memory = true, .seg = DS, .offset = 0x1234},
	{CASE(invlpg_16in32, 32, INSN_INVLPG), .memory = true, .seg = DS, .offset = (uint16_t)(REG(RSI) + 0x1234),
		.address_bytes = 2},
	{CASE(invlpg_32in16, 16, INSN_INVLPG), .memory = true, .seg = DS, .offset = REG(RDI), .address_bytes = 4},
	{CASE(outs64, 64, INSN_OUTS), .seg = DS, .address_bytes = 8},
	{CASE(outs_fs, 64, INSN_OUTS), .seg = FS, .address_bytes = 8},
	{CASE(outs_es32, 32, INSN_OUTS), .seg = ES, .address_bytes = 2},
	{CASE(ins64, 64, INSN_INS), .seg = ES, .address_bytes = 8},
	{CASE(ins_addr32, 64, INSN_INS), .seg = ES, .address_bytes = 4},
	{CASE(ins_fs_ignored, 16, INSN_INS), .seg = ES, .address_bytes = 2},
};

static struct vcpu vcpu_with_numbers(void)
{
	struct vcpu v = {.rip = RIP_HERE};

	for (unsigned i = 0; i < GPRS; i++)
		v.gpr[i] = REG(i);
	return v;
}

static void check_operands(const struct fact *f, const struct insn *i, unsigned at)
{
	struct vcpu v = vcpu_with_numbers();
	bool string = f->op == INSN_INS || f->op == INSN_OUTS;

	if (i->reg != f->reg || i->memory != f->memory || (!f->memory && !string && i->rm != f->rm))
		fail_msg("case %u: reg %u, rm %u, memory %u", at, i->reg, i->rm, i->memory);
	if ((f->memory || string) && i->seg != f->seg)
		fail_msg("case %u: segment %u, not %u", at, i->seg, f->seg);
	if (f->memory && insn_offset(&v, i) != f->offset)
		fail_msg("case %u: offset 0x%lx, not 0x%lx", at, insn_offset(&v, i), f->offset);
	if (f->operand_bytes && i->operand_bytes != f->operand_bytes)
		fail_msg("case %u: operand of %u bytes", at, i->operand_bytes);
	if (f->address_bytes && i->address_bytes != f->address_bytes)
		fail_msg("case %u: address of %u bytes", at, i->address_bytes);
}

/* Each instruction with all its bytes, with more, and with fewer, which are read from memory that ends there. */
static void the_assembler_agrees(void **state)
{
	(void)state;
	for (unsigned at = 0; at < sizeof(facts) / sizeof(*facts); at++) {
		const struct fact *f = &facts[at];
		unsigned length = (unsigned)(f->end - f->start);
		uint8_t more[INSN_BYTES_MAX];
		struct insn i;

		for (unsigned n = 0; n <= length; n++) {
			uint8_t *exact = malloc(n ? n : 1);
			enum insn_outcome o;

			memcpy(exact, f->start, n);
			o = insn_decode(f->mode, exact, n, &i);
			free(exact);
			if (o != (n < length ? INSN_SHORT : INSN_OK))
				fail_msg("case %u: outcome %u with %u bytes of %u", at, o, n, length);
		}
		if (i.op != f->op || i.length != length)
			fail_msg("case %u: operation %u, length %u, not %u", at, i.op, i.length, length);
		check_operands(f, &i, at);
		memset(more, 0x90, sizeof more);
		memcpy(more, f->start, length);
		assert_int_equal(insn_decode(f->mode, more, sizeof more, &i), INSN_OK);
		assert_int_equal(i.length, length);
	}
}

static void others_are_refused(void **state)
{
	static const uint8_t other[][3] = {
		{0x90}, {0x0f, 0x0b}, {0x0f, 0x01, 0xc1}, {0x0f, 0x01, 0xd0}, {0x0f, 0x01, 0xf8}, {0x0f, 0x00, 0x00}, {0xe4, 1}};
	struct insn i;

	(void)state;
	for (unsigned n = 0; n < sizeof other / sizeof *other; n++)
		assert_int_equal(insn_decode(8, other[n], 3, &i), INSN_OTHER);
	/* 40h … 4Fh are INC and DEC outside 64-bit mode. */
	assert_int_equal(insn_decode(4, (const uint8_t[]){0x48, 0xf4}, 2, &i), INSN_OTHER);
}

static void fifteen_bytes_at_most(void **state)
{
	uint8_t bytes[INSN_BYTES_MAX + 1];
	struct insn i;

	(void)state;
	memset(bytes, 0x66, sizeof bytes);
	bytes[INSN_BYTES_MAX - 1] = 0xf4;
	assert_int_equal(insn_decode(8, bytes, INSN_BYTES_MAX, &i), INSN_OK);
	assert_int_equal(i.length, INSN_BYTES_MAX);
	bytes[INSN_BYTES_MAX - 1] = 0x66;
	bytes[INSN_BYTES_MAX] = 0xf4;
	assert_int_equal(insn_decode(8, bytes, INSN_BYTES_MAX + 1, &i), INSN_OTHER);
	assert_int_equal(insn_decode(8, bytes, INSN_BYTES_MAX, &i), INSN_OTHER);
	assert_int_equal(insn_decode(8, bytes, INSN_BYTES_MAX - 1, &i), INSN_SHORT);
}

/* REX counts only right before the opcode. */
static void a_rex_before_a_prefix_is_void(void **state)
{
	static const uint8_t void_rex[] = {0x49, 0x66, 0x0f, 0x22, 0xd8}, rex[] = {0x66, 0x49, 0x0f, 0x22, 0xd8};
	struct insn i;

	(void)state;
	assert_int_equal(insn_decode(8, void_rex, sizeof void_rex, &i), INSN_OK);
	assert_int_equal(i.rm, RAX);
	assert_int_equal(insn_decode(8, rex, sizeof rex, &i), INSN_OK);
	assert_int_equal(i.rm, R8);
}

static void the_mode_is_cs_and_lma(void **state)
{
	struct vcpu v = {.efer = EFER_LME | EFER_LMA};

	(void)state;
	v.seg[CS].attr = SEG_L;
	assert_int_equal(insn_mode(&v), 8);
	v.seg[CS].attr = SEG_DB;
	assert_int_equal(insn_mode(&v), 4);
	v.seg[CS].attr = 0;
	assert_int_equal(insn_mode(&v), 2);
	v.efer = 0;
	v.seg[CS].attr = SEG_L | SEG_DB; /* L means nothing there */
	assert_int_equal(insn_mode(&v), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_assembler_agrees),
		cmocka_unit_test(others_are_refused),
		cmocka_unit_test(fifteen_bytes_at_most),
		cmocka_unit_test(a_rex_before_a_prefix_is_void),
		cmocka_unit_test(the_mode_is_cs_and_lma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
