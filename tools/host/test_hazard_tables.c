/* SPDX-License-Identifier: MIT */
/* Page tables that change between two steps of the shadow MMU, and what the public bug catalogue has of the kind. */
#include "tools/host/hazard_test.h"

static uint64_t root, pte;

static uint64_t in_step(struct machine *c, uint64_t entry)
{
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, entry);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	return pte;
}

/* H21, CVE-2026-46113: a level-2 entry rewritten behind the MMU's back, between 2 MiB, a table and another frame. What
 * was filed under one page is found under it again. */
static void an_entry_is_found_where_it_was_filed(void **state)
{
	struct machine *c = *state;
	const uint64_t large = TEST_RW | GPTE_PS | GPTE_A | GPTE_D;
	uint64_t pde, table, value;

	in_step(c, FRAME_A | TEST_RW);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	table = machine_peek(c, pde);
	for (unsigned i = 0; i < 6; i++) {
		*raw(c, pde) = (atomic64){i % 3 == 0 ? large : i % 3 == 1 ? table : 0x200000 | large};
		for (uint64_t p = i; p < i + 3; p++)
			machine_access(c, TEST_VIRT + (p << PAGE_SHIFT), p % 2 ? PF_W : 0, &value);
	}
	*raw(c, pde) = (atomic64){0};
	mmu_zap_all(&c->mmu);
	assert_true(nothing_is_mapped(c));
	*raw(c, pde) = (atomic64){table};
	assert_int_equal(machine_load(c, TEST_VIRT), 0xa);
}

/* CVE-2026-23401, -23402: another pfn, or a device, over a present spte that nobody dropped. */
static void another_frame_is_dropped_before_the_install(void **state)
{
	struct machine *c = *state;
	uint64_t value = 1;

	in_step(c, FRAME_A | GPTE_P | GPTE_A);
	*raw(c, pte) = (atomic64){FRAME_B | TEST_RW};
	machine_store(c, TEST_VIRT, 0xbb); /* the fault finds the leaf of FRAME_A */
	assert_int_equal(machine_peek(c, FRAME_A), 0xa);
	assert_int_equal(machine_peek(c, FRAME_B), 0xbb);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	machine_store(c, pte, 0xa0000 | GPTE_P | GPTE_W | GPTE_A | GPTE_D);
	machine_invlpg(c, TEST_VIRT);
	assert_int_equal(machine_spte(c, TEST_VIRT), 0);
	assert_false(machine_access(c, TEST_VIRT, PF_W, &value));
	assert_int_equal(c->outcome, MMU_MMIO);
	assert_int_equal(c->fault.gpa.v, 0xa0000);
}

