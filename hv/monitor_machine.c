/* SPDX-License-Identifier: MIT */
/* The monitor's commands about the hypervisor: locks, memory, RCU, log, gdb. */
#include "hv/gdb_target.h"
#include "hv/irqoff.h"
#include "hv/log.h"
#include "hv/monitor_job.h"
#include "mm/page.h"
#include "mm/rcu.h"

#define LINES_DEFAULT 20
#define LINES_MAX 200
#define MIB_PAGES_SHIFT 8 /* pages to MiB */

static void lock_row(struct monitor_job *j, const char *guest, const char *name, uint64_t ticks)
{
	monitor_row(j, "%s%s%-*s %10lu ticks %7lu us", guest, guest[0] ? "." : "", guest[0] ? 6 : 20, name, ticks, ticks_us(ticks));
}

/* Those of guest number j->place. */
static void guest_locks(struct monitor_job *j)
{
	struct guest *g = &guests.guest[j->place];
	uint64_t table = 0;

	rcu_read_lock(RCU_WALK);
	if (!load_acquire(&g->ended)) { /* partner: end_guest */
		for (unsigned i = 0; i < g->runners; i++) {
			uint64_t hold = load_relaxed(&g->runner[i].v->mmu.stats.worst_hold);

			table = hold > table ? hold : table;
		}
		lock_row(j, g->name, "mmu", lock_longest(&g->vm->mmu.lock));
		lock_row(j, g->name, "bus", lock_longest(&g->vm->bus.lock));
		lock_row(j, g->name, "table", table);
	}
	rcu_read_unlock(RCU_WALK);
}

bool monitor_locks(struct monitor_job *j)
{
	struct slab_holds slab;
	const char *where;
	uint64_t ticks;

	if (j->place < guests.n) {
		guest_locks(j);
		j->place++;
		return false;
	}
	if (j->place++ == guests.n) {
		slab = slab_holds();
		lock_row(j, "", "pages", page_longest_hold());
		lock_row(j, "", "slab-cpu", slab.cpu);
		lock_row(j, "", "slab-cache", slab.cache);
		lock_row(j, "", "slab-registry", slab.registry);
		return false;
	}
	ticks = irqoff_longest(&where);
	monitor_row(j, "%-20s %10lu ticks %7lu us at %s", "interrupts off", ticks, ticks_us(ticks), where);
	return true;
}

bool monitor_slabs(struct monitor_job *j)
{
	struct slab_stats s;
	const char *name;

	if (!j->begun)
		monitor_row(j, "%-16s %10s %10s %8s %8s %12s", "cache", "objects", "free", "blocks", "waiting", "reused");
	for (unsigned rows = 0; rows < MONITOR_ROWS; rows++, j->place++) {
		if (!slab_nth((unsigned)j->place, &name, &s)) {
			monitor_row(j, "memory: %lu MiB of %lu MiB free; slabs have %lu pages; %lu KiB wait for a grace period",
				page_free_count() >> MIB_PAGES_SHIFT, page_total() >> MIB_PAGES_SHIFT, slab_pages(),
				slab_waiting() >> 10);
			return true;
		}
		monitor_row(j, "%-16s %10lu %10lu %8lu %8lu %12lu", name, s.objects, s.free_objects, s.blocks, s.waiting_blocks,
			s.reused);
	}
	return false;
}

static void section(struct monitor_job *j, char letter, unsigned cpu, uint64_t word)
{
	if (word)
		monitor_row(j, "CPU %3u  %c %lu", cpu, letter, word);
	else
		monitor_row(j, "CPU %3u  %c -", cpu, letter);
}

bool monitor_rcu(struct monitor_job *j)
{
	if (!j->begun)
		monitor_row(j, "epoch %lu; %lu KiB wait for a grace period", load_relaxed(&rcu_epoch), slab_waiting() >> 10);
	for (unsigned rows = 0; rows + 1 < MONITOR_ROWS && j->place < host_cpus(); rows += 2, j->place++) {
		unsigned cpu = (unsigned)j->place;

		section(j, 'p', cpu, load_relaxed(&rcu_cpus[cpu].word[RCU_PUBLISH]));
		section(j, 'w', cpu, load_relaxed(&rcu_cpus[cpu].word[RCU_WALK]));
	}
	return j->place == host_cpus();
}

bool monitor_dmesg(struct monitor_job *j)
{
	uint64_t lines = j->line.arguments ? j->line.value[0] : LINES_DEFAULT;
	char line[LOG_LINE_MAX + 1];

	if (!j->begun) {
		j->end = log_head();
		j->place = log_last(lines < LINES_MAX ? (unsigned)lines : LINES_MAX);
	}
	for (unsigned rows = 0; rows < MONITOR_ROWS; rows++) {
		if (!log_read(&j->place, j->end, line, sizeof line))
			return true;
		monitor_row(j, "| %s", line);
	}
	return false;
}

bool monitor_phys(struct monitor_job *j)
{
	bool on = j->line.value[0] == MONITOR_PHYS_ON;

	if (!j->still) {
		monitor_row(j, "that is gdb's");
		return true;
	}
	gdb_target_physical(on);
	monitor_row(j, "guests' memory is at %s addresses", on ? "guest-physical" : "their own");
	return true;
}
