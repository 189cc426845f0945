/* SPDX-License-Identifier: MIT */
/* mm/slab.c and mm/page.c with real threads. Objects wander between CPUs through a board of slots; readers look at
 * them in sections, also after they were freed: an object keeps its type mark for as long as a reader may stand on
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mm/rcu.h"
#include "mm/slab.h"
#include "tools/host/native.h"

#define CPUS 4
#define BOARD 2048
#define MARK 0x7479706573746162UL
#define RUN_NS 600000000UL
#define PATIENCE_NS 30000000000UL

struct object {
	atomic64 mark;  /* MARK from construction on */
	atomic64 owner; /* 0 free, else CPU + 1; for "out twice" */
	uint64_t plain; /* only the holder touches it */
	uint64_t unused[5];
};

static struct slab_cache cache;
static atomic64 board[BOARD];
static atomic64 ends, broken, rounds, enough, peak, inside;

static void construct(void *p)
{
	store_relaxed(&((struct object *)p)->mark, MARK);
}

static void start(enum slab_mode mode, uint64_t cap, uint64_t how_much)
{
	host_native_init(CPUS);
	slab_set_mode(mode);
	slab_set_cap(cap);
	slab_init(&cache, "wander", 1, sizeof(struct object), 16, PAGE_ANY, construct);
	memset(board, 0, sizeof board);
	store_relaxed(&broken, 0);
	store_relaxed(&rounds, 0);
	store_relaxed(&enough, how_much);
	store_relaxed(&peak, 0);
	store_relaxed(&inside, 0);
	store_relaxed(&ends, host_clock() + RUN_NS);
}

/* Time is up and enough was done; on a machine that is busy with other things that may take longer. */
static bool over(void)
{
	uint64_t now = host_clock(), end = load_relaxed(&ends);

	return now > end && (load_relaxed(&rounds) >= load_relaxed(&enough) || now > end + PATIENCE_NS);
}

static void expect(bool right)
{
	if (!right)
		fetch_add_relaxed(&broken, 1);
}

static void give(struct object *o)
{
	expect(xchg_seq(&o->owner, 0) != 0);
	o->plain = 0;
	slab_free(&cache, o);
}

/* Takes objects and hangs them on the board; frees what hung there, whoever took it. Fills and empties in waves. */
static void wander(void)
{
	uint64_t random = 0x1234567 + host_cpu();

	for (uint64_t n = 0; !over(); n++) {
		uint64_t x = host_random(&random);
		struct object *o = 0, *old;

		if (n / 4096 % 2 == 0 || x % 8 == 0) {
			o = slab_alloc(&cache);
			expect(o && load_relaxed(&o->mark) == MARK && o->plain == 0);
			expect(xchg_seq(&o->owner, host_cpu() + 1) == 0);
			o->plain = (uint64_t)o;
		}
		old = (struct object *)xchg_seq(&board[(x >> 8) % BOARD], (uint64_t)o);
		if (old) {
			expect(old->plain == (uint64_t)old);
			give(old);
		}
		if (n % 512 == 0)
			slab_reap(0, 8);
		fetch_add_relaxed(&rounds, 1);
	}
}

static void look(void)
{
	uint64_t random = 0x7654321 + host_cpu();

	while (!over()) {
		struct object *o[8];

		rcu_read_lock(RCU_WALK);
		for (unsigned i = 0; i < 8; i++)
			o[i] = (struct object *)load_acquire(&board[host_random(&random) % BOARD]);
		for (unsigned turn = 0; turn < 20; turn++)
			for (unsigned i = 0; i < 8; i++)
				expect(!o[i] || load_relaxed(&o[i]->mark) == MARK);
		rcu_read_unlock(RCU_WALK);
	}
}

/* Whoever gets pages from the allocator writes all over them. */
static void scribble(void)
{
	while (!over()) {
		hfn_t f[16];

		for (unsigned i = 0; i < 16; i++) {
			f[i] = page_alloc(1, PAGE_ANY);
			expect(hfn_valid(f[i]));
			memset(hfn_virt(f[i]), 0x5a, 2 * PAGE_SIZE);
		}
		for (unsigned i = 0; i < 16; i++)
			page_free(f[i], 1);
	}
}

