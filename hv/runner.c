/* SPDX-License-Identifier: MIT */
#include "hv/runner.h"
#include "guest/gdb_guest.h"
#include "hv/apic.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/errand.h"
#include "hv/fpu.h"
#include "hv/gdb_stop.h"
#include "hv/gdb_stub.h"
#include "hv/input.h"
#include "hv/irqoff.h"
#include "hv/latency.h"
#include "hv/log.h"
#include "hv/options.h"
#include "hv/pause.h"
#include "hv/x86.h"

#define SLICE_US 5000   /* of a vCPU that shares its CPU with other work */
#define SLICE_LEAST_US 20 /* that it has however much else is due */
#define CONSOLE_US 5000 /* CPU 0 looks for text this often */
#define OVERDUE_US 1000
#define REAP_STEP 8      /* blocks of each slab given back at a time */
#define CHARACTER_US 87  /* that the serial line takes for one */

struct guests guests;

/* This CPU's part of the machine. Its own. */
struct cpu_loop {
	struct runner *first, *ran; /* ran: had the last slice; 0: nobody */
	atomic64 armed; /* the timer fires no later than at this TSC. Its CPU's, read by the watch */
	uint64_t next_watch;
	uint64_t moved; /* TSC when the last character was, or there was none. CPU 0's */
};
static struct cpu_loop loops[HOST_MAX_CPUS];

void runner_arm(uint64_t t)
{
	struct cpu_loop *l = &loops[host_cpu()];

	if (t >= load_relaxed(&l->armed))
		return;
	store_relaxed(&l->armed, t);
	timer_arm(t);
}

void runner_attend(unsigned cpu)
{
	struct cpu *c = cpu_get(cpu);

	fetch_or_seq(&c->asked, CPU_ASKED_TURN); /* partners: the entry, idle() and turn() */
	if (c == this_cpu())
		return;
	CHECK(apic_send_kick(c->apic_id)); /* for idle(), which an NMI may pass by */
	host_kick(cpu);                    /* out of any guest */
}

bool runner_asked(void)
{
	return fetch_and_seq(&this_cpu()->asked, ~(uint32_t)CPU_ASKED_NMI) & ~CPU_ASKED_NMI;
}

enum runner_next runner_reload(struct runner *r)
{
	struct exit e = {.reason = EXIT_NONE, .name = "none, the shadow root was to be loaded"};
	struct mmu_fault f;

	switch (mmu_reload(&r->v->mmu, &f)) {
	case MMU_RESUME:
		return NEXT_ENTER;
	case MMU_RETRY:
		count_add(&r->v->exits[EXIT_NONE], 1);
		return exit_retry(r, &e);
	default:
		return report_crash(r, &e, "%s", f.reason);
	}
}

/* gdb wants more than this instruction. */
static bool step_goes_on(struct vcpu *v)
{
	if (v->step.start == v->step.end)
		return false;
	guests.backend->fetch(v, VCPU_ALL);
	return gdb_guest_step_on(v);
}

/* One instruction, for gdb; interrupts wait. Again at the next turn if it was not carried out by the end of the slice, or is to
 * be followed by another. */
static void slice_step(struct runner *r)
{
	enum runner_next next = pause_held(r);

	while (next == NEXT_ENTER && !r->v->step.done) {
		store_relaxed(&r->v->attention, 0);
		next = guests.backend->step(r);
		if (r->v->step.done && r->v->step.flags != STEP_FLAGS_NONE) {
			guests.backend->fetch(r->v, VCPU_ALL);
			gdb_guest_step_settle(r->v);
		}
		if (gdb_guard_after(r, next)) {
			store_relaxed(&r->v->attention, 1);
			return;
		}
	}
	store_relaxed(&r->v->attention, 1);
	if (r->v->step.done && !step_goes_on(r->v))
		gdb_stub_stepped(r->v);
}

/* Guest time for one vCPU, until the timer fires or it has no use for more. */
static void slice(struct runner *r)
{
	guests.backend->load(r->v);
	if (r->v->pv.slices)
		pv_slice_begin(r->v);
	do {
		r->v->step.again = false;
		if (r->v->step.on || r->v->step.guard)
			slice_step(r);
		else if (pause_held(r) == NEXT_ENTER)
			guests.backend->slice(r);
	} while (__builtin_expect(r->v->step.again, 0) && !runner_asked());
	if (r->v->pv.slices)
		pv_slice_end(r->v);
}

