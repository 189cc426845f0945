/* SPDX-License-Identifier: MIT */
/* Of the catalogue of public bugs (mm/README.md), those that take several processors at once, each on a thread. */
#include "tools/host/hazard_test.h"

#define READS 4000u
#define TOGGLES 1500u
#define SPACES 24u     /* address spaces, with tables of their own on every level */
#define SWITCHES 1500u /* loads of CR3 of each vCPU */
#define AT (TEST_VIRT + (1UL << 39))

static struct machine *const vcpu[] = {&test_machine, &test_second};
static struct machine third;
static uint64_t root, pde, space[SPACES];
static atomic32 readers;

static int setup(void **state)
{
	third.vcpu.mmu = 0;
	return hazard_setup(state);
}

static int teardown(void **state)
{
	if (third.vcpu.mmu)
		machine_part(&third);
	return hazard_teardown(state);
}

/* CPU 0 makes the entry a large page and a table by turns, as long as others read through it. It has loaded CR3 after
 * each turn, so it must see the new one; the others, who have not, either. */
static void toggle_or_read(void *arg)
{
	const uint64_t at = TEST_OTHER + 8 * PAGE_SIZE;
	struct machine *c = host_cpu() == 0 ? &test_machine : host_cpu() == 1 ? &test_second : &third;
	uint64_t value;

	(void)arg;
	for (unsigned n = 0; host_cpu() == 0 && (n < TOGGLES || load_acquire(&readers)); n++) {
		machine_store(c, pde, TEST_RW | (n % 2 ? 0 : GPTE_PS));
		machine_cr3(c, root);
		CHECK(machine_load(c, at) == (n % 2 ? 0xa : 8));
	}
	for (unsigned n = 0; host_cpu() && n < READS; n++) {
		value = machine_load(c, at);
		CHECK(value == 0xa || value == 8);
		if (n % 16 == 0)
			machine_cr3(c, root);
	}
	if (host_cpu())
		fetch_sub_seq(&readers, 1);
}

/* CVE-2026-53359. A child of a directory entry was taken for the right one by its gfn alone, while another processor
 * had made the entry a table of a large page: a leaf of the one was written into the other. Here a child is reused in
 * its own role alone: frame 0 is the table, and the first page of the large page. */
static void an_entry_toggles_while_others_fault(void **state)
{
	struct machine *c = *state;

	root = two_vcpus(c, FRAME_A | TEST_RW);
	log_start(&c->mmu); /* pieces of 4 KiB */
	machine_join(&third, c);
	pde = machine_pte(c, root, TEST_OTHER, 2);
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, 8 * sizeof(uint64_t)) = (atomic64){FRAME_A | TEST_RW | GPTE_A};
	*raw(c, 8 * PAGE_SIZE) = (atomic64){8};
	machine_store(c, pde, TEST_RW);
	machine_cr3(c, root);
	store_relaxed(&readers, 2);
	host_set_kick(0);
	host_run_cpus(3, toggle_or_read, 0);
	host_set_kick(hazard_kick);
}

static void switch_spaces(void *arg)
{
	struct machine *c = vcpu[host_cpu()];
	uint64_t seed = 438 + host_cpu();

	(void)arg;
	for (unsigned n = 0; n < SWITCHES; n++) {
		unsigned i = host_random(&seed) % SPACES;

		machine_cr3(c, space[i]);
		CHECK(machine_load(c, AT) == i);
		machine_store(c, AT + 8 + host_cpu() * 8, n);
		CHECK(machine_load(c, AT + 8 + host_cpu() * 8) == n);
	}
}

/* XSA-438, -494. A root whose last user seemed to be gone was freed while another processor had it loaded, or was about
 * to. Here a loaded root is pinned: room is made under loads of CR3 on two processors. */
static void room_is_made_beside_loads_of_cr3(void **state)
{
	struct machine *c = *state;

	root = two_vcpus(c, FRAME_A | TEST_RW);
	for (unsigned i = 0; i < SPACES; i++) {
		space[i] = machine_table(c);
		machine_store(c, space[i], machine_load(c, root));
		machine_map(c, space[i], AT, (TEST_FREE + i * PAGE_SIZE) | TEST_RW, 1);
		machine_store(c, TEST_FREE + i * PAGE_SIZE, i);
	}
	mmu_zap_all(&c->mmu);
	c->mmu.budget = MMU_FLOOR; /* no instruction here needs the floor of two */
	host_set_kick(0);
	host_run_cpus(2, switch_spaces, 0);
	host_set_kick(hazard_kick);
	assert_true(load_relaxed(&c->mmu.stats.reclaimed) > SWITCHES);
	c->mmu.budget = 256;
}

#define CATALOGUE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CATALOGUE_TEST(an_entry_toggles_while_others_fault),
		CATALOGUE_TEST(room_is_made_beside_loads_of_cr3),
	};

	return cmocka_run_group_tests_name("threads: catalogue of public bugs", tests, 0, 0);
}
