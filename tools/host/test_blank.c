/* SPDX-License-Identifier: MIT */
/* mmu_set_blank: memory that is not there, for reading. */
#include "tools/host/mmu_test.h"

#define BLANK (MMU_BLANK_FIRST << PAGE_SHIFT)
#define DEVICE (BLANK + 0x30000) /* the page in between that is not blank */
#define ONES 0xffffffffffffffffUL

static int set_up(void **state)
{
	if (test_setup(state) || !mmu_set_blank(&test_machine.mmu, ~(1UL << 0x30)))
		return -1;
	return 0;
}

static void expect_mmio(struct machine *c, uint64_t at, uint32_t access)
{
	uint64_t value = 0;

	assert_false(machine_access(c, at, access, &value));
	assert_int_equal(c->outcome, MMU_MMIO);
	assert_int_equal(c->fault.gpa.v, at & 0xfffff);
}

static void reads_exit_once(void **state)
{
	struct machine *c = *state;
	uint64_t faults;

	assert_true(machine_load(c, BLANK) == ONES);
	faults = c->faults;
	for (uint64_t i = 0; i < PAGE_SIZE; i += 8)
		assert_true(machine_load(c, BLANK + i) == ONES);
	assert_int_equal(c->faults, faults);
	assert_true(machine_load(c, BLANK + 0x3f000) == ONES);
	assert_true(spte_hfn(machine_spte(c, BLANK)).v == spte_hfn(machine_spte(c, BLANK + 0x3f000)).v);
}

static void writes_are_the_devices(void **state)
{
	struct machine *c = *state;

	expect_mmio(c, BLANK, PF_W);
	assert_true(machine_load(c, BLANK) == ONES);
	expect_mmio(c, BLANK, PF_W);
	assert_true(machine_load(c, BLANK) == ONES);
	expect_mmio(c, DEVICE, 0);
	expect_mmio(c, DEVICE, PF_W);
	expect_mmio(c, BLANK - PAGE_SIZE, 0);
}

/* Through page tables: an address that comes to lead elsewhere, and back. */
static void it_goes_with_its_entry(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), entry;

	machine_map(c, root, TEST_VIRT, BLANK | TEST_RW, 1);
	entry = machine_pte(c, root, TEST_VIRT, 1);
	assert_true(machine_load(c, TEST_VIRT) == ONES);
	assert_int_equal(machine_peek(c, entry) & (GPTE_A | GPTE_D), GPTE_A);
	machine_store(c, TEST_FREE, 0x1234);
	machine_store(c, entry, TEST_FREE | TEST_RW);
	machine_invlpg(c, TEST_VIRT);
	assert_true(machine_load(c, TEST_VIRT) == 0x1234);
	assert_true(machine_store(c, TEST_VIRT, 0x5678));
	machine_store(c, entry, (BLANK + PAGE_SIZE) | TEST_RW);
	machine_invlpg(c, TEST_VIRT);
	assert_true(machine_load(c, TEST_VIRT) == ONES);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	machine_store(c, entry, 0);
	machine_invlpg(c, TEST_VIRT);
	expect_fault(c, TEST_VIRT, 0, 0);
	assert_true(machine_load(c, TEST_FREE) == 0x5678);
}

/* Without an INVLPG the old leaf is still there when a fault finds the entry changed. */
static void it_takes_the_place_of_a_leaf(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), entry, value = 0;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW | GPTE_NX, 1);
	entry = machine_pte(c, root, TEST_VIRT, 1);
	assert_true(machine_load(c, TEST_VIRT) == 0);
	machine_store(c, entry, BLANK | TEST_RW);
	assert_true(machine_access(c, TEST_VIRT, PF_I, &value));
	assert_int_equal(mmu_audit(&c->mmu), 0);
	assert_true(machine_load(c, TEST_VIRT) == ONES);
}

static void a_logged_guest_reports_none_of_it(void **state)
{
	struct machine *c = *state;
	struct log_round r;

	assert_true(machine_load(c, BLANK) == ONES);
	log_start(&c->mmu);
	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	assert_int_equal(r.pages, mmu_pages(&c->mmu));
	assert_true(machine_load(c, BLANK + PAGE_SIZE) == ONES);
	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	assert_int_equal(r.pages, 0);
	log_stop(&c->mmu);
}

static void it_goes_with_the_rest(void **state)
{
	struct machine *c = *state;

	for (unsigned i = 0; i < 0x30; i++)
		assert_true(machine_load(c, BLANK + i * PAGE_SIZE) == ONES);
	mmu_zap_all(&c->mmu);
	assert_true(machine_spte(c, BLANK) == 0);
	assert_true(machine_load(c, BLANK) == ONES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_exit_once, set_up, test_teardown),
		cmocka_unit_test_setup_teardown(writes_are_the_devices, set_up, test_teardown),
		cmocka_unit_test_setup_teardown(it_goes_with_its_entry, set_up, test_teardown),
		cmocka_unit_test_setup_teardown(it_takes_the_place_of_a_leaf, set_up, test_teardown),
		cmocka_unit_test_setup_teardown(a_logged_guest_reports_none_of_it, set_up, test_teardown),
		cmocka_unit_test_setup_teardown(it_goes_with_the_rest, set_up, test_teardown),
	};

	return cmocka_run_group_tests_name("blank", tests, 0, 0);
}
