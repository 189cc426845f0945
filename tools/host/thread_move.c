/* SPDX-License-Identifier: MIT */
/* A guest's RAM that goes to other frames while its vCPUs fault, build tables and store, and a device does (H29, H49). Old
 * frames are given to somebody else, who writes a canary all over them. */
#include <pthread.h>
#include <sched.h>

#include "mm/page.h"
#include "mm/replica.h"
#include "tools/host/hazard_test.h"

#define MOVER_CPU 3
#define PATIENCE 30000000UL   /* ns in which a move that does not wait would be over */
#define FOREVER 20000000000UL
#define CANARY 0x5aU
#define STORM_MOVES 12u

static pthread_t mover;
static atomic32 done;
static bool early;
static uint64_t canary_pages;
static void *canary[TEST_PAGES];

/* Whatever was given back is somebody else's at once. */
static void take_canaries(void)
{
	for (canary_pages = 0; canary_pages < TEST_PAGES; canary_pages++) {
		hfn_t f = page_alloc(0, PAGE_ANY);

		canary[canary_pages] = hfn_virt(f);
		memset(canary[canary_pages], CANARY, PAGE_SIZE);
	}
}

static void check_canaries(void)
{
	for (uint64_t i = 0; i < canary_pages; i++) {
		const unsigned char *page = canary[i];

		for (unsigned k = 0; k < PAGE_SIZE; k++)
			assert_int_equal(page[k], CANARY);
		page_free(hpa_hfn(host_phys(page)), 0);
	}
	canary_pages = 0;
}

static void *move(void *arg)
{
	host_thread_cpu(MOVER_CPU);
	while (mmu_move_ram(arg) == MMU_RETRY)
		sched_yield();
	store_release(&done, 1);
	return 0;
}

static bool is_done_within(uint64_t ns)
{
	uint64_t start = host_clock();

	for (; !load_acquire(&done); sched_yield())
		if (host_clock() - start > ns)
			return false;
	return true;
}

static void start_move(struct machine *c)
{
	store_release(&done, 0);
	assert_int_equal(pthread_create(&mover, 0, move, c->vcpu.mmu), 0);
}

static void move_must_wait(struct machine *c)
{
	start_move(c);
	early = is_done_within(PATIENCE);
}

static void move_at_once(struct machine *c)
{
	start_move(c);
	early = is_done_within(FOREVER);
	take_canaries();
}

static void join_mover(void)
{
	assert_true(is_done_within(FOREVER));
	assert_int_equal(pthread_join(mover, 0), 0);
}

static void the_contents_stay_and_the_frames_do_not(void **state)
{
	struct machine *c = *state;
	hfn_t before = slot_hfn(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)));
	uint64_t root = machine_long_mode(c);
	struct replica r;
	gfn_t first = gfn(0);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	assert_true(replica_init(&r, &c->mmu));
	assert_int_equal(replica_round(&r, 0), LOG_DONE);
	for (unsigned n = 1; n < 4; n++) {
		machine_store(c, TEST_VIRT, n);
		machine_store(c, TEST_FREE + 8, n + 10);
		assert_int_equal(mmu_move_ram(&c->mmu), MMU_RESUME);
		take_canaries();
		assert_true(before.v != slot_hfn(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE))).v);
		assert_true(is_dirty(c, TEST_FREE) && is_dirty(c, TEST_DATA));
		assert_int_equal(machine_load(c, TEST_FREE), n);
		assert_int_equal(machine_load(c, TEST_VIRT + 8), n + 10);
		machine_store(c, TEST_VIRT, n + 20);
		assert_int_equal(machine_peek(c, TEST_FREE), n + 20);
		assert_int_equal(mmu_audit(&c->mmu), 0);
		check_canaries();
	}
	assert_int_equal(replica_round(&r, 0), LOG_DONE);
	assert_int_equal(replica_compare(&r, &first), 0);
	replica_destroy(&r);
}

