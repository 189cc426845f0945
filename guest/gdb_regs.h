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
	/* Behind it: x87, SSE and AVX. */
	GDB_FPU,
	GDB_ST = GDB_FPU, /* two each, from the top of the stack on: the significand; exponent and sign, 16 bits */
	GDB_ST_LAST = GDB_ST + 15,
	GDB_FCTRL,
	GDB_FSTAT,
	GDB_FTAG, /* two bits for each physical register */
	GDB_FISEG, /* bits 63:32 of the last instruction's address, which is kept as 64-bit code has it: without CS */
	GDB_FIOFF, /* and its bits 31:0 */
	GDB_FOSEG, /* of the last operand's address, without its segment */
	GDB_FOOFF,
	GDB_FOP,
	GDB_XMM, /* two each: bits 63:0, 127:64 */
	GDB_XMM_LAST = GDB_XMM + 31,
	GDB_MXCSR,
	GDB_YMMH, /* two each: bits 191:128, 255:192 */
	GDB_YMMH_LAST = GDB_YMMH + 31,
	GDB_REGS,
	GDB_SYSTEM = GDB_REGS, /* all gdb_system_part()s, one behind the other */
};

/* A register of more than 64 bits is in this one and those behind it, lowest bits first. */
struct gdb_register {
	const char *name, *type;
	unsigned bits;
	enum gdb_reg reg;
};
#define GDB_PIECES 2 /* most of those that a register is in */

/* Register n of the description for that mode; 0: there is none. */
const struct gdb_register *gdb_register(enum gdb_mode mode, unsigned n);
/* Part n of the register "system"; 0: there is none. */
const struct gdb_register *gdb_system_part(unsigned n);
/* Registers from 0 on that a g packet holds. */
unsigned gdb_g_registers(enum gdb_mode mode);
#define GDB_DESCRIPTION 8192
/* The description, as XML into to; GDB_DESCRIPTION bytes hold any. avx: with ymm0h and its like, which are numbered behind all
 * others. */
void gdb_describe_target(enum gdb_mode mode, bool avx, char *to, size_t room);

#endif
