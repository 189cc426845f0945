/* SPDX-License-Identifier: MIT */
/* mmu_flush_tlb(): a vCPU that was away while another changed page tables uses none of what it had; mmu_xchg(), by which it
 * learns that it has to. */
#include "tools/host/hazard_test.h"

static uint64_t root, pte;

/* The second vCPU has cached TEST_VIRT as FRAME_A, through a level-1 table that is unsync; then the first one makes it FRAME_B,
 * and says nothing. */
static void changed_behind_its_back(struct machine *c)
{
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, FRAME_A | TEST_RW | GPTE_A | GPTE_D);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	assert_true(store_on(0, c, pte, FRAME_A | TEST_RW | GPTE_A | GPTE_D));
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xa);
	assert_true(store_on(0, c, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
}

static void what_was_cached_is_stale_without_it(void **state)
{
	struct machine *c = *state;

	changed_behind_its_back(c);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xa);
	host_thread_cpu(1);
	mmu_flush_tlb(&test_second.vcpu);
	host_thread_cpu(0);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xb);
}

/* No TLB has anything, but the shadow of the table does. */
static void shadow_tables_are_as_stale_as_a_tlb(void **state)
{
	struct machine *c = *state;

	changed_behind_its_back(c);
	assert_int_equal(load_on(2, &test_second, TEST_VIRT), 0xa); /* another CPU: its id is flushed there */
	host_thread_cpu(2);
	mmu_flush_tlb(&test_second.vcpu);
	host_thread_cpu(0);
	assert_int_equal(load_on(2, &test_second, TEST_VIRT), 0xb);
}

static unsigned refused;

static void flush_beside_the_sync(struct machine *c)
{
	struct mmu_fault f;

	(void)c;
	host_thread_cpu(1);
	mmu_flush_tlb(&test_second.vcpu);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(mmu_enter(&test_second.vcpu, 1), MMU_RELOAD);
		refused += mmu_reload(&test_second.vcpu, &f) == MMU_RETRY;
	}
	host_thread_cpu(0);
}

/* The table is being read by another flow: it does not enter before that is through. */
static void it_stays_due_while_another_syncs(void **state)
{
	struct machine *c = *state;

	changed_behind_its_back(c);
	refused = 0;
	park_at(c, "sync-flushed", 0, flush_beside_the_sync);
	machine_cr3(c, root);
	parked();
	assert_int_equal(refused, 2);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xb);
}

static void an_exchange_stores_and_tells_what_was_there(void **state)
{
	static const unsigned widths[] = {1, 2, 4, 8};
	struct machine *c = *state;

	for (unsigned w = 0; w < 4; w++)
		for (unsigned i = 0; i < 16; i++) {
			uint8_t before[32], after[32];
			uint64_t value = 0x8877665544332211;

			for (unsigned k = 0; k < sizeof before; k++)
				before[k] = (uint8_t)(k * 7 + 1);
			assert_true(mmu_write(&c->mmu, gpa(TEST_FREE), before, sizeof before));
			assert_true(mmu_xchg(&c->mmu, gpa(TEST_FREE + i), &value, widths[w]));
			assert_memory_equal(&value, before + i, widths[w]);
			value = 0x8877665544332211;
			memcpy(before + i, &value, widths[w]);
			assert_true(mmu_read(&c->mmu, gpa(TEST_FREE), after, sizeof after));
			assert_memory_equal(after, before, sizeof after);
		}
}

static void an_exchange_is_logged_and_drops_shadows(void **state)
{
	struct machine *c = *state;
	uint64_t entry = FRAME_B | TEST_RW | GPTE_A | GPTE_D, none = 1;

	changed_behind_its_back(c);
	host_thread_cpu(1);
	machine_cr3(&test_second, root);
	host_thread_cpu(0);
	entry = FRAME_A | TEST_RW | GPTE_A | GPTE_D;
	log_start(&c->mmu);
	harvest_on(2, c, 0);
	assert_true(mmu_xchg(&c->mmu, gpa(pte), &entry, 8));
	assert_int_equal(entry, FRAME_B | TEST_RW | GPTE_A | GPTE_D);
	assert_true(is_dirty(c, pte));
	machine_invlpg(c, TEST_VIRT);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xa);
	assert_false(mmu_xchg(&c->mmu, gpa(1UL << 40), &none, 1));
	assert_int_equal(none, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(what_was_cached_is_stale_without_it),
		HAZARD_TEST(shadow_tables_are_as_stale_as_a_tlb),
		HAZARD_TEST(it_stays_due_while_another_syncs),
		HAZARD_TEST(an_exchange_stores_and_tells_what_was_there),
		HAZARD_TEST(an_exchange_is_logged_and_drops_shadows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
