/* SPDX-License-Identifier: MIT */
/* The live table: what each guest did in each second of its life. */
#include "hv/options.h"
#include "hv/runner.h"
#include "mm/rcu.h"

#define LINES_PER_HEADER 20

/* In the order of struct guest.shown. */
enum column { EXITS, FAULTS, ROUNDS, DIRTY, PROTECTED, RETRIES, COLUMNS };

static unsigned lines;

static uint64_t exits(const struct guest *g)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < g->runners; i++)
		n += vcpu_exits(g->runner[i].v);
	return n;
}

static void line(struct guest *g)
{
	struct mmu *m = &g->vm->mmu;
	const uint64_t now[COLUMNS] = {
		[EXITS] = exits(g),
		[FAULTS] = mmu_faults(m).faults,
		[ROUNDS] = load_relaxed(&m->stats.rounds),
		[DIRTY] = load_relaxed(&m->stats.dirty),
		[PROTECTED] = load_relaxed(&m->stats.protected),
		[RETRIES] = load_relaxed(&m->stats.restarts),
	};
	uint64_t d[COLUMNS];

	for (unsigned i = 0; i < COLUMNS; i++) {
		d[i] = now[i] - g->shown[i];
		g->shown[i] = now[i];
	}
	if (lines++ % LINES_PER_HEADER == 0)
		host_print("umbra: %-8s %9s %9s %7s %9s %9s %7s %12s", "guest", "exits", "faults", "rounds", "dirty",
			"protected", "retries", "longest lock");
	host_print("umbra: %-8s %9lu %9lu %7lu %9lu %9lu %7lu %9lu us", g->vm->config.name, d[EXITS], d[FAULTS],
		d[ROUNDS], d[DIRTY], d[PROTECTED], d[RETRIES], ticks_us(load_relaxed(&m->lock.longest)));
}

uint64_t table_poll(uint64_t now)
{
	uint64_t next = RUNNER_NEVER, second = host_clock_hz();

	if (options.level < HOST_INFO)
		return next;
	/* A guest that ends meanwhile stays until the section does. */
	rcu_read_lock(RCU_WALK);
	for (unsigned i = 0; i < guests.n; i++) {
		struct guest *g = &guests.guest[i];

		if (load_acquire(&g->ended) || !vm_running(g->vm)) /* partner: end_guest */
			continue;
		if (g->life != load_relaxed(&g->lives)) {
			g->life = load_relaxed(&g->lives);
			__builtin_memset(g->shown, 0, sizeof g->shown);
		}
		if (!g->next_line)
			g->next_line = now + second;
		if (now >= g->next_line) {
			line(g);
			g->next_line = now + second;
		}
		next = g->next_line < next ? g->next_line : next;
	}
	rcu_read_unlock(RCU_WALK);
	return next;
}
