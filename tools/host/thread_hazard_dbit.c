/* SPDX-License-Identifier: MIT */
/* Rounds by D bits on a thread of their own, beside flows that take D away, or that have read how rounds go (H34). */
#include "tools/host/walker_test.h"

#define DIRTY_PTE (TEST_FREE | TEST_RW | GPTE_A | GPTE_D)

static uint64_t root;

/* TEST_VIRT is mapped and open, harvested by D bits, and its D is clear. */
static void prepare(struct machine *c)
{
	c->mmu.log_mode = LOG_DBIT;
	root = two_vcpus(c, DIRTY_PTE);
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	mmu_zap_all(&c->mmu); /* what was opened before */
	machine_load(c, TEST_VIRT);
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
}

static void zap(struct machine *c)
{
	mmu_zap_all(&c->mmu);
}

/* Whatever takes D away has told the bitmap before a round ends that began when D was gone. */
static void a_round_waits_at(struct machine *c, const char *point, void (*act)(struct machine *c))
{
	uint64_t faults;

	prepare(c);
	faults = c->faults;
	machine_store(c, TEST_VIRT, FRAME_A | TEST_RW | GPTE_A);
	assert_int_equal(c->faults, faults); /* by D alone */
	a_harvest_waits_at(c, point, act);
	assert_int_equal(differences(), 0);
}

static void a_round_waits_for_a_drop(void **state)
{
	a_round_waits_at(*state, "drop-cleared", zap);
}

static void uses_it_as_a_table(struct machine *c)
{
	machine_load(c, TEST_OTHER);
}

static void a_round_waits_for_a_protection(void **state)
{
	a_round_waits_at(*state, "sync-protected", uses_it_as_a_table);
}

static void load(struct machine *c)
{
	machine_load(c, TEST_VIRT);
}

/* An install has read that D will tell, and stops; the harvest goes back to protection meanwhile. */
static void a_round_back_by_protection_waits_for_installs(void **state)
{
	struct machine *c = *state;

	prepare(c);
	mmu_zap_all(&c->mmu);
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	c->mmu.log_mode = LOG_WP; /* from the next round on, as log=auto does it */
	a_harvest_waits_at(c, "publish-decided", load);
	machine_store(c, TEST_VIRT, 0x35);
	assert_true(is_dirty(c, TEST_FREE));
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	assert_int_equal(differences(), 0);
}

#define DBIT_TEST(f) cmocka_unit_test_setup_teardown(f, walker_setup, walker_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DBIT_TEST(a_round_waits_for_a_drop),
		DBIT_TEST(a_round_waits_for_a_protection),
		DBIT_TEST(a_round_back_by_protection_waits_for_installs),
	};

	return cmocka_run_group_tests_name("threads: D bits", tests, 0, 0);
}
