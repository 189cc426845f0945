/* SPDX-License-Identifier: MIT */
/* A publisher stopped between its steps, and a harvest on a thread of its own: one that is past its grace period goes
 * on to its end; one that begins there waits for the publisher. A replica says what was lost. */
#include "tools/host/walker_test.h"

static void store(struct machine *c)
{
	static uint64_t value;

	machine_store(c, TEST_VIRT, ++value);
}

static void host_store(struct machine *c)
{
	static const char text[] = "a host store";

	assert_true(mmu_write(&c->mmu, gpa(TEST_FREE), text, sizeof text));
}

static void prepare(struct machine *c)
{
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW | GPTE_A | GPTE_D);

	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	machine_cr3(c, root);
}

/* The page is mapped, MMU_WRITABLE, and not open: the next store is a fix-up. */
static void prepare_fixup(struct machine *c)
{
	prepare(c);
	store(c);
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
}

/* H5, H6: the fix-up has opened the page and not set the bit. */
static void a_fixup_is_in_the_next_harvest(void **state)
{
	prepare_fixup(*state);
	a_harvest_ends_at(*state, "fixup-opened", store);
}

static void another_vcpu_writes(struct machine *c)
{
	(void)c;
	assert_true(store_on(1, &test_second, TEST_VIRT + 8, 0x31));
}

/* The second word of TEST_FREE as the replica has it. */
static uint64_t copied(struct machine *c)
{
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE)));

	return ((uint64_t *)replica_page(&replica, (unsigned)(s - c->mmu.slot), slot_index(s, gpa_gfn(gpa(TEST_FREE)))))[1];
}

/* H31: another vCPU has written through the opened spte, before the harvest began: it is in this harvest. */
static void a_harvest_waits_for_a_fixup(void **state)
{
	prepare_fixup(*state);
	load_on(1, &test_second, TEST_VIRT);
	meanwhile = another_vcpu_writes;
	a_harvest_waits_at(*state, "fixup-opened", store);
	assert_int_equal(copied(*state), 0x31);
}

/* H5: the spte is there, its rmap entry and its bit are not. */
static void an_install_without_its_entry_is_in_the_next_harvest(void **state)
{
	prepare(*state);
	mmu_zap_all(&test_machine.mmu);
	a_harvest_ends_at(*state, "leaf-stored", store);
}

/* The level-1 table is there and in step, the leaf is not: the quick path. */
static void prepare_quick(struct machine *c)
{
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW | GPTE_A | GPTE_D);

	machine_map(c, root, TEST_VIRT + PAGE_SIZE, FRAME_A | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(c, root);
	mmu_zap_all(&c->mmu);
	machine_cr3(c, root);
	machine_load(c, TEST_VIRT + PAGE_SIZE);
	assert_int_equal(machine_spte(c, TEST_VIRT), 0);
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
}

/* H5: the same on the quick path, and its other half. */
static void a_quick_install_without_its_entry_is_in_the_next_harvest(void **state)
{
	prepare_quick(*state);
	a_harvest_ends_at(*state, "leaf-stored", store);
}

static void a_quick_install_without_its_bit_is_in_the_next_harvest(void **state)
{
	prepare_quick(*state);
	a_harvest_ends_at(*state, "leaf-linked", store);
}

/* H5: the spte and its entry are there, the bit is not. */
static void an_install_without_its_bit_is_in_the_next_harvest(void **state)
{
	prepare(*state);
	mmu_zap_all(&test_machine.mmu);
	a_harvest_ends_at(*state, "leaf-linked", store);
}

static void a_harvest_waits_for_an_install(void **state)
{
	prepare(*state);
	mmu_zap_all(&test_machine.mmu);
	a_harvest_waits_at(*state, "leaf-stored", store);
}

/* H35: the host's data is there, the bit is not. */
static void a_host_store_is_in_the_next_harvest(void **state)
{
	prepare(*state);
	a_harvest_ends_at(*state, "gmem-stored", host_store);
}

static void a_harvest_waits_for_a_host_store(void **state)
{
	prepare(*state);
	a_harvest_waits_at(*state, "gmem-stored", host_store);
}

static void invlpg(struct machine *c)
{
	machine_invlpg(c, TEST_VIRT);
}

/* H11: W is cleared between the load and the cmpxchg of a change in place. */
static void a_change_in_place_does_not_bring_w_back(void **state)
{
	struct machine *c = *state;
	uint64_t root;

	prepare_fixup(c);
	root = c->vcpu.paging.cr3;
	store(c); /* W */
	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW | GPTE_A | GPTE_D | GPTE_NX, 1);
	a_harvest_ends_at(c, "leaf-replace", invlpg);
	store(c);
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	assert_int_equal(differences(), 0);
}

static uint64_t pde, seen;
static atomic32 stored;

/* The other vCPU: writes the table through what was just opened, loads CR3, and uses the table. */
static void *rewrite(void *arg)
{
	(void)arg;
	host_thread_cpu(1);
	machine_store(&test_second, pde, TEST_FREE | TEST_RW | GPTE_A);
	store_release(&stored, 1);
	machine_invlpg(&test_second, TEST_VIRT);
	seen = machine_load(&test_second, TEST_VIRT);
	return 0;
}

static void let_it_rewrite(struct machine *c)
{
	uint64_t start = host_clock();

	(void)c;
	assert_int_equal(pthread_create(&walker, 0, rewrite, 0), 0);
	while (!load_acquire(&stored))
		sched_yield();
	while (host_clock() - start < PATIENCE)
		sched_yield();
}

/* H24: a table is unsync before it can be written: an upper one, of which INVLPG asks without the lock. */
static void a_table_is_unsync_before_it_is_open(void **state)
{
	struct machine *c = *state;
	uint64_t root = two_vcpus(c, FRAME_A | TEST_RW | GPTE_A | GPTE_D);

	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	*raw(c, TEST_FREE) = (atomic64){FRAME_B | TEST_RW | GPTE_A | GPTE_D};
	pde = machine_pte(c, root, TEST_VIRT, 2);
	assert_int_equal(load_on(1, &test_second, TEST_VIRT), 0xa);
	load_on(1, &test_second, pde);
	assert_false(machine_spte(c, pde) & SPTE_W);
	assert_null(c->mmu.unsync);
	store_relaxed(&stored, 0);
	park_at(c, "leaf-linked", 0, let_it_rewrite);
	machine_store(c, pde + 8 * 100, 0);
	parked();
	assert_int_equal(pthread_join(walker, 0), 0);
	assert_int_equal(seen, 0xb);
}

#define PUBLISH_TEST(f) cmocka_unit_test_setup_teardown(f, walker_setup, walker_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PUBLISH_TEST(a_fixup_is_in_the_next_harvest),
		PUBLISH_TEST(a_harvest_waits_for_a_fixup),
		PUBLISH_TEST(an_install_without_its_entry_is_in_the_next_harvest),
		PUBLISH_TEST(an_install_without_its_bit_is_in_the_next_harvest),
		PUBLISH_TEST(a_harvest_waits_for_an_install),
		PUBLISH_TEST(a_quick_install_without_its_entry_is_in_the_next_harvest),
		PUBLISH_TEST(a_quick_install_without_its_bit_is_in_the_next_harvest),
		PUBLISH_TEST(a_host_store_is_in_the_next_harvest),
		PUBLISH_TEST(a_harvest_waits_for_a_host_store),
		PUBLISH_TEST(a_change_in_place_does_not_bring_w_back),
		PUBLISH_TEST(a_table_is_unsync_before_it_is_open),
	};

	return cmocka_run_group_tests_name("hazards of publishing", tests, 0, 0);
}
