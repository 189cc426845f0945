/* SPDX-License-Identifier: MIT */
/* IN, OUT, INS and OUTS. */
#include "guest/insn.h"
#include "hv/log.h"
#include "hv/operand.h"
#include "hv/pause.h"
#include "hv/runner.h"

#define STRING_STEP 64    /* iterations of a REP at most before interrupts are looked at again */
#define CONSOLE_STEP 1024 /* characters moved to the console after an access, where this CPU does that */

/* vCPU 0's run loop looks after the timers: another tells it when they are not as it saw them last. */
static void timers_moved(struct runner *r)
{
	struct runner *first = &r->guest->runner[0];
	uint64_t tick = vm_tick(r->vm, host_clock());

	if (r != first) {
		if (tick < load_relaxed(&first->tick))
			runner_attend(first->cpu);
		return;
	}
	store_relaxed(&r->tick, tick);
	runner_arm(tick);
}

/* The access may have moved an interrupt line, a timer, the console, or ended the guest. printed: vm.printed before it. */
static enum runner_next after_access(struct runner *r, uint64_t printed)
{
	timers_moved(r);
	/* A guest that prints faster than the console takes it waits here: no line is lost for it, least of all
	 * others', which do not wait. */
	if (load_relaxed(&r->vm->printed) != printed) {
		if (host_cpu() == 0)
			log_drain(CONSOLE_STEP);
		log_wait_room();
	}
	return vm_running(r->vm) ? NEXT_ENTER : NEXT_END;
}

static uint32_t low_bytes(uint64_t x, unsigned bytes)
{
	return (uint32_t)(x & (bytes == 4 ? 0xffffffff : (1UL << 8 * bytes) - 1));
}

/* Nothing has happened yet. */
static enum runner_next again(struct runner *r, const struct exit *e, enum bus_outcome o)
{
	return o == BUS_QUIET ? pause_hold(r, e) : exit_retry(r, e);
}

static enum runner_next plain(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint32_t value = e->io.write ? low_bytes(v->gpr[RAX], e->io.size) : 0;
	uint64_t printed = load_relaxed(&r->vm->printed);
	enum bus_outcome o = bus_io(&r->vm->bus, e->io.port, e->io.size, e->io.write, &value);

	if (o != BUS_DONE)
		return again(r, e, o);
	if (!e->io.write)
		v->gpr[RAX] = insn_merge(v->gpr[RAX], value, e->io.size);
	vcpu_skip(v, e->length);
	return after_access(r, printed);
}

/* One iteration. False: nothing happened yet, and *next is what follows. */
static bool iterate(struct runner *r, struct exit *e, uint64_t offset, enum runner_next *next)
{
	const struct exit_io *io = &e->io;
	enum bus_outcome done;
	struct operand o;
	uint32_t value = 0;

	if (!operand_find(r, e, io->seg, offset, io->size, !io->write, &o, next))
		return false;
	if (io->write)
		operand_copy(r, &o, &value, false);
	done = bus_io(&r->vm->bus, io->port, io->size, io->write, &value);
	if (done != BUS_DONE) {
		*next = again(r, e, done);
		return false;
	}
	if (!io->write)
		operand_copy(r, &o, &value, true);
	return true;
}

static enum runner_next string(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	enum gpr index = e->io.write ? RSI : RDI;
	unsigned bytes = e->io.address_bytes;
	uint64_t mask = bytes == 8 ? ~0UL : (1UL << 8 * bytes) - 1;
	uint64_t step = v->rflags & RFLAGS_DF ? -(uint64_t)e->io.size : e->io.size;
	uint64_t left = e->io.rep ? v->gpr[RCX] & mask : 1, printed = load_relaxed(&r->vm->printed);
	enum runner_next next;

	guests.backend->fetch(v, VCPU_SEGMENTS);
	for (unsigned i = 0; left && i < STRING_STEP; i++) {
		if (!iterate(r, e, v->gpr[index] & mask, &next)) {
			if (i)
				after_access(r, printed); /* of those before */
			return next;
		}
		left--;
		v->gpr[index] = insn_merge(v->gpr[index], v->gpr[index] + step, bytes);
		if (e->io.rep)
			v->gpr[RCX] = insn_merge(v->gpr[RCX], left, bytes);
		if (v->rflags & RFLAGS_TF || !vm_running(r->vm)) /* a step is one iteration */
			break;
	}
	if (!left || v->rflags & RFLAGS_TF)
		vcpu_skip(v, left ? 0 : e->length);
	return after_access(r, printed);
}

enum runner_next exit_io(struct runner *r, struct exit *e)
{
	return e->io.string ? string(r, e) : plain(r, e);
}
