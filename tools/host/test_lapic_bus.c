/* SPDX-License-Identifier: MIT */
/* guest/lapic_bus.c: whom a message reaches, from either face's interrupt command register. SDM vol. 3, 10.6 and 10.12.10. */
#include "tools/host/lapic_test.h"

#define LOGICAL 0x800u
#define ASSERT 0x4000u
#define LEVEL 0x8000u
#define TO_SELF (1u << 18)
#define TO_ALL (2u << 18)
#define TO_OTHERS (3u << 18)
#define LOWEST 0x100u
#define NMI 0x400u
#define INIT 0x500u
#define STARTUP 0x600u
#define ALL ((1u << LAPIC_TEST_VCPUS) - 1)

/* Who has this vector, and no other? A bit for each; it is delivered and ended. */
static unsigned reached(uint8_t vector)
{
	unsigned set = 0;

	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++) {
		int taken = take(vcpu(i));

		if (taken < 0)
			continue;
		assert_int_equal(taken, vector);
		set |= 1u << i;
		page_out(vcpu(i), PAGE_EOI, 0);
		msr_out(vcpu(i), PAGE_EOI, 0);
	}
	return set;
}

static unsigned by_page(unsigned from, uint8_t destination, uint32_t low)
{
	page_out(vcpu(from), PAGE_ICR_HIGH, (uint32_t)destination << 24);
	page_out(vcpu(from), PAGE_ICR, low);
	return reached((uint8_t)low);
}

static unsigned by_msr(unsigned from, uint32_t destination, uint32_t low)
{
	assert_true(msr_out(vcpu(from), PAGE_ICR, (uint64_t)destination << 32 | low));
	return reached((uint8_t)low);
}

static unsigned signalled(uint32_t signal)
{
	unsigned set = 0;

	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++)
		if (fetch_and_seq(&vcpu(i)->signals, ~signal) & signal)
			set |= 1u << i;
	return set;
}

static void physical(void **state)
{
	(void)state;
	enable_all();
	forget(vcpu(3));
	for (unsigned to = 0; to < 16; to++)
		assert_int_equal(by_page(1, (uint8_t)to, 0x45 | ASSERT), to < LAPIC_TEST_VCPUS ? 1u << to : 0);
	assert_int_equal(by_page(1, 0xff, 0x45), ALL);
	assert_int_equal(page_in(vcpu(1), PAGE_ICR), 0x45); /* never pending */
	assert_int_equal(lapic_test.attended[3], 1);
}

static void shorthands(void **state)
{
	(void)state;
	enable_all();
	assert_int_equal(by_page(2, 1, 0x46 | TO_SELF), 1 << 2);
	assert_int_equal(by_page(2, 1, 0x46 | TO_ALL), ALL);
	assert_int_equal(by_page(2, 1, 0x46 | TO_OTHERS), ALL & ~(1u << 2));
	page_out(vcpu(2), PAGE_SVR, 0xff); /* it may send, but does not receive */
	assert_int_equal(by_page(2, 1, 0x46 | TO_SELF), 0);
	assert_int_equal(by_page(2, 0, 0x46 | TO_ALL), ALL & ~(1u << 2));
	/* One that is off altogether hears nothing at all. */
	signalled(~0u);
	assert_true(lapic_set_base(vcpu(3), LAPIC_BASE));
	by_page(0, 0, NMI | TO_OTHERS);
	assert_int_equal(signalled(SIGNAL_NMI), 1u << 1 | 1u << 2);
	by_page(0, 3, NMI);
	assert_int_equal(signalled(SIGNAL_NMI), 0);
}

static void logical_flat(void **state)
{
	(void)state;
	enable_all();
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS - 1; i++)
		page_out(vcpu(i), PAGE_LDR, 1u << (24 + i));
	for (unsigned set = 1; set < 0xff; set++)
		assert_int_equal(by_page(0, (uint8_t)set, 0x47 | LOGICAL), set & 7);
	assert_int_equal(by_page(0, 0, 0x47 | LOGICAL), 0);
	assert_int_equal(by_page(0, 0xff, 0x47 | LOGICAL), ALL); /* those too that have no address */
}

