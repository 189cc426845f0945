/* SPDX-License-Identifier: MIT */
/* guest/emulate.c against the real CPU: random instructions of its table on random registers and memory, in 64-bit mode,
 * once here and once there. Registers, defined flags, memory and faults (vector, error code, CR2) must be the same.
 *
 *   SEED=n CASES=n (environment)  the seed is printed on failure; cases, a million by default
 */
#include "tools/host/native_insn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest/alu.h"
#include "guest/emulate.h"
#include "tools/host/native.h"
#include "tools/host/native_memory.h"

#define CASES 1000000u
#define AREA 0x10000000UL /* two pages to be written, one to be read, one that is not there; nothing around them */
#define READ_ONLY (AREA + 2 * PAGE_SIZE)
#define AREA_END (AREA + 3 * PAGE_SIZE)
#define ARCH_SET_GS 0x1001
#define GS_BASE 0x00123450UL
#define CALLS 8 /* of one REP */

static uint64_t seed, state, faulted, worked;
static uint8_t ours[3 * PAGE_SIZE]; /* the area, as the emulator sees it */

static unsigned below(unsigned n) { return (unsigned)(host_random(&state) % n); }
static bool chance(unsigned percent) { return below(100) < percent; }

/* ---- the emulator's memory ---- */

/* The first byte that may not be accessed so makes the fault, which names it or its page's start. */
static bool refused(uint64_t a, unsigned bytes, bool write, struct emulate_fault *f)
{
	for (unsigned i = 0; i < bytes; i++) {
		bool there = a + i - AREA < AREA_END - AREA;

		if (there && !(write && a + i >= READ_ONLY))
			continue;
		*f = (struct emulate_fault){VECTOR_PF, PF_U | (there ? PF_P : 0) | (write ? PF_W : 0), a + i};
		return true;
	}
	return false;
}

static const struct emulate_memory memory = {do_read, do_write, do_exchange, 0};

/* ---- the instructions ---- */

/* An opcode, the range of ModRM's reg, bytes of the immediate (4: of the operand's size), whether LOCK is allowed. */
struct template {
	uint16_t opcode;
	uint8_t first, last, immediate;
	bool lock;
};

#define ARITHMETIC(at, lock) {at, 0, 7, 0, lock}, {(at) + 1, 0, 7, 0, lock}, {(at) + 2, 0, 7, 0, 0}, {(at) + 3, 0, 7, 0, 0}

static const struct template templates[] = {
	ARITHMETIC(0x00, true), ARITHMETIC(0x08, true), ARITHMETIC(0x10, true), ARITHMETIC(0x18, true), ARITHMETIC(0x20, true),
	ARITHMETIC(0x28, true), ARITHMETIC(0x30, true), ARITHMETIC(0x38, false), ARITHMETIC(0x88, false),
	{0x80, 0, 6, 1, true}, {0x81, 0, 6, 4, true}, {0x83, 0, 6, 1, true}, {0x80, 7, 7, 1, false}, {0x81, 7, 7, 4, false},
	{0x83, 7, 7, 1, false}, {0x63, 0, 7, 0, false}, {0x84, 0, 7, 0, false}, {0x85, 0, 7, 0, false}, {0x86, 0, 7, 0, true},
	{0x87, 0, 7, 0, true}, {0x8c, 0, 5, 0, false}, {0xc6, 0, 0, 1, false}, {0xc7, 0, 0, 4, false}, {0xf6, 0, 1, 1, false},
	{0xf7, 0, 1, 4, false}, {0xf6, 2, 3, 0, true}, {0xf7, 2, 3, 0, true}, {0xfe, 0, 1, 0, true}, {0xff, 0, 1, 0, true},
	{0x140, 0, 7, 0, false}, {0x190, 0, 7, 0, false}, {0x1a3, 0, 7, 0, false}, {0x1ab, 0, 7, 0, true}, {0x1b3, 0, 7, 0, true},
	{0x1bb, 0, 7, 0, true}, {0x1ba, 4, 4, 1, false}, {0x1ba, 5, 7, 1, true}, {0x1b0, 0, 7, 0, true}, {0x1b1, 0, 7, 0, true},
	{0x1b6, 0, 7, 0, false}, {0x1b7, 0, 7, 0, false}, {0x1be, 0, 7, 0, false}, {0x1bf, 0, 7, 0, false}, {0x1c0, 0, 7, 0, true},
	{0x1c1, 0, 7, 0, true}, {0x1c3, 0, 7, 0, false}, {0x1c7, 1, 1, 0, true},
};
static const uint8_t strings[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};

