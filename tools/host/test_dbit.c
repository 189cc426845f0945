/* SPDX-License-Identifier: MIT */
/* Rounds of the log by D bits: the contract of test_log.c, without a fault for the log's sake; who takes D away tells the
 * bitmap (H34); from one mode into the other; what log=auto chooses. */
#include "mm/harvest.h"
#include "mm/leaf.h"
#include "mm/rcu.h"
#include "mm/replica.h"
#include "tools/host/hazard_test.h"

#define VIRT(i) (TEST_VIRT + (i) * PAGE_SIZE)
#define TABLES 40u /* leaf tables in the test of log=auto */
#define ROUNDS 24u

static uint64_t harvest(struct machine *c)
{
	struct log_round r;

	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	return r.pages;
}

/* Logged by D bits, the first round over. */
static void start(struct machine *c)
{
	log_set_mode(&c->mmu, LOG_DBIT);
	assert_int_equal(log_start(&c->mmu), LOG_DONE);
	assert_int_equal(harvest(c), mmu_pages(&c->mmu));
	assert_int_equal(harvest(c), 0);
}

/* The same with `pages` pages mapped at TEST_VIRT, A and D set in the guest's table, all loaded once. */
static uint64_t start_mapped(struct machine *c, unsigned pages)
{
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < pages; i++)
		machine_map(c, root, VIRT(i), (TEST_FREE + i * PAGE_SIZE) | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(c, root);
	start(c);
	for (unsigned i = 0; i < pages; i++)
		machine_load(c, VIRT(i));
	harvest(c); /* the guest's tables: A is set in them */
	return root;
}

static void writes_are_reported_and_take_no_fault(void **state)
{
	struct machine *c = *state;
	uint64_t faults;

	start_mapped(c, 8);
	faults = c->faults;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 8; i += 1 + round)
			machine_store(c, VIRT(i), round);
		assert_int_equal(harvest(c), (8 + round) / (1 + round));
	}
	assert_int_equal(c->faults, faults);
	assert_int_equal(harvest(c), 0);
	assert_int_equal(load_relaxed(&c->mmu.stats.protected), 0);
	assert_int_equal(load_relaxed(&c->mmu.stats.dbit_rounds), load_relaxed(&c->mmu.stats.rounds));
}

static void reads_report_nothing(void **state)
{
	struct machine *c = *state;

	start_mapped(c, 8);
	for (unsigned i = 0; i < 8; i++)
		machine_load(c, VIRT(i));
	assert_int_equal(harvest(c), 0);
}

static void a_write_through_one_of_many_aliases_is_reported(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < 100; i++)
		machine_map(c, root, VIRT(i), TEST_FREE | TEST_RW, 1);
	start(c);
	for (unsigned i = 0; i < 100; i++)
		machine_store(c, VIRT(i), i);
	harvest(c);
	for (unsigned i = 0; i < 100; i += 9) {
		machine_store(c, VIRT(i), i);
		assert_int_equal(harvest(c), 1);
	}
}

/* A warm TLB writes without a look at the leaf: the round's flush makes it forget. */
static void a_round_flushes(void **state)
{
	struct machine *c = *state;

	start_mapped(c, 1);
	c->stay = true;
	machine_store(c, VIRT(0), 1);
	machine_store(c, VIRT(0), 2);
	assert_int_equal(harvest(c), 1);
	machine_store(c, VIRT(0), 3);
	assert_int_equal(harvest(c), 1);
	c->stay = false;
}

static void zapped_pages_are_reported(void **state)
{
	struct machine *c = *state;

	start_mapped(c, 4);
	machine_store(c, VIRT(1), 1);
	machine_store(c, VIRT(2), 2);
	mmu_zap_all(&c->mmu);
	assert_true(is_dirty(c, TEST_FREE + PAGE_SIZE) && is_dirty(c, TEST_FREE + 2 * PAGE_SIZE));
	assert_int_equal(harvest(c), 2);
}

