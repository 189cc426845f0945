/* SPDX-License-Identifier: MIT */
/* mmio: instructions on memory that is not there, which reads all ones and ignores writes; so each has one right result, in
 * registers, flags, and what lies in RAM beside. MOV and its kin, XCHG, XADD, CMPXCHG (8B, 16B), BT …, arithmetic, strings,
 * with LOCK, REP and segment overrides, in 64-, 32- and 16-bit code, without paging and in each paging mode; operands half in
 * RAM; faults amidst. And, under SMAP, on RAM that the hypervisor must not open to the supervisor. Needs less than 512 MiB of RAM, for there the hole begins. It does not pass where such memory reads
 * as something else (as QEMU's own does).
 */
#include "guest/images/lib.h"

#define USER (1UL << 39)
#define NOWHERE 0x20000000UL
#define WINDOW 0x40000000UL /* 16 pages of it */
#define MIXED 0x40100000UL  /* RAM, nothing, RAM, nothing, RAM to be read only, no page */
#define ONES (~0UL)
#define CF 0x1UL
#define PF 0x4UL
#define AF 0x10UL
#define ZF 0x40UL
#define SF 0x80UL
#define OF 0x800UL
#define STATUS (CF | PF | AF | ZF | SF | OF)
#define FLAGS_FIXED 2UL
#define MSR_GS_BASE 0xc0000101u
#define CPUID_CX16 (1u << 13)
#define LONG_REP 1000u
#define NO_DEVICE 0x300 /* a port that reads all ones */

/* mmio_engine.S */
struct registers {
	uint64_t a, c, d, b, si, di, flags;
};
uint64_t mmio_run(struct registers *r, const void *code);
extern uint32_t early[30], mmio_selector;

/* Segments: 64-bit code; flat 32-bit code; 16-bit code, its base set for each piece; data from WINDOW, one page. */
enum { SEL_CODE32 = 0x08, SEL_DATA = 0x10, SEL_CODE64 = 0x18, SEL_CODE16 = 0x40, SEL_WINDOW = 0x48 };
static uint64_t gdt[10];