struct making {
	uint8_t bytes[24];
	unsigned n;
	bool word, narrow, gs; /* 66, 67, 65 */
	uint8_t rex;
	struct native_state s;
	uint64_t at;	 /* offset of the operand */
	uint16_t addressing; /* general registers that are part of an address, a bit each */
};

static void put(struct making *m, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		m->bytes[m->n++] = (uint8_t)(value >> 8 * i);
}

/* Mostly in the middle of what may be written, sometimes at an edge. */
static uint64_t place(void)
{
	unsigned r = below(100);

	if (r < 84)
		return AREA + 256 + below(2 * PAGE_SIZE - 512);
	if (r < 92)
		return AREA + PAGE_SIZE - below(20);
	return (r < 94 ? AREA : r < 97 ? READ_ONLY : AREA_END) - 10 + below(20);
}

static void prefixes(struct making *m, bool lock, bool string, bool plain)
{
	static const uint8_t ignored[] = {0x26, 0x2e, 0x36, 0x3e};

	m->word = !plain && chance(25);
	m->narrow = chance(15);
	m->gs = chance(6);
	if (m->word)
		put(m, 0x66, 1);
	if (m->gs)
		put(m, 0x65, 1);
	if (chance(6))
		put(m, ignored[below(4)], 1);
	if (lock && chance(25))
		put(m, 0xf0, 1);
	if (m->narrow)
		put(m, 0x67, 1);
	if (string ? chance(70) : !plain && chance(3))
		put(m, 0xf2 + below(2), 1);
	m->rex = chance(60) ? (uint8_t)(0x40 | below(16)) : 0;
	if (m->rex)
		put(m, m->rex, 1);
}

/* A general register that serves as an address: where addresses are of 32 bits, its upper half is anything. */
static void address_reg(struct making *m, unsigned n, uint64_t value)
{
	m->addressing |= (uint16_t)(1u << n);
	m->s.gpr[n] = m->narrow ? (uint32_t)value | host_random(&state) << 32 : value;
}

/* ModRM, SIB and displacement for an operand at m->at or a little beyond; registers as it takes. behind: bytes of the
 * immediate that follows. */
static void operand(struct making *m, unsigned reg, unsigned behind)
{
	unsigned mod = below(3), rm = below(8), scale = below(4), index = 4, base, wide;
	bool has_base, rip;
	int64_t d = mod == 1 ? (int8_t)host_random(&state) : mod == 2 ? (int)below(1 << 20) - (1 << 19) : 0;
	uint64_t x = 0;

	put(m, mod << 6 | reg << 3 | rm, 1);
	base = rm;
	if (rm == 4) {
		base = below(8), index = below(8);
		put(m, scale << 6 | index << 3 | base, 1);
		index |= m->rex & 2 ? 8 : 0;
	}
	wide = mod == 0 && base == 5 ? 4 : mod == 1 ? 1 : mod == 2 ? 4 : 0;
	has_base = !(mod == 0 && base == 5);
	rip = !has_base && rm != 4;
	base |= m->rex & 1 ? 8 : 0;
	if (index != 4 && has_base && index == base) {
		x = (m->at - (uint64_t)d) / ((1u << scale) + 1);
		m->at = x * ((1u << scale) + 1) + (uint64_t)d;
		address_reg(m, base, x);
	} else if (index != 4) {
		x = has_base ? (uint64_t)(int64_t)(int32_t)host_random(&state) : (m->at - 4096) >> scale;
		d = has_base ? d : (int64_t)(m->at - (x << scale));
		address_reg(m, index, x);
		if (has_base)
			address_reg(m, base, m->at - (uint64_t)d - (x << scale));
	} else if (has_base) {
		address_reg(m, base, m->at - (uint64_t)d);
		if (!m->narrow && chance(2))
			m->s.gpr[base] ^= 1UL << 62; /* not canonical */
	} else {
		d = (int64_t)(m->at - (rip ? NATIVE_CODE + m->n + 4 + behind : 0));
	}
	put(m, (uint64_t)d, wide);
}

/* Half of the comparisons are to find what they look for. */
static void guess(struct making *m, uint16_t opcode)
{
	uint64_t a = m->at + (m->gs ? GS_BASE : 0) - AREA;

	if (!chance(50) || a > sizeof ours - 16)
		return;
	if (opcode == 0x1b0 || opcode == 0x1b1)
		memcpy(&m->s.gpr[RAX], ours + a, 8);
	if (opcode != 0x1c7)
		return;
	memcpy(&m->s.gpr[RAX], ours + a, m->rex & 8 ? 8 : 4);
	memcpy(&m->s.gpr[RDX], ours + a + (m->rex & 8 ? 8 : 4), m->rex & 8 ? 8 : 4);
}

