/* SPDX-License-Identifier: MIT */
/* guest/interpret.c against the real CPU: instructions with operands in registers, stack instructions, branches, shifts,
 * products and quotients, on random registers and memory, in 64-bit mode, once here and once there; the decimal adjustments in
 * a 32-bit segment. A branch that is taken leads to UD2. Registers, defined flags, memory and faults must be the same.
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

#include "guest/alu.h"
#include "guest/cpuid.h"
#include "guest/interpret.h"
#include "tools/host/native.h"
#include "tools/host/native_memory.h"

#define CASES 1000000u
#define AREA 0x10000000UL /* two pages; nothing around them */
#define AREA_BYTES (2 * PAGE_SIZE)
#define TARGET 0x800 /* of branches, in the code's page */
#define SHORT_TARGET 0x40

static uint64_t seed, state, faulted, worked, branched;
static uint8_t ours[AREA_BYTES];

static unsigned below(unsigned n) { return (unsigned)(host_random(&state) % n); }
static bool chance(unsigned percent) { return below(100) < percent; }

/* ---- the interpreter's memory ---- */

static bool refused(uint64_t a, unsigned bytes, bool write, struct emulate_fault *f)
{
	for (unsigned i = 0; i < bytes; i++)
		if (a + i - AREA >= AREA_BYTES) {
			*f = (struct emulate_fault){VECTOR_PF, PF_U | (write ? PF_W : 0), a + i};
			return true;
		}
	return false;
}

static enum emulate_outcome do_fetch(void *context, uint64_t a, void *to, unsigned bytes, struct emulate_fault *f)
{
	(void)f;
	memcpy(to, (const uint8_t *)context + (a - NATIVE_CODE), bytes);
	return EMULATE_DONE;
}

/* ---- the instructions ---- */

/* What follows the opcode: ModRM with reg first … last, or nothing; then an immediate of so many bytes, 4 being the operand's. */
struct template {
	uint16_t opcode;
	uint8_t first, last, immediate;
	enum { MODRM, IN_OPCODE, ALONE, NEAR, FAR_NEAR } kind; /* NEAR: a displacement of 1 byte, FAR_NEAR: of 4 */
};

#define ARITHMETIC(at)                                                                                                 \
	{at, 0, 7, 0, MODRM}, {(at) + 1, 0, 7, 0, MODRM}, {(at) + 2, 0, 7, 0, MODRM}, {(at) + 3, 0, 7, 0, MODRM},      \
		{(at) + 4, 0, 0, 1, ALONE}, {(at) + 5, 0, 0, 4, ALONE}