#define CODE(name, mode, text)                                                                                         \
	extern const char name[];                                                                                      \
	__asm__(".pushsection .text\n.code" #mode "\n" #name ":\n" text "\nlretl\n.code64\n.popsection")

CODE(load8, 64, "movq (%rbx), %rax");
CODE(load4, 64, "movl 4(%rbx), %eax");
CODE(load2, 64, "movw (%rbx,%rcx,2), %ax");
CODE(load_high, 64, "movb (%rbx), %ah");
CODE(load_zx, 64, "movzwl (%rbx), %eax");
CODE(load_zx8, 64, "movzbq (%rbx), %rax");
CODE(load_sx, 64, "movsbw (%rbx), %ax");
CODE(load_sxd, 64, "movslq (%rbx), %rax");
CODE(load_offset, 64, "movabsq 0x40000010, %rax");
CODE(load_gs, 64, "movl %gs:8, %eax");
CODE(load_addr32, 64, "movq (%ebx), %rax");
CODE(load_rip, 64, ".set mmio_window, 0x40000000\nmovq mmio_window(%rip), %rax");
CODE(load_cmov, 64, "cmovcl (%rbx), %eax");
CODE(stores, 64, "movq %rax, (%rbx)\nmovb $5, (%rbx)\nmovl $7, 4(%rbx)\nmovnti %rax, 8(%rbx)\nsetc 16(%rbx)\n"
		 "movw %ss, (%rbx)\nmovabsl %eax, 0x40000010\nmovq (%rbx), %rcx\nmovq 16(%rbx), %rdx");
CODE(xchg8, 64, "xchgq %rax, (%rbx)");
CODE(xchg_high, 64, "xchgb %ch, (%rbx)");
CODE(xadd4, 64, "lock xaddl %ecx, (%rbx)");
CODE(cmpxchg8, 64, "lock cmpxchgq %rcx, (%rbx)");
CODE(cmpxchg1, 64, "cmpxchgb %cl, (%rbx)");
CODE(pair8, 64, "lock cmpxchg8b (%rdi)");
CODE(pair16, 64, "lock cmpxchg16b (%rdi)");
CODE(bts, 64, "lock btsq $5, (%rbx)");
CODE(btr_reg, 64, "lock btrl %ecx, (%rbx)");
CODE(btc_bt, 64, "btcw %cx, (%rbx)\nbtw %cx, (%rbx)");
CODE(add1, 64, "addb %al, (%rbx)");
CODE(add_reg, 64, "addl (%rbx), %eax");
CODE(adc8, 64, "lock adcq $0, (%rbx)");
CODE(sub4, 64, "lock subl $1, (%rbx)");
CODE(sbb_reg, 64, "sbbw (%rbx), %ax");
CODE(and_or_xor, 64, "andl %eax, (%rbx)\norl (%rbx), %eax\nxorq %rax, (%rbx)");
CODE(inc4, 64, "lock incl (%rbx)");
CODE(dec8, 64, "lock decq (%rbx)");
CODE(neg_not, 64, "lock negl (%rbx)\nlock notq (%rbx)");
CODE(cmp_test, 64, "testb $0, (%rbx)\ncmpl $-1, (%rbx)");
CODE(stos, 64, "rep stosq");
CODE(movs1, 64, "rep movsb");
CODE(movs8, 64, "rep movsq");
CODE(cmps, 64, "repe cmpsb");
CODE(scas, 64, "repne scasw");
CODE(lods, 64, "lodsw");
CODE(outs, 64, "rep outsb");
CODE(ins, 64, "rep insl");
CODE(add_mixed, 64, "lock addq %rax, (%rbx)");

CODE(load_ds, 32, "movl 0x10, %eax");
CODE(store_es, 32, "movb %al, %es:(%ebx)\naddl %eax, %es:(%ebx)");
CODE(beyond, 32, "movl 0xffd, %eax");
CODE(bit_stack, 32, "lock btsl %ecx, (%ebx)");
CODE(stos32, 32, "rep stosl");
CODE(movs32, 32, "rep movsb %ds:(%esi), %es:(%edi)");
CODE(load16, 16, "movw 4(%bx,%si), %ax\nxchgb %cl, (%si)");
CODE(alu16, 16, "lock incw (%bx)\nsbbl $0, (%di)");
CODE(movs16, 16, "rep movsw");
CODE(wide16, 16, "movl %ds:(%ebx), %eax");

struct piece {
	const char *name, *code;
	struct registers in, out; /* flags: the status flags */
};

#define W .b = WINDOW
#define SAME(flag_bits) .flags = flag_bits
#define DOWN 0x400UL

static const struct piece long_pieces[] = {
	{"MOV, 8 bytes", load8, {W}, {W, .a = ONES}},
	{"MOV, 4 bytes", load4, {W, .a = ONES << 32}, {W, .a = 0xffffffff}},
	{"MOV, 2 bytes", load2, {W, .a = 0x1122334455667788, .c = 9}, {W, .a = 0x112233445566ffff, .c = 9}},
	{"MOV to AH", load_high, {W, .a = 0x1122334455667788}, {W, .a = 0x112233445566ff88}},
	{"MOVZX", load_zx, {W, .a = ONES}, {W, .a = 0xffff}},
	{"MOVZX from a byte", load_zx8, {W, .a = ONES}, {W, .a = 0xff}},
	{"MOVSX", load_sx, {W}, {W, .a = 0xffff}},
	{"MOVSXD", load_sxd, {W}, {W, .a = ONES}},
	{"MOV from an offset", load_offset, {W}, {W, .a = ONES}},
	{"MOV by GS", load_gs, {W}, {W, .a = 0xffffffff}},
	{"MOV by a 32-bit address", load_addr32, {.b = WINDOW | ONES << 32}, {.b = WINDOW | ONES << 32, .a = ONES}},
	{"MOV by RIP", load_rip, {W}, {W, .a = ONES}},
	{"CMOVC, taken", load_cmov, {W, .a = 5, .flags = CF}, {W, .a = 0xffffffff, .flags = CF}},
	{"CMOVC, not taken", load_cmov, {W, .a = 5 | ONES << 32}, {W, .a = 5}},
	{"stores", stores, {W, .a = 0x55}, {W, .a = 0x55, .c = ONES, .d = ONES}},
	{"XCHG", xchg8, {W, .a = 5}, {W, .a = ONES}},
	{"XCHG with CH", xchg_high, {W, .c = 0x1234}, {W, .c = 0xff34}},
	{"XADD", xadd4, {W, .c = 3}, {W, .c = 0xffffffff, .flags = CF | AF}},
	{"CMPXCHG, equal", cmpxchg8, {W, .a = ONES, .c = 7}, {W, .a = ONES, .c = 7, .flags = ZF | PF}},
	{"CMPXCHG, not equal", cmpxchg8, {W, .a = 1, .c = 7}, {W, .a = ONES, .c = 7, .flags = CF | AF}},
	{"CMPXCHG of a byte", cmpxchg1, {W, .a = 0x1ff, .c = 7}, {W, .a = 0x1ff, .c = 7, .flags = ZF | PF}},
	{"CMPXCHG8B, equal", pair8, {.di = WINDOW, .a = 0xffffffff, .d = 0xffffffff, .b = 1, .c = 2},
		{.di = WINDOW, .a = 0xffffffff, .d = 0xffffffff, .b = 1, .c = 2, .flags = ZF}},
	{"CMPXCHG8B, not equal", pair8, {.di = WINDOW, .a = 5, .d = 6}, {.di = WINDOW, .a = 0xffffffff, .d = 0xffffffff}},
	{"BTS", bts, {W}, {W, .flags = CF}},
	{"BTR far away", btr_reg, {.b = WINDOW + 0x1000, .c = -0x7fffu & 0xffffffff},
		{.b = WINDOW + 0x1000, .c = -0x7fffu & 0xffffffff, .flags = CF}},
	{"BTC, BT", btc_bt, {W, .c = 70}, {W, .c = 70, .flags = CF}},
	{"ADD to a byte", add1, {W, .a = 1}, {W, .a = 1, .flags = CF | PF | AF | ZF}},
	{"ADD from there", add_reg, {W, .a = 1}, {W, .flags = CF | PF | AF | ZF}},
	{"ADC", adc8, {W, .flags = CF}, {W, .flags = CF | PF | AF | ZF}},
	{"SUB", sub4, {W}, {W, .flags = SF}},
	{"SBB from there", sbb_reg, {W, .a = 5, .flags = CF}, {W, .a = 5, .flags = CF | AF | PF}},
	{"AND, OR, XOR", and_or_xor, {W, .a = 0x80}, {W, .a = 0xffffffff, .flags = SF | PF}},
	{"INC", inc4, {W, .flags = CF}, {W, .flags = CF | PF | AF | ZF}},
	{"DEC", dec8, {W}, {W, .flags = SF}},
	{"NEG, NOT", neg_not, {W}, {W, .flags = CF | AF}},
	{"TEST, CMP", cmp_test, {W}, {W, .flags = ZF | PF}},
	{"REP STOS over pages", stos, {.di = WINDOW + 8, .c = LONG_REP}, {.di = WINDOW + 8 + 8 * LONG_REP}},
	{"REPNE SCAS to the end", scas, {.di = WINDOW, .c = 100, .a = 5}, {.di = WINDOW + 200, .a = 5, .flags = PF | AF | CF}},
	{"LODS downwards", lods, {.si = WINDOW + 6, .flags = DOWN}, {.si = WINDOW + 4, .a = 0xffff}},
	{"REP OUTS", outs, {.si = WINDOW, .c = 100, .d = NO_DEVICE}, {.si = WINDOW + 100, .d = NO_DEVICE}},
	{"REP INS", ins, {.di = WINDOW, .c = 100, .d = NO_DEVICE}, {.di = WINDOW + 400, .d = NO_DEVICE}},
};

/* DS lies at WINDOW and ends after a page; ES is flat. */
static const struct piece narrow_pieces[] = {
	{"32-bit MOV", load_ds, {.a = 1}, {.a = 0xffffffff}},
	{"32-bit stores by ES", store_es, {W, .a = 2}, {W, .a = 2, .flags = CF | AF}},
	{"32-bit BTS", bit_stack, {.b = 0x800, .c = -80u}, {.b = 0x800, .c = -80u, .flags = CF}},
	{"32-bit REP STOS", stos32, {.di = WINDOW, .c = 200}, {.di = WINDOW + 800}},
};

/* The same segments, addresses of 16 bits. */
static const struct piece short_pieces[] = {
	{"16-bit MOV, XCHG", load16, {.b = 0x8000, .si = 0x8800}, {.b = 0x8000, .si = 0x8800, .a = 0xffff, .c = 0xff}},
	{"16-bit INC, SBB", alu16, {.b = 0x10, .di = 0x20, .flags = CF}, {.b = 0x10, .di = 0x20, .flags = SF}},
	{"16-bit MOV by a 32-bit address", wide16, {.b = 0x20}, {.b = 0x20, .a = 0xffffffff}},
};

static bool same(const struct registers *x, const struct registers *y, uint64_t mask)
{
	return (x->a & mask) == (y->a & mask) && (x->c & mask) == (y->c & mask) && (x->d & mask) == (y->d & mask) &&
		(x->b & mask) == (y->b & mask) && (x->si & mask) == (y->si & mask) && (x->di & mask) == (y->di & mask);
}

/* Runs it; mask: of the registers, what outlives the mode. */
static struct registers run(const struct piece *p, uint64_t mask)
{
	struct registers r = p->in;

	r.flags |= FLAGS_FIXED;
	mmio_run(&r, p->code);
	if (!same(&r, &p->out, mask) || (r.flags & STATUS) != (p->out.flags & STATUS))
		deviation("%s: rax %lx rcx %lx rdx %lx rbx %lx rsi %lx rdi %lx flags %lx", p->name, r.a, r.c, r.d, r.b, r.si, r.di,
			r.flags & STATUS);
	return r;
}

static void segments(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) table;

	__asm__ volatile("sgdt %0" : "=m"(table));
	memcpy(gdt, (void *)table.base, 8 * sizeof *gdt);
	gdt[SEL_CODE16 / 8] = 0x008f9b000000ffff;
	gdt[SEL_WINDOW / 8] = 0x4040930000000fff;
	table.limit = sizeof gdt - 1;
	table.base = (uint64_t)gdt;
	__asm__ volatile("lgdt %0" : : "m"(table));
}

