/* SPDX-License-Identifier: MIT */
/* guest/lapic_regs.c: state after reset, both faces of the registers, the ways from one to the other, and random accesses.
 * SDM vol. 3, chapter 10. */
#include "tools/host/lapic_test.h"

#define ACCESSES 200000

static void is_reset(struct vcpu *v)
{
	assert_true(load_relaxed(&v->lapic.base) == (LAPIC_BASE | LAPIC_BASE_ENABLED));
	assert_int_equal(page_in(v, PAGE_ID), v->index << 24);
	assert_int_equal(page_in(v, PAGE_VERSION), 0x50014);
	assert_int_equal(page_in(v, PAGE_TPR), 0);
	assert_int_equal(page_in(v, PAGE_PPR), 0);
	assert_int_equal(page_in(v, PAGE_LDR), 0);
	assert_true(page_in(v, PAGE_DFR) == 0xffffffff);
	assert_int_equal(page_in(v, PAGE_SVR), 0xff);
	assert_int_equal(page_in(v, PAGE_ESR), 0);
	assert_int_equal(page_in(v, PAGE_ICR), 0);
	assert_int_equal(page_in(v, PAGE_ICR_HIGH), 0);
	for (unsigned i = 0; i < LVTS; i++)
		assert_int_equal(page_in(v, PAGE_LVT_TIMER + 16 * i), TEST_MASKED);
	for (unsigned i = 0; i < 3 * LAPIC_WORDS; i++)
		assert_int_equal(page_in(v, PAGE_ISR + 16 * i), 0);
	assert_int_equal(page_in(v, PAGE_INITIAL), 0);
	assert_int_equal(page_in(v, PAGE_CURRENT), 0);
	assert_int_equal(page_in(v, PAGE_DIVIDE), 0);
}

static void state_after_reset(void **state)
{
	(void)state;
	for (unsigned i = 1; i < LAPIC_TEST_VCPUS; i++)
		is_reset(vcpu(i));
}

static void the_boot_processor_is_as_firmware_leaves_it(void **state)
{
	struct vcpu *v = vcpu(0);

	(void)state;
	assert_true(load_relaxed(&v->lapic.base) == (LAPIC_BASE | LAPIC_BASE_ENABLED | LAPIC_BASE_BSP));
	assert_int_equal(page_in(v, PAGE_SVR), 0x10f);
	assert_int_equal(page_in(v, PAGE_LVT_LINT0), 0x700);
	assert_int_equal(page_in(v, PAGE_LVT_LINT1), 0x400);
	assert_true(lapic_takes_extint(v));
	assert_false(lapic_takes_extint(vcpu(1)));
	page_out(v, PAGE_LVT_LINT0, 0x700 | TEST_MASKED);
	assert_false(lapic_takes_extint(v));
	/* Switched off altogether, its pin is INTR again. */
	assert_true(lapic_set_base(v, LAPIC_BASE | LAPIC_BASE_BSP));
	assert_true(lapic_takes_extint(v));
}

static void page_keeps_writable_bits(void **state)
{
	static const struct { unsigned offset; uint32_t writable; } table[] = {
		{PAGE_TPR, 0xff},
		{PAGE_LDR, 0xff000000},
		{PAGE_SVR, 0x3ff},
		{PAGE_ICR_HIGH, 0xff000000},
		{PAGE_LVT_TIMER, 0x700ff},
		{0x330, 0x107ff},
		{0x340, 0x107ff},
		{PAGE_LVT_LINT0, 0x1a7ff},
		{PAGE_LVT_LINT1, 0x1a7ff},
		{PAGE_LVT_ERROR, 0x100ff},
		{PAGE_DIVIDE, 0xb},
	};
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		page_out(v, table[i].offset, 0xffffffff);
		assert_int_equal(page_in(v, table[i].offset), table[i].writable);
		page_out(v, table[i].offset, 0);
		if (table[i].offset != PAGE_SVR)
			assert_int_equal(page_in(v, table[i].offset), 0);
		software_enable(v);
	}
	page_out(v, PAGE_DFR, 0);
	assert_int_equal(page_in(v, PAGE_DFR), 0x0fffffff);
	page_out(v, PAGE_ID, 0);
	assert_int_equal(page_in(v, PAGE_ID), 1 << 24);
}