/* False: nothing that may be run. */
static bool make_plain(struct making *m)
{
	const struct template *t = &templates[below(sizeof templates / sizeof *templates)];
	uint16_t opcode = t->opcode;
	unsigned reg = t->first + below(t->last - t->first + 1u), immediate = t->immediate, full;

	bool bit = opcode >= 0x1a3 && opcode <= 0x1bb && (opcode & 7) == 3; /* BT … by a register */

	if (opcode == 0x140 || opcode == 0x190)
		opcode |= below(16);
	prefixes(m, t->lock, false, opcode == 0x1c3 || opcode == 0x63);
	full = reg | (m->rex & 4 ? 8 : 0);
	if (immediate == 4 && !(opcode & 1))
		immediate = 1;
	if (immediate == 4 && m->word && !(m->rex & 8))
		immediate = 2;
	m->at = place() - (m->gs ? GS_BASE : 0);
	if (opcode == 0x1c7 && m->rex & 8 && chance(80))
		m->at = (m->at + (m->gs ? GS_BASE : 0)) / 16 * 16 - (m->gs ? GS_BASE : 0);
	guess(m, opcode);
	if (bit)
		m->s.gpr[full] = (uint64_t)(int64_t)((int)below(1 << 15) - (1 << 14));
	if (opcode > 0xff)
		put(m, 0x0f, 1);
	put(m, opcode & 0xff, 1);
	operand(m, reg, immediate);
	put(m, host_random(&state), immediate);
	return m->n <= INSN_BYTES_MAX && !(bit && m->addressing >> full & 1); /* an address as a bit's number leads far away */
}

static void make_offset(struct making *m)
{
	prefixes(m, false, false, false);
	put(m, 0xa0 + below(4), 1);
	m->at = place() - (m->gs ? GS_BASE : 0);
	put(m, m->at, m->narrow ? 4 : 8);
}

static void make_string(struct making *m)
{
	uint8_t opcode = strings[below(sizeof strings)], reg = chance(50) ? RDI : RSI;

	prefixes(m, false, true, false);
	put(m, opcode, 1);
	address_reg(m, RSI, place() - (m->gs ? GS_BASE : 0));
	address_reg(m, RDI, chance(20) ? m->s.gpr[RSI] + 8 * below(3) : place());
	if (opcode == 0xa6 || opcode == 0xa7) /* which of CMPS's operands faults first, processors choose */
		address_reg(m, reg, AREA + PAGE_SIZE - below(8) - (m->gs && reg == RSI ? GS_BASE : 0));
	m->s.gpr[RCX] = below(4) ? below(160) : below(8);
	if (m->narrow && m->s.gpr[RCX])
		m->s.gpr[RCX] |= host_random(&state) << 32;
	if (m->narrow && !(uint32_t)m->s.gpr[RCX]) /* the manuals do not say what becomes of the upper halves */
		m->s.gpr[RSI] = (uint32_t)m->s.gpr[RSI], m->s.gpr[RDI] = (uint32_t)m->s.gpr[RDI];
}

static bool make(struct making *m)
{
	*m = (struct making){0};
	for (unsigned i = 0; i < GPRS; i++)
		m->s.gpr[i] = chance(30) ? (uint64_t)(int64_t)(int8_t)host_random(&state) : host_random(&state);
	m->s.flags = RFLAGS_FIXED | RFLAGS_IF | (host_random(&state) & (RFLAGS_STATUS | RFLAGS_DF));
	if (chance(12))
		make_string(m);
	else if (chance(4))
		make_offset(m);
	else
		return make_plain(m);
	return true;
}

/* ---- the comparison ---- */

static uint64_t undefined_flags(enum insn_op op)
{
	if (op == INSN_AND || op == INSN_OR || op == INSN_XOR || op == INSN_TEST)
		return RFLAGS_AF;
	if (op >= INSN_BT && op <= INSN_BTC)
		return RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF;
	return 0;
}

static const char *differs(const struct native_state *n, const struct vcpu *v, enum emulate_outcome o,
	const struct emulate_fault *f, enum insn_op op)
{
	const uint64_t flags = (RFLAGS_STATUS | RFLAGS_DF) & ~undefined_flags(op);

	if (o != (n->vector == NATIVE_NO_FAULT ? EMULATE_DONE : EMULATE_FAULT))
		return "outcome";
	/* The kernel's half of the addresses: what is there, it knows. */
	if (o == EMULATE_FAULT && (f->vector != n->vector || (f->error ^ n->error) & ~(n->cr2 >> 63 ? PF_P : 0)))
		return "fault";
	if (o == EMULATE_FAULT && f->vector == VECTOR_PF && f->cr2 != n->cr2)
		return "CR2";
	if (v->rip != n->rip)
		return "RIP";
	for (unsigned i = 0; i < GPRS; i++)
		if (v->gpr[i] != n->gpr[i])
			return "register";
	if ((v->rflags ^ n->flags) & flags)
		return "flags";
	return memcmp(ours, (void *)AREA, sizeof ours) ? "memory" : 0;
}