static void without_room_the_frames_stay(void **state)
{
	struct machine *c = *state;
	hfn_t before = slot_hfn(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE)));
	static hfn_t all[1 << 19];
	uint64_t n = 0;

	machine_store(c, TEST_FREE, 1);
	while (n < 1 << 19 && hfn_valid(all[n] = page_alloc(0, PAGE_ANY)))
		n++;
	assert_int_equal(mmu_move_ram(&c->mmu), MMU_RESUME);
	while (n)
		page_free(all[--n], 0);
	assert_int_equal(before.v, slot_hfn(slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE))), gpa_gfn(gpa(TEST_FREE))).v);
	assert_int_equal(machine_load(c, TEST_FREE), 1);
}

static void harvests_and_copies_come_first(void **state)
{
	struct machine *c = *state;

	assert_true(log_turn_take(&c->mmu));
	assert_int_equal(mmu_move_ram(&c->mmu), MMU_RETRY);
	log_turn_end(&c->mmu);
	fetch_add_seq(&c->mmu.copying, 1);
	assert_int_equal(mmu_move_ram(&c->mmu), MMU_RETRY);
	fetch_sub_seq(&c->mmu.copying, 1);
	assert_int_equal(mmu_move_ram(&c->mmu), MMU_RESUME);
}

/* H29: a fault that has translated, and not installed yet. */
static void a_move_waits_for_a_fault(void **state)
{
	struct machine *c = *state;
	uint64_t root = two_vcpus(c, TEST_FREE | TEST_RW | GPTE_A | GPTE_D);

	(void)root;
	mmu_zap_all(&c->mmu);
	park_at(c, "fault-walked", 0, move_must_wait);
	machine_store(c, TEST_VIRT, 0x29);
	parked();
	join_mover();
	assert_false(early);
	take_canaries();
	machine_store(c, TEST_VIRT + 8, 0x2a);
	assert_int_equal(machine_peek(c, TEST_FREE), 0x29);
	assert_int_equal(machine_peek(c, TEST_FREE + 8), 0x2a);
	check_canaries();
}

/* H29: the same without page tables: nothing need be built, so that the fault installs at once. */
static void a_move_waits_for_a_fault_without_paging(void **state)
{
	struct machine *c = *state;

	park_at(c, "fault-walked", 0, move_must_wait);
	machine_store(c, TEST_FREE, 0x29);
	parked();
	join_mover();
	assert_false(early);
	take_canaries();
	machine_store(c, TEST_FREE + 8, 0x2a);
	assert_int_equal(machine_peek(c, TEST_FREE), 0x29);
	assert_int_equal(machine_peek(c, TEST_FREE + 8), 0x2a);
	check_canaries();
}

static void move_must_wait_here(struct machine *c)
{
	move_must_wait(c);
	assert_false(early);
}

/* H27, H49: a demolition that another flow has begun: its tables are no longer in the hash, and lead to the old frames
 * still. */
static void a_move_waits_for_a_demolition(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW | GPTE_A | GPTE_D);
	machine_store(c, TEST_VIRT, 0x27);
	park_at(c, "rcu-lock", 0, move_must_wait_here); /* the first step of taking apart */
	mmu_zap_all(&c->mmu);
	parked();
	join_mover();
	take_canaries();
	assert_int_equal(machine_load(c, TEST_VIRT), 0x27);
	check_canaries();
}

static void host_store(struct machine *c)
{
	static const uint64_t value = 0x49;

	assert_true(mmu_write(&c->mmu, gpa(TEST_FREE), &value, sizeof value));
}

static void a_move_waits_for_a_host_store(void **state)
{
	struct machine *c = *state;

	park_at(c, "gmem-stored", 0, move_must_wait);
	host_store(c);
	parked();
	join_mover();
	assert_false(early);
	assert_int_equal(machine_load(c, TEST_FREE), 0x49);
}

