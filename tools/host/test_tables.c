/* SPDX-License-Identifier: MIT */
/* Page tables that the guest writes while they are in use: remapped, relinked, shared, recursive, freed, written by the
 * host. Every test ends with an audit. */
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

static void remapping_with_invlpg_is_seen(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < 50; i++) {
		machine_map(c, root, TEST_VIRT, (TEST_FREE + i % 8 * PAGE_SIZE) | TEST_RW, 1);
		machine_invlpg(c, TEST_VIRT);
		machine_store(c, TEST_VIRT, 1000 + i);
		assert_int_equal(machine_peek(c, TEST_FREE + i % 8 * PAGE_SIZE), 1000 + i);
		machine_map(c, root, TEST_VIRT, 0, 1);
		machine_invlpg(c, TEST_VIRT);
		expect_fault(c, TEST_VIRT, 0, 0);
	}
}

static void remapping_with_a_cr3_load_is_seen(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < 20; i++) {
		for (uint64_t p = 0; p < 16; p++)
			machine_map(c, root, TEST_VIRT + p * PAGE_SIZE,
				(TEST_FREE + (p + i) % 16 * PAGE_SIZE) | TEST_RW, 1);
		machine_cr3(c, root);
		for (uint64_t p = 0; p < 16; p++)
			machine_store(c, TEST_VIRT + p * PAGE_SIZE, i * 100 + p);
		for (uint64_t p = 0; p < 16; p++)
			assert_int_equal(machine_peek(c, TEST_FREE + (p + i) % 16 * PAGE_SIZE), i * 100 + p);
	}
}

static void a_table_is_protected_again_after_a_sync(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte, unsyncs;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	machine_cr3(c, root);
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), 0);
	unsyncs = load_relaxed(&c->mmu.stats.unsyncs);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	machine_store(c, pte, TEST_FREE | TEST_RW); /* faults, and goes unsync */
	machine_store(c, pte, TEST_FREE | TEST_RW);
	assert_int_equal(load_relaxed(&c->mmu.stats.unsyncs), unsyncs + 1);
}

static void upper_tables_may_be_rewritten_while_they_translate(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), entry[2], pde;

	/* the level-2 entry alternates between two tables, written through the very tables in use */
	pde = test_two_tables(c, root, TEST_FREE, TEST_FREE + PAGE_SIZE, entry);
	for (unsigned i = 0; i < 40; i++) {
		machine_store(c, pde, entry[!(i % 2)]);
		machine_invlpg(c, TEST_VIRT);
		machine_store(c, TEST_VIRT, i);
		assert_int_equal(machine_peek(c, TEST_FREE + (i % 2 ? 0 : PAGE_SIZE)), i);
	}
}

static void the_root_itself_may_be_written(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), entry = machine_load(c, root);

	machine_store(c, root + 8 * 8, entry); /* slot 8: the whole identity again */
	machine_store(c, TEST_FREE, 9);
	assert_int_equal(machine_load(c, (8UL << 39) + TEST_FREE), 9);
	machine_store(c, root + 8 * 8, 0);
	machine_invlpg(c, 8UL << 39);
	expect_fault(c, (8UL << 39) + TEST_FREE, 0, 0);
}

static void a_recursive_table_maps_itself(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), self = 510UL << 39 | 510UL << 30 | 510UL << 21 | 510UL << 12;

	machine_store(c, root + 510 * 8, root | TEST_RW);
	assert_int_equal(machine_load(c, self) & GPTE_ADDRESS, machine_peek(c, root) & GPTE_ADDRESS);
	machine_store(c, self + 9 * 8, machine_peek(c, root)); /* written through itself */
	machine_store(c, TEST_FREE, 10);
	assert_int_equal(machine_load(c, (9UL << 39) + TEST_FREE), 10);
}

static void a_large_page_gives_way_to_a_table_and_back(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde, table, large = 0x200000 | TEST_RW | GPTE_PS;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	table = machine_load(c, pde);
	for (unsigned i = 0; i < 20; i++) {
		machine_store(c, pde, i % 2 ? table : large);
		machine_invlpg(c, TEST_VIRT);
		machine_store(c, TEST_VIRT + (i % 2 ? 0 : 0x100000), i);
		assert_int_equal(machine_peek(c, TEST_FREE), i);
	}
}