/* The guest takes the right to write away; its table is read again. */
static void a_leaf_that_loses_its_rights_is_reported(void **state)
{
	struct machine *c = *state;
	uint64_t root = start_mapped(c, 2);

	machine_store(c, machine_pte(c, root, VIRT(0), 1), TEST_FREE | TEST_RW | GPTE_A | GPTE_D);
	machine_cr3(c, root);
	machine_store(c, VIRT(0), 7);
	harvest(c);
	machine_store(c, VIRT(0), 8);
	machine_store(c, machine_pte(c, root, VIRT(0), 1), TEST_FREE | GPTE_P | GPTE_A | GPTE_D);
	machine_invlpg(c, VIRT(0));
	assert_true(is_dirty(c, TEST_FREE));
	harvest(c);
	assert_int_equal(harvest(c), 0);
}

static void a_page_that_becomes_a_table_is_reported(void **state)
{
	struct machine *c = *state;
	uint64_t root = start_mapped(c, 2);

	machine_map(c, root, TEST_OTHER, TEST_FREE | TEST_RW, 2);
	machine_cr3(c, root);
	harvest(c);
	machine_store(c, VIRT(0), FRAME_A | TEST_RW | GPTE_A); /* by D alone */
	assert_false(is_dirty(c, TEST_FREE));
	machine_load(c, TEST_OTHER);
	assert_true(is_dirty(c, TEST_FREE));
}

/* A large leaf that an install made which read `not logging` just before: its D counts for all its pages, and it is split. */
static void a_large_leaf_counts_for_all_its_pages(void **state)
{
	struct machine *c = *state;

	start(c);
	mmu_zap_all(&c->mmu);
	harvest(c);
	fetch_sub_seq(&c->mmu.logging, 1);
	machine_store(c, TEST_FREE, 1);
	fetch_add_seq(&c->mmu.logging, 1);
	assert_int_equal(spte_level(machine_spte(c, TEST_FREE)), 2);
	for (unsigned i = 0; i < c->mmu.slot[1].words; i++)
		store_relaxed(&c->mmu.slot[1].bits[SLOT_DIRTY][i], 0); /* as a harvest at the same time takes them */
	machine_store(c, TEST_FREE + 7 * PAGE_SIZE, 1);
	assert_int_equal(harvest(c), 512);
	assert_int_equal(machine_spte(c, TEST_FREE) & (SPTE_W | SPTE_D), 0);
	machine_store(c, TEST_FREE + 7 * PAGE_SIZE, 2);
	assert_int_equal(spte_level(machine_spte(c, TEST_FREE + 7 * PAGE_SIZE)), 1);
	assert_int_equal(harvest(c), 1);
}

static spte_t *stood_on;

static void a_drop_beside_the_walk(struct machine *c)
{
	host_thread_cpu(0);
	mmu_zap_all(&c->mmu);
}

/* Another page's leaf goes while the walk is at the first: its bit is taken in this round. */
static void a_leaf_dropped_before_the_walk_comes_by_is_in_the_round(void **state)
{
	struct machine *c = *state;
	struct log_round r;

	start_mapped(c, 8);
	machine_store(c, VIRT(0), 1);
	machine_store(c, VIRT(7), 2);
	park_at(c, "dbit-clear", 0, a_drop_beside_the_walk);
	harvest_on(2, c, &r);
	parked();
	assert_int_equal(r.pages, 2);
}

static void drop_this_leaf(struct machine *c)
{
	host_thread_cpu(0);
	rcu_read_lock(RCU_PUBLISH);
	lock_take(&c->mmu.lock);
	shadow_drop(shadow_of_spte(stood_on), spte_index(stood_on));
	lock_drop(&c->mmu.lock);
	rcu_read_unlock(RCU_PUBLISH);
}

/* Its D is about to be cleared: what goes meanwhile does not come back. */
static void a_leaf_dropped_under_the_walk_is_in_the_round_and_gone(void **state)
{
	struct machine *c = *state;
	struct log_round r;
	unsigned level;

	start_mapped(c, 2);
	machine_store(c, VIRT(0), 1);
	stood_on = shadow_walk(&c->vcpu, gva(VIRT(0)), &level);
	park_at(c, "dbit-clear", 0, drop_this_leaf);
	harvest_on(2, c, &r);
	parked();
	assert_int_equal(r.pages, 1);
	assert_int_equal(load_relaxed(stood_on), 0);
}

static struct machine stranger;
static uint64_t found;

