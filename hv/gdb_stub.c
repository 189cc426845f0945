/* SPDX-License-Identifier: MIT */
/* Stopping and going on. What gdb reads and writes: gdb_target.c. */
#include "hv/gdb_stub.h"
#include "guest/gdb_guest.h"
#include "hv/apic.h"
#include "hv/cpu.h"
#include "hv/gdb_port.h"
#include "hv/gdb_target.h"
#include "hv/irqoff.h"
#include "hv/log.h"
#include "hv/options.h"
#include "hv/x86.h"

#define STOP_WAIT_US 5000000 /* the first harvest of a large guest, where emulated */
#define STOP_AGAIN_US 1000 /* a kick may meet a CPU on its way into a guest */
#define CONSOLE_STEP 64
#define BURST_US 20000  /* a packet's bytes follow each other closer than that */
#define POLL_US 100000  /* longest stay in gdb_stub_poll() */

enum guest_end { GUEST_LIVES, GUEST_PASSED, GUEST_FAILED, GUEST_TOLD };

atomic64 gdb_stub_epoch = {2};
struct gdb_cpu gdb_cpus[HOST_MAX_CPUS];

static struct gdb gdb; /* CPU 0's */
static bool there;     /* the port is open */
static bool go;        /* gdb lets the machine run. CPU 0's */
static atomic32 ends[GDB_PROCESSES]; /* enum guest_end, by guest */

/* The first vCPU that stops everything tells why; published by the epoch. */
static atomic32 claimed;
static struct gdb_thread event_thread;
static enum gdb_why event_why;

static void request_stop(void)
{
	uint64_t epoch = load_relaxed(&gdb_stub_epoch);

	/* Publishes the event; partner: gdb_stub_stopping. */
	if (!(epoch & 1) && cmpxchg_seq(&gdb_stub_epoch, &epoch, epoch + 1))
		runner_attend(0);
}

static void on_stop(void *context)
{
	(void)context;
	request_stop();
}

static void on_resume(void *context)
{
	(void)context;
	go = true;
}

static void on_send(void *context, const char *bytes, size_t n)
{
	(void)context;
	gdb_port_put(bytes, n);
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
		request_stop();
}

static bool all_parked(uint64_t epoch)
{
	for (unsigned i = 0; i < host_cpus(); i++)
		if (load_acquire(&gdb_cpus[i].parked) != epoch) /* partner: gdb_stub_trap */
			return false;
	return true;
}

static void stop_others(uint64_t epoch)
{
	uint64_t now = host_clock(), end = now + us_ticks(STOP_WAIT_US), again = now;

	for (; !all_parked(epoch) && now < end; now = host_clock()) {
		for (unsigned i = 1; now >= again && i < host_cpus(); i++)
			if (load_acquire(&gdb_cpus[i].parked) != epoch)
				runner_attend(i);
		if (now >= again)
			again = now + us_ticks(STOP_AGAIN_US);
		cpu_relax();
	}
	if (!all_parked(epoch))
		host_log(HOST_WARN, "gdb: not all CPUs stopped within 5 s");
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

/* CPU 0, interrupts on. */
static void serve(uint64_t epoch)
{
	stop_others(epoch);
	gdb_target_stopped();
	go = false;
	tell_stopped();
	while (!go) {
		int byte = gdb_port_get();

		if (byte >= 0)
			gdb_receive(&gdb, (uint8_t)byte);
		else if (!log_drain(CONSOLE_STEP))
			cpu_relax();
	}
	store_release(&gdb_stub_epoch, epoch + 1); /* partner: the others in gdb_stub_trap */
	for (unsigned i = 1; i < host_cpus(); i++)
		CHECK(apic_send_kick(cpu_get(i)->apic_id));
}

bool gdb_stub_trap(struct trap_frame *frame)
{
	struct gdb_cpu *c = &gdb_cpus[host_cpu()];
	uint64_t epoch = load_acquire(&gdb_stub_epoch);
	uint32_t off = irqoff_now();

	if (!c->parking)
		return false;
	c->parking = false;
	if (!(epoch & 1))
		return true;
	c->frame = frame;
	c->cr0 = read_cr0();
	c->cr2 = read_cr2();
	c->cr3 = read_cr3();
	c->cr4 = read_cr4();
	c->efer = rdmsr(MSR_EFER);
	store_release(&c->parked, epoch); /* partner: all_parked */
	if (host_cpu() == 0) {
		irqoff_end(off, "park for gdb");
		serve(epoch);
		irq_disable();
		return true;
	}
	while (load_acquire(&gdb_stub_epoch) == epoch) /* partner: serve */
		off = irqoff_wait(off, "park for gdb");
	return true;
}

void gdb_stub_park(void)
{
	gdb_cpus[host_cpu()].parking = true;
	asm volatile("int3" : : : "memory"); /* its frame has the registers that gdb shows */
}

void gdb_stub_poll(void)
{
	uint64_t now = host_clock(), end = now + us_ticks(POLL_US), burst = 0;

	if (!there)
		return;
	do {
		int byte = gdb_port_get();

		now = host_clock();
		if (byte >= 0) {
			gdb_receive(&gdb, (uint8_t)byte);
			burst = now + us_ticks(BURST_US);
		} else {
			cpu_relax();
		}
	} while (!gdb_stub_stopping() && now < burst && now < end);
	if (gdb.running && next_ended() < GDB_PROCESSES)
		request_stop();
}

/* A vCPU stops everything. A second one at the same time tells nothing: it stands where it does, and its breakpoint
 * is met again. */
static void event(const struct vcpu *v, enum gdb_why why)
{
	uint32_t nobody = 0;

	if (cmpxchg_seq(&claimed, &nobody, 1)) {
		event_thread = gdb_target_vcpu_thread(v);
		event_why = why;
	}
	request_stop();
}

bool gdb_stub_exception(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;

	if (!there)
		return false;
	if (e->exception.vector == VECTOR_DB && !e->exception.soft) {
		gdb_guest_debug(v, &e->exception.dr6);
		return !e->exception.dr6;
	}
	guests.backend->fetch(v, VCPU_SEGMENTS);
	if (!gdb_guest_breakpoint_at(v))
		return false;
	event(v, GDB_BREAKPOINT);
	return true;
}

void gdb_stub_stepped(const struct vcpu *v)
{
	event(v, GDB_STEPPED);
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