/* The guest's other vCPU repoints the entry that was just walked, and makes it known. */
static void repoint_and_sync(struct machine *c)
{
	(void)c;
	assert_true(store_on(1, &test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
	host_thread_cpu(1);
	machine_cr3(&test_second, root);
}

/* H26: the entry changes between the walk and the lock, and its table is in step again by then. */
static void an_entry_is_read_again_under_the_lock(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW | GPTE_A | GPTE_D);
	log_start(&c->mmu);
	assert_int_equal(load_on(1, &test_second, pte) & GPTE_ADDRESS, FRAME_A);
	machine_store(c, machine_pte(c, root, TEST_VIRT, 1) + 8, 0); /* a table unsync: no quick path */
	machine_store(c, machine_pte(c, root, TEST_VIRT, 2) + 8 * 100, 0);
	assert_true(mmu_write(&c->mmu, gpa(pte), &(uint64_t){FRAME_A | TEST_RW | GPTE_A | GPTE_D}, 8));
	park_at(c, "fault-walked", 0, repoint_and_sync);
	machine_load(c, TEST_VIRT);
	parked();
	assert_int_equal(mmu_audit(&c->mmu), 0);
	machine_invlpg(c, TEST_VIRT);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
	harvest_on(2, c, 0);
	machine_store(c, TEST_VIRT, 0xbb);
	assert_true(is_dirty(c, FRAME_B));
	assert_false(is_dirty(c, FRAME_A));
}

static void repoint_through_the_tlb(struct machine *c)
{
	(void)c;
	assert_true(slips_on(1, &test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
	machine_exit(&test_second);
}

/* The second vCPU stays in guest mode with a writable translation of the table, which is unsync. */
static void open_the_table(struct machine *c)
{
	in_step(c, FRAME_A | TEST_RW | GPTE_A | GPTE_D);
	test_second.stay = true;
	assert_true(store_on(1, &test_second, pte, FRAME_A | TEST_RW | GPTE_A | GPTE_D));
	assert_non_null(c->mmu.unsync);
}

/* H40a, H50: a sync protects, waits, and only then reads: a store before the acknowledgement is seen. */
static void a_store_during_a_syncs_flush_is_read(void **state)
{
	struct machine *c = *state;

	open_the_table(c);
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, repoint_through_the_tlb);
	machine_cr3(c, root);
	host_set_park(0, 0);
	/* nobody has waited for it: then it stores now, into a table that is in step */
	if (!parking.done)
		slips_on(1, &test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D);
	machine_exit(&test_second);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
	assert_true(parking.done);
}

static void load_cr3_beside_it(struct machine *c)
{
	(void)c;
	host_thread_cpu(1);
	machine_exit(&test_second);
	assert_false(mmu_load_cr3(&test_second.vcpu, test_second.vcpu.paging.cr3));
	assert_int_equal(mmu_set_paging(&test_second.vcpu, &test_second.vcpu.paging, &test_second.fault), MMU_RETRY);
}

/* H50: a table that one vCPU is about to read is not in step yet for another's CR3 load. */
static void a_sync_underway_is_not_over(void **state)
{
	struct machine *c = *state;

	open_the_table(c);
	assert_true(slips_on(1, &test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
	park_at(c, "sync-flushed", 0, load_cr3_beside_it);
	machine_cr3(c, root);
	parked();
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xb);
}

/* H50: what went unsync is read at the sync, by INVLPG and by a CR3 load. */
static void an_unsync_table_is_read_again(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	machine_store(c, pte, FRAME_B | TEST_RW);
	machine_invlpg(c, TEST_VIRT);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
	machine_store(c, pte, FRAME_A | TEST_RW);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xa);
}

static void clear_the_pte(struct machine *c)
{
	*raw(c, pte) = (atomic64){0};
}

/* H50, H35: the guest clears an entry between our load of it and A; in the quick path and in the slow one. */
static void an_entry_cleared_meanwhile_stays_clear(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	for (unsigned slow = 0; slow < 2; slow++) {
		uint64_t entry = FRAME_A | TEST_RW;

		assert_true(mmu_write(&c->mmu, gpa(pte), &entry, sizeof entry));
		if (slow) /* an upper table unsync */
			machine_store(c, machine_pte(c, root, TEST_VIRT, 2) + 8 * 100, 0);
		park_at(c, slow ? "walk-read" : "quick-read", 0, clear_the_pte);
		expect_fault(c, TEST_VIRT, 0, 0);
		parked();
		assert_int_equal(machine_peek(c, pte), 0);
		machine_cr3(c, root);
	}
}

/* H35: A and D, set by the quick path and by the slow one, are stores to the guest's memory. */
static void accessed_and_dirty_bits_are_logged(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	log_start(&c->mmu);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t entry = FRAME_A | TEST_RW | (i & 1 ? GPTE_A : 0), value = 0;

		assert_true(mmu_write(&c->mmu, gpa(pte), &entry, sizeof entry));
		if (i & 2)
			machine_store(c, machine_pte(c, root, TEST_VIRT, 2) + 8 * 100, 0);
		harvest_on(2, c, 0);
		assert_false(is_dirty(c, pte));
		assert_true(machine_access(c, TEST_VIRT, i & 1 ? PF_W : 0, &value));
		assert_true(machine_peek(c, pte) & (i & 1 ? GPTE_D : GPTE_A));
		assert_true(is_dirty(c, pte));
		machine_cr3(c, root);
	}
}

/* H50, CVE-2024-35804: a host store to a table in step is logged, and no spte of those bytes is left. */
static void a_host_store_leaves_no_spte_standing(void **state)
{
	struct machine *c = *state;
	uint64_t entry = FRAME_B | TEST_RW;

	in_step(c, FRAME_A | TEST_RW);
	log_start(&c->mmu);
	harvest_on(2, c, 0);
	assert_null(c->mmu.unsync);
	assert_true(mmu_write(&c->mmu, gpa(pte), &entry, sizeof entry));
	assert_true(is_dirty(c, pte));
	assert_int_equal(machine_spte(c, TEST_VIRT), 0);
	machine_invlpg(c, TEST_VIRT);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
}

/* H25: a table that changed while nothing led to it, linked where nothing was present, with no flush. */
static void a_table_is_read_before_it_is_linked(void **state)
{
	struct machine *c = *state;
	uint64_t pde, table;

	in_step(c, FRAME_A | TEST_RW);
	machine_store(c, pte + 8, FRAME_A | TEST_RW);
	assert_int_equal(machine_load(c, TEST_VIRT + PAGE_SIZE), 0xa);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	table = machine_load(c, pde);
	machine_store(c, pde, 0);
	machine_invlpg(c, TEST_VIRT);
	machine_store(c, pte, FRAME_B | TEST_RW);
	machine_store(c, pte + 8, FRAME_B | TEST_RW);
	machine_store(c, machine_pte(c, root, TEST_VIRT + 0x400000, 2), table);
	assert_int_equal(machine_load(c, TEST_VIRT + 0x400000), 0xb);
	assert_int_equal(machine_load(c, TEST_VIRT + 0x400000 + PAGE_SIZE), 0xb); /* through the link that there is now */
}

/* H25: table A maps table B; both unsync; the sync of A must not open B, which is in step by then. */
static void a_sync_does_not_open_another_table(void **state)
{
	struct machine *c = *state;
	uint64_t window = TEST_VIRT + 0x600000, table, other;

	in_step(c, FRAME_A | TEST_RW);
	/* the table over TEST_VIRT seen through an entry of another table, which goes unsync with it */
	machine_map(c, root, window, (pte & ~0xfffUL) | TEST_RW | GPTE_A | GPTE_D, 1);
	table = machine_pte(c, root, window, 1);
	for (unsigned order = 0; order < 2; order++) {
		machine_load(c, window);
		other = (pte & ~0xfffUL) | TEST_RW | GPTE_A | GPTE_D | (order ? GPTE_NX : 0);
		if (order)
			machine_store(c, table, other);
		machine_store(c, window + 8 * gpte_index(gva(TEST_VIRT), 1), FRAME_A | TEST_RW);
		if (!order)
			machine_store(c, table, other);
		assert_true(c->mmu.unsync && c->mmu.unsync->unsync_next);
		machine_cr3(c, root);
		assert_int_equal(mmu_audit(&c->mmu), 0);
		assert_int_equal(machine_load(c, TEST_VIRT), 0xa);
		machine_store(c, window + 8 * gpte_index(gva(TEST_VIRT), 1), FRAME_B | TEST_RW);
		machine_invlpg(c, TEST_VIRT);
		assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
		machine_store(c, window + 8 * gpte_index(gva(TEST_VIRT), 1), FRAME_A | TEST_RW);
		machine_invlpg(c, TEST_VIRT);
	}
}

static void fault_on_a_dying_root(struct machine *c)
{
	struct shadow *dead = test_second.vcpu.root[0];

	(void)c;
	machine_exit(&test_second);
	host_thread_cpu(1);
	assert_int_equal(load_relaxed(&dead->state), SHADOW_DYING);
	assert_int_equal(mmu_fault(&test_second.vcpu, gva(TEST_VIRT), 0, &test_second.fault), MMU_RETRY);
	assert_true(test_second.vcpu.root_stale);
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		assert_int_equal(load_relaxed(&dead->table->spte[i]), 0);
}

/* H40c: a root that was taken apart is not filled again by the vCPU that has it loaded. */
static void a_dying_table_is_not_filled_again(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	test_second.stay = true;
	load_on(1, &test_second, TEST_VIRT);
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, fault_on_a_dying_root);
	mmu_zap_all(&c->mmu);
	parked();
	host_set_kick(hazard_kick);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xa);
}

