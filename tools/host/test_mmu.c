/* SPDX-License-Identifier: MIT */
/* The fault path on one guest: unpaged memory, four-level paging, rights and error codes, A and D bits, large pages.
 * Every test ends with an audit. */
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

static void unpaged_memory_reads_zero_and_keeps_what_is_written(void **state)
{
	struct machine *c = *state;

	for (uint64_t a = 0x100000; a < 0x180000; a += PAGE_SIZE)
		assert_int_equal(machine_load(c, a), 0);
	for (uint64_t a = 0x100000; a < 0x180000; a += PAGE_SIZE)
		assert_true(machine_store(c, a, a ^ 5));
	for (uint64_t a = 0x100000; a < 0x180000; a += PAGE_SIZE)
		assert_int_equal(machine_load(c, a), a ^ 5);
	assert_int_equal(machine_peek(c, 0x101000), 0x101000 ^ 5);
}

static void the_role_word_has_the_fields_where_its_masks_say(void **state)
{
	(void)state;
	assert_int_equal(((union role){.level = 1}).word, ROLE_LEVEL_ONE);
	assert_int_equal(((union role){.direct = 1}).word, ROLE_DIRECT);
	assert_int_equal(((union role){.dirty = 1}).word, ROLE_DIRTY);
	for (unsigned access = 0; access <= ACC_ALL; access++)
		assert_int_equal(((union role){.access = access}).word, ROLE_ACCESS(access));
}

static void unbacked_memory_is_mmio(void **state)
{
	struct machine *c = *state;

	assert_false(machine_store(c, 0xa0000, 1));
	assert_int_equal(c->outcome, MMU_MMIO);
	assert_int_equal(c->fault.gpa.v, 0xa0000);
	assert_false(machine_store(c, 0xfee00010, 1));
	assert_int_equal(c->fault.gpa.v, 0xfee00010);
}

/* It reads as all ones there. */
static void a_table_beyond_memory_has_reserved_bits(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 5);
	for (unsigned level = 2; level <= 4; level++) {
		pde = machine_pte(c, root, TEST_VIRT, level);
		machine_store(c, pde, 0xe0000000 | TEST_RW);
		machine_invlpg(c, TEST_VIRT);
		expect_fault(c, TEST_VIRT, PF_U | PF_W, PF_P | PF_RSVD | PF_U | PF_W);
		assert_int_equal(machine_peek(c, pde), 0xe0000000 | TEST_RW); /* no A */
	}
	assert_int_equal(mmu_audit(&c->mmu), 0);
}

static void long_mode_maps_what_the_tables_say(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	assert_true(machine_store(c, TEST_VIRT + 8, 77));
	assert_int_equal(machine_load(c, TEST_FREE + 8), 77);
	assert_int_equal(machine_peek(c, TEST_FREE + 8), 77);
}

static void absent_pages_fault_with_the_access_in_the_error_code(void **state)
{
	struct machine *c = *state;

	machine_long_mode(c);
	expect_fault(c, TEST_VIRT, 0, 0);
	expect_fault(c, TEST_VIRT, PF_W, PF_W);
	expect_fault(c, TEST_VIRT, PF_U, PF_U);
	expect_fault(c, TEST_VIRT, PF_I | PF_U, PF_I | PF_U);
}

static void rights_are_the_and_of_all_levels(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), value;

	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P, 1); /* supervisor, read-only */
	expect_fault(c, TEST_VIRT, PF_U, PF_P | PF_U);
	expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_invlpg(c, TEST_VIRT);
	assert_true(machine_access(c, TEST_VIRT, PF_U | PF_W, &(uint64_t){1}));
	/* take U away from the level-3 entry above */
	value = machine_load(c, machine_pte(c, root, TEST_VIRT, 3));
	machine_store(c, machine_pte(c, root, TEST_VIRT, 3), value & ~GPTE_U);
	machine_invlpg(c, TEST_VIRT);
	expect_fault(c, TEST_VIRT, PF_U, PF_P | PF_U);
	assert_true(machine_store(c, TEST_VIRT, 2));
}

