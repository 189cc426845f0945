/* SPDX-License-Identifier: MIT */
/* guest/gdb_guest.c: single steps, and RFLAGS.TF, which is the guest's as far as the guest sees. */
#include "tools/host/gdb_guest_test.h"

static void steps(void **state)
{
	uint64_t dr6 = DR6_BS | 1;

	(void)state;
	/* by the processor's trap; a breakpoint of the guest's own hits too */
	v->interrupt_shadow = true;
	gdb_guest_step(v);
	assert_true(v->rflags & RFLAGS_TF && !v->interrupt_shadow && v->changed & VCPU_FLOW);
	gdb_guest_debug(v, &dr6);
	assert_int_equal(dr6, 1);
	assert_true(v->step.done);
	gdb_guest_step_end(v);
	assert_false(v->rflags & RFLAGS_TF || v->step.on);
	/* an instruction that was emulated */
	gdb_guest_step(v);
	vcpu_skip(v, 2);
	assert_true(v->step.done);
	assert_int_equal(v->event.type, EVENT_NONE);
	gdb_guest_step_end(v);
	/* a guest that steps itself sees its own trap, and keeps TF */
	v->rflags |= RFLAGS_TF;
	gdb_guest_step(v);
	dr6 = DR6_BS;
	gdb_guest_debug(v, &dr6);
	assert_int_equal(dr6, DR6_BS);
	gdb_guest_step_end(v);
	assert_true(v->rflags & RFLAGS_TF);
	gdb_guest_step(v);
	vcpu_skip(v, 2);
	assert_true(v->step.done && v->event.type == EVENT_EXCEPTION && v->event.vector == VECTOR_DB);
}

/* The step is broken off in a handler: its TF comes back from the frame later, and is not the guest's business. */
static void step_left_behind(void **state)
{
	uint64_t dr6 = DR6_BS;

	(void)state;
	gdb_guest_step(v);
	v->rflags &= ~RFLAGS_TF; /* delivery of a fault */
	gdb_guest_step_end(v);
	v->rflags |= RFLAGS_TF; /* IRET */
	gdb_guest_debug(v, &dr6);
	assert_int_equal(dr6, 0);
	assert_false(v->rflags & RFLAGS_TF);
	dr6 = DR6_BS;
	gdb_guest_debug(v, &dr6);
	assert_int_equal(dr6, DR6_BS);
}

#define STACK 0x310000UL

/* A step of the instruction in `code`, which leads behind it, with what it does to the stack and RFLAGS done by hand. */
static void step_flags(const char *code, unsigned bytes, uint64_t rip, uint64_t rsp, uint64_t tf)
{
	uint64_t dr6 = DR6_BS;

	assert_true(gdb_guest_write(v, gdb_guest_linear_rip(v), code, bytes));
	gdb_guest_step(v);
	v->rip = rip;
	v->gpr[RSP] = rsp;
	v->rflags = (v->rflags & ~RFLAGS_TF) | tf;
	gdb_guest_debug(v, &dr6);
	gdb_guest_step_settle(v);
}

/* PUSHF's image has the guest's TF and no other. */
static void what_pushf_stores(void **state)
{
	static const char pushf[] = "\x9c", pushfw[] = "\x66\x9c", other[] = "\x50";

	(void)state;
	v->rip = CODE;
	put(STACK - 4, 0x346);
	step_flags(pushf, 1, CODE + 1, STACK - 4, RFLAGS_TF);
	assert_int_equal(peek(STACK - 3), 2);
	assert_int_equal(peek(STACK - 4), 0x46);
	gdb_guest_step_end(v);
	assert_false(v->rflags & RFLAGS_TF);
	v->rip = CODE;
	put(STACK - 2, 0x346);
	step_flags(pushfw, 2, CODE + 2, STACK - 2, RFLAGS_TF);
	assert_int_equal(peek(STACK - 1), 2);
	gdb_guest_step_end(v);
	/* another instruction's image is its own */
	v->rip = CODE;
	put(STACK - 4, 0x346);
	step_flags(other, 1, CODE + 1, STACK - 4, RFLAGS_TF);
	assert_int_equal(peek(STACK - 3), 3);
	gdb_guest_step_end(v);
	/* a handler led elsewhere: nothing was stored */
	v->rip = CODE;
	step_flags(pushf, 1, CODE + 9, STACK - 4, RFLAGS_TF);
	assert_int_equal(peek(STACK - 3), 3);
	gdb_guest_step_end(v);
	/* a segment's base counts, and its size */
	v->seg[CS].base = 0x1000;
	v->rip = CODE - 0x1000;
	v->seg[SS].base = STACK - 0x10000;
	v->seg[SS].attr &= ~SEG_DB;
	step_flags(pushf, 1, CODE + 1 - 0x1000, 0xabcdfffc, RFLAGS_TF);
	assert_int_equal(peek(STACK - 3), 2);
	gdb_guest_step_end(v);
	/* the guest steps itself: it sees its own */
	v->seg[CS].base = 0;
	v->rip = CODE;
	v->rflags |= RFLAGS_TF;
	put(STACK - 4, 0x346);
	step_flags(pushf, 1, CODE + 1, 0xabcdfffc, RFLAGS_TF);
	assert_int_equal(peek(STACK - 3), 3);
	gdb_guest_step_end(v);
	assert_true(v->rflags & RFLAGS_TF);
}

