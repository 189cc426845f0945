/* SPDX-License-Identifier: MIT */
/* gdb on COM2 (options gdb=com2, gdb=wait): the protocol is guest/gdb.c's, here is what it acts on.
 *
 * All-stop: each CPU stops where its run loop begins, holding no lock and in no section, having fetched what the
 * hardware held of its vCPUs; CPU 0 then talks to gdb. A CPU in a guest gets there by an interrupt and an NMI. One
 * that does not within five seconds is not shown to gdb, nor are its vCPUs.
 *
 * Without the option all of it is one load in each turn of the run loop, none at an exit. */
#ifndef HV_GDB_STUB_H
#define HV_GDB_STUB_H

#include "hv/runner.h"
#include "hv/trap.h"

extern atomic64 gdb_stub_epoch; /* odd: all are to stop */

/* Opens the port; gdb=wait: nothing runs before gdb says so. Before any CPU enters the run loop. */
void gdb_stub_start(void);

static inline bool gdb_stub_stopping(void)
{
	return load_acquire(&gdb_stub_epoch) & 1; /* partner: request_stop */
}
/* Stands still until gdb goes on; CPU 0 serves it. Nothing is stale in this CPU's vCPUs. Outside sections and locks,
 * interrupts on. */
void gdb_stub_park(void);
/* The breakpoint trap in gdb_stub_park(). False: the trap is none of ours. */
bool gdb_stub_trap(struct trap_frame *frame);

/* What has come from gdb, and what it is to hear. CPU 0, in the run loop; only with the option. */
void gdb_stub_poll(void);

/* A #DB or #UD exit. True: it was gdb's alone. On the vCPU's CPU. */
bool gdb_stub_exception(struct runner *r, struct exit *e);
/* The vCPU's single step is done. On its CPU. */
void gdb_stub_stepped(const struct vcpu *v);
/* Guest number `index` of guests has its verdict; its memory is still there. Any CPU. */
void gdb_stub_guest_over(unsigned index, bool pass);
/* The machine is about to end. CPU 0. */
void gdb_stub_finish(void);

#endif
