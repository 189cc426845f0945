// SPDX-License-Identifier: MIT
/*
 * What a hostile Linux guest does in user mode, as root. Without a C library.
 *
 *   hostile PHASE SEED MS     for so many milliseconds; the phases are in the table at the end
 *   hostile seed              prints a number that differs each time
 *
 * Whatever is done is done by a child, which ends by it or by its alarm.
 */
#include "soup.h"

typedef unsigned long word;

/* Linux: arch/x86/entry/syscalls/syscall_64.tbl, uapi: signal.h, mman.h, ptrace.h, user_64.h. */
enum { SYS_write = 1, SYS_mmap = 9, SYS_mprotect = 10, SYS_munmap = 11, SYS_sigaction = 13, SYS_mremap = 25,
       SYS_madvise = 28, SYS_alarm = 37, SYS_setitimer = 38, SYS_getpid = 39, SYS_fork = 57, SYS_exit = 60, SYS_wait4 = 61,
       SYS_kill = 62, SYS_ptrace = 101, SYS_iopl = 172, SYS_clock_gettime = 228 };
enum { PROT_ALL = 7, MAP_PRIVATE = 2, MAP_SHARED = 1, MAP_ANONYMOUS = 32, MREMAP_MAYMOVE = 1, MADV_DONTNEED = 4,
       CLOCK_MONOTONIC = 1, SIGTRAP = 5, SIGSEGV = 11, SIGUSR1 = 10, SIGALRM = 14, SIGNALS = 15,
       SA_RESTORER = 0x04000000, SA_NODEFER = 0x40000000,
       PTRACE_TRACEME = 0, PTRACE_POKEUSER = 6, PTRACE_CONT = 7, PTRACE_SINGLESTEP = 9 };
enum { USER_DEBUG_REGISTERS = 848, USER_REGISTERS = 27, UCONTEXT_RIP = 168 };

enum { PAGE = 4096, CODE_PAGES = 4, CODE_BYTES = 160, ARENA_PAGES = 256, CHILD_SECONDS = 1, IOPL_ALL = 3 };
enum { PORTS = 0x10000, STOPPED = 0x7f, STEPS = 300, STORM = 2000, REP_MOST = 5000 };

static uint64_t state;
static uint8_t *code, *arena;
static bool all_ports; /* those that end the guest too */

