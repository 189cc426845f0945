/* SPDX-License-Identifier: MIT */
/* Work is bounded: a chain of 100,000 entries is changed without a search; one frame under 100,000 mappings is
 * harvested and unmapped, tables are dropped and read again, host stores hit tables of many roles, and at most 32 sptes
 * change under one hold of the guest's lock (counted, by history.c: wall time on a busy machine is no bound to test).
 * Built with trace.h. */
#include "mm/shadow.h"
#include "tools/host/history.h"
#include "tools/host/mmu_test.h"

#define MAPPINGS 100000UL
#define PAGES 2048UL
#define BUDGET 600UL
#define STEP 32     /* sptes under one hold */
#define ACCESSES 64 /* atomic accesses of one change of a chain */
#define ROLES 8u

static struct machine crowd;

static uint64_t address(uint64_t i)
{
	return TEST_VIRT + i * PAGE_SIZE;
}

static void no_replay(unsigned first)
{
	(void)first;
}

static int setup(void **state)
{
	host_native_init(2);
	slab_set_mode(SLAB_NORMAL);
	mmu_global_init();
	machine_init(&crowd, PAGES, BUDGET);
	*state = &crowd;
	memset(&history, 0, sizeof history);
	history_on(&crowd.mmu, no_replay);
	return 0;
}

static int teardown(void **state)
{
	history_off();
	return test_teardown(state);
}

/* All that the test has built is taken apart too, and nothing was out of bounds. */
static void bounded(struct machine *c)
{
	assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
	print_message("at most %u sptes under one hold\n", history.longest);
	assert_int_equal(history.violations, 0);
	assert_true(history.longest <= STEP);
}

/* ---- chains alone ---- */

static spte_t *entry[MAPPINGS];

/* Accesses of the costliest of n changes: additions of the entries from first on, or removals. */
static uint64_t costliest(struct chain *c, struct chain_reserve *r, unsigned first, unsigned n, bool add)
{
	uint64_t most = 0, before;

	for (unsigned i = first; i < first + n; i++) {
		assert_true(chain_reserve(r, 1));
		before = trace_accesses;
		if (add)
			chain_add(c, r, entry[i]);
		else
			chain_remove(c, r->cache, entry[i]);
		if (trace_accesses - before > most)
			most = trace_accesses - before;
		assert_true(most <= ACCESSES);
	}
	return most;
}

static void a_long_chain_is_changed_without_a_search(void **state)
{
	static struct chain chain;
	struct chain_reserve r = {.cache = &rmap_cache};
	struct table *t = 0;
	uint64_t seed = 1, most[4];

	(void)state;
	for (unsigned i = 0; i < MAPPINGS; i++) {
		if (i % TABLE_ENTRIES == 0) {
			t = hfn_virt(page_alloc(1, PAGE_ANY));
			memset(t, 0, sizeof *t);
		}
		entry[i] = &t->spte[i % TABLE_ENTRIES];
		store_relaxed(entry[i], SPTE_P | SPTE_SIZE(1)); /* of nobody's memory */
	}
	for (unsigned i = MAPPINGS - 1; i > 0; i--) {
		unsigned k = host_random(&seed) % (i + 1);
		spte_t *swap = entry[i];

		entry[i] = entry[k];
		entry[k] = swap;
	}
	history_off();
	most[0] = costliest(&chain, &r, 0, MAPPINGS, true);
	most[1] = costliest(&chain, &r, 0, MAPPINGS / 2, false);
	most[2] = costliest(&chain, &r, 0, MAPPINGS / 2, true); /* into holes */
	assert_int_equal(chain_audit(&chain, CHAIN_ALL, 0, 0), 0);
	most[3] = costliest(&chain, &r, 0, MAPPINGS, false);
	assert_true(chain_empty(&chain));
	chain_unreserve(&r);
	print_message("atomic accesses at most: add %lu, remove %lu, fill a hole %lu, remove all %lu\n", most[0],
		most[1], most[2], most[3]);
	assert_true(most[0] > 0 && most[1] > 0); /* they are counted */
}

/* ---- a guest ---- */

static void one_frame_under_100000_mappings(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), faults;
	struct chain *chain = slot_chain(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)), 1);
	struct log_round r;
	gfn_t table = gfn(0);

	for (uint64_t i = 0; i < MAPPINGS; i++) {
		machine_map(c, root, address(i), TEST_FREE | TEST_RW, 1);
		machine_store(c, address(i), i);
	}
	machine_cr3(c, root);
	assert_true(load_relaxed(&chain->length) >= MAPPINGS);
	assert_int_equal(log_start(&c->mmu), LOG_DONE);
	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	assert_int_equal(r.gaveup, 0);
	assert_true(r.protected >= MAPPINGS);
	/* one write opens one mapping; the next harvest closes that one and walks over the rest */
	faults = c->faults;
	machine_store(c, address(MAPPINGS / 2), 1);
	assert_int_equal(c->faults, faults + 1);
	assert_int_equal(log_harvest(&c->mmu, &r), LOG_DONE);
	assert_int_equal(r.pages, 1);
	assert_int_equal(r.protected, 1);
	/* the frame becomes a page table, and data again */
	machine_store(c, machine_pte(c, root, TEST_VIRT + (1UL << 39), 2), TEST_FREE | TEST_RW);
	machine_access(c, TEST_VIRT + (1UL << 39), 0, &table.v);
	assert_int_equal(
		load_relaxed(slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)), 1)), 1);
	machine_store(c, machine_pte(c, root, TEST_VIRT + (1UL << 39), 2), 0);
	machine_invlpg(c, TEST_VIRT + (1UL << 39));
	/* every removal is found at its place */
	for (uint64_t i = 0; i < MAPPINGS; i++) {
		machine_map(c, root, address(i), 0, 1);
		machine_invlpg(c, address(i));
	}
	machine_cr3(c, root);
	assert_true(load_relaxed(&chain->length) <= 1); /* the identity's */
	bounded(c);
}

