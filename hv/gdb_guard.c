/* SPDX-License-Identifier: MIT */
/* A vCPU at a page that is guarded for gdb (guest/gdb_watch.h). What gdb watches there stops everything; any other instruction
 * goes through: the other vCPUs of the guest are asked to stand still, the guards are open for this one, and it makes a single
 * step, or some more while it stays among watched code and nothing of the guest's data is watched. A step ends early where the
 * guest's own handler is about to run, or it halts; the instruction then meets the guard again. One that clears RFLAGS.TF (SYSCALL,
 * INT n) ends it at the next exit, as does an event whose delivery meets a guard. */
#include "guest/gdb_guest.h"
#include "guest/gdb_watch.h"
#include "hv/fetch.h"
#include "hv/gdb_stub.h"
#include "hv/pause.h"

#define BYTES_UNKNOWN 64 /* of an operand, at most */
#define STEPS 200        /* while guards are open; interrupts wait, and so do the other vCPUs */

/* Bytes that the instruction at RIP accesses at once. */
static unsigned operand_bytes(struct vcpu *v)
{
	enum insn_outcome decoded = INSN_SHORT;
	struct fetch x = {.n = 0};
	struct insn i;

	while (decoded == INSN_SHORT && vcpu_canonical(fetch_at(v, &x)) && fetch_more(v, &x) == MMU_RESUME)
		decoded = insn_decode_all(insn_mode(v), x.bytes, x.n, &i);
	return decoded == INSN_OK && i.bytes ? i.bytes : BYTES_UNKNOWN;
}

bool gdb_guard_code(struct runner *r)
{
	enum gdb_watch watch = gdb_watch_code(r->v);

	if (watch != GDB_WATCH_NONE)
		gdb_stub_watched(r->v, watch, 0);
	return watch != GDB_WATCH_NONE;
}

/* A step that gdb has not asked for. */
static void step_through(struct vcpu *v)
{
	gdb_guest_step(v);
	v->step.wanted = false;
}

enum runner_next gdb_guard_stop(struct runner *r, struct exit *e)
{
	uint64_t a = e->page_fault.gva.v;
	struct vcpu *v = r->v;
	struct vcpu_step *s = &v->step;

	guests.backend->fetch(v, VCPU_ALL);
	if (e->page_fault.error & PF_I && gdb_guard_code(r))
		return NEXT_YIELD;
	if (!pause_others(r))
		return pause_hold(r, e);
	s->watch = GDB_WATCH_NONE;
	if (!(e->page_fault.error & PF_I))
		s->watch = (uint8_t)gdb_watch_data(v->mmu.mmu, a, operand_bytes(v), e->page_fault.error & PF_W, &s->watch_at);
	mmu_guard_open(&v->mmu);
	s->guard = s->again = true;
	s->done = false;
	s->left = STEPS;
	v->repeats = 0; /* it gets on */
	if (!s->on && v->event.type == EVENT_NONE)
		step_through(v);
	return NEXT_YIELD;
}

void gdb_guard_over(struct runner *r)
{
	struct vcpu *v = r->v;

	if (!v->step.guard)
		return;
	v->step.guard = false;
	mmu_guard_close(&v->mmu);
	if (!v->step.wanted)
		gdb_guest_step_end(v);
	pause_over(r);
}

/* The next instruction may go through the guards that are open as well. */
static bool passes_on(struct vcpu *v, enum runner_next next)
{
	struct vcpu_step *s = &v->step;

	if (!s->on || !s->done || s->wanted || next != NEXT_ENTER || v->event.type != EVENT_NONE || !s->left)
		return false;
	s->left--;
	guests.backend->fetch(v, VCPU_RIP | VCPU_SEGMENTS | VCPU_CONTROL);
	if (!gdb_watch_passes(v))
		return false;
	gdb_guest_step_end(v);
	step_through(v);
	return true;
}

bool gdb_guard_after(struct runner *r, enum runner_next next)
{
	struct vcpu *v = r->v;
	struct vcpu_step *s = &v->step;
	bool watched;

	if (!s->guard)
		return false;
	guests.backend->fetch(v, VCPU_FLOW);
	if (!(s->done || !s->on || !(v->rflags & RFLAGS_TF) || v->event.type != EVENT_NONE || next == NEXT_HALT || next == NEXT_END))
		return false;
	if (passes_on(v, next))
		return false;
	watched = s->watch != GDB_WATCH_NONE && (s->done || !(v->rflags & RFLAGS_TF));
	guests.backend->fetch(v, VCPU_ALL);
	gdb_guard_over(r);
	if (watched)
		gdb_stub_watched(v, s->watch, s->watch_at);
	s->again = !watched && !s->wanted && next == NEXT_ENTER;
	return watched || !s->wanted;
}