static void complain(const struct making *m, const struct native_state *n, const struct vcpu *v,
	enum emulate_outcome o, const struct emulate_fault *f, const char *what)
{
	print_error("SEED=%lu:", seed);
	for (unsigned i = 0; i < m->n; i++)
		print_error(" %02x", m->bytes[i]);
	print_error("\nregister: before, CPU, emulator\n");
	for (unsigned i = 0; i < GPRS; i++)
		print_error("%2u %16lx %16lx %16lx\n", i, m->s.gpr[i], n->gpr[i], v->gpr[i]);
	print_error("fl %16lx %16lx %16lx\n", m->s.flags, n->flags, v->rflags);
	print_error("fault %d %x %lx, %d %x %lx\n", (int)n->vector, n->error, n->cr2, o == EMULATE_FAULT ? f->vector : -1, f->error,
		f->cr2);
	fail_msg("%s", what);
}

static struct vcpu vcpu;

static void one(void)
{
	struct vcpu *v = &vcpu;
	struct emulate_fault fault = {0};
	enum emulate_outcome o;
	struct native_state n;
	struct making m;
	struct insn i;
	const char *what;

	while (!make(&m))
		;
	n = m.s;
	native_run(&n, m.bytes, m.n);
	memcpy(v->gpr, m.s.gpr, sizeof v->gpr);
	v->rflags = m.s.flags;
	v->rip = NATIVE_CODE;
	if (insn_decode_memory(8, m.bytes, m.n, &i) != INSN_OK || i.length != m.n)
		complain(&m, &n, v, EMULATE_END, &fault, "not decoded");
	for (unsigned calls = 0; calls < CALLS; calls++) {
		o = emulate(v, &i, &memory, &fault);
		if (o != EMULATE_DONE || v->rip != NATIVE_CODE)
			break;
	}
	what = differs(&n, v, o, &fault, i.op);
	if (what)
		complain(&m, &n, v, o, &fault, what);
	*(o == EMULATE_FAULT ? &faulted : &worked) += 1;
}

static void prepare(void)
{
	struct vcpu *v = &vcpu;
	uint16_t selector[6];

	assert_true(native_prepare());
	assert_ptr_equal(mmap((void *)AREA, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), (void *)AREA);
	for (unsigned i = 0; i < sizeof ours; i++)
		ours[i] = (uint8_t)(chance(30) ? 0 : host_random(&state));
	memcpy((void *)AREA, ours, sizeof ours);
	assert_int_equal(mprotect((void *)READ_ONLY, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE), 0);
	__asm__("mov %%es, %0; mov %%cs, %1; mov %%ss, %2; mov %%ds, %3; mov %%fs, %4; mov %%gs, %5"
		: "=m"(selector[0]), "=m"(selector[1]), "=m"(selector[2]), "=m"(selector[3]), "=m"(selector[4]),
		"=m"(selector[5]));
	for (unsigned i = 0; i < 6; i++)
		v->seg[i].selector = selector[i];
	v->seg[CS].attr = SEG_L;
	v->efer = EFER_LME | EFER_LMA;
	v->seg[GS].base = GS_BASE;
}

static void the_cpu_agrees(void **unused)
{
	const char *cases = getenv("CASES");
	unsigned n = cases ? (unsigned)strtoul(cases, 0, 10) : CASES;
	clock_t start;

	(void)unused;
	prepare();
	start = clock();
	for (unsigned i = 0; i < n; i++)
		one();
	printf("%lu instructions carried out, %lu faulted alike, %lu a second\n", worked, faulted,
		(uint64_t)n * CLOCKS_PER_SEC / (uint64_t)(clock() - start + 1));
	assert_true(faulted > n / 100 && worked > n / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_cpu_agrees)};
	const char *given = getenv("SEED");

	seed = state = given ? strtoul(given, 0, 10) : host_clock() | 1;
	native_memory.area = AREA;
	native_memory.bytes = ours;
	native_memory.refused = refused;
	return cmocka_run_group_tests_name("emulator against the CPU", tests, 0, 0);
}
