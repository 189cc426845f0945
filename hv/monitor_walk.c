/* SPDX-License-Identifier: MIT */
/* The monitor's commands about one page or address: who maps it, and where it leads. */
#include "hv/monitor_job.h"
#include "mm/rcu.h"

#define FLAGS 8

/* P W U A D, size, no execution; of a guest's entry and of an spte alike. */
static const char *flags(uint64_t e, char *to)
{
	static const struct { uint64_t bit; char letter; } flag[FLAGS - 1] = {{GPTE_P, 'P'}, {GPTE_W, 'W'}, {GPTE_U, 'U'},
		{GPTE_A, 'A'}, {GPTE_D, 'D'}, {GPTE_PS, 'S'}, {GPTE_NX, 'X'}};

	for (unsigned i = 0; i < FLAGS - 1; i++)
		to[i] = e & flag[i].bit ? flag[i].letter : '-';
	to[FLAGS - 1] = 0;
	return to;
}

static const char *mode_name(enum paging_mode mode)
{
	static const char *const names[] = {[PAGING_OFF] = "unpaged", [PAGING_LONG] = "long", [PAGING_PAE] = "PAE",
		[PAGING_32] = "32-bit", [PAGING_PSE] = "32-bit, 4 MiB"};

	return names[mode];
}

/* ---- rmap ---- */

/* The first step, which gathers what the others print; j->end: leaves gathered. */
static bool rmap_gather(struct monitor_job *j, struct guest *g, gfn_t f)
{
	struct survey_page p;

	survey_page(&g->vm->mmu, f, &p);
	if (!p.ram) {
		monitor_row(j, "gfn 0x%lx is no memory of %s", f.v, g->name);
		return false;
	}
	monitor_row(j, "gfn 0x%lx: hfn 0x%lx, %s; shadowed by %u page tables; mapped by %u leaves of 4 KiB, %u of 2 MiB", f.v, p.hfn.v,
		p.dirty ? "dirty" : "clean", p.tables, p.length[0], p.length[1]);
	for (unsigned level = 1; level <= SLOT_LEVELS; level++)
		j->end += survey_leaves(&g->vm->mmu, f, level, j->leaf + j->end, MONITOR_LEAVES / SLOT_LEVELS);
	if (j->end)
		monitor_row(j, "%-18s %5s  %-13s %-18s %s", "of the table gfn", "entry", "paging", "spte", "PWUADSX");
	if (p.length[0] + p.length[1] > j->end)
		monitor_row(j, "the first %lu:", j->end);
	return j->end != 0;
}

static void leaf_row(struct monitor_job *j, const struct survey_leaf *l)
{
	char text[FLAGS];

	monitor_row(j, "0x%-16lx %5u  %-13s 0x%016lx %s%s%s%s", l->table.v, l->index, mode_name(l->role.mode), l->spte,
		flags(l->spte, text), l->role.level == 2 ? " 2 MiB" : "", l->role.direct ? " direct" : "", l->unsync ? " unsync" : "");
}

bool monitor_rmap(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);
	bool more = true;

	if (!j->begun) {
		rcu_read_lock(RCU_WALK);
		more = monitor_runs(j, g) && rmap_gather(j, g, gfn(j->line.value[1]));
		rcu_read_unlock(RCU_WALK);
		return !more;
	}
	for (unsigned rows = 0; rows < MONITOR_ROWS && j->place < j->end; rows++)
		leaf_row(j, &j->leaf[j->place++]);
	return j->place == j->end;
}

/* ---- walk ---- */

/* On the vCPU's CPU, in a turn. */
static bool walk(void *argument)
{
	struct monitor_job *j = argument;
	const struct runner *r = &j->guest->runner[j->line.value[2]];

	j->why = load_relaxed(&j->guest->lives) != j->life ? "was made anew meanwhile"
		: r->over || load_acquire(&r->stopped)	   ? "has ended" /* partner: stop() in runner.c */
							   : 0;
	if (!j->why)
		survey_walk(&r->v->mmu, gva(j->line.value[1]), &j->walk);
	return true;
}

static void entry_row(struct monitor_job *j, unsigned level)
{
	const struct survey_entry *e = &j->walk.guest[level], *s = &j->walk.shadow[level];
	char at[24] = "", guest[40] = "", shadow[40] = "", text[FLAGS];

	if (e->there && e->at)
		text_format(at, sizeof at, "0x%lx", e->at);
	else if (e->there)
		text_format(at, sizeof at, "loaded by CR3");
	if (e->there)
		text_format(guest, sizeof guest, "0x%016lx %s", e->value, flags(e->value, text));
	if (s->there)
		text_format(shadow, sizeof shadow, "0x%016lx %s", s->value, flags(s->value, text));
	if (e->there || s->there)
		monitor_row(j, "%5u  %-18s %-26s  %s", level, at, guest, shadow);
}

static void walk_end(struct monitor_job *j)
{
	const struct survey_walk *w = &j->walk;

	if (w->mapped)
		monitor_row(j, "the guest: gpa 0x%lx", w->gpa.v);
	else
		monitor_row(j, "the guest: %s", w->beyond ? "a table beyond its memory" : "not mapped");
	if (w->shadowed)
		monitor_row(j, "the shadow: gpa 0x%lx", w->shadow_gpa.v);
	else
		monitor_row(j, "the shadow: %s", w->stale ? "to be loaded anew" : "nothing yet");
}

/* j->place: the level whose row is next, counted down; 0 before the vCPU's CPU has answered. */
bool monitor_walk(struct monitor_job *j)
{
	struct guest *g = monitor_guest(j, 0);

	if (j->line.value[2] >= g->runners) {
		monitor_row(j, "%s has the vCPUs 0 to %u", g->name, g->runners - 1);
		return true;
	}
	if (!j->place) {
		j->guest = g;
		if (!monitor_ask(j, g->runner[j->line.value[2]].cpu, walk))
			return false;
		if (j->why) {
			monitor_row(j, "%s %s", g->name, j->why);
			return true;
		}
		monitor_row(j, "%s, vCPU %lu: paging %s", g->name, j->line.value[2], mode_name(j->walk.mode));
		monitor_row(j, "%-5s  %-18s %-18s %-7s  %-18s %s", "level", "guest's entry at", "guest's", "PWUADSX", "shadow's", "PWUADSX");
		j->place = SURVEY_LEVELS;
		return false;
	}
	if (--j->place) {
		entry_row(j, (unsigned)j->place);
		return false;
	}
	walk_end(j);
	return true;
}
