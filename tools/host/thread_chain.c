/* SPDX-License-Identifier: MIT */
/* Chains with real threads: writers churn, walkers walk. The entries that stay must be in every walk that did not
 * give up; whatever a walk visits is an spte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mm/chain.h"
#include "mm/rcu.h"
#include "tools/host/native.h"

#define CPUS 4
#define CHAINS 3
#define STAY 6  /* entries of each chain that stay */
#define COME 64 /* entries of each chain that come and go */
#define RUN_NS 600000000UL
#define ENOUGH 100
#define PATIENCE_NS 30000000000UL

static struct slab_cache cache;
static struct chain chain[CHAINS];
static struct lock lock[CHAINS];
static struct table *table[CHAINS]; /* the entries of a chain: 0 … STAY-1 stay, the rest come and go */
static atomic64 ends, broken, walks, gave_up, restarts, enough_restarts;
static unsigned writers;

/* Time is up and enough was done; on a machine that is busy with other things that may take longer. */
static bool over(void)
{
	uint64_t now = host_clock(), end = load_relaxed(&ends);
	bool enough = load_relaxed(&walks) > ENOUGH && load_relaxed(&restarts) >= load_relaxed(&enough_restarts);

	return now > end && (enough || now > end + PATIENCE_NS);
}

static void expect(bool right)
{
	if (!right)
		fetch_add_relaxed(&broken, 1);
}

/* Adds or removes, under the chain's lock, up to half of the entries that come and go. */
static void write_some(void)
{
	struct chain_reserve reserve = {.cache = &cache};
	uint64_t random = 0x51ed270b + host_cpu();

	while (!over()) {
		uint64_t x = host_random(&random);
		unsigned c = x % CHAINS, at = (x >> 8) % COME, burst = (x >> 16) % (COME / 2);
		bool adding = x >> 32 & 1;

		expect(chain_reserve(&reserve, CHAIN_RESERVE));
		lock_take(&lock[c]);
		while (burst--) {
			spte_t *s = &table[c]->spte[STAY + at++ % COME];

			if (!adding && *spte_location(s))
				chain_remove(&chain[c], &cache, s);
			else if (adding && !*spte_location(s))
				chain_add(&chain[c], &reserve, s);
		}
		if (x % 64 == 0)
			expect(!chain_audit(&chain[c], CHAIN_ALL, 0, 0));
		lock_drop(&lock[c]);
		if (x % 4 == 0) /* give them back, so that the same ones are reused at once */
			chain_unreserve(&reserve);
	}
	chain_unreserve(&reserve);
}

struct tally {
	unsigned c;
	uint8_t seen[STAY];
};

static unsigned tally_visit(void *ctx, spte_t *s)
{
	struct tally *t = ctx;
	bool known = false;

	for (unsigned c = 0; c < CHAINS; c++)
		known |= spte_table(s) == table[c];
	expect(known && spte_index(s) < STAY + COME);
	if (spte_table(s) == table[t->c] && spte_index(s) < STAY)
		t->seen[spte_index(s)] = 1;
	return 0;
}

/* A walker loses its CPU now and then, wherever it stands. */
static void dawdle(void *ctx, const char *point)
{
	(void)point;
	if (host_random(ctx) % 16 == 0)
		host_relax();
}

static void walk_some(void)
{
	uint64_t random = 0x2f0b4c47 + host_cpu();

	host_set_park(dawdle, &random);
	for (unsigned n = 0; !over(); n++) {
		struct tally t = {.c = n % CHAINS};
		struct chain_walk w = {0, 0};
		bool done;

		rcu_read_lock(RCU_WALK);
		done = chain_walk(&chain[t.c], tally_visit, &t, &w);
		rcu_read_unlock(RCU_WALK);
		expect(w.visited <= 2 * (STAY + COME) + 64);
		if (done)
			for (unsigned i = 0; i < STAY; i++)
				expect(t.seen[i]);
		else
			fetch_add_relaxed(&gave_up, 1);
		fetch_add_relaxed(&walks, 1);
		fetch_add_relaxed(&restarts, w.restarts);
	}
	host_set_park(0, 0);
}

static void play(void *arg)
{
	(void)arg;
	if (host_cpu() < writers)
		write_some();
	else
		walk_some();
}

static void run(enum slab_mode mode, unsigned how_many_write)
{
	struct chain_reserve reserve = {.cache = &cache};

	host_native_init(CPUS);
	slab_set_mode(mode);
	chain_cache_init(&cache, "rmap");
	writers = how_many_write;
	memset(chain, 0, sizeof chain);
	memset(lock, 0, sizeof lock);
	store_relaxed(&broken, 0);
	store_relaxed(&walks, 0);
	store_relaxed(&gave_up, 0);
	store_relaxed(&restarts, 0);
	for (unsigned c = 0; c < CHAINS; c++) {
		table[c] = hfn_virt(page_alloc(1, PAGE_ANY));
		memset(table[c], 0, sizeof *table[c]);
		/* half of those that stay come first, the others in the middle: all else around them leaves again */
		for (unsigned i = 0; i < STAY + COME; i++) {
			unsigned half = STAY / 2, second = half + COME / 2;
			unsigned e = i < half ? i : i < second ? i + half : i < second + half ? i - COME / 2 : i;

			assert_true(chain_reserve(&reserve, 1));
			chain_add(&chain[c], &reserve, &table[c]->spte[e]);
		}
	}
	chain_unreserve(&reserve);
	store_relaxed(&ends, host_clock() + RUN_NS);
	host_run_cpus(CPUS, play, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&walks) > ENOUGH);
	assert_true(load_relaxed(&restarts) >= load_relaxed(&enough_restarts));
	assert_true(load_relaxed(&gave_up) * 2 < load_relaxed(&walks));
	for (unsigned c = 0; c < CHAINS; c++) {
		assert_int_equal(chain_audit(&chain[c], CHAIN_ALL, 0, 0), 0);
		for (spte_t *s; (s = chain_first(&chain[c]));)
			chain_remove(&chain[c], &cache, s);
		page_free(hpa_hfn(host_phys(table[c])), 1);
	}
	slab_destroy(&cache);
	assert_int_equal(page_free_count(), page_total());
}

static void one_writer_normal(void **state)
{
	(void)state;
	run(SLAB_NORMAL, 1);
}

static void one_writer_lifo(void **state)
{
	(void)state;
	run(SLAB_LIFO, 1);
}

static void two_writers_normal(void **state)
{
	(void)state;
	run(SLAB_NORMAL, 2);
}

static void two_writers_lifo(void **state)
{
	(void)state;
	store_relaxed(&enough_restarts, 1);
	run(SLAB_LIFO, 2);
	store_relaxed(&enough_restarts, 0);
}

static void two_writers_poison(void **state)
{
	(void)state;
	run(SLAB_POISON, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_writer_normal),
		cmocka_unit_test(one_writer_lifo),
		cmocka_unit_test(two_writers_normal),
		cmocka_unit_test(two_writers_lifo),
		cmocka_unit_test(two_writers_poison),
	};

	return cmocka_run_group_tests_name("chains with threads", tests, 0, 0);
}
