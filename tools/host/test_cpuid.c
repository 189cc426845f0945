/* SPDX-License-Identifier: MIT */
/* guest/cpuid.c: what a guest sees of a host that has everything, and of one that has little. */
#include "tools/host/vcpu_test.h"

#define BIT(n) (1u << (n))

static struct cpuid_regs leaf(struct vcpu_test *t, uint32_t n, uint32_t sub)
{
	return cpuid_guest(&t->v, n, sub);
}

static void hides_what_is_not_carried(void **state)
{
	struct cpuid_regs r = leaf(*state, 1, 0);
	static const unsigned ecx[] = {2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 15, 17, 18};
	static const unsigned edx[] = { 18, 21, 22, 28, 29, 31};

	for (unsigned i = 0; i < sizeof ecx / sizeof *ecx; i++)
		assert_false(r.ecx & BIT(ecx[i]));
	for (unsigned i = 0; i < sizeof edx / sizeof *edx; i++)
		assert_false(r.edx & BIT(edx[i]));
	assert_true(r.ecx & BIT(31));
	assert_true(r.ecx & BIT(21) && r.ecx & BIT(24) && r.edx & BIT(9) && r.edx & BIT(7) && r.edx & BIT(14)); /* machine checks without banks; */ /* the local APIC's are ours */
	assert_true(r.edx & BIT(6));

	r = leaf(*state, 7, 0);
	assert_int_equal(r.eax, 0);
	assert_false(r.ebx & (BIT(1) | BIT(2) | BIT(4) | BIT(10) | BIT(11) | BIT(14) | BIT(25)));
	assert_false(r.ecx & (BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(16) | BIT(22)));
	assert_true(r.ebx & BIT(0));
	assert_true(r.ebx & BIT(7) && r.ebx & BIT(20)); /* SMEP, SMAP: the shadow keeps them */
}

static void extended_features(void **state)
{
	struct cpuid_regs r = leaf(*state, 0x80000001, 0);

	assert_false(r.ecx & BIT(2)); /* SVM */
	assert_true(r.edx & BIT(29));
	assert_true(r.edx & BIT(26));
	assert_true(r.edx & BIT(27));
	r = leaf(*state, 0x80000008, 0);
	assert_int_equal(r.eax, 48 << 8 | TEST_PHYS_BITS);
	assert_int_equal(r.ebx | r.ecx | r.edx, 0);
	assert_int_equal(leaf(*state, 0x80000000, 0).eax, 0x80000008);
}