/* In 64-bit mode SS's base does not count. */
static void what_pushf_stores_in_64_bit_mode(void **state)
{
	(void)state;
	long_mode();
	v->rip = VIRTUAL;
	v->seg[SS].base = 0x1000;
	put(CODE + 0x800, 0x346);
	step_flags("\x9c", 1, VIRTUAL + 1, VIRTUAL + 0x800, RFLAGS_TF);
	assert_int_equal(peek(CODE + 0x801), 2);
}

/* TF that POPF or IRET loads is the guest's wish, but one that a step left in a frame. */
static void what_popf_loads(void **state)
{
	(void)state;
	v->rip = CODE;
	step_flags("\x9d", 1, CODE + 1, STACK, RFLAGS_TF);
	gdb_guest_step_end(v);
	assert_true(v->rflags & RFLAGS_TF);
	v->rip = CODE;
	step_flags("\x9d", 1, CODE + 1, STACK, 0);
	gdb_guest_step_end(v);
	assert_false(v->rflags & RFLAGS_TF || v->step.left_behind);
	/* POPF faults, and the handler leads elsewhere: TF is the step's */
	v->rip = CODE;
	step_flags("\x9d", 1, CODE + 9, STACK, RFLAGS_TF);
	gdb_guest_step_end(v);
	assert_false(v->rflags & RFLAGS_TF);
	v->rip = CODE;
	step_flags("\xcf", 1, CODE + 0x100, STACK, RFLAGS_TF);
	gdb_guest_step_end(v);
	assert_true(v->rflags & RFLAGS_TF);
	v->rflags &= ~RFLAGS_TF;
	/* a step ended in a handler; the step over its IRET brings TF back */
	gdb_guest_step(v);
	v->rflags &= ~RFLAGS_TF;
	gdb_guest_step_end(v);
	v->rip = CODE;
	step_flags("\xcf", 1, CODE + 0x100, STACK, RFLAGS_TF);
	gdb_guest_step_end(v);
	assert_false(v->rflags & RFLAGS_TF || v->step.left_behind);
}

/* A range: it goes on from where it leads, in linear addresses, and stops outside, or at a halt. */
static void steps_over_a_range(void **state)
{
	uint64_t dr6 = DR6_BS;

	(void)state;
	v->seg[CS].base = 0x1000;
	v->rip = 0x100;
	gdb_guest_step(v);
	assert_false(gdb_guest_step_on(v)); /* without a range it is one */
	gdb_guest_step_end(v);
	gdb_guest_step(v);
	gdb_guest_step_range(v, 0x1100, 0x1108);
	gdb_guest_debug(v, &dr6);
	v->rip = 0x107;
	v->interrupt_shadow = true;
	assert_true(gdb_guest_step_on(v));
	assert_true(v->step.on && !v->step.done && v->rflags & RFLAGS_TF && !v->interrupt_shadow);
	vcpu_skip(v, 1);
	assert_false(gdb_guest_step_on(v));
	v->rip = 0x0ff;
	assert_false(gdb_guest_step_on(v));
	v->rip = 0x100;
	v->activity = VCPU_HALTED;
	assert_false(gdb_guest_step_on(v));
	v->activity = VCPU_RUNNABLE;
	assert_true(gdb_guest_step_on(v));
	gdb_guest_step_end(v);
	assert_false(v->rflags & RFLAGS_TF || v->step.on);
	gdb_guest_step(v); /* the range is over with its step */
	assert_false(gdb_guest_step_on(v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(steps), TEST(steps_over_a_range), TEST(step_left_behind),
		TEST(what_pushf_stores), TEST(what_pushf_stores_in_64_bit_mode), TEST(what_popf_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
