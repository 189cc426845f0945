/* SPDX-License-Identifier: MIT */
/* gdb on COM2 (options gdb=com2, gdb=wait): the protocol is guest/gdb.c's, here is what it acts on. All-stop, by gdb_stop.h.
 *
 * Without the option all of it is one load in each turn of the run loop, none at an exit. */
#ifndef HV_GDB_STUB_H
#define HV_GDB_STUB_H

#include "hv/runner.h"
#include "hv/trap.h"

/* Opens the port; gdb=wait: nothing runs before gdb says so. Before any CPU enters the run loop. */
void gdb_stub_start(void);

/* A #BP or #DB of the hypervisor. True: it was gdb's, and over. Interrupts off. */
bool gdb_stub_trap(struct trap_frame *frame);
/* The hypervisor is about to end by a panic, and all others have stopped: gdb has its turn, if one is attached. */
void gdb_stub_panic(struct trap_frame *frame);
/* An unexpected trap, or a panic, of this CPU: does not return if it serves gdb, which is answered with an error. */
void gdb_stub_caught(const char *why);

/* What has come from gdb, and what it is to hear. CPU 0, in the run loop; only with the option. */
void gdb_stub_poll(void);

/* A #DB exit. True: it was gdb's alone. On the vCPU's CPU. */
bool gdb_stub_exception(struct runner *r, struct exit *e);
/* What gdb watches at address a was reached or accessed: enum gdb_watch. On the vCPU's CPU. */
void gdb_stub_watched(const struct vcpu *v, unsigned kind, uint64_t a);

/* gdb_guard.c: the page fault of exit e, MMU_GUARD. */
enum runner_next gdb_guard_stop(struct runner *r, struct exit *e);
/* The next instruction is about to be interpreted. True: gdb has a breakpoint there, and everything is to stop. */
bool gdb_guard_code(struct runner *r);
/* In r's slice, after an exit that led to `next`: are guards open for r, and is that over? True: so is the slice's step, and gdb
 * wanted none, or has been told already. */
bool gdb_guard_after(struct runner *r, enum runner_next next);
/* The guards are closed, in whatever way the step ended. r's slice, or everything stands still. */
void gdb_guard_over(struct runner *r);

/* The vCPU's single step is done. On its CPU. */
void gdb_stub_stepped(const struct vcpu *v);
/* Guest number `index` of guests has its verdict; its memory is still there. Any CPU. */
void gdb_stub_guest_over(unsigned index, bool pass);
/* The machine is about to end. CPU 0. */
void gdb_stub_finish(void);

#endif
