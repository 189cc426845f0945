/* SPDX-License-Identifier: MIT */
/* Reclaim: a guest with few shadow pages goes on, loses nothing, and never has more than its budget (H22). */
#include "mm/replica.h"
#include "tools/host/hazard_test.h"

#define SPACES 24u      /* address spaces */
#define PAGES_EACH 6u   /* pages of each, under a table of its own each */
#define ROUNDS 40u
#define OPERANDS 18u    /* pages that one instruction may touch */
#define FAR(i) ((uint64_t)((i) + 1) << 39 | (uint64_t)(i) << 30 | (uint64_t)(i) << 21 | (uint64_t)(i) << 12)

static uint64_t seed;

static int budget_setup(void **state)
{
	hazard_setup(state);
	test_machine.mmu.budget = MMU_FLOOR;
	return 0;
}

static uint64_t page_of(unsigned space, unsigned i)
{
	return TEST_VIRT + (uint64_t)i * 0x200000 + space * PAGE_SIZE;
}

static void within_budget(struct machine *c)
{
	assert_true(c->mmu.used <= c->mmu.budget);
}

/* Address spaces of one level-4 table each over a common rest, as after a fork, and pages of their own. */
static void many_address_spaces_in_few_shadow_pages(void **state)
{
	struct machine *c = *state;
	uint64_t root[SPACES], value[SPACES][PAGES_EACH] = {{0}}, first = machine_long_mode(c);
	struct replica r;
	gfn_t bad = gfn(0);

	for (unsigned s = 0; s < SPACES; s++) {
		root[s] = machine_table(c);
		for (unsigned i = 0; i < 512; i++)
			machine_store(c, root[s] + i * 8, i == 0 ? machine_load(c, first) : 0);
		for (unsigned i = 0; i < PAGES_EACH; i++)
			machine_map(c, root[s], page_of(s, i) + (1UL << 39),
				(TEST_FREE + (s * PAGES_EACH + i) * PAGE_SIZE) | TEST_RW, 1);
	}
	assert_true(replica_init(&r, &c->mmu));
	for (unsigned n = 0; n < ROUNDS * SPACES; n++) {
		unsigned s = host_random(&seed) % SPACES;

		machine_cr3(c, root[s]);
		for (unsigned i = 0; i < PAGES_EACH; i++) {
			uint64_t at = page_of(s, i) + (1UL << 39);

			assert_int_equal(machine_load(c, at), value[s][i]);
			machine_store(c, at, value[s][i] = n);
			within_budget(c);
		}
		if (n % 16 == 0) {
			assert_int_equal(replica_round(&r, 0), LOG_DONE);
			assert_int_equal(mmu_audit(&c->mmu), 0);
		}
	}
	assert_true(load_relaxed(&c->mmu.stats.reclaimed) > ROUNDS * SPACES);
	assert_int_equal(replica_round(&r, 0), LOG_DONE);
	assert_int_equal(replica_compare(&r, &bad), 0);
	replica_destroy(&r);
}

/* All its operands at once, or it begins anew: as a processor does. Each has tables of its own on three levels. */
static unsigned execute(struct machine *c)
{
	for (unsigned tries = 1;; tries++) {
		uint64_t faults = c->faults;

		for (unsigned i = 0; i < OPERANDS; i++)
			machine_load(c, FAR(i));
		if (c->faults == faults)
			return tries;
		within_budget(c);
		assert_true(tries < 20);
	}
}

static void the_greediest_instruction_gets_through(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < OPERANDS; i++)
		machine_map(c, root, FAR(i), TEST_FREE | TEST_RW, 1);
	for (unsigned n = 0; n < 10; n++) {
		execute(c);
		for (unsigned i = 0; i < TEST_PAGES; i += 32)
			machine_load(c, i * PAGE_SIZE < 0xa0000 ? i * PAGE_SIZE : TEST_FREE); /* others come and go */
		machine_cr3(c, root);
	}
	/* nothing else runs: the second time, all is there */
	execute(c);
	assert_int_equal(execute(c), 1);
}

/* H22: what another vCPU has loaded stays, however many roots this one goes through. */
static void a_loaded_root_is_never_taken(void **state)
{
	struct machine *c = *state;
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW), other[MMU_FLOOR], value;
	struct shadow *loaded;

	c->mmu.budget = MMU_FLOOR;
	load_on(1, &test_second, TEST_VIRT);
	loaded = test_second.vcpu.root[0];
	for (unsigned i = 0; i < MMU_FLOOR; i++) {
		other[i] = machine_table(c);
		for (unsigned k = 0; k < 512; k++)
			machine_store(c, other[i] + k * 8, k == 0 ? machine_load(c, root) : 0);
	}
	for (unsigned n = 0; n < 3 * MMU_FLOOR; n++) {
		machine_cr3(c, other[n % MMU_FLOOR]);
		assert_true(machine_access(c, TEST_VIRT, 0, &value));
		assert_int_equal(load_relaxed(&loaded->state), SHADOW_LIVE);
		assert_int_equal(loaded->gfn.v, root / PAGE_SIZE); /* it is no other table by now */
		within_budget(c);
	}
	assert_ptr_equal(test_second.vcpu.root[0], loaded);
	assert_int_equal(load_relaxed(&loaded->state), SHADOW_LIVE);
	machine_exit(&test_second);
	load_on(1, &test_second, TEST_VIRT);
	assert_ptr_equal(test_second.vcpu.root[0], loaded);
}

static void a_budget_that_is_all_in_use_ends_the_guest_by_name(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	mmu_zap_all(&c->mmu);
	machine_load(c, TEST_DATA);
	c->mmu.budget = 1;
	assert_false(machine_store(c, FAR(3), 1) || machine_store(c, TEST_VIRT, 1));
	assert_int_equal(c->outcome, MMU_END);
	assert_non_null(strstr(c->fault.reason, "in use"));
	c->mmu.budget = 256;
}

#define BUDGET_TEST(f) cmocka_unit_test_setup_teardown(f, budget_setup, hazard_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUDGET_TEST(many_address_spaces_in_few_shadow_pages),
		BUDGET_TEST(the_greediest_instruction_gets_through),
		HAZARD_TEST(a_loaded_root_is_never_taken),
		HAZARD_TEST(a_budget_that_is_all_in_use_ends_the_guest_by_name),
	};

	seed = 5;
	return cmocka_run_group_tests_name("budget", tests, 0, 0);
}
