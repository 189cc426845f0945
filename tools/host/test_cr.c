/* SPDX-License-Identifier: MIT */
/* guest/cr.c: control registers, EFER and XCR0, and the way into long mode and out of it. */
#include "tools/host/vcpu_test.h"

static const char *why;

static struct vcpu *vcpu(void **state)
{
	return &((struct vcpu_test *)*state)->v;
}

/* Paging on, four levels, with an empty root table at 0x10000. */
static void enter_long_mode(struct vcpu *v)
{
	assert_int_equal(cr_write_cr4(v, CR4_PAE, &why), CR_DONE);
	assert_int_equal(cr_write_cr3(v, 0x10000, &why), CR_DONE);
	assert_int_equal(cr_write_efer(v, EFER_LME, &why), CR_DONE);
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG, &why), CR_DONE);
}

static void long_mode_and_back(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_false(vcpu_long_mode(v));
	enter_long_mode(v);
	assert_true(vcpu_long_mode(v));
	assert_true(v->mmu.paging.cr0 & CR0_PG);
	assert_true(v->changed & VCPU_CONTROL);
	assert_int_equal(cr_write_cr0(v, CR0_PE, &why), CR_DONE);
	assert_false(vcpu_long_mode(v));
	assert_int_equal(v->efer, EFER_LME);
}

static void cr0_faults(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t before = v->cr0;

	assert_int_equal(cr_write_cr0(v, before | 1UL << 32, &why), CR_FAULT);
	assert_int_equal(cr_write_cr0(v, before | CR0_NW, &why), CR_FAULT);
	assert_int_equal(cr_write_cr0(v, CR0_PG, &why), CR_FAULT);
	assert_true(v->cr0 == before);
	assert_int_equal(cr_write_cr0(v, before | CR0_NW | CR0_CD, &why), CR_DONE);
}

static void cr0_keeps_et_and_ignores_reserved(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_TS | 1UL << 6 | 1UL << 20, &why), CR_DONE);
	assert_int_equal(v->cr0, CR0_PE | CR0_TS | CR0_ET);
}

static void real_mode_is_interpreted_unless_the_hardware_has_it(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_cr0(v, 0, &why), CR_DONE);
	assert_int_equal(v->cr0, CR0_ET);
	assert_true(v->interpret);
	assert_int_equal(cr_write_cr0(v, CR0_PE, &why), CR_DONE);
	assert_false(v->interpret);
	v->real_native = true;
	assert_int_equal(cr_write_cr0(v, 0, &why), CR_DONE);
	assert_false(v->interpret);
}

static void paging_with_lme_wants_pae(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_efer(v, EFER_LME, &why), CR_DONE);
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG, &why), CR_FAULT);
}

static void paging_with_lme_wants_no_64_bit_code_nor_16_bit_tss(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_cr4(v, CR4_PAE, &why), CR_DONE);
	assert_int_equal(cr_write_efer(v, EFER_LME, &why), CR_DONE);
	v->seg[CS].attr |= SEG_L;
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG, &why), CR_FAULT);
	v->seg[CS].attr &= ~SEG_L;
	v->seg[TR].attr = 3 | SEG_P;
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG, &why), CR_FAULT);
}

static void write_pdpte(struct vcpu *v, uint64_t at, unsigned i, uint64_t pdpte)
{
	assert_true(mmu_write(v->mmu.mmu, gpa(at + i * 8), &pdpte, sizeof pdpte));
}

static void paging_of_two_levels(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_cr3(v, 0x10000, &why), CR_DONE);
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG, &why), CR_DONE);
	assert_int_equal(v->mmu.mode, PAGING_32);
	assert_int_equal(cr_write_cr4(v, CR4_PSE, &why), CR_DONE);
	assert_int_equal(v->mmu.mode, PAGING_PSE);
	assert_false(vcpu_long_mode(v));
}

/* 4.4.1: CR3's table is read when CR3 is loaded, and at some changes of CR0 and CR4; not at each walk. */
static void pdptes_are_loaded_and_checked(void **state)
{
	struct vcpu *v = vcpu(state);

	write_pdpte(v, 0x10020, 1, 0x11000 | GPTE_P);
	write_pdpte(v, 0x10020, 3, 2); /* not present: reserved bits do not count */
	assert_int_equal(cr_write_cr3(v, 0x1003f, &why), CR_DONE);
	assert_int_equal(cr_write_cr4(v, CR4_PAE, &why), CR_DONE);
	assert_int_equal(v->mmu.paging.pdpte[1], 0);
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG, &why), CR_DONE);
	assert_int_equal(v->mmu.mode, PAGING_PAE);
	assert_int_equal(v->mmu.paging.pdpte[1], 0x11000 | GPTE_P);
	write_pdpte(v, 0x10020, 1, 0x12000 | GPTE_P);
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG | CR0_WP, &why), CR_DONE);
	assert_int_equal(v->mmu.paging.pdpte[1], 0x11000 | GPTE_P);
	assert_int_equal(cr_write_cr0(v, CR0_PE | CR0_PG | CR0_WP | CR0_CD, &why), CR_DONE);
	assert_int_equal(v->mmu.paging.pdpte[1], 0x12000 | GPTE_P);
	for (unsigned bit = 1; bit < 64; bit++) {
		bool reserved = bit < 3 || (bit > 4 && bit < 9) || bit >= v->model->phys_bits;

		write_pdpte(v, 0x10020, 2, 1UL << bit | GPTE_P);
		assert_int_equal(cr_write_cr3(v, 0x10020, &why), reserved ? CR_FAULT : CR_DONE);
	}
	write_pdpte(v, 0x10020, 2, 0);
	assert_int_equal(cr_write_cr3(v, 0xfee00000, &why), CR_FAULT);
	assert_int_equal(v->cr3, 0x10020 | (v->cr3 & 0x1f));
	/* from PAE to two levels and back, without leaving paging */
	assert_int_equal(cr_write_cr4(v, CR4_PSE, &why), CR_DONE);
	assert_int_equal(v->mmu.mode, PAGING_PSE);
	assert_int_equal(cr_write_cr4(v, CR4_PAE, &why), CR_DONE);
	assert_int_equal(v->mmu.mode, PAGING_PAE);
}

