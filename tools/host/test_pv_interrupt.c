/* SPDX-License-Identifier: MIT */
/* guest/pv_eoi.c and pv_call.c: the end of interrupts by a bit in memory, interrupts to many by one hypercall. */
#include "tools/host/pv_test.h"

/* ---- the end of interrupts ---- */

static void interrupt(struct vcpu *v, uint8_t vector, bool level)
{
	lapic_request(v, vector, level);
	assert_true(vm_interrupt_pending(v));
	assert_int_equal(vm_interrupt_acknowledge(v), vector);
	pv_eoi_settle(v);
}

static uint64_t in_service(struct vcpu *v, unsigned word)
{
	uint64_t value;

	assert_true(msr_read(v, X2APIC_ISR + word, &value));
	return value;
}

static void a_cleared_bit_is_an_end(void **state)
{
	struct vcpu *v = vcpu(state);

	poke(v, PAGE_A, 0xffffffff, 4);
	assert_true(wr(v, PV_MSR_EOI, PAGE_A | 1));
	assert_int_equal(peek(v, PAGE_A, 4), 0xffffff00);
	interrupt(v, VECTOR, false);
	assert_int_equal(peek(v, PAGE_A, 1), 1);
	assert_int_equal(in_service(v, 2), 1u << VECTOR % 32); /* a look alone ends nothing */
	assert_int_equal(peek(v, PAGE_A, 1), 1);
	poke(v, PAGE_A, 0, 1);
	assert_int_equal(in_service(v, 2), 0);
	interrupt(v, VECTOR, false); /* and the next */
	poke(v, PAGE_A, 0, 1);
	interrupt(v, VECTOR, false);
	assert_int_equal(peek(v, PAGE_A, 1), 1);
}

/* Who requests an interrupt kicks the vCPU where attention was 0: so it is, once all was looked at. */
static void a_look_leaves_no_notice(void **state)
{
	struct vcpu *v = vcpu(state);

	wr(v, PV_MSR_EOI, PAGE_A | 1);
	interrupt(v, VECTOR, false);
	poke(v, PAGE_A, 0, 1);
	lapic_request(v, VECTOR, false);
	store_relaxed(&v->attention, 0);
	assert_true(vm_interrupt_pending(v));
	assert_int_equal(vm_interrupt_acknowledge(v), VECTOR);
	pv_eoi_settle(v);
	assert_int_equal(load_relaxed(&v->attention), 0);
	assert_int_equal(peek(v, PAGE_A, 1), 1);
}

static void a_request_takes_the_bit_back(void **state)
{
	struct vcpu *v = vcpu(state);

	wr(v, PV_MSR_EOI, PAGE_A | 1);
	interrupt(v, VECTOR, false);
	lapic_request(v, VECTOR - 1, false); /* the same class: it waits for the end */
	assert_false(vm_interrupt_pending(v));
	pv_eoi_settle(v);
	assert_int_equal(peek(v, PAGE_A, 1), 0);
	assert_int_equal(in_service(v, 2), 1u << VECTOR % 32); /* that was no end of the guest's */
	store_relaxed(&v->attention, 0);
	assert_true(wr(v, X2APIC_EOI, 0));
	assert_true(load_relaxed(&v->attention));
	assert_true(vm_interrupt_pending(v));
	assert_int_equal(vm_interrupt_acknowledge(v), VECTOR - 1);
	pv_eoi_settle(v);
	assert_int_equal(peek(v, PAGE_A, 1), 1);
	/* a higher class: two are in service */
	interrupt(v, VECTOR + 0x10, false);
	assert_int_equal(peek(v, PAGE_A, 1), 0);
	assert_true(wr(v, X2APIC_EOI, 0));
	pv_eoi_settle(v);
	assert_int_equal(peek(v, PAGE_A, 1), 1);
	poke(v, PAGE_A, 0, 1);
	assert_int_equal(in_service(v, 2) | in_service(v, 3), 0);
}

static void an_end_by_the_register_takes_it_back(void **state)
{
	struct vcpu *v = vcpu(state);

	wr(v, PV_MSR_EOI, PAGE_A | 1);
	interrupt(v, VECTOR, false);
	assert_true(wr(v, X2APIC_EOI, 0));
	assert_int_equal(in_service(v, 2), 0);
	assert_int_equal(peek(v, PAGE_A, 1), 0);
	interrupt(v, VECTOR, false);
	assert_true(wr(v, PV_MSR_EOI, 0));
	assert_int_equal(peek(v, PAGE_A, 1), 0);
	assert_int_equal(in_service(v, 2), 1u << VECTOR % 32);
	assert_true(wr(v, PV_MSR_EOI, PAGE_A | 1));
	pv_eoi_settle(v);
	assert_int_equal(peek(v, PAGE_A, 1), 1);
	lapic_reset(v);
	assert_int_equal(peek(v, PAGE_A, 1), 0);
}

