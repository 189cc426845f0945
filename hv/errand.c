/* SPDX-License-Identifier: MIT */
#include "hv/errand.h"
#include "hv/runner.h"

#define BETWEEN_US 100 /* two steps */

atomic32 errand_cpu;

/* Published by errand_cpu, but for dropped. */
static struct {
	bool (*step)(void *argument);
	void *argument;
	atomic32 dropped;
} errand;

void errand_ask(unsigned cpu, bool (*step)(void *argument), void *argument)
{
	CHECK(errand_over());
	errand.step = step;
	errand.argument = argument;
	store_relaxed(&errand.dropped, 0);
	store_release(&errand_cpu, cpu + 1); /* partner: errand_poll */
	runner_attend(cpu);
}

void errand_drop(void)
{
	store_relaxed(&errand.dropped, 1);
}

uint64_t errand_poll(void)
{
	if (load_acquire(&errand_cpu) != host_cpu() + 1) /* partner: errand_ask */
		return RUNNER_NEVER;
	if (!load_relaxed(&errand.dropped) && !errand.step(errand.argument))
		return host_clock() + us_ticks(BETWEEN_US);
	store_release(&errand_cpu, 0); /* partner: errand_over */
	runner_attend(0);
	return RUNNER_NEVER;
}
