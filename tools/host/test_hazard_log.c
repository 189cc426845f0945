/* SPDX-License-Identifier: MIT */
/* The log's walker and the fix-up, stopped between their steps while tables are taken apart and become others. */
#include "tools/host/hazard_test.h"

#define TRIES 64
/* An address whose index is 1 at every level: its tables may become each other with an entry in the same place. */
#define SAME ((1UL << 39) | (1UL << 30) | (1UL << 21) | (1UL << 12))
/* Addresses in level-1 tables of their own, all at index 1. */
#define OWN_TABLE(k) (TEST_VIRT + (k) * 0x200000UL + PAGE_SIZE)
#define OWN_TABLES 24u

static spte_t *stood_on;
static uint64_t found;

static spte_t *leaf_of(struct machine *c, uint64_t at)
{
	unsigned level;

	return shadow_walk(&c->vcpu, gva(at), &level);
}

/* Opened, harvested, written again: W is set, and the next harvest visits this spte and no other. */
static void log_one_page(struct machine *c, uint64_t at)
{
	mmu_zap_all(&c->mmu);
	log_start(&c->mmu);
	machine_store(c, at, 1);
	harvest_on(2, c, 0);
	machine_store(c, at, 2);
	stood_on = leaf_of(c, at);
	assert_true(load_relaxed(stood_on) & SPTE_W);
}

/* Shadow pages die and are made again, until the spte that the walker stands on is a link. */
static void become_an_upper_table(struct machine *c)
{
	host_thread_cpu(0);
	for (unsigned i = 0; i < TRIES; i++) {
		mmu_zap_all(&c->mmu);
		for (unsigned touch = 0; touch < i % 4; touch++)
			machine_load(c, TEST_FREE);
		machine_load(c, SAME);
		found = load_relaxed(stood_on);
		if ((found & SPTE_P) && !spte_is_leaf(found))
			return;
	}
	assert_true(false);
}

/* H8: the table that the walker stands on becomes an upper one before its cmpxchg. */
static void a_walker_protects_no_link(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, SAME, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	log_one_page(c, SAME);
	park_at(c, "log-protect", 0, become_an_upper_table);
	harvest_on(2, c, 0);
	parked();
	assert_int_equal(load_relaxed(stood_on), found);
	machine_store(c, SAME, 3);
	assert_true(is_dirty(c, TEST_FREE));
}

static struct machine stranger;
static uint64_t reached; /* the address whose spte came to lie there */

/* c's shadow pages die, and `other` takes tables, until `wanted` says yes to the spte that is stood on. */
static void become(struct machine *c, struct machine *other, uint32_t access, bool (*wanted)(void))
{
	for (unsigned i = 0; i < TRIES; i++) {
		mmu_zap_all(c->vcpu.mmu);
		mmu_zap_all(other->vcpu.mmu);
		for (unsigned k = i % 4; k < OWN_TABLES; k++) {
			uint64_t value = 4;

			reached = OWN_TABLE(k);
			assert_true(machine_access(other, reached, access, &value));
			found = load_relaxed(stood_on);
			if (wanted())
				return;
		}
	}
	assert_true(false);
}

static bool is_a_strangers(void)
{
	return (found & SPTE_P) && spte_level(found) == 1 && slot_owner(spte_hfn(found))->mmu == &stranger.mmu;
}

/* The stranger's page comes to lie where the walker stands, warm in its TLB. */
static void become_a_strangers(struct machine *c)
{
	host_thread_cpu(0);
	become(c, &stranger, PF_W, is_a_strangers);
}

