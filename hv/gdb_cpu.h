/* SPDX-License-Identifier: MIT */
/* What gdb sees of the hypervisor's own segments and descriptor tables, the same on every CPU but for their bases. */
#ifndef HV_GDB_CPU_H
#define HV_GDB_CPU_H

#include "guest/gdb_regs.h"
#include "hv/cpu.h"

/* A selector of LDTR or TR, a base, a limit, attributes, or a descriptor table's register of CPU c, whose CS and SS are these.
 * False: r is none of those. Any CPU. */
bool gdb_cpu_register(const struct cpu *c, uint16_t cs, uint16_t ss, enum gdb_reg r, uint64_t *value);

#endif