static void leaving_from_64_bit_code_faults(void **state)
{
	struct vcpu *v = vcpu(state);

	enter_long_mode(v);
	v->seg[CS].attr |= SEG_L;
	assert_int_equal(cr_write_cr0(v, CR0_PE, &why), CR_FAULT);
	assert_true(vcpu_long_mode(v));
}

static void pae_stays_in_long_mode(void **state)
{
	struct vcpu *v = vcpu(state);

	enter_long_mode(v);
	assert_int_equal(cr_write_cr4(v, 0, &why), CR_FAULT);
	assert_int_equal(cr_write_cr4(v, CR4_PAE | CR4_PGE, &why), CR_DONE);
	assert_int_equal(v->cr4, CR4_PAE | CR4_PGE);
}

static void cr4_reserved_bits(void **state)
{
	struct vcpu *v = vcpu(state);

	for (unsigned bit = 0; bit < 64; bit++)
		if (!(v->model->cr4 >> bit & 1))
			assert_int_equal(cr_write_cr4(v, 1UL << bit, &why), CR_FAULT);
	assert_int_equal(v->cr4, 0);
	assert_int_equal(cr_write_cr4(v, v->model->cr4, &why), CR_DONE);
}

static void cr3_width_in_long_mode(void **state)
{
	struct vcpu *v = vcpu(state);

	enter_long_mode(v);
	assert_int_equal(cr_write_cr3(v, 1UL << TEST_PHYS_BITS, &why), CR_FAULT);
	assert_int_equal(cr_write_cr3(v, 1UL << 63 | 0x10000, &why), CR_FAULT);
	assert_int_equal(cr_write_cr3(v, 0x11018, &why), CR_DONE);
	assert_int_equal(v->cr3, 0x11018);
}

static void efer_rules(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_efer(v, 1UL << 12, &why), CR_FAULT);
	assert_int_equal(cr_write_efer(v, 1UL << 40, &why), CR_FAULT);
	assert_int_equal(cr_write_efer(v, 2, &why), CR_FAULT);
	assert_int_equal(cr_write_efer(v, EFER_SCE | EFER_NXE | EFER_LMA, &why), CR_DONE);
	assert_int_equal(v->efer, EFER_SCE | EFER_NXE);
	assert_true(v->mmu.paging.efer & EFER_NXE);
	enter_long_mode(v);
	assert_int_equal(cr_write_efer(v, 0, &why), CR_FAULT);
	assert_int_equal(cr_write_efer(v, EFER_LME | EFER_SCE, &why), CR_DONE);
	assert_int_equal(v->efer, EFER_LME | EFER_LMA | EFER_SCE);
}

static void cr8_has_four_bits(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_cr8(v, 15), CR_DONE);
	assert_int_equal(lapic_cr8(v), 15);
	assert_int_equal(cr_write_cr8(v, 16), CR_FAULT);
	assert_int_equal(lapic_cr8(v), 15);
}

static void xcr0_is_the_only_xcr(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_int_equal(cr_write_xcr(v, 0, 7), CR_DONE);
	assert_int_equal(v->xcr0, 7);
	assert_true(v->changed & VCPU_MSRS);
	assert_int_equal(cr_write_xcr(v, 1, 7), CR_FAULT);
	assert_int_equal(cr_write_xcr(v, 0, 6), CR_FAULT);
	assert_int_equal(v->xcr0, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vcpu_unit_test(long_mode_and_back),
		vcpu_unit_test(cr0_faults),
		vcpu_unit_test(cr0_keeps_et_and_ignores_reserved),
		vcpu_unit_test(real_mode_is_interpreted_unless_the_hardware_has_it),
		vcpu_unit_test(paging_with_lme_wants_pae),
		vcpu_unit_test(paging_with_lme_wants_no_64_bit_code_nor_16_bit_tss),
		vcpu_unit_test(paging_of_two_levels),
		vcpu_unit_test(pdptes_are_loaded_and_checked),
		vcpu_unit_test(leaving_from_64_bit_code_faults),
		vcpu_unit_test(pae_stays_in_long_mode),
		vcpu_unit_test(cr4_reserved_bits),
		vcpu_unit_test(cr3_width_in_long_mode),
		vcpu_unit_test(efer_rules),
		vcpu_unit_test(cr8_has_four_bits),
		vcpu_unit_test(xcr0_is_the_only_xcr),
	};

	return cmocka_run_group_tests_name("cr", tests, 0, 0);
}
