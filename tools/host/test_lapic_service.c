/* SPDX-License-Identifier: MIT */
/* guest/lapic.c: requests on their way to service and to their end, priorities, errors. SDM vol. 3, 10.5.3 and 10.8. */
#include "tools/host/lapic_test.h"

#define ESR_SENT (1u << 5)
#define ESR_RECEIVED (1u << 6)
#define ESR_REGISTER (1u << 7)

static void from_requested_to_in_service(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	forget(v);
	for (unsigned vector = 16; vector < 256; vector++) {
		lapic_request(v, (uint8_t)vector, false);
		assert_true(load_relaxed(&v->attention) && lapic_test.attended[1] == 1);
		lapic_request(v, (uint8_t)vector, false); /* it is one */
		assert_int_equal(lapic_test.attended[1], 1);
		assert_true(bit_in(v, PAGE_IRR, vector) && !bit_in(v, PAGE_ISR, vector));
		assert_int_equal(take(v), vector);
		assert_true(!bit_in(v, PAGE_IRR, vector) && bit_in(v, PAGE_ISR, vector));
		assert_int_equal(page_in(v, PAGE_PPR), vector & 0xf0);
		lapic_request(v, (uint8_t)vector, false); /* another, behind it */
		assert_int_equal(lapic_pending(v), -1);
		page_out(v, PAGE_EOI, 0);
		assert_int_equal(take(v), vector);
		page_out(v, PAGE_EOI, 0);
		assert_int_equal(take(v), -1);
		forget(v);
	}
	for (unsigned i = 0; i < 2 * LAPIC_WORDS; i++)
		assert_int_equal(page_in(v, PAGE_ISR + 16 * i), 0);
	page_out(v, PAGE_EOI, 0); /* of nothing */
	assert_false(load_relaxed(&v->attention));
}

static int looked_at;

/* A run loop that looks the moment it is asked. */
static void look(struct vcpu *v)
{
	store_relaxed(&v->attention, 0);
	looked_at = take(v);
}

static void the_request_is_there_when_the_notice_comes(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	forget(v);
	vm->attend = look;
	lapic_request(v, 0x66, false);
	assert_int_equal(looked_at, 0x66);
	assert_false(load_relaxed(&v->attention));
}

static void services_nest(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	lapic_request(v, 0x35, false);
	assert_int_equal(take(v), 0x35);
	lapic_request(v, 0x3f, false); /* of the same class: it waits */
	assert_int_equal(take(v), -1);
	lapic_request(v, 0x41, false);
	lapic_request(v, 0xfe, false);
	assert_int_equal(take(v), 0xfe);
	assert_int_equal(page_in(v, PAGE_PPR), 0xf0);
	assert_int_equal(take(v), -1);
	forget(v);
	page_out(v, PAGE_EOI, 0);
	assert_true(load_relaxed(&v->attention)); /* 0x41 need not wait any longer */
	assert_true(!bit_in(v, PAGE_ISR, 0xfe) && bit_in(v, PAGE_ISR, 0x35));
	assert_int_equal(take(v), 0x41);
	forget(v);
	page_out(v, PAGE_EOI, 0);
	assert_int_equal(page_in(v, PAGE_PPR), 0x30);
	assert_false(load_relaxed(&v->attention)); /* 0x3f must */
	page_out(v, PAGE_EOI, 0);
	assert_int_equal(take(v), 0x3f);
	page_out(v, PAGE_EOI, 0);
	assert_int_equal(page_in(v, PAGE_PPR), 0);
}

static void priorities(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	lapic_request(v, 0x52, false);
	page_out(v, PAGE_TPR, 0x5f);
	assert_int_equal(lapic_cr8(v), 5);
	assert_int_equal(page_in(v, PAGE_PPR), 0x5f);
	assert_int_equal(lapic_pending(v), -1);
	forget(v);
	page_out(v, PAGE_TPR, 0x50);
	assert_false(load_relaxed(&v->attention));
	page_out(v, PAGE_TPR, 0x4f);
	assert_true(load_relaxed(&v->attention));
	assert_int_equal(lapic_pending(v), 0x52);
	lapic_set_cr8(v, 15);
	assert_int_equal(page_in(v, PAGE_TPR), 0xf0);
	assert_int_equal(lapic_pending(v), -1);
	forget(v);
	lapic_set_cr8(v, 4);
	assert_true(load_relaxed(&v->attention));
	assert_int_equal(page_in(v, PAGE_TPR), 0x40); /* the lower half is cleared */
	assert_int_equal(take(v), 0x52);
	assert_int_equal(page_in(v, PAGE_PPR), 0x50);
	lapic_set_cr8(v, 6);
	assert_int_equal(page_in(v, PAGE_PPR), 0x60);
}

