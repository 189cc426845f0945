/* SPDX-License-Identifier: MIT */
/* Bugs that other shadow MMUs have had, one test each, where no test of a hazard shows the same: each names the report,
 * says what went wrong there and what must hold here. The table of all of them is in mm/README.md. */
#include "mm/replica.h"
#include "tools/host/hazard_test.h"

#define LARGE (TEST_RW | GPTE_PS | GPTE_A | GPTE_D)
#define HALF 0x100000UL /* in a 2 MiB page: RAM, and no page table, also in the first and the second of the guest's */

static uint64_t root, pte;

static void in_step(struct machine *c, uint64_t entry)
{
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, entry);
	pte = machine_pte(c, root, TEST_VIRT, 1);
}

static void set(struct machine *c, bool wp, uint64_t cr4)
{
	struct mmu_paging p = c->vcpu.paging;

	p.cr0 = wp ? p.cr0 | CR0_WP : p.cr0 & ~CR0_WP;
	p.cr4 = CR4_PAE | cr4;
	machine_set(c, &p);
}

/* CVE-2026-46113. Pieces of a large page were filed under a gfn computed from their table, and removed under that of
 * their own frame; after the directory entry had been rewritten from outside the two differed, and entries stayed behind
 * when the memory went. Here: whatever the entry says by then, the move of the RAM, and its end, leave no entry. */
static void a_rewritten_directory_entry_leaves_no_mapping_behind(void **state)
{
	struct machine *c = *state;
	uint64_t pde, value = 0x46;

	in_step(c, FRAME_A | TEST_RW);
	*raw(c, HALF + PAGE_SIZE) = (atomic64){1};
	*raw(c, 0x200000 + HALF + PAGE_SIZE) = (atomic64){2};
	pde = machine_pte(c, root, TEST_VIRT, 2);
	for (unsigned i = 0; i < 4; i++) { /* by pieces: neither 2 MiB may be one leaf */
		*raw(c, pde) = (atomic64){(i % 2 ? 0 : 0x200000) | LARGE};
		mmu_zap_all(&c->mmu);
		machine_load(c, TEST_VIRT + HALF);
		*raw(c, pde) = (atomic64){(i % 2 ? 0x200000 : 0) | LARGE};
		machine_store(c, pde + 8 * 100, 0); /* its table is unsync: each fault walks from the top */
		for (uint64_t page = 2; page < 9; page++)
			machine_access(c, TEST_VIRT + HALF + page * PAGE_SIZE, page % 2 ? PF_W : 0, &value);
		assert_false(nothing_is_mapped(c));
		assert_int_equal(mmu_audit(&c->mmu), 0);
		assert_int_equal(mmu_move_ram(&c->mmu), MMU_RESUME);
		assert_true(nothing_is_mapped(c));
		assert_int_equal(machine_load(c, TEST_VIRT + HALF + PAGE_SIZE), i % 2 ? 2 : 1);
	}
}

/* CVE-2026-23401, -23402. An entry that was rewritten from outside to a device, or to another frame, was installed over
 * the present one; the rmap entry of the old frame stayed. Here: a device is no mapping, and a frame comes after the
 * old mapping has been dropped. */
static void a_present_mapping_goes_before_another_comes(void **state)
{
	struct machine *c = *state;
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(FRAME_A)));
	uint32_t before;
	uint64_t value = 1;

	in_step(c, FRAME_A | GPTE_P | GPTE_A);
	before = load_relaxed(&slot_chain(s, gpa_gfn(gpa(FRAME_A)), 1)->length);
	assert_true(before > 0);
	*raw(c, pte) = (atomic64){0xa0000 | TEST_RW};
	assert_false(machine_access(c, TEST_VIRT, PF_W, &value));
	assert_int_equal(c->outcome, MMU_MMIO);
	assert_int_equal(c->fault.gpa.v, 0xa0000);
	*raw(c, pte) = (atomic64){FRAME_B | TEST_RW};
	machine_store(c, TEST_VIRT, 0xbb);
	assert_int_equal(spte_hfn(machine_spte(c, TEST_VIRT)).v, slot_hfn(s, gpa_gfn(gpa(FRAME_B))).v);
	assert_int_equal(load_relaxed(&slot_chain(s, gpa_gfn(gpa(FRAME_A)), 1)->length), before - 1);
	assert_int_equal(machine_peek(c, FRAME_A), 0xa);
	assert_int_equal(machine_peek(c, FRAME_B), 0xbb);
}

