/* SPDX-License-Identifier: MIT */
/* mm/survey.c: what it shows is what the guest's tables, the shadow tables and the rmap chains hold, and looking changes nothing. */
#include "mm/rcu.h"
#include "mm/survey.h"
#include "tools/host/mmu_test.h"

#define MAPPINGS 70 /* more than SURVEY_DESCS descriptors hold */

static struct survey_walk look(struct machine *c, uint64_t at)
{
	struct survey_walk w;

	memset(&w, 0xa5, sizeof w);
	survey_walk(&c->vcpu, gva(at), &w);
	return w;
}

static void a_walk_in_long_mode(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), at = TEST_VIRT + 5 * PAGE_SIZE, pte, spte;
	struct survey_walk w = look(c, at);

	assert_true(w.guest[4].there && !w.mapped && !w.beyond && !w.shadowed);
	assert_int_equal(w.guest[4].at, root);
	machine_map(c, root, at, TEST_FREE | TEST_RW, 1);
	pte = machine_pte(c, root, at, 1);
	machine_cr3(c, root);
	w = look(c, at + 0x123);
	assert_int_equal(w.mode, PAGING_LONG);
	for (unsigned level = 1; level <= 4; level++) {
		assert_true(w.guest[level].there);
		assert_int_equal(w.guest[level].at, machine_pte(c, root, at, level));
		assert_int_equal(w.guest[level].value, machine_peek(c, w.guest[level].at));
	}
	assert_true(w.mapped && !w.shadowed);
	assert_int_equal(w.gpa.v, TEST_FREE + 0x123);
	assert_int_equal(machine_peek(c, pte), TEST_FREE | TEST_RW); /* no A, no D */
	assert_int_equal(w.shadow[1].value & SPTE_P, 0);
	machine_store(c, at, 1);
	w = look(c, at + 0x123);
	spte = machine_spte(c, at);
	assert_int_equal(w.guest[1].value, TEST_FREE | TEST_RW | GPTE_A | GPTE_D);
	assert_true(w.shadow[4].there && w.shadow[3].there && w.shadow[2].there && w.shadow[1].there);
	assert_int_equal(w.shadow[1].value, spte);
	assert_true(w.shadowed && spte_is_leaf(spte));
	assert_int_equal(w.shadow_gpa.v, TEST_FREE + 0x123);
	/* a change that the guest has not told of yet: the two differ */
	assert_true(mmu_write(&c->mmu, gpa(pte), &(uint64_t){TEST_DATA | TEST_RW}, 8));
	w = look(c, at);
	assert_int_equal(w.gpa.v, TEST_DATA);
	/* a table beyond memory */
	machine_map(c, root, 1UL << 39, 0x900000000 | TEST_RW, 4);
	w = look(c, 1UL << 39);
	assert_true(w.beyond && !w.mapped && w.guest[4].there && !w.guest[3].there);
	/* a root that is to be loaded anew is not looked at */
	mmu_flush_tlb(&c->vcpu);
	w = look(c, at);
	assert_true(w.stale && !w.shadowed && !w.shadow[4].there);
	machine_load(c, at);
	assert_false(look(c, at).stale);
}

static void a_walk_through_large_pages(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), at = TEST_VIRT;
	struct survey_walk w;

	machine_map(c, root, at, 0x200000 | TEST_RW | GPTE_PS, 2);
	machine_cr3(c, root);
	machine_load(c, at + 0x101238);
	w = look(c, at + 0x101238);
	assert_true(w.mapped && w.guest[2].there && !w.guest[1].there && w.shadowed);
	assert_int_equal(w.gpa.v, 0x301238);
	assert_int_equal(w.shadow_gpa.v, 0x301238);
}