static void page_is_read_in_parts(void **state)
{
	struct vcpu *v = vcpu(1);
	uint64_t value;

	(void)state;
	lapic_mmio(0, v, PAGE_ID + 3, 1, false, &value);
	assert_int_equal(value & 0xff, 1);
	lapic_mmio(0, v, PAGE_ID + 2, 2, false, &value);
	assert_int_equal(value & 0xffff, 0x100);
	lapic_mmio(0, v, PAGE_VERSION, 8, false, &value);
	assert_int_equal(value, 0x50014);
	lapic_mmio(0, v, PAGE_VERSION + 4, 4, false, &value);
	assert_int_equal(value, 0);
	value = 0xffffff55;
	lapic_mmio(0, v, PAGE_TPR, 1, true, &value);
	lapic_mmio(0, v, PAGE_TPR + 4, 4, true, &value);
	assert_int_equal(page_in(v, PAGE_TPR), 0);
	lapic_mmio(0, v, PAGE_TPR, 8, true, &value);
	assert_int_equal(page_in(v, PAGE_TPR), 0x55);
	assert_int_equal(v->lapic.bad, 0);
}

static void msrs_there_are(void **state)
{
	static const uint8_t readable[] = {0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x10, 0x17, 0x18, 0x1f, 0x20, 0x27, 0x28, 0x30,
		0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3e};
	static const uint8_t writable[] = {0x08, 0x0b, 0x0f, 0x28, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3e, 0x3f};
	static const uint8_t bitmaps[2] = {0x10, 0x28};
	struct vcpu *v = vcpu(1);
	uint64_t value;

	(void)state;
	assert_false(msr_in(v, PAGE_ID, &value)); /* not in xAPIC mode */
	assert_false(msr_out(v, PAGE_TPR, 0));
	x2apic_all();
	for (unsigned reg = 0; reg < 0x100; reg++) {
		bool read = (reg >= bitmaps[0] && reg < bitmaps[1]) || memchr(readable, (int)reg, sizeof readable);
		bool write = memchr(writable, (int)reg, sizeof writable);

		assert_int_equal(lapic_msr_read(v, LAPIC_MSR_FIRST + reg, &value), read);
		assert_int_equal(lapic_msr_write(v, LAPIC_MSR_FIRST + reg, reg == 0x3f ? 0x40 : 0), write);
	}
	/* The page is not there any more. */
	lapic_mmio(0, v, PAGE_VERSION, 4, false, &value);
	assert_true((uint32_t)value == 0xffffffff);
	page_out(v, PAGE_TPR, 0x50);
	assert_int_equal(msr_get(v, PAGE_TPR), 0);
}

static void msrs_refuse_reserved_bits(void **state)
{
	static const struct { unsigned offset; uint64_t allowed; } table[] = {
		{PAGE_TPR, 0xff},
		{PAGE_EOI, 0},
		{PAGE_ESR, 0},
		{PAGE_SVR, 0x3ff},
		{PAGE_LVT_TIMER, 0x710ff},
		{0x330, 0x117ff},
		{PAGE_LVT_LINT0, 0x1f7ff},
		{PAGE_LVT_ERROR, 0x110ff},
		{PAGE_INITIAL, 0xffffffff},
		{PAGE_DIVIDE, 0xb},
		{PAGE_SELF_IPI, 0xff},
	};
	struct vcpu *v = vcpu(1);

	(void)state;
	x2apic_all();
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
		for (unsigned bit = 0; bit < 64; bit++)
			assert_int_equal(msr_out(v, table[i].offset, 1UL << bit), table[i].allowed >> bit & 1);
	for (unsigned bit = 12; bit < 32; bit++)
		assert_int_equal(msr_out(v, PAGE_ICR, 1UL << bit | 0x40), 0xcdfffUL >> bit & 1);
	assert_int_equal(msr_get(v, PAGE_LVT_LINT0) & 0x5000, 0); /* status stays what it is */
}