static void rely_on_it(struct machine *c)
{
	struct mmu_vcpu *v = &test_second.vcpu;

	(void)c;
	machine_exit(&test_second);
	host_thread_cpu(1);
	assert_false(mmu_load_cr3(v, v->paging.cr3));
	assert_int_equal(mmu_set_paging(v, &v->paging, &test_second.fault), MMU_RETRY);
	assert_false(mmu_invlpg(v, gva(TEST_VIRT)));
	assert_true(v->sync_wanted);
}

/* H40: tables that were killed and not yet flushed out: another vCPU's CR3 load and INVLPG wait for it. */
static void a_burial_underway_is_not_over(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	test_second.stay = true;
	load_on(1, &test_second, TEST_VIRT);
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, rely_on_it);
	mmu_zap_all(&c->mmu);
	parked();
	host_set_kick(hazard_kick);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xa);
}

static void zap_again(struct machine *c)
{
	machine_exit(&test_second);
	host_thread_cpu(2);
	mmu_zap_all(&c->mmu);
}

/* H27: two zap-alls at once. */
static void nothing_stale_survives_two_zaps_at_once(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	test_second.stay = true;
	load_on(1, &test_second, TEST_VIRT);
	*raw(c, pte) = (atomic64){FRAME_B | TEST_RW};
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, zap_again);
	mmu_zap_all(&c->mmu);
	parked();
	host_set_kick(hazard_kick);
	assert_true(nothing_is_mapped(c));
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xb);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
}

