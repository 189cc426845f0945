/* SPDX-License-Identifier: MIT */
/* Page tables that the guest writes between any two of its CR3 loads: they are read at each, and left open. */
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

enum { HOT_MOST = 8, ROUNDS = 6 }; /* rounds: enough to become hot */

static struct machine second; /* joins where a test has two vCPUs */

static uint32_t hot(struct machine *c) { return load_relaxed(&c->mmu.unsync_hot); }

static uint64_t frame(uint64_t i) { return TEST_FREE + 0x20000 + i % 16 * PAGE_SIZE; }

/* One round: the page at `at` is mapped to frame i, CR3 is loaded, and the page used. */
static void remap(struct machine *c, uint64_t root, uint64_t at, uint64_t i)
{
	machine_store(c, machine_pte(c, root, at, 1), frame(i) | TEST_RW);
	machine_cr3(c, root);
	machine_store(c, at, 1000 + i);
	assert_int_equal(machine_peek(c, frame(i)), 1000 + i);
}

/* The root of a guest whose table of TEST_VIRT is hot; frame(0) is mapped there. */
static uint64_t with_hot_table(struct machine *c)
{
	uint64_t root = machine_long_mode(c);

	for (uint64_t i = ROUNDS; i-- > 0;)
		remap(c, root, TEST_VIRT, i);
	assert_int_equal(hot(c), 1);
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), 1);
	return root;
}

static void a_table_written_between_loads_faults_no_more(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), unsyncs = load_relaxed(&c->mmu.stats.unsyncs), synced = load_relaxed(&c->mmu.stats.synced);

	for (uint64_t i = 1; i < 40; i++)
		remap(c, root, TEST_VIRT, i);
	assert_int_equal(load_relaxed(&c->mmu.stats.unsyncs), unsyncs);
	assert_int_equal(load_relaxed(&c->mmu.stats.synced), synced + 39);
}

static void rights_that_go_are_gone_after_the_load(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), pte = machine_pte(c, root, TEST_VIRT, 1);

	machine_store(c, pte, frame(0) | (TEST_RW & ~GPTE_W));
	machine_cr3(c, root);
	expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
	assert_int_equal(machine_load(c, TEST_VIRT), 1000);
	machine_store(c, pte, 0);
	machine_cr3(c, root);
	expect_fault(c, TEST_VIRT, 0, 0);
	assert_int_equal(hot(c), 1);
}

static void invlpg_reads_the_entry_of_a_hot_table(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), pte = machine_pte(c, root, TEST_VIRT, 1);

	for (uint64_t i = 1; i < 10; i++) {
		machine_store(c, pte, frame(i) | TEST_RW);
		machine_invlpg(c, TEST_VIRT);
		machine_store(c, TEST_VIRT, 2000 + i);
		assert_int_equal(machine_peek(c, frame(i)), 2000 + i);
	}
}

/* The last entries of a table with few: a sync of one that is empty ends early. */
static void the_last_entry_of_a_table_is_read(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), last = TEST_VIRT + 511 * PAGE_SIZE;

	machine_store(c, machine_pte(c, root, TEST_VIRT, 1), 0);
	for (uint64_t i = 0; i < 10; i++)
		remap(c, root, last, i);
	expect_fault(c, TEST_VIRT, 0, 0);
}

static void one_that_is_not_used_is_protected_again(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), unsyncs = load_relaxed(&c->mmu.stats.unsyncs);

	for (unsigned i = 0; i < 5; i++)
		machine_cr3(c, root);
	assert_int_equal(hot(c), 0);
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), 0);
	remap(c, root, TEST_VIRT, 1);
	assert_int_equal(load_relaxed(&c->mmu.stats.unsyncs), unsyncs + 1);
	assert_int_equal(hot(c), 0); /* it has to become so again */
}

static void a_hot_table_that_becomes_data_dies(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), zapped = load_relaxed(&c->mmu.stats.zapped), table;

	table = machine_load(c, machine_pte(c, root, TEST_VIRT, 2)) & GPTE_ADDRESS;
	machine_store(c, machine_pte(c, root, TEST_VIRT, 2), 0);
	for (unsigned i = 0; i < 12; i++) {
		machine_cr3(c, root);
		machine_store(c, table, i);
	}
	assert_true(load_relaxed(&c->mmu.stats.zapped) > zapped);
	machine_cr3(c, root);
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), 0);
	assert_int_equal(hot(c), 0);
}