static void a_level_wants_its_end(void **state)
{
	struct vcpu *v = vcpu(state);

	wr(v, PV_MSR_EOI, PAGE_A | 1);
	interrupt(v, VECTOR, true);
	assert_int_equal(peek(v, PAGE_A, 1), 0);
}

/* ---- hypercalls ---- */

static bool requested(struct vcpu *v, uint8_t vector)
{
	uint32_t bit = 1u << vector % 32;

	return fetch_and_seq(&v->lapic.irr[vector / 32], ~bit) & bit;
}

static void one_call_interrupts_many(void **state)
{
	struct vcpu *v = vcpu(state);

	v->efer = EFER_LMA | EFER_LME;
	v->seg[CS].attr |= SEG_L;
	assert_int_equal(call(v, 10, 3, 0, 0, VECTOR), 2);
	assert_true(requested(v, VECTOR) && requested(&second, VECTOR));
	assert_int_equal(call(v, 10, 1, 0, 1, VECTOR), 1);
	assert_false(requested(v, VECTOR));
	assert_true(requested(&second, VECTOR));
	assert_int_equal(call(v, 10, 0, 2, (uint64_t)-64, VECTOR), 0); /* ids do not wrap */
	assert_int_equal(call(v, 10, ~0UL << 2, ~0UL, 0, VECTOR), 0); /* nobody there */
	assert_int_equal(call(v, 10, 2, 0, 0, 0x400), 1);
	assert_int_equal(load_relaxed(&second.signals), SIGNAL_NMI);
	assert_int_equal((int64_t)call(v, 10, 3, 0, 0, 0x500), -22); /* INIT */
	assert_int_equal((int64_t)call(v, 10, 3, 0, 0, 1UL << 18 | VECTOR), -22);
	assert_int_equal((int64_t)call(v, 10, 3, 0, 0, 1UL << 11 | VECTOR), -22);
	assert_false(requested(v, VECTOR) || requested(&second, VECTOR));
}

static void words_are_narrow_outside_64bit_mode(void **state)
{
	struct vcpu *v = vcpu(state);

	/* id 32 + n is bit n of the second word, and only the lower halves of registers count */
	assert_int_equal(call(v, 10 | 1UL << 32, 2UL << 32 | 1, 0, 0, VECTOR), 1);
	assert_true(requested(v, VECTOR));
	assert_int_equal(call(v, 11, 1, 0, 0, VECTOR), (uint32_t)-1000);
	v->efer = EFER_LMA | EFER_LME; /* compatibility mode */
	assert_int_equal(call(v, 11, 1, 0, 0, VECTOR), (uint32_t)-1000);
}

static void calls_are_refused(void **state)
{
	struct vcpu *v = vcpu(state);

	v->efer = EFER_LMA | EFER_LME;
	v->seg[CS].attr |= SEG_L;
	assert_int_equal((int64_t)call(v, 1, 0, 0, 0, 0), -1000);
	assert_int_equal((int64_t)call(v, ~0UL, 0, 0, 0, 0), -1000);
	v->seg[SS].attr |= 3 << SEG_DPL_SHIFT;
	assert_int_equal((int64_t)call(v, 10, 3, 0, 0, VECTOR), -1);
	assert_false(requested(v, VECTOR));
	v->seg[SS].attr &= ~(3u << SEG_DPL_SHIFT);
	v->vm->config.pv = CONFIG_PV_CLOCK;
	assert_int_equal((int64_t)call(v, 10, 3, 0, 0, VECTOR), -1000);
	v->vm->config.pv = 0;
	assert_false(pv_call(v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PV_TEST(a_cleared_bit_is_an_end),
		PV_TEST(a_look_leaves_no_notice),
		PV_TEST(a_request_takes_the_bit_back),
		PV_TEST(an_end_by_the_register_takes_it_back),
		PV_TEST(a_level_wants_its_end),
		PV_TEST(one_call_interrupts_many),
		PV_TEST(words_are_narrow_outside_64bit_mode),
		PV_TEST(calls_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