static void everything_dies(struct machine *c)
{
	machine_exit(&test_second);
	host_thread_cpu(2);
	mmu_zap_all(&c->mmu);
}

/* CVE-2026-64561, H22. The fault path asked whether its root was current, then made room, by which the root might die,
 * and went on with it. Here: after making room the fault begins anew, and finds its root dead. */
static void a_root_that_dies_while_room_is_made_is_not_used(void **state)
{
	struct machine *c = *state;

	in_step(c, TEST_FREE | TEST_RW);
	*raw(c, TEST_FREE) = (atomic64){FRAME_A | TEST_RW};
	machine_load(c, TEST_VIRT);
	test_second.stay = true;
	load_on(1, &test_second, TEST_VIRT);
	c->mmu.budget = c->mmu.used;
	host_set_kick(0);
	park_at(c, "tlb-wait", 0, everything_dies);
	assert_int_equal(machine_load(c, TEST_OTHER), 0xa);
	parked();
	host_set_kick(hazard_kick);
	assert_true(load_relaxed(&c->mmu.stats.reclaimed) > 0);
	assert_int_equal(load_relaxed(&c->vcpu.root[0]->state), SHADOW_LIVE);
	assert_true(c->mmu.used <= c->mmu.budget);
	c->mmu.budget = 256;
}

/* CVE-2024-26990. Where the log went by write protection, D was cleared instead, and the next write of the page was
 * missed. Here: in each mode, and after each change of mode, with the translation still warm, the copy is the memory. */
static void what_is_written_after_a_round_is_in_the_next(void **state)
{
	static const enum log_mode modes[] = {LOG_WP, LOG_WP, LOG_DBIT, LOG_DBIT, LOG_WP, LOG_AUTO, LOG_DBIT, LOG_WP};
	struct machine *c = *state;
	struct replica r;
	gfn_t bad = gfn(0);

	in_step(c, FRAME_A | TEST_RW);
	machine_store(c, machine_pte(c, root, TEST_VIRT + 0x400000, 2), LARGE);
	machine_store(c, TEST_VIRT + 0x400000 + HALF, 1); /* a 2 MiB leaf, before the log starts */
	test_second.stay = true;
	assert_true(replica_init(&r, &c->mmu));
	for (unsigned n = 0; n < 4 * sizeof modes / sizeof *modes; n++) {
		c->mmu.log_mode = modes[n / 4];
		assert_true(store_on(1, &test_second, TEST_VIRT, n));
		assert_true(store_on(1, &test_second, TEST_VIRT + 0x400000 + HALF, n));
		host_thread_cpu(2);
		assert_int_equal(replica_round(&r, 0), LOG_DONE);
		assert_int_equal(replica_compare(&r, &bad), 0);
		host_thread_cpu(0);
	}
	replica_destroy(&r);
}

/* Linux 898761158be7 and 0be0226f07d1. With CR0.WP = 0 a user's page that the supervisor has written becomes a
 * supervisor's, which SMEP and SMAP then let pass; and shadow pages of before a change of those bits were used after it.
 * Here: each combination has shadow pages of its own, and under SMAP such a write is emulated, nothing is opened (test_mmu,
 * the image mmio). */
