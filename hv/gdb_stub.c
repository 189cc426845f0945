/* SPDX-License-Identifier: MIT */
/* Between the port and the protocol. How everything stands still: gdb_stop.c; what gdb reads and writes: gdb_target.c. */
#include "hv/gdb_stub.h"
#include "guest/gdb_guest.h"
#include "hv/gdb_host.h"
#include "hv/gdb_port.h"
#include "hv/gdb_stop.h"
#include "hv/gdb_target.h"
#include "hv/log.h"
#include "hv/monitor.h"
#include "hv/options.h"
#include "hv/x86.h"

#define CONSOLE_STEP 64
#define BURST_US 20000  /* a packet's bytes follow each other closer than that */
#define POLL_US 100000  /* longest stay in gdb_stub_poll() */

enum guest_end { GUEST_LIVES, GUEST_PASSED, GUEST_FAILED, GUEST_TOLD };

static struct gdb gdb; /* of the CPU that serves, and of CPU 0 while it polls */
static bool there;     /* the port is open */
static bool go;        /* gdb lets the machine run. The server's, as the next two */
static bool serving;
static unsigned serving_cpu;
static atomic32 polling; /* CPU 0 is in gdb_stub_poll() */
static atomic32 ends[GDB_PROCESSES]; /* enum guest_end, by guest */

/* The first that stops everything tells why; published by the epoch. */
static atomic32 claimed;
static struct gdb_thread event_thread;
static enum gdb_why event_why;
static enum gdb_watch event_watch; /* of GDB_WATCHED, with its address */
static uint64_t event_at;

static void on_stop(void *context)
{
	(void)context;
	gdb_stop_request();
}

static void on_resume(void *context)
{
	(void)context;
	gdb_target_resume();
	go = true;
}

static void on_send(void *context, const char *bytes, size_t n)
{
	(void)context;
	gdb_port_put(bytes, n);
}

static void on_monitor(void *context, const char *line, void (*put)(void *to, const char *row), void *to)
{
	(void)context;
	monitor_run(line, gdb_stop_all_orderly(), put, to);
}

static const struct gdb_target target = {
	.send = on_send,
	.stop = on_stop,
	.thread = gdb_target_thread,
	.core = gdb_target_core,
	.describe = gdb_target_describe,
	.mode = gdb_target_mode,
	.register_read = gdb_target_register_read,
	.register_write = gdb_target_register_write,
	.memory_read = gdb_target_memory_read,
	.memory_write = gdb_target_memory_write,
	.breakpoint = gdb_target_breakpoint,
	.can_step = gdb_target_can_step,
	.action = gdb_target_action,
	.step_range = gdb_target_step_range,
	.kill = gdb_target_kill,
	.detach = gdb_target_detach,
	.resume = on_resume,
	.monitor = on_monitor,
};

void gdb_stub_start(void)
{
	if (options.gdb == OPTION_GDB_OFF)
		return;
	gdb_init(&gdb, &target);
	there = gdb_port_init();
	if (!there) {
		host_log(HOST_ERROR, "gdb: this machine has no COM2");
		return;
	}
	host_log(HOST_INFO, "gdb: %s on COM2", options.gdb == OPTION_GDB_WAIT ? "waiting" : "listening");
	if (options.gdb == OPTION_GDB_WAIT)
		gdb_stop_request();
}

/* A guest with a verdict that gdb is to hear; GDB_PROCESSES: none. */
static unsigned next_ended(void)
{
	unsigned i;

	for (i = 0; i < guests.n; i++) {
		uint32_t end = load_acquire(&ends[i]); /* partner: gdb_stub_guest_over */

		if ((end == GUEST_PASSED || end == GUEST_FAILED) && gdb_debugs(&gdb, GDB_HYPERVISOR + 1 + i))
			return i;
	}
	return GDB_PROCESSES;
}

static void tell_ended(unsigned i)
{
	uint32_t end = load_acquire(&ends[i]);

	store_relaxed(&ends[i], GUEST_TOLD);
	gdb_exited(&gdb, GDB_HYPERVISOR + 1 + i, end != GUEST_PASSED);
}

static void tell_stopped(void)
{
	unsigned ended = next_ended();

	if (load_acquire(&claimed)) {
		if (event_why == GDB_WATCHED)
			gdb_watched(&gdb, event_thread, event_watch, event_at);
		else
			gdb_stopped(&gdb, event_thread, event_why);
		store_relaxed(&claimed, 0); /* all others stand still */
	} else if (gdb.running && ended < GDB_PROCESSES) {
		tell_ended(ended);
	} else if (gdb.running) {
		gdb_stopped(&gdb, gdb_target_resumed(), GDB_BREAK_IN);
	} else {
		gdb_stopped(&gdb, (struct gdb_thread){GDB_HYPERVISOR, 1}, GDB_ATTACH);
	}
}

