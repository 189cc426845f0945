/* SPDX-License-Identifier: MIT */
/* The hypervisor itself, gdb's process 1 with a thread per CPU, while everything stands still: registers, memory, breakpoints in
 * its code, single steps. Called by the CPU that serves gdb, but for gdb_host_trap(). */
#ifndef HV_GDB_HOST_H
#define HV_GDB_HOST_H

#include "guest/gdb.h"
#include "hv/trap.h"

/* CPU `cpu` stands still. False: there is no such register, or it may not be written, or not with that value. */
bool gdb_host_register(unsigned cpu, enum gdb_reg r, uint64_t *value);
bool gdb_host_set_register(unsigned cpu, enum gdb_reg r, uint64_t value);
/* As memory is mapped: what is not, or is read-only, ends it. Bytes done. */
size_t gdb_host_read(uint64_t a, uint8_t *to, size_t n);
size_t gdb_host_write(uint64_t a, const uint8_t *from, size_t n);

/* INT3 in the code. It is there while the machine runs: between gdb_host_plant() and gdb_host_lift(). False: that is no code, or
 * what a breakpoint itself needs (.text of the stub, of traps and of the VM entry: linker.ld), or there are too many. */
#define GDB_HOST_BREAKPOINTS 64
bool gdb_host_breakpoint(uint64_t a, bool insert);
void gdb_host_plant(void);
void gdb_host_lift(void);
void gdb_host_forget(void);

/* What CPU `cpu`, which stands still, is to do when everything goes on. It cannot be held but for the step of another: */
void gdb_host_action(unsigned cpu, enum gdb_action action);
/* gdb wants one CPU to make a step, and nothing else to run. */
bool gdb_host_alone(void);
/* Everything stands still again: steps are over. */
void gdb_host_stopped(void);

/* A #DB or #BP of the hypervisor's, on its CPU, interrupts off: no business of gdb's; over and done with, it goes on; or it is
 * to stop everything. */
enum gdb_host_trap { GDB_HOST_FOREIGN, GDB_HOST_OVER, GDB_HOST_BROKE, GDB_HOST_STEPPED };
enum gdb_host_trap gdb_host_trap(struct trap_frame *frame);

#endif
