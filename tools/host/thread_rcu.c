/* SPDX-License-Identifier: MIT */
/* mm/rcu.c and mm/lock.h with real threads. What a reader reads is plain memory that the updater overwrites after the
 * grace period: a period that ends early shows as a broken object, and as a data race under TSan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mm/lock.h"
#include "mm/rcu.h"
#include "tools/host/native.h"

#define CPUS 4
#define OBJECTS 8
#define WORDS 16
#define RUN_NS 700000000UL
#define ENOUGH 50
#define PATIENCE_NS 30000000000UL

static uint64_t object[OBJECTS][WORDS];
static atomic64 shared; /* index + 1 of the object in use */
static atomic64 ends, broken, rounds, sections;

static int setup(void **state)
{
	(void)state;
	host_native_init(CPUS);
	store_relaxed(&broken, 0);
	store_relaxed(&rounds, 0);
	store_relaxed(&sections, 0);
	store_relaxed(&ends, host_clock() + RUN_NS);
	return 0;
}

/* Time is up and enough was done; on a machine that is busy with other things that may take longer. */
static bool over(void)
{
	uint64_t now = host_clock(), end = load_relaxed(&ends);

	return now > end && (load_relaxed(&rounds) > ENOUGH || now > end + PATIENCE_NS);
}

static void fill(unsigned i, uint64_t value)
{
	for (unsigned w = 0; w < WORDS; w++)
		object[i][w] = value;
}

static void read_some(enum rcu_kind kind)
{
	for (uint64_t n = 0; !over(); n++) {
		const uint64_t *o;

		rcu_read_lock(kind);
		if (n % 3 == 0)
			rcu_read_lock(kind);
		/* acquire: partner is the updater's release */
		o = object[load_acquire(&shared) - 1];
		if (n % 3 == 0)
			rcu_read_unlock(kind);
		for (unsigned w = 0; w < WORDS; w++)
			if (o[w] != o[0] || !o[w])
				fetch_add_relaxed(&broken, 1);
		rcu_read_unlock(kind);
		fetch_add_relaxed(&sections, 1);
	}
}

/* Keeps several retired objects and judges their tags itself, out of order, or waits. */
static void update(unsigned mask)
{
	uint64_t tag[OBJECTS] = {0};
	uint64_t value = 1;
	unsigned in_use = 0;

	while (!over()) {
		unsigned next = (in_use + 1) % OBJECTS;

		if (tag[next] && value % 4)
			while (!rcu_passed(tag[next], mask))
				host_relax();
		else if (tag[next])
			rcu_wait(mask);
		fill(next, 0); /* nobody may see this */
		fill(next, ++value);
		store_release(&shared, next + 1); /* partner: the readers' acquire */
		tag[in_use] = rcu_tag();
		in_use = next;
		fetch_add_relaxed(&rounds, 1);
	}
}

static void walkers_and_an_updater(void *arg)
{
	(void)arg;
	if (host_cpu() == 0)
		update(RCU_MASK_ALL);
	else
		read_some(host_cpu() == 1 ? RCU_PUBLISH : RCU_WALK);
}

static void nothing_is_freed_under_a_reader(void **state)
{
	(void)state;
	fill(0, 1);
	store_relaxed(&shared, 1);
	host_run_cpus(CPUS, walkers_and_an_updater, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&rounds) > ENOUGH);
	assert_true(load_relaxed(&sections) > 0);
}

/* A walker that stays inside for the whole run must not hold up who waits for publishers. */
static void publishers_and_an_updater(void *arg)
{
	(void)arg;
	if (host_cpu() == 0) {
		update(RCU_MASK_PUBLISH);
	} else if (host_cpu() == 1) {
		rcu_read_lock(RCU_WALK);
		while (!over())
			host_relax();
		rcu_read_unlock(RCU_WALK);
	} else {
		read_some(RCU_PUBLISH);
	}
}

static void publishers_are_waited_for_without_walkers(void **state)
{
	(void)state;
	fill(0, 1);
	store_relaxed(&shared, 1);
	host_run_cpus(CPUS, publishers_and_an_updater, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&rounds) > ENOUGH);
}

#define ROUNDS (1 << 17)

static struct { atomic32 linked, freed; } __attribute__((aligned(64))) litmus[ROUNDS];
static struct { atomic32 v; } __attribute__((aligned(64))) slow[16]; /* lines that the reader owns */
static atomic64 turn[2];

