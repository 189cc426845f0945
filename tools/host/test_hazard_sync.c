/* SPDX-License-Identifier: MIT */
/* One vCPU protects a guest table, reads it again or takes its shadow apart, and another does the same or relies on it
 * between two of the steps. The third vCPU of some tests is the one with a warm TLB. */
#include "tools/host/hazard_test.h"

#define TEST_THIRD (TEST_VIRT + 0x400000) /* by another entry, of other rights, to the table over TEST_OTHER */

static struct machine third;
static uint64_t root, pte;
static bool slipped, in_guest;
static uint64_t seen;

static int setup(void **state)
{
	third.vcpu.mmu = 0;
	slipped = in_guest = false;
	return hazard_setup(state);
}

static int teardown(void **state)
{
	if (third.vcpu.mmu)
		machine_part(&third);
	return hazard_teardown(state);
}

#define SYNC_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* TEST_VIRT maps FRAME_A; every table is in step. */
static void in_step(struct machine *c)
{
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, FRAME_A | TEST_RW | GPTE_A | GPTE_D);
	pte = machine_pte(c, root, TEST_VIRT, 1);
}

/* What the vCPU reads at TEST_VIRT if it enters the guest now; 0: it does not get in, or faults. */
static uint64_t reads_now(struct machine *c)
{
	uint64_t value = 0;

	if (mmu_enter(&c->vcpu, host_cpu()) != MMU_ENTER)
		return 0;
	machine_inside(c, TEST_VIRT, 0, &value);
	machine_exit(c);
	return value;
}

static void cr3_beside_the_sync(struct machine *c)
{
	struct mmu_paging same = test_second.vcpu.paging;

	(void)c;
	machine_exit(&test_second);
	host_thread_cpu(1);
	if (mmu_set_paging(&test_second.vcpu, &same, &test_second.fault) == MMU_RETRY)
		return; /* until the other is through */
	seen = machine_load(&test_second, TEST_VIRT);
}

/* H50: one vCPU changes an entry and loads CR3 while another's sync is between its flush and its reading: the
 * table is not in step before the last entry is read. */
