/* SPDX-License-Identifier: MIT */
/* insn: instructions that exit and have to be carried out as the processor would: string I/O, MOV DR and single steps,
 * CLTS and LMSW, CR8, SYSCALL, SWAPGS, RDTSCP, XSETBV; events whose delivery meets page faults of the shadow; SSE and AVX
 * registers across exits. What the CPU lacks is skipped.
 *
 *   fpu=ROUNDS   rounds of keeping the vector registers while others run on the same CPU, default 200
 *   seed=N       what is kept in them; give each guest its own
 *   watch=off    no data breakpoint and no ICEBP, for a machine that lacks them (QEMU's SVM)
 */
#include "guest/images/lib.h"

#define NO_DEVICE 0x300 /* a port that reads all ones */
#define WINDOW PAGE_1G
#define MSR_TSC 0x10u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_SFMASK 0xc0000084u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define EFER_SCE 1UL
#define CR0_MP (1UL << 1)
#define CR0_TS (1UL << 3)
#define CR4_OSFXSR (1UL << 9)
#define CR4_OSXSAVE (1UL << 18)
#define FLAGS_TF (1UL << 8)
#define DR6_B0 1UL
#define DR6_BS (1UL << 14)
#define DR7_WRITE_8_BYTES_AT_DR0 0x90401UL
#define TSS_ACCESS 5 /* a byte of its descriptor */
#define TSS_BUSY 2u
#define VECTOR_DB 1
#define VECTOR_BP 3
#define VECTOR_NM 7
#define CPUID_XSAVE (1u << 26)
#define CPUID_AVX (1u << 28)
#define CPUID_RDTSCP (1u << 27)
#define CPUID_SYSCALL (1u << 11)

/* ---- string I/O ---- */

static const char out_line[] = "rep outsb prints this line\n";

static void string_out(void)
{
	const char *from = out_line;
	uint64_t n = sizeof out_line - 1;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"((uint16_t)ABI_PORT_DEBUG) : "memory");
	report(n == 0 && from == out_line + sizeof out_line - 1, "REP OUTSB ends with RCX=0, RSI behind the string");
	from = out_line;
	n = 0;
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"((uint16_t)ABI_PORT_DEBUG) : "memory");
	report(n == 0 && from == out_line, "REP OUTSB of nothing");
}

static void string_in(void)
{
	uint8_t *page = (uint8_t *)memory_take(2 * PAGE, PAGE), *to = page + PAGE - 100;
	uint64_t n = 200;
	bool good = true;

	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"((uint16_t)NO_DEVICE) : "memory");
	for (unsigned i = 0; i < 2 * PAGE; i++)
		good = good && page[i] == (i >= PAGE - 100 && i < PAGE + 100 ? 0xff : 0);
	report(good && n == 0 && to == page + PAGE + 100, "REP INSB across a page boundary");
	to = page + 8;
	n = 2;
	__asm__ volatile("std; rep insl; cld" : "+D"(to), "+c"(n) : "d"((uint16_t)NO_DEVICE) : "memory");
	report(*(uint64_t *)(page + 4) == ~0UL && page[3] == 0 && page[12] == 0 && to == page, "REP INSL downwards");
	to = page + PAGE - 102;
	__asm__ volatile("addr32 insw" : "+D"(to) : "d"((uint16_t)NO_DEVICE) : "memory");
	report(page[PAGE - 102] == 0xff && page[PAGE - 101] == 0xff && to == page + PAGE - 100, "INSW with 32-bit addresses");
}

static uint64_t in_to(uint64_t va, uint64_t n)
{
	__asm__ volatile("rep insb" : "+D"(va), "+c"(n) : "d"((uint16_t)NO_DEVICE) : "memory");
	return n;
}

