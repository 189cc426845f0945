/* SPDX-License-Identifier: MIT */
/* The quick path of a fault takes the table's lock and the chain's, and no other: what may happen to the table and to the page
 * while it is on its way, and what must wait for it. Model: quick. */
#include <pthread.h>

#include "tools/host/hazard_test.h"

#define TRIES 64
#define TABLES 32
#define NEW_PAGE (TEST_VIRT + PAGE_SIZE) /* never touched; the table over it is in use */

static struct machine stranger;
static struct table *walked; /* the table over NEW_PAGE */
static uint64_t root;

static struct table *leaf_table(struct machine *c, uint64_t at)
{
	unsigned level;
	spte_t *p = shadow_walk(&c->vcpu, gva(at), &level);

	return p && level == 1 ? spte_table(p) : 0;
}

/* TEST_VIRT is in use, NEW_PAGE maps FRAME_A and is not; every table is in step. */
static void in_step(struct machine *c)
{
	*raw(c, FRAME_A) = (atomic64){0xa};
	*raw(c, FRAME_B) = (atomic64){0xb};
	root = two_vcpus(c, FRAME_B | TEST_RW);
	machine_map(c, root, NEW_PAGE, FRAME_A | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(c, root);
	machine_load(c, TEST_VIRT);
	walked = leaf_table(c, TEST_VIRT);
	assert_non_null(walked);
	assert_int_equal(machine_spte(c, NEW_PAGE), 0);
}

static uint64_t of_stranger(unsigned k)
{
	return TEST_VIRT + k * 0x200000UL;
}

/* The first guest's shadow pages go, until the stranger has the walked one over a table of its own. */
static void become_a_strangers(struct machine *c)
{
	host_thread_cpu(1);
	for (unsigned i = 0; i < TRIES; i++) {
		mmu_zap_all(&c->mmu);
		mmu_zap_all(&stranger.mmu);
		for (unsigned k = i % TABLES; k < TABLES; k++) {
			machine_load(&stranger, of_stranger(k));
			if (leaf_table(&stranger, of_stranger(k)) == walked) {
				host_thread_cpu(0);
				return;
			}
		}
	}
	assert_true(false);
}

/* H8, H9: between the walk and the table's lock the table becomes another guest's: it gets no leaf of ours. */
static void a_table_that_became_another_is_left_alone(void **state)
{
	struct machine *c = *state;
	uint64_t own;

	host_thread_cpu(1); /* where tables come from is where they go */
	in_step(c);
	machine_init(&stranger, TEST_PAGES, 256);
	own = machine_long_mode(&stranger);
	for (unsigned k = 0; k < TABLES; k++)
		for (unsigned i = 0; i < 2; i++)
			machine_map(&stranger, own, of_stranger(k) + i * PAGE_SIZE, FRAME_A | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(&stranger, own);
	host_thread_cpu(0);
	park_at(c, "quick-walked", 0, become_a_strangers);
	assert_int_equal(machine_load(c, NEW_PAGE), 0xa);
	parked();
	assert_int_equal(mmu_audit(&stranger.mmu), 0);
	machine_destroy(&stranger);
}

static struct shadow *dying;

static void kill_the_table(struct machine *c)
{
	struct shadow *s = slab_side(&shadow_cache, walked);

	host_thread_cpu(1);
	lock_take(&c->mmu.lock);
	shadow_kill(s, &dying);
	lock_drop(&c->mmu.lock);
	host_thread_cpu(0);
}

/* H40: the table dies between the walk and its lock: it is not filled any more. */
static void a_table_that_dies_is_not_filled(void **state)
{
	struct machine *c = *state;
	struct mmu_fault f;

	in_step(c);
	dying = 0;
	park_at(c, "quick-walked", 0, kill_the_table);
	mmu_fault(&c->vcpu, gva(NEW_PAGE), 0, &f); /* RETRY: a burial is under way */
	parked();
	assert_int_equal(load_relaxed(&walked->spte[1]), 0);
	shadow_bury(&c->mmu, dying);
	assert_int_equal(machine_load(c, NEW_PAGE), 0xa);
}

static void make_it_a_table(struct machine *c)
{
	(void)c;
	assert_int_equal(load_on(1, &test_second, TEST_OTHER), 0xb);
}

/* H39: the page becomes a page table when its leaf was decided on: it is not opened as plain memory. */
static void a_page_is_no_table_only_under_its_chains_lock(void **state)
{
	struct machine *c = *state;

	in_step(c);
	*raw(c, TEST_FREE) = (atomic64){FRAME_B | TEST_RW};
	machine_map(c, root, NEW_PAGE, TEST_FREE | TEST_RW | GPTE_A | GPTE_D, 1);
	machine_cr3(c, root);
	park_at(c, "publish-decided", 0, make_it_a_table);
	machine_store(c, NEW_PAGE, FRAME_A | TEST_RW);
	parked();
	assert_int_equal(mmu_audit(&c->mmu), 0);
	host_thread_cpu(1);
	machine_cr3(&test_second, root);
	assert_int_equal(machine_load(&test_second, TEST_OTHER), 0xa);
}

enum stage { STARTED = 1, DECIDED, TOLD };

/* The fault has read the gpte and waits, until the other vCPU waits for it or is through. */
static void fault_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "publish-decided") || load_acquire(&stage) != STARTED)
		return;
	store_release(&stage, DECIDED);
	CHECK(comes_to(TOLD, FOREVER));
}