static void ids_in_x2apic_mode(void **state)
{
	(void)state;
	page_out(vcpu(3), PAGE_LDR, 0x40000000);
	x2apic_all();
	assert_int_equal(msr_get(vcpu(3), PAGE_ID), 3);
	assert_int_equal(msr_get(vcpu(3), PAGE_LDR), 1 << 3);
	vcpu(3)->index = 0x25;
	assert_int_equal(msr_get(vcpu(3), PAGE_LDR), 2 << 16 | 1 << 5);
	vcpu(3)->index = 3;
	assert_true(msr_out(vcpu(3), PAGE_ICR, 0x0123456700004041));
	assert_true(msr_get(vcpu(3), PAGE_ICR) == 0x0123456700004041);
}

/* 10.12.5: off, xAPIC, x2APIC, and the ways between. */
static void modes_of_the_base(void **state)
{
	static const uint64_t mode[] = {0, LAPIC_BASE_ENABLED, LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC, LAPIC_BASE_X2APIC};
	static const bool allowed[3][4] = {
		{true, true, false, false},
		{true, true, true, false},
		{true, false, true, false},
	};
	struct vcpu *v = vcpu(1);

	(void)state;
	for (unsigned from = 0; from < 3; from++)
		for (unsigned to = 0; to < 4; to++) {
			uint64_t before;

			lapic_init(v);
			assert_true(from != 0 || lapic_set_base(v, LAPIC_BASE));
			assert_true(from != 2 || lapic_set_base(v, LAPIC_BASE | mode[2]));
			before = load_relaxed(&v->lapic.base);
			assert_int_equal(lapic_set_base(v, LAPIC_BASE | mode[to]), allowed[from][to]);
			assert_true(load_relaxed(&v->lapic.base) == (allowed[from][to] ? LAPIC_BASE | mode[to] : before));
		}
	lapic_init(v);
	assert_false(lapic_set_base(v, LAPIC_BASE | LAPIC_BASE_ENABLED | LAPIC_BASE_BSP));
	assert_false(lapic_set_base(v, (LAPIC_BASE + 0x1000) | LAPIC_BASE_ENABLED));
	assert_false(lapic_set_base(v, LAPIC_BASE | LAPIC_BASE_ENABLED | 1UL << 52));
}

static void switched_off_it_forgets(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	page_out(v, PAGE_TPR, 0x20);
	lapic_request(v, 0x31, false);
	assert_int_equal(take(v), 0x31);
	lapic_request(v, 0x51, true);
	assert_true(lapic_set_base(v, LAPIC_BASE));
	assert_int_equal(lapic_pending(v), -1);
	lapic_request(v, 0x61, false);
	assert_true(lapic_set_base(v, LAPIC_BASE | LAPIC_BASE_ENABLED));
	is_reset(v);
	software_enable(v);
	assert_int_equal(page_in(v, PAGE_PPR), 0);
	assert_int_equal(lapic_pending(v), -1);
}

static void registers_survive_the_way_to_x2apic(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	page_out(v, PAGE_TPR, 0x35);
	page_out(v, PAGE_LVT_ERROR, 0x44);
	lapic_request(v, 0x62, false);
	assert_true(lapic_set_base(v, X2APIC_ON));
	assert_int_equal(msr_get(v, PAGE_TPR), 0x35);
	assert_int_equal(msr_get(v, PAGE_SVR), TEST_SVR_ON);
	assert_int_equal(msr_get(v, PAGE_LVT_ERROR), 0x44);
	assert_int_equal(lapic_pending(v), 0x62);
}

/* 10.4.7.2 */
static void disabled_by_software(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	software_enable(v);
	for (unsigned i = 0; i < LVTS; i++)
		page_out(v, PAGE_LVT_TIMER + 16 * i, 0x40 + i);
	lapic_request(v, 0x80, false);
	page_out(v, PAGE_SVR, 0xff);
	for (unsigned i = 0; i < LVTS; i++) {
		assert_int_equal(page_in(v, PAGE_LVT_TIMER + 16 * i), TEST_MASKED | (0x40 + i));
		page_out(v, PAGE_LVT_TIMER + 16 * i, 0x50 + i);
		assert_int_equal(page_in(v, PAGE_LVT_TIMER + 16 * i), TEST_MASKED | (0x50 + i));
	}
	assert_int_equal(lapic_pending(v), -1);
	lapic_request(v, 0x90, false);
	lapic_request(v, 3, false);
	assert_true(bit_in(v, PAGE_IRR, 0x80) && !bit_in(v, PAGE_IRR, 0x90)); /* what was held is held */
	page_out(v, PAGE_ESR, 0);
	assert_int_equal(page_in(v, PAGE_ESR), 0);
	forget(v);
	software_enable(v);
	assert_true(load_relaxed(&v->attention));
	assert_int_equal(take(v), 0x80);
	assert_int_equal(page_in(v, PAGE_LVT_TIMER), TEST_MASKED | 0x50);
}