static void play(void *arg)
{
	(void)arg;
	if (host_cpu() < 2)
		wander();
	else if (host_cpu() == 2)
		look();
	else
		scribble();
}

static void run(enum slab_mode mode)
{
	struct slab_stats stats;

	start(mode, SLAB_CAP, 1001);
	host_run_cpus(CPUS, play, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&rounds) > 1000);
	for (unsigned i = 0; i < BOARD; i++)
		if (load_relaxed(&board[i]))
			give((struct object *)load_relaxed(&board[i]));
	stats = slab_stats(&cache);
	assert_int_equal(stats.free_objects, stats.objects);
	assert_true(stats.reused > 0);
	slab_destroy(&cache);
	assert_int_equal(page_free_count(), page_total());
}

static void objects_wander_normal(void **state)
{
	(void)state;
	run(SLAB_NORMAL);
}

static void objects_wander_lifo(void **state)
{
	(void)state;
	run(SLAB_LIFO);
}

static void objects_wander_poison(void **state)
{
	(void)state;
	run(SLAB_POISON);
}

#define CAP (64 * 2 * PAGE_SIZE)
#define WAVE 8192 /* objects: 99 blocks */

#define CACHES 6

static struct slab_cache caches[CACHES];

/* CPU 1 sleeps in a section again and again, CPU 0 churns several caches in turn: what the one leaves waits, and the
 * others cannot revive it. */
static void churn_behind_a_sleeper(void *arg)
{
	static void *got[WAVE];
	(void)arg;
	if (host_cpu() == 1) {
		while (!over()) {
			uint64_t until = host_clock() + 20000000UL;

			rcu_read_lock(RCU_WALK);
			while (host_clock() < until)
				host_relax();
			rcu_read_unlock(RCU_WALK);
		}
		return;
	}
	for (unsigned n = 0; !over(); n++) {
		for (unsigned i = 0; i < WAVE; i++) {
			got[i] = slab_alloc(&caches[n % CACHES]);
			expect(got[i] != 0);
			if (slab_waiting() > load_relaxed(&peak))
				store_relaxed(&peak, slab_waiting());
		}
		for (unsigned i = 0; i < WAVE; i++)
			slab_free(&caches[n % CACHES], got[i]);
		fetch_add_relaxed(&rounds, 1);
	}
}

/* H15: past the cap the allocating side waits; nothing grows without bound, nothing hangs, all of it drains. */
static void the_cap_bounds_what_waits(void **state)
{
	(void)state;
	start(SLAB_NORMAL, CAP, CACHES + 1);
	for (unsigned i = 0; i < CACHES; i++)
		slab_init(&caches[i], "churn", 1, sizeof(struct object), 16, PAGE_ANY, construct);
	host_run_cpus(2, churn_behind_a_sleeper, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&rounds) > CACHES);
	/* freeing never waits: a wave on top of the cap may be retired before the next allocation finds out */
	assert_in_range(load_relaxed(&peak), 1, CAP + 110 * 2 * PAGE_SIZE);
	for (unsigned i = 0; i < CACHES; i++)
		slab_destroy(&caches[i]);
	slab_destroy(&cache);
	assert_int_equal(slab_waiting(), 0);
	assert_int_equal(page_free_count(), page_total());
}

/* CPU 1 stands in a section when CPU 0 destroys the cache. */
static void destroy_against_a_reader(void *arg)
{
	static struct object *held;

	if (host_cpu() == 0) {
		held = slab_alloc(&cache);
		slab_free(&cache, held);
		store_release(&inside, 1); /* partner: CPU 1's acquire */
		while (load_acquire(&inside) != 2)
			host_relax();
		slab_destroy(&cache);
		expect(load_acquire(&inside) == 3); /* the reader had left */
	} else {
		uint64_t until = host_clock() + 50000000UL;

		while (load_acquire(&inside) != 1)
			host_relax();
		rcu_read_lock(RCU_WALK);
		store_release(&inside, 2);
		while (host_clock() < until)
			expect(load_relaxed(&held->mark) == MARK);
		store_release(&inside, 3);
		rcu_read_unlock(RCU_WALK);
	}
	(void)arg;
}

