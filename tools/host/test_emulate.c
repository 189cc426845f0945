/* SPDX-License-Identifier: MIT */
/* guest/emulate.c in 16- and 32-bit code, and where it stops: segments, faults, REPs that are long, single steps, memory that
 * refuses or changes. What instructions compute, test_emulate_native.c asks the CPU. */
#include <string.h>

#include "guest/alu.h"
#include "guest/emulate.h"
#include "tools/host/vcpu_test.h"

/* mode: 16, 32, 64. */
#define CODE(name, mode, text)                                                                                         \
	extern const uint8_t name[], name##_end[];                                                                     \
	__asm__(".pushsection .rodata\n.code" #mode "\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection")
#define RUN(name, mode) run(mode, name, (unsigned)(name##_end - name))

#define MEMORY 0x20000u
#define HOLE 0x1f000u /* nothing from here on */
#define CODE_AT 0x7c00UL

static uint8_t ram[MEMORY];
static struct vcpu vcpu;
static struct emulate_fault fault;
static unsigned accesses;	    /* calls of memory */
static unsigned refusals, patience; /* so many stores, after so many others, ask for another try */
static bool asked_to_write;	    /* by the last read */

static bool refused(uint64_t a, unsigned bytes, bool write)
{
	if (a + bytes <= HOLE)
		return false;
	fault = (struct emulate_fault){VECTOR_PF, write ? PF_W : 0, a < HOLE ? HOLE : a};
	return true;
}

static enum emulate_outcome do_read(void *context, uint64_t a, void *to, unsigned bytes, bool write, struct emulate_fault *f)
{
	(void)context;
	assert_ptr_equal(f, &fault);
	accesses++;
	asked_to_write = write;
	if (refused(a, bytes, write))
		return EMULATE_FAULT;
	memcpy(to, ram + a, bytes);
	return EMULATE_DONE;
}

static enum emulate_outcome do_write(void *context, uint64_t a, const void *from, unsigned bytes, struct emulate_fault *f)
{
	(void)context, (void)f;
	accesses++;
	if (refused(a, bytes, true))
		return EMULATE_FAULT;
	if (patience) {
		patience--;
	} else if (refusals) {
		refusals--;
		return EMULATE_AGAIN;
	}
	memcpy(ram + a, from, bytes);
	return EMULATE_DONE;
}

/* Another vCPU adds one to the word before each attempt that is refused. */
static enum emulate_outcome do_exchange(void *context, uint64_t a, const void *expected, const void *value, unsigned bytes,
	struct emulate_fault *f)
{
	if (refusals)
		ram[a]++;
	else
		assert_memory_equal(ram + a, expected, bytes);
	return do_write(context, a, value, bytes, f);
}

static const struct emulate_memory memory = {do_read, do_write, do_exchange, 0};

static enum emulate_outcome run(unsigned mode, const uint8_t *p, unsigned n)
{
	struct insn i;

	assert_int_equal(insn_decode_memory(mode / 8, p, n, &i), INSN_OK);
	assert_int_equal(i.length, n);
	fault = (struct emulate_fault){0};
	return emulate(&vcpu, &i, &memory, &fault);
}

/* Flat segments but for ES at 0x100, FS at 0x1000 with 256 bytes, GS at 0x2000 to be read only; SS of 16 bits. */
static int setup(void **state)
{
	const uint32_t data = 3 | SEG_S | SEG_P, code = 0xb | SEG_S | SEG_P | SEG_DB;

	(void)state;
	memset(ram, 0, sizeof ram);
	vcpu = (struct vcpu){.rip = CODE_AT, .rflags = RFLAGS_FIXED | RFLAGS_IF, .cr0 = CR0_PE};
	for (unsigned i = 0; i < SEGS; i++)
		vcpu.seg[i] = (struct segment){.limit = ~0u, .attr = data | SEG_DB, .selector = (uint16_t)(8 * i)};
	vcpu.seg[CS] = (struct segment){.limit = ~0u, .attr = code, .selector = 8};
	vcpu.seg[ES].base = 0x100;
	vcpu.seg[FS] = (struct segment){.base = 0x1000, .limit = 0xff, .attr = data | SEG_DB, .selector = 0x23};
	vcpu.seg[GS] = (struct segment){.base = 0x2000, .limit = ~0u, .attr = 1 | SEG_S | SEG_P | SEG_DB};
	vcpu.seg[SS] = (struct segment){.base = 0x3000, .limit = 0xffff, .attr = data};
	accesses = refusals = patience = 0;
	return 0;
}

static void long_mode(void)
{
	vcpu.efer = EFER_LME | EFER_LMA;
	vcpu.seg[CS].attr |= SEG_L;
}

static uint32_t word_at(unsigned a)
{
	uint32_t value;

	memcpy(&value, ram + a, sizeof value);
	return value;
}

static void expect_fault(enum emulate_outcome o, unsigned vector)
{
	assert_int_equal(o, EMULATE_FAULT);
	assert_int_equal(fault.vector, vector);
	assert_int_equal(vcpu.rip, CODE_AT);
	assert_int_equal(vcpu.changed & ~VCPU_FLOW, 0);
}

CODE(store_bx, 16, "movw %ax, 4(%bx)");
CODE(store_bp, 16, "movl %eax, (%bp,%si)");
CODE(add_es, 32, "addl %ecx, %es:(%eax)");
CODE(store_ss, 32, "movb $7, (%ebp)");
CODE(from_fs, 32, "movl %fs:(%ebx), %edx");
CODE(to_fs_byte, 32, "movb %dl, %fs:(%ebx)");
CODE(to_gs, 32, "movl %edx, %gs:(%ebx)");
CODE(from_gs, 32, "movl %gs:(%ebx), %edx");
CODE(to_cs, 32, "movl %edx, %cs:(%ebx)");
CODE(from_cs, 32, "movzwl %cs:(%ebx), %edx");
CODE(add_memory, 32, "lock addl $5, 0x500");
CODE(increment, 64, "incl (%rbx)");
CODE(read_only, 64, "cmpl $5, (%rbx)");
CODE(rmw_hole, 32, "xorl %eax, (%ebx)");
CODE(load_rsp, 64, "movq (%rbx), %rsp");
CODE(load_high, 64, "movb (%rbx), %ch");
CODE(add_high, 64, "addb %dh, (%rbx)");
CODE(store_seg, 32, "movw %fs, (%ebx)");
CODE(stos, 32, "rep stosl");
CODE(movs, 32, "rep movsb");
CODE(movs16, 16, "rep movsw");
CODE(movs_fs, 32, "rep movsb %fs:(%esi), %es:(%edi)");
CODE(scas, 32, "repne scasb");
CODE(pair16, 64, "lock cmpxchg16b (%rbx)");
CODE(bit_far, 16, "btsw %ax, (%bx)");
CODE(gs_base, 64, "movl %eax, %gs:8");
CODE(es_ignored, 64, ".byte 0x26\nmovl %eax, (%rbx)");

static void addresses_of_16_bits_wrap(void **state)
{
	(void)state;
	vcpu.seg[CS].attr &= ~SEG_DB;
	vcpu.gpr[RAX] = 0x12345678;
	vcpu.gpr[RBX] = 0x7770fffe;
	assert_int_equal(RUN(store_bx, 16), EMULATE_DONE);
	assert_int_equal(word_at(2), 0x5678);
	vcpu.gpr[RBP] = 0xff00, vcpu.gpr[RSI] = 0x210; /* SS by default */
	assert_int_equal(RUN(store_bp, 16), EMULATE_DONE);
	assert_int_equal(word_at(0x3110), 0x12345678);
	vcpu.gpr[RAX] = 0x8001; /* bit -32767: 4096 bytes below, and bit 1 */
	vcpu.gpr[RBX] = 0x1800;
	assert_int_equal(RUN(bit_far, 16), EMULATE_DONE);
	assert_int_equal(word_at(0x800), 2);
}

static void segments_have_bases_limits_and_rights(void **state)
{
	(void)state;
	vcpu.gpr[RAX] = 0x40, vcpu.gpr[RCX] = 9;
	assert_int_equal(RUN(add_es, 32), EMULATE_DONE);
	assert_int_equal(word_at(0x140), 9);
	vcpu.rip = CODE_AT, vcpu.changed = 0;
	vcpu.gpr[RBX] = 0xfd;
	expect_fault(RUN(from_fs, 32), VECTOR_GP);
	vcpu.gpr[RBX] = 0xff, vcpu.gpr[RDX] = 0xab;
	assert_int_equal(RUN(to_fs_byte, 32), EMULATE_DONE);
	assert_int_equal(ram[0x10ff], 0xab);
	vcpu.gpr[RBX] = 0xfc;
	assert_int_equal(RUN(from_fs, 32), EMULATE_DONE);
	assert_int_equal(vcpu.gpr[RDX], 0xab000000);
	assert_int_equal(RUN(from_gs, 32), EMULATE_DONE);
	vcpu.rip = CODE_AT, vcpu.changed = 0;
	expect_fault(RUN(to_gs, 32), VECTOR_GP);
	expect_fault(RUN(to_cs, 32), VECTOR_GP);
	vcpu.gpr[RBP] = 0x10000;
	expect_fault(RUN(store_ss, 32), VECTOR_SS);
	assert_int_equal(RUN(from_cs, 32), EMULATE_DONE);
}

static void in_64_bit_mode_only_fs_and_gs_have_bases(void **state)
{
	(void)state;
	long_mode();
	vcpu.gpr[RAX] = 5, vcpu.gpr[RBX] = 0x10;
	assert_int_equal(RUN(gs_base, 64), EMULATE_DONE); /* to a segment that was for reading only */
	assert_int_equal(word_at(0x2008), 5);
	assert_int_equal(RUN(es_ignored, 64), EMULATE_DONE);
	assert_int_equal(word_at(0x10), 5);
}

static void a_fault_changes_nothing(void **state)
{
	struct vcpu before;

	(void)state;
	vcpu.gpr[RAX] = 0xffffffff, vcpu.gpr[RBX] = HOLE - 2;
	before = vcpu;
	expect_fault(RUN(rmw_hole, 32), VECTOR_PF);
	assert_int_equal(fault.error, PF_W); /* that it reads first makes it no read */
	assert_int_equal(fault.cr2, HOLE);
	assert_memory_equal(&before, &vcpu, sizeof vcpu);
	assert_true(asked_to_write);
}

static void a_comparison_does_not_ask_to_write(void **state)
{
	(void)state;
	long_mode();
	vcpu.gpr[RBX] = 0x600;
	assert_int_equal(RUN(read_only, 64), EMULATE_DONE);
	assert_false(asked_to_write);
	assert_int_equal(accesses, 1);
}

static void what_has_changed_meanwhile_is_read_again(void **state)
{
	(void)state;
	refusals = 3;
	assert_int_equal(RUN(add_memory, 32), EMULATE_DONE);
	assert_int_equal(word_at(0x500), 3 + 5);
	vcpu.rip = CODE_AT, vcpu.changed = 0;
	refusals = 1000;
	assert_int_equal(RUN(add_memory, 32), EMULATE_AGAIN);
	assert_int_equal(vcpu.rip, CODE_AT);
	assert_true(refusals > 900);
}

static void registers_that_the_hardware_holds_are_noted(void **state)
{
	(void)state;
	long_mode();
	vcpu.gpr[RBX] = 0x700;
	ram[0x700] = 0x7f;
	assert_int_equal(RUN(load_rsp, 64), EMULATE_DONE);
	assert_int_equal(vcpu.gpr[RSP], 0x7f);
	assert_true(vcpu.changed & VCPU_RSP && vcpu.changed & VCPU_RIP);
	vcpu.changed = 0;
	assert_int_equal(RUN(load_high, 64), EMULATE_DONE);
	assert_int_equal(vcpu.gpr[RCX], 0x7f00);
	assert_false(vcpu.changed & VCPU_FLOW);
	vcpu.gpr[RDX] = 0x100;
	assert_int_equal(RUN(add_high, 64), EMULATE_DONE);
	assert_int_equal(ram[0x700], 0x80);
	assert_true(vcpu.changed & VCPU_FLOW); /* the flags */
}

static void selectors_are_stored_as_two_bytes(void **state)
{
	(void)state;
	memset(ram + 0x700, 0xff, 8);
	vcpu.gpr[RBX] = 0x700;
	assert_int_equal(RUN(store_seg, 32), EMULATE_DONE);
	assert_int_equal(word_at(0x700), 0xffff0023);
}

/* A REP of 100 iterations takes two calls; between them the registers say how far it is. */
static void a_rep_goes_in_steps(void **state)
{
	(void)state;
	vcpu.gpr[RAX] = 0x11223344, vcpu.gpr[RCX] = 100, vcpu.gpr[RDI] = 0x1000;
	assert_int_equal(RUN(stos, 32), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT);
	assert_int_equal(vcpu.gpr[RCX], 100 - EMULATE_REP_STEP);
	assert_int_equal(vcpu.gpr[RDI], 0x1000 + 4 * EMULATE_REP_STEP);
	assert_int_equal(word_at(0x1100 + 4 * EMULATE_REP_STEP), 0);
	assert_int_equal(RUN(stos, 32), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT + 2);
	assert_int_equal(vcpu.gpr[RCX], 0);
	assert_int_equal(word_at(0x1100 + 4 * 99), 0x11223344);
	assert_int_equal(word_at(0x1100 + 4 * 100), 0);
}

static void a_rep_keeps_its_progress_before_a_fault(void **state)
{
	(void)state;
	ram[0xfff] = 1, ram[0x1000] = 2;
	vcpu.gpr[RCX] = 10, vcpu.gpr[RSI] = 0x1000, vcpu.gpr[RDI] = HOLE - 0x100 - 3;
	expect_fault(RUN(movs, 32), VECTOR_PF);
	assert_int_equal(fault.cr2, HOLE);
	assert_int_equal(vcpu.gpr[RCX], 7);
	assert_int_equal(vcpu.gpr[RSI], 0x1003);
	vcpu.gpr[RDI] = 0x5000, vcpu.gpr[RSI] = 0xfe; /* FS ends after two bytes */
	vcpu.changed = 0;
	expect_fault(RUN(movs_fs, 32), VECTOR_GP);
	assert_int_equal(vcpu.gpr[RCX], 5);
}

/* What it has done counts, though it must wait. */
static void a_rep_that_must_wait_keeps_its_progress(void **state)
{
	(void)state;
	vcpu.gpr[RCX] = 10, vcpu.gpr[RDI] = 0x1000;
	refusals = 1, patience = 4;
	assert_int_equal(RUN(stos, 32), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT);
	assert_int_equal(vcpu.gpr[RCX], 6);
	refusals = 1;
	assert_int_equal(RUN(stos, 32), EMULATE_AGAIN);
	assert_int_equal(vcpu.gpr[RCX], 6);
	assert_int_equal(vcpu.gpr[RDI], 0x1010);
}

static void rep_in_16_bits_counts_in_16_bits(void **state)
{
	(void)state;
	vcpu.seg[CS].attr &= ~SEG_DB;
	vcpu.rflags |= RFLAGS_DF;
	ram[0x10] = 0x34, ram[0x11] = 0x12;
	vcpu.gpr[RCX] = 0x50001, vcpu.gpr[RSI] = 0x90010, vcpu.gpr[RDI] = 0;
	assert_int_equal(RUN(movs16, 16), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT + 2);
	assert_int_equal(vcpu.gpr[RCX], 0x50000);
	assert_int_equal(vcpu.gpr[RSI], 0x9000e);
	assert_int_equal(vcpu.gpr[RDI], 0xfffe);
	assert_int_equal(word_at(0x100), 0x1234);
}

static void a_search_ends_where_it_finds(void **state)
{
	(void)state;
	ram[0x1105] = 7;
	vcpu.gpr[RAX] = 7, vcpu.gpr[RCX] = 30, vcpu.gpr[RDI] = 0x1000;
	assert_int_equal(RUN(scas, 32), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT + 2);
	assert_int_equal(vcpu.gpr[RDI], 0x1006);
	assert_int_equal(vcpu.gpr[RCX], 24);
	assert_true(vcpu.rflags & RFLAGS_ZF);
}

/* A single step is one iteration. */
static void a_step_traps(void **state)
{
	(void)state;
	vcpu.rflags |= RFLAGS_TF;
	vcpu.gpr[RCX] = 2, vcpu.gpr[RDI] = 0x1000;
	assert_int_equal(RUN(stos, 32), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT);
	assert_int_equal(vcpu.gpr[RCX], 1);
	assert_int_equal(vcpu.event.type, EVENT_EXCEPTION);
	assert_int_equal(vcpu.event.vector, VECTOR_DB);
	vcpu.event.type = EVENT_NONE;
	assert_int_equal(RUN(stos, 32), EMULATE_DONE);
	assert_int_equal(vcpu.rip, CODE_AT + 2);
	assert_int_equal(vcpu.event.vector, VECTOR_DB);
	vcpu.event.type = EVENT_NONE;
	long_mode();
	vcpu.gpr[RBX] = 0x10;
	assert_int_equal(RUN(increment, 64), EMULATE_DONE);
	assert_int_equal(vcpu.event.vector, VECTOR_DB);
	assert_true(vcpu.dr6 & DR6_BS);
}

static void sixteen_bytes_are_aligned(void **state)
{
	(void)state;
	long_mode();
	vcpu.gpr[RBX] = 0x708;
	expect_fault(RUN(pair16, 64), VECTOR_GP);
	vcpu.gpr[RBX] = 1UL << 50; /* and canonical */
	expect_fault(RUN(pair16, 64), VECTOR_GP);
}

#define EMULATE_TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EMULATE_TEST(addresses_of_16_bits_wrap),
		EMULATE_TEST(segments_have_bases_limits_and_rights),
		EMULATE_TEST(in_64_bit_mode_only_fs_and_gs_have_bases),
		EMULATE_TEST(a_fault_changes_nothing),
		EMULATE_TEST(a_comparison_does_not_ask_to_write),
		EMULATE_TEST(what_has_changed_meanwhile_is_read_again),
		EMULATE_TEST(registers_that_the_hardware_holds_are_noted),
		EMULATE_TEST(selectors_are_stored_as_two_bytes),
		EMULATE_TEST(a_rep_goes_in_steps),
		EMULATE_TEST(a_rep_keeps_its_progress_before_a_fault),
		EMULATE_TEST(a_rep_that_must_wait_keeps_its_progress),
		EMULATE_TEST(rep_in_16_bits_counts_in_16_bits),
		EMULATE_TEST(a_search_ends_where_it_finds),
		EMULATE_TEST(a_step_traps),
		EMULATE_TEST(sixteen_bytes_are_aligned),
	};

	return cmocka_run_group_tests_name("emulator", tests, 0, 0);
}
