/* SPDX-License-Identifier: MIT */
/*   who stops                               each CPU                               who serves
 *   1 epoch + 1, odd     (seq_cst RMW)      a epoch odd?     (acquire)             x parked == epoch?  (acquire), of each
 *   2 CPU 0 is attended                     b frame, registers                     y …talks to gdb…
 *                                           c parked = epoch (release)             z epoch + 1, even   (release)
 *                                           d epoch changed? (acquire)
 *
 * What x finds parked has stored b, and touches nothing of its vCPUs before d, which comes after z. Who serves is decided by one
 * cmpxchg of the epoch into `server`; it keeps that until z. A step of one CPU alone: it goes on while the epoch stays, its
 * parked word says so, and its #DB brings it back to b. */
#include "hv/gdb_stop.h"
#include "hv/apic.h"
#include "hv/gdb_host.h"
#include "hv/irqoff.h"
#include "hv/runner.h"
#include "hv/x86.h"

#define ORDERLY_US 5000000 /* the first harvest of a large guest, where emulated */
#define ORDERLY_TRAP_US 100000 /* where the one that was stopped by a trap may hold what others wait for */
#define NMI_US 1000000
#define AGAIN_US 1000 /* a kick may meet a CPU on its way into a guest */

atomic64 gdb_stop_epoch = {GDB_STOP_NEVER};
struct gdb_cpu gdb_cpus[HOST_MAX_CPUS];

static atomic64 server; /* the epoch that has one */
static atomic64 nmis;   /* the epoch in which NMIs stop, too */

bool gdb_stop_stands(unsigned cpu)
{
	return load_acquire(&gdb_cpus[cpu].parked) == load_relaxed(&gdb_stop_epoch); /* partner: stand */
}

bool gdb_stop_orderly(unsigned cpu)
{
	return gdb_stop_stands(cpu) && !gdb_cpus[cpu].anywhere;
}

bool gdb_stop_all_orderly(void)
{
	for (unsigned i = 0; i < host_cpus(); i++)
		if (!gdb_stop_orderly(i))
			return false;
	return true;
}

void gdb_stop_request(void)
{
	uint64_t epoch = load_relaxed(&gdb_stop_epoch);

	/* Publishes what made it; partner: gdb_stop_wanted. */
	if (!(epoch & 1) && cmpxchg_seq(&gdb_stop_epoch, &epoch, epoch + 1))
		runner_attend(0);
}

static bool all_stand(void)
{
	for (unsigned i = 0; i < host_cpus(); i++)
		if (!gdb_stop_stands(i))
			return false;
	return true;
}

/* By their run loops' next turn, or (nmi) wherever they are. */
static void wait_for_others(uint64_t us, bool nmi)
{
	uint64_t now = host_clock(), end = now + us_ticks(us), again = now;

	for (; !all_stand() && (now < end || (nmi && !gdb_stub_interruptible())); now = host_clock()) {
		for (unsigned i = 0; now >= again && i < host_cpus(); i++) {
			if (gdb_stop_stands(i))
				continue;
			if (!nmi)
				runner_attend(i);
			else if (i || gdb_stub_interruptible())
				CHECK(apic_send_nmi(cpu_get(i)->apic_id));
		}
		if (now >= again)
			again = now + us_ticks(AGAIN_US);
		cpu_relax();
	}
}

static void stop_others(bool anywhere)
{
	wait_for_others(anywhere ? ORDERLY_TRAP_US : ORDERLY_US, false);
	if (all_stand())
		return;
	store_release(&nmis, load_relaxed(&gdb_stop_epoch)); /* partner: gdb_stop_nmi */
	wait_for_others(NMI_US, true);
	if (!all_stand())
		host_log(HOST_WARN, "gdb: not all CPUs have stopped");
}

static bool becomes_server(uint64_t epoch)
{
	uint64_t old = load_relaxed(&server);

	return old != epoch && cmpxchg_seq(&server, &old, epoch);
}

/* The CPU that is to make one step while all others stand still, if that is what gdb asked for: no other is to run. */
static struct gdb_cpu *steps_alone(void)
{
	for (unsigned i = 0; i < host_cpus(); i++)
		if (gdb_cpus[i].step)
			return gdb_host_alone() ? &gdb_cpus[i] : 0;
	return 0;
}

