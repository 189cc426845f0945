/* SPDX-License-Identifier: MIT */
/* Standing still by agreement.
 *
 *   asker                                   CPU of another vCPU, in its turn
 *   1 pauser = me        (seq_cst RMW)      a parked = 0     (seq_cst RMW, if it was 1)
 *   2 asks the CPU to take a turn           b pauser?        (seq_cst load)   another's: parked = 1
 *   3 parked?            (seq_cst load)     c slices, for who is not parked
 *
 * Why it is safe. Store then load on both sides: if 3 finds the 1 of an earlier pause, either that is still before a,
 * and b finds the asker; or b came first, and stored the 1 anew. A vCPU and its handlers run in its CPU's slices alone, so
 * one that was parked in the turn runs no more until the next.
 *
 * The asker does not enter its guest while it waits: the exit that asked is kept, and handled once the others stand still.
 */
#include "hv/pause.h"
#include "hv/gdb_stub.h"

bool pause_others(struct runner *r)
{
	struct guest *g = r->guest;
	uint32_t nobody = 0, me = r->v->index + 1;
	bool fresh = cmpxchg_seq(&g->pauser, &nobody, me), all = true; /* 1 */

	if (!fresh && nobody != me)
		return false;
	for (unsigned i = 0; i < g->runners; i++) {
		struct runner *o = &g->runner[i];

		if (o == r || load_acquire(&o->stopped)) /* partner: stop() in runner.c */
			continue;
		if (fresh)
			runner_attend(o->cpu); /* 2 */
		all &= load_seq(&o->parked) != 0; /* 3 */
	}
	return all;
}

void pause_over(struct runner *r)
{
	struct guest *g = r->guest;

	store_release(&g->pauser, 0); /* partner: the load in pause_park */
	for (unsigned i = 0; i < g->runners; i++)
		if (&g->runner[i] != r)
			runner_attend(g->runner[i].cpu);
}

void pause_forget(struct runner *r)
{
	r->v->was_reset = false;
	r->holds = false;
	gdb_guard_over(r);
	if (load_relaxed(&r->guest->pauser) == r->v->index + 1)
		pause_over(r);
}

static bool asked(struct runner *r)
{
	uint32_t pauser = load_seq(&r->guest->pauser); /* b */

	return pauser && pauser != r->v->index + 1;
}

bool pause_guest(struct guest *g)
{
	uint32_t nobody = 0;

	if (!cmpxchg_seq(&g->pauser, &nobody, PAUSE_PERSON) && nobody != PAUSE_PERSON) /* 1 */
		return false;
	for (unsigned i = 0; i < g->runners; i++)
		runner_attend(g->runner[i].cpu); /* 2 */
	return true;
}

void pause_guest_over(struct guest *g)
{
	uint32_t person = PAUSE_PERSON;

	cmpxchg_seq(&g->pauser, &person, 0); /* partner: the load in pause_park */
	for (unsigned i = 0; i < g->runners; i++)
		runner_attend(g->runner[i].cpu);
}

bool pause_guest_done(const struct guest *g)
{
	for (unsigned i = 0; i < g->runners; i++)
		if (!load_seq(&g->runner[i].parked) && !load_acquire(&g->runner[i].stopped)) /* 3; stop() in runner.c */
			return false;
	return true;
}

bool pause_park(struct runner *r)
{
	bool parked = load_relaxed(&r->parked);

	if (parked && !asked(r)) {
		xchg_seq(&r->parked, 0); /* a */
		r->retry_exits = 0; /* that time is no lack of progress */
		parked = false;
	}
	if (!parked && asked(r)) {
		store_release(&r->parked, 1); /* partner: 3 */
		parked = true;
	}
	return parked;
}

enum runner_next pause_hold(struct runner *r, const struct exit *e)
{
	r->held = *e;
	r->holds = true;
	return NEXT_YIELD;
}

enum runner_next pause_held(struct runner *r)
{
	struct exit e = r->held;
	enum runner_next next;

	if (!r->holds)
		return NEXT_ENTER;
	if (!pause_others(r))
		return NEXT_YIELD;
	r->holds = false;
	store_release(&r->vm->quiet, 1); /* partner: vm_quiet */
	next = exit_handle(r, &e);
	store_release(&r->vm->quiet, 0);
	if (!r->v->step.guard) /* or else later: gdb_guard_over() */
		pause_over(r);
	return next;
}