static void set_ds(unsigned selector)
{
	__asm__ volatile("mov %0, %%ds" : : "r"(selector));
}

/* A 16-bit piece begins at its segment's beginning. */
static const void *base16(const char *code)
{
	uint64_t at = (uint64_t)code;

	gdt[SEL_CODE16 / 8] = 0x008f9b000000ffff | (at & 0xffffff) << 16 | (at >> 24 & 0xff) << 56;
	return 0;
}

static void run_long(void)
{
	mmio_selector = SEL_CODE64;
	wrmsr(MSR_GS_BASE, WINDOW);
	for (unsigned i = 0; i < sizeof long_pieces / sizeof *long_pieces; i++)
		run(&long_pieces[i], ONES);
	if (cpuid(1, 0).c & CPUID_CX16) {
		run(&(struct piece){"CMPXCHG16B, equal", pair16, {.di = WINDOW, .a = ONES, .d = ONES, .b = 1},
			    {.di = WINDOW, .a = ONES, .d = ONES, .b = 1, .flags = ZF}}, ONES);
		run(&(struct piece){"CMPXCHG16B, not equal", pair16, {.di = WINDOW}, {.di = WINDOW, .a = ONES, .d = ONES}}, ONES);
	}
	report(!deviations(), "64-bit code");
}