/* Until all go on, or this CPU is to make a step alone. */
static void serve(struct gdb_cpu *c, uint64_t epoch)
{
	uint32_t destination = apic_destination();

	if (!c->served)
		stop_others(c->anywhere);
	for (;;) {
		struct gdb_cpu *alone;

		c->served = true;
		gdb_host_lift();
		gdb_stub_serve();
		gdb_host_plant();
		alone = steps_alone();
		if (alone == c)
			break;
		if (!alone) {
			c->served = false;
			store_release(&gdb_stop_epoch, epoch + 1); /* partner: stand, of the others */
			for (unsigned i = 0; i < host_cpus(); i++)
				if (i != host_cpu())
					CHECK(apic_send_kick(cpu_get(i)->apic_id));
			break;
		}
		store_release(&alone->parked, 0); /* partner: stand */
		CHECK(apic_send_kick(cpu_get((unsigned)(alone - gdb_cpus))->apic_id));
		while (load_acquire(&alone->parked) != epoch) /* partner: stand */
			cpu_relax();
	}
	apic_set_destination(destination);
}

/* Interrupts off. may_serve: CPU 0, or one stopped by a trap. */
static void stand(struct trap_frame *frame, bool anywhere, bool may_serve)
{
	struct gdb_cpu *c = &gdb_cpus[host_cpu()];
	uint64_t epoch = load_acquire(&gdb_stop_epoch); /* partner: serve */
	uint32_t off = irqoff_now();

	if (!(epoch & 1))
		return;
	c->frame = frame;
	c->anywhere = anywhere;
	c->slept |= anywhere;
	c->cr0 = read_cr0();
	c->cr2 = read_cr2();
	c->cr3 = read_cr3();
	c->cr4 = read_cr4();
	c->efer = rdmsr(MSR_EFER);
	store_release(&c->parked, epoch); /* partner: gdb_stop_stands */
	if (may_serve && (c->served || becomes_server(epoch))) {
		if (!anywhere)
			irqoff_end(off, "park for gdb");
		serve(c, epoch);
		irq_disable();
		return;
	}
	/* A step of this CPU's alone has parked cleared. */
	while (load_acquire(&gdb_stop_epoch) == epoch && load_acquire(&c->parked) == epoch) { /* partner: serve */
		if (anywhere)
			cpu_relax();
		else
			off = irqoff_wait(off, "park for gdb");
	}
}

void gdb_stop_park(void)
{
	struct gdb_cpu *c = &gdb_cpus[host_cpu()];

	c->slept = false;
	if (!(load_acquire(&gdb_stop_epoch) & 1)) /* partner: gdb_stop_request */
		return;
	c->parking = true;
	asm volatile("int3" : : : "memory"); /* its frame has the registers that gdb shows */
}

bool gdb_stop_parks(struct trap_frame *frame)
{
	struct gdb_cpu *c = &gdb_cpus[host_cpu()];

	if (!c->parking)
		return false;
	c->parking = false;
	stand(frame, false, host_cpu() == 0);
	return true;
}

void gdb_stop_here(struct trap_frame *frame)
{
	uint64_t epoch = load_relaxed(&gdb_stop_epoch);

	if (!(epoch & 1))
		cmpxchg_seq(&gdb_stop_epoch, &epoch, epoch + 1);
	stand(frame, true, true);
}

void gdb_stop_nmi(struct trap_frame *frame)
{
	if (load_acquire(&nmis) == load_relaxed(&gdb_stop_epoch) && !gdb_stop_stands(host_cpu())) /* partner: stop_others */
		stand(frame, true, false);
}

void gdb_stop_panic(struct trap_frame *frame)
{
	uint64_t epoch = load_relaxed(&gdb_stop_epoch) | 1;

	store_relaxed(&server, epoch);
	store_release(&gdb_stop_epoch, epoch); /* partner: gdb_stop_stands */
	for (unsigned i = 0; i < host_cpus(); i++) {
		struct gdb_cpu *c = &gdb_cpus[i];

		c->anywhere = true;
		c->frame = cpu_get(i) == this_cpu() ? frame : cpu_get(i)->stopped_at;
		if (i == host_cpu() || load_acquire(&cpu_get(i)->stopped)) /* partner: panic_check_stop */
			store_release(&c->parked, epoch);
	}
	gdb_cpus[host_cpu()].served = true;
	gdb_stub_serve();
}