/* The table that the walk has come to is freed, and becomes another guest's, with a D in the same place. */
static void become_a_strangers(struct machine *c)
{
	unsigned level;

	host_thread_cpu(0);
	mmu_zap_all(&c->mmu);
	for (unsigned i = 0; i < 64; i++) {
		uint64_t at = TEST_VIRT + i * 0x200000UL;

		machine_store(&stranger, at, i);
		if (shadow_walk(&stranger.vcpu, gva(at), &level) == stood_on)
			found = load_relaxed(stood_on);
	}
	assert_true(found & SPTE_D);
}

static void a_walk_leaves_other_guests_alone(void **state)
{
	struct machine *c = *state;
	unsigned level, before = 0;
	uint64_t root;

	machine_init(&stranger, TEST_PAGES, 400);
	root = machine_long_mode(&stranger);
	for (unsigned i = 0; i < 64; i++)
		machine_map(&stranger, root, TEST_VIRT + i * 0x200000UL, TEST_FREE | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(&stranger, root);
	start_mapped(c, 1);
	machine_store(c, VIRT(0), 1);
	stood_on = shadow_walk(&c->vcpu, gva(VIRT(0)), &level);
	found = 0;
	while (load_relaxed(&c->mmu.leaf_table[before]) != (uint64_t)spte_table(stood_on))
		before++;
	park_at(c, "dbit-table", before, become_a_strangers);
	harvest_on(2, c, 0);
	parked();
	assert_int_equal(load_relaxed(stood_on), found);
	machine_destroy(&stranger);
}

/* Pages opened for reads have neither D nor a bit: back by protection, they are closed. */
static void from_d_bits_to_protection_and_back(void **state)
{
	struct machine *c = *state;

	start_mapped(c, 8);
	machine_store(c, VIRT(3), 1);
	c->mmu.log_mode = LOG_WP;
	assert_int_equal(harvest(c), 1);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(machine_spte(c, VIRT(i)) & (SPTE_W | SPTE_D), 0);
	machine_store(c, VIRT(4), 1);
	machine_store(c, VIRT(5), 1);
	assert_int_equal(harvest(c), 2);
	machine_store(c, VIRT(6), 1);
	c->mmu.log_mode = LOG_DBIT;
	assert_int_equal(harvest(c), 1);
	assert_int_equal(harvest(c), 0);
	machine_store(c, VIRT(6), 2);
	machine_store(c, VIRT(7), 2);
	assert_int_equal(harvest(c), 2);
}

/* A processor that sets D without another look at W. */
static void late_store(struct machine *c)
{
	assert_true(slips_on(0, c, VIRT(0), 5));
	assert_int_equal(machine_spte(c, VIRT(0)) & (SPTE_W | SPTE_D), SPTE_D);
}

static void no_store(struct machine *c)
{
	assert_false(slips_on(0, c, VIRT(0), 5));
}

/* From D bits to protection, with a translation of a page that was read; `act` comes behind its nth walk. The pages reported. */
static uint64_t pages_of_the_way_back(struct machine *c, unsigned nth, void (*act)(struct machine *c))
{
	struct log_round r;

	machine_load(c, VIRT(0));
	c->mmu.log_mode = LOG_WP;
	park_at(c, "dbit-walked", nth, act);
	harvest_on(2, c, &r);
	parked();
	return r.pages;
}

/* Between the walk that takes W away and the flush: nobody would look for that D again. */
static void a_d_set_late_on_the_way_to_protection_is_reported(void **state)
{
	struct machine *c = *state;

	c->late_d = true;
	start_mapped(c, 2);
	c->stay = true;
	assert_int_equal(pages_of_the_way_back(c, 0, late_store), 1);
	assert_int_equal(machine_spte(c, VIRT(0)) & (SPTE_W | SPTE_D), 0);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	/* and behind the walk that takes the late ones nothing is written by what was there before */
	c->mmu.log_mode = LOG_DBIT;
	harvest(c);
	mmu_zap_all(&c->mmu);
	harvest(c);
	assert_int_equal(pages_of_the_way_back(c, 1, no_store), 0);
	c->stay = false;
	machine_store(c, VIRT(0), 6);
	assert_int_equal(harvest(c), 1);
}

/* The guest takes the right to write away, and the other vCPU writes once more before it flushes: the next round finds it. */
static void a_d_set_late_is_in_the_next_round(void **state)
{
	struct machine *c = *state;
	uint64_t root, pte;
	struct log_round r;

	c->late_d = true;
	root = start_mapped(c, 2);
	pte = machine_pte(c, root, VIRT(0), 1);
	machine_join(&test_second, c);
	harvest(c);
	c->stay = true;
	machine_load(c, VIRT(0));
	assert_true(store_on(1, &test_second, pte, TEST_FREE | GPTE_P | GPTE_A | GPTE_D));
	host_thread_cpu(1);
	machine_invlpg(&test_second, VIRT(0));
	host_thread_cpu(0);
	late_store(c);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	harvest_on(2, c, &r);
	assert_int_equal(r.pages, 2); /* and the guest's table */
	c->stay = false;
	assert_int_equal(machine_spte(c, VIRT(0)) & (SPTE_W | SPTE_D), 0);
}

/* Rounds of so many pages as they might cost on a quiet machine; a harvest of ours would measure what else runs here. */
static void rounds(struct machine *c, uint64_t pages)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct harvest h = {.mmu = &c->mmu, .pages = pages};

		store_relaxed(&c->mmu.by_dbit, log_choose(&c->mmu));
		if (load_relaxed(&c->mmu.by_dbit)) {
			h.tables = TABLES;
			h.ticks = TABLES * 600;
		} else {
			h.ticks = pages * 30;
			count_add(&c->vcpu.stats.fixups, pages);
			count_add(&c->vcpu.stats.fixup_ticks, pages * 150);
		}
		log_learn(&h);
	}
}

