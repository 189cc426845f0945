/* SPDX-License-Identifier: MIT */
/* What gdb sees while everything stands still: CPUs, vCPUs and their memory. For gdb_stub.c; CPU 0. As struct
 * gdb_target says. */
#ifndef HV_GDB_TARGET_H
#define HV_GDB_TARGET_H

#include "guest/gdb.h"
#include "hv/runner.h"

/* Everything stands still again: single steps are over. */
void gdb_target_stopped(void);
/* Everything is about to go on. */
void gdb_target_resume(void);
/* The first vCPU that gdb resumed last, or else the hypervisor's first thread. */
struct gdb_thread gdb_target_resumed(void);
/* Any CPU. */
struct gdb_thread gdb_target_vcpu_thread(const struct vcpu *v);

bool gdb_target_thread(void *context, unsigned n, struct gdb_thread *t);
unsigned gdb_target_core(void *context, struct gdb_thread t);
void gdb_target_describe(void *context, struct gdb_thread t, char *to, size_t room);
enum gdb_mode gdb_target_mode(void *context, struct gdb_thread t);
bool gdb_target_register_read(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t *value);
bool gdb_target_register_write(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t value);
/* Guests' memory is read and written at guest-physical addresses, until gdb lets the hypervisor go. */
void gdb_target_physical(bool on);
size_t gdb_target_memory_read(void *context, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n);
bool gdb_target_memory_write(void *context, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n);
bool gdb_target_breakpoint(
	void *context, struct gdb_thread t, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert);
bool gdb_target_can_step(void *context, struct gdb_thread t);
void gdb_target_action(void *context, struct gdb_thread t, enum gdb_action action);
void gdb_target_step_range(void *context, struct gdb_thread t, uint64_t start, uint64_t end);
bool gdb_target_kill(void *context, unsigned pid);
void gdb_target_detach(void *context, unsigned pid);

#endif