#define AREAS 40u /* each with a table of its own: more than a zap-all takes before its first flush */

static void zap_all_that_is_left(struct machine *c)
{
	zap_again(c);
	for (struct shadow *s = c->mmu.all; s; s = s->next)
		assert_int_equal(load_relaxed(&s->state), SHADOW_DYING);
}

/* H27: a zap-all in the midst of another one leaves no table alive to the first. */
static void a_zap_beside_another_leaves_nothing_alive(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	for (unsigned i = 0; i < AREAS; i++) {
		machine_map(c, root, TEST_VIRT + (2 + i) * 0x200000UL, FRAME_A | TEST_RW, 1);
		machine_load(c, TEST_VIRT + (2 + i) * 0x200000UL);
	}
	test_second.stay = true;
	load_on(1, &test_second, TEST_VIRT);
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, zap_all_that_is_left);
	mmu_zap_all(&c->mmu);
	parked();
	host_set_kick(hazard_kick);
	assert_int_equal(load_relaxed(&c->mmu.dying), 0);
	assert_int_equal(machine_load(c, TEST_VIRT + AREAS * 0x200000UL), 0xa);
}

/* CVE-2026-53359: frame 0 as a table and as the first of a large page's pieces, under one entry. */
static void a_child_is_reused_in_its_own_role_alone(void **state)
{
	struct machine *c = *state;
	uint64_t pde;

	in_step(c, FRAME_A | TEST_RW);
	log_start(&c->mmu); /* pieces of 4 KiB */
	pde = machine_pte(c, root, TEST_OTHER, 2);
	*raw(c, 8 * sizeof(uint64_t)) = (atomic64){FRAME_A | TEST_RW};
	*raw(c, 8 * PAGE_SIZE) = (atomic64){8};
	for (unsigned i = 0; i < 4; i++) {
		machine_store(c, pde, TEST_RW | (i % 2 ? 0 : GPTE_PS));
		machine_invlpg(c, TEST_OTHER);
		assert_int_equal(machine_load(c, TEST_OTHER + 8 * PAGE_SIZE), i % 2 ? 0xa : 8);
	}
}

