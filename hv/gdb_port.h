/* SPDX-License-Identifier: MIT */
/* COM2, where gdb is: a 16550A, polled. One CPU at a time. */
#ifndef HV_GDB_PORT_H
#define HV_GDB_PORT_H

#include <stdbool.h>
#include <stddef.h>

/* 115200 baud, 8N1. False: there is no such port. */
bool gdb_port_init(void);
/* The next byte, or -1. */
int gdb_port_get(void);
/* Waits for the port to take each byte, bounded; what it does not take is lost. */
void gdb_port_put(const char *bytes, size_t n);
/* Until all is sent, bounded. */
void gdb_port_finish(void);

#endif
