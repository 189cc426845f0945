/* SPDX-License-Identifier: MIT */
/* The dirty log's contract on one guest: nothing written is lost, nothing else is reported but in the named cases. */
#include "mm/replica.h"
#include "tools/host/mmu_test.h"

static uint64_t seed;

static uint64_t harvest(struct machine *c)
{
	struct log_round r;

	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	return r.pages;
}

static bool dirty(struct machine *c, uint64_t at)
{
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(at)));
	uint64_t i = slot_index(s, gpa_gfn(gpa(at)));

	return load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) >> (i % 64) & 1;
}

static void the_first_harvest_after_a_start_reports_every_page(void **state)
{
	struct machine *c = *state;

	assert_int_equal(log_harvest(&c->mmu, 0), LOG_OFF);
	assert_int_equal(log_start(&c->mmu), LOG_DONE);
	assert_int_equal(harvest(c), mmu_pages(&c->mmu));
	assert_int_equal(harvest(c), 0);
	log_stop(&c->mmu);
}

static void a_write_after_a_harvest_is_in_the_next(void **state)
{
	struct machine *c = *state;

	log_start(&c->mmu);
	machine_store(c, TEST_FREE, 1);
	harvest(c);
	machine_store(c, TEST_FREE + 0x5000, 2);
	assert_int_equal(harvest(c), 1);
	machine_store(c, TEST_FREE + 0x5000, 3); /* opened and protected before: the fix-up */
	machine_store(c, TEST_FREE, 3);
	assert_int_equal(mmu_faults(&c->mmu).fixups, 2);
	assert_int_equal(harvest(c), 2);
	assert_int_equal(harvest(c), 0);
}

static void reads_report_nothing(void **state)
{
	struct machine *c = *state;

	log_start(&c->mmu);
	harvest(c);
	for (uint64_t a = TEST_FREE; a < TEST_FREE + 0x40000; a += PAGE_SIZE)
		machine_load(c, a);
	assert_int_equal(harvest(c), 0);
}

static void writes_through_every_alias_are_one_page(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (uint64_t i = 0; i < 100; i++)
		machine_map(c, root, TEST_VIRT + i * PAGE_SIZE, TEST_FREE | TEST_RW, 1);
	log_start(&c->mmu);
	for (uint64_t i = 0; i < 100; i++)
		machine_store(c, TEST_VIRT + i * PAGE_SIZE, i);
	harvest(c);
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < 100; i++)
			machine_store(c, TEST_VIRT + i * PAGE_SIZE, i + round);
		assert_int_equal(harvest(c), 1);
	}
	assert_true(load_relaxed(&c->mmu.stats.protected) >= 300);
}

static void the_guests_own_table_writes_are_logged(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	log_start(&c->mmu);
	harvest(c);
	machine_load(c, TEST_VIRT); /* sets A in the guest's table */
	assert_true(dirty(c, pte));
	harvest(c);
	machine_store(c, pte, (TEST_FREE + PAGE_SIZE) | TEST_RW);
	assert_true(dirty(c, pte));
	harvest(c);
	machine_cr3(c, root); /* synced and protected again */
	assert_int_equal(harvest(c), 0);
	machine_store(c, pte, TEST_FREE | TEST_RW);
	assert_true(dirty(c, pte));
}

static void host_stores_are_logged(void **state)
{
	struct machine *c = *state;

	log_start(&c->mmu);
	harvest(c);
	assert_true(mmu_write(&c->mmu, gpa(TEST_FREE + 4090), "0123456789", 10));
	assert_true(dirty(c, TEST_FREE) && dirty(c, TEST_FREE + PAGE_SIZE));
	assert_int_equal(harvest(c), 2);
	assert_false(mmu_write(&c->mmu, gpa(0x9fffc), "01234567", 8)); /* runs into the hole */
}

static void an_unmapped_writable_page_keeps_its_bit(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	log_start(&c->mmu);
	harvest(c);
	machine_store(c, TEST_VIRT, 1);
	machine_map(c, root, TEST_VIRT, 0, 1);
	machine_invlpg(c, TEST_VIRT);
	assert_true(dirty(c, TEST_FREE));
}

static void zap_all_loses_no_dirty_page(void **state)
{
	struct machine *c = *state;

	machine_long_mode(c);
	log_start(&c->mmu);
	harvest(c);
	machine_store(c, TEST_FREE, 1);
	mmu_zap_all(&c->mmu);
	assert_int_equal(harvest(c) >= 1, 1);
	machine_store(c, TEST_FREE, 2);
	assert_true(dirty(c, TEST_FREE));
}

