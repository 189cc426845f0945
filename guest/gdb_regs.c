/* SPDX-License-Identifier: MIT */
#include "guest/gdb_regs.h"
#include "guest/text.h"

/* enum gdb_reg counts the general registers as instructions do: RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15. */
#define GPR(n) ((enum gdb_reg)(GDB_RAX + (n)))

static const struct gdb_register x86_64_core[] = {
	{"rax", "int64", 64, GPR(0)}, {"rbx", "int64", 64, GPR(3)}, {"rcx", "int64", 64, GPR(1)},
	{"rdx", "int64", 64, GPR(2)}, {"rsi", "int64", 64, GPR(6)}, {"rdi", "int64", 64, GPR(7)},
	{"rbp", "data_ptr", 64, GPR(5)}, {"rsp", "data_ptr", 64, GPR(4)}, {"r8", "int64", 64, GPR(8)},
	{"r9", "int64", 64, GPR(9)}, {"r10", "int64", 64, GPR(10)}, {"r11", "int64", 64, GPR(11)},
	{"r12", "int64", 64, GPR(12)}, {"r13", "int64", 64, GPR(13)}, {"r14", "int64", 64, GPR(14)},
	{"r15", "int64", 64, GPR(15)}, {"rip", "code_ptr", 64, GDB_RIP}, {"eflags", "eflags", 32, GDB_RFLAGS},
	{"cs", "int32", 32, GDB_CS}, {"ss", "int32", 32, GDB_SS}, {"ds", "int32", 32, GDB_DS},
	{"es", "int32", 32, GDB_ES}, {"fs", "int32", 32, GDB_FS}, {"gs", "int32", 32, GDB_GS},
};
static const struct gdb_register i386_core[] = {
	{"eax", "int32", 32, GPR(0)}, {"ecx", "int32", 32, GPR(1)}, {"edx", "int32", 32, GPR(2)},
	{"ebx", "int32", 32, GPR(3)}, {"esp", "data_ptr", 32, GPR(4)}, {"ebp", "data_ptr", 32, GPR(5)},
	{"esi", "int32", 32, GPR(6)}, {"edi", "int32", 32, GPR(7)}, {"eip", "code_ptr", 32, GDB_RIP},
	{"eflags", "eflags", 32, GDB_RFLAGS}, {"cs", "int32", 32, GDB_CS}, {"ss", "int32", 32, GDB_SS},
	{"ds", "int32", 32, GDB_DS}, {"es", "int32", 32, GDB_ES}, {"fs", "int32", 32, GDB_FS},
	{"gs", "int32", 32, GDB_GS},
};
static const struct gdb_register fpu[] = {
	{"st0", "i387_ext", 80, GDB_FPU}, {"st1", "i387_ext", 80, GDB_FPU}, {"st2", "i387_ext", 80, GDB_FPU},
	{"st3", "i387_ext", 80, GDB_FPU}, {"st4", "i387_ext", 80, GDB_FPU}, {"st5", "i387_ext", 80, GDB_FPU},
	{"st6", "i387_ext", 80, GDB_FPU}, {"st7", "i387_ext", 80, GDB_FPU}, {"fctrl", "int", 32, GDB_FPU},
	{"fstat", "int", 32, GDB_FPU}, {"ftag", "int", 32, GDB_FPU}, {"fiseg", "int", 32, GDB_FPU},
	{"fioff", "int", 32, GDB_FPU}, {"foseg", "int", 32, GDB_FPU}, {"fooff", "int", 32, GDB_FPU},
	{"fop", "int", 32, GDB_FPU},
};
static const struct gdb_register bases[] = {
	{"fs_base", "int64", 64, GDB_FS_BASE}, {"gs_base", "int64", 64, GDB_GS_BASE},
};

static const struct gdb_register control[] = {
	{"cr0", "int64", 64, GDB_CR0}, {"cr2", "int64", 64, GDB_CR2}, {"cr3", "int64", 64, GDB_CR3},
	{"cr4", "int64", 64, GDB_CR4}, {"cr8", "int64", 64, GDB_CR8}, {"efer", "int64", 64, GDB_EFER},
	{"system", "system", 0, GDB_SYSTEM},
};

/* What a segment register hides; s counts as enum seg. */
#define HIDDEN(name, s) \
	{name "_base", "uint64", 64, GDB_ES_BASE + (s)}, {name "_limit", "uint32", 32, GDB_ES_LIMIT + (s)}, \
	{name "_attr", "uint32", 32, GDB_ES_ATTR + (s)}
