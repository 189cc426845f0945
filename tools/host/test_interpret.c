/* SPDX-License-Identifier: MIT */
/* guest/interpret*.c: real mode as the manual has it, protected mode's loads and gates. What does not depend on the mode,
 * test_interpret_native checks. */
#include "tools/host/interpret_test.h"

/* ---- real mode ---- */

static void loads_keep_the_limit(void **state)
{
	struct vcpu *v = real(state);

	v->seg[DS].limit = 0xffffffff;
	v->seg[DS].attr |= SEG_G | SEG_UNUSABLE | 3u << SEG_DPL_SHIFT;
	v->gpr[RAX] = 0x1234;
	assert_int_equal(RUN(v, 0x8e, 0xd8), EMULATE_DONE); /* mov %ax, %ds */
	assert_int_equal(v->seg[DS].base, 0x12340);
	assert_int_equal(v->seg[DS].limit, 0xffffffff);
	assert_int_equal(v->seg[DS].attr, ATTR_DATA16 | SEG_G);
	assert_false(v->interrupt_shadow);
	assert_int_equal(RUN(v, 0x8e, 0xd0), EMULATE_DONE); /* mov %ax, %ss */
	assert_true(v->interrupt_shadow);
	assert_int_equal(RUN(v, 0x90), EMULATE_DONE);
	assert_false(v->interrupt_shadow);
	faults(RUN(v, 0x8e, 0xc8), VECTOR_UD, 0); /* mov %ax, %cs */
}

static void nothing_comes_behind_a_load_of_ss(void **state)
{
	struct vcpu *v = real(state);

	v->rflags |= RFLAGS_TF;
	v->gpr[RAX] = 0x1000;
	assert_int_equal(RUN(v, 0x8e, 0xd0), EMULATE_DONE); /* mov %ax, %ss */
	assert_int_equal(v->event.type, EVENT_NONE);
	assert_true(v->rflags & RFLAGS_TF);
	assert_int_equal(RUN(v, 0x89, 0xdc), EMULATE_DONE); /* mov %bx, %sp */
	assert_int_equal(v->event.vector, VECTOR_DB);
	v->event.type = EVENT_NONE;
	put(v, 0x10000 + (uint16_t)v->gpr[RSP], (uint8_t[]){0, 0x10, 0, 0x10}, 4);
	assert_int_equal(RUN(v, 0x17), EMULATE_DONE); /* pop %ss */
	assert_int_equal(v->event.type, EVENT_NONE);
	assert_int_equal(RUN(v, 0x17), EMULATE_DONE); /* of two the first */
	assert_int_equal(v->event.type, EVENT_EXCEPTION);
}

static void limits_count(void **state)
{
	struct vcpu *v = real(state);

	faults(RUN(v, 0xa1, 0xff, 0xff), VECTOR_GP, 0); /* mov 0xffff, %ax */
	assert_int_equal(RUN(v, 0xa0, 0xff, 0xff), EMULATE_DONE);
	v->gpr[RBP] = 0xffff;
	faults(RUN(v, 0x8b, 0x46, 0x00), VECTOR_SS, 0); /* mov (%bp), %ax */
	v->gpr[RSP] = 1;
	faults(RUN(v, 0x50), VECTOR_SS, 0); /* push %ax */
	v->gpr[RSP] = 0xabcd0000;
	assert_int_equal(RUN(v, 0x50), EMULATE_DONE);
	assert_int_equal(v->gpr[RSP], 0xabcdfffe);
	assert_int_equal(RUN(v, 0x58), EMULATE_DONE);
	assert_int_equal(v->gpr[RSP], 0xabcd0000);
	v->gpr[RBX] = 0x10000;
	faults(RUN(v, 0x67, 0x8b, 0x03), VECTOR_GP, 0); /* mov (%ebx), %ax */
	v->gpr[RSP] = STACK;
	faults(RUN(v, 0xc5, 0x06, 0xfe, 0xff), VECTOR_GP, 0); /* lds 0xfffe, %ax */
}