/* The same where links, which protect it, come between: it may become hot again, but not for ever. */
static void a_hot_table_that_becomes_data_beside_links_dies(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), zapped = load_relaxed(&c->mmu.stats.zapped), table, pdpte, other = TEST_VIRT + (1UL << 30);

	table = machine_load(c, machine_pte(c, root, TEST_VIRT, 2)) & GPTE_ADDRESS;
	machine_store(c, machine_pte(c, root, TEST_VIRT, 2), 0);
	machine_map(c, root, other, frame(3) | TEST_RW, 1);
	pdpte = machine_pte(c, root, other, 3);
	for (unsigned i = 0; i < 12 && load_relaxed(&c->mmu.stats.zapped) == zapped; i++) {
		uint64_t link = machine_load(c, pdpte);

		machine_store(c, pdpte, 0);
		machine_invlpg(c, other);
		machine_store(c, pdpte, link);
		machine_load(c, other);
		machine_store(c, table, i);
		machine_cr3(c, root);
	}
	assert_true(load_relaxed(&c->mmu.stats.zapped) > zapped);
}

static void zapping_all_takes_hot_tables_too(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c);

	assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
	assert_int_equal(hot(c), 0);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_VIRT), 1000);
}

/* Through one of two entries the table may be written, through the other not: it has two shadows. */
static void a_table_with_two_shadows_does_not_become_hot(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde;

	machine_map(c, root, TEST_VIRT, frame(0) | TEST_RW, 1);
	pde = machine_load(c, machine_pte(c, root, TEST_VIRT, 2));
	machine_store(c, machine_pte(c, root, TEST_VIRT + 0x200000, 2), pde & ~GPTE_W);
	for (uint64_t i = 0; i < 12; i++) {
		remap(c, root, TEST_VIRT, i);
		assert_int_equal(machine_load(c, TEST_VIRT + 0x200000), 1000 + i);
		assert_int_equal(hot(c), 0);
	}
}

static void a_few_tables_are_hot_and_the_others_in_step(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (uint64_t i = 0; i < 12; i++)
		machine_map(c, root, TEST_VIRT + i * 0x200000, frame(i) | TEST_RW, 1);
	for (uint64_t round = 0; round < 12; round++) {
		for (uint64_t i = 0; i < 12; i++)
			machine_store(c, machine_pte(c, root, TEST_VIRT + i * 0x200000, 1), frame(i + round) | TEST_RW);
		machine_cr3(c, root);
		for (uint64_t i = 0; i < 12; i++) {
			machine_store(c, TEST_VIRT + i * 0x200000, round * 100 + i);
			assert_int_equal(machine_peek(c, frame(i + round)), round * 100 + i);
		}
		assert_true(hot(c) <= HOT_MOST);
	}
	assert_int_equal(hot(c), HOT_MOST);
}

static void upper_tables_do_not_become_hot(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), entry[2], pde;

	pde = test_two_tables(c, root, frame(0), frame(1), entry);
	for (uint64_t i = 0; i < 12; i++) {
		machine_store(c, pde, entry[!(i % 2)]);
		machine_cr3(c, root);
		assert_int_equal(hot(c), 0);
		machine_store(c, TEST_VIRT, i);
		assert_int_equal(machine_peek(c, frame(!(i % 2))), i);
	}
}

/* Nothing leads to it while it is changed. Then it is linked where nothing was, so without an INVLPG or a CR3 load, and by a table
 * that has no shadow yet, so without a write fault. */
static void a_hot_table_is_read_before_it_is_linked(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), pde = machine_pte(c, root, TEST_VIRT, 2), table = machine_load(c, pde);
	uint64_t elsewhere = TEST_VIRT + (1UL << 30), fresh = machine_pte(c, root, elsewhere, 2);

	remap(c, root, TEST_VIRT + PAGE_SIZE, 2);
	machine_store(c, pde, 0);
	machine_cr3(c, root);
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), 1);
	machine_store(c, (table & GPTE_ADDRESS) + 8, frame(9) | TEST_RW);
	machine_store(c, fresh, table);
	assert_int_equal(load_relaxed(&c->mmu.unsync_all), hot(c));
	assert_int_equal(machine_load(c, elsewhere), 1000);
	machine_store(c, elsewhere + PAGE_SIZE, 44);
	assert_int_equal(machine_peek(c, frame(9)), 44);
	assert_int_equal(machine_peek(c, frame(2)), 1002);
}

