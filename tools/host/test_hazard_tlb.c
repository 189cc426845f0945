/* SPDX-License-Identifier: MIT */
/* Stale translations: flushes, acknowledgements, what is owed, ids on several CPUs. A second vCPU stays in guest mode
 * with a warm TLB; a flush that was missed lets a store of it slip through, and wrong data shows. */
#include "tools/host/hazard_test.h"

static uint64_t pte_at;
static bool slipped;

/* TEST_FREE, which is mapped or was, becomes the level-1 table over TEST_OTHER. Nothing else needs a flush for it. */
static void use_as_a_table(struct machine *c)
{
	assert_null(c->mmu.unsync);
	assert_int_equal(machine_load(c, TEST_OTHER), 0xa);
}

/* The gpte of TEST_VIRT, by a host store: its spte is dropped, no page table is opened for writes, nobody flushes. */
static void change_pte(struct machine *c, uint64_t entry)
{
	assert_true(mmu_write(&c->mmu, gpa(pte_at), &entry, sizeof entry));
}

/* The second vCPU in guest mode with a writable translation of TEST_FREE, whose first word is a gpte for FRAME_A. */
static void warm_up(struct machine *c)
{
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	pte_at = machine_pte(c, c->vcpu.paging.cr3, TEST_VIRT, 1);
	test_second.stay = true;
	assert_true(store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	assert_true(slips_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
}

/* The second vCPU tries to repoint the table. If it could, the guest must see it at its next CR3 load. */
static void try_to_slip(struct machine *c)
{
	slipped = slips_on(1, &test_second, TEST_VIRT, FRAME_B | TEST_RW);
	machine_cr3(c, c->vcpu.paging.cr3);
	assert_int_equal(machine_load(c, TEST_OTHER), slipped ? 0xb : 0xa);
}

/* H32: unmapped, then a page table; the other vCPU's TLB still writes. */
static void an_unmapped_page_is_flushed_before_it_is_a_table(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	warm_up(c);
	change_pte(c, 0);
	assert_true(slips_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW)); /* it has not flushed, and need not have */
	use_as_a_table(c);
	try_to_slip(c);
}

static void warm_up_again(struct machine *c)
{
	machine_exit(&test_second);
	warm_up(c);
}

/* H32: the same with a mapping that a sync narrowed, after its flush. */
static void a_narrowed_page_is_flushed_before_it_is_a_table(void **state)
{
	struct machine *c = *state;
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW);

	warm_up(c);
	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P | GPTE_U | GPTE_A | GPTE_D, 1);
	park_at(c, "sync-flushed", 0, warm_up_again);
	machine_cr3(c, root);
	parked();
	assert_true(slips_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	use_as_a_table(c);
	try_to_slip(c);
}

/* H32: unmapped, then harvested; no W is left for the harvest to clear. */
static void a_harvest_flushes_though_it_cleared_no_w(void **state)
{
	struct machine *c = *state;
	uint64_t copy;
	struct log_round r;

	two_vcpus(c, TEST_FREE | TEST_RW);
	log_start(&c->mmu);
	harvest_on(2, c, 0);
	warm_up(c);
	change_pte(c, 0);
	assert_true(slips_on(1, &test_second, TEST_VIRT, 1));
	harvest_on(2, c, &r);
	assert_true(r.pages > 0);
	assert_int_equal(r.protected, 0);
	copy = machine_peek(c, TEST_FREE);
	slips_on(1, &test_second, TEST_VIRT, 2);
	assert_true(machine_peek(c, TEST_FREE) == copy || is_dirty(c, TEST_FREE));
}

static void shadow_it_meanwhile(struct machine *c)
{
	host_thread_cpu(0);
	use_as_a_table(c);
	slipped = slips_on(1, &test_second, TEST_VIRT, FRAME_B | TEST_RW);
}