static void logical_cluster(void **state)
{
	(void)state;
	enable_all();
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++) {
		page_out(vcpu(i), PAGE_DFR, 0);
		page_out(vcpu(i), PAGE_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	assert_int_equal(by_page(0, 0x01, 0x48 | LOGICAL), 1 << 0);
	assert_int_equal(by_page(0, 0x03, 0x48 | LOGICAL), 3 << 0);
	assert_int_equal(by_page(0, 0x12, 0x48 | LOGICAL), 1 << 3);
	assert_int_equal(by_page(0, 0x1f, 0x48 | LOGICAL), 3 << 2);
	assert_int_equal(by_page(0, 0x2f, 0x48 | LOGICAL), 0);
	assert_int_equal(by_page(0, 0xf1, 0x48 | LOGICAL), 0); /* of cluster 15 there is nobody */
	assert_int_equal(by_page(0, 0xff, 0x48 | LOGICAL), ALL);
}

static void logical_x2apic(void **state)
{
	(void)state;
	x2apic_all();
	vcpu(3)->index = 0x12; /* of another cluster */
	assert_int_equal(by_msr(0, 5, 0x49 | LOGICAL), 5);
	assert_int_equal(by_msr(0, 0xff, 0x49 | LOGICAL), 7);
	assert_int_equal(by_msr(0, 0x10004, 0x49 | LOGICAL), 1 << 3);
	assert_int_equal(by_msr(0, 0x1000b, 0x49 | LOGICAL), 0);
	assert_int_equal(by_msr(0, 0xffffffff, 0x49 | LOGICAL), ALL);
	vcpu(3)->index = 3;
}

static void physical_x2apic(void **state)
{
	(void)state;
	x2apic_all();
	for (unsigned to = 0; to < 16; to++)
		assert_int_equal(by_msr(1, to, 0x4a), to < LAPIC_TEST_VCPUS ? 1u << to : 0);
	assert_int_equal(by_msr(1, 0xffffffff, 0x4a), ALL);
	assert_int_equal(by_msr(1, 0xff, 0x4a), 0); /* an id like others */
	assert_int_equal(by_msr(1, 0x101, 0x4a), 0);
	assert_int_equal(by_msr(1, 9, 0x4a | TO_OTHERS), ALL & ~2u);
}

static void lowest_priority(void **state)
{
	unsigned hit = 0;

	(void)state;
	enable_all();
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++) {
		page_out(vcpu(i), PAGE_LDR, 1u << (24 + i));
		page_out(vcpu(i), PAGE_TPR, 0x10 * (LAPIC_TEST_VCPUS - i));
	}
	assert_int_equal(by_page(0, 0x0f, 0x80 | LOWEST | LOGICAL), 1 << 3);
	assert_int_equal(by_page(0, 0x07, 0x80 | LOWEST | LOGICAL), 1 << 2);
	page_out(vcpu(3), PAGE_SVR, 0xff);
	assert_int_equal(by_page(0, 0x0f, 0x80 | LOWEST | LOGICAL), 1 << 2);
	assert_int_equal(by_page(0, 0x08, 0x80 | LOWEST | LOGICAL), 0);
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++)
		page_out(vcpu(i), PAGE_TPR, 0);
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++)
		hit |= by_page(0, 0x07, (0x80 + i) | LOWEST | LOGICAL);
	assert_int_equal(hit, 7); /* among equals they take turns */
}