static void wp_smep_and_smap_have_shadow_pages_of_their_own(void **state)
{
	struct machine *c = *state;
	uint64_t value = 1;

	in_step(c, FRAME_A | GPTE_P | GPTE_U);
	for (unsigned n = 0; n < 6; n++) {
		bool wp = n % 2;

		set(c, wp, CR4_SMEP);
		if (wp)
			expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
		else
			assert_true(machine_store(c, TEST_VIRT, n));
		expect_fault(c, TEST_VIRT, PF_I, PF_P | PF_I);
		assert_true(machine_access(c, TEST_VIRT, PF_U | PF_I, &value));
		expect_fault(c, TEST_VIRT, PF_U | PF_W, PF_P | PF_U | PF_W);
		expect_fault(c, TEST_VIRT, PF_I, PF_P | PF_I);
		set(c, wp, CR4_SMAP);
		expect_fault(c, TEST_VIRT, 0, PF_P);
		c->vcpu.ac = true;
		assert_true(machine_access(c, TEST_VIRT, 0, &value));
		assert_true(machine_access(c, TEST_VIRT, PF_I, &value));
		c->vcpu.ac = false;
		machine_invlpg(c, TEST_VIRT);
		expect_fault(c, TEST_VIRT, 0, PF_P);
		set(c, wp, 0);
		assert_true(machine_access(c, TEST_VIRT, PF_I, &value));
		assert_true(machine_access(c, TEST_VIRT, 0, &value));
	}
}

#define SPACES 20u /* of four tables each, more than MMU_FLOOR in all */

/* XSA-294. A root was replaced under one PCID without a flush once the pool ran low, and the old root's translations
 * served the new one. Here PCID is hidden (test_cpuid), and every load of CR3 flushes, whatever becomes of the tables. */
static void every_load_of_cr3_flushes_when_the_pool_is_low(void **state)
{
	struct machine *c = *state;
	uint64_t first = machine_long_mode(c), at = TEST_VIRT + (1UL << 39), space[SPACES], seed = 294;

	for (unsigned i = 0; i < SPACES; i++) {
		space[i] = machine_table(c);
		machine_store(c, space[i], machine_load(c, first));
		machine_map(c, space[i], at, (TEST_FREE + i * PAGE_SIZE) | TEST_RW, 1);
		machine_store(c, TEST_FREE + i * PAGE_SIZE, i);
	}
	mmu_zap_all(&c->mmu);
	c->mmu.budget = MMU_FLOOR;
	for (unsigned n = 0; n < 50 * SPACES; n++) {
		unsigned i = host_random(&seed) % SPACES;

		machine_cr3(c, space[i]);
		assert_int_equal(machine_load(c, at) % SPACES, i);
		machine_store(c, at, i + n / SPACES * SPACES);
		assert_true(c->mmu.used <= c->mmu.budget);
	}
	assert_true(load_relaxed(&c->mmu.stats.reclaimed) > SPACES);
}

#define DIRECTORIES 130u /* of 512 entries each, all to one table: more than 16 bits count */
#define PDPT_AT (TEST_FREE + 0x18000)
#define DIRECTORY(i) (TEST_FREE + 0x20000 + (i) * PAGE_SIZE)
#define MANY (2UL << 39)

static uint64_t many(unsigned i, unsigned k)
{
	return MANY + ((uint64_t)i << 30) + ((uint64_t)k << 21);
}

static void fill(struct machine *c, uint64_t table, uint64_t entry)
{
	uint64_t entries[TABLE_ENTRIES];

	for (unsigned k = 0; k < TABLE_ENTRIES; k++)
		entries[k] = entry;
	assert_true(mmu_write(&c->mmu, gpa(table), entries, sizeof entries));
}

/* XSA-249, -250. A table that was linked often enough made its reference count wrap, and was freed in use. Here its
 * parents are a chain of entries, each of which is found and taken out. */