/* The parts of the register "system". gdb 13.1 asks x86 registers for no group that a description gives them, so what
 * `info registers system` shows has to be a register of this name. */
static const struct gdb_register parts[] = {
	{"cr0", "uint64", 64, GDB_CR0}, {"cr2", "uint64", 64, GDB_CR2}, {"cr3", "uint64", 64, GDB_CR3},
	{"cr4", "uint64", 64, GDB_CR4}, {"cr8", "uint64", 64, GDB_CR8}, {"efer", "uint64", 64, GDB_EFER},
	HIDDEN("es", 0), HIDDEN("cs", 1), HIDDEN("ss", 2), HIDDEN("ds", 3), HIDDEN("fs", 4), HIDDEN("gs", 5),
	{"ldtr", "uint32", 32, GDB_LDTR}, HIDDEN("ldtr", 6), {"tr", "uint32", 32, GDB_TR}, HIDDEN("tr", 7),
	{"gdtr_base", "uint64", 64, GDB_GDTR_BASE}, {"gdtr_limit", "uint32", 32, GDB_GDTR_LIMIT},
	{"idtr_base", "uint64", 64, GDB_IDTR_BASE}, {"idtr_limit", "uint32", 32, GDB_IDTR_LIMIT},
	{"ip", "uint64", 64, GDB_IP},
};

/* Registers are numbered through all features of a description. open: a feature begins with this table. */
struct table {
	const char *open;
	const struct gdb_register *first;
	unsigned n;
};
#define TABLE(feature, x) {feature, x, sizeof(x) / sizeof(*(x))}
#define CORE "org.gnu.gdb.i386.core"
static const struct table x86_64[] = {TABLE(CORE, x86_64_core), TABLE(0, fpu),
	TABLE("org.gnu.gdb.i386.segments", bases), TABLE("umbra.system", control), {0}};
static const struct table i386[] = {TABLE(CORE, i386_core), TABLE(0, fpu), TABLE("umbra.system", control), {0}};

static const struct table *tables(enum gdb_mode mode)
{
	return mode == GDB_X86_64 ? x86_64 : i386;
}

const struct gdb_register *gdb_register(enum gdb_mode mode, unsigned n)
{
	for (const struct table *t = tables(mode); t->n; n -= t->n, t++)
		if (n < t->n)
			return &t->first[n];
	return 0;
}

const struct gdb_register *gdb_system_part(unsigned n)
{
	return n < sizeof parts / sizeof *parts ? &parts[n] : 0;
}

unsigned gdb_g_registers(enum gdb_mode mode)
{
	return tables(mode)->n;
}

static const char eflags[] = "<flags id=\"eflags\" size=\"4\">"
	"<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
	"<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
	"<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
	"<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
	"<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
	"<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

/* Its type, as XML into to; returns the bytes written. *bits: its size. */
static size_t describe_system(char *to, size_t room, unsigned *bits)
{
	size_t at = text_format(to, room, "<struct id=\"system\">");
	const struct gdb_register *r;

	*bits = 0;
	for (unsigned i = 0; (r = gdb_system_part(i)); i++) {
		at += text_format(to + at, room - at, "<field name=\"%s\" type=\"%s\"/>", r->name, r->type);
		*bits += r->bits;
	}
	return at + text_format(to + at, room - at, "</struct>");
}

static size_t describe_register(const struct gdb_register *r, char *to, size_t room)
{
	unsigned bits = r->bits;
	size_t at = r->reg == GDB_SYSTEM ? describe_system(to, room, &bits) : 0;

	return at + text_format(to + at, room - at, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>", r->name, bits, r->type);
}

void gdb_describe_target(enum gdb_mode mode, char *to, size_t room)
{
	static const char *const architecture[] = {
		[GDB_X86_64] = "i386:x86-64", [GDB_I386] = "i386", [GDB_I8086] = "i8086"};
	const char *close = "";
	size_t at = text_format(to, room, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
		"<architecture>%s</architecture><osabi>none</osabi>", architecture[mode]);

	for (const struct table *t = tables(mode); t->n; t++) {
		if (t->open) {
			at += text_format(to + at, room - at, "%s<feature name=\"%s\">%s", close, t->open,
				t == tables(mode) ? eflags : "");
			close = "</feature>";
		}
		for (unsigned i = 0; i < t->n; i++)
			at += describe_register(&t->first[i], to + at, room - at);
	}
	text_format(to + at, room - at, "%s</target>", close);
}
