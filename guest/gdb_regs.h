/* SPDX-License-Identifier: MIT */
/* Registers as gdb numbers and describes them (gdb manual, appendix G; features org.gnu.gdb.i386.*). */
#ifndef GUEST_GDB_REGS_H
#define GUEST_GDB_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How gdb is to see registers and code; i8086: i386's registers, code of 16 bits. */
enum gdb_mode { GDB_X86_64 = 1, GDB_I386, GDB_I8086 };

#define GDB_SEGS 8 /* of enum seg, in its order */

/* The registers there are, whatever the mode calls them. The general ones in the order of enum gpr. */
enum gdb_reg {
	GDB_RAX,
	GDB_RSP = 4,
	GDB_RBP,
	GDB_R15 = 15,
	GDB_RIP, /* outside 64-bit mode as a linear address, CS's base added: gdb knows of no segments */
	GDB_RFLAGS,
	GDB_ES, /* selectors, GDB_SEGS of them */
	GDB_CS,
	GDB_SS,
	GDB_DS,
	GDB_FS,
	GDB_GS,
	GDB_LDTR,
	GDB_TR,
	GDB_ES_BASE, /* segments' bases, GDB_SEGS of them */
	GDB_FS_BASE = GDB_ES_BASE + GDB_FS - GDB_ES,
	GDB_GS_BASE,
	GDB_TR_BASE = GDB_ES_BASE + GDB_SEGS - 1,
	GDB_ES_LIMIT, /* as many limits, bytes less 1 */
	GDB_TR_LIMIT = GDB_ES_LIMIT + GDB_SEGS - 1,
	GDB_ES_ATTR, /* and attributes, as in struct segment */
	GDB_TR_ATTR = GDB_ES_ATTR + GDB_SEGS - 1,
	GDB_GDTR_BASE,
	GDB_GDTR_LIMIT,
	GDB_IDTR_BASE,
	GDB_IDTR_LIMIT,
	GDB_CR0,
	GDB_CR2,
	GDB_CR3,
	GDB_CR4,
	GDB_CR8,
	GDB_EFER,
	GDB_IP, /* the instruction pointer as it is, an offset in CS */
	GDB_REGS,
	GDB_FPU = GDB_REGS, /* described, because gdb wants it, but not available yet */
	GDB_SYSTEM,         /* all gdb_system_part()s, one behind the other */
};

struct gdb_register {
	const char *name, *type;
	unsigned bits;
	enum gdb_reg reg;
};

/* Register n of the description for that mode; 0: there is none. */
const struct gdb_register *gdb_register(enum gdb_mode mode, unsigned n);
/* Part n of the register "system"; 0: there is none. */
const struct gdb_register *gdb_system_part(unsigned n);
/* Registers from 0 on that a g packet holds. */
unsigned gdb_g_registers(enum gdb_mode mode);
#define GDB_DESCRIPTION 8192
/* The description, as XML into to; GDB_DESCRIPTION bytes hold any. */
void gdb_describe_target(enum gdb_mode mode, char *to, size_t room);

#endif