static long call(word number, word a, word b, word c, word d)
{
	register word r10 __asm__("r10") = d;
	register word r8 __asm__("r8") = (word)-1;
	register word r9 __asm__("r9") = 0;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static _Noreturn void leave(word status)
{
	call(SYS_exit, status, 0, 0, 0);
	__builtin_unreachable();
}

static void print(const char *text, word n)
{
	call(SYS_write, 1, (word)text, n, 0);
}

static void print_number(uint64_t value)
{
	char text[20];
	word at = sizeof text;

	do
		text[--at] = (char)('0' + value % 10);
	while (value /= 10);
	print(text + at, sizeof text - at);
}

static uint64_t number(const char *text)
{
	uint64_t value = 0;

	while (*text >= '0' && *text <= '9')
		value = 10 * value + (uint64_t)(*text++ - '0');
	return value;
}

static uint32_t below(uint32_t n)
{
	return soup_below(&state, n);
}

static uint64_t now_ms(void)
{
	long t[2] = {0, 0};

	call(SYS_clock_gettime, CLOCK_MONOTONIC, (word)t, 0, 0);
	return (uint64_t)t[0] * 1000 + (uint64_t)t[1] / 1000000;
}

static uint8_t *map(word pages, word flags)
{
	return (uint8_t *)call(SYS_mmap, 0, pages * PAGE, PROT_ALL, flags | MAP_ANONYMOUS);
}

/* ---- any code ---- */

static void execute(uint8_t *at)
{
	word registers[13];

	for (unsigned i = 0; i < 13; i++)
		registers[i] = below(3) ? soup_value(&state) : (word)arena + below(ARENA_PAGES * PAGE);
	__asm__ volatile("push	%%rbp\n\t"
			 "sub	$128, %%rsp\n\t"
			 "push	%1\n\t"
			 "mov	(%0), %%rax\n\tmov	8(%0), %%rcx\n\tmov	16(%0), %%rdx\n\tmov	24(%0), %%rsi\n\t"
			 "mov	40(%0), %%r8\n\tmov	48(%0), %%r9\n\tmov	56(%0), %%r10\n\tmov	64(%0), %%r12\n\t"
			 "mov	72(%0), %%r13\n\tmov	80(%0), %%r14\n\tmov	88(%0), %%r15\n\tmov	96(%0), %%rbp\n\t"
			 "mov	32(%0), %%rdi\n\t"
			 "call	*(%%rsp)\n\t"
			 "add	$136, %%rsp\n\t"
			 "pop	%%rbp"
			 : : "b"(registers), "r"(at)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r12", "r13", "r14", "r15", "memory", "cc");
}

static void child_soup(void)
{
	for (unsigned i = 0; i < 8; i++) {
		uint8_t *at = code + (below(4) ? below(PAGE) : PAGE - 1 - below(24)); /* over the page's end, too */

		soup_fill(at, CODE_BYTES, &state, (enum soup_flavour)below(SOUP_FLAVOURS));
		execute(at);
	}
}

static void child_soup_io(void)
{
	call(SYS_iopl, IOPL_ALL, 0, 0, 0);
	child_soup();
}

/* Code that changes what lies just ahead of it, and through another page's mapping of it. */
static void child_modify(void)
{
	for (unsigned i = 0; i < STORM; i++) {
		volatile uint8_t *at = code + PAGE * below(CODE_PAGES) + below(PAGE - 8);

		at[0] = 0xc6, at[1] = 0x05, at[2] = 0, at[3] = 0, at[4] = 0, at[5] = 0; /* movb $0xc3, (the next byte) */
		at[6] = SOUP_RET, at[7] = (uint8_t)soup_random(&state);
		((void (*)(void))(word)at)();
		call(SYS_mprotect, (word)(code + PAGE * below(CODE_PAGES)), PAGE, below(8) ? PROT_ALL : 5, 0);
	}
}

/* ---- ports ---- */

/* An access of 4 bytes must not touch those either. */
static bool spared(unsigned port)
{
	static const uint16_t spare[] = {0xf4, 0x604, 0x605, 0xcf9, 0x64};

	for (unsigned i = 0; i < sizeof spare / sizeof spare[0]; i++)
		if (port + 3 >= spare[i] && port <= spare[i])
			return !all_ports;
	return false;
}

static void access_port(uint16_t port, unsigned how)
{
	uint32_t value = (uint32_t)soup_value(&state);

	switch (how) {
	case 0: __asm__ volatile("inb %1, %b0" : "+a"(value) : "d"(port)); break;
	case 1: __asm__ volatile("inw %1, %w0" : "+a"(value) : "d"(port)); break;
	case 2: __asm__ volatile("inl %1, %0" : "+a"(value) : "d"(port)); break;
	case 3: __asm__ volatile("outb %b0, %1" : : "a"(value), "d"(port)); break;
	case 4: __asm__ volatile("outw %w0, %1" : : "a"(value), "d"(port)); break;
	default: __asm__ volatile("outl %0, %1" : : "a"(value), "d"(port));
	}
}

static void access_string(uint16_t port, unsigned how)
{
	word n = 1 + below(below(8) ? 64 : REP_MOST);
	uint8_t *at = arena + PAGE * (ARENA_PAGES / 2) + below(PAGE);

	if (below(4) == 0)
		__asm__ volatile("std");
	switch (how) {
	case 0: __asm__ volatile("rep insb" : "+c"(n), "+D"(at) : "d"(port) : "memory"); break;
	case 1: __asm__ volatile("rep insw" : "+c"(n), "+D"(at) : "d"(port) : "memory"); break;
	case 2: __asm__ volatile("rep insl" : "+c"(n), "+D"(at) : "d"(port) : "memory"); break;
	case 3: __asm__ volatile("rep outsb" : "+c"(n), "+S"(at) : "d"(port) : "memory"); break;
	case 4: __asm__ volatile("rep outsw" : "+c"(n), "+S"(at) : "d"(port) : "memory"); break;
	default: __asm__ volatile("rep outsl" : "+c"(n), "+S"(at) : "d"(port) : "memory");
	}
	__asm__ volatile("cld");
}

/* Every port once, by an access of any kind. */
static void child_ports(void)
{
	unsigned first = below(PORTS);

	call(SYS_alarm, 0, 0, 0, 0);
	call(SYS_iopl, IOPL_ALL, 0, 0, 0);
	for (unsigned i = 0; i < PORTS; i++)
		if (!spared((first + i) % PORTS))
			access_port((uint16_t)(first + i), below(6));
}

/* The devices' ports again and again, and strings. */
static void child_devices(void)
{
	static const uint16_t devices[] = {0x20, 0xa0, 0x40, 0x61, 0x70, 0x3f8, 0x510, 0xcf8, 0x600, 0x5e0, 0x4d0, 0x80, 0x60, 0xe9};

	call(SYS_iopl, IOPL_ALL, 0, 0, 0);
	for (unsigned i = 0; i < STORM; i++) {
		unsigned port = (below(4) ? devices[below(sizeof devices / sizeof devices[0])] + below(16) : below(PORTS));

		if (spared(port))
			continue;
		if (below(20))
			access_port((uint16_t)port, below(6));
		else
			access_string((uint16_t)port, below(6));
	}
}

/* ---- memory ---- */

extern char landing[], restorer[];
__asm__("restorer:\n\tmov	$15, %eax\n\tsyscall\n");

/* The instruction that a signal met is left: what follows is at landing. */
static void on_signal(int signal, void *info, uint8_t *context)
{
	(void)info;
	if (signal != SIGALRM && signal != SIGUSR1)
		*(volatile word *)(context + UCONTEXT_RIP) = (word)landing;
	else if (below(2))
		call(SYS_kill, (word)call(SYS_getpid, 0, 0, 0, 0), SIGUSR1, 0, 0);
}

static void catch_signals(void)
{
	word action[4] = {(word)on_signal, SA_NODEFER | SA_RESTORER | 4 /* SA_SIGINFO */, (word)restorer, 0};

	for (word i = 1; i <= SIGNALS; i++)
		call(SYS_sigaction, i, (word)action, 0, 8);
}

/* One instruction that may fault. */
static __attribute__((noinline)) void provoke(volatile uint8_t *at, unsigned how)
{
	if (how == 0)
		(void)*at;
	else if (how == 1)
		*at = 1;
	else if (how == 2)
		__asm__ volatile("ud2");
	else if (how == 3)
		__asm__ volatile("int3");
	else if (how == 4)
		__asm__ volatile("int $0x2e");
	else
		__asm__ volatile("lock incl %0" : "+m"(*(volatile uint32_t *)at));
}

/* Faults come to `landing` with the registers that the faulting instruction had: what this function keeps is in static ones. */
static __attribute__((noinline)) void provoke_safely(volatile uint8_t *at, unsigned how)
{
	static word stack;

	__asm__ volatile("push	%%rbp\n\tpush	%%rbx\n\tpush	%%r12\n\tpush	%%r13\n\tpush	%%r14\n\tpush	%%r15\n\t"
			 "mov	%%rsp, %0\n\t"
			 "call	*%1\n"
			 "landing:\n\t"
			 "mov	%0, %%rsp\n\t"
			 "pop	%%r15\n\tpop	%%r14\n\tpop	%%r13\n\tpop	%%r12\n\tpop	%%rbx\n\tpop	%%rbp"
			 : "+m"(stack), "+r"((word){(word)provoke}), "+D"(at), "+S"(how)
			 : : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void child_memory(void)
{
	catch_signals();
	for (unsigned i = 0; i < STORM; i++) {
		unsigned first = below(ARENA_PAGES), n = 1 + below(ARENA_PAGES - first);
		word at = (word)arena + first * PAGE, size = n * PAGE;

		switch (below(8)) {
		case 0: call(SYS_mprotect, at, size, below(8), 0); break;
		case 1: call(SYS_munmap, at, PAGE * (1 + below(4)), 0, 0); break;
		case 2: call(SYS_mmap, at, size, below(8), MAP_PRIVATE | MAP_ANONYMOUS | 16 /* MAP_FIXED */); break;
		case 3: call(SYS_mremap, at, size, PAGE * (1 + below(ARENA_PAGES)), MREMAP_MAYMOVE); break;
		case 4: call(SYS_madvise, at, size, below(2) ? MADV_DONTNEED : below(26), 0); break;
		default: provoke_safely((uint8_t *)at + below((uint32_t)size), (unsigned[]){0, 1, 5}[below(3)]);
		}
	}
}

static void child_signals(void)
{
	word timer[4] = {0, 1000, 0, 1000}; /* each millisecond */

	catch_signals();
	call(SYS_setitimer, 0, (word)timer, 0, 0);
	for (unsigned i = 0; i < STORM; i++) {
		provoke_safely(arena, 2 + below(3));
		call(SYS_kill, (word)call(SYS_getpid, 0, 0, 0, 0), SIGUSR1, 0, 0);
		provoke_safely((uint8_t *)soup_value(&state), below(2));
	}
}

/* ---- debug registers ---- */

/* A child of the child executes anything, with breakpoints, registers and single steps of ours. */
static void child_debug(void)
{
	long traced = call(SYS_fork, 0, 0, 0, 0);
	int status;

	if (!traced) {
		call(SYS_alarm, CHILD_SECONDS, 0, 0, 0);
		call(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
		call(SYS_kill, (word)call(SYS_getpid, 0, 0, 0, 0), SIGTRAP, 0, 0);
		child_soup();
		leave(0);
	}
	for (unsigned i = 0; i < STEPS; i++) {
		if (call(SYS_wait4, (word)traced, (word)&status, 0, 0) < 0 || (status & 0xff) != STOPPED)
			return;
		for (unsigned n = below(4); n; n--)
			call(SYS_ptrace, PTRACE_POKEUSER, (word)traced, USER_DEBUG_REGISTERS + 8 * below(8),
				below(2) ? (word)code + below(PAGE) : soup_value(&state));
		if (!below(10))
			call(SYS_ptrace, PTRACE_POKEUSER, (word)traced, 8 * below(USER_REGISTERS), soup_value(&state));
		call(SYS_ptrace, below(8) ? PTRACE_SINGLESTEP : PTRACE_CONT, (word)traced, 0, 0);
	}
	call(SYS_kill, (word)traced, 9, 0, 0);
}

static void child_all_ports(void)
{
	all_ports = true;
	child_devices();
	child_ports();
}

static const struct {
	const char *name;
	void (*child)(void);
} phases[] = {
	{"soup", child_soup}, {"modify", child_modify}, {"ports", child_ports}, {"devices", child_devices},
	{"memory", child_memory}, {"signals", child_signals}, {"debug", child_debug}, {"soup-io", child_soup_io},
	{"all-ports", child_all_ports},
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void run(void (*child)(void), uint64_t until)
{
	do {
		long pid = call(SYS_fork, 0, 0, 0, 0);

		if (!pid) {
			call(SYS_alarm, CHILD_SECONDS, 0, 0, 0);
			child();
			leave(0);
		}
		soup_random(&state);
		call(SYS_wait4, (word)pid, 0, 0, 0);
	} while (now_ms() < until);
}

static __attribute__((used)) _Noreturn void hostile_main(word *stack)
{
	word argc = stack[0];
	const char **argv = (const char **)&stack[1];

	if (argc == 2 && same(argv[1], "seed")) {
		state = soup_seeded(__builtin_ia32_rdtsc());
		print_number(soup_random(&state) >> 33);
		leave(0);
	}
	if (argc != 4)
		leave(2);
	state = soup_seeded(number(argv[2]));
	code = map(CODE_PAGES, MAP_SHARED);
	arena = map(ARENA_PAGES, MAP_PRIVATE);
	for (unsigned i = 0; i < sizeof phases / sizeof phases[0]; i++)
		if (same(argv[1], phases[i].name)) {
			run(phases[i].child, now_ms() + number(argv[3]));
			leave(0);
		}
	leave(2);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall hostile_main\n");
