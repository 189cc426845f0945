/* SPDX-License-Identifier: MIT */
/* The monitor's commands about guests and their vCPUs. */
#include "guest/text.h"
#include "hv/monitor_job.h"
#include "hv/pause.h"
#include "mm/rcu.h"

#define CPUS_TEXT (5 * MMU_MAX_VCPUS + 1)

/* In an RCU section: is there a vm to look at? */
static bool has_vm(const struct guest *g)
{
	return !load_acquire(&g->ended); /* partner: end_guest */
}

/* The next guest that the command is about, by j->place, which the caller moves on; 0: there are no more. */
static struct guest *next_guest(struct monitor_job *j)
{
	if (j->line.arguments)
		return j->place ? 0 : &guests.guest[j->line.value[0]];
	return j->place < guests.n ? &guests.guest[j->place] : 0;
}

static uint64_t exits_of(const struct guest *g)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < g->runners; i++)
		n += vcpu_exits(g->runner[i].v);
	return n;
}

static const char *state_of(const struct guest *g)
{
	if (!has_vm(g))
		return load_relaxed(&g->passed) ? "ended: PASS" : "ended: FAIL";
	if (!vm_running(g->vm))
		return "ending";
	return pause_by_person(g) ? "paused" : "runs";
}

static void guest_row(struct monitor_job *j, const struct guest *g)
{
	const struct vm *vm;
	char cpus[CPUS_TEXT] = "";
	size_t n = 0;

	for (unsigned i = 0; i < g->runners; i++)
		n += text_format(cpus + n, sizeof cpus - n, i ? ",%u" : "%u", g->runner[i].cpu);
	if (!has_vm(g)) {
		monitor_row(j, "%-8s %-12s %5u", g->name, state_of(g), load_relaxed(&g->lives) + 1);
		return;
	}
	vm = g->vm;
	monitor_row(j, "%-8s %-12s %5u %5lu %5u  %-9s %-5s %8lu", g->name, state_of(g), load_relaxed(&g->lives) + 1,
		vm->config.mem >> 20, vm->vcpus, cpus, config_log_names[vm->config.log],
		(host_clock() - vm->created) / host_clock_hz());
}

bool monitor_guests(struct monitor_job *j)
{
	if (!j->begun)
		monitor_row(j, "%-8s %-12s %5s %5s %5s  %-9s %-5s %8s", "guest", "state", "lives", "MiB", "vCPUs", "CPUs", "log",
			"seconds");
	rcu_read_lock(RCU_WALK);
	for (unsigned rows = 0; rows < MONITOR_ROWS && j->place < guests.n; rows++)
		guest_row(j, &guests.guest[j->place++]);
	rcu_read_unlock(RCU_WALK);
	return j->place == guests.n;
}

/* ---- vCPUs ---- */

/* On its CPU, in a turn. */
static bool look(void *argument)
{
	struct monitor_job *j = argument;
	const struct runner *r = &j->guest->runner[j->end];
	struct vcpu *v = r->v;

	j->vcpu.there = !r->over && !load_acquire(&r->stopped); /* partner: stop() in runner.c */
	if (!j->vcpu.there)
		return true;
	if (!j->still) { /* else it was fetched before */
		guests.backend->load(v);
		guests.backend->fetch(v, VCPU_ALL);
	}
	j->vcpu = (struct monitor_vcpu){.there = true,
		.activity = v->activity,
		.rip = v->rip,
		.rsp = v->gpr[RSP],
		.cr3 = v->cr3,
		.exits = vcpu_exits(v),
		.mode = v->mmu.mode,
		.long_mode = vcpu_long_mode(v)};
	return true;
}

static void vcpu_row(struct monitor_job *j)
{
	static const char *const activities[] = {[VCPU_RUNNABLE] = "runs", [VCPU_HALTED] = "halted", [VCPU_ASLEEP] = "asleep",
		[VCPU_OFF] = "off", [VCPU_STOPPED] = "stopped"};
	static const char *const modes[] = {[PAGING_OFF] = "unpaged", [PAGING_LONG] = "long", [PAGING_PAE] = "PAE",
		[PAGING_32] = "32-bit", [PAGING_PSE] = "32-bit"};
	const struct runner *r = &j->guest->runner[j->end];

	monitor_row(j, "%-8s %4lu %3u  %-8s %-8s %016lx %016lx %016lx %10lu", j->guest->name, j->end, r->cpu,
		load_relaxed(&r->parked) ? "paused" : activities[j->vcpu.activity], modes[j->vcpu.mode], j->vcpu.rip, j->vcpu.rsp,
		j->vcpu.cr3, j->vcpu.exits);
}