/* A fault or a failed check in the stub: what it was answering has an error for an answer. */
static void *recover[5]; /* as GCC's __builtin_setjmp has it */

void gdb_stub_caught(const char *why)
{
	if (!serving || serving_cpu != host_cpu())
		return;
	host_log(HOST_ERROR, "gdb: the stub failed: %s", why);
	__builtin_longjmp(recover, 1);
}

void gdb_stub_serve(void)
{
	bool on = irq_enabled();

	gdb_target_stopped();
	go = false;
	serving_cpu = host_cpu();
	serving = true;
	if (__builtin_setjmp(recover)) {
		gdb_reply(&gdb, GDB_FAULT);
		if (on)
			irq_enable();
	} else {
		tell_stopped();
	}
	while (!go) {
		int byte = gdb_port_get();

		if (byte >= 0)
			gdb_receive(&gdb, (uint8_t)byte);
		else if (!log_drain(CONSOLE_STEP))
			cpu_relax();
	}
	serving = false;
}

/* Something stops everything, and says why. A second one at the same time tells nothing: it stands where it does, and its
 * breakpoint is met again. */
static void event(struct gdb_thread t, enum gdb_why why, unsigned watch, uint64_t at)
{
	uint32_t nobody = 0;

	if (cmpxchg_seq(&claimed, &nobody, 1)) {
		event_thread = t;
		event_why = why;
		event_watch = watch;
		event_at = at;
	}
}

bool gdb_stub_trap(struct trap_frame *frame)
{
	enum gdb_host_trap trap;

	if (frame->vector == TRAP_BREAKPOINT && gdb_stop_parks(frame))
		return true;
	trap = there ? gdb_host_trap(frame) : GDB_HOST_FOREIGN;
	if (trap < GDB_HOST_BROKE)
		return trap == GDB_HOST_OVER;
	event((struct gdb_thread){GDB_HYPERVISOR, host_cpu() + 1}, trap == GDB_HOST_BROKE ? GDB_BREAKPOINT : GDB_STEPPED, 0, 0);
	gdb_stop_here(frame);
	return true;
}

void gdb_stub_panic(struct trap_frame *frame)
{
	if (!there || !gdb.attached)
		return;
	event_thread = (struct gdb_thread){GDB_HYPERVISOR, host_cpu() + 1};
	event_why = GDB_PANICKED;
	store_relaxed(&claimed, 1);
	gdb_stop_panic(frame);
}

bool gdb_stub_interruptible(void)
{
	return !load_acquire(&polling); /* partner: gdb_stub_poll */
}

void gdb_stub_poll(void)
{
	static uint64_t rests; /* as long as it has listened: CPU 0 has guests, and the line may be noise */
	uint64_t begun = host_clock(), now, end = begun + us_ticks(POLL_US), burst = 0;

	if (!there || begun < rests)
		return;
	store_release(&polling, 1);
	do {
		int byte = gdb_port_get();

		now = host_clock();
		if (byte >= 0) {
			gdb_receive(&gdb, (uint8_t)byte);
			burst = now + us_ticks(BURST_US);
		} else {
			cpu_relax();
		}
	} while (!gdb_stop_wanted() && now < burst && now < end);
	store_release(&polling, 0); /* partner: gdb_stub_interruptible */
	rests = now + (now - begun);
	if (gdb.running && next_ended() < GDB_PROCESSES)
		gdb_stop_request();
}

bool gdb_stub_exception(struct runner *r, struct exit *e)
{
	if (!there || e->exception.soft)
		return false;
	gdb_guest_debug(r->v, &e->exception.dr6);
	return !e->exception.dr6;
}

void gdb_stub_watched(const struct vcpu *v, unsigned kind, uint64_t a)
{
	struct gdb_thread t = gdb_target_vcpu_thread(v);

	event(t, kind == GDB_WATCH_CODE        ? GDB_BREAKPOINT
		 : kind == GDB_WATCH_CODE_HARD ? GDB_BREAKPOINT_HARD
					       : GDB_WATCHED, kind, a);
	gdb_stop_request();
}

void gdb_stub_stepped(const struct vcpu *v)
{
	event(gdb_target_vcpu_thread(v), GDB_STEPPED, 0, 0);
	gdb_stop_request();
}

void gdb_stub_guest_over(unsigned index, bool pass)
{
	if (there && index < GDB_PROCESSES)
		store_release(&ends[index], pass ? GUEST_PASSED : GUEST_FAILED); /* partner: next_ended */
}

void gdb_stub_finish(void)
{
	unsigned ended = next_ended();

	if (!there)
		return;
	if (ended < GDB_PROCESSES)
		tell_ended(ended);
	gdb_port_finish();
}