static void ip_wraps_by_operand_size(void **state)
{
	struct vcpu *v = real(state);

	assert_int_equal(RUN(v, 0xe9, 0xfd, 0x7f), EMULATE_DONE); /* jmp to 0x8000 */
	assert_int_equal(v->rip, 0x8000);
	assert_int_equal(RUN(v, 0xeb, 0x80), EMULATE_DONE); /* jmp -128: back over 0 */
	assert_int_equal(v->rip, 0xff82);
	faults(RUN(v, 0x66, 0xe9, 0xfa, 0xff, 0x00, 0x00), VECTOR_GP, 0); /* jmpl to 0x10000 */
	assert_int_equal(v->rip, 0);
	v->rip = 0x10000;
	faults(step(v), VECTOR_GP, 0);
	v->rip = 0xffff;
	put(v, v->seg[CS].base + 0xffff, (uint8_t[]){0xb8, 1, 2}, 3);
	faults(step(v), VECTOR_GP, 0); /* runs out of the segment */
	v->seg[CS].limit = 1;
	faults(RUN(v, 0xb8, 1, 2), VECTOR_GP, 0);
	v->seg[CS].limit = 0xffff;
	v->gpr[RCX] = 0x50000;
	assert_int_equal(RUN(v, 0xe2, 0x10), EMULATE_DONE); /* loop: CX alone */
	assert_int_equal(v->gpr[RCX], 0x5ffff);
	assert_int_equal(v->rip, 0x12);
}

static void interrupts_by_the_vector_table(void **state)
{
	struct vcpu *v = real(state);

	put(v, 4 * 0x21, (uint8_t[]){0x34, 0x12, 0x00, 0x20}, 4);
	v->rip = 0x77;
	v->rflags |= RFLAGS_IF | RFLAGS_TF | RFLAGS_CF;
	assert_int_equal(deliver(v, (struct event){.type = EVENT_INTERRUPT, .vector = 0x21}), EMULATE_DONE);
	assert_int_equal(v->event.type, EVENT_NONE);
	assert_int_equal(v->rip, 0x1234);
	assert_int_equal(v->seg[CS].base, 0x20000);
	assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_CF);
	assert_int_equal(v->gpr[RSP], STACK - 6);
	assert_int_equal(get(v, STACK - 6, 2), 0x77);
	assert_int_equal(get(v, STACK - 4, 2), CODE >> 4);
	assert_int_equal(get(v, STACK - 2, 2), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_CF);
	put(v, 0x21234, (uint8_t[]){0xcf}, 1);
	assert_int_equal(step(v), EMULATE_DONE); /* iret */
	assert_int_equal(v->rip, 0x77);
	assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_CF);
	assert_int_equal(v->gpr[RSP], STACK);
	assert_int_equal(deliver(v, (struct event){.type = EVENT_EXCEPTION, .vector = 0x21, .has_error = true, .error = 9}),
		EMULATE_DONE);
	assert_int_equal(v->gpr[RSP], STACK - 6); /* no error code */
	assert_int_equal(deliver(v, (struct event){.type = EVENT_NMI, .vector = VECTOR_NMI}), EMULATE_DONE);
	assert_true(v->nmi_blocked);
	v->idtr.limit = 4 * 0x22 - 2;
	faults(deliver(v, (struct event){.type = EVENT_INTERRUPT, .vector = 0x21}), VECTOR_GP, 0);
	assert_int_equal(v->event.type, EVENT_INTERRUPT);
}

static void sti_blocks_for_one_instruction(void **state)
{
	struct vcpu *v = real(state);

	assert_int_equal(RUN(v, 0xfb), EMULATE_DONE);
	assert_true(v->interrupt_shadow && !vcpu_interruptible(v));
	assert_int_equal(RUN(v, 0xfb), EMULATE_DONE); /* again: no more */
	assert_true(vcpu_interruptible(v));
}

static void a_single_step_is_that_of_the_flags_before(void **state)
{
	struct vcpu *v = real(state);

	put(v, STACK, (uint8_t[]){0x02, 0x01}, 2);
	assert_int_equal(RUN(v, 0x9d), EMULATE_DONE); /* popf */
	assert_true(v->rflags & RFLAGS_TF && v->event.type == EVENT_NONE);
	assert_int_equal(RUN(v, 0x90), EMULATE_DONE);
	assert_int_equal(v->event.vector, VECTOR_DB);
}