static const struct template templates[] = {
	ARITHMETIC(0x00), ARITHMETIC(0x08), ARITHMETIC(0x10), ARITHMETIC(0x18), ARITHMETIC(0x20), ARITHMETIC(0x28),
	ARITHMETIC(0x30), ARITHMETIC(0x38),
	{0x80, 0, 7, 1, MODRM}, {0x81, 0, 7, 4, MODRM}, {0x83, 0, 7, 1, MODRM}, {0x84, 0, 7, 0, MODRM}, {0x85, 0, 7, 0, MODRM},
	{0x86, 0, 7, 0, MODRM}, {0x87, 0, 7, 0, MODRM}, {0x88, 0, 7, 0, MODRM}, {0x89, 0, 7, 0, MODRM}, {0x8a, 0, 7, 0, MODRM},
	{0x8b, 0, 7, 0, MODRM}, {0x8c, 0, 5, 0, MODRM}, {0x8d, 0, 7, 0, MODRM}, {0xc6, 0, 0, 1, MODRM}, {0xc7, 0, 0, 4, MODRM},
	{0xf6, 0, 0, 1, MODRM}, {0xf7, 0, 0, 4, MODRM}, {0xf6, 2, 7, 0, MODRM}, {0xf7, 2, 7, 0, MODRM}, {0xfe, 0, 1, 0, MODRM},
	{0xff, 0, 1, 0, MODRM}, {0x63, 0, 7, 0, MODRM}, {0x140, 0, 7, 0, MODRM}, {0x190, 0, 7, 0, MODRM}, {0x1a3, 0, 7, 0, MODRM},
	{0x1ab, 0, 7, 0, MODRM}, {0x1b3, 0, 7, 0, MODRM}, {0x1bb, 0, 7, 0, MODRM}, {0x1ba, 4, 7, 1, MODRM}, {0x1b0, 0, 7, 0, MODRM},
	{0x1b1, 0, 7, 0, MODRM}, {0x1b6, 0, 7, 0, MODRM}, {0x1b7, 0, 7, 0, MODRM}, {0x1be, 0, 7, 0, MODRM}, {0x1bf, 0, 7, 0, MODRM},
	{0x1c0, 0, 7, 0, MODRM}, {0x1c1, 0, 7, 0, MODRM}, {0xc0, 0, 7, 1, MODRM}, {0xc1, 0, 7, 1, MODRM}, {0xd0, 0, 7, 0, MODRM},
	{0xd1, 0, 7, 0, MODRM}, {0xd2, 0, 7, 0, MODRM}, {0xd3, 0, 7, 0, MODRM}, {0x1a4, 0, 7, 1, MODRM}, {0x1a5, 0, 7, 0, MODRM},
	{0x1ac, 0, 7, 1, MODRM}, {0x1ad, 0, 7, 0, MODRM}, {0x1af, 0, 7, 0, MODRM}, {0x69, 0, 7, 4, MODRM}, {0x6b, 0, 7, 1, MODRM},
	{0x1bc, 0, 7, 0, MODRM}, {0x1bd, 0, 7, 0, MODRM}, {0x11f, 0, 7, 0, MODRM}, {0x8f, 0, 0, 0, MODRM}, {0xff, 6, 6, 0, MODRM},
	{0xff, 2, 2, 0, MODRM}, {0xff, 4, 4, 0, MODRM}, {0x1c8, 0, 7, 0, IN_OPCODE}, {0x90, 0, 7, 0, IN_OPCODE},
	{0xb0, 0, 7, 1, IN_OPCODE}, {0xb8, 0, 7, 8, IN_OPCODE}, {0x50, 0, 7, 0, IN_OPCODE}, {0x58, 0, 7, 0, IN_OPCODE},
	{0xa8, 0, 0, 1, ALONE}, {0xa9, 0, 0, 4, ALONE}, {0x68, 0, 0, 4, ALONE}, {0x6a, 0, 0, 1, ALONE}, {0x98, 0, 0, 0, ALONE},
	{0x99, 0, 0, 0, ALONE}, {0x9c, 0, 0, 0, ALONE}, {0x9e, 0, 0, 0, ALONE}, {0x9f, 0, 0, 0, ALONE}, {0xc2, 0, 0, 2, ALONE},
	{0xc3, 0, 0, 0, ALONE}, {0xc8, 0, 0, 3, ALONE}, {0xc9, 0, 0, 0, ALONE}, {0xd7, 0, 0, 0, ALONE}, {0xf5, 0, 0, 0, ALONE},
	{0xf8, 0, 0, 0, ALONE}, {0xf9, 0, 0, 0, ALONE}, {0xfc, 0, 0, 0, ALONE}, {0xfd, 0, 0, 0, ALONE}, {0x70, 0, 15, 0, NEAR},
	{0xe0, 0, 3, 0, NEAR}, {0xeb, 0, 0, 0, NEAR}, {0x180, 0, 15, 0, FAR_NEAR}, {0xe8, 0, 0, 0, FAR_NEAR},
	{0xe9, 0, 0, 0, FAR_NEAR},
};

struct making {
	uint8_t bytes[24];
	unsigned n;
	bool word, narrow;
	uint8_t rex;
	struct native_state s;
};

static void put(struct making *m, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		m->bytes[m->n++] = (uint8_t)(value >> 8 * i);
}

static uint64_t place(void)
{
	return chance(90) ? AREA + 512 + below(AREA_BYTES - 1024) : (chance(50) ? AREA : AREA + AREA_BYTES) - 12 + below(24);
}

/* Registers, or memory at RBX, or R11 with REX.B. */
static void operand(struct making *m, unsigned reg, bool memory)
{
	unsigned rm = below(8);

	put(m, memory ? reg << 3 | RBX : 0xc0 | reg << 3 | rm, 1);
	if (memory)
		m->s.gpr[m->rex & 1 ? R11 : RBX] = place();
}