static void only_one_harvest_has_the_turn(void **state)
{
	struct machine *c = *state;

	log_start(&c->mmu);
	assert_true(log_turn_take(&c->mmu));
	assert_int_equal(log_harvest(&c->mmu, 0), LOG_BUSY);
	assert_int_equal(log_view_start(&c->mmu), LOG_BUSY);
	assert_true(mmu_audit(&c->mmu) == MMU_AUDIT_BUSY);
	log_turn_end(&c->mmu);
	assert_int_equal(log_harvest(&c->mmu, 0), LOG_DONE);
}

static void the_view_is_the_union_of_all_harvests(void **state)
{
	struct machine *c = *state;
	uint64_t pages;

	assert_int_equal(log_view_harvest(&c->mmu, &pages), LOG_OFF);
	log_start(&c->mmu);
	harvest(c);
	log_view_start(&c->mmu);
	log_view_harvest(&c->mmu, &pages);
	assert_int_equal(pages, mmu_pages(&c->mmu)); /* the first reports every page, whoever logs */
	machine_store(c, TEST_FREE, 1);
	harvest(c); /* the replica's */
	machine_store(c, TEST_FREE + PAGE_SIZE, 1);
	log_view_harvest(&c->mmu, &pages);
	assert_int_equal(pages, 2);
	assert_true(log_view_test(&c->mmu, gpa_gfn(gpa(TEST_FREE))));
	assert_true(log_view_test(&c->mmu, gpa_gfn(gpa(TEST_FREE + PAGE_SIZE))));
	assert_false(log_view_test(&c->mmu, gpa_gfn(gpa(TEST_FREE + 2 * PAGE_SIZE))));
	assert_false(log_view_test(&c->mmu, gfn(0xa0)));
	log_view_harvest(&c->mmu, &pages);
	assert_int_equal(pages, 0);
	log_view_stop(&c->mmu);
	assert_int_equal(log_view_harvest(&c->mmu, &pages), LOG_OFF);
	log_stop(&c->mmu);
}

static void no_bit_lies_past_a_slots_end(void **state)
{
	struct machine *c = *state;

	log_start(&c->mmu);
	assert_int_equal(harvest(c), mmu_pages(&c->mmu));
	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++) {
		struct slot *s = &c->mmu.slot[i];

		slot_fill(s, SLOT_VIEW);
		assert_int_equal(s->pages % 64 ? load_relaxed(&s->bits[SLOT_VIEW][s->words - 1]) : ~0UL,
			s->pages % 64 ? (1UL << s->pages % 64) - 1 : ~0UL);
	}
}

/* The oracle: random aliased writes, each round's set compared with what was really written. */
static void twenty_rounds_lose_nothing_and_report_nothing_false(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pages;
	bool wrote[64];

	for (uint64_t i = 0; i < 192; i++) {
		machine_map(c, root, TEST_VIRT + i * PAGE_SIZE, (TEST_FREE + i % 64 * PAGE_SIZE) | TEST_RW, 1);
		machine_store(c, TEST_VIRT + i * PAGE_SIZE, 0);
	}
	log_view_start(&c->mmu);
	log_view_harvest(&c->mmu, &pages);
	for (unsigned round = 0; round < 20; round++) {
		uint64_t expect = 0;

		memset(wrote, 0, sizeof wrote);
		for (unsigned n = 0; n < 40; n++) {
			uint64_t i = host_random(&seed) % 192;

			machine_store(c, TEST_VIRT + i * PAGE_SIZE, n);
			expect += !wrote[i % 64];
			wrote[i % 64] = true;
		}
		log_view_harvest(&c->mmu, &pages);
		assert_int_equal(pages, expect);
		for (uint64_t i = 0; i < 64; i++)
			assert_int_equal(log_view_test(&c->mmu, gfn((TEST_FREE >> 12) + i)), wrote[i]);
	}
}

static void the_replica_follows_and_a_skipping_walker_is_caught(void **state)
{
	struct machine *c = *state;
	struct replica r;
	struct log_round round;
	gfn_t first = gfn(0);

	assert_true(replica_init(&r, &c->mmu));
	machine_long_mode(c);
	for (unsigned n = 0; n < 10; n++) {
		for (unsigned i = 0; i < 50; i++)
			machine_store(c, TEST_FREE + host_random(&seed) % 0x100000 / 8 * 8, i);
		assert_int_equal(replica_round(&r, &round), LOG_DONE);
	}
	assert_int_equal(replica_compare(&r, &first), 0);
	assert_true(r.copied > mmu_pages(&c->mmu));
	log_test.skip = 64;
	for (uint64_t a = TEST_FREE; a < 0x400000; a += PAGE_SIZE)
		machine_store(c, a, 0x1234567);
	replica_round(&r, &round);
	assert_true(replica_compare(&r, &first) > 0);
	log_test.skip = 0;
	replica_destroy(&r);
	slot_fill(&c->mmu.slot[0], SLOT_DIRTY); /* the skipped pages are writable without a bit: mend that for the audit */
	slot_fill(&c->mmu.slot[1], SLOT_DIRTY);
}