static void strings_stop_in_between(void **state)
{
	struct vcpu *v = real(state);

	v->gpr[RCX] = EMULATE_REP_STEP + 5;
	v->gpr[RDI] = 0x4000;
	assert_int_equal(RUN(v, 0xf3, 0xaa), EMULATE_DONE);
	assert_int_equal(v->rip, 0);
	assert_int_equal(v->gpr[RCX], 5);
	assert_int_equal(step(v), EMULATE_DONE);
	assert_int_equal(v->rip, 2);
}

static void tables_have_24_bits_with_16_bit_operands(void **state)
{
	struct vcpu *v = real(state);

	put(v, 0x4000, (uint8_t[]){0x17, 0x00, 0x78, 0x56, 0x34, 0x12}, 6);
	assert_int_equal(RUN(v, 0x0f, 0x01, 0x16, 0x00, 0x40), EMULATE_DONE);
	assert_int_equal(v->gdtr.base, 0x345678);
	assert_int_equal(v->gdtr.limit, 0x17);
	assert_int_equal(RUN(v, 0x66, 0x0f, 0x01, 0x1e, 0x00, 0x40), EMULATE_DONE);
	assert_int_equal(v->idtr.base, 0x12345678);
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_UD, 0); /* ltr */
}

static void quotients_at_their_ends(void **state)
{
	struct vcpu *v = real(state);
	static const struct {
		uint16_t ax;
		uint8_t by;
		int quotient;
	} table[] = {{0xff80, 1, 0x80}, {0xff7f, 1, -1}, {0x7f, 1, 0x7f}, {0x80, 1, -1}, {0x80, 0xff, 0x80}, {0xff80, 0xff, -1},
		{0xffff, 0, -1}};

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		v->gpr[RAX] = table[i].ax;
		v->gpr[RBX] = table[i].by;
		if (table[i].quotient < 0) {
			faults(RUN(v, 0xf6, 0xfb), VECTOR_DE, 0); /* idiv %bl */
			continue;
		}
		assert_int_equal(RUN(v, 0xf6, 0xfb), EMULATE_DONE);
		assert_int_equal(v->gpr[RAX], table[i].quotient);
	}
}

static void lock_is_for_memory(void **state)
{
	struct vcpu *v = real(state);

	faults(RUN(v, 0xf0, 0x01, 0xc0), VECTOR_UD, 0);	/* lock add %ax, %ax */
	faults(RUN(v, 0xf0, 0xf4), VECTOR_UD, 0);	/* lock hlt */
	assert_int_equal(RUN(v, 0xd9, 0xe8), EMULATE_UNKNOWN); /* fld1 */
	assert_int_equal(RUN(v, 0x0f, 0xa2), EMULATE_EXIT);
	assert_int_equal(insn.op, INSN_CPUID);
	assert_int_equal(RUN(v, 0x0f, 0x20, 0xd0), EMULATE_DONE); /* mov %cr2, %eax */
	faults(RUN(v, 0x0f, 0x20, 0xc8), VECTOR_UD, 0);	 /* mov %cr1, %eax */
}

/* ---- protected mode ---- */

/* 16-bit protected mode with a GDT: 8 code, 10h data, 18h data at DPL 3, 20h absent data, 28h TSS, 30h code without access. */
static struct vcpu *protected(void **state)
{
	static const uint64_t gdt[] = {0, 0x00009b000000ffff, 0x000093000000ffff, 0x0000f3000000ffff, 0x000013000000ffff,
		0x0000890000000067, 0x0000980000000fff, 0x0000fb000000ffff};
	struct vcpu *v = real(state);

	put(v, GDT, gdt, sizeof gdt);
	v->gdtr = (struct desc_table){GDT, sizeof gdt - 1};
	v->idtr = (struct desc_table){IDT, 0x7ff};
	v->cr0 |= CR0_PE;
	return v;
}

static enum emulate_outcome load(struct vcpu *v, uint8_t modrm, uint16_t selector)
{
	v->gpr[RAX] = selector;
	return RUN(v, 0x8e, modrm);
}

