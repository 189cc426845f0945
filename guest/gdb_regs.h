/* SPDX-License-Identifier: MIT */
/* Registers as gdb numbers and describes them (gdb manual, appendix G; features org.gnu.gdb.i386.*). */
#ifndef GUEST_GDB_REGS_H
#define GUEST_GDB_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gdb_mode { GDB_X86_64 = 1, GDB_I386 };

/* The registers there are, whatever the mode calls them. The general ones in the order of enum gpr. */
enum gdb_reg {
	GDB_RAX,
	GDB_R15 = 15,
	GDB_RIP,
	GDB_RFLAGS,
	GDB_ES, /* segments in the order of enum seg */
	GDB_CS,
	GDB_SS,
	GDB_DS,
	GDB_FS,
	GDB_GS,
	GDB_FS_BASE,
	GDB_GS_BASE,
	GDB_CR0,
	GDB_CR2,
	GDB_CR3,
	GDB_CR4,
	GDB_CR8,
	GDB_EFER,
	GDB_REGS,
	GDB_FPU = GDB_REGS, /* described, because gdb wants it, but not available yet */
};

struct gdb_register {
	const char *name, *type;
	unsigned bits;
	enum gdb_reg reg;
};

/* Register n of the description for that mode; 0: there is none. */
const struct gdb_register *gdb_register(enum gdb_mode mode, unsigned n);
/* Registers from 0 on that a g packet holds. */
unsigned gdb_g_registers(enum gdb_mode mode);
/* The description, as XML into to. */
void gdb_describe_target(enum gdb_mode mode, char *to, size_t room);

#endif