static void signature_and_bounds(void **state)
{
	struct cpuid_regs r = leaf(*state, CPUID_HYPERVISOR, 0);
	char text[13] = {0};

	__builtin_memcpy(text, &r.ebx, 12);
	assert_string_equal(text, "UmbraUmbraUm");
	assert_int_equal(r.eax, CPUID_HYPERVISOR);
	assert_int_equal(leaf(*state, 0, 0).eax, 0xd);
	for (uint32_t n = 0xe; n < 0x20; n++) {
		r = leaf(*state, n, 0);
		assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	}
	r = leaf(*state, 0x80000009, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	r = leaf(*state, 0xffffffff, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
}

static void one_processor_a_package(void **state)
{
	struct vcpu_test *t = *state;
	struct cpuid_regs r;

	t->v.index = 3;
	r = leaf(t, 1, 0);
	assert_int_equal(r.ebx >> 24, 3);
	assert_int_equal(r.ebx >> 16 & 0xff, 0);
	assert_int_equal(leaf(t, 4, 0).eax >> 14, 0);
	assert_int_equal(leaf(t, 4, 3).eax, 0);
	assert_int_equal(leaf(t, 4, 100).eax, 0);
	for (uint32_t i = 0; i < 3; i++) {
		r = leaf(t, 0xb, i);
		assert_true(r.eax == 0 && r.ebx == (i < 2) && r.ecx == (i < 2 ? i | (i + 1) << 8 : i) && r.edx == 3);
	}
}

static void osxsave_follows_cr4(void **state)
{
	struct vcpu_test *t = *state;

	assert_false(leaf(t, 1, 0).ecx & BIT(27));
	t->v.cr4 |= CR4_OSXSAVE;
	assert_true(leaf(t, 1, 0).ecx & BIT(27));
}

static void xsave_sizes(void **state)
{
	struct vcpu_test *t = *state;
	struct cpuid_regs r = leaf(t, 0xd, 0);

	assert_int_equal(r.eax, 0xe7); /* no MPX, no PKRU */
	assert_int_equal(r.ebx, 576);
	assert_int_equal(r.ecx, 2688);
	t->v.xcr0 = 7;
	assert_int_equal(leaf(t, 0xd, 0).ebx, 832);
	assert_int_equal(leaf(t, 0xd, 1).eax, 1); /* XSAVEOPT alone */
	assert_int_equal(leaf(t, 0xd, 1).ebx, 0);
	assert_int_equal(leaf(t, 0xd, 3).eax, 0);
	assert_int_equal(leaf(t, 0xd, 9).eax, 0);
	assert_int_equal(leaf(t, 0xd, 7).ebx, 1664);
}

static void xcr0_rules(void **state)
{
	const struct cpuid_model *m = &((struct vcpu_test *)*state)->model;

	assert_true(cpuid_xcr0_valid(m, 1));
	assert_true(cpuid_xcr0_valid(m, 3));
	assert_true(cpuid_xcr0_valid(m, 7));
	assert_true(cpuid_xcr0_valid(m, 0xe7));
	assert_false(cpuid_xcr0_valid(m, 0));
	assert_false(cpuid_xcr0_valid(m, 2));
	assert_false(cpuid_xcr0_valid(m, 5));
	assert_false(cpuid_xcr0_valid(m, 0x1f));
	assert_false(cpuid_xcr0_valid(m, 0x67));
	assert_false(cpuid_xcr0_valid(m, 0xe3));
	assert_false(cpuid_xcr0_valid(m, 1UL << 63 | 1));
}

static void old_processor(void **state)
{
	struct vcpu_test *t = *state;

	cpuid_init(&t->model, old_host, false);
	assert_int_equal(t->model.xcr0, 0);
	assert_false(t->model.cr4 & CR4_OSXSAVE);
	assert_false(leaf(t, 1, 0).ecx & (BIT(26) | BIT(28) | BIT(12)));
	assert_int_equal(leaf(t, 0, 0).eax, 4);
	assert_int_equal(leaf(t, 7, 0).ebx, 0);
	assert_int_equal(leaf(t, 0xd, 0).eax, 0);
	assert_true(leaf(t, 0x80000001, 0).edx & BIT(26)); /* 1 GiB pages all the same */
	assert_false(leaf(t, 0x80000001, 0).edx & BIT(27));
	assert_false(cpuid_xcr0_valid(&t->model, 1));
}

static void control_bits_follow_features(void **state)
{
	const struct cpuid_model *m = &((struct vcpu_test *)*state)->model;

	assert_true(m->cr4 & CR4_PAE);
	assert_true(m->cr4 & CR4_PGE);
	assert_true(m->cr4 & CR4_OSXSAVE);
	assert_false(m->cr4 &
		     (1UL << 11 | 1UL << 12 | 1UL << 13 | 1UL << 17 | 1UL << 22));
	assert_int_equal(m->efer, EFER_SCE | EFER_LME | EFER_NXE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vcpu_unit_test(hides_what_is_not_carried),
		vcpu_unit_test(extended_features),
		vcpu_unit_test(signature_and_bounds),
		vcpu_unit_test(one_processor_a_package),
		vcpu_unit_test(osxsave_follows_cr4),
		vcpu_unit_test(xsave_sizes),
		vcpu_unit_test(xcr0_rules),
		vcpu_unit_test(old_processor),
		vcpu_unit_test(control_bits_follow_features),
	};

	return cmocka_run_group_tests_name("cpuid", tests, 0, 0);
}