static void protected_loads_check(void **state)
{
	struct vcpu *v = protected(state);

	assert_int_equal(load(v, 0xd8, 0x10), EMULATE_DONE); /* DS */
	assert_int_equal(v->seg[DS].base, 0);
	assert_int_equal(v->seg[DS].attr, ATTR_DATA16);
	assert_int_equal(load(v, 0xd8, 3), EMULATE_DONE);
	assert_true(v->seg[DS].attr & SEG_UNUSABLE);
	faults(RUN(v, 0xa0, 0, 0), VECTOR_GP, 0);
	faults(load(v, 0xd8, 0x48), VECTOR_GP, 0x48); /* beyond the table */
	faults(load(v, 0xd8, 0x0c), VECTOR_GP, 0x0c); /* no LDT that far */
	faults(load(v, 0xd8, 0x20), VECTOR_NP, 0x20);
	faults(load(v, 0xd8, 0x28), VECTOR_GP, 0x28);
	faults(load(v, 0xd8, 0x30), VECTOR_GP, 0x30);
	assert_int_equal(load(v, 0xd8, 0x1b), EMULATE_DONE);
	faults(load(v, 0xd8, 0x13), VECTOR_GP, 0x10); /* RPL above DPL */
	faults(load(v, 0xd0, 0), VECTOR_GP, 0);	      /* SS */
	faults(load(v, 0xd0, 0x18), VECTOR_GP, 0x18);
	faults(load(v, 0xd0, 0x08), VECTOR_GP, 0x08);
	put(v, GDT + 0x15, (uint8_t[]){0x13}, 1);
	faults(load(v, 0xd0, 0x10), VECTOR_SS, 0x10);
	put(v, GDT + 0x15, (uint8_t[]){0x92}, 1);
	assert_int_equal(load(v, 0xd0, 0x10), EMULATE_DONE);
	assert_int_equal(get(v, GDT + 0x15, 1), 0x93); /* accessed */
	v->gpr[RAX] = 0x28;
	assert_int_equal(RUN(v, 0x0f, 0x00, 0xd8), EMULATE_DONE); /* ltr */
	assert_int_equal(get(v, GDT + 0x2d, 1), 0x8b);		  /* busy */
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0x28);
}

/* The guest's CPU may not look at a null selector (svm_cap.c). */
static void long_mode_tasks_have_16_bytes(void **state)
{
	struct vcpu *v = protected(state);
	uint64_t task[2] = {0x12008900a0000067, 0xffff8000};

	v->efer |= EFER_LMA;
	v->gpr[RAX] = 0;
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0); /* ltr */
	v->gpr[RAX] = 0x28;
	put(v, GDT + 0x28, task, sizeof task);
	assert_int_equal(RUN(v, 0x0f, 0x00, 0xd8), EMULATE_DONE);
	assert_int_equal(v->seg[TR].base, 0xffff80001200a000);
	assert_int_equal(v->seg[TR].limit, 0x67);
	assert_int_equal(get(v, GDT + 0x2d, 1), 0x8b);
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0x28);
	task[1] = 0x00008000; /* not canonical */
	put(v, GDT + 0x28, task, sizeof task);
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0x28);
	task[1] = 1UL << 44;
	put(v, GDT + 0x28, task, sizeof task);
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0x28);
	task[0] = 0x12000100a0000067; /* 16 bits, absent */
	put(v, GDT + 0x28, task, sizeof task);
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0x28);
	task[0] = 0x12000900a0000067;
	put(v, GDT + 0x28, task, sizeof task);
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_NP, 0x28);
	task[0] = 0x12008900a0000067;
	put(v, GDT + 0x28, task, sizeof task);
	v->gdtr.limit = 0x36;
	faults(RUN(v, 0x0f, 0x00, 0xd8), VECTOR_GP, 0x28);
	assert_int_equal(get(v, GDT + 0x2d, 1), 0x89);
	v->gpr[RAX] = 0;
	assert_int_equal(RUN(v, 0x0f, 0x00, 0xd0), EMULATE_DONE); /* lldt */
	assert_true(v->seg[LDTR].attr & SEG_UNUSABLE);
}

