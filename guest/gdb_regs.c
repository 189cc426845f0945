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
#define ST(n) {"st" #n, "i387_ext", 80, GDB_ST + 2 * (n)}
static const struct gdb_register fpu[] = {
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	{"fctrl", "int", 32, GDB_FCTRL}, {"fstat", "int", 32, GDB_FSTAT}, {"ftag", "int", 32, GDB_FTAG},
	{"fiseg", "int", 32, GDB_FISEG}, {"fioff", "int", 32, GDB_FIOFF}, {"foseg", "int", 32, GDB_FOSEG},
	{"fooff", "int", 32, GDB_FOOFF}, {"fop", "int", 32, GDB_FOP},
};
#define XMM(n) {"xmm" #n, "vec128", 128, GDB_XMM + 2 * (n)}
#define XMMS_I386 XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7)
#define MXCSR {"mxcsr", "mxcsr", 32, GDB_MXCSR}
static const struct gdb_register x86_64_sse[] = {
	XMMS_I386, XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15), MXCSR,
};
static const struct gdb_register i386_sse[] = {XMMS_I386, MXCSR};
#define YMMH(n) {"ymm" #n "h", "uint128", 128, GDB_YMMH + 2 * (n)}
static const struct gdb_register avx[] = {
	YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
	YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),
};
#define I386_YMMS 8
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

static const char core_types[] = "<flags id=\"eflags\" size=\"4\">"
	"<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
	"<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>"
	"<field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
	"<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
	"<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
	"<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/></flags>";
/* The names of a vector's parts are those that people know from other targets. */
static const char sse_types[] = "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
	"<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/><vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
	"<vector id=\"v8i16\" type=\"int16\" count=\"8\"/><vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
	"<vector id=\"v2i64\" type=\"int64\" count=\"2\"/><union id=\"vec128\">"
	"<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
	"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
	"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
	"<field name=\"uint128\" type=\"uint128\"/></union><flags id=\"mxcsr\" size=\"4\">"
	"<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
	"<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
	"<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
	"<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
	"<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
	"<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
	"<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"RC\" start=\"13\" end=\"14\"/>"
	"<field name=\"FZ\" start=\"15\" end=\"15\"/></flags>";

/* Registers are numbered through all features of a description; as far as SSE in gdb's own order, which it keeps to where it
 * has asked for none. open: a feature begins with this table, and with these types. */
struct table {
	const char *open, *types;
	const struct gdb_register *first;
	unsigned n;
};
#define TABLE(feature, types, x) {feature, types, x, sizeof(x) / sizeof(*(x))}
static const struct table x86_64[] = {TABLE("org.gnu.gdb.i386.core", core_types, x86_64_core), TABLE(0, 0, fpu),
	TABLE("org.gnu.gdb.i386.sse", sse_types, x86_64_sse), TABLE("org.gnu.gdb.i386.segments", "", bases),
	TABLE("umbra.system", "", control), TABLE("org.gnu.gdb.i386.avx", "", avx), {0}};
static const struct table i386[] = {TABLE("org.gnu.gdb.i386.core", core_types, i386_core), TABLE(0, 0, fpu),
	TABLE("org.gnu.gdb.i386.sse", sse_types, i386_sse), TABLE("umbra.system", "", control),
	{"org.gnu.gdb.i386.avx", "", avx, I386_YMMS}, {0}};

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

void gdb_describe_target(enum gdb_mode mode, bool with_avx, char *to, size_t room)
{
	static const char *const architecture[] = {
		[GDB_X86_64] = "i386:x86-64", [GDB_I386] = "i386", [GDB_I8086] = "i8086"};
	const char *close = "";
	size_t at = text_format(to, room, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
		"<architecture>%s</architecture><osabi>none</osabi>", architecture[mode]);

	for (const struct table *t = tables(mode); t->n && (with_avx || t->first != avx); t++) {
		if (t->open) {
			at += text_format(to + at, room - at, "%s<feature name=\"%s\">%s", close, t->open, t->types);
			close = "</feature>";
		}
		for (unsigned i = 0; i < t->n; i++)
			at += describe_register(&t->first[i], to + at, room - at);
	}
	text_format(to + at, room - at, "%s</target>", close);
}