static void a_table_is_unsync_until_it_is_read(void **state)
{
	struct machine *c = *state;

	in_step(c);
	test_second.stay = true;
	assert_true(store_on(1, &test_second, pte, FRAME_A | TEST_RW | GPTE_A | GPTE_D));
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xa);
	assert_true(store_on(1, &test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
	seen = 0;
	park_at(c, "sync-flushed", 0, cr3_beside_the_sync);
	machine_cr3(c, root);
	parked();
	assert_int_equal(seen, 0);
	host_thread_cpu(1);
	machine_cr3(&test_second, root);
	assert_int_equal(machine_load(&test_second, TEST_VIRT), 0xb);
}

static void write_beside_the_sync(struct machine *c)
{
	(void)c;
	machine_exit(&test_second);
	assert_true(store_on(1, &test_second, pte + 8, FRAME_A | TEST_RW | GPTE_A | GPTE_D));
	host_thread_cpu(1);
	seen = machine_load(&test_second, TEST_VIRT + PAGE_SIZE);
	/* through the translation that the fault has opened */
	assert_true(machine_store(&test_second, pte + 8, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
}

/* H50: a write between a sync's flush and the end of its reading keeps the table unsync. */
static void a_table_written_while_it_is_read_stays_unsync(void **state)
{
	struct machine *c = *state;

	in_step(c);
	assert_true(store_on(1, &test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
	park_at(c, "sync-flushed", 0, write_beside_the_sync);
	machine_cr3(c, root);
	parked();
	assert_int_equal(seen, 0xa);
	assert_non_null(c->mmu.unsync);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_VIRT + PAGE_SIZE), 0xb);
}

/* The level-1 shadow that maps TEST_VIRT for c. */
static struct shadow *leaf_shadow(struct machine *c)
{
	unsigned level;

	return shadow_of_spte(shadow_walk(&c->vcpu, gva(TEST_VIRT), &level));
}

static struct shadow *dying;

static void kill_the_table(struct machine *c)
{
	struct shadow *s = leaf_shadow(c);

	lock_take(&c->mmu.lock);
	shadow_kill(s, &dying);
	lock_drop(&c->mmu.lock);
}

/* H40: another vCPU kills the table while an INVLPG is on its way to the lock. What was killed is no longer unsync, and
 * still linked: the INVLPG must not find nothing to do. */
static void an_invlpg_beside_a_kill_waits_for_the_burial(void **state)
{
	struct machine *c = *state;

	in_step(c);
	dying = 0;
	machine_store(c, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D);
	assert_int_equal(reads_now(c), 0xa); /* as it may, before INVLPG */
	park_at(c, "invlpg-walked", 0, kill_the_table);
	machine_invlpg(c, TEST_VIRT);
	parked();
	assert_int_not_equal(reads_now(c), 0xa);
	shadow_bury(&c->mmu, dying);
	assert_int_equal(machine_load(c, TEST_VIRT), 0xb);
}

/* H40: the same with the kill long before; nobody may fill, link or load what stands beside a burial. */
static void a_fault_beside_a_burial_links_nothing_old(void **state)
{
	struct machine *c = *state;
	uint64_t pde, table, value = 0;

	in_step(c);
	dying = 0;
	pde = machine_pte(c, root, TEST_VIRT, 2);
	table = machine_load(c, pde);
	machine_store(c, machine_pte(c, root, TEST_THIRD, 2), table);
	machine_cr3(c, root);
	machine_load(c, TEST_VIRT);
	kill_the_table(c);
	assert_true(load_relaxed(&c->mmu.burying) > 0);
	assert_int_equal(mmu_fault(&c->vcpu, gva(TEST_THIRD), 0, &c->fault), MMU_RETRY);
	shadow_bury(&c->mmu, dying);
	assert_true(machine_access(c, TEST_THIRD, 0, &value));
	assert_int_equal(value, 0xa);
}

static void kick(unsigned cpu)
{
	if (load_relaxed(&test_second.vcpu.cpu) == cpu)
		machine_exit(&test_second);
}

/* The third vCPU uses TEST_FREE as a table in another role, and relies on it. */
static void shadow_it_again(struct machine *c)
{
	(void)c;
	host_thread_cpu(3);
	assert_int_equal(machine_load(&third, TEST_THIRD), 0xa);
	slipped = slips_on(1, &test_second, TEST_VIRT, FRAME_B | TEST_RW);
	machine_cr3(&third, root);
	seen = machine_load(&third, TEST_THIRD);
}

/* H46: two vCPUs shadow one frame in two roles. The second finds it protected already, and the first has not flushed
 * yet. */
static void two_shadowers_of_one_frame_both_flush(void **state)
{
	struct machine *c = *state;

	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, TEST_FREE | TEST_RW);
	machine_map(c, root, TEST_THIRD, TEST_FREE | GPTE_P | GPTE_W, 2);
	machine_cr3(c, root);
	machine_load(c, TEST_VIRT);
	machine_join(&third, c);
	host_thread_cpu(3);
	machine_load(&third, TEST_VIRT);
	host_thread_cpu(0);
	test_second.stay = true;
	assert_true(store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	tlb_flush(&c->mmu); /* nothing is owed */
	assert_true(store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	assert_null(c->mmu.unsync);
	assert_false(tlb_owing(&c->mmu));
	host_set_kick(kick);
	park_at(c, "sync-asking", 0, shadow_it_again);
	assert_int_equal(machine_load(c, TEST_OTHER), slipped ? 0xb : 0xa);
	parked();
	assert_int_equal(seen, slipped ? 0xb : 0xa);
}

static void use_it_meanwhile(struct machine *c)
{
	(void)c;
	host_thread_cpu(3);
	mmu_fault(&third.vcpu, gva(TEST_OTHER + PAGE_SIZE), 0, &third.fault);
	slipped = slips_on(1, &test_second, TEST_VIRT + 8, FRAME_B | TEST_RW);
}

/* H40b: a table that one vCPU is about to protect is no use to another yet; a store before the flush is read. */
static void a_table_under_construction_is_not_used(void **state)
{
	struct machine *c = *state;

	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, TEST_FREE | TEST_RW);
	machine_join(&third, c);
	host_thread_cpu(3);
	machine_load(&third, TEST_VIRT);
	host_thread_cpu(0);
	test_second.stay = true;
	assert_true(store_on(1, &test_second, TEST_VIRT, FRAME_A | TEST_RW));
	assert_true(store_on(1, &test_second, TEST_VIRT + 8, FRAME_A | TEST_RW));
	host_set_kick(kick);
	park_at(c, "sync-asking", 0, use_it_meanwhile);
	machine_load(c, TEST_OTHER);
	parked();
	assert_true(slipped);
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, TEST_OTHER + PAGE_SIZE), 0xb);
}

static void make_it_a_table(struct machine *c)
{
	(void)c;
	assert_int_equal(load_on(1, &test_second, TEST_OTHER), 0xa);
}

/* H39: the page becomes a page table between a fault's walk and its lock: the fault must not open it as plain memory.
 */
static void a_page_is_no_table_only_under_the_lock(void **state)
{
	struct machine *c = *state;

	in_step(c);
	*raw(c, TEST_FREE) = (atomic64){FRAME_A | TEST_RW};
	machine_map(c, root, TEST_VIRT + PAGE_SIZE, TEST_FREE | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_store(c, machine_pte(c, root, TEST_VIRT, 2) + 8 * 100, 0); /* an upper table unsync: the slow path */
	park_at(c, "fault-walked", 0, make_it_a_table);
	machine_store(c, TEST_VIRT + PAGE_SIZE, FRAME_B | TEST_RW);
	parked();
	assert_int_equal(mmu_audit(&c->mmu), 0);
	host_thread_cpu(1);
	machine_cr3(&test_second, root);
	assert_int_equal(machine_load(&test_second, TEST_OTHER), 0xb);
}

/* 512 pages at TEST_VIRT, which show FRAME_A and FRAME_B by turns, and their neighbours after the next call. */
static void map_by_turns(struct machine *c, unsigned turn)
{
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		machine_store(c, (pte & ~0xfffUL) + i * 8, ((i + turn) % 2 ? FRAME_B : FRAME_A) | TEST_RW | GPTE_A | GPTE_D);
}

static void see_by_turns(struct machine *c, unsigned turn)
{
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		assert_int_equal(machine_load(c, TEST_VIRT + i * PAGE_SIZE), (i + turn) % 2 ? 0xb : 0xa);
}

/* H40d: a table is read again in steps; none of its entries is skipped at a lock break. */
static void every_entry_is_read_again(void **state)
{
	struct machine *c = *state;

	in_step(c);
	for (unsigned turn = 0; turn < 3; turn++) {
		map_by_turns(c, turn);
		machine_cr3(c, root);
		see_by_turns(c, turn);
	}
}

static unsigned breaks;

/* At each lock break of the demolition: another vCPU loads what it finds, and a walker passes. */
static void at_a_break(void *ctx, const char *point)
{
	struct machine *c = ctx;

	if (strcmp(point, "rcu-lock"))
		return;
	breaks++;
	host_thread_cpu(1);
	mmu_fault(&test_second.vcpu, gva(TEST_VIRT + breaks * PAGE_SIZE), 0, &test_second.fault);
	harvest_on(3, c, 0);
}

/* H40d: a table is taken apart in steps, with others at work between them; nothing of it stays. */
static void a_demolition_keeps_its_place(void **state)
{
	struct machine *c = *state;
	struct chain *chain;

	in_step(c);
	map_by_turns(c, 0);
	machine_cr3(c, root);
	see_by_turns(c, 0);
	load_on(1, &test_second, TEST_VIRT);
	log_start(&c->mmu);
	chain = slot_chain(slot_find(&c->mmu, gpa_gfn(gpa(FRAME_B))), gpa_gfn(gpa(FRAME_B)), 1);
	assert_false(chain_empty(chain));
	breaks = 0;
	host_set_park(at_a_break, c);
	mmu_zap_all(&c->mmu);
	host_set_park(0, 0);
	assert_true(breaks > TABLE_ENTRIES / 64);
	assert_true(chain_empty(chain));
	assert_int_equal(mmu_audit(&c->mmu), 0);
	see_by_turns(c, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SYNC_TEST(a_table_is_unsync_until_it_is_read),
		SYNC_TEST(a_table_written_while_it_is_read_stays_unsync),
		SYNC_TEST(an_invlpg_beside_a_kill_waits_for_the_burial),
		SYNC_TEST(a_fault_beside_a_burial_links_nothing_old),
		SYNC_TEST(two_shadowers_of_one_frame_both_flush),
		SYNC_TEST(a_table_under_construction_is_not_used),
		SYNC_TEST(a_page_is_no_table_only_under_the_lock),
		SYNC_TEST(every_entry_is_read_again),
		SYNC_TEST(a_demolition_keeps_its_place),
	};

	return cmocka_run_group_tests_name("hazards of two flows that sync", tests, 0, 0);
}