/* CVE-2021-38198: two entries of different rights to one table are two shadows of it. */
static void rights_come_from_every_level(void **state)
{
	struct machine *c = *state;
	uint64_t pde, value = 1;

	in_step(c, FRAME_A | TEST_RW);
	pde = machine_load(c, machine_pte(c, root, TEST_VIRT, 2));
	machine_store(c, machine_pte(c, root, TEST_OTHER, 2), pde & ~(GPTE_W | GPTE_U));
	machine_invlpg(c, TEST_OTHER);
	assert_true(machine_access(c, TEST_VIRT, PF_U | PF_W, &value));
	assert_int_equal(machine_load(c, TEST_OTHER), 1); /* its shadow is linked */
	expect_fault(c, TEST_OTHER, PF_U, PF_P | PF_U);
	expect_fault(c, TEST_OTHER, PF_W, PF_P | PF_W);
	assert_int_equal(machine_load(c, TEST_OTHER), 1);
}

/* XSA-173: an entry whose address does not fit is a reserved-bit fault, never a smaller frame. */
static void no_frame_number_is_truncated(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	for (unsigned bit = c->mmu.phys_bits; bit < 52; bit++) {
		machine_store(c, pte, FRAME_A | TEST_RW | 1UL << bit);
		machine_invlpg(c, TEST_VIRT);
		expect_fault(c, TEST_VIRT, 0, PF_P | PF_RSVD);
	}
}

/* XSA-168: no address is too strange for an INVLPG. */
static void invlpg_takes_any_address(void **state)
{
	struct machine *c = *state;

	in_step(c, FRAME_A | TEST_RW);
	for (unsigned bit = 0; bit < 64; bit++) {
		machine_invlpg(c, 1UL << bit);
		machine_invlpg(c, ~0UL << bit);
		machine_store(c, pte + 8, 0);
	}
	assert_int_equal(machine_load(c, TEST_VIRT), 0xa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(an_entry_is_found_where_it_was_filed),
		HAZARD_TEST(another_frame_is_dropped_before_the_install),
		HAZARD_TEST(an_entry_is_read_again_under_the_lock),
		HAZARD_TEST(a_store_during_a_syncs_flush_is_read),
		HAZARD_TEST(a_sync_underway_is_not_over),
		HAZARD_TEST(an_unsync_table_is_read_again),
		HAZARD_TEST(an_entry_cleared_meanwhile_stays_clear),
		HAZARD_TEST(accessed_and_dirty_bits_are_logged),
		HAZARD_TEST(a_host_store_leaves_no_spte_standing),
		HAZARD_TEST(a_table_is_read_before_it_is_linked),
		HAZARD_TEST(a_sync_does_not_open_another_table),
		HAZARD_TEST(a_dying_table_is_not_filled_again),
		HAZARD_TEST(a_burial_underway_is_not_over),
		HAZARD_TEST(nothing_stale_survives_two_zaps_at_once),
		HAZARD_TEST(a_zap_beside_another_leaves_nothing_alive),
		HAZARD_TEST(a_child_is_reused_in_its_own_role_alone),
		HAZARD_TEST(rights_come_from_every_level),
		HAZARD_TEST(no_frame_number_is_truncated),
		HAZARD_TEST(invlpg_takes_any_address),
	};

	return cmocka_run_group_tests_name("hazards of page tables", tests, 0, 0);
}