static void nx_forbids_fetches_alone(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), value;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW | GPTE_NX, 1);
	expect_fault(c, TEST_VIRT, PF_I, PF_P | PF_I);
	assert_true(machine_access(c, TEST_VIRT, 0, &value));
	expect_fault(c, TEST_VIRT, PF_I, PF_P | PF_I);
}

static void reserved_bits_fault_with_rsvd(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW | 1UL << 45, 1);
	expect_fault(c, TEST_VIRT, 0, PF_P | PF_RSVD);
	machine_map(c, root, TEST_VIRT + 0x200000, 0x202000 | TEST_RW | GPTE_PS, 2); /* bit 13 */
	expect_fault(c, TEST_VIRT + 0x200000, PF_W, PF_P | PF_RSVD | PF_W);
}

static void cr0_wp_clear_lets_the_supervisor_write_read_only_pages(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), value;

	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P | GPTE_U, 1);
	expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
	machine_paging(c, CR0_PE | CR0_PG, root, c->vcpu.paging.efer);
	assert_true(machine_store(c, TEST_VIRT, 3));
	assert_true(machine_access(c, TEST_VIRT, PF_U, &value)); /* the user may still read … */
	expect_fault(c, TEST_VIRT, PF_W | PF_U, PF_P | PF_W | PF_U); /* … and not write */
	assert_true(machine_store(c, TEST_VIRT, 4));
	machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, c->vcpu.paging.efer);
	expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
	assert_int_equal(machine_load(c, TEST_VIRT), 4);
}

static void accessed_and_dirty_bits_are_set_when_the_architecture_says(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	assert_int_equal(machine_peek(c, pte) & (GPTE_A | GPTE_D), 0);
	machine_load(c, TEST_VIRT);
	assert_int_equal(machine_peek(c, pte) & (GPTE_A | GPTE_D), GPTE_A);
	machine_store(c, TEST_VIRT, 1);
	assert_int_equal(machine_peek(c, pte) & (GPTE_A | GPTE_D), GPTE_A | GPTE_D);
	/* cleared by the guest, with an INVLPG: they come back */
	machine_store(c, pte, TEST_FREE | TEST_RW);
	machine_invlpg(c, TEST_VIRT);
	machine_load(c, TEST_VIRT);
	assert_int_equal(machine_peek(c, pte) & (GPTE_A | GPTE_D), GPTE_A);
	machine_store(c, TEST_VIRT, 1);
	assert_int_equal(machine_peek(c, pte) & (GPTE_A | GPTE_D), GPTE_A | GPTE_D);
}

static void a_refused_access_sets_no_bits(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P, 1);
	expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
	assert_int_equal(machine_peek(c, machine_pte(c, root, TEST_VIRT, 1)) & (GPTE_A | GPTE_D), 0);
}

static void large_page(struct machine *c, unsigned level, uint64_t at)
{
	uint64_t root = machine_long_mode(c), entry;

	machine_map(c, root, at, GPTE_PS | TEST_RW, level);
	machine_store(c, at + TEST_FREE, 21);
	assert_int_equal(machine_peek(c, TEST_FREE), 21);
	entry = machine_peek(c, machine_pte(c, root, at + TEST_FREE, level));
	assert_int_equal(entry & (GPTE_A | GPTE_D), level == 3 ? GPTE_A | GPTE_D : entry & (GPTE_A | GPTE_D));
}

static void gigabyte_pages_are_split(void **state)
{
	large_page(*state, 3, 4UL << 30);
}

static void two_megabyte_pages_are_split_and_dropped_as_one(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde;

	machine_map(c, root, TEST_VIRT, 0x200000 | TEST_RW | GPTE_PS, 2);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	for (uint64_t p = 256; p < 300; p++)
		machine_store(c, TEST_VIRT + p * PAGE_SIZE, p);
	assert_int_equal(machine_peek(c, 0x200000 + 257 * PAGE_SIZE), 257);
	assert_true(machine_peek(c, pde) & GPTE_D);
	/* repoint the entry, INVLPG one address, read another (H48) */
	machine_store(c, pde, 0 | TEST_RW | GPTE_PS);
	machine_invlpg(c, TEST_VIRT + 299 * PAGE_SIZE);
	assert_int_equal(machine_load(c, TEST_VIRT + 257 * PAGE_SIZE), machine_peek(c, 257 * PAGE_SIZE));
	machine_store(c, TEST_VIRT + 257 * PAGE_SIZE, 5);
	assert_int_equal(machine_peek(c, 257 * PAGE_SIZE), 5);
}

