/* SPDX-License-Identifier: MIT */
/* What the tests share that stop a publisher between its steps while a harvest is on a thread of its own. */
#ifndef TOOLS_HOST_WALKER_TEST_H
#define TOOLS_HOST_WALKER_TEST_H

#include <pthread.h>
#include <sched.h>

#include "mm/replica.h"
#include "tools/host/hazard_test.h"

#define WALKER_CPU 3
#define PATIENCE 30000000UL      /* ns in which a harvest that does not wait would be over */

enum stage { STARTED = 1, STOPPED, RELEASED, DONE };

static struct replica replica;
static pthread_t walker;
static bool stop_at_its_grace_period, early __attribute__((unused));
static void (*meanwhile)(struct machine *c);

static inline void stop_here(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "log-waited"))
		return;
	store_release(&stage, STOPPED);
	CHECK(comes_to(RELEASED, FOREVER));
}

static inline void *walk(void *arg)
{
	host_thread_cpu(WALKER_CPU);
	if (stop_at_its_grace_period)
		host_set_park(stop_here, 0);
	CHECK(replica_round(arg, 0) == LOG_DONE);
	store_release(&stage, DONE);
	return 0;
}

static inline void start_walker(bool stop)
{
	stop_at_its_grace_period = stop;
	store_release(&stage, STARTED);
	assert_int_equal(pthread_create(&walker, 0, walk, &replica), 0);
}

static inline void join_walker(void)
{
	assert_int_equal(pthread_join(walker, 0), 0);
	assert_int_equal(load_acquire(&stage), DONE);
}

/* The rest of a harvest, between two steps of the publisher. */
static inline void let_it_finish(struct machine *c)
{
	if (meanwhile)
		meanwhile(c);
	store_release(&stage, RELEASED);
	early = comes_to(DONE, FOREVER);
}

/* A whole harvest, between two steps of the publisher: it must wait. */
static inline void let_it_begin(struct machine *c)
{
	if (meanwhile)
		meanwhile(c);
	start_walker(false);
	early = comes_to(DONE, PATIENCE);
}

static inline uint64_t differences(void)
{
	gfn_t first = gfn(0);

	return replica_compare(&replica, &first);
}

/* act publishes and passes `point`. A harvest that is past its grace period ends there; what act did is in the next. */
static inline void a_harvest_ends_at(struct machine *c, const char *point, void (*act)(struct machine *c))
{
	start_walker(true);
	assert_true(comes_to(STOPPED, FOREVER));
	park_at(c, point, 0, let_it_finish);
	act(c);
	parked();
	assert_true(early);
	join_walker();
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	assert_int_equal(differences(), 0);
}

/* The same; a harvest that begins there waits until act's section is over. */
static inline void a_harvest_waits_at(struct machine *c, const char *point, void (*act)(struct machine *c))
{
	park_at(c, point, 0, let_it_begin);
	act(c);
	parked();
	join_walker();
	assert_false(early);
}

static inline int walker_setup(void **state)
{
	hazard_setup(state);
	assert_true(replica_init(&replica, &test_machine.mmu));
	meanwhile = 0;
	return 0;
}

static inline int walker_teardown(void **state)
{
	replica_destroy(&replica);
	return hazard_teardown(state);
}

#endif
