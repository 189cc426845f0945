/* SPDX-License-Identifier: MIT */
/* mmu_cmpxchg: every width at every offset, refused and done; what it stores is dirty and known to the shadows of page tables
 * (CVE-2024-35804). */
#include "tools/host/hazard_test.h"

/* Page-aligned in front, so that operands lie in all the places of a page that matter. */
static const uint64_t places[] = {TEST_FREE, TEST_FREE + 120, TEST_FREE + PAGE_SIZE - 32};

static void exchange_at(struct machine *c, uint64_t at, unsigned bytes)
{
	uint8_t before[64], after[64], value[16], guess[16];

	for (unsigned i = 0; i < sizeof before; i++)
		before[i] = (uint8_t)(i * 37 + bytes);
	for (unsigned i = 0; i < sizeof value; i++)
		value[i] = (uint8_t)(i * 11 + 5);
	assert_true(mmu_write(&c->mmu, gpa(at - 16), before, sizeof before));
	memcpy(guess, before + 16, bytes);
	guess[bytes - 1] ^= 0x80;
	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(at), guess, value, bytes), MMU_DIFFERS);
	assert_memory_equal(guess, before + 16, bytes);
	assert_true(mmu_read(&c->mmu, gpa(at - 16), after, sizeof after));
	assert_memory_equal(after, before, sizeof before);
	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(at), guess, value, bytes), MMU_EXCHANGED);
	memcpy(before + 16, value, bytes);
	assert_true(mmu_read(&c->mmu, gpa(at - 16), after, sizeof after));
	assert_memory_equal(after, before, sizeof before);
}

static void every_width_at_every_offset(void **state)
{
	struct machine *c = *state;

	for (unsigned bytes = 1; bytes <= 16; bytes *= 2)
		for (unsigned p = 0; p < sizeof places / sizeof *places; p++)
			for (unsigned i = 0; i <= 16; i += bytes == 16 ? 16 : 1)
				exchange_at(c, (places[p] & ~15UL) + i, bytes);
}

static void what_it_stores_is_logged(void **state)
{
	struct machine *c = *state;
	uint64_t guess = 1, value = 2;

	log_start(&c->mmu);
	harvest_on(2, c, 0);
	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(TEST_FREE), &guess, &value, 8), MMU_DIFFERS);
	assert_false(is_dirty(c, TEST_FREE));
	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(TEST_FREE), &guess, &value, 8), MMU_EXCHANGED);
	assert_true(is_dirty(c, TEST_FREE));
}

static void a_page_table_entry_of_its_is_seen(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), pte, old, entry = (TEST_FREE + PAGE_SIZE) | TEST_RW;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	assert_int_not_equal(machine_spte(c, TEST_VIRT), 0);
	assert_true(mmu_read(&c->mmu, gpa(pte), &old, sizeof old));
	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(pte), &old, &entry, sizeof entry), MMU_EXCHANGED);
	assert_int_equal(machine_spte(c, TEST_VIRT), 0);
	machine_invlpg(c, TEST_VIRT);
	machine_store(c, TEST_VIRT, 2);
	assert_int_equal(machine_peek(c, TEST_FREE + PAGE_SIZE), 2);
	assert_int_equal(machine_peek(c, TEST_FREE), 1);
}

static void there_is_nothing_outside_ram(void **state)
{
	struct machine *c = *state;
	uint64_t guess = ~0UL, value = 2;

	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(0xa0000), &guess, &value, 8), MMU_NO_RAM);
	assert_int_equal(mmu_cmpxchg(&c->mmu, gpa(0xfee00000), &guess, &value, 8), MMU_NO_RAM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(every_width_at_every_offset),
		HAZARD_TEST(what_it_stores_is_logged),
		HAZARD_TEST(a_page_table_entry_of_its_is_seen),
		HAZARD_TEST(there_is_nothing_outside_ram),
	};

	return cmocka_run_group_tests_name("compare and exchange", tests, 0, 0);
}
