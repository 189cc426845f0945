/* SPDX-License-Identifier: MIT */
/* guest/msr.c: the MSRs a guest has, their checks, and those it does not have. */
#include "tools/host/vcpu_test.h"

static const char *why;

static struct vcpu *vcpu(void **state)
{
	return &((struct vcpu_test *)*state)->v;
}

static void kept_registers(void **state)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} table[] = {
		{MSR_STAR, 0x0023001000000000},
		{MSR_LSTAR, 0xffffffff81000000},
		{MSR_CSTAR, 0x1000},
		{MSR_SFMASK, 0x47700},
		{MSR_SYSENTER_CS, 0x10},
		{MSR_SYSENTER_ESP, 0xffff800000001000},
		{MSR_SYSENTER_EIP, 0x7fffffffffff},
		{MSR_TSC_AUX, 0xffffffff},
		{MSR_PAT, 0x0407050600070106},
		{MSR_MTRR_DEF_TYPE, 0xc06},
	};
	struct vcpu *v = vcpu(state);
	uint64_t value;

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		assert_int_equal(msr_write(v, table[i].index, table[i].value, &why), CR_DONE);
		assert_true(msr_read(v, table[i].index, &value));
		assert_true(value == table[i].value);
	}
	assert_true(v->changed & VCPU_MSRS);
	assert_int_equal(v->unknown_msrs.n, 0);
}

static void refused_values(void **state)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} table[] = {
		{MSR_LSTAR, 0x800000000000},
		{MSR_CSTAR, 1UL << 63},
		{MSR_SFMASK, 1UL << 32},
		{MSR_SYSENTER_CS, 1UL << 32},
		{MSR_SYSENTER_ESP, 0x800000000000},
		{MSR_SYSENTER_EIP, 0x7fff800000000000},
		{MSR_TSC_AUX, 1UL << 32},
		{MSR_PAT, 2},
		{MSR_PAT, 3UL << 56},
		{MSR_PAT, 8},
		{MSR_MTRR_DEF_TYPE, 7},
		{MSR_MTRR_DEF_TYPE, 2},
		{MSR_MTRR_DEF_TYPE, 1UL << 12},
		{MSR_MISC_ENABLE, 1UL << 34},
		{MSR_APIC_BASE, 0xfee01900}, /* it is not moved */
		{MSR_APIC_BASE, 0xfee00500}, /* x2APIC mode without the APIC */
		{0x802, 0},                  /* x2APIC registers in xAPIC mode */
		{MSR_BIOS_SIGN_ID, 1},
		{MSR_MTRRCAP, 0},
		{MSR_EFER, 1UL << 63},
		{MSR_FS_BASE, 1UL << 47},
		{MSR_KERNEL_GS_BASE, 1UL << 62},
	};
	struct vcpu *v = vcpu(state);

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
		assert_int_equal(msr_write(v, table[i].index, table[i].value, &why), CR_FAULT);
}

static void segment_bases_are_the_segments(void **state)
{
	struct vcpu *v = vcpu(state);

	v->changed = 0;
	assert_int_equal(msr_write(v, MSR_FS_BASE, 0x7000, &why), CR_DONE);
	assert_int_equal(msr_write(v, MSR_GS_BASE, 0xffff800000000000, &why), CR_DONE);
	assert_int_equal(v->seg[FS].base, 0x7000);
	assert_true(v->seg[GS].base == 0xffff800000000000);
	assert_int_equal(v->changed, VCPU_SEGMENTS);
}

static void unknown_ones_fault_and_count(void **state)
{
	static const uint32_t unknown[] = {
		0, 1, 0x3a, 0x48, 0x79, 0x200, 0x480, 0x490, 0xc0000084 + 8, 0xc0010117, 0xffffffff};
	struct vcpu *v = vcpu(state);
	uint64_t value;

	for (unsigned i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		assert_false(msr_read(v, unknown[i], &value));
		assert_int_equal(msr_write(v, unknown[i], 0, &why), CR_FAULT);
	}
	assert_int_equal(v->unknown_msrs.n, sizeof unknown / sizeof *unknown);
	for (unsigned i = 0; i < sizeof unknown / sizeof *unknown; i++)
		assert_true(v->unknown_msrs.msr[i].reads == 1 && v->unknown_msrs.msr[i].writes == 1);
}