static void a_root_that_was_loaded_before_is_in_step(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), other = machine_table(c);

	for (unsigned i = 0; i < 512; i++)
		machine_store(c, other + 8 * i, machine_peek(c, root + 8 * i));
	for (uint64_t i = 1; i < 20; i++) {
		machine_store(c, machine_pte(c, root, TEST_VIRT, 1), frame(i) | TEST_RW);
		machine_cr3(c, i % 2 ? other : root);
		machine_store(c, TEST_VIRT, 3000 + i);
		assert_int_equal(machine_peek(c, frame(i)), 3000 + i);
	}
	/* and where the registers are taken from elsewhere than a CR3 load */
	machine_store(c, machine_pte(c, root, TEST_VIRT, 1), frame(5) | TEST_RW);
	assert_int_equal(hot(c), 1);
	c->vcpu.paging.cr3 = root;
	c->vcpu.root_stale = true;
	assert_int_equal(mmu_reload(&c->vcpu, &c->fault), MMU_RESUME);
	machine_store(c, TEST_VIRT, 77);
	assert_int_equal(machine_peek(c, frame(5)), 77);
}

/* One changes the entry and tells the other, which loads CR3. */
static void another_vcpus_load_sees_what_it_was_told_of(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c), pte = machine_pte(c, root, TEST_VIRT, 1);

	machine_join(&second, c);
	for (uint64_t i = 1; i < 30; i++) {
		machine_store(c, pte, frame(i) | TEST_RW);
		machine_cr3(&second, root);
		machine_store(&second, TEST_VIRT, 4000 + i);
		assert_int_equal(machine_peek(c, frame(i)), 4000 + i);
	}
	machine_part(&second);
}

static unsigned met;

static void load_beside_the_reading(void *ctx, const char *point)
{
	struct mmu_paging same = second.vcpu.paging;

	(void)ctx;
	if (strcmp(point, "sync-flushed") || met++)
		return;
	assert_int_equal(mmu_set_paging(&second.vcpu, &same, &second.fault), MMU_RETRY);
}

/* A hot table that another flow is about to read is not in step yet. */
static void a_load_waits_for_anothers_reading(void **state)
{
	struct machine *c = *state;
	uint64_t root = with_hot_table(c);

	machine_join(&second, c);
	machine_store(c, machine_pte(c, root, TEST_VIRT, 1), frame(1) | TEST_RW);
	met = 0;
	host_set_park(load_beside_the_reading, c);
	machine_cr3(c, root);
	host_set_park(0, 0);
	assert_int_equal(met, 1);
	machine_part(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(a_table_written_between_loads_faults_no_more),
		MMU_TEST(rights_that_go_are_gone_after_the_load),
		MMU_TEST(invlpg_reads_the_entry_of_a_hot_table),
		MMU_TEST(the_last_entry_of_a_table_is_read),
		MMU_TEST(one_that_is_not_used_is_protected_again),
		MMU_TEST(a_hot_table_that_becomes_data_dies),
		MMU_TEST(a_hot_table_that_becomes_data_beside_links_dies),
		MMU_TEST(zapping_all_takes_hot_tables_too),
		MMU_TEST(a_table_with_two_shadows_does_not_become_hot),
		MMU_TEST(a_load_waits_for_anothers_reading),
		MMU_TEST(a_few_tables_are_hot_and_the_others_in_step),
		MMU_TEST(upper_tables_do_not_become_hot),
		MMU_TEST(a_hot_table_is_read_before_it_is_linked),
		MMU_TEST(a_root_that_was_loaded_before_is_in_step),
		MMU_TEST(another_vcpus_load_sees_what_it_was_told_of),
	};

	return cmocka_run_group_tests_name("hot", tests, 0, 0);
}