static void illegal_vectors_are_not_sent(void **state)
{
	(void)state;
	enable_all();
	for (unsigned vector = 0; vector < 16; vector++) {
		assert_int_equal(by_page(0, 1, vector), 0);
		page_out(vcpu(0), PAGE_ESR, 0);
		assert_int_equal(page_in(vcpu(0), PAGE_ESR), 1 << 5);
	}
	page_out(vcpu(1), PAGE_ESR, 0);
	assert_int_equal(page_in(vcpu(1), PAGE_ESR), 0);
	/* From the I/O APIC it gets there, and no further. */
	assert_false(lapic_send(vm, &(struct apic_message){.destination = 1, .vector = 7, .level = true}));
	page_out(vcpu(1), PAGE_ESR, 0);
	assert_int_equal(page_in(vcpu(1), PAGE_ESR), 1 << 6);
}

static void who_takes_it(void **state)
{
	struct apic_message m = {.destination = 2, .vector = 0x50};

	(void)state;
	assert_false(lapic_send(vm, &m)); /* it is not enabled */
	enable_all();
	assert_true(lapic_send(vm, &m));
	m.destination = 9;
	assert_false(lapic_send(vm, &m));
	m.destination = 1;
	m.delivery = APIC_LOWEST;
	assert_true(lapic_send(vm, &m));
	m.delivery = APIC_SMI;
	assert_false(lapic_send(vm, &m));
	m.delivery = APIC_EXTINT;
	assert_false(lapic_send(vm, &m));
	m.delivery = APIC_NMI;
	assert_true(lapic_send(vm, &m));
	assert_int_equal(signalled(SIGNAL_NMI), 1 << 1);
	m.delivery = 3;
	assert_false(lapic_send(vm, &m));
}

static void level_in_the_message(void **state)
{
	(void)state;
	enable_all();
	lapic_send(vm, &(struct apic_message){.destination = 1, .vector = 0x51, .level = true});
	assert_true(bit_in(vcpu(1), PAGE_TMR, 0x51));
	assert_int_equal(by_page(0, 1, 0x51 | LEVEL | ASSERT), 1 << 1); /* an IPI is an edge whatever it says */
	assert_false(bit_in(vcpu(1), PAGE_TMR, 0x51));
}

static void init_and_startup(void **state)
{
	(void)state;
	by_page(0, 1, INIT | LEVEL | ASSERT);
	assert_int_equal(signalled(SIGNAL_INIT), 1 << 1);
	by_page(0, 1, INIT | LEVEL); /* the de-assertion */
	by_page(0, 1, INIT | LEVEL | TO_ALL);
	assert_int_equal(signalled(~0u), 0);
	by_page(0, 1, INIT); /* an edge needs no ASSERT */
	assert_int_equal(signalled(SIGNAL_INIT), 1 << 1);
	by_page(0, 0, INIT | ASSERT | TO_OTHERS);
	assert_int_equal(signalled(SIGNAL_INIT), ALL & ~1u);
	by_page(0, 2, STARTUP | 0x9a);
	assert_int_equal(signalled(SIGNAL_STARTUP), 1 << 2);
	assert_int_equal(load_relaxed(&vcpu(2)->startup), 0x9a);
	by_page(0, 2, STARTUP | 0x05); /* that vector is an address */
	assert_int_equal(signalled(SIGNAL_STARTUP), 1 << 2);
	assert_int_equal(load_relaxed(&vcpu(2)->startup), 5);
	page_out(vcpu(0), PAGE_ESR, 0);
	assert_int_equal(page_in(vcpu(0), PAGE_ESR), 0);
	by_page(0, 3, NMI | 2);
	assert_int_equal(signalled(SIGNAL_NMI), 1 << 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lapic_unit_test(physical),
		lapic_unit_test(shorthands),
		lapic_unit_test(logical_flat),
		lapic_unit_test(logical_cluster),
		lapic_unit_test(logical_x2apic),
		lapic_unit_test(physical_x2apic),
		lapic_unit_test(lowest_priority),
		lapic_unit_test(illegal_vectors_are_not_sent),
		lapic_unit_test(who_takes_it),
		lapic_unit_test(level_in_the_message),
		lapic_unit_test(init_and_startup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
