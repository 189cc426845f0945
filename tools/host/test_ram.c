/* SPDX-License-Identifier: MIT */
/* mm/ram.c: a guest's RAM where the host's lies in many blocks: those beside each other become one slot. And its replica, whose
 * pieces are smaller than a slot. */
#include "mm/page.h"
#include "mm/replica.h"
#include "tools/host/mmu_test.h"

#define MIB (1UL << 20)
#define MIB_PAGES 256UL

static uint64_t free_before;

/* Host RAM of `n` pieces: the first `skip` MiB of each `each` MiB are not there. */
static void host_of_pieces(unsigned n, uint64_t each, uint64_t skip)
{
	struct page_range range[64];

	host_native_init(1);
	for (unsigned i = 0; i < n; i++)
		range[i] = (struct page_range){(i * each + skip) * MIB, (each - skip) * MIB};
	page_init(range, n);
	mmu_global_init();
	free_before = page_free_count();
}

static bool make(struct machine *c, uint64_t mib)
{
	memset(c, 0, sizeof *c);
	assert_true(mmu_init(&c->mmu, "a", 256));
	if (!mmu_add_ram(&c->mmu, mib * MIB))
		return false;
	assert_true(mmu_vcpu_init(&c->vcpu, &c->mmu));
	c->vcpu.paging.cr0 = CR0_PE | CR0_WP;
	return true;
}

static void each_page_is_its_own(struct machine *c, uint64_t mib)
{
	uint64_t from = 1 * MIB, value;

	for (uint64_t at = from; at < mib * MIB; at += PAGE_SIZE)
		assert_true(mmu_write(&c->mmu, gpa(at), &at, sizeof at));
	for (uint64_t at = from; at < mib * MIB; at += PAGE_SIZE) {
		assert_true(mmu_read(&c->mmu, gpa(at), &value, sizeof value));
		assert_int_equal(value, at);
	}
	assert_int_equal(mmu_pages(&c->mmu), (mib - 1) * MIB_PAGES + 0xa0);
}

/* Eight pieces of 2, 4 and 8 MiB: with the hole more than there are slots. */
static void blocks_beside_each_other_are_one_slot(void **state)
{
	struct machine *c = &test_machine;

	(void)state;
	host_of_pieces(8, 16, 2);
	assert_true(make(c, 100));
	assert_true(load_relaxed(&c->mmu.slots) <= 9);
	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++)
		assert_int_equal(c->mmu.slot[i].gfn.v % 512, c->mmu.slot[i].hfn.v % 512);
	each_page_is_its_own(c, 100);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	machine_destroy(c);
	assert_true(page_free_count() + 512 > free_before);
}

static void a_replica_is_in_pieces(void **state)
{
	struct machine *c = &test_machine;
	struct replica r;
	gfn_t first;

	(void)state;
	host_of_pieces(1, 200, 2);
	assert_true(make(c, 50));
	assert_true(replica_init(&r, &c->mmu));
	each_page_is_its_own(c, 50);
	assert_int_equal(replica_round(&r, 0), LOG_DONE);
	assert_int_equal(replica_compare(&r, &first), 0);
	*(uint64_t *)replica_page(&r, 1, 0x2f00) ^= 1;
	assert_int_equal(replica_compare(&r, &first), 1);
	assert_int_equal(first.v, 0x3000);
	replica_destroy(&r);
	machine_destroy(c);
	assert_true(page_free_count() + 512 > free_before);
}

/* Blocks of less than 2 MiB that continue a larger one stay behind all of those. */
static void large_leaves_stay_possible(void **state)
{
	struct machine *c = &test_machine;
	unsigned large = 0;

	(void)state;
	host_of_pieces(4, 8, 1); /* 1, 2 and 4 MiB */
	assert_true(make(c, 25));
	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++)
		if (c->mmu.slot[i].pages >= MIB_PAGES * 3) {
			assert_int_equal(c->mmu.slot[i].gfn.v % 512, c->mmu.slot[i].hfn.v % 512);
			large++;
		}
	assert_int_equal(large, 4);
	each_page_is_its_own(c, 25);
	machine_destroy(c);
}

/* Pieces of 256 KiB: the second and third lie about the hole, the fourth in it. */
static void the_hole_is_no_memory_wherever_blocks_end(void **state)
{
	struct page_range range[32];
	struct machine *c = &test_machine;
	uint64_t value = 0;

	(void)state;
	host_native_init(1);
	for (unsigned i = 0; i < 31; i++)
		range[i] = (struct page_range){i * 512 * 1024 + 256 * 1024, 256 * 1024};
	range[31] = (struct page_range){16 * MIB, 4 * MIB}; /* for the allocator's own and other tables */
	page_init(range, 32);
	mmu_global_init();
	for (unsigned order = 10; order > 6; order--)
		while (hfn_valid(page_alloc(order, PAGE_ANY)))
			;
	memset(c, 0, sizeof *c);
	assert_true(mmu_init(&c->mmu, "a", 16));
	assert_true(mmu_add_ram(&c->mmu, 2 * MIB));
	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++) {
		const struct slot *o = &c->mmu.slot[i];

		assert_true(o->gfn.v + o->pages <= 0xa0 || o->gfn.v >= 0x100);
	}
	assert_int_equal(mmu_pages(&c->mmu), 2 * MIB_PAGES - 0x60);
	assert_true(mmu_write(&c->mmu, gpa(0x9fff8), &value, 8));
	assert_false(mmu_write(&c->mmu, gpa(0xa0000), &value, 8));
	assert_false(mmu_write(&c->mmu, gpa(0xffff8), &value, 8));
	assert_true(mmu_write(&c->mmu, gpa(0x100000), &value, 8));
	mmu_destroy(&c->mmu);
}

static void too_many_pieces(void **state)
{
	struct machine *c = &test_machine;

	(void)state;
	host_of_pieces(40, 4, 2);
	assert_false(make(c, 40));
	assert_int_equal(load_relaxed(&c->mmu.slots), 0);
	mmu_destroy(&c->mmu);
	assert_true(page_free_count() + 512 > free_before);
	assert_true(make(c, 24));
	machine_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_beside_each_other_are_one_slot),
		cmocka_unit_test(a_replica_is_in_pieces),
		cmocka_unit_test(large_leaves_stay_possible),
		cmocka_unit_test(the_hole_is_no_memory_wherever_blocks_end),
		cmocka_unit_test(too_many_pieces),
	};

	return cmocka_run_group_tests_name("ram", tests, 0, 0);
}
