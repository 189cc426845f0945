/* SPDX-License-Identifier: MIT */
/* Passes of the audit beside the guest: two vCPUs remap their windows onto few frames, so that chains are long, reload CR3 and
 * write; a device stores to their page tables and has all zapped or the RAM moved, a walker harvests. What holds at any instant
 * under the lock, and what is only under way, must not be reported; a violation that stays must be. */
#include <sched.h>
#include <stdio.h>

#include "mm/audit.h"
#include "tools/host/mmu_test.h"

#define PASSES 50u
#define MAX_SECONDS 100UL
#define PAGES 192u /* of each vCPU's window */
#define FRAMES 6u  /* that all of them show: chains of some 60 entries */
#define DATA(n) (TEST_FREE + (n) % FRAMES * PAGE_SIZE)
#define WINDOW(cpu) (TEST_VIRT + (uint64_t)(cpu) * (PAGES / 2) * PAGE_SIZE) /* they share the half of it */

static struct machine second;
static struct machine *const vcpus[] = {&test_machine, &second};
static uint64_t root, tables; /* gpa of the level-1 entries, a row */
static atomic32 over;
static atomic64 passes, violations, doubts, rounds, moves, zaps;

static void count_doubt(void *ctx, const char *point)
{
	(void)ctx;
	if (!strcmp(point, "audit-doubt"))
		count_add(&doubts, 1);
}

/* Dawdles where a publishing section has done half of its work. */
static void dawdle(void *ctx, const char *point)
{
	static _Thread_local unsigned passed;

	(void)ctx;
	if ((!strcmp(point, "fixup-opened") || !strcmp(point, "gmem-stored")) && passed++ % 16 == 0)
		sched_yield();
}

/* A load of CR3 waits for the other's sync. */
static void reload(struct machine *c)
{
	struct mmu_paging p = c->vcpu.paging;

	machine_exit(c);
	while (mmu_set_paging(&c->vcpu, &p, &c->fault) == MMU_RETRY)
		host_relax();
}

static void run_vcpu(unsigned cpu)
{
	struct machine *c = vcpus[cpu];
	uint64_t seed = 3 + cpu, value;

	while (!load_acquire(&over)) {
		uint64_t r = host_random(&seed), page = r % PAGES, at = WINDOW(cpu) + page * PAGE_SIZE;

		if (r >> 32 & 3) {
			value = r;
			machine_access(c, at, r >> 34 & 1 ? PF_W : 0, &value);
			continue;
		}
		machine_store(c, tables + (cpu * (PAGES / 2) + page) * 8, r >> 40 & 3 ? DATA(r >> 16) | TEST_RW : 0);
		if (r >> 42 & 3)
			machine_invlpg(c, at);
		else
			reload(c);
	}
	machine_exit(c);
}

static void run_device(void)
{
	struct mmu *m = &test_machine.mmu;
	uint64_t seed = 9;

	while (!load_acquire(&over)) {
		uint64_t r = host_random(&seed), entry = DATA(r >> 16) | TEST_RW;

		CHECK(mmu_write(m, gpa(tables + r % (PAGES + PAGES / 2) * 8), &entry, sizeof entry));
		if ((r >> 40) % 64 == 0) {
			while (log_harvest(m, 0) == LOG_BUSY) /* the auditor's turn */
				host_relax();
			count_add(&rounds, 1);
		} else if ((r >> 40) % 512 == 1) {
			CHECK(mmu_zap_all(m) == MMU_RESUME);
			count_add(&zaps, 1);
		} else if ((r >> 40) % 512 == 2) {
			while (mmu_move_ram(m) == MMU_RETRY)
				host_relax();
			count_add(&moves, 1);
		}
	}
}

static bool enough(void)
{
	return load_relaxed(&passes) >= PASSES && load_relaxed(&rounds) >= 20 && load_relaxed(&zaps) >= 4 &&
	       load_relaxed(&moves) >= 1 && load_relaxed(&doubts) >= 1;
}

static void run_auditor(void)
{
	static struct audit a;
	uint64_t start = host_clock();

	host_set_park(count_doubt, 0);
	while (!enough() && host_clock() - start < MAX_SECONDS * host_clock_hz()) {
		enum audit_outcome o;

		audit_begin(&a, &test_machine.mmu);
		for (unsigned n = 0; (o = audit_step(&a)) != AUDIT_DONE; n++)
			if (o == AUDIT_BUSY || n % 8 == 0)
				sched_yield(); /* the walker and the mover want the turn too */
		count_add(&passes, 1);
		count_add(&violations, a.violations);
	}
	host_set_park(0, 0);
	store_release(&over, 1);
}

static void run(void *arg)
{
	(void)arg;
	host_set_park(dawdle, 0);
	switch (host_cpu()) {
	case 2:
		run_device();
		break;
	case 3:
		run_auditor();
		break;
	default:
		run_vcpu(host_cpu());
	}
}

static int start(void **state)
{
	host_native_init(4);
	mmu_global_init();
	machine_init(&test_machine, TEST_PAGES, 256);
	root = machine_long_mode(&test_machine);
	machine_join(&second, &test_machine);
	tables = machine_pte(&test_machine, root, TEST_VIRT, 1);
	log_start(&test_machine.mmu);
	store_relaxed(&over, 0);
	store_relaxed(&passes, 0);
	store_relaxed(&violations, 0);
	store_relaxed(&doubts, 0);
	store_relaxed(&rounds, 0);
	store_relaxed(&zaps, 0);
	store_relaxed(&moves, 0);
	*state = &test_machine;
	return 0;
}

static int finish(void **state)
{
	machine_part(&second);
	return test_teardown(state);
}

static void passes_find_nothing_beside_a_guest(void **state)
{
	(void)state;
	host_run_cpus(4, run, 0);
	printf("%lu passes, %lu doubts; %lu rounds, %lu zaps, %lu moves\n", load_relaxed(&passes), load_relaxed(&doubts),
		load_relaxed(&rounds), load_relaxed(&zaps), load_relaxed(&moves));
	assert_int_equal(load_relaxed(&violations), 0);
	assert_true(enough());
}

/* A count that nothing mends. */
static void passes_find_a_violation_beside_a_guest(void **state)
{
	struct machine *c = *state;
	atomic32 *count = slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(root))), gpa_gfn(gpa(root)), 2);

	fetch_add_seq(count, 1);
	host_run_cpus(4, run, 0);
	fetch_sub_seq(count, 1);
	assert_true(load_relaxed(&violations) >= load_relaxed(&passes) && enough());
	assert_true(host_log_has("M12 count of page-table shadows in 2 MiB"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(passes_find_nothing_beside_a_guest, start, finish),
		cmocka_unit_test_setup_teardown(passes_find_a_violation_beside_a_guest, start, finish),
	};

	return cmocka_run_group_tests_name("threads: the audit beside a guest", tests, 0, 0);
}