static void the_d_bit_of_a_large_page_is_set_again_after_the_guest_cleared_it(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde;

	machine_map(c, root, TEST_VIRT, 0x200000 | TEST_RW | GPTE_PS, 2);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	machine_store(c, TEST_VIRT + 0x100000, 1);
	assert_true(machine_peek(c, pde) & GPTE_D);
	machine_store(c, pde, 0x200000 | TEST_RW | GPTE_PS);
	machine_invlpg(c, TEST_VIRT);
	machine_load(c, TEST_VIRT + 0x100000);
	assert_false(machine_peek(c, pde) & GPTE_D);
	machine_store(c, TEST_VIRT + 0x100000, 2);
	assert_true(machine_peek(c, pde) & GPTE_D);
}

static void a_root_outside_memory_is_refused(void **state)
{
	struct machine *c = *state;
	struct mmu_paging p = {.cr0 = CR0_PE | CR0_PG, .cr3 = 0xfee00000, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA};

	assert_int_equal(mmu_set_paging(&c->vcpu, &p, &c->fault), MMU_END);
	assert_non_null(c->fault.reason);
}

static void leaving_long_mode_paging_and_coming_back(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < 4; i++) {
		machine_store(c, TEST_FREE, i);
		machine_paging(c, CR0_PE, root, EFER_LME);
		assert_int_equal(machine_load(c, TEST_FREE), i);
		machine_store(c, TEST_FREE, 50 + i);
		machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, EFER_LME | EFER_LMA);
		assert_int_equal(machine_load(c, TEST_FREE), 50 + i);
	}
}

static void translate_answers_as_an_access_would(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);
	gpa_t out;

	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P, 1);
	assert_int_equal(mmu_translate(&c->vcpu, gva(TEST_VIRT + 0x123), 0, &out, &c->fault), MMU_RESUME);
	assert_int_equal(out.v, TEST_FREE + 0x123);
	assert_int_equal(mmu_translate(&c->vcpu, gva(TEST_VIRT), PF_W, &out, &c->fault), MMU_INJECT);
	assert_int_equal(c->fault.error, PF_P | PF_W);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(unpaged_memory_reads_zero_and_keeps_what_is_written),
		MMU_TEST(the_role_word_has_the_fields_where_its_masks_say),
		MMU_TEST(unbacked_memory_is_mmio),
		MMU_TEST(a_table_beyond_memory_has_reserved_bits),
		MMU_TEST(long_mode_maps_what_the_tables_say),
		MMU_TEST(absent_pages_fault_with_the_access_in_the_error_code),
		MMU_TEST(rights_are_the_and_of_all_levels),
		MMU_TEST(nx_forbids_fetches_alone),
		MMU_TEST(reserved_bits_fault_with_rsvd),
		MMU_TEST(cr0_wp_clear_lets_the_supervisor_write_read_only_pages),
		MMU_TEST(accessed_and_dirty_bits_are_set_when_the_architecture_says),
		MMU_TEST(a_refused_access_sets_no_bits),
		MMU_TEST(gigabyte_pages_are_split),
		MMU_TEST(two_megabyte_pages_are_split_and_dropped_as_one),
		MMU_TEST(the_d_bit_of_a_large_page_is_set_again_after_the_guest_cleared_it),
		MMU_TEST(a_root_outside_memory_is_refused),
		MMU_TEST(leaving_long_mode_paging_and_coming_back),
		MMU_TEST(translate_answers_as_an_access_would),
	};

	return cmocka_run_group_tests_name("mmu", tests, 0, 0);
}