/* Stops the vCPU for good. Its handlers are over, for they run in slices of this CPU. */
static void stop(struct runner *r)
{
	struct guest *g = r->guest;

	for (unsigned i = 0; i < g->runners; i++)
		if (!load_relaxed(&g->runner[i].stopped) && &g->runner[i] != r)
			runner_attend(g->runner[i].cpu);
	r->v->activity = VCPU_STOPPED;
	guests.backend->load(r->v);
	guests.backend->vcpu_destroy(r->v);
	r->over = true;
	store_release(&r->stopped, 1); /* partner: walker_poll */
	if (host_cpu() != guests.walker_cpu)
		CHECK(apic_send_kick(cpu_get(guests.walker_cpu)->apic_id));
}

/* A person has it pause, or had until now; that is no time of its limit's. True: it still does. */
static __attribute__((noinline)) bool paused(struct runner *r, uint64_t now)
{
	if (pause_by_person(r->guest)) {
		r->paused_since = r->paused_since ? r->paused_since : now;
		return true;
	}
	r->vm->started += now - r->paused_since;
	r->paused_since = 0;
	return false;
}

/* What time brings to a guest: its devices' timers, its limit. Returns when to look again. */
static uint64_t runner_time(struct runner *r, uint64_t now)
{
	uint64_t limit = r->vm->config.limit_us, over = RUNNER_NEVER, tick;

	if (!r->vm->started)
		r->vm->started = now;
	if (__builtin_expect(pause_by_person(r->guest) || r->paused_since, 0) && paused(r, now))
		limit = 0;
	if (limit) {
		over = r->vm->started + us_ticks(limit);
		if (now >= over)
			vm_end_fail(r->vm, "limit: ran %lu s", limit / MICROSECONDS);
	}
	store_relaxed(&r->tick, RUNNER_NEVER); /* before the devices' lock: whoever moves a timer behind this look at it, attends */
	tick = vm_tick(r->vm, now);
	store_relaxed(&r->tick, tick);
	return earlier(over, tick);
}

/* The turn of one vCPU of a guest that runs. vCPU 0 looks after what is the guest's. Returns when to look again. */
static uint64_t runner_turn(struct runner *r, uint64_t now)
{
	uint64_t next;

	pause_park(r);
	next = r->v->index ? RUNNER_NEVER : runner_time(r, now);
	next = earlier(next, lapic_tick(r->v, now));
	if (load_relaxed(&r->v->attention)) {
		vcpu_attend(r->v);
		if (r->v->was_reset)
			pause_forget(r);
	}
	pv_waits(r->v, now);
	return next;
}

/* A CPU whose timer is overdue is in a guest that takes no interrupt: Bochs has those, entered with RFLAGS.IF=0. An NMI
 * makes it exit. */
static void watch(struct cpu_loop *l, uint64_t now)
{
	if (now < l->next_watch)
		return;
	l->next_watch = now + us_ticks(OVERDUE_US);
	for (unsigned i = 0; i < host_cpus(); i++)
		if (i != host_cpu() && now > load_relaxed(&loops[i].armed) &&
			now - load_relaxed(&loops[i].armed) > us_ticks(OVERDUE_US))
			host_kick(i);
}

/* One character of what waits for the console, without waiting for the line; one that takes nothing for a second is given up by
 * console_putc(). True: one was moved. */
static bool console_step(struct cpu_loop *l)
{
	uint64_t now = host_clock();

	if (!log_pending())
		l->moved = now;
	else if (console_ready() || now - l->moved > host_clock_hz())
		return log_drain(1) && (l->moved = now);
	return false;
}

/* All that time brings to this CPU, but slices. Returns the TSC of the next of it. */
static uint64_t turn(struct cpu_loop *l, uint64_t now)
{
	uint64_t next = RUNNER_NEVER;

	fetch_and_seq(&this_cpu()->asked, ~(uint32_t)CPU_ASKED_TURN); /* before anything is looked at; partner: runner_attend */
	for (struct runner *r = l->first; r; r = r->next) {
		if (r->over && load_acquire(&r->stopped)) /* partner: guest_again */
			continue;
		r->over = false;
		if (vm_running(r->vm))
			next = earlier(next, runner_turn(r, now));
		if (!vm_running(r->vm))
			stop(r);
	}
	watch(l, now);
	if (host_cpu() == guests.walker_cpu)
		next = earlier(next, walker_poll(now));
	if (!errand_over())
		next = earlier(next, errand_poll());
	if (host_cpu() == 0) {
		next = earlier(next, table_poll(now));
		next = earlier(next, input_poll(now));
		console_step(l);
		next = earlier(next, now + us_ticks(log_pending() ? CHARACTER_US : CONSOLE_US));
		if (options.gdb != OPTION_GDB_OFF)
			gdb_stub_poll();
	}
	return next;
}