static void make_stranger(void)
{
	uint64_t root;

	machine_init(&stranger, TEST_PAGES, 256);
	root = machine_long_mode(&stranger);
	for (unsigned k = 0; k < OWN_TABLES; k++)
		machine_map(&stranger, root, OWN_TABLE(k), TEST_FREE | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(&stranger, root);
	log_start(&stranger.mmu);
}

/* H9: the same, and the new table is another guest's. */
static void a_walker_leaves_other_guests_alone(void **state)
{
	struct machine *c = *state;
	uint64_t root, faults;

	make_stranger();
	root = machine_long_mode(c);
	machine_map(c, root, SAME, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	log_one_page(c, SAME);
	park_at(c, "log-protect", 0, become_a_strangers);
	harvest_on(2, c, 0);
	parked();
	assert_int_equal(load_relaxed(stood_on), found);
	faults = stranger.faults;
	machine_store(&stranger, reached, 5);
	assert_int_equal(stranger.faults, faults);
	assert_true(is_dirty(&stranger, TEST_FREE));
	assert_int_equal(mmu_audit(&stranger.mmu), 0);
	machine_destroy(&stranger);
	assert_int_equal(machine_load(c, SAME), 2);
}

static uint64_t before;

static bool is_equal(void)
{
	return found == before;
}

/* The same value in the same place, in a table that was free in between. */
static void become_the_same_again(struct machine *c)
{
	before = load_relaxed(stood_on);
	host_thread_cpu(0);
	become(c, c, PF_W, is_equal);
}

/* H10: the cmpxchg succeeds on an equal value in another table; the log goes by the page, and is right. */
static void an_equal_spte_in_another_table_is_logged_right(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c), tables;
	struct log_round r;

	for (unsigned k = 0; k < OWN_TABLES; k++)
		machine_map(c, root, OWN_TABLE(k), TEST_FREE | TEST_RW, 1);
	machine_map(c, root, SAME, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	log_one_page(c, SAME);
	tables = load_relaxed(&c->mmu.stats.zapped);
	park_at(c, "log-protect", 0, become_the_same_again);
	harvest_on(2, c, &r);
	parked();
	assert_true(load_relaxed(&c->mmu.stats.zapped) > tables);
	assert_true(r.pages > 0 && is_dirty(c, TEST_FREE)); /* the second opening, after the bits were taken */
	harvest_on(2, c, 0);
	assert_false(is_dirty(c, TEST_FREE));
	machine_store(c, reached, 5);
	assert_true(is_dirty(c, TEST_FREE));
}

#define PAGE_Y (TEST_FREE + PAGE_SIZE)

static bool is_page_y(void)
{
	return (found & SPTE_MMU_WRITABLE) && !(found & SPTE_W) && spte_level(found) == 1 &&
	       slot_gfn(slot_owner(spte_hfn(found)), spte_hfn(found)).v == PAGE_Y >> PAGE_SHIFT;
}

/* On another CPU, all shadows die and come back; the table stood on now maps page Y, open to be fixed up. */
static void become_another_pages(struct machine *c)
{
	host_thread_cpu(1);
	become(c, &test_second, 0, is_page_y);
}

/* H52: the fix-up opens a page that is not the one at the faulting address: the opened one gets the bit. */
static void a_fixup_marks_the_page_that_it_opened(void **state)
{
	struct machine *c = *state;
	const uint64_t at = PAGE_SIZE; /* page X at its own address, with index 1 too */
	uint64_t root;

	host_thread_cpu(1); /* where the blocks of the slab have their home */
	root = machine_long_mode(c);
	for (unsigned k = 0; k < OWN_TABLES; k++)
		machine_map(c, root, OWN_TABLE(k), PAGE_Y | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(c, root);
	machine_join(&test_second, c);
	for (unsigned k = 0; k < OWN_TABLES; k++)
		machine_load(c, OWN_TABLE(k)); /* every A bit on the way is set */
	log_one_page(c, at);
	harvest_on(2, c, 0);
	assert_false(is_dirty(c, PAGE_Y));
	assert_false(is_dirty(c, at));
	host_thread_cpu(0);
	park_at(c, "fixup-found", 0, become_another_pages);
	assert_int_equal(mmu_fault(&c->vcpu, gva(at), PF_P | PF_W, &c->fault), MMU_RESUME);
	parked();
	assert_true(load_relaxed(stood_on) & SPTE_W);
	assert_true(store_on(1, &test_second, reached, 9));
	assert_true(is_dirty(c, PAGE_Y));
}

static bool is_a_strangers_to_fix(void)
{
	return is_a_strangers() && (found & SPTE_MMU_WRITABLE) && !(found & SPTE_W);
}

static void become_a_strangers_to_fix(struct machine *c)
{
	host_thread_cpu(1);
	become(c, &stranger, 0, is_a_strangers_to_fix);
}

/* H52, H31: the same, and the table is another guest's by now: left alone. */
static void a_fixup_leaves_other_guests_alone(void **state)
{
	struct machine *c = *state;
	uint64_t root;

	host_thread_cpu(1);
	make_stranger();
	root = machine_long_mode(c);
	machine_map(c, root, SAME, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	machine_join(&test_second, c);
	log_one_page(c, SAME);
	harvest_on(2, c, 0);
	host_thread_cpu(0);
	park_at(c, "fixup-found", 0, become_a_strangers_to_fix);
	machine_store(c, SAME, 3);
	parked();
	assert_int_equal(load_relaxed(stood_on), found);
	assert_true(is_dirty(c, TEST_FREE));
	assert_int_equal(mmu_audit(&stranger.mmu), 0);
	machine_destroy(&stranger);
}

/* H36: a user's write to a supervisor page that the log protects is the guest's fault, not a fix-up. */
static void a_fixup_repairs_nothing_but_w(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P | GPTE_W, 1);
	machine_cr3(c, root);
	log_one_page(c, TEST_VIRT);
	harvest_on(2, c, 0);
	assert_int_equal(mmu_fault(&c->vcpu, gva(TEST_VIRT), PF_P | PF_W | PF_U, &c->fault), MMU_INJECT);
	assert_int_equal(c->fault.error, PF_P | PF_W | PF_U);
	assert_false(is_dirty(c, TEST_FREE));
}

/* One page is written and logged, then the guest clears its D; where the entry is. */
static uint64_t clear_d_bit(struct machine *c)
{
	uint64_t root = machine_long_mode(c), pte;

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	log_one_page(c, TEST_VIRT);
	pte = machine_pte(c, root, TEST_VIRT, 1);
	assert_true(machine_peek(c, pte) & GPTE_D);
	machine_store(c, pte, machine_peek(c, pte) & ~GPTE_D);
	machine_invlpg(c, TEST_VIRT);
	return pte;
}

/* H35: the guest cleared D; the next write sets it again, through no fix-up. */
static void a_write_over_a_clear_d_bit_sets_it(void **state)
{
	struct machine *c = *state;
	uint64_t pte = clear_d_bit(c);

	for (unsigned i = 0; i < 2; i++) {
		machine_load(c, TEST_VIRT);
		assert_false(machine_peek(c, pte) & GPTE_D);
		if (i == 0)
			mmu_zap_all(&c->mmu); /* once read again in place, once installed anew */
	}
	machine_store(c, TEST_VIRT, 3);
	assert_true(machine_peek(c, pte) & GPTE_D);
}

static void a_write_over_a_d_bit_cleared_in_place_sets_it(void **state)
{
	struct machine *c = *state;
	uint64_t pte = clear_d_bit(c);

	machine_store(c, TEST_VIRT, 3);
	assert_true(machine_peek(c, pte) & GPTE_D);
}

/* H41: what a page was opened for before the log was started is in its bit. */
static void a_bit_is_kept_though_nobody_logs(void **state)
{
	struct machine *c = *state;

	machine_long_mode(c);
	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++)
		for (uint64_t w = 0; w < c->mmu.slot[i].words; w++)
			store_relaxed(&c->mmu.slot[i].bits[SLOT_DIRTY][w], 0);
	mmu_zap_all(&c->mmu);
	machine_store(c, TEST_FREE, 1);
	assert_true(is_dirty(c, TEST_FREE));
}

#define ALIASES 16u

/* The hardware sets A and D, the guest's kernel and the walker meet: the compared value changes, time and again. */
static void spoil(void *ctx, const char *point)
{
	unsigned *left = ctx;

	if (strcmp(point, "log-retry") || *left == 0)
		return;
	--*left;
	store_relaxed(stood_on, load_relaxed(stood_on) ^ SPTE_A);
}

/* H41, H28: a walk that is given up reports its page, and looks at it again the next time. */
static void a_walk_given_up_loses_nothing(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);
	unsigned left = 2 * ALIASES + 70;
	struct log_round r;

	for (uint64_t i = 0; i < ALIASES; i++)
		machine_map(c, root, TEST_VIRT + i * PAGE_SIZE, TEST_FREE | TEST_RW, 1);
	machine_cr3(c, root);
	log_start(&c->mmu);
	for (uint64_t i = 0; i < ALIASES; i++)
		machine_store(c, TEST_VIRT + i * PAGE_SIZE, i);
	harvest_on(2, c, 0);
	for (uint64_t i = 0; i < ALIASES; i++)
		machine_store(c, TEST_VIRT + i * PAGE_SIZE, i);
	stood_on = leaf_of(c, TEST_VIRT + (ALIASES - 1) * PAGE_SIZE);
	store_relaxed(stood_on, load_relaxed(stood_on) ^ SPTE_D); /* so that the walker's guess is wrong */
	host_set_park(spoil, &left);
	harvest_on(2, c, &r);
	host_set_park(0, 0);
	assert_int_equal(left, 0);
	assert_int_equal(r.gaveup, 1);
	assert_true(is_dirty(c, TEST_FREE));
	harvest_on(2, c, &r);
	assert_int_equal(r.gaveup, 0);
	assert_true(r.protected > 0);
	for (uint64_t i = 0; i < ALIASES; i++)
		assert_false(load_relaxed(leaf_of(c, TEST_VIRT + i * PAGE_SIZE)) & SPTE_W);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST_LIFO(a_walker_protects_no_link),
		HAZARD_TEST_LIFO(a_walker_leaves_other_guests_alone),
		HAZARD_TEST_LIFO(an_equal_spte_in_another_table_is_logged_right),
		HAZARD_TEST_LIFO(a_fixup_marks_the_page_that_it_opened),
		HAZARD_TEST_LIFO(a_fixup_leaves_other_guests_alone),
		HAZARD_TEST(a_fixup_repairs_nothing_but_w),
		HAZARD_TEST(a_write_over_a_clear_d_bit_sets_it),
		HAZARD_TEST(a_write_over_a_d_bit_cleared_in_place_sets_it),
		HAZARD_TEST(a_bit_is_kept_though_nobody_logs),
		HAZARD_TEST(a_walk_given_up_loses_nothing),
	};

	return cmocka_run_group_tests_name("hazards of the log", tests, 0, 0);
}