static void one_table_under_two_parents_of_different_rights(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	pde = machine_load(c, machine_pte(c, root, TEST_VIRT, 2));
	machine_store(c, machine_pte(c, root, TEST_VIRT + 0x200000, 2), pde & ~(GPTE_W | GPTE_U));
	assert_true(machine_access(c, TEST_VIRT, PF_U | PF_W, &(uint64_t){1}));
	expect_fault(c, TEST_VIRT + 0x200000, PF_U, PF_P | PF_U);
	expect_fault(c, TEST_VIRT + 0x200000, PF_W, PF_P | PF_W);
	assert_int_equal(machine_load(c, TEST_VIRT + 0x200000), 1);
	assert_true(machine_access(c, TEST_VIRT, PF_U | PF_W, &(uint64_t){2}));
}

static void a_d_bit_set_through_one_parent_is_no_lie_in_the_other(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), second = TEST_VIRT + (1UL << 30), pdpte, value;

	/* one level-2 table under two level-3 entries of different rights: two shadows of it */
	log_start(&c->mmu);
	machine_map(c, root, TEST_VIRT, 0x200000 | TEST_RW | GPTE_PS, 2);
	pdpte = machine_load(c, machine_pte(c, root, TEST_VIRT, 3));
	machine_store(c, machine_pte(c, root, second, 3), pdpte & ~GPTE_U);
	assert_true(machine_access(c, TEST_VIRT + 0x100000, PF_U, &value));
	machine_store(c, second + 0x100000, 7);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	assert_true(machine_access(c, TEST_VIRT + 0x100000, PF_U | PF_W, &(uint64_t){8}));
	assert_int_equal(machine_load(c, second + 0x100000), 8);
}

static void a_relinked_table_is_read_again(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde, table;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	table = machine_load(c, pde);
	machine_store(c, pde, 0);
	machine_invlpg(c, TEST_VIRT);
	/* changed while nothing leads to it; linked at a slot that was never present, no flush (H25) */
	machine_store(c, table & GPTE_ADDRESS, (TEST_FREE + PAGE_SIZE) | TEST_RW);
	machine_store(c, machine_pte(c, root, TEST_VIRT + 0x400000, 2), table);
	machine_store(c, TEST_VIRT + 0x400000, 44);
	assert_int_equal(machine_peek(c, TEST_FREE + PAGE_SIZE), 44);
	assert_int_equal(machine_peek(c, TEST_FREE), 1);
}

static void a_freed_table_becomes_data(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), table, zapped = load_relaxed(&c->mmu.stats.zapped);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	table = machine_load(c, machine_pte(c, root, TEST_VIRT, 2)) & GPTE_ADDRESS;
	machine_store(c, machine_pte(c, root, TEST_VIRT, 2), 0);
	machine_cr3(c, root);
	for (unsigned i = 0; i < 8; i++) {
		machine_store(c, table, i);
		machine_cr3(c, root);
	}
	assert_true(load_relaxed(&c->mmu.stats.zapped) > zapped); /* nobody used it: its shadow is gone */
}

static void many_roots_share_their_lower_tables(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), entry = machine_load(c, root), used;

	for (unsigned i = 0; i < 20; i++) {
		uint64_t other = machine_table(c);

		machine_store(c, other, entry);
		machine_cr3(c, other);
		machine_store(c, TEST_FREE + 8 * i, i);
		used = c->mmu.used;
		machine_cr3(c, root);
		assert_int_equal(machine_load(c, TEST_FREE + 8 * i), i);
		machine_cr3(c, other);
		assert_int_equal(c->mmu.used, used);
	}
}

static void zap_all_leaves_nothing_and_everything_comes_back(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 6);
	assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	assert_true(c->mmu.used <= 1); /* the loaded root, until the reload */
	assert_int_equal(machine_load(c, TEST_VIRT), 6);
}