static void clean_words_cost_no_walk(void **state)
{
	struct machine *c = *state;
	uint64_t before;

	log_start(&c->mmu);
	machine_store(c, TEST_FREE, 1);
	harvest(c);
	before = load_relaxed(&c->mmu.stats.flushes);
	harvest(c);
	assert_int_equal(load_relaxed(&c->mmu.stats.flushes), before);
}

static uint64_t on_map(struct machine *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++)
		n += slot_map_count(&c->mmu.slot[i], 0, c->mmu.slot[i].pages);
	return n;
}

/* Whoever else harvests, the map has what was written since its own last harvest, and leaves the others' what is theirs. */
static void the_map_beside_other_harvests(void **state)
{
	struct machine *c = *state;
	struct slot *s = slot_find(&c->mmu, gfn(TEST_FREE / PAGE_SIZE));
	uint64_t first = TEST_FREE / PAGE_SIZE - s->gfn.v, pages;
	struct log_round r;

	assert_int_equal(log_map_harvest(&c->mmu, &r, &pages), LOG_OFF);
	assert_int_equal(log_map_stop(&c->mmu), LOG_OFF);
	assert_int_equal(log_map_start(&c->mmu), LOG_DONE);
	assert_int_equal(on_map(c), 0);
	machine_store(c, TEST_FREE, 1);
	machine_store(c, TEST_FREE + 0x3f000, 1);
	machine_store(c, TEST_FREE + 0x40000, 1);
	assert_int_equal(on_map(c), 3);
	assert_int_equal(log_start(&c->mmu), LOG_DONE);
	assert_int_equal(harvest(c), 3);
	assert_int_equal(on_map(c), 3);
	assert_int_equal(slot_map_count(s, first, 1), 1);
	assert_int_equal(slot_map_count(s, first + 1, 0x3e), 0);
	assert_int_equal(slot_map_count(s, first + 1, 0x3f), 1);
	assert_int_equal(slot_map_count(s, first + 1, 0x40), 2);
	assert_int_equal(slot_map_count(s, first, 0x40), 2);
	machine_store(c, TEST_FREE, 2);
	machine_store(c, TEST_FREE + 0x5000, 2);
	assert_int_equal(on_map(c), 4);
	assert_int_equal(log_map_harvest(&c->mmu, &r, &pages), LOG_DONE);
	assert_int_equal(r.pages, 2);
	assert_int_equal(pages, 4);
	assert_int_equal(on_map(c), 0);
	machine_store(c, TEST_FREE, 3);
	/* a start when it is on: anew, and no second user */
	assert_int_equal(log_map_start(&c->mmu), LOG_DONE);
	assert_int_equal(on_map(c), 0);
	assert_int_equal(load_relaxed(&c->mmu.logging), 2);
	machine_store(c, TEST_FREE, 4);
	assert_int_equal(log_map_stop(&c->mmu), LOG_DONE);
	assert_int_equal(load_relaxed(&c->mmu.logging), 1);
	assert_int_equal(harvest(c), 1);
	assert_int_equal(on_map(c), 0); /* while it is off nothing comes on it */
	log_stop(&c->mmu);
	log_turn_take(&c->mmu);
	assert_int_equal(log_map_start(&c->mmu), LOG_BUSY);
	assert_int_equal(log_map_harvest(&c->mmu, &r, &pages), LOG_BUSY);
	assert_int_equal(log_map_stop(&c->mmu), LOG_BUSY);
	log_turn_end(&c->mmu);
}

int main(void)
{
	seed = 42;
	const struct CMUnitTest tests[] = {
		MMU_TEST(the_first_harvest_after_a_start_reports_every_page),
		MMU_TEST(a_write_after_a_harvest_is_in_the_next),
		MMU_TEST(reads_report_nothing),
		MMU_TEST(writes_through_every_alias_are_one_page),
		MMU_TEST(the_guests_own_table_writes_are_logged),
		MMU_TEST(host_stores_are_logged),
		MMU_TEST(an_unmapped_writable_page_keeps_its_bit),
		MMU_TEST(zap_all_loses_no_dirty_page),
		MMU_TEST(only_one_harvest_has_the_turn),
		MMU_TEST(the_view_is_the_union_of_all_harvests),
		MMU_TEST(no_bit_lies_past_a_slots_end),
		MMU_TEST(twenty_rounds_lose_nothing_and_report_nothing_false),
		MMU_TEST(the_replica_follows_and_a_skipping_walker_is_caught),
		MMU_TEST(clean_words_cost_no_walk),
		MMU_TEST(the_map_beside_other_harvests),
	};

	return cmocka_run_group_tests_name("log", tests, 0, 0);
}