/* H20 */
static void destroy_waits_for_readers(void **state)
{
	(void)state;
	for (unsigned mode = SLAB_NORMAL; mode <= SLAB_POISON; mode++) {
		start((enum slab_mode)mode, SLAB_CAP, 0);
		host_run_cpus(2, destroy_against_a_reader, 0);
		assert_int_equal(load_relaxed(&broken), 0);
		assert_int_equal(page_free_count(), page_total());
	}
}

static void stay_with_the_cache(void *ctx, const char *point)
{
	uint64_t until = host_clock() + 50000000UL;

	(void)ctx;
	if (strcmp(point, "slab-borrowed"))
		return;
	store_release(&inside, 1); /* partner: CPU 0's acquire */
	while (host_clock() < until)
		host_relax();
	store_release(&inside, 2);
}

/* CPU 1 has borrowed the cache from the registry when CPU 0 destroys it. */
static void destroy_against_a_reaper(void *arg)
{
	(void)arg;
	if (host_cpu() == 0) {
		slab_free(&cache, slab_alloc(&cache));
		store_release(&inside, 3);
		while (load_acquire(&inside) != 1)
			host_relax();
		slab_destroy(&cache);
		expect(load_acquire(&inside) == 2); /* the reaper had left */
	} else {
		while (load_acquire(&inside) != 3)
			host_relax();
		host_set_park(stay_with_the_cache, 0);
		slab_reap(0, 1);
		host_set_park(0, 0);
	}
}

static void destroy_waits_for_who_reaps(void **state)
{
	(void)state;
	start(SLAB_NORMAL, SLAB_CAP, 0);
	host_run_cpus(2, destroy_against_a_reaper, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_int_equal(page_free_count(), page_total());
}

/* The page allocator alone, by all CPUs at once: no frame is out twice. */
static void pages(void *arg)
{
	uint64_t random = 99 + host_cpu();
	struct { hfn_t f; unsigned order; } mine[64];
	unsigned n = 0;

	(void)arg;
	while (!over()) {
		uint64_t x = host_random(&random);

		if (n < 64 && (x & 1)) {
			unsigned order = (x >> 8) % 5;
			hfn_t f = page_alloc(order, x & 2 ? PAGE_LOW : PAGE_ANY);

			for (uint64_t i = 0; i < 1UL << order; i++)
				*(uint64_t *)hfn_virt(hfn(f.v + i)) = host_cpu();
			mine[n].f = f;
			mine[n++].order = order;
		} else if (n) {
			unsigned i = (x >> 8) % n;

			for (uint64_t j = 0; j < 1UL << mine[i].order; j++)
				expect(*(uint64_t *)hfn_virt(hfn(mine[i].f.v + j)) == host_cpu());
			page_free(mine[i].f, mine[i].order);
			mine[i] = mine[--n];
		}
	}
	while (n--)
		page_free(mine[n].f, mine[n].order);
}

static void pages_are_out_once(void **state)
{
	(void)state;
	start(SLAB_NORMAL, SLAB_CAP, 0);
	slab_destroy(&cache);
	host_run_cpus(CPUS, pages, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_int_equal(page_free_count(), page_total());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_wander_normal),
		cmocka_unit_test(objects_wander_lifo),
		cmocka_unit_test(objects_wander_poison),
		cmocka_unit_test(the_cap_bounds_what_waits),
		cmocka_unit_test(destroy_waits_for_readers),
		cmocka_unit_test(destroy_waits_for_who_reaps),
		cmocka_unit_test(pages_are_out_once),
	};

	return cmocka_run_group_tests_name("slab with threads", tests, 0, 0);
}