/* A branch through an operand goes to the target. */
static void aim(struct making *m, uint16_t opcode, unsigned reg, bool memory)
{
	uint64_t target = NATIVE_CODE + TARGET, a = m->s.gpr[m->rex & 1 ? R11 : RBX] - AREA;
	unsigned rm = (m->bytes[m->n - 1] & 7) | (m->rex & 1 ? 8 : 0);

	if (opcode != 0xff || reg < 2 || reg > 4)
		return;
	if (!memory)
		m->s.gpr[rm] = target;
	else if (a <= AREA_BYTES - 8)
		memcpy(ours + a, &target, 8), memcpy((uint8_t *)AREA + a, &target, 8);
}

static bool make(struct making *m)
{
	const struct template *t = &templates[below(sizeof templates / sizeof *templates)];
	uint16_t opcode = t->opcode;
	unsigned reg = t->first + below(t->last - t->first + 1u), immediate = t->immediate;
	bool memory = chance(35), stack, bit = opcode >= 0x1a3 && opcode <= 0x1bb && (opcode & 7) == 3;
	uint64_t target = NATIVE_CODE + TARGET;

	*m = (struct making){0};
	for (unsigned i = 0; i < GPRS; i++)
		m->s.gpr[i] = chance(30) ? (uint64_t)(int64_t)(int8_t)host_random(&state) : host_random(&state);
	m->s.gpr[RSP] = place();
	m->s.flags = RFLAGS_FIXED | RFLAGS_IF | (host_random(&state) & (RFLAGS_STATUS | RFLAGS_DF));
	if (opcode == 0x140 || opcode == 0x190)
		opcode |= below(16);
	if (opcode == 0x8d || opcode == 0xd7)
		memory = true;
	if (bit || (opcode == 0x8c && memory))
		memory = false;
	stack = opcode == 0xc2 || opcode == 0xc3 || t->kind >= NEAR || (opcode == 0xff && reg >= 2 && reg <= 4);
	m->word = !stack && opcode != 0x63 && opcode != 0x8f && chance(25);
	m->narrow = opcode >= 0xe0 && opcode <= 0xe3 && chance(40);
	if (m->word)
		put(m, 0x66, 1);
	if (m->narrow)
		put(m, 0x67, 1);
	if ((opcode == 0x1bc || opcode == 0x1bd) && chance(50))
		put(m, 0xf3, 1);
	m->rex = chance(50) ? (uint8_t)(0x40 | below(16)) : 0;
	if (m->rex)
		put(m, m->rex, 1);
	if (opcode == 0x1c8 && m->word && !(m->rex & 8))
		return false; /* BSWAP of 16 bits: undefined */
	if (immediate == 4 && m->word && !(m->rex & 8) && opcode != 0x68)
		immediate = 2;
	if (opcode == 0x68)
		immediate = m->word ? 2 : 4;
	if (immediate == 8)
		immediate = m->rex & 8 ? 8 : m->word ? 2 : 4;
	if (opcode == 0x68 && m->word && m->rex & 8)
		return false; /* processors differ about both prefixes on the stack */
	if (opcode > 0xff)
		put(m, 0x0f, 1);
	if (t->kind == MODRM) {
		put(m, opcode & 0xff, 1);
		operand(m, reg, memory);
		if (stack && m->bytes[m->n - 1] == (0xc0 | reg << 3 | RSP) && !(m->rex & 1))
			return false; /* the target is no stack */
		aim(m, opcode, reg, memory);
	} else {
		put(m, (opcode & 0xff) + (t->kind == ALONE ? 0 : reg), 1);
	}
	if (m->word && m->rex & 8 && (opcode == 0xff || (opcode >= 0x50 && opcode <= 0x9d) || opcode >= 0xc8))
		return false;
	if (t->kind == NEAR)
		put(m, SHORT_TARGET - (m->n + 1), 1);
	if (t->kind == FAR_NEAR)
		put(m, TARGET - (m->n + 4), 4);
	if (opcode == 0xc8) {
		put(m, below(128), 2);
		put(m, below(4), 1);
		m->s.gpr[RBP] = place();
	} else if (opcode == 0xc2) {
		put(m, below(64), 2);
	} else {
		put(m, host_random(&state), immediate);
	}
	if (opcode == 0xc9)
		m->s.gpr[RBP] = place();
	if (opcode == 0xd7)
		m->s.gpr[RBX] = place();
	if (opcode == 0xe0 || (t->opcode == 0xe0 && chance(30)))
		m->s.gpr[RCX] = below(3);
	if ((opcode == 0xc2 || opcode == 0xc3) && m->s.gpr[RSP] - AREA <= AREA_BYTES - 8) {
		memcpy(ours + (m->s.gpr[RSP] - AREA), &target, 8);
		memcpy((void *)m->s.gpr[RSP], &target, 8);
	}
	if ((opcode & ~1) == 0xf6 && reg >= 6 && chance(60)) /* quotients that fit */
		m->s.gpr[RDX] = below(3), m->s.gpr[RAX] &= 0xff;
	return true;
}

