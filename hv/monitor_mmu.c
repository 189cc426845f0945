/* SPDX-License-Identifier: MIT */
/* The monitor's commands about a guest's shadow MMU. */
#include "hv/monitor_job.h"
#include "mm/log.h"
#include "mm/rcu.h"

/* A part a step. */
static void mmu_part(struct monitor_job *j, struct guest *g)
{
	struct mmu *m = &g->vm->mmu;
	struct mmu_stats *s = &m->stats;
	struct mmu_faults f = mmu_faults(m);

	switch (j->place) {
	case 0:
		monitor_row(j, "memory: %lu pages in %u slots", mmu_pages(m), load_relaxed(&m->slots));
		monitor_row(j, "page faults: %lu: %lu fixed up, %lu quick, %lu slow, %lu the guest's own; the longest took %lu us", f.faults,
			f.fixups, f.quick, f.faults - f.fixups - f.quick - f.injected, f.injected, ticks_us(f.worst_fault));
		break;
	case 1:
		monitor_row(j, "shadow pages: %lu of %lu; %u unsync, %u of them above level 1, %u hot; %u dying", m->used,
			m->budget, load_relaxed(&m->unsync_all), load_relaxed(&m->unsync_upper), load_relaxed(&m->unsync_hot),
			load_relaxed(&m->dying));
		monitor_row(j, "since the beginning: %lu let go unsync, %lu synced, %lu of them left open; %lu zapped, %lu of them for the budget",
			load_relaxed(&s->unsyncs), load_relaxed(&s->synced), load_relaxed(&s->left_open), load_relaxed(&s->zapped),
			load_relaxed(&s->reclaimed));
		break;
	case 2:
		monitor_row(j, "TLBs: generation %lu; %lu flushes with %lu kicks; narrowings: %lu owed, %lu flushed",
			load_relaxed(&m->generation), load_relaxed(&s->flushes), load_relaxed(&s->kicks), load_relaxed(&m->owed),
			load_relaxed(&m->flushed));
		monitor_row(j, "dirty log: %u users, by %s; %lu rounds, %lu of them by D bits", load_relaxed(&m->logging),
			load_relaxed(&m->by_dbit) ? "D bits" : "protection", load_relaxed(&s->rounds), load_relaxed(&s->dbit_rounds));
		monitor_row(j, "pages harvested: %lu; sptes protected: %lu, cleared: %lu; walks begun anew: %lu, given up: %lu",
			load_relaxed(&s->dirty), load_relaxed(&s->protected), load_relaxed(&s->cleared), load_relaxed(&s->restarts),
			load_relaxed(&s->gaveup));
		break;
	}
}

bool monitor_mmu(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);
	bool runs;

	rcu_read_lock(RCU_WALK);
	runs = monitor_runs(j, g);
	if (runs)
		mmu_part(j, g);
	rcu_read_unlock(RCU_WALK);
	return !runs || ++j->place == 3;
}

/* ---- on the walker's CPU, where a guest that has not ended stays for the step ---- */

bool monitor_is_there(struct monitor_job *j)
{
	j->why = load_relaxed(&j->guest->lives) != j->life ? "was made anew meanwhile"
		: load_relaxed(&j->guest->ended)	   ? "has ended"
							   : 0;
	return !j->why;
}

static bool audit_work(void *argument)
{
	struct monitor_job *j = argument;

	return !monitor_is_there(j) || audit_step(&j->audit) == AUDIT_DONE;
}

static bool audit_first(void *argument)
{
	struct monitor_job *j = argument;

	if (monitor_is_there(j))
		audit_begin(&j->audit, &j->guest->vm->mmu);
	return true;
}

/* Guest after guest: j->place is the guest's number; j->end is 1 while its pass is under way. */
bool monitor_audit(struct monitor_job *j)
{
	if (!j->begun && j->line.arguments)
		j->place = j->line.value[0];
	j->guest = &guests.guest[j->place];
	if (!j->end && !j->asked)
		j->life = load_relaxed(&j->guest->lives);
	if (!j->end) {
		if (!monitor_ask(j, guests.walker_cpu, audit_first))
			return false;
		j->end = !j->why;
		if (j->end)
			return false;
	} else if (!monitor_ask(j, guests.walker_cpu, audit_work)) {
		return false;
	}
	if (j->why)
		monitor_row(j, "%s %s", j->guest->name, j->why);
	else
		monitor_row(j, "%s: %lu violations", j->guest->name, j->audit.violations);
	j->end = 0;
	j->place++;
	return j->line.arguments || j->place == guests.n;
}

/* With the harvest's turn, for the test device's audit, which takes no lock, has it too. */
static bool zap_work(void *argument)
{
	struct monitor_job *j = argument;
	bool more;

	if (!monitor_is_there(j))
		return true;
	if (!log_turn_take(&j->guest->vm->mmu))
		return false;
	more = mmu_zap_step(&j->guest->vm->mmu, &j->bucket);
	log_turn_end(&j->guest->vm->mmu);
	return !more;
}

bool monitor_zap(struct monitor_job *j)
{
	if (!j->begun)
		j->bucket = 0;
	j->guest = monitor_guest(j, 0);
	if (!monitor_ask(j, guests.walker_cpu, zap_work))
		return false;
	if (j->why)
		monitor_row(j, "%s %s", j->guest->name, j->why);
	else
		monitor_row(j, "%s: zapped", j->guest->name);
	return true;
}