/* One a step; j->end is the vCPU's number. */
bool monitor_vcpus(struct monitor_job *j)
{
	struct guest *g = next_guest(j);

	if (!j->begun)
		monitor_row(j, "%-8s %4s %3s  %-8s %-8s %-16s %-16s %-16s %10s", "guest", "vCPU", "CPU", "state", "paging", "rip", "rsp",
			"cr3", "exits");
	if (!g)
		return true;
	j->guest = g;
	if (j->end < g->runners) {
		if (!monitor_ask(j, g->runner[j->end].cpu, look))
			return false;
		if (j->vcpu.there)
			vcpu_row(j);
		else if (!j->end)
			monitor_row(j, "%-8s has ended", g->name);
		j->end++;
		return false;
	}
	j->end = 0;
	j->place++;
	return false;
}

/* ---- figures ---- */

bool monitor_stats(struct monitor_job *j)
{
	struct guest *g;

	if (!j->begun)
		monitor_row(j, "%-8s %11s %11s %8s %9s %9s %7s %9s", "guest", "exits", "faults", "rounds", "dirty", "protected",
			"retries", "emulated");
	rcu_read_lock(RCU_WALK);
	for (unsigned rows = 0; rows < MONITOR_ROWS && (g = next_guest(j)); rows++, j->place++) {
		const struct mmu *m;
		uint64_t emulated = 0;

		if (!has_vm(g)) {
			monitor_row(j, "%-8s has ended", g->name);
			continue;
		}
		m = &g->vm->mmu;
		for (unsigned i = 0; i < g->runners; i++)
			emulated += load_relaxed(&g->runner[i].v->emulated);
		monitor_row(j, "%-8s %11lu %11lu %8lu %9lu %9lu %7lu %9lu", g->name, exits_of(g), mmu_faults(m).faults,
			load_relaxed(&m->stats.rounds), load_relaxed(&m->stats.dirty), load_relaxed(&m->stats.protected),
			load_relaxed(&m->stats.restarts), emulated);
	}
	g = next_guest(j);
	rcu_read_unlock(RCU_WALK);
	return !g;
}

/* A row for each reason that there was, of all guests that the command is about together. */
bool monitor_exits(struct monitor_job *j)
{
	unsigned rows = 0;

	rcu_read_lock(RCU_WALK);
	for (; rows < MONITOR_ROWS && j->place < EXIT_REASONS; j->place++) {
		uint64_t count = 0;

		for (unsigned i = 0; i < guests.n; i++) {
			struct guest *g = &guests.guest[i];

			if (!has_vm(g) || (j->line.arguments && i != j->line.value[0]))
				continue;
			for (unsigned k = 0; k < g->runners; k++)
				count += load_relaxed(&g->runner[k].v->exits[j->place]);
		}
		if (count) {
			monitor_row(j, "%12lu %s", count, report_reason(j->place));
			j->end = 1; /* there was one */
			rows++;
		}
	}
	rcu_read_unlock(RCU_WALK);
	if (j->place < EXIT_REASONS)
		return false;
	if (!j->end)
		monitor_row(j, "none");
	return true;
}

/* ---- what is done to them ---- */

bool monitor_pause(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);
	bool over = true, asked = false;

	rcu_read_lock(RCU_WALK);
	if (monitor_runs(j, g)) {
		asked = pause_guest(g);
		over = asked && (j->still || pause_guest_done(g));
		if (over)
			monitor_row(j, "%s: paused", g->name);
	}
	rcu_read_unlock(RCU_WALK);
	return over;
}

bool monitor_resume(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);

	rcu_read_lock(RCU_WALK);
	if (monitor_runs(j, g)) {
		monitor_row(j, pause_by_person(g) ? "%s: goes on" : "%s: was not paused", g->name);
		if (pause_by_person(g))
			pause_guest_over(g);
	}
	rcu_read_unlock(RCU_WALK);
	return true;
}

bool monitor_kill(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);

	rcu_read_lock(RCU_WALK);
	if (monitor_runs(j, g)) {
		vm_end_fail(g->vm, "killed by the monitor");
		for (unsigned i = 0; i < g->runners; i++)
			runner_attend(g->runner[i].cpu);
		monitor_row(j, "%s: killed", g->name);
	}
	rcu_read_unlock(RCU_WALK);
	return true;
}

static bool restart(void *argument)
{
	struct monitor_job *j = argument;

	return guest_restart(j->guest, j->life, &j->why);
}

bool monitor_restart(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);

	if (j->still) {
		monitor_row(j, "not while everything stands still");
		return true;
	}
	j->guest = g;
	if (!monitor_ask(j, guests.walker_cpu, restart))
		return false;
	if (j->why)
		monitor_row(j, "%s: %s", g->name, j->why);
	else
		monitor_row(j, "%s: made anew", g->name);
	return true;
}