/* Both CPUs begin each round as nearly at once as can be: no yielding, but where the other does not seem to run. */
static bool meet(unsigned me, uint64_t round)
{
	store_release(&turn[me], round + 1); /* partner: the other's acquire */
	for (uint64_t spins = 1; load_acquire(&turn[!me]) < round + 1; spins++) {
		if (spins % 4096)
			continue;
		if (over())
			return false;
		host_relax();
	}
	return true;
}

static void unlink_against_entry(void *arg)
{
	unsigned me = host_cpu();
	uint64_t random = 77 + me;

	(void)arg;
	for (uint64_t i = 0; i < ROUNDS; i++) {
		/* Each has the line at hand that it is to read, so that the other's store to it takes long; and the
		 * unlink waits behind stores to lines that are far away. */
		for (unsigned n = 0; me && n < 16; n++)
			store_relaxed(&slow[n].v, i);
		if (me ? !load_relaxed(&litmus[i].linked) : !rcu_passed(0, RCU_MASK_ALL))
			fetch_add_relaxed(&broken, 1);
		if (!meet(me, i))
			break;
		for (uint64_t n = host_random(&random) % 32; n > 0; n--)
			load_relaxed(&litmus[i].freed);
		if (me == 0) {
			for (unsigned n = 0; n < 16; n++)
				store_relaxed(&slow[n].v, 0);
			store_release(&litmus[i].linked, 0); /* partner: the reader's acquire */
			if (rcu_passed(rcu_tag(), RCU_MASK_ALL))
				store_relaxed(&litmus[i].freed, 1);
		} else {
			rcu_read_lock(RCU_PUBLISH);
			if (load_acquire(&litmus[i].linked))
				for (unsigned n = 0; n < 40; n++)
					if (load_relaxed(&litmus[i].freed)) {
						fetch_add_relaxed(&broken, 1);
						break;
					}
			rcu_read_unlock(RCU_PUBLISH);
		}
		fetch_add_relaxed(&rounds, me == 0);
	}
	store_release(&turn[me], ROUNDS); /* whoever is still waiting may go on */
}

/* H38: the unlink must be visible before the words are read. Needs two real cores to fail. */
static void the_tag_is_a_full_barrier(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++)
		store_relaxed(&litmus[i].linked, 1);
	store_relaxed(&turn[0], 0);
	store_relaxed(&turn[1], 0);
	host_run_cpus(2, unlink_against_entry, 0);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&rounds) > ENOUGH);
}

/* Grace periods are waited for by several CPUs at once, each while the others come and go. */
static void all_wait(void *arg)
{
	(void)arg;
	while (!over()) {
		rcu_read_lock(RCU_PUBLISH);
		rcu_read_unlock(RCU_PUBLISH);
		rcu_wait(RCU_MASK_ALL);
		fetch_add_relaxed(&rounds, 1);
	}
}

static void many_may_wait_at_once(void **state)
{
	(void)state;
	host_run_cpus(CPUS, all_wait, 0);
	assert_true(load_relaxed(&rounds) > ENOUGH);
}

static struct lock lock;
static uint64_t guarded[2];

static void count_under_lock(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 20000; i++) {
		lock_take(&lock);
		if (guarded[0] != guarded[1])
			fetch_add_relaxed(&broken, 1);
		guarded[0]++;
		guarded[1]++;
		lock_drop(&lock);
	}
}

static void the_lock_excludes_and_records_its_longest_hold(void **state)
{
	(void)state;
	memset(guarded, 0, sizeof guarded);
	host_run_cpus(CPUS, count_under_lock, 0);
	assert_int_equal(guarded[0], CPUS * 20000);
	assert_int_equal(load_relaxed(&broken), 0);
	assert_true(load_relaxed(&lock.longest) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_is_freed_under_a_reader, setup),
		cmocka_unit_test_setup(publishers_are_waited_for_without_walkers, setup),
		cmocka_unit_test_setup(the_tag_is_a_full_barrier, setup),
		cmocka_unit_test_setup(many_may_wait_at_once, setup),
		cmocka_unit_test_setup(the_lock_excludes_and_records_its_longest_hold, setup),
	};

	return cmocka_run_group_tests_name("rcu with threads", tests, 0, 0);
}