static void a_host_store_to_a_page_table_is_seen(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte, entry = (TEST_FREE + PAGE_SIZE) | TEST_RW;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	assert_true(mmu_write(&c->mmu, gpa(pte), &entry, sizeof entry));
	machine_invlpg(c, TEST_VIRT);
	machine_store(c, TEST_VIRT, 2);
	assert_int_equal(machine_peek(c, TEST_FREE + PAGE_SIZE), 2);
	assert_int_equal(machine_peek(c, TEST_FREE), 1);
}

/* Unsync shadows when the slow path last passed before it takes the lock, and the most that one hold has added. */
static uint32_t before_hold, most;

static void watch(void *ctx, const char *point)
{
	struct machine *c = ctx;
	uint32_t now = load_relaxed(&c->mmu.unsync_all);

	if (strcmp(point, "fault-walked"))
		return;
	if (now > before_hold && now - before_hold > most)
		most = now - before_hold;
	before_hold = now;
}

/* A table under eight sets of rights, in each state of NXE, WP, SMEP and SMAP: the write to it makes all go unsync, in steps. */
static void a_table_in_many_roles_goes_unsync_in_steps(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte, spread = 1UL << 39;
	struct mmu_paging p = c->vcpu.paging;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW | GPTE_A | GPTE_D, 1);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	for (uint64_t i = 1; i <= 8; i++) /* W, U and NX above */
		machine_map(c, root, TEST_VIRT + i * spread,
			(pte & GPTE_ADDRESS) | GPTE_P | (i & 3) << 1 | (i & 4 ? GPTE_NX : 0), 2);
	c->vcpu.ac = true;
	for (unsigned k = 0; k < 16; k++) {
		p.efer = k & 1 ? p.efer | EFER_NXE : p.efer & ~EFER_NXE;
		p.cr0 = k & 2 ? p.cr0 & ~CR0_WP : p.cr0 | CR0_WP;
		p.cr4 = k & 4 ? p.cr4 | CR4_SMEP : p.cr4 & ~CR4_SMEP;
		p.cr4 = k & 8 ? p.cr4 | CR4_SMAP : p.cr4 & ~CR4_SMAP;
		machine_set(c, &p);
		for (uint64_t i = 0; i <= 8; i++)
			if ((k & 1) || !(i & 4)) /* NX is reserved without NXE */
				machine_load(c, TEST_VIRT + i * spread);
	}
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), 0);
	assert_true(load_relaxed(slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(pte))), gpa_gfn(gpa(pte)), 1)) > 32);
	before_hold = most = 0;
	host_set_park(watch, c);
	machine_store(c, pte, (TEST_FREE + PAGE_SIZE) | TEST_RW);
	watch(c, "fault-walked");
	host_set_park(0, 0);
	assert_true(load_relaxed(&c->mmu.unsync_all) > 32);
	assert_in_range(most, 1, 32);
	machine_store(c, TEST_FREE + PAGE_SIZE, 5);
	machine_set(c, &p);
	assert_int_equal(machine_load(c, TEST_VIRT), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(remapping_with_invlpg_is_seen),
		MMU_TEST(remapping_with_a_cr3_load_is_seen),
		MMU_TEST(a_table_is_protected_again_after_a_sync),
		MMU_TEST(upper_tables_may_be_rewritten_while_they_translate),
		MMU_TEST(the_root_itself_may_be_written),
		MMU_TEST(a_recursive_table_maps_itself),
		MMU_TEST(a_large_page_gives_way_to_a_table_and_back),
		MMU_TEST(one_table_under_two_parents_of_different_rights),
		MMU_TEST(a_d_bit_set_through_one_parent_is_no_lie_in_the_other),
		MMU_TEST(a_relinked_table_is_read_again),
		MMU_TEST(a_freed_table_becomes_data),
		MMU_TEST(many_roots_share_their_lower_tables),
		MMU_TEST(zap_all_leaves_nothing_and_everything_comes_back),
		MMU_TEST(a_host_store_to_a_page_table_is_seen),
		MMU_TEST(a_table_in_many_roles_goes_unsync_in_steps),
	};

	return cmocka_run_group_tests_name("tables", tests, 0, 0);
}