/* ---- the comparison ---- */

static struct cpuid_model model;

/* This processor has TZCNT and LZCNT? */
static bool counts(enum insn_op op)
{
	return op == INSN_BSF ? model.basic[7].ebx : model.extended[1].ecx;
}

static uint64_t undefined_flags(const struct insn *i, uint64_t cl)
{
	unsigned count = (unsigned)((i->by_cl ? cl : i->immediate) & (i->bytes == 8 ? 63 : 31));

	switch (i->op) {
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
	case INSN_TEST:
		return RFLAGS_AF;
	case INSN_BT ... INSN_BTC:
		return RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF;
	case INSN_ROL ... INSN_RCR:
		return count == 1 ? 0 : RFLAGS_OF;
	case INSN_SHL ... INSN_SHRD:
		return !count ? 0 : RFLAGS_AF | (count == 1 ? 0 : RFLAGS_OF) | (count >= 8u * i->bytes ? RFLAGS_CF : 0);
	case INSN_MUL:
	case INSN_IMUL:
	case INSN_IMUL_REG:
		return RFLAGS_SF | RFLAGS_ZF | RFLAGS_AF | RFLAGS_PF;
	case INSN_DIV:
	case INSN_IDIV:
		return RFLAGS_STATUS;
	case INSN_BSF:
	case INSN_BSR:
		return RFLAGS_STATUS & ~(RFLAGS_ZF | (i->rep == INSN_REPE && counts(i->op) ? RFLAGS_CF : 0));
	default:
		return 0;
	}
}

/* Also what differs between processors: SHLD of 16 bits by more, the upper half where BSF finds nothing. */
static bool undefined(const struct insn *i, const struct native_state *before)
{
	unsigned count = (unsigned)((i->by_cl ? before->gpr[RCX] : i->immediate) & 31);

	return (i->op == INSN_SHLD || i->op == INSN_SHRD) && i->bytes == 2 && count > 16;
}

static const char *differs(const struct native_state *n, const struct vcpu *v, enum emulate_outcome o,
	const struct emulate_fault *f, uint64_t undefined)
{
	bool left = n->vector == VECTOR_UD; /* at a branch's target */

	if (o != (n->vector == NATIVE_NO_FAULT || left ? EMULATE_DONE : EMULATE_FAULT))
		return "outcome";
	if (o == EMULATE_FAULT && (f->vector != n->vector || (f->vector == VECTOR_PF && f->error != n->error)))
		return "fault";
	if (o == EMULATE_FAULT && f->vector == VECTOR_PF && f->cr2 != n->cr2)
		return "CR2";
	if (v->rip != n->rip)
		return "RIP";
	for (unsigned i = 0; i < GPRS; i++)
		if (v->gpr[i] != n->gpr[i])
			return "register";
	if ((v->rflags ^ n->flags) & (RFLAGS_STATUS | RFLAGS_DF) & ~undefined)
		return "flags";
	return memcmp(ours, (void *)AREA, sizeof ours) ? "memory" : 0;
}

