/* SPDX-License-Identifier: MIT */
/* Leaves of 2 MiB: where they are used, and that the log and page-table protection split them in time. */
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

#define LARGE 0x200000UL

static unsigned leaf_level(struct machine *c, uint64_t at)
{
	return spte_level(machine_spte(c, at));
}

static bool dirty(struct machine *c, uint64_t at)
{
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(at)));
	uint64_t i = slot_index(s, gpa_gfn(gpa(at)));

	return load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) >> (i % 64) & 1;
}

static void unpaged_memory_is_mapped_in_one_piece(void **state)
{
	struct machine *c = *state;
	uint64_t faults;

	machine_store(c, LARGE, 1);
	assert_int_equal(leaf_level(c, LARGE), 2);
	faults = c->faults;
	for (uint64_t a = LARGE; a < 2 * LARGE; a += PAGE_SIZE)
		machine_store(c, a, a);
	assert_int_equal(c->faults, faults);
}

static void memory_with_a_hole_is_not(void **state)
{
	struct machine *c = *state;

	machine_store(c, 0x100000, 1); /* its 2 MiB hold the hole at 0xa0000 */
	assert_int_equal(leaf_level(c, 0x100000), 1);
}

static void log_start_splits_and_loses_nothing(void **state)
{
	struct machine *c = *state;

	machine_store(c, LARGE, 1);
	assert_int_equal(leaf_level(c, LARGE), 2);
	log_start(&c->mmu);
	machine_store(c, LARGE + 7 * PAGE_SIZE, 2); /* still open: its bit is set by the start */
	log_harvest(&c->mmu, 0);
	assert_false(dirty(c, LARGE + 7 * PAGE_SIZE));
	machine_store(c, LARGE + 7 * PAGE_SIZE, 3); /* H23: page 7 of the mapping, not its first */
	assert_int_equal(leaf_level(c, LARGE + 7 * PAGE_SIZE), 1);
	assert_true(dirty(c, LARGE + 7 * PAGE_SIZE));
	assert_false(dirty(c, LARGE));
	assert_false(dirty(c, LARGE + 8 * PAGE_SIZE));
	assert_int_equal(mmu_faults(&c->mmu).fixups, 0); /* H36: never on a large leaf */
	machine_store(c, LARGE, 4);
	assert_true(dirty(c, LARGE));
}

static void reads_of_a_protected_large_leaf_report_nothing(void **state)
{
	struct machine *c = *state;
	struct log_round r;

	machine_store(c, LARGE, 1);
	log_start(&c->mmu);
	log_harvest(&c->mmu, 0);
	for (uint64_t a = LARGE; a < 2 * LARGE; a += PAGE_SIZE)
		machine_load(c, a);
	log_harvest(&c->mmu, &r);
	assert_int_equal(r.pages, 0);
}

/* Long mode where the memory in play is mapped by one 2 MiB page and the tables lie below it. */
static uint64_t long_mode_with_a_large_page(struct machine *c)
{
	uint64_t root;

	c->next_table = 0x100;
	root = machine_table(c);
	for (uint64_t a = 0; a < LARGE; a += PAGE_SIZE)
		machine_map(c, root, a, a | GPTE_P | GPTE_W, 1);
	machine_map(c, root, LARGE, LARGE | GPTE_PS | TEST_RW, 2);
	machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, EFER_LME | EFER_LMA | EFER_NXE);
	return root;
}

static void a_guests_large_page_is_one_leaf(void **state)
{
	struct machine *c = *state;

	long_mode_with_a_large_page(c);
	machine_store(c, LARGE + 0x1000, 1);
	assert_int_equal(leaf_level(c, LARGE), 2);
}

static void the_d_bit_comes_before_the_write(void **state)
{
	struct machine *c = *state;
	uint64_t root = long_mode_with_a_large_page(c), pde = machine_pte(c, root, LARGE, 2);

	machine_load(c, LARGE + 0x1000);
	assert_int_equal(leaf_level(c, LARGE), 2);
	assert_false(machine_spte(c, LARGE) & SPTE_MMU_WRITABLE);
	assert_false(machine_peek(c, pde) & GPTE_D);
	machine_store(c, LARGE + 0x1000, 1);
	assert_int_equal(leaf_level(c, LARGE), 2);
	assert_true(machine_peek(c, pde) & GPTE_D);
}

static void a_page_table_inside_is_protected_and_splits(void **state)
{
	struct machine *c = *state;
	uint64_t root = long_mode_with_a_large_page(c), table = LARGE + 0x10000, at = TEST_VIRT;

	machine_store(c, LARGE, 1);
	assert_int_equal(leaf_level(c, LARGE), 2);
	/* a level-1 table inside the large page, in use from now on */
	machine_store(c, table, (LARGE + 0x20000) | TEST_RW);
	machine_store(c, machine_pte(c, root, at, 2), table | TEST_RW);
	machine_store(c, at, 2);
	assert_int_equal(machine_peek(c, LARGE + 0x20000), 2);
	assert_false(machine_spte(c, table) & (SPTE_W | SPTE_MMU_WRITABLE));
	/* the guest rewrites it through the large page: seen at the INVLPG */
	machine_store(c, table, (LARGE + 0x30000) | TEST_RW);
	assert_int_equal(leaf_level(c, table), 1);
	machine_invlpg(c, at);
	machine_store(c, at, 3);
	assert_int_equal(machine_peek(c, LARGE + 0x30000), 3);
	assert_int_equal(machine_peek(c, LARGE + 0x20000), 2);
}

static void cr0_wp_clear_splits_a_read_only_large_page(void **state)
{
	struct machine *c = *state;
	uint64_t root = long_mode_with_a_large_page(c), value;

	machine_map(c, root, LARGE, LARGE | GPTE_PS | GPTE_P | GPTE_U, 2);
	machine_invlpg(c, LARGE);
	assert_false(machine_store(c, LARGE, 1));
	assert_int_equal(c->fault.error, PF_P | PF_W);
	machine_paging(c, CR0_PE | CR0_PG, root, c->vcpu.paging.efer);
	assert_true(machine_store(c, LARGE, 2));
	assert_true(machine_access(c, LARGE + 0x5000, PF_U, &value));
	assert_false(machine_access(c, LARGE, PF_U | PF_W, &value));
	assert_int_equal(machine_load(c, LARGE), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(unpaged_memory_is_mapped_in_one_piece),
		MMU_TEST(memory_with_a_hole_is_not),
		MMU_TEST(log_start_splits_and_loses_nothing),
		MMU_TEST(reads_of_a_protected_large_leaf_report_nothing),
		MMU_TEST(a_guests_large_page_is_one_leaf),
		MMU_TEST(the_d_bit_comes_before_the_write),
		MMU_TEST(a_page_table_inside_is_protected_and_splits),
		MMU_TEST(cr0_wp_clear_splits_a_read_only_large_page),
	};

	return cmocka_run_group_tests_name("large", tests, 0, 0);
}