static void string_faults(void)
{
	uint64_t frame = memory_take(PAGE, PAGE);
	struct fault f;

	paging_map(boot_root, WINDOW, frame, PAGE, 1, PTE_P | PTE_W);
	cr0_set_wp(true);
	trap_try(&f, in_to, WINDOW + PAGE - 10, 20);
	report(f.vector == VECTOR_PF && f.error == PF_W && f.cr2 == WINDOW + PAGE, "REP INSB into a missing page: %s %x at %lx",
		vector_name(f.vector), f.error, f.cr2);
	report(*(uint8_t *)(WINDOW + PAGE - 1) == 0xff, "what comes before it is done");
	paging_map(boot_root, WINDOW, frame, PAGE, 1, PTE_P);
	invlpg(WINDOW);
	trap_try(&f, in_to, WINDOW, 1);
	report(f.vector == VECTOR_PF && f.error == (PF_P | PF_W) && f.cr2 == WINDOW, "INSB into a read-only page: %s %x",
		vector_name(f.vector), f.error);
	trap_try(&f, in_to, 1UL << 62, 1);
	report(f.vector == VECTOR_GP, "INSB to an address that is not canonical: %s", vector_name(f.vector));
}

/* ---- debug registers and single steps ---- */

static uint64_t dr6_take(void)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(dr6) : "r"(0UL));
	return dr6;
}

/* A #DB handler of our own: the library's would return with RFLAGS.TF still set. */
extern char insn_db[], insn_stepped[];
static volatile uint64_t db_rip;
static volatile unsigned db_count;

__asm__("	.text\n"
	"insn_db:\n"
	"	push	%rax\n"
	"	mov	8(%rsp), %rax\n"
	"	mov	%rax, db_rip\n"
	"	incl	db_count\n"
	"	andq	$~0x100, 24(%rsp)\n"
	"	pop	%rax\n"
	"	iretq\n");

/* Puts a handler into the gate of #DB; returns the one that was there. */
static uint64_t db_handler(uint64_t handler)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr;
	uint16_t *gate;
	uint64_t old;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	gate = (uint16_t *)(idtr.base + 16 * VECTOR_DB);
	old = gate[0] | (uint64_t)gate[3] << 16;
	gate[0] = (uint16_t)handler;
	gate[3] = (uint16_t)(handler >> 16);
	return old;
}

__attribute__((noinline)) static void step_over_cpuid(void)
{
	uint32_t leaf = 0, subleaf = 0;

	/* POPF's own trap comes after the instruction behind it. */
	__asm__ volatile("pushf; orq %2, (%%rsp); popf\n\tcpuid\n\t.globl insn_stepped\ninsn_stepped:\n\tnop"
			 : "+a"(leaf), "+c"(subleaf) : "i"(FLAGS_TF) : "rbx", "rdx", "memory");
}

static uint64_t store(uint64_t va, uint64_t value)
{
	*(volatile uint64_t *)va = value;
	return value;
}

static void debug(void)
{
	static uint64_t watched;
	uint64_t value, old;
	struct fault f;

	__asm__ volatile("mov %1, %%dr3; mov %%dr3, %0" : "=r"(value) : "r"(0x123456789abcUL));
	report(value == 0x123456789abc, "DR3 keeps its value");
	__asm__ volatile("mov %%dr7, %0" : "=r"(value));
	report(value == 0x400, "DR7 after reset: %lx", value);
	dr6_take();
	old = db_handler((uint64_t)insn_db);
	step_over_cpuid();
	db_handler(old);
	value = dr6_take();
	report(db_count == 1 && value & DR6_BS && db_rip == (uint64_t)insn_stepped,
		"a single step over CPUID: %u traps, DR6 %lx, %ld bytes off", db_count, value,
		(long)(db_rip - (uint64_t)insn_stepped));
	if (arg_is("watch", "off")) {
		skip("data breakpoints");
		return;
	}
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr7" : : "r"(&watched), "r"(DR7_WRITE_8_BYTES_AT_DR0));
	trap_try(&f, store, (uint64_t)&watched, 5);
	value = dr6_take();
	__asm__ volatile("mov %0, %%dr7" : : "r"(0x400UL));
	report(f.vector == VECTOR_DB && value & DR6_B0 && watched == 5, "a data breakpoint: %s, DR6 %lx",
		vector_name(f.vector), value);
}