static void complain(const struct making *m, const struct native_state *n, const struct vcpu *v, enum emulate_outcome o,
	const struct emulate_fault *f, const char *what)
{
	print_error("SEED=%lu:", seed);
	for (unsigned i = 0; i < m->n; i++)
		print_error(" %02x", m->bytes[i]);
	print_error("\nregister: before, CPU, interpreter\n");
	for (unsigned i = 0; i < GPRS; i++)
		print_error("%2u %16lx %16lx %16lx\n", i, m->s.gpr[i], n->gpr[i], v->gpr[i]);
	print_error("fl %16lx %16lx %16lx, rip %lx %lx\n", m->s.flags, n->flags, v->rflags, n->rip, v->rip);
	print_error("fault %d %x %lx, %u: %d %x %lx\n", (int)n->vector, n->error, n->cr2, o, o == EMULATE_FAULT ? f->vector : -1,
		f->error, f->cr2);
	fail_msg("%s", what);
}

static void one(struct vcpu *v)
{
	struct emulate_fault fault = {0};
	struct interpret_memory memory = {{do_read, do_write, do_exchange, 0}, do_fetch};
	uint8_t code[PAGE_SIZE];
	enum emulate_outcome o;
	struct native_state n;
	struct making m;
	struct insn i;
	const char *what;

	do
		while (!make(&m))
			;
	while (insn_decode_all(8, m.bytes, m.n, &i) == INSN_OK && undefined(&i, &m.s));
	n = m.s;
	native_run(&n, m.bytes, m.n);
	memcpy(v->gpr, m.s.gpr, sizeof v->gpr);
	v->rflags = m.s.flags;
	v->rip = NATIVE_CODE;
	memcpy(code, m.bytes, sizeof m.bytes);
	memory.data.context = code;
	o = interpret(v, &memory, &i, &fault);
	what = differs(&n, v, o, &fault, undefined_flags(&i, m.s.gpr[RCX]));
	if (what)
		complain(&m, &n, v, o, &fault, what);
	branched += n.vector == VECTOR_UD;
	*(o == EMULATE_FAULT ? &faulted : &worked) += 1;
}

static void the_cpu_agrees(void **unused)
{
	static struct vcpu vcpu;
	const char *cases = getenv("CASES");
	unsigned n = cases ? (unsigned)strtoul(cases, 0, 10) : CASES;
	uint16_t selector[6];
	uint8_t *code = (uint8_t *)NATIVE_CODE;

	(void)unused;
	assert_true(native_prepare());
	assert_int_equal(sigaction(SIGFPE, &(struct sigaction){.sa_sigaction = native_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK}, 0),
		0);
	assert_ptr_equal(mmap((void *)AREA, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
				 0), (void *)AREA);
	for (unsigned i = 0; i < sizeof ours; i++)
		ours[i] = (uint8_t)(chance(30) ? 0 : host_random(&state));
	memcpy((void *)AREA, ours, sizeof ours);
	code[SHORT_TARGET] = code[TARGET] = 0x0f;
	code[SHORT_TARGET + 1] = code[TARGET + 1] = 0x0b;
	__asm__("mov %%es, %0; mov %%cs, %1; mov %%ss, %2; mov %%ds, %3; mov %%fs, %4; mov %%gs, %5"
		: "=m"(selector[0]), "=m"(selector[1]), "=m"(selector[2]), "=m"(selector[3]), "=m"(selector[4]),
		"=m"(selector[5]));
	for (unsigned i = 0; i < 6; i++)
		vcpu.seg[i].selector = selector[i];
	model.basic[7].ebx = __builtin_cpu_supports("bmi") ? CPUID_EBX7_BMI1 : 0;
	model.extended[1].ecx = __builtin_cpu_supports("lzcnt") ? CPUID_ECXE1_LZCNT : 0;
	vcpu.model = &model;
	vcpu.seg[CS].attr = SEG_L;
	vcpu.cr0 = CR0_PE;
	vcpu.efer = EFER_LME | EFER_LMA;
	for (unsigned i = 0; i < n; i++)
		one(&vcpu);
	printf("%lu instructions carried out, %lu of them branches taken, %lu faulted alike\n", worked, branched, faulted);
	assert_true(faulted > n / 100 && branched > n / 100 && worked > n / 2);
}

