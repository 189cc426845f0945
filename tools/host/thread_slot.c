/* SPDX-License-Identifier: MIT */
/* H5b: marking a page dirty is a full barrier, also when its bit is set already. One CPU writes a word and marks the
 * page, the other takes the bits and reads the word. If neither the word nor the bit came through, a write is lost: the
 * first has looked at the bit before its own store was visible. Needs two real cores to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mm/slot.h"
#include "tools/host/native.h"

#define ROUNDS (1u << 18)
#define PATIENCE 5000000000UL /* ns; a machine that is very busy does fewer rounds */
#define ENOUGH 1000
#define SPINS 4096

static atomic64 bits __attribute__((aligned(64)));
static struct { atomic64 v; } __attribute__((aligned(64))) word, slow[16], turn[2];
static struct slot slot = {.pages = 1, .words = 1};
static atomic64 lost, rounds;
static atomic32 over; /* one of them has left */
static uint64_t start;

/* Both begin each round as nearly at once as can be: no yielding, but where the other does not seem to run. */
static bool meet(unsigned me, uint64_t round)
{
	store_release(&turn[me].v, round); /* partner: the other's acquire */
	for (uint64_t spins = 1; load_acquire(&turn[!me].v) < round; spins++) {
		if (spins % SPINS)
			continue;
		if (load_relaxed(&rounds) > ENOUGH && host_clock() - start > PATIENCE)
			return false;
		host_relax();
	}
	return !load_acquire(&over);
}

static void publish_against_harvest(void *arg)
{
	unsigned me = host_cpu();
	uint64_t random = 5 + me;

	(void)arg;
	for (uint64_t i = 1; i <= ROUNDS && meet(me, 2 * i); i++) {
		for (uint64_t n = host_random(&random) % 32; n > 0; n--)
			load_relaxed(&slow[0].v);
		if (me == 0) {
			/* lines that the other has at hand: the store to the word waits behind them */
			for (unsigned n = 0; n < 16; n++)
				store_relaxed(&slow[n].v, i);
			store_release(&word.v, i);
			slot_mark_dirty(&slot, gfn(0));
			if (!meet(me, 2 * i + 1))
				break;
		} else {
			uint64_t taken = xchg_acquire(&bits, 0), seen = load_relaxed(&word.v);

			if (!meet(me, 2 * i + 1))
				break;
			if (taken && seen != i && !load_relaxed(&bits))
				fetch_add_relaxed(&lost, 1);
			store_relaxed(&bits, 1); /* it was marked before this round */
			for (unsigned n = 0; n < 16; n++)
				store_relaxed(&slow[n].v, 0);
			fetch_add_relaxed(&rounds, 1);
		}
	}
	store_release(&over, 1);
	store_release(&turn[me].v, 2 * ROUNDS + 2); /* whoever is still waiting sees it */
}

static void marking_is_a_full_barrier(void **state)
{
	(void)state;
	host_native_init(2);
	slot.bits[SLOT_DIRTY] = &bits;
	start = host_clock();
	host_run_cpus(2, publish_against_harvest, 0);
	assert_int_equal(load_relaxed(&lost), 0);
	assert_true(load_relaxed(&rounds) > ENOUGH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(marking_is_a_full_barrier)};

	return cmocka_run_group_tests_name("the dirty bit on threads", tests, 0, 0);
}
