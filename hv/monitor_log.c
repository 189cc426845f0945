/* SPDX-License-Identifier: MIT */
/* The monitor's commands about a guest's dirty log, and the map of where it writes. */
#include "hv/monitor_job.h"
#include "mm/rcu.h"

#define MAP_ROWS 16     /* that a map has, about */
#define MAP_PAGES 65536 /* looked at in a step */

/* ---- on the walker's CPU ---- */

static bool start_work(void *argument)
{
	struct monitor_job *j = argument;

	return !monitor_is_there(j) || (j->log.outcome = log_map_start(&j->guest->vm->mmu)) != LOG_BUSY;
}

static bool stop_work(void *argument)
{
	struct monitor_job *j = argument;

	return !monitor_is_there(j) || (j->log.outcome = log_map_stop(&j->guest->vm->mmu)) != LOG_BUSY;
}

static bool harvest_work(void *argument)
{
	struct monitor_job *j = argument;

	if (!monitor_is_there(j))
		return true;
	j->log.outcome = log_map_harvest(&j->guest->vm->mmu, &j->log.round, &j->log.pages);
	return j->log.outcome != LOG_BUSY;
}

/* ---- the map ---- */

static char density(uint64_t count, uint64_t pages)
{
	return !count ? ' ' : count >= pages ? '@' : ".:+#"[count * 4 / pages];
}

static void map_begin(struct monitor_job *j, const struct mmu *m)
{
	uint64_t pages = mmu_pages(m);

	j->map.cell = 1;
	while (pages / j->map.cell > MAP_ROWS * MONITOR_COLUMNS)
		j->map.cell *= 2;
	j->map.slot = j->map.column = 0;
	j->map.page = j->map.count = j->map.written = 0;
	monitor_row(j, "a character: %lu pages; blank: none written, . some, : a quarter, + half, # three quarters, @ all", j->map.cell);
}

/* The next pages of one character; at most `most`. Returns how many, and whether a row was printed. */
static uint64_t map_some(struct monitor_job *j, const struct slot *s, uint64_t most, bool *printed)
{
	uint64_t cell = j->map.cell, within = j->map.page % cell, n = cell - within, count;

	if (j->map.column == 0 && within == 0)
		j->map.row_page = j->map.page;
	n = n < s->pages - j->map.page ? n : s->pages - j->map.page;
	n = n < most ? n : most;
	count = slot_map_count(s, j->map.page, n);
	j->map.count += count;
	j->map.written += count;
	j->map.page += n;
	within += n;
	if (within == cell || j->map.page == s->pages) {
		j->map.row[j->map.column++] = density(j->map.count, within);
		j->map.count = 0;
	}
	*printed = j->map.column == MONITOR_COLUMNS || j->map.page == s->pages;
	if (*printed) {
		monitor_row(j, "0x%-9lx|%-*.*s|", s->gfn.v + j->map.row_page, MONITOR_COLUMNS, (int)j->map.column, j->map.row);
		j->map.column = 0;
	}
	return n;
}

/* In an RCU section. True: it is drawn. */
static bool map_step(struct monitor_job *j, struct mmu *m)
{
	uint64_t left = MAP_PAGES;
	unsigned rows = 0;

	while (left && rows < MONITOR_ROWS) {
		const struct slot *s = &m->slot[j->map.slot];
		bool printed;

		if (j->map.slot == load_acquire(&m->slots)) { /* partner: slot_add */
			monitor_row(j, "%lu of %lu pages written since the last harvest", j->map.written, mmu_pages(m));
			return true;
		}
		left -= map_some(j, s, left, &printed);
		rows += printed;
		if (j->map.page == s->pages) {
			j->map.page = 0;
			j->map.slot++;
		}
	}
	return false;
}

static bool map(struct monitor_job *j, struct guest *g)
{
	bool over = true;

	rcu_read_lock(RCU_WALK);
	if (!monitor_runs(j, g)) {
		over = true;
	} else if (!g->vm->mmu.map) { /* a figure: it is the turn's */
		monitor_row(j, "%s: the log was not started", g->name);
	} else {
		if (!j->begun)
			map_begin(j, &g->vm->mmu);
		over = map_step(j, &g->vm->mmu);
	}
	rcu_read_unlock(RCU_WALK);
	return over;
}

/* ---- the command ---- */

static void tell(struct monitor_job *j, const char *name, uint64_t action)
{
	const struct log_round *r = &j->log.round;

	if (j->why)
		monitor_row(j, "%s %s", name, j->why);
	else if (j->log.outcome == LOG_OFF)
		monitor_row(j, "%s: the log was not started", name);
	else if (action == MONITOR_LOG_START)
		monitor_row(j, "%s: started; what is written from now on is on the map", name);
	else if (action == MONITOR_LOG_STOP)
		monitor_row(j, "%s: stopped", name);
	else
		monitor_row(j, "%s: %lu pages since the last harvest; this one took %lu, protected %lu sptes, cleared %lu, walks: %lu begun "
			"anew, %lu given up", name, j->log.pages, r->pages, r->protected, r->cleared, r->restarts, r->gaveup);
}

bool monitor_log(struct monitor_job *j)
{
	static bool (*const work[])(void *) = {
		[MONITOR_LOG_START] = start_work, [MONITOR_LOG_STOP] = stop_work, [MONITOR_LOG_HARVEST] = harvest_work};
	struct guest *g = monitor_guest(j, 0);
	uint64_t action = j->line.value[1];

	if (action == MONITOR_LOG_MAP)
		return map(j, g);
	j->guest = g;
	if (!monitor_ask(j, guests.walker_cpu, work[action]))
		return false;
	tell(j, g->name, action);
	return true;
}