/* H12: a walker has cleared W, and has not flushed yet, when the page becomes a table. */
static void a_table_is_flushed_though_w_was_clear_already(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	log_start(&c->mmu);
	harvest_on(2, c, 0);
	warm_up(c);
	park_at(c, "log-protected", 0, shadow_it_meanwhile);
	harvest_on(2, c, 0);
	parked();
	machine_cr3(c, c->vcpu.paging.cr3);
	assert_int_equal(machine_load(c, TEST_OTHER), slipped ? 0xb : 0xa);
}

static void store_and_leave(struct machine *c)
{
	(void)c;
	assert_true(slips_on(1, &test_second, TEST_VIRT, 77));
	machine_exit(&test_second);
}

/* H13: an acknowledgement comes late, and the page was written meanwhile. */
static void a_harvest_waits_for_every_acknowledgement(void **state)
{
	struct machine *c = *state;
	uint64_t copy;

	two_vcpus(c, TEST_FREE | TEST_RW);
	log_start(&c->mmu);
	harvest_on(2, c, 0);
	warm_up(c);
	host_set_kick(0);
	park_at(c, "tlb-wait", 10, store_and_leave);
	harvest_on(2, c, 0);
	host_set_park(0, 0);
	copy = machine_peek(c, TEST_FREE);
	slips_on(1, &test_second, TEST_VIRT, 88);
	assert_true(machine_peek(c, TEST_FREE) == copy || is_dirty(c, TEST_FREE));
	assert_true(parking.done);
	assert_int_equal(copy, 77);
}

static void bump(struct machine *c)
{
	tlb_bump(&c->mmu);
}

/* H30: the generation moves between the announcement and the look at it. */
static void an_entry_announces_itself_before_it_looks(void **state)
{
	struct machine *c = *state;

	machine_store(c, TEST_FREE, 1);
	park_at(c, "tlb-enter", 0, bump);
	assert_int_equal(mmu_enter(&c->vcpu, host_cpu()), MMU_FLUSH);
	parked();
	assert_int_equal(load_relaxed(&c->vcpu.in_guest), 0);
}

/* H30: the root died while its vCPU was outside. */
static void an_entry_that_is_behind_looks_at_its_root(void **state)
{
	struct machine *c = *state;

	machine_long_mode(c);
	machine_store(c, TEST_FREE, 1);
	mmu_zap_all(&c->mmu);
	assert_int_equal(mmu_enter(&c->vcpu, host_cpu()), MMU_RELOAD);
	assert_int_equal(machine_load(c, TEST_FREE), 1);
}

/* H30: CR3 is loaded with a root that died while its vCPU was outside. */
static void a_dead_root_is_not_loaded(void **state)
{
	struct machine *c = *state;

	machine_long_mode(c);
	machine_store(c, TEST_FREE, 1);
	machine_exit(c);
	assert_true(mmu_load_cr3(&c->vcpu, c->vcpu.paging.cr3));
	mmu_zap_all(&c->mmu);
	assert_false(mmu_load_cr3(&c->vcpu, c->vcpu.paging.cr3));
	assert_int_equal(machine_load(c, TEST_FREE), 1);
}

/* H47: INVLPG on one CPU, and back on the other with the same id. */
static void a_vcpu_that_comes_back_to_a_cpu_flushes_there(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	store_on(1, c, TEST_VIRT, 5);
	machine_map(c, root, TEST_VIRT, 0, 1);
	machine_invlpg(c, TEST_VIRT);
	host_thread_cpu(1);
	expect_fault(c, TEST_VIRT, 0, 0);
}

#define PIECE 0x101000UL
#define PIECE_OTHER 0x103000UL
#define PIECE_LARGE 0x200000UL

static void fill_pieces(struct machine *c)
{
	(void)c;
	assert_int_equal(load_on(1, &test_second, TEST_VIRT + PIECE), 2);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT + PIECE_OTHER), 2);
}