static void run_narrow(void)
{
	mmio_selector = SEL_CODE32;
	set_ds(SEL_WINDOW);
	for (unsigned i = 0; i < sizeof narrow_pieces / sizeof *narrow_pieces; i++)
		run(&narrow_pieces[i], 0xffffffff);
	set_ds(SEL_DATA);
	report(!deviations(), "32-bit code");
	mmio_selector = SEL_CODE16;
	gdt[SEL_WINDOW / 8] |= 0xfUL << 48; /* 1 MiB */
	set_ds(SEL_WINDOW);
	for (unsigned i = 0; i < sizeof short_pieces / sizeof *short_pieces; i++) {
		struct piece p = short_pieces[i];

		p.code = base16(p.code);
		run(&p, 0xffffffff);
	}
	set_ds(SEL_DATA);
	gdt[SEL_WINDOW / 8] &= ~(0xfUL << 48);
	report(!deviations(), "16-bit code");
}

/* ---- strings between RAM and nothing ---- */

#define COPIED 300u

static void copies(void)
{
	uint8_t *ram = (uint8_t *)memory_take(PAGE, PAGE);
	struct piece in = {"REP MOVS from there", movs1, {.si = WINDOW, .di = (uint64_t)ram + 5, .c = COPIED},
		{.si = WINDOW + COPIED, .di = (uint64_t)ram + 5 + COPIED}};
	struct piece out = {"REP MOVS to there", movs8, {.si = (uint64_t)ram, .di = WINDOW + 4, .c = 80},
		{.si = (uint64_t)ram + 640, .di = WINDOW + 4 + 640}};
	struct piece compare = {"REPE CMPS", cmps, {.si = (uint64_t)ram + 5, .di = WINDOW, .c = PAGE},
		{.si = (uint64_t)ram + 5 + COPIED + 1, .di = WINDOW + COPIED + 1, .c = PAGE - COPIED - 1, .flags = CF | AF}};
	struct piece narrow = {"32-bit REP MOVS", movs32, {.si = 0, .di = (uint64_t)ram + 2048, .c = COPIED},
		{.si = COPIED, .di = (uint64_t)ram + 2048 + COPIED}};
	struct piece word = {"16-bit REP MOVS downwards", movs16, {.si = 0x802, .di = 0xffc, .c = 2, .flags = DOWN},
		{.si = 0x7fe, .di = 0xff8}};
	uint64_t wrong = 0;

	mmio_selector = SEL_CODE64;
	run(&in, ONES);
	run(&out, ONES);
	run(&compare, ONES);
	mmio_selector = SEL_CODE32;
	set_ds(SEL_WINDOW);
	run(&narrow, 0xffffffff);
	mmio_selector = SEL_CODE16; /* to RAM: ES from the page's beginning on */
	gdt[SEL_DATA / 8] |= ((uint64_t)ram & 0xffffff) << 16;
	__asm__ volatile("mov %0, %%es" : : "r"(SEL_DATA));
	word.code = base16(word.code);
	run(&word, 0xffffffff);
	gdt[SEL_DATA / 8] &= ~(0xffffffUL << 16);
	__asm__ volatile("mov %0, %%es" : : "r"(SEL_DATA));
	set_ds(SEL_DATA);
	for (unsigned i = 0; i < PAGE; i++)
		wrong += ram[i] != ((i >= 5 && i < 5 + COPIED) || (i >= 2048 && i < 2048 + COPIED) || (i >= 0xffa && i < 0xffe) ? 0xff : 0);
	report(!deviations() && !wrong, "copies from and to RAM, %lu bytes wrong", wrong);
}