static void level_triggered_ones_are_marked(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	for (unsigned pin = 1; pin < 3; pin++) {
		uint64_t value = 0x10 + 2 * pin;

		mmio_access(&vm->mmio, v, gpa(0xfec00000), 4, true, &value);
		value = 0x8000 | (0x60 + pin); /* level */
		mmio_access(&vm->mmio, v, gpa(0xfec00010), 4, true, &value);
		value = 0x11 + 2 * pin;
		mmio_access(&vm->mmio, v, gpa(0xfec00000), 4, true, &value);
		value = 1 << 24;
		mmio_access(&vm->mmio, v, gpa(0xfec00010), 4, true, &value);
	}
	lock_take(&vm->bus.lock);
	ioapic_set_line(&vm->ioapic, 1, true);
	lock_drop(&vm->bus.lock);
	assert_true(bit_in(v, PAGE_TMR, 0x61));
	assert_int_equal(take(v), 0x61);
	assert_int_equal(take(v), -1);
	page_out(v, PAGE_EOI, 0); /* reaches the I/O APIC, whose line is still high */
	assert_int_equal(take(v), 0x61);
	lock_take(&vm->bus.lock);
	ioapic_set_line(&vm->ioapic, 1, false);
	lock_drop(&vm->bus.lock);
	page_out(v, PAGE_EOI, 0);
	assert_int_equal(take(v), -1);
	/* The same vector by an edge: its end is nobody's affair. */
	lapic_request(v, 0x61, false);
	assert_false(bit_in(v, PAGE_TMR, 0x61));
}

static void errors_are_latched(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	page_out(v, PAGE_LVT_ERROR, 0x4e);
	page_in(v, PAGE_CMCI);
	assert_int_equal(v->lapic.bad, 1);
	assert_int_equal(page_in(v, PAGE_ESR), 0);
	assert_int_equal(take(v), 0x4e);
	page_out(v, PAGE_EOI, 0);
	page_out(v, PAGE_ICR, 0x0f | 1 << 18); /* to itself, an illegal vector */
	assert_int_equal(take(v), -1);         /* the interrupt is armed by a write */
	page_out(v, PAGE_ESR, 0x1234);
	assert_int_equal(page_in(v, PAGE_ESR), ESR_REGISTER | ESR_SENT);
	lapic_request(v, 0xf, false);
	assert_int_equal(take(v), 0x4e);
	assert_false(bit_in(v, PAGE_IRR, 0xf));
	page_out(v, PAGE_EOI, 0);
	assert_int_equal(page_in(v, PAGE_ESR), ESR_REGISTER | ESR_SENT);
	page_out(v, PAGE_ESR, 0);
	assert_int_equal(page_in(v, PAGE_ESR), ESR_RECEIVED);
	page_out(v, PAGE_ESR, 0);
	assert_int_equal(page_in(v, PAGE_ESR), 0);
	/* Masked, or with a vector that is illegal itself. */
	page_out(v, PAGE_LVT_ERROR, 0x4e | TEST_MASKED);
	page_in(v, PAGE_SELF_IPI);
	page_out(v, PAGE_ESR, 0);
	page_out(v, PAGE_LVT_ERROR, 5);
	page_out(v, 0x40, 0);
	assert_int_equal(take(v), -1);
	page_out(v, PAGE_ESR, 0);
	assert_int_equal(page_in(v, PAGE_ESR), ESR_REGISTER);
}

static void what_is_no_error(void **state)
{
	static const unsigned read_only[] = {PAGE_ID, PAGE_VERSION, PAGE_APR, PAGE_PPR, 0xc0, PAGE_ISR, PAGE_TMR + 0x70, PAGE_IRR,
		PAGE_CURRENT};
	struct vcpu *v = vcpu(1);

	(void)state;
	for (unsigned i = 0; i < sizeof read_only / sizeof *read_only; i++) {
		page_out(v, read_only[i], 0xffffffff);
		page_in(v, read_only[i]);
	}
	assert_int_equal(page_in(v, PAGE_EOI), 0);
	page_in(v, 0x400);
	page_out(v, 0xff0, 1);
	page_out(v, PAGE_ESR, 0);
	assert_int_equal(page_in(v, PAGE_ESR), 0);
	assert_int_equal(v->lapic.bad, 0);
}

static void self_ipis_of_illegal_vectors(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	x2apic_all();
	assert_true(msr_out(v, PAGE_SELF_IPI, 0x55));
	assert_int_equal(take(v), 0x55);
	assert_true(msr_out(v, PAGE_EOI, 0));
	assert_true(msr_out(v, PAGE_SELF_IPI, 0xf));
	assert_int_equal(take(v), -1);
	assert_true(msr_out(v, PAGE_ESR, 0));
	assert_int_equal(msr_get(v, PAGE_ESR), ESR_SENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lapic_unit_test(from_requested_to_in_service),
		lapic_unit_test(the_request_is_there_when_the_notice_comes),
		lapic_unit_test(services_nest),
		lapic_unit_test(priorities),
		lapic_unit_test(level_triggered_ones_are_marked),
		lapic_unit_test(errors_are_latched),
		lapic_unit_test(what_is_no_error),
		lapic_unit_test(self_ipis_of_illegal_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