static void a_table_with_more_parents_than_16_bits_count(void **state)
{
	struct machine *c = *state;
	struct shadow *s;
	unsigned level;

	in_step(c, FRAME_A | TEST_RW);
	machine_store(c, TEST_FREE, FRAME_A | TEST_RW);
	machine_store(c, root + 2 * 8, PDPT_AT | TEST_RW);
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		machine_store(c, PDPT_AT + i * 8, DIRECTORY(i) | TEST_RW);
		fill(c, DIRECTORY(i), TEST_FREE | TEST_RW | GPTE_A);
	}
	machine_cr3(c, root);
	for (unsigned i = 0; i < DIRECTORIES * TABLE_ENTRIES; i++)
		assert_int_equal(machine_load(c, many(i / TABLE_ENTRIES, i % TABLE_ENTRIES)), 0xa);
	s = shadow_of_spte(shadow_walk(&c->vcpu, gva(MANY), &level));
	assert_int_equal(level, 1);
	assert_int_equal(load_relaxed(&s->parents.length), DIRECTORIES * TABLE_ENTRIES);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	fill(c, DIRECTORY(0), 0);
	machine_cr3(c, root);
	assert_int_equal(load_relaxed(&s->parents.length), (DIRECTORIES - 1) * TABLE_ENTRIES);
	expect_fault(c, many(0, 5), 0, 0);
	assert_true(mmu_write(&c->mmu, gpa(TEST_FREE), &(uint64_t){FRAME_B | TEST_RW}, 8));
	machine_cr3(c, root);
	assert_int_equal(machine_load(c, many(1, 0)), 0xb);
	assert_int_equal(machine_load(c, many(DIRECTORIES - 1, 511)), 0xb);
	assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
	assert_int_equal(load_relaxed(slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)), 1)),
		0);
}

/* XSA-23, -64. PAE's four top entries were taken for present. Here: a GiB whose entry is not present, whatever else it
 * holds, faults as not present, has no root, and the others are as they were. */
static void pae_with_empty_pdptes(void **state)
{
	struct machine *c = *state;
	struct mmu_paging p = {.cr0 = CR0_PE | CR0_PG | CR0_WP, .cr3 = TEST_FREE, .cr4 = CR4_PAE, .efer = EFER_NXE};
	const uint64_t pd = TEST_FREE + PAGE_SIZE;

	assert_true(mmu_write(&c->mmu, gpa(pd), &(uint64_t){0x200000 | LARGE}, 8));
	assert_true(mmu_write(&c->mmu, gpa(FRAME_A), &(uint64_t){0xa}, 8));
	for (unsigned present = 0; present < 16; present++) {
		for (unsigned i = 0; i < 4; i++)
			p.pdpte[i] = present >> i & 1 ? pd | GPTE_P : i % 2 ? pd : 0;
		machine_set(c, &p);
		for (unsigned i = 0; i < 4; i++) {
			uint64_t at = ((uint64_t)i << 30) + FRAME_A - 0x200000;

			if (present >> i & 1)
				assert_int_equal(machine_load(c, at), 0xa);
			else
				expect_fault(c, at, 0, 0);
			assert_int_equal(load_relaxed(&c->vcpu.pae_root[i]) & SPTE_P, present >> i & 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(a_rewritten_directory_entry_leaves_no_mapping_behind),
		HAZARD_TEST(a_present_mapping_goes_before_another_comes),
		HAZARD_TEST(a_root_that_dies_while_room_is_made_is_not_used),
		HAZARD_TEST(what_is_written_after_a_round_is_in_the_next),
		HAZARD_TEST(wp_smep_and_smap_have_shadow_pages_of_their_own),
		HAZARD_TEST(every_load_of_cr3_flushes_when_the_pool_is_low),
		HAZARD_TEST(a_table_with_more_parents_than_16_bits_count),
		HAZARD_TEST(pae_with_empty_pdptes),
	};

	return cmocka_run_group_tests_name("catalogue of public bugs", tests, 0, 0);
}