static void full_tables_are_taken_apart_in_steps(void **state)
{
	struct machine *c = *state;

	machine_long_mode(c);
	for (uint64_t a = 0; a < PAGES * PAGE_SIZE; a += PAGE_SIZE)
		machine_access(c, a, 0, &(uint64_t){0});
	bounded(c);
	assert_int_equal(history.longest, STEP);
}

/* One level-1 table in as many roles as rights can be ANDed to, 32 entries of each in use: the hypervisor's store to
 * them drops them all, no more under one hold. */
static void a_host_store_to_a_table_of_many_roles(void **state)
{
	static const uint64_t none[STEP];
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), drops;

	for (unsigned i = 0; i < STEP; i++)
		machine_store(c, TEST_FREE + i * 8, (TEST_FREE + (1 + i) * PAGE_SIZE) | TEST_RW);
	for (unsigned role = 0; role < ROLES; role++)
		machine_map(c, root, TEST_VIRT + role * 0x200000,
			TEST_FREE | GPTE_P | (role & 1 ? GPTE_W : 0) | (role & 2 ? GPTE_U : 0) |
				(role & 4 ? GPTE_NX : 0),
			2);
	for (unsigned i = 0; i < ROLES * STEP; i++)
		machine_load(c, TEST_VIRT + i / STEP * 0x200000 + i % STEP * PAGE_SIZE);
	drops = history.events[EVENT_DROP];
	assert_true(mmu_write(&c->mmu, gpa(TEST_FREE), none, sizeof none));
	assert_int_equal(history.events[EVENT_DROP] - drops, ROLES * STEP);
	bounded(c);
}

#define FLOODED 24u /* page tables, all of them rewritten whole between two loads of CR3 */

/* XSA-495: loads of CR3, each of which reads every entry of many tables again. */
static void loads_of_cr3_with_every_table_rewritten(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned turn = 0; turn < 3; turn++) {
		for (uint64_t i = 0; i < FLOODED * TABLE_ENTRIES; i++)
			machine_map(c, root, address(i), (TEST_FREE + (i + turn) % 2 * PAGE_SIZE) | TEST_RW, 1);
		machine_cr3(c, root);
		assert_null(c->mmu.unsync);
		for (uint64_t i = 0; i < FLOODED * TABLE_ENTRIES; i++)
			machine_load(c, address(i));
	}
	bounded(c);
}

static struct machine other;
static unsigned breaks;

static void fault_at_a_break(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "rcu-lock"))
		return;
	host_thread_cpu(1);
	mmu_fault(&other.vcpu, gva(address(breaks++)), 0, &other.fault);
}

/* XSA-410: a teardown, with another vCPU's fault at each break of it. */
static void a_teardown_beside_a_vcpu_that_faults(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (uint64_t i = 0; i < 4 * TABLE_ENTRIES; i++) {
		machine_map(c, root, address(i), TEST_FREE | TEST_RW, 1);
		machine_load(c, address(i));
	}
	machine_join(&other, c);
	breaks = 0;
	host_set_park(fault_at_a_break, 0);
	assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
	host_set_park(0, 0);
	assert_true(breaks > 4 * TABLE_ENTRIES / STEP);
	machine_part(&other);
	bounded(c);
}

/* A step takes few shadow pages, and all steps take all of them but the loaded root. */
static void a_teardown_in_steps(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), bucket = 0, used, least = 0;
	unsigned steps = 0;

	for (uint64_t i = 0; i < 40 * TABLE_ENTRIES; i += TABLE_ENTRIES) {
		machine_map(c, root, address(i), TEST_FREE | TEST_RW, 1);
		machine_load(c, address(i));
	}
	assert_true(c->mmu.used > 40);
	for (used = c->mmu.used; mmu_zap_step(&c->mmu, &bucket); used = c->mmu.used, steps++) {
		assert_true(used - c->mmu.used <= 16);
		least += used - c->mmu.used;
	}
	assert_true(steps >= 3 && least > 40);
	assert_int_equal(c->mmu.used, 1);
	assert_false(mmu_zap_step(&c->mmu, &bucket));
	bounded(c);
}

#define BOUNDS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOUNDS_TEST(a_long_chain_is_changed_without_a_search),
		BOUNDS_TEST(one_frame_under_100000_mappings),
		BOUNDS_TEST(full_tables_are_taken_apart_in_steps),
		BOUNDS_TEST(a_host_store_to_a_table_of_many_roles),
		BOUNDS_TEST(loads_of_cr3_with_every_table_rewritten),
		BOUNDS_TEST(a_teardown_beside_a_vcpu_that_faults),
		BOUNDS_TEST(a_teardown_in_steps),
	};

	return cmocka_run_group_tests_name("bounds", tests, 0, 0);
}