static void far_jumps_check(void **state)
{
	struct vcpu *v = protected(state);

	faults(RUN(v, 0xea, 0, 0, 0, 0), VECTOR_GP, 0);
	faults(RUN(v, 0xea, 0, 0, 0x10, 0), VECTOR_GP, 0x10);
	faults(RUN(v, 0xea, 0, 0, 0x38, 0), VECTOR_GP, 0x38); /* DPL 3 */
	assert_int_equal(RUN(v, 0xea, 0, 0, 0x28, 0), EMULATE_UNKNOWN);
	faults(RUN(v, 0xea, 0x00, 0x10, 0x30, 0), VECTOR_GP, 0); /* beyond its limit */
	assert_true(v->interpret);
	assert_int_equal(RUN(v, 0xea, 0x00, 0x80, 0x08, 0), EMULATE_DONE);
	assert_int_equal(v->rip, 0x8000);
	assert_int_equal(v->seg[CS].attr, ATTR_CODE16);
	assert_false(v->interpret);
	put(v, v->gpr[RSP], (uint8_t[]){0x00, 0x00, 0x3b, 0x00}, 4);
	assert_int_equal(RUN(v, 0xcb), EMULATE_UNKNOWN); /* to CPL 3 */
}

static void what_mov_ss_blocks_is_interpreted_too(void **state)
{
	struct vcpu *v = protected(state);

	v->seg[SS].selector = 3;
	assert_int_equal(RUN(v, 0xea, 0x00, 0x80, 0x08, 0), EMULATE_DONE);
	assert_true(v->interpret);
	assert_int_equal(load(v, 0xd0, 0x10), EMULATE_DONE);
	assert_true(v->interpret && !interpret_needed(v));
	assert_int_equal(RUN(v, 0x90), EMULATE_DONE);
	assert_false(v->interpret);
}

static void gates_deliver(void **state)
{
	struct vcpu *v = protected(state);
	static const uint64_t gates[] = {0x00008e0000081234, 0x00008f0000081234, 0x0000860000081234, 0x00000e0000081234,
		0x0000850000280000, 0x0000920000081234};

	put(v, IDT, gates, sizeof gates);
	v->rflags |= RFLAGS_IF;
	v->rip = 0x55;
	assert_int_equal(deliver(v, (struct event){.type = EVENT_EXCEPTION, .vector = 0, .has_error = true, .error = 0x18}),
		EMULATE_DONE);
	assert_int_equal(v->gpr[RSP], STACK - 16);
	assert_int_equal(get(v, STACK - 16, 4), 0x18);
	assert_int_equal(get(v, STACK - 12, 4), 0x55);
	assert_int_equal(get(v, STACK - 4, 4), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_RF);
	assert_false(v->rflags & RFLAGS_IF);
	assert_int_equal(v->seg[CS].attr, ATTR_CODE16);
	v->rflags |= RFLAGS_IF;
	assert_int_equal(deliver(v, (struct event){.type = EVENT_INTERRUPT, .vector = 1}), EMULATE_DONE);
	assert_true(v->rflags & RFLAGS_IF);
	assert_int_equal(deliver(v, (struct event){.type = EVENT_INTERRUPT, .vector = 2}), EMULATE_DONE);
	assert_int_equal(v->gpr[RSP], STACK - 16 - 12 - 6);
	faults(deliver(v, (struct event){.type = EVENT_INTERRUPT, .vector = 3}), VECTOR_NP, 3 << 3 | 3);
	assert_int_equal(deliver(v, (struct event){.type = EVENT_INTERRUPT, .vector = 4}), EMULATE_UNKNOWN);
	v->event.type = EVENT_NONE;
	faults(RUN(v, 0xcd, 0x05), VECTOR_GP, 5 << 3 | 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vcpu_unit_test(loads_keep_the_limit),
		vcpu_unit_test(nothing_comes_behind_a_load_of_ss),
		vcpu_unit_test(limits_count),
		vcpu_unit_test(ip_wraps_by_operand_size),
		vcpu_unit_test(interrupts_by_the_vector_table),
		vcpu_unit_test(sti_blocks_for_one_instruction),
		vcpu_unit_test(a_single_step_is_that_of_the_flags_before),
		vcpu_unit_test(strings_stop_in_between),
		vcpu_unit_test(tables_have_24_bits_with_16_bit_operands),
		vcpu_unit_test(quotients_at_their_ends),
		vcpu_unit_test(lock_is_for_memory),
		vcpu_unit_test(protected_loads_check),
		vcpu_unit_test(long_mode_tasks_have_16_bytes),
		vcpu_unit_test(far_jumps_check),
		vcpu_unit_test(what_mov_ss_blocks_is_interpreted_too),
		vcpu_unit_test(gates_deliver),
	};

	return cmocka_run_group_tests_name("interpreter", tests, 0, 0);
}
