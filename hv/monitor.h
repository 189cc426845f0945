/* SPDX-License-Identifier: MIT */
/* The monitor: commands that a person types at COM1 (Ctrl-a m) or to gdb (`monitor …`). CPU 0's. */
#ifndef HV_MONITOR_H
#define HV_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Input goes to it from now on, and no more. What was begun goes on, and tells its end. */
void monitor_open(void);
void monitor_close(void);
bool monitor_is_open(void);
/* A byte that was typed; it has room for one if monitor_full() says no. */
void monitor_type(uint8_t byte);
bool monitor_full(void);
/* A bounded step of what was asked for, and of showing the prompt. In a turn, outside locks and sections. */
void monitor_poll(void);

/* Carries out one line to its end, while everything stands still for gdb; each row of what it has to say goes to put, without a
 * newline. In gdb_stub.c's service, outside locks and sections. locks: they may be taken; else only commands that take none are
 * carried out. */
void monitor_run(const char *line, bool locks, void (*put)(void *context, const char *row), void *context);

#endif