static void a_walk_without_long_mode(void **state)
{
	struct machine *c = *state;
	struct mmu_paging p = {.cr0 = CR0_PE | CR0_WP | CR0_PG, .cr3 = TEST_DATA, .cr4 = CR4_PSE};
	uint32_t e32[2] = {TEST_DATA + PAGE_SIZE + TEST_RW, (uint32_t)(0x300000 + TEST_RW)};
	uint64_t table = TEST_DATA + 2 * PAGE_SIZE;
	struct survey_walk w = look(c, 0x312345);

	assert_int_equal(w.mode, PAGING_OFF);
	assert_true(w.mapped && !w.guest[2].there);
	assert_int_equal(w.gpa.v, 0x312345);
	machine_load(c, 0x312340);
	w = look(c, 0x500312345); /* 32 bits count */
	assert_true(w.shadowed && w.shadow[3].there);
	assert_int_equal(w.gpa.v, 0x312345);
	assert_int_equal(w.shadow_gpa.v, 0x312345);
	/* 4 KiB at 0x400000 + 3 pages, 4 MiB at 0x800000 */
	assert_true(mmu_write(&c->mmu, gpa(TEST_DATA + 4), &e32[0], 4));
	assert_true(mmu_write(&c->mmu, gpa(TEST_DATA + PAGE_SIZE + 12), &e32[1], 4));
	assert_true(mmu_write(&c->mmu, gpa(TEST_DATA + 8), &(uint32_t){TEST_RW | GPTE_PS}, 4));
	machine_set(c, &p);
	machine_load(c, 0x403450);
	w = look(c, 0x403456);
	assert_int_equal(w.mode, PAGING_PSE);
	assert_true(w.mapped && w.shadowed && w.guest[2].there && w.guest[1].there && !w.guest[3].there && w.shadow[3].there);
	assert_int_equal(w.guest[2].at, TEST_DATA + 4);
	assert_int_equal(w.guest[1].at, TEST_DATA + PAGE_SIZE + 12);
	assert_int_equal(w.guest[1].value, e32[1] | GPTE_A);
	assert_int_equal(w.gpa.v, 0x300456);
	assert_int_equal(w.shadow_gpa.v, 0x300456);
	w = look(c, 0x800000 + 0x301234);
	assert_true(w.mapped && !w.guest[1].there);
	assert_int_equal(w.gpa.v, 0x301234);
	/* PAE: the PDPTEs are those that were loaded */
	assert_true(mmu_write(&c->mmu, gpa(table), &(uint64_t){(table + PAGE_SIZE) | TEST_RW}, 8));
	assert_true(mmu_write(&c->mmu, gpa(table + PAGE_SIZE), &(uint64_t){0x300000 | TEST_RW}, 8));
	p.cr4 = CR4_PAE;
	p.pdpte[1] = table | GPTE_P;
	machine_set(c, &p);
	machine_load(c, 0x40000010);
	w = look(c, 0x40000010);
	assert_int_equal(w.mode, PAGING_PAE);
	assert_true(w.guest[3].there && w.mapped && w.shadowed);
	assert_int_equal(w.guest[3].value, table | GPTE_P);
	assert_int_equal(w.guest[2].at, table);
	assert_int_equal(w.gpa.v, 0x300010);
	assert_int_equal(w.shadow_gpa.v, 0x300010);
	w = look(c, 0x10);
	assert_true(w.guest[3].there && !w.guest[2].there && !w.mapped && !w.shadowed);
}

static void a_page_and_its_mappings(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte = 0;
	struct survey_leaf leaf[MAPPINGS];
	struct survey_page page;
	bool found[MAPPINGS] = {0};
	unsigned n;

	mmu_zap_all(&c->mmu);
	rcu_read_lock(RCU_WALK);
	survey_page(&c->mmu, gfn(0xa0), &page);
	assert_false(page.ram);
	assert_int_equal(survey_leaves(&c->mmu, gfn(0xa0), 1, leaf, MAPPINGS), 0);
	survey_page(&c->mmu, gfn(TEST_FREE / PAGE_SIZE), &page);
	assert_true(page.ram && page.dirty);
	assert_int_equal(page.length[0] + page.length[1] + page.tables, 0);
	assert_int_equal(page.hfn.v, slot_hfn(slot_find(&c->mmu, gfn(TEST_FREE / PAGE_SIZE)), gfn(TEST_FREE / PAGE_SIZE)).v);
	rcu_read_unlock(RCU_WALK);
	for (uint64_t i = 0; i < MAPPINGS; i++) {
		machine_map(c, root, TEST_VIRT + i * PAGE_SIZE, TEST_FREE | TEST_RW, 1);
		if (!i)
			pte = machine_pte(c, root, TEST_VIRT, 1);
		machine_load(c, TEST_VIRT + i * PAGE_SIZE);
		rcu_read_lock(RCU_WALK);
		n = survey_leaves(&c->mmu, gfn(TEST_FREE / PAGE_SIZE), 1, leaf, MAPPINGS);
		rcu_read_unlock(RCU_WALK);
		assert_true(n == i + 1 || n >= (SURVEY_DESCS - 1) * CHAIN_SLOTS);
	}
	rcu_read_lock(RCU_WALK);
	survey_page(&c->mmu, gfn(TEST_FREE / PAGE_SIZE), &page);
	assert_int_equal(page.length[0], MAPPINGS);
	assert_true(n <= SURVEY_DESCS * CHAIN_SLOTS);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(leaf[i].table.v, pte / PAGE_SIZE);
		assert_int_equal(leaf[i].role.level, 1);
		assert_int_equal(leaf[i].spte, machine_spte(c, TEST_VIRT + leaf[i].index * PAGE_SIZE));
		assert_false(found[leaf[i].index]);
		found[leaf[i].index] = true;
	}
	assert_int_equal(survey_leaves(&c->mmu, gfn(TEST_FREE / PAGE_SIZE), 1, leaf, 3), 3);
	assert_int_equal(survey_leaves(&c->mmu, gfn(TEST_FREE / PAGE_SIZE), 2, leaf, MAPPINGS), 0);
	survey_page(&c->mmu, gfn(pte / PAGE_SIZE), &page);
	assert_int_equal(page.tables, 1);
	rcu_read_unlock(RCU_WALK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(a_walk_in_long_mode),
		MMU_TEST(a_walk_through_large_pages),
		MMU_TEST(a_walk_without_long_mode),
		MMU_TEST(a_page_and_its_mappings),
	};

	return cmocka_run_group_tests_name("survey", tests, 0, 0);
}