/* Many pages a round: by D bits. One page a round: by protection. It stays with what it has when there is no difference. */
static void auto_takes_what_costs_less(void **state)
{
	struct machine *c = *state;

	log_set_mode(&c->mmu, LOG_AUTO);
	rounds(c, 500);
	assert_true(load_relaxed(&c->mmu.by_dbit));
	assert_true(host_log_has("log=auto: by D bits from round"));
	rounds(c, 56); /* just as dear either way */
	assert_true(load_relaxed(&c->mmu.by_dbit));
	rounds(c, 1);
	assert_false(load_relaxed(&c->mmu.by_dbit));
	assert_true(host_log_has("log=auto: by protection from round"));
	rounds(c, 56);
	assert_false(load_relaxed(&c->mmu.by_dbit));
	rounds(c, 0);
	assert_false(load_relaxed(&c->mmu.by_dbit));
	rounds(c, 500);
	assert_true(load_relaxed(&c->mmu.by_dbit));
	assert_int_equal(host_log_count(HOST_INFO), 3);
}

static void auto_keeps_the_contract(void **state)
{
	struct machine *c = *state;

	log_set_mode(&c->mmu, LOG_AUTO);
	log_start(&c->mmu);
	harvest(c);
	for (unsigned round = 1; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 200; i++)
			machine_store(c, TEST_FREE + i * PAGE_SIZE, round);
		assert_int_equal(harvest(c), 200);
	}
	assert_in_range(load_relaxed(&c->mmu.stats.dbit_rounds), 1, ROUNDS - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(writes_are_reported_and_take_no_fault),
		HAZARD_TEST(reads_report_nothing),
		HAZARD_TEST(a_write_through_one_of_many_aliases_is_reported),
		HAZARD_TEST(a_round_flushes),
		HAZARD_TEST(zapped_pages_are_reported),
		HAZARD_TEST(a_leaf_that_loses_its_rights_is_reported),
		HAZARD_TEST(a_page_that_becomes_a_table_is_reported),
		HAZARD_TEST(a_large_leaf_counts_for_all_its_pages),
		HAZARD_TEST(a_leaf_dropped_before_the_walk_comes_by_is_in_the_round),
		HAZARD_TEST(a_leaf_dropped_under_the_walk_is_in_the_round_and_gone),
		HAZARD_TEST_LIFO(a_walk_leaves_other_guests_alone),
		HAZARD_TEST(from_d_bits_to_protection_and_back),
		HAZARD_TEST(a_d_set_late_on_the_way_to_protection_is_reported),
		HAZARD_TEST(a_d_set_late_is_in_the_next_round),
		HAZARD_TEST(auto_takes_what_costs_less),
		HAZARD_TEST(auto_keeps_the_contract),
	};

	return cmocka_run_group_tests_name("log by D bits", tests, 0, 0);
}