/* ---- control registers ---- */

static void control(void)
{
	uint16_t word[3] = {0};
	uint64_t value;

	cr0_write(cr0_read() | CR0_TS);
	report(cr0_read() & CR0_TS, "CR0.TS is set");
	__asm__ volatile("clts");
	report(!(cr0_read() & CR0_TS), "CLTS clears it");
	__asm__ volatile("lmsw %w0" : : "r"(CR0_TS | CR0_MP | 1));
	report((cr0_read() & 0xffff & (CR0_TS | CR0_MP | 1)) == (CR0_TS | CR0_MP | 1), "LMSW sets TS and MP");
	__asm__ volatile("smsw %0" : "=r"(value));
	report(value == cr0_read(), "SMSW shows CR0");
	__asm__ volatile("smsw %0" : "=m"(word[1]));
	report(word[1] == (uint16_t)value && !word[0] && !word[2], "SMSW to memory writes two bytes");
	__asm__ volatile("clts");
	__asm__ volatile("lmsw %0" : : "m"(word[1]));
	report(cr0_read() == value, "LMSW from memory");
	__asm__ volatile("clts");
	__asm__ volatile("mov %1, %%cr8; mov %%cr8, %0" : "=r"(value) : "r"(9UL));
	report(value == 9, "CR8 keeps its value");
	__asm__ volatile("mov %0, %%cr8" : : "r"(0UL));
	wrmsr(MSR_TSC, 1000);
	value = rdtsc();
	report(value >= 1000 && value < 100000000, "a TSC that was written goes on from there");
}

/* ---- the task register ---- */

static uint64_t load_task(uint64_t selector, uint64_t from_memory)
{
	uint16_t word = (uint16_t)selector;

	if (from_memory)
		__asm__ volatile("ltr %0" : : "m"(word));
	else
		__asm__ volatile("ltr %w0" : : "r"(selector));
	return 0;
}

static void task(void)
{
	extern uint8_t gdt_tss[];
	struct fault f;
	uint16_t tr;

	__asm__ volatile("str %0" : "=r"(tr));
	trap_try(&f, load_task, 3, false);
	report(f.vector == VECTOR_GP && f.error == 0, "LTR of a null selector: %s(%x)", vector_name(f.vector), f.error);
	trap_try(&f, load_task, tr, true);
	report(f.vector == VECTOR_GP && f.error == tr, "LTR of a busy task: %s(%x)", vector_name(f.vector), f.error);
	gdt_tss[TSS_ACCESS] &= (uint8_t)~TSS_BUSY;
	trap_try(&f, load_task, tr, true);
	report(f.vector == FAULT_NONE && gdt_tss[TSS_ACCESS] & TSS_BUSY, "LTR makes the task busy: %s", vector_name(f.vector));
}

/* ---- SYSCALL, SWAPGS, RDTSCP ---- */

__attribute__((noinline)) static uint64_t do_syscall(uint64_t a, uint64_t b)
{
	uint64_t reached = 0;

	(void)a;
	(void)b;
	__asm__ volatile("syscall\n\tjmp 2f\n\t.globl insn_syscall\ninsn_syscall:\n\tmov $1, %0\n\tjmp *%%rcx\n2:"
			 : "+a"(reached) : : "rcx", "r11", "memory");
	return reached;
}
extern char insn_syscall[];

