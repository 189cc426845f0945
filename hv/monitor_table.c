/* SPDX-License-Identifier: MIT */
/* The monitor's commands by name, and what `help` says of them. */
#include "hv/monitor_job.h"

#define NAME {COMMAND_GUEST, "NAME", 0, false}
#define NAME_OR_ALL {COMMAND_GUEST, "NAME", 0, true}

static bool help(struct monitor_job *j);

static const char *const log_words[] = {[MONITOR_LOG_START] = "start", [MONITOR_LOG_STOP] = "stop", [MONITOR_LOG_HARVEST] = "harvest",
	[MONITOR_LOG_MAP] = "map", 0};
static const char *const phys_words[] = {[MONITOR_PHYS_OFF] = "off", [MONITOR_PHYS_ON] = "on", 0};

enum { HELP, GUESTS, VCPUS, STATS, EXITS, MMU, RMAP, WALK, LOG, AUDIT, ZAP, PAUSE, RESUME, KILL, RESTART, PHYS, LOCKS, SLABS, RCU, DMESG, QUIT, COMMANDS };

static const struct command table[COMMANDS] = {
	[HELP] = {"help", "lists the commands, or tells more of one", 0, {{COMMAND_NAME, "COMMAND", 0, true}}},
	[GUESTS] = {"guests", "the guests, where they run, and how they are",
		"A guest that has ended shows its last verdict. lives: times it was made.\n", {{0}}},
	[VCPUS] = {"vcpus", "the vCPUs: what they do, and where",
		"Each is asked of its own CPU, one after the other: they are not of one instant.\n"
		"runs: it can run; halted: until an interrupt comes; asleep: until another vCPU wakes it; off: not started.\n",
		{NAME_OR_ALL}},
	[STATS] = {"stats", "the figures of the table that is printed each second, since the guest was made",
		"exits: VM exits; faults: shadow page faults; rounds: harvests of the dirty log; dirty: pages they found;\n"
		"protected: sptes they write-protected; retries: walks begun anew; emulated: instructions.\n", {NAME_OR_ALL}},
	[EXITS] = {"exits", "VM exits by reason, of a guest or of all", 0, {NAME_OR_ALL}},
	[MMU] = {"mmu", "a guest's shadow MMU: memory, page faults, shadow pages, TLB flushes, dirty log", 0, {NAME}},
	[RMAP] = {"rmap", "who maps a page: the leaves in its rmap chain",
		"Of a long chain the first. P present, W writable, U the user's, A accessed, D dirty, S large, X not executable.\n",
		{NAME, {COMMAND_NUMBER, "GFN", 0, false}}},
	[WALK] = {"walk", "where an address leads, by the guest's page tables and by the shadow's",
		"Of vCPU 0, or another; its CPU looks. No A or D bit is set by that. Flags: as `help rmap` says.\n",
		{NAME, {COMMAND_NUMBER, "ADDRESS", 0, false}, {COMMAND_NUMBER, "VCPU", 0, true}}},
	[LOG] = {"log", "logs where a guest writes: harvests it, or draws a map of it",
		"Beside replicas and the guest's own test device. start: from now on; harvest: how many pages since the last one, and the map\n"
		"begins anew; map: how much of which memory was written since; stop: no more is logged for it.\n",
		{NAME, {COMMAND_WORD, 0, log_words, false}}},
	[AUDIT] = {"audit", "checks the invariants of the MMU of a guest, or of all, beside their vCPUs",
		"In steps, on the walker's CPU. What it finds is printed by name.\n", {NAME_OR_ALL}},
	[ZAP] = {"zap", "takes all shadow pages of a guest apart; it makes them anew as it needs them",
		"In steps, on the walker's CPU. A root that is loaded stays until it is loaded no more.\n", {NAME}},
	[PAUSE] = {"pause", "has all of a guest stand still", "Its clocks go on, its limit= does not. `resume` ends it.\n", {NAME}},
	[RESUME] = {"resume", "lets a guest go on that `pause` has stopped", 0, {NAME}},
	[KILL] = {"kill", "ends a guest", "Its verdict is FAIL.\n", {NAME}},
	[RESTART] = {"restart", "makes a guest anew, of its boot module",
		"One that runs is ended for it without a verdict. Not while gdb has everything stand still.\n",
		{NAME}},
	[PHYS] = {"phys", "has gdb read and write guests' memory at guest-physical addresses, or at the guests' own again",
		"For gdb alone. Breakpoints and watchpoints stay where guests' own addresses lead.\n", {{COMMAND_WORD, 0, phys_words, false}}},
	[LOCKS] = {"locks", "how long each lock was held at most, and interrupts were off, since the first VM entry", 0, {{0}}},
	[SLABS] = {"slabs", "the slab caches, and the machine's memory",
		"waiting: blocks that wait for a grace period; reused: allocations that got an object back for the same type.\n", {{0}}},
	[RCU] = {"rcu", "the epoch, and the sections that CPUs are in",
		"p and w: the epoch at which a CPU's section of a publisher and of a walker began; -: it is in none.\n", {{0}}},
	[DMESG] = {"dmesg", "the last lines of the log, 20 or as many as are asked for",
		"At most 200: `|` stands before each.\n", {{COMMAND_NUMBER, "LINES", 0, true}}},
	[QUIT] = {"quit", "leaves the monitor, as Ctrl-d does", 0, {{0}}},
};