/* H48: a large page in pieces, repointed; one INVLPG of each vCPU drops all pieces. */
static void one_invlpg_drops_every_piece_of_a_large_page(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pde;

	log_start(&c->mmu); /* pieces of 4 KiB */
	machine_map(c, root, TEST_VIRT, 0x200000 | TEST_RW | GPTE_PS, 2);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	*raw(c, 0x200000 + PIECE) = *raw(c, 0x200000 + PIECE_OTHER) = (atomic64){2};
	*raw(c, PIECE) = *raw(c, PIECE_OTHER) = (atomic64){1};
	machine_cr3(c, root);
	machine_join(&test_second, c);
	assert_int_equal(machine_load(c, TEST_VIRT + PIECE), 2);
	assert_int_equal(machine_load(c, TEST_VIRT + PIECE_OTHER), 2);
	machine_store(c, pde, 0 | TEST_RW | GPTE_PS);
	park_at(c, "sync-flushed", 0, fill_pieces); /* the second vCPU's own, up to here */
	machine_invlpg(c, TEST_VIRT + PIECE);
	parked();
	host_thread_cpu(1);
	machine_invlpg(&test_second, TEST_VIRT + PIECE);
	assert_int_equal(machine_load(&test_second, TEST_VIRT + PIECE_OTHER), 1);
	assert_int_equal(machine_load(&test_second, TEST_VIRT + PIECE), 1);
	host_thread_cpu(0);
	assert_int_equal(machine_load(c, TEST_VIRT + PIECE_OTHER), 1);
}

static void write_pieces(struct machine *c)
{
	(void)c;
	assert_true(store_on(1, &test_second, PIECE_LARGE, 2));
	assert_true(store_on(1, &test_second, PIECE_LARGE + PAGE_SIZE, 2));
}

/* H48: a large page narrowed in place: one leaf of ours, and as many TLB entries as a processor likes. */
static void one_invlpg_narrows_every_piece_of_a_large_page(void **state)
{
	struct machine *c = *state;
	uint64_t root, pde;

	c->next_table = 0x100;
	root = machine_table(c);
	for (uint64_t a = 0; a < PIECE_LARGE; a += PAGE_SIZE)
		machine_map(c, root, a, a | GPTE_P | GPTE_W, 1);
	machine_map(c, root, PIECE_LARGE, PIECE_LARGE | GPTE_PS | TEST_RW, 2);
	pde = machine_pte(c, root, PIECE_LARGE, 2);
	machine_paging(c, CR0_PE | CR0_PG | CR0_WP, root, EFER_LME | EFER_LMA | EFER_NXE);
	machine_join(&test_second, c);
	machine_store(c, PIECE_LARGE, 1);
	machine_store(c, PIECE_LARGE + PAGE_SIZE, 1);
	assert_int_equal(spte_level(machine_spte(c, PIECE_LARGE)), 2);
	machine_store(c, pde, machine_peek(c, pde) & ~GPTE_W);
	park_at(c, "sync-flushed", 0, write_pieces);
	machine_invlpg(c, PIECE_LARGE);
	parked();
	assert_int_equal(spte_level(machine_spte(c, PIECE_LARGE)), 2);
	expect_fault(c, PIECE_LARGE + PAGE_SIZE, PF_W, PF_P | PF_W);
	host_thread_cpu(1);
	machine_invlpg(&test_second, PIECE_LARGE);
	expect_fault(&test_second, PIECE_LARGE + PAGE_SIZE, PF_W, PF_P | PF_W);
	expect_fault(&test_second, PIECE_LARGE, PF_W, PF_P | PF_W);
}

static void unmap_during_a_flush(struct machine *c)
{
	machine_exit(&test_second);
	store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW); /* it has flushed, and filled its TLB again */
	host_thread_cpu(0);
	change_pte(c, 0);
}

/* H46: a narrowing during a full flush is not covered by it. */
static void what_is_narrowed_during_a_flush_stays_owed(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	warm_up(c);
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, unmap_during_a_flush);
	host_thread_cpu(2);
	tlb_flush(&c->mmu);
	parked();
	host_thread_cpu(0);
	host_set_kick(hazard_kick);
	use_as_a_table(c);
	try_to_slip(c);
}

static void flush_and_fill_again(struct machine *c)
{
	host_thread_cpu(2);
	tlb_flush(&c->mmu);
	store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW);
}