static void system_calls(void)
{
	uint64_t value, efer = rdmsr(MSR_EFER);
	struct fault f;

	if (!(cpuid(0x80000001, 0).d & CPUID_SYSCALL)) {
		skip("no SYSCALL");
		return;
	}
	__asm__ volatile("mov %%cs, %0" : "=r"(value));
	wrmsr(MSR_STAR, value << 32);
	wrmsr(MSR_LSTAR, (uint64_t)insn_syscall);
	wrmsr(MSR_SFMASK, FLAGS_IF);
	wrmsr(MSR_EFER, efer & ~EFER_SCE);
	trap_try(&f, do_syscall, 0, 0);
	report(f.vector == VECTOR_UD, "SYSCALL without EFER.SCE: %s", vector_name(f.vector));
	wrmsr(MSR_EFER, efer | EFER_SCE);
	report(do_syscall(0, 0) == 1, "SYSCALL goes to LSTAR");
	wrmsr(MSR_EFER, efer);

	value = rdmsr(MSR_GS_BASE);
	wrmsr(MSR_KERNEL_GS_BASE, 0x5678000);
	__asm__ volatile("swapgs");
	report(rdmsr(MSR_GS_BASE) == 0x5678000 && rdmsr(MSR_KERNEL_GS_BASE) == value, "SWAPGS");
	__asm__ volatile("swapgs");
	if (!(cpuid(0x80000001, 0).d & CPUID_RDTSCP)) {
		skip("no RDTSCP");
		return;
	}
	wrmsr(MSR_TSC_AUX, 77);
	__asm__ volatile("rdtscp" : "=c"(value) : : "rax", "rdx");
	report((uint32_t)value == 77, "RDTSCP shows TSC_AUX");
}

/* ---- instructions that a guest does not have ---- */

static uint64_t do_rdpmc(uint64_t a, uint64_t b)
{
	(void)b;
	__asm__ volatile("rdpmc" : : "c"(a) : "rax", "rdx");
	return 0;
}

static uint64_t do_monitor(uint64_t a, uint64_t b)
{
	__asm__ volatile("monitor" : : "a"(a), "c"(b), "d"(0));
	return 0;
}

static void absent(void)
{
	struct fault f;

	trap_try(&f, do_rdpmc, 0x12345, 0);
	report(f.vector == VECTOR_GP, "RDPMC: %s", vector_name(f.vector));
	if (cpuid(1, 0).c & 8) {
		skip("MONITOR is there");
	} else {
		trap_try(&f, do_monitor, (uint64_t)&f, 0);
		report(f.vector == VECTOR_UD, "MONITOR: %s", vector_name(f.vector));
	}
	__asm__ volatile("wbinvd" : : : "memory");
	report(true, "WBINVD");
}

/* ---- events whose delivery meets page faults of the shadow ---- */

static uint64_t do_int3(uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	__asm__ volatile("int3");
	return 0;
}

static uint64_t do_ud2(uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	__asm__ volatile("ud2");
	return 0;
}

extern char insn_icebp[];

__attribute__((noinline)) static uint64_t do_icebp(uint64_t a, uint64_t b)
{
	(void)a;
	(void)b;
	__asm__ volatile(".byte 0xf1\n\t.globl insn_icebp\ninsn_icebp:\n\tnop");
	return 0;
}

static void events(void)
{
	uint64_t (*const raise[])(uint64_t, uint64_t) = {do_int3, do_ud2};
	static const int vector[] = {VECTOR_BP, VECTOR_UD};
	struct fault f;

	if (arg_is("watch", "off")) {
		skip("ICEBP");
	} else {
		trap_try(&f, do_icebp, 0, 0);
		report(f.vector == VECTOR_DB && f.rip == (uint64_t)insn_icebp, "ICEBP: %s, %ld bytes off",
			vector_name(f.vector), (long)(f.rip - (uint64_t)insn_icebp));
	}
	if (abi_command(ABI_MMU_ZAP) == ABI_REFUSED) {
		skip("no test device");
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		bool good = true;

		for (unsigned round = 0; round < 20; round++) {
			abi_command(ABI_MMU_ZAP);
			trap_try(&f, raise[i], 0, 0);
			good = good && f.vector == vector[i];
		}
		report(good, "%s with no shadow page left, 20 times", vector_name(vector[i]));
	}
}

/* ---- vector registers ---- */