/* ---- DAA … AAD in a 32-bit segment ---- */

#define LOW 0x0e000000UL

struct adjusted {
	uint32_t ax, flags;
};

/* Code at LOW that loads EDI to EAX, RSI to the flags, calls far what is at LOW + 256 and stores both at RDX. */
static const uint8_t caller[] = {
	0x49, 0x89, 0xe0,                               /* mov %rsp, %r8 */
	0xbc, 0x00, 0x0f, 0x00, 0x0e,                   /* mov $LOW + 0xf00, %esp */
	0x56, 0x9d,                                     /* push %rsi; popfq */
	0x89, 0xf8,                                     /* mov %edi, %eax */
	0xff, 0x1c, 0x25, 0x00, 0x02, 0x00, 0x0e,       /* lcall *LOW + 0x200 */
	0x9c, 0x59,                                     /* pushfq; pop %rcx */
	0x4c, 0x89, 0xc4,                               /* mov %r8, %rsp */
	0x89, 0x02, 0x89, 0x4a, 0x04,                   /* mov %eax, (%rdx); mov %ecx, 4(%rdx) */
	0xc3,
};

static void decimals_agree(void **unused)
{
	static const struct {
		uint8_t bytes[3];
		enum insn_op op;
		uint64_t undefined;
	} adjust[] = {
		{{0x27, 0x90, 0xcb}, INSN_DAA, RFLAGS_OF},
		{{0x2f, 0x90, 0xcb}, INSN_DAS, RFLAGS_OF},
		{{0x37, 0x90, 0xcb}, INSN_AAA, RFLAGS_OF | RFLAGS_SF | RFLAGS_ZF | RFLAGS_PF},
		{{0x3f, 0x90, 0xcb}, INSN_AAS, RFLAGS_OF | RFLAGS_SF | RFLAGS_ZF | RFLAGS_PF},
		{{0xd4, 0x0a, 0xcb}, INSN_AAM, RFLAGS_OF | RFLAGS_AF | RFLAGS_CF},
		{{0xd5, 0x0a, 0xcb}, INSN_AAD, RFLAGS_OF | RFLAGS_AF | RFLAGS_CF},
		{{0xd4, 0x07, 0xcb}, INSN_AAM, RFLAGS_OF | RFLAGS_AF | RFLAGS_CF},
	};
	uint8_t *page = mmap((void *)LOW, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	void (*call)(uint32_t ax, uint64_t flags, struct adjusted *to) = (void (*)(uint32_t, uint64_t, struct adjusted *))LOW;
	const uint32_t entry = LOW + 256;
	const uint16_t code32 = 0x23; /* Linux's */

	(void)unused;
	assert_ptr_equal(page, (void *)LOW);
	memcpy(page, caller, sizeof caller);
	memcpy(page + 0x200, &entry, 4);
	memcpy(page + 0x204, &code32, 2);
	for (unsigned k = 0; k < sizeof adjust / sizeof *adjust; k++) {
		memcpy(page + 256, adjust[k].bytes, 3);
		for (uint32_t x = 0; x < 4 * 65536; x++) {
			uint64_t before = RFLAGS_FIXED | (x & 0x10000 ? RFLAGS_CF : 0) | (x & 0x20000 ? RFLAGS_AF : 0), flags = before;
			uint16_t ax = alu_decimal(adjust[k].op, (uint16_t)x, adjust[k].bytes[1], &flags);
			struct adjusted theirs;

			call(x & 0xffff, before, &theirs);
			if (ax != (uint16_t)theirs.ax || (flags ^ theirs.flags) & RFLAGS_STATUS & ~adjust[k].undefined)
				fail_msg("%02x of %x: %x, flags %lx, not %x, %x", adjust[k].bytes[0], x, ax, flags, theirs.ax,
					theirs.flags);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_cpu_agrees), cmocka_unit_test(decimals_agree)};
	const char *given = getenv("SEED");

	seed = state = given ? strtoul(given, 0, 10) : host_clock() | 1;
	native_memory.area = AREA;
	native_memory.bytes = ours;
	native_memory.refused = refused;
	return cmocka_run_group_tests_name("interpreter against the CPU", tests, 0, 0);
}