/* ---- operands half in RAM, and faults ---- */

static uint64_t frames;

static void mixed(void)
{
	volatile uint32_t *before = (volatile uint32_t *)(frames + PAGE - 4), *behind = (volatile uint32_t *)(frames + PAGE);
	struct piece add = {"ADD half in RAM", add_mixed, {.a = 0x100000001, .b = MIXED + PAGE - 4},
		{.a = 0x100000001, .b = MIXED + PAGE - 4, .flags = CF | PF}};
	volatile uint64_t *low = (volatile uint64_t *)(MIXED + PAGE - 4), *high = (volatile uint64_t *)(MIXED + 2 * PAGE - 4);

	mmio_selector = SEL_CODE64;
	*before = 0x11223344, *behind = 0x55667788;
	report(*low == 0xffffffff11223344 && *high == 0x55667788ffffffff, "loads over both ends: %lx, %lx", *low, *high);
	*low = 0x0102030405060708, *high = 0x1112131415161718;
	report(*before == 0x05060708 && *behind == 0x11121314, "stores over both ends: %x, %x", *before, *behind);
	run(&add, ONES);
	report(!deviations() && *before == 0x05060709, "LOCK ADD over one end: %x", *before);
}

static uint64_t run_caught(uint64_t registers, uint64_t code)
{
	return mmio_run((struct registers *)registers, (const void *)code);
}

static void expect_fault(const char *what, const char *code, struct registers r, int vector, uint32_t error, uint64_t cr2)
{
	struct fault f;

	r.flags = FLAGS_FIXED;
	trap_try(&f, run_caught, (uint64_t)&r, (uint64_t)code);
	report(f.vector == vector && f.error == error && (vector != VECTOR_PF || f.cr2 == cr2), "%s: %s %x at %lx", what,
		vector_name(f.vector), f.error, f.cr2);
}