static void unknown_ones_are_told_by_name(void **state)
{
	struct msr_unknown u = {0}, sum = {0};
	char text[400];

	(void)state;
	msr_unknown_count(&u, 0xc0010055, false);
	for (unsigned i = 0; i < 3; i++)
		msr_unknown_count(&u, 0x34, false);
	msr_unknown_count(&u, 0x34, true);
	msr_unknown_count(&u, 0x12345, true);
	msr_unknown_count(&u, 0x12345, true);
	msr_unknown_add(&sum, &u);
	msr_unknown_print(&sum, text, sizeof text);
	assert_string_equal(text, "0xc0010055 INT_PENDING 1 read, 0x34 SMI_COUNT 3 reads 1 write, 0x12345 2 writes");
	for (uint32_t i = 0; i < 1000; i++) /* a scan */
		msr_unknown_count(&u, 0x20000 + i, false);
	assert_int_equal(u.n, MSR_UNKNOWN_MAX);
	assert_int_equal(u.others, 1000 - (MSR_UNKNOWN_MAX - 3));
	msr_unknown_add(&sum, &u);
	assert_int_equal(sum.n, MSR_UNKNOWN_MAX);
	assert_int_equal(sum.others, u.others);
	assert_int_equal(sum.msr[1].reads, 6);
	msr_unknown_print(&sum, text, 40);
	assert_string_equal(text, "0xc0010055 INT_PENDING 2 reads, 0x34 SM");
	msr_unknown_print(&sum, text, sizeof text);
}

static void amd_has_one_more(void **state)
{
	struct vcpu_test *t = *state;
	uint64_t value = 1;

	assert_false(msr_read(&t->v, MSR_INT_PENDING, &value));
	t->model.amd = true;
	assert_true(msr_read(&t->v, MSR_INT_PENDING, &value));
	assert_int_equal(value, 0);
	assert_int_equal(msr_write(&t->v, MSR_INT_PENDING, 0, &why), CR_FAULT);
}

static void machine_checks_have_no_banks(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t value = 1;

	assert_true(msr_read(v, MSR_MCG_CAP, &value));
	assert_int_equal(value, 0);
	assert_true(msr_read(v, MSR_MCG_STATUS, &value));
	assert_int_equal(msr_write(v, MSR_MCG_STATUS, 0, &why), CR_DONE);
	assert_int_equal(msr_write(v, MSR_MCG_STATUS, 4, &why), CR_FAULT);
	assert_int_equal(msr_write(v, MSR_MCG_CAP, 0, &why), CR_FAULT);
	assert_false(msr_read(v, 0x400, &value)); /* MC0_CTL */
}

static void tsc_is_the_hosts_and_an_offset(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t value;

	assert_int_equal(msr_write(v, MSR_TSC, 1000, &why), CR_DONE);
	assert_true(msr_read(v, MSR_TSC, &value));
	assert_true(value >= 1000 && value < 1000 + 60 * host_clock_hz());
}

static void tsc_aux_needs_rdtscp(void **state)
{
	struct vcpu_test *t = *state;
	uint64_t value;

	t->model.rdtscp = false;
	assert_false(msr_read(&t->v, MSR_TSC_AUX, &value));
	assert_int_equal(msr_write(&t->v, MSR_TSC_AUX, 0, &why), CR_FAULT);
}

static void efer_is_the_control_registers(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t value;

	assert_int_equal(msr_write(v, MSR_EFER, EFER_NXE | EFER_LME, &why), CR_DONE);
	assert_true(msr_read(v, MSR_EFER, &value));
	assert_int_equal(value, EFER_NXE | EFER_LME);
}

static void reset_values(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t value;

	assert_true(msr_read(v, MSR_PAT, &value));
	assert_true(value == 0x0007040600070406);
	assert_true(msr_read(v, MSR_MTRRCAP, &value));
	assert_int_equal(value, 0);
	assert_true(msr_read(v, MSR_APIC_BASE, &value));
	assert_int_equal(value, 0xfee00900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vcpu_unit_test(kept_registers),
		vcpu_unit_test(refused_values),
		vcpu_unit_test(segment_bases_are_the_segments),
		vcpu_unit_test(unknown_ones_fault_and_count),
		vcpu_unit_test(unknown_ones_are_told_by_name),
		vcpu_unit_test(amd_has_one_more),
		vcpu_unit_test(machine_checks_have_no_banks),
		vcpu_unit_test(tsc_is_the_hosts_and_an_offset),
		vcpu_unit_test(tsc_aux_needs_rdtscp),
		vcpu_unit_test(efer_is_the_control_registers),
		vcpu_unit_test(reset_values),
	};

	return cmocka_run_group_tests_name("msr", tests, 0, 0);
}