static void keep_sse(uint64_t seed, uint64_t rounds)
{
	uint64_t in[4] = {seed, ~seed, seed * 3, seed * 5}, out[4];
	bool good = true;

	for (uint64_t i = 0; i < rounds && good; i++) {
		/* CPUID exits; the wait lets the host's timer give the CPU to others. */
		__asm__ volatile("movdqu (%1), %%xmm0; movdqu 16(%1), %%xmm15; mov $20000, %%r8d\n"
				 "1:\tdec %%r8d; jnz 1b; xor %%eax, %%eax; cpuid\n\t"
				 "movdqu %%xmm0, (%0); movdqu %%xmm15, 16(%0)"
				 : : "D"(out), "S"(in) : "rax", "rbx", "rcx", "rdx", "r8", "memory");
		for (unsigned j = 0; j < 4; j++)
			good = good && in[j] == out[j];
	}
	report(good, "XMM registers keep their values in %lu rounds", rounds);
}

static uint64_t do_xsetbv(uint64_t index, uint64_t value)
{
	__asm__ volatile("xsetbv" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
	return value;
}

static void keep_avx(uint64_t seed, uint64_t rounds)
{
	uint64_t in[4] = {seed, ~seed, seed * 3, seed * 5}, out[4];
	struct fault f;
	bool good = true;
	uint32_t low;

	if (!(cpuid(1, 0).c & CPUID_XSAVE)) {
		trap_try(&f, do_xsetbv, 0, 1);
		report(f.vector == VECTOR_UD, "XSETBV without XSAVE: %s", vector_name(f.vector));
		return;
	}
	trap_try(&f, do_xsetbv, 0, 1);
	report(f.vector == VECTOR_UD, "XSETBV without CR4.OSXSAVE: %s", vector_name(f.vector));
	cr4_write(cr4_read() | CR4_OSXSAVE);
	report(cpuid(1, 0).c & (1u << 27), "CPUID shows OSXSAVE");
	trap_try(&f, do_xsetbv, 0, 6);
	report(f.vector == VECTOR_GP, "XSETBV without x87: %s", vector_name(f.vector));
	trap_try(&f, do_xsetbv, 0, 3);
	report(f.vector == FAULT_NONE && cpuid(0xd, 0).b == 576, "XCR0=3: %u bytes", cpuid(0xd, 0).b);
	if (!(cpuid(1, 0).c & CPUID_AVX)) {
		skip("no AVX");
		return;
	}
	trap_try(&f, do_xsetbv, 0, 7);
	__asm__ volatile("xgetbv" : "=a"(low) : "c"(0) : "rdx");
	report(f.vector == FAULT_NONE && low == 7 && cpuid(0xd, 0).b == 832, "XCR0=7: %u bytes", cpuid(0xd, 0).b);
	for (uint64_t i = 0; i < rounds && good; i++) {
		__asm__ volatile("vmovdqu (%1), %%ymm7; mov $20000, %%r8d\n"
				 "1:\tdec %%r8d; jnz 1b; xor %%eax, %%eax; cpuid\n\t"
				 "vmovdqu %%ymm7, (%0)"
				 : : "D"(out), "S"(in) : "rax", "rbx", "rcx", "rdx", "r8", "memory");
		for (unsigned j = 0; j < 4; j++)
			good = good && in[j] == out[j];
	}
	report(good, "YMM registers keep their values in %lu rounds", rounds);
}

static uint64_t do_sse(uint64_t a, uint64_t b)
{
	(void)b;
	__asm__ volatile("movq %0, %%xmm1" : : "r"(a));
	return a;
}

static void vectors(void)
{
	uint64_t seed = arg_number("seed", 1) * 0x0123456789abcdef, rounds = arg_range("fpu", 200, 0, 1000000);
	struct fault f;

	cr4_write(cr4_read() | CR4_OSFXSR);
	cr0_write(cr0_read() | CR0_TS);
	trap_try(&f, do_sse, 1, 0);
	report(f.vector == VECTOR_NM, "SSE with CR0.TS: %s", vector_name(f.vector));
	__asm__ volatile("clts");
	keep_sse(seed, rounds);
	keep_avx(seed, rounds);
}

void image_main(void)
{
	print("insn\n");
	string_out();
	string_in();
	string_faults();
	debug();
	control();
	task();
	system_calls();
	absent();
	events();
	vectors();
}