/* H46: a full flush just before an spte goes covers nothing of it. */
static void it_is_owed_once_the_spte_changed_and_not_before(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	warm_up(c);
	park_at(c, "drop-start", 0, flush_and_fill_again);
	change_pte(c, 0);
	parked();
	use_as_a_table(c);
	try_to_slip(c);
}

static void look_at_what_is_owed(struct machine *c)
{
	assert_true(tlb_owing(&c->mmu));
}

/* H46: a protection that finds the chain without the entry finds it owed. */
static void it_is_owed_before_the_entry_leaves_its_chain(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	warm_up(c);
	tlb_flush(&c->mmu);
	assert_false(tlb_owing(&c->mmu));
	park_at(c, "drop-unlinked", 0, look_at_what_is_owed);
	change_pte(c, 0);
	parked();
}

#define LEAKS 24 /* tables that the other guest takes, more than its reserve holds */

static struct machine stranger;

/* The other guest takes tables, on the CPU that took the first guest's apart; then the warm vCPU walks on. */
static void let_a_stranger_in(struct machine *c)
{
	uint64_t value = 0;

	(void)c;
	host_thread_cpu(0);
	for (uint64_t i = 0; i < LEAKS; i++)
		assert_int_equal(machine_load(&stranger, TEST_VIRT + i * 0x200000), 0x5ec7e7);
	host_thread_cpu(1);
	machine_inside(&test_second, TEST_VIRT, 0, &value);
	assert_int_not_equal(value, 0x5ec7e7);
	machine_exit(&test_second);
}

/* H37, H9: a paging-structure cache leads to a table that is gone from memory; nobody else has it before the flush. */
static void no_table_is_reused_before_the_flush(void **state)
{
	struct machine *c = *state;
	uint64_t root, value = 0;

	machine_init(&stranger, TEST_PAGES, 256);
	root = machine_long_mode(&stranger);
	machine_store(&stranger, TEST_FREE, 0x5ec7e7);
	for (uint64_t i = 0; i < LEAKS; i++)
		machine_map(&stranger, root, TEST_VIRT + i * 0x200000, TEST_FREE | TEST_RW, 1);
	two_vcpus(c, TEST_FREE | TEST_RW);
	test_second.stay = true;
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0);
	test_second.cache[1].tlb[(TEST_VIRT >> PAGE_SHIFT) % MACHINE_TLB].valid = false; /* evicted */
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, let_a_stranger_in);
	mmu_zap_all(&c->mmu);
	parked();
	host_set_kick(hazard_kick);
	assert_int_equal(mmu_audit(&stranger.mmu), 0);
	machine_destroy(&stranger);
	host_thread_cpu(1);
	assert_true(machine_access(&test_second, TEST_VIRT, 0, &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(an_unmapped_page_is_flushed_before_it_is_a_table),
		HAZARD_TEST(a_narrowed_page_is_flushed_before_it_is_a_table),
		HAZARD_TEST(a_harvest_flushes_though_it_cleared_no_w),
		HAZARD_TEST(a_table_is_flushed_though_w_was_clear_already),
		HAZARD_TEST(a_harvest_waits_for_every_acknowledgement),
		HAZARD_TEST(an_entry_announces_itself_before_it_looks),
		HAZARD_TEST(an_entry_that_is_behind_looks_at_its_root),
		HAZARD_TEST(a_dead_root_is_not_loaded),
		HAZARD_TEST(a_vcpu_that_comes_back_to_a_cpu_flushes_there),
		HAZARD_TEST(one_invlpg_drops_every_piece_of_a_large_page),
		HAZARD_TEST(one_invlpg_narrows_every_piece_of_a_large_page),
		HAZARD_TEST(what_is_narrowed_during_a_flush_stays_owed),
		HAZARD_TEST(it_is_owed_once_the_spte_changed_and_not_before),
		HAZARD_TEST(it_is_owed_before_the_entry_leaves_its_chain),
		HAZARD_TEST_LIFO(no_table_is_reused_before_the_flush),
	};

	return cmocka_run_group_tests_name("hazards of the TLB", tests, 0, 0);
}