/* Nothing to run: waits for the timer, a kick, or next. */
static void idle(struct cpu_loop *l, uint64_t next, uint64_t timer_events, uint64_t kicks)
{
	struct cpu *c = this_cpu();
	uint32_t off;

	if (host_cpu() == 0 && console_step(l))
		return; /* for the next, after a turn */
	slab_reap(0, REAP_STEP); /* pages whose grace period has passed */
	if (next <= host_clock())
		return;
	runner_arm(next);
	off = irqoff_begin();
	/* An interrupt since the caller looked at the clock, or a turn asked for here: look again. */
	if (load_relaxed(&c->timer_events) == timer_events && load_relaxed(&c->kicks) == kicks &&
		!(load_relaxed(&c->asked) & CPU_ASKED_TURN))
		off = irqoff_wait(off, "idle");
	irqoff_end(off, "idle");
	if (load_relaxed(&c->timer_events) != timer_events)
		store_relaxed(&l->armed, RUNNER_NEVER);
}

/* Has the timer fired since *events was counted? */
static void timer_seen(struct cpu_loop *l, uint64_t *events)
{
	struct cpu *c = this_cpu();

	fetch_and_seq(&c->asked, ~(uint32_t)CPU_ASKED_TIMER); /* before the count: what comes now asks again */
	if (load_relaxed(&c->timer_events) != *events) {
		*events = load_relaxed(&c->timer_events);
		store_relaxed(&l->armed, RUNNER_NEVER);
	}
}

static bool can_run(const struct runner *r)
{
	return !r->over && r->v->activity == VCPU_RUNNABLE && !load_relaxed(&r->parked) && !r->v->held;
}

/* The next one that can run, behind the one that ran last; 0: none can. One slice a turn: what is due is looked at in between, so
 * that all have their time however soon something is. */
static struct runner *whose_turn(struct cpu_loop *l, unsigned *runnable)
{
	struct runner *before = 0, *behind = 0;
	bool passed = false;

	for (struct runner *r = l->first; r; r = r->next) {
		if (can_run(r)) {
			++*runnable;
			if (!passed && !before)
				before = r;
			if (passed && !behind)
				behind = r;
		}
		passed |= r == l->ran;
	}
	l->ran = behind ? behind : before;
	return l->ran;
}

/* gdb has everything stand still. That time counts neither as a guest's nor as lack of progress. */
__attribute__((noinline)) static void stand_still(struct cpu_loop *l)
{
	uint64_t since = host_clock();
	struct vcpu *loaded = 0;

	for (struct runner *r = l->first; r; r = r->next) {
		if (r->over)
			continue;
		loaded = r->v;
		guests.backend->load(r->v);
		guests.backend->fetch(r->v, VCPU_ALL);
		r->retry_exits = 0;
		pv_stood_still(r->v);
	}
	/* The others' registers were saved when the next was loaded. */
	if (loaded)
		fpu_save(loaded);
	gdb_stop_park();
	if (loaded)
		fpu_load(loaded);
	for (struct runner *r = l->first; r; r = r->next)
		if (!r->over && r->v->index == 0 && r->vm->started)
			r->vm->started += host_clock() - since;
}

/* Gathers the vCPUs of this CPU. */
static void join(struct cpu_loop *l)
{
	struct runner **last = &l->first;

	for (unsigned i = 0; i < guests.n; i++)
		for (unsigned k = 0; k < guests.guest[i].runners; k++) {
			struct runner *r = &guests.guest[i].runner[k];

			if (r->cpu != host_cpu())
				continue;
			*last = r;
			last = &r->next;
		}
}

void runner_cpu_loop(void *argument)
{
	struct cpu_loop *l = &loops[host_cpu()];
	struct cpu *c = this_cpu();
	uint64_t events = load_relaxed(&c->timer_events);

	(void)argument;
	store_relaxed(&l->armed, RUNNER_NEVER);
	irqoff_start();
	join(l);
	while (load_acquire(&guests.left)) {
		uint64_t now, kicks, next;
		unsigned runnable = 0;
		struct runner *r;

		if (gdb_stop_wanted())
			stand_still(l);
		now = host_clock();
		kicks = load_relaxed(&c->kicks);
		timer_seen(l, &events);
		next = turn(l, now);
		r = whose_turn(l, &runnable);
		if (!r) {
			idle(l, next, events, kicks);
			continue;
		}
		now = host_clock();
		if (next < now + us_ticks(SLICE_LEAST_US))
			next = now + us_ticks(SLICE_LEAST_US);
		runner_arm(earlier(next, runnable > 1 ? now + us_ticks(SLICE_US) : RUNNER_NEVER));
		latency_entry();
		slice(r);
		timer_seen(l, &events);
	}
}