static void teller_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (!strcmp(point, "lock-wait"))
		store_release(&stage, TOLD);
}

static bool by_cr3; /* else by INVLPG */

static void *tell(void *arg)
{
	uint64_t pte = *(uint64_t *)arg;

	host_thread_cpu(1);
	CHECK(comes_to(DECIDED, FOREVER));
	CHECK(machine_store(&test_second, pte, FRAME_B | TEST_RW | GPTE_A | GPTE_D));
	host_set_park(teller_hook, 0);
	if (by_cr3)
		machine_cr3(&test_second, root);
	else
		machine_invlpg(&test_second, NEW_PAGE);
	host_set_park(0, 0);
	store_release(&stage, TOLD);
	return 0;
}

/* H50: another vCPU changes the entry and tells of it when the entry was read and its leaf is not there: the leaf is found. */
static void waits_for_an_install(struct machine *c)
{
	pthread_t teller;
	uint64_t pte;

	in_step(c);
	pte = machine_pte(c, root, NEW_PAGE, 1);
	assert_true(store_on(1, &test_second, pte + 8, 0)); /* the table is unsync, and open to the teller */
	store_release(&stage, STARTED);
	assert_int_equal(pthread_create(&teller, 0, tell, &pte), 0);
	host_set_park(fault_hook, 0);
	machine_load(c, NEW_PAGE);
	host_set_park(0, 0);
	assert_int_equal(pthread_join(teller, 0), 0);
	assert_int_equal(load_acquire(&stage), TOLD);
	assert_int_equal(load_on(1, &test_second, NEW_PAGE), 0xb);
}

static void an_invlpg_waits_for_an_install(void **state)
{
	by_cr3 = false;
	waits_for_an_install(*state);
}

static void a_sync_waits_for_an_install(void **state)
{
	by_cr3 = true;
	waits_for_an_install(*state);
}

/* The INVLPG is about to change the leaf and waits, until the other vCPU waits for it or is through. */
static void invlpg_hook(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "leaf-replace") || load_acquire(&stage) != STARTED)
		return;
	store_release(&stage, DECIDED);
	CHECK(comes_to(TOLD, FOREVER));
}

static void *use_it_as_a_table(void *c)
{
	host_thread_cpu(1);
	CHECK(comes_to(DECIDED, FOREVER));
	host_set_park(teller_hook, 0);
	make_it_a_table(c);
	host_set_park(0, 0);
	store_release(&stage, TOLD);
	return 0;
}

/* H39: the page becomes a page table while an INVLPG is about to make its leaf writable, for the guest's entry has got D. */
static void an_invlpg_opens_no_page_table(void **state)
{
	struct machine *c = *state;
	struct mmu_fault f;
	pthread_t other;
	gpa_t a;

	in_step(c);
	*raw(c, TEST_FREE) = (atomic64){FRAME_B | TEST_RW};
	machine_map(c, root, NEW_PAGE, TEST_FREE | TEST_RW | GPTE_A, 1);
	machine_cr3(c, root);
	machine_load(c, NEW_PAGE);
	assert_false(machine_spte(c, NEW_PAGE) & SPTE_MMU_WRITABLE);
	/* an emulated store sets D: the table is in step still */
	assert_int_equal(mmu_translate(&c->vcpu, gva(NEW_PAGE), PF_W, &a, &f), MMU_RESUME);
	store_release(&stage, STARTED);
	assert_int_equal(pthread_create(&other, 0, use_it_as_a_table, c), 0);
	host_set_park(invlpg_hook, 0);
	machine_invlpg(c, NEW_PAGE);
	host_set_park(0, 0);
	assert_int_equal(pthread_join(other, 0), 0);
	assert_int_equal(load_acquire(&stage), TOLD);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	machine_store(c, NEW_PAGE, FRAME_A | TEST_RW);
	host_thread_cpu(1);
	machine_cr3(&test_second, root);
	assert_int_equal(machine_load(&test_second, TEST_OTHER), 0xa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST_LIFO(a_table_that_became_another_is_left_alone),
		HAZARD_TEST(a_table_that_dies_is_not_filled),
		HAZARD_TEST(a_page_is_no_table_only_under_its_chains_lock),
		HAZARD_TEST(an_invlpg_waits_for_an_install),
		HAZARD_TEST(a_sync_waits_for_an_install),
		HAZARD_TEST(an_invlpg_opens_no_page_table),
	};

	return cmocka_run_group_tests_name("hazards of the quick path", tests, 0, 0);
}