static void check(struct vcpu *v)
{
	const struct lapic *l = &v->lapic;
	uint32_t class = 0;
	int pending = lapic_pending(v);

	for (unsigned i = 0; i < LAPIC_WORDS; i++)
		if (l->isr[i])
			class = (32 * i + 31 - (uint32_t)__builtin_clz(l->isr[i])) & 0xf0;
	assert_int_equal((load_relaxed(&l->irr[0]) | l->isr[0]) & 0xffff, 0);
	assert_true(pending == -1 || (uint32_t)pending >> 4 > class >> 4);
	assert_true(pending == -1 || (uint32_t)pending >> 4 > load_relaxed(&l->tpr) >> 4);
	assert_true(lapic_cr8(v) <= 15);
	assert_int_equal(load_relaxed(&l->base) & ~(LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC),
		LAPIC_BASE | (v->index ? 0 : LAPIC_BASE_BSP));
	assert_true((load_relaxed(&l->base) & LAPIC_BASE_ENABLED) || !(load_relaxed(&l->base) & LAPIC_BASE_X2APIC));
	assert_true(load_relaxed(&l->svr) & 0x100 || lapic_pending(v) == -1);
	for (unsigned i = 0; i < LVTS; i++)
		assert_true(load_relaxed(&l->svr) & 0x100 || load_relaxed(&l->lvt[i]) & TEST_MASKED);
}

static void random_accesses(void **state)
{
	uint64_t seed = 99, value;

	(void)state;
	for (unsigned i = 0; i < ACCESSES; i++) {
		uint64_t r = host_random(&seed);
		struct vcpu *v = vcpu(r % LAPIC_TEST_VCPUS);
		unsigned reg = r >> 8 & 0x3f;

		value = host_random(&seed) >> (r >> 40 & 63);
		if (r >> 50 & 1)
			value &= 0xfff;
		switch (r >> 16 & 15) {
		case 0:
			lapic_set_base(v, (value & 0xc00) | (load_relaxed(&v->lapic.base) & ~0xc00UL));
			break;
		case 1:
			software_enable(v);
			msr_out(v, PAGE_SVR, TEST_SVR_ON);
			break;
		case 2:
			lapic_set_cr8(v, value & 15);
			break;
		case 3:
			lapic_set_deadline(v, value);
			v->tsc_offset = value;
			lapic_tsc_moved(v);
			break;
		case 4:
			assert_true(lapic_tick(v, host_clock() + (value & 0xffffff)) > 0);
			break;
		case 5:
			take(v);
			break;
		case 6:
			lapic_mmio(0, v, value & 0xff0, 4, r >> 20 & 1, &value);
			break;
		case 7:
			lapic_mmio(0, v, value & 0xfff, 1u << (r >> 21 & 3), r >> 20 & 1, &value);
			break;
		case 8 ... 10:
			lapic_msr_read(v, LAPIC_MSR_FIRST + reg, &value);
			break;
		default:
			lapic_mmio(0, v, reg * 16, 4, true, &value);
			lapic_msr_write(v, LAPIC_MSR_FIRST + reg, value);
			lapic_msr_write(v, LAPIC_MSR_FIRST + reg, value & 0xff);
			break;
		}
		check(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lapic_unit_test(state_after_reset),
		lapic_unit_test(the_boot_processor_is_as_firmware_leaves_it),
		lapic_unit_test(page_keeps_writable_bits),
		lapic_unit_test(page_is_read_in_parts),
		lapic_unit_test(msrs_there_are),
		lapic_unit_test(msrs_refuse_reserved_bits),
		lapic_unit_test(ids_in_x2apic_mode),
		lapic_unit_test(modes_of_the_base),
		lapic_unit_test(switched_off_it_forgets),
		lapic_unit_test(registers_survive_the_way_to_x2apic),
		lapic_unit_test(disabled_by_software),
		lapic_unit_test(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