static void faults(void)
{
	uint64_t read_only = MIXED + 4 * PAGE, missing = MIXED + 5 * PAGE;
	uint8_t *end = (uint8_t *)(frames + 2 * PAGE);

	mmio_selector = SEL_CODE64;
	expect_fault("a store over the end to a read-only page", xchg8, (struct registers){.b = read_only - 4},
		VECTOR_PF, PF_P | PF_W, read_only);
	expect_fault("LOCK ADD over the end to a read-only page", add_mixed, (struct registers){.b = read_only - 4}, VECTOR_PF,
		PF_P | PF_W, read_only);
	memset((void *)frames, 0, 2 * PAGE);
	paging_map(boot_root, missing - PAGE, frames + PAGE, PAGE, 1, PTE_P | PTE_W);
	invlpg(missing - PAGE);
	expect_fault("REP MOVS into a missing page", movs1, (struct registers){.si = WINDOW, .di = missing - 100, .c = 200}, VECTOR_PF,
		PF_W, missing);
	report(end[-1] == 0xff && end[-100] == 0xff && end[-101] == 0, "what comes before it is done");
	expect_fault("CMPXCHG16B not aligned", pair16, (struct registers){.di = WINDOW + 8}, VECTOR_GP, 0, 0);
	mmio_selector = SEL_CODE32;
	set_ds(SEL_WINDOW);
	expect_fault("beyond the segment's end", beyond, (struct registers){0}, VECTOR_GP, 0, 0);
	set_ds(SEL_DATA);
}