static const char *guest_name(unsigned nth)
{
	return nth < guests.n ? guests.guest[nth].name : 0;
}

const struct command_set monitor_commands = {table, COMMANDS, guest_name};

/* Lines of `more`, from j->place on. */
static bool help_more(struct monitor_job *j, const char *more)
{
	for (unsigned rows = 0; rows < MONITOR_ROWS; rows++) {
		unsigned n = 0;

		if (!more || !more[j->place])
			return true;
		while (more[j->place + n] != '\n')
			n++;
		monitor_row(j, "%.*s", (int)n, more + j->place);
		j->place += n + 1;
	}
	return false;
}

static bool help(struct monitor_job *j)
{
	char usage[COMMAND_USAGE];

	if (j->line.arguments) {
		const struct command *c = &table[j->line.value[0]];

		if (j->place)
			return help_more(j, c->more);
		command_usage(c, usage);
		monitor_row(j, "%s: %s", usage, c->help);
		return help_more(j, c->more);
	}
	for (unsigned rows = 0; rows < MONITOR_ROWS && j->place < COMMANDS; rows++, j->place++) {
		command_usage(&table[j->place], usage);
		monitor_row(j, "%-32s %s", usage, table[j->place].help);
	}
	return j->place == COMMANDS;
}

static bool quit(struct monitor_job *j)
{
	(void)j;
	return true; /* monitor.c's */
}

const bool monitor_takes_no_lock[COMMANDS] = {[HELP] = true, [GUESTS] = true, [STATS] = true, [EXITS] = true, [PHYS] = true,
	[LOCKS] = true, [RCU] = true, [DMESG] = true};

const monitor_step monitor_steps[COMMANDS] = {
	[HELP] = help,
	[GUESTS] = monitor_guests,
	[VCPUS] = monitor_vcpus,
	[STATS] = monitor_stats,
	[EXITS] = monitor_exits,
	[MMU] = monitor_mmu,
	[RMAP] = monitor_rmap,
	[WALK] = monitor_walk,
	[LOG] = monitor_log,
	[AUDIT] = monitor_audit,
	[ZAP] = monitor_zap,
	[PAUSE] = monitor_pause,
	[RESUME] = monitor_resume,
	[KILL] = monitor_kill,
	[RESTART] = monitor_restart,
	[PHYS] = monitor_phys,
	[LOCKS] = monitor_locks,
	[SLABS] = monitor_slabs,
	[RCU] = monitor_rcu,
	[DMESG] = monitor_dmesg,
	[QUIT] = quit,
};