/* H49: a builder whose table dies between its protection and its publication. */
static void a_table_being_built_does_not_come_alive(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	machine_store(c, TEST_FREE, FRAME_A | TEST_RW | GPTE_A | GPTE_D);
	machine_store(c, FRAME_A, 0x50);
	park_at(c, "build-protected", 0, move_at_once);
	assert_int_equal(machine_load(c, TEST_OTHER), 0x50);
	parked();
	join_mover();
	assert_true(early);
	machine_store(c, TEST_OTHER, 0x51);
	assert_int_equal(machine_peek(c, FRAME_A), 0x51);
	check_canaries();
}

static atomic32 stored;

static void *store_meanwhile(void *arg)
{
	host_thread_cpu(2);
	host_store(arg);
	store_release(&stored, 1);
	return 0;
}

static pthread_t storer;

static void a_device_stores(struct machine *c)
{
	uint64_t start = host_clock();

	assert_int_equal(pthread_create(&storer, 0, store_meanwhile, c), 0);
	while (!load_acquire(&stored) && host_clock() - start < PATIENCE)
		sched_yield();
	early = load_acquire(&stored);
	host_thread_cpu(1); /* and a vCPU faults: it is told to come again */
	assert_int_equal(mmu_fault(&test_second.vcpu, gva(TEST_VIRT), 0, &test_second.fault), MMU_RETRY);
}

/* H49: a slot that moves is not absent. */
static void stores_wait_while_slots_move(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	store_release(&stored, 0);
	park_at(c, "move-unpublished", 0, a_device_stores);
	assert_int_equal(mmu_move_ram(&c->mmu), MMU_RESUME);
	parked();
	assert_int_equal(pthread_join(storer, 0), 0);
	assert_false(early);
	assert_int_equal(machine_load(c, TEST_FREE), 0x49);
}

static struct machine *const cpus[] = {&test_machine, &test_second};
static atomic32 moves, over;

static void storm(void *arg)
{
	unsigned cpu = host_cpu();
	uint64_t n = 0;

	(void)arg;
	if (cpu == 2) {
		while (load_relaxed(&moves) < STORM_MOVES) {
			count_add(&moves, mmu_move_ram(&test_machine.mmu) == MMU_RESUME);
			sched_yield();
		}
		store_release(&over, 1);
		return;
	}
	/* each has a word of its own in each page */
	for (; !load_acquire(&over) || n < 1000; n++) {
		uint64_t at = TEST_FREE + n % 64 * PAGE_SIZE + cpu * 8;

		if (cpu == 3) {
			CHECK(mmu_write(&test_machine.mmu, gpa(at), &n, sizeof n));
			CHECK(machine_peek(&test_machine, at) == n);
		} else {
			machine_store(cpus[cpu], at, n);
			CHECK(machine_load(cpus[cpu], at) == n);
		}
	}
}

static void vcpus_and_devices_beside_many_moves(void **state)
{
	struct machine *c = *state;

	two_vcpus(c, TEST_FREE | TEST_RW);
	host_set_kick(0);
	store_relaxed(&moves, 0);
	store_relaxed(&over, 0);
	host_run_cpus(4, storm, 0);
	host_set_kick(hazard_kick);
	assert_int_equal(mmu_audit(&c->mmu), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HAZARD_TEST(the_contents_stay_and_the_frames_do_not),
		HAZARD_TEST(without_room_the_frames_stay),
		HAZARD_TEST(harvests_and_copies_come_first),
		HAZARD_TEST(a_move_waits_for_a_host_store),
		HAZARD_TEST(a_move_waits_for_a_fault),
		HAZARD_TEST(a_move_waits_for_a_fault_without_paging),
		HAZARD_TEST(a_move_waits_for_a_demolition),
		HAZARD_TEST(a_table_being_built_does_not_come_alive),
		HAZARD_TEST(stores_wait_while_slots_move),
		HAZARD_TEST(vcpus_and_devices_beside_many_moves),
	};

	return cmocka_run_group_tests_name("threads: moving RAM", tests, 0, 0);
}
