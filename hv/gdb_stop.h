/* SPDX-License-Identifier: MIT */
/* All CPUs stand still, for gdb, and go on.
 *
 * A CPU stands still where its run loop begins, holding no lock and in no section, with nothing of its vCPUs left in the
 * hardware. One that does not get there in time, as it waits for what another holds that stands still, is stopped where an NMI
 * finds it; and a trap of the hypervisor's own (a breakpoint, a single step, a panic) stops its CPU where it is. Such a CPU
 * stands `anywhere`: its vCPUs are not shown to gdb, and nothing that takes a lock may be done for it.
 *
 * One CPU talks to gdb meanwhile: the first to stand still that is CPU 0 or was stopped by a trap. */
#ifndef HV_GDB_STOP_H
#define HV_GDB_STOP_H

#include "hv/cpu.h"
#include "hv/trap.h"

/* A CPU that stands still. Its own, read by who serves once parked is the epoch. */
struct gdb_cpu {
	bool parking;  /* gdb_stop_park() raises the trap */
	bool anywhere;
	bool served;   /* it is the one that talks to gdb, and went on alone for a step */
	bool step, runs; /* of its next instruction; at all, when everything goes on. Written by who serves */
	bool slept;    /* it stood anywhere: its run loop is to know. Its own */
	struct trap_frame *frame;
	uint64_t cr0, cr2, cr3, cr4, efer;
	atomic64 parked; /* the epoch that it stopped for, last */
};
extern struct gdb_cpu gdb_cpus[HOST_MAX_CPUS];

#define GDB_STOP_NEVER 2u
extern atomic64 gdb_stop_epoch; /* odd: all are to stop; from GDB_STOP_NEVER */

/* In the run loop: is there something for gdb_stop_park() to do? One load where there never was. */
static inline bool gdb_stop_wanted(void)
{
	uint64_t epoch = load_acquire(&gdb_stop_epoch); /* partner: gdb_stop_request */

	return epoch != GDB_STOP_NEVER && (epoch & 1 || gdb_cpus[host_cpu()].slept);
}

/* All are to stop. Any CPU, anywhere. */
void gdb_stop_request(void);
/* Stands still, should that be wanted, until gdb goes on. Outside sections and locks, interrupts on; nothing is stale in this
 * CPU's vCPUs. */
void gdb_stop_park(void);

/* The #BP that gdb_stop_park() raises. False: it is another. */
bool gdb_stop_parks(struct trap_frame *frame);
/* Stands still here: a trap of the hypervisor's own. Interrupts off. */
void gdb_stop_here(struct trap_frame *frame);
/* In an NMI's handler: stands still if it is to. */
void gdb_stop_nmi(struct trap_frame *frame);
/* A panic: this CPU is to serve, with all that have stopped for it. */
void gdb_stop_panic(struct trap_frame *frame);

/* CPU i stands still; and (its vCPUs can be shown) in its run loop. */
bool gdb_stop_stands(unsigned cpu);
bool gdb_stop_orderly(unsigned cpu);
/* No CPU stands anywhere: locks may be taken. */
bool gdb_stop_all_orderly(void);

/* gdb_stub.c: everything stands still; talks to gdb until something is to go on. The CPU that serves. */
void gdb_stub_serve(void);
/* gdb_stub.c: may CPU 0 be stopped by an NMI? Not in the middle of what comes from gdb. */
bool gdb_stub_interruptible(void);

#endif