static void rights(void)
{
	volatile uint64_t *entry;
	struct fault f;
	uint64_t seen;

	user_setup(boot_root, USER);
	paging_map(boot_root, USER + 0x10000, NOWHERE, PAGE, 1, PTE_P | PTE_U);
	paging_map(boot_root, USER + 0x11000, NOWHERE, PAGE, 1, PTE_P | PTE_W);
	seen = access_try_user(&f, ACCESS_READ, USER + 0x10000, 0);
	report(f.vector == FAULT_NONE && seen == ONES, "a user's read: %s, %lx", vector_name(f.vector), seen);
	access_try_user(&f, ACCESS_WRITE, USER + 0x10000, 0);
	report(f.vector == VECTOR_PF && f.error == (PF_P | PF_W | PF_U), "a user's write to a read-only page: %x", f.error);
	access_try_user(&f, ACCESS_READ, USER + 0x11000, 0);
	report(f.vector == VECTOR_PF && f.error == (PF_P | PF_U), "a user's read of a supervisor's page: %x", f.error);
	entry = paging_entry(boot_root, USER + 0x11000, 1, false);
	report(!(*entry & (PTE_A | PTE_D)), "refused accesses leave A and D alone");
	*(volatile uint64_t *)(USER + 0x11000);
	report((*entry & (PTE_A | PTE_D)) == PTE_A, "a read sets A: %lx", *entry);
	*(volatile uint64_t *)(USER + 0x11000) = 1;
	report((*entry & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "a write sets D: %lx", *entry);
}

/* ---- under SMAP: read-only pages of the user's, that CR0.WP = 0 lets the supervisor write while AC is set ---- */

#define T (USER + 0x20000) /* two pages of RAM, all ones */

/* A piece, and the 8 bytes that it leaves at T + offset. */
static const struct {
	struct piece piece;
	uint64_t offset, right;
} stores_to_user[] = {
	{{"XADD", xadd4, {.b = T, .c = 3}, {.b = T, .c = 0xffffffff, .flags = CF | AF}}, 0, 0xffffffff00000002},
	{{"XCHG", xchg_high, {.b = T, .c = 0x1234}, {.b = T, .c = 0xff34}}, 0, 0xffffffffffffff12},
	{{"CMPXCHG", cmpxchg8, {.b = T, .a = ONES, .c = 7}, {.b = T, .a = ONES, .c = 7, .flags = ZF | PF}}, 0, 7},
	{{"CMPXCHG, not equal", cmpxchg8, {.b = T, .a = 1}, {.b = T, .a = ONES, .flags = CF | AF}}, 0, ONES},
	{{"CMPXCHG16B", pair16, {.di = T, .a = ONES, .d = ONES, .c = 9}, {.di = T, .a = ONES, .d = ONES, .c = 9, .flags = ZF}}, 8, 9},
	{{"INC, not aligned", inc4, {.b = T + 3}, {.b = T + 3, .flags = PF | AF | ZF}}, 0, 0xff00000000ffffff},
	{{"BTR far away", btr_reg, {.b = T + 0x1000, .c = -0x7fffu & 0xffffffff},
		{.b = T + 0x1000, .c = -0x7fffu & 0xffffffff, .flags = CF}}, 0, 0xfffffffffffffffd},
	{{"ADD over a page's end", add_mixed, {.b = T + PAGE - 4, .a = 0x700000001}, {.b = T + PAGE - 4, .a = 0x700000001,
		.flags = CF | AF | PF}}, PAGE - 4, 0x700000000},
	{{"REP STOS", stos, {.di = T, .c = LONG_REP, .a = 5}, {.di = T + 8 * LONG_REP, .a = 5}}, 8 * (LONG_REP - 1), 5},
	{{"REP MOVS", movs1, {.si = (uint64_t)early, .di = T + 1, .c = 4}, {.si = (uint64_t)early + 4, .di = T + 5}}, 0, ONES},
};

static void supervisor_stores(void)
{
	uint64_t cr4 = cr4_read();

	if (!cpu_has_smap()) {
		skip("this CPU has no SMAP");
		return;
	}
	paging_map(boot_root, T, frames, 2 * PAGE, 1, PTE_P | PTE_U);
	paging_load(boot_root);
	mmio_selector = SEL_CODE64;
	cr0_set_wp(false);
	cr4_write(cr4 | CR4_SMAP);
	for (unsigned i = 0; i < sizeof stores_to_user / sizeof *stores_to_user; i++) {
		struct piece p = stores_to_user[i].piece;
		volatile uint64_t *at = (volatile uint64_t *)(frames + stores_to_user[i].offset);

		if (p.code == pair16 && !(cpuid(1, 0).c & CPUID_CX16))
			continue;
		memset((void *)frames, 0xff, 2 * PAGE);
		p.in.flags |= FLAGS_AC;
		run(&p, ONES);
		if (*at != stores_to_user[i].right)
			deviation("%s leaves %lx, not %lx", p.name, *at, stores_to_user[i].right);
	}
	flags_set_ac(false);
	cr4_write(cr4);
	cr0_set_wp(true);
	report(!deviations(), "stores by CR0.WP = 0 under SMAP");
}

static void check_early(void)
{
	static const char *const modes[] = {"without paging", "with 32-bit paging", "with PAE paging"};
	static const uint32_t right[10] = {~0u, 0xffff, ~0u, ~0u, CF | AF, 0, ~0u, ~0u, ~0u, 0xffff};

	for (unsigned m = 0; m < 3; m++) {
		for (unsigned i = 0; i < 10; i++)
			if (early[10 * m + i] != right[i])
				deviation("%s, result %u: %x, not %x", modes[m], i, early[10 * m + i], right[i]);
		report(!deviations(), "%s", modes[m]);
	}
}

#define METRIC_LOAD 1
#define METRIC_REP 2
#define MEASURED 256u

/* TSC ticks of one MOV, and of one iteration of a long REP STOS. */
static void costs(void)
{
	uint64_t start = rdtsc(), to = WINDOW, n = MEASURED;

	for (unsigned i = 0; i < MEASURED; i++)
		*(volatile uint64_t *)WINDOW;
	metric(METRIC_LOAD, "ticks per MOV", (rdtsc() - start) / MEASURED);
	start = rdtsc();
	__asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(0) : "memory");
	metric(METRIC_REP, "ticks per iteration of REP STOS", (rdtsc() - start) / MEASURED);
}

void image_main(void)
{
	const uint64_t rw = PTE_P | PTE_W;

	check_early();
	segments();
	frames = memory_take(2 * PAGE, PAGE);
	paging_map(boot_root, WINDOW, NOWHERE, 16 * PAGE, 1, rw);
	paging_map(boot_root, MIXED, frames, PAGE, 1, rw);
	paging_map(boot_root, MIXED + PAGE, NOWHERE, PAGE, 1, rw);
	paging_map(boot_root, MIXED + 2 * PAGE, frames + PAGE, PAGE, 1, rw);
	paging_map(boot_root, MIXED + 3 * PAGE, NOWHERE, PAGE, 1, rw);
	paging_map(boot_root, MIXED + 4 * PAGE, frames, PAGE, 1, PTE_P);
	paging_load(boot_root);
	run_long();
	run_narrow();
	copies();
	mixed();
	faults();
	rights();
	supervisor_stores();
	costs();
}
