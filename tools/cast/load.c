// SPDX-License-Identifier: MIT
/*
 * Load for a Linux guest that checks itself, in the initrd beside busybox. Without a C library, so that one file serves
 * kernels of 32 and of 64 bits.
 *
 *   load mmap OPERATIONS SEED    mmap, munmap, mprotect, madvise, mremap over slots of pages, the word in each page known
 *   load fork ROUNDS SEED        children and their parent write the same pages; each must see its own
 *   load exec COUNT              so many times fork and exec of this program
 *   load memory KIB SEED         patterns over so much memory
 *   load clock                   clocks run forward, and a second is one by each of them
 *   load end VALUE               writes it to port 0xf4, once the console has got everything
 *
 * Exit status 0, or 1 and a line that tells what was found in place of what.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long word;

/* Linux: arch/x86/entry/syscalls, uapi/asm-generic/mman-common.h, ioctls.h, errno-base.h, signal.h, linux/time.h. */
#ifdef __x86_64__
enum { SYS_write = 1, SYS_mmap = 9, SYS_mprotect = 10, SYS_munmap = 11, SYS_ioctl = 16, SYS_mremap = 25, SYS_madvise = 28,
       SYS_nanosleep = 35, SYS_fork = 57, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_ioperm = 173,
       SYS_clock_gettime = 228 };
#else
enum { SYS_exit = 1, SYS_fork = 2, SYS_write = 4, SYS_execve = 11, SYS_ioctl = 54, SYS_old_mmap = 90, SYS_munmap = 91,
       SYS_ioperm = 101, SYS_wait4 = 114, SYS_mprotect = 125, SYS_nanosleep = 162, SYS_mremap = 163, SYS_madvise = 219,
       SYS_clock_gettime = 265 };
#endif
enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 2, MAP_FIXED = 16, MAP_ANONYMOUS = 32, MREMAP_MAYMOVE = 1,
       MADV_DONTNEED = 4, EFAULT = 14, SIGSEGV = 11, TCSBRK = 0x5409, CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1 };
#define LAST_ERROR 4095 /* results from -LAST_ERROR on are errors */

enum { PAGE = 4096, EXIT_PORT = 0xf4, STDOUT = 1 };
enum { SLOTS = 24, SLOT_PAGES = 64 };
enum { FORK_PAGES = 128, CHILDREN = 4 };
enum { CLOCK_READS = 20000 };
#define SELF "/proc/self/exe"
enum { EXECUTED = 3 }; /* exit status of a program that test_exec started */
#define SECOND 1000000000ll
#define CLOCKS_APART (SECOND / 10)

struct slot {
	uint8_t *base; /* NULL: nothing mapped */
	word pages;
	word holds[SLOT_PAGES]; /* the first word of each page */
};

struct timespec {
	long s, ns;
};

static struct slot slots[SLOTS];
static word fork_holds[FORK_PAGES];
static uint64_t random_state;
static const char *test; /* its name */

#ifdef __x86_64__
static long call(word number, word a, word b, word c, word d, word e, word f)
{
	register word r10 __asm__("r10") = d;
	register word r8 __asm__("r8") = e;
	register word r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static uint8_t *map(uint8_t *at, word size, word prot, word flags)
{
	return (uint8_t *)call(SYS_mmap, (word)at, size, prot, flags, (word)-1, 0);
}
#else
static long call(word number, word a, word b, word c, word d, word e, word f)
{
	long result;

	(void)f;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

static uint8_t *map(uint8_t *at, word size, word prot, word flags)
{
	word all[] = {(word)at, size, prot, flags, (word)-1, 0};

	return (uint8_t *)call(SYS_old_mmap, (word)all, 0, 0, 0, 0, 0);
}
#endif

static _Noreturn void leave(word status)
{
	call(SYS_exit, status, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

static void print(const char *text)
{
	call(SYS_write, STDOUT, (word)text, __builtin_strlen(text), 0, 0, 0);
}

/* Compilers ask for it. */
size_t strlen(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

void *memset(void *to, int value, size_t n)
{
	for (volatile uint8_t *byte = to; n--; byte++)
		*byte = (uint8_t)value;
	return to;
}

static void print_hex(word value)
{
	char text[2 * sizeof(word) + 1] = {0};

	for (int i = 2 * sizeof(word) - 1; i >= 0; i--, value >>= 4)
		text[i] = "0123456789abcdef"[value & 15];
	print(text);
}

static void expect(const char *what, word where, word found, word expected)
{
	if (found == expected)
		return;
	print("load: ");
	print(test);
	print(": ");
	print(what);
	print(" at ");
	print_hex(where);
	print(" is ");
	print_hex(found);
	print(", expected ");
	print_hex(expected);
	print("\n");
	leave(1);
}

static uint8_t *expect_mapped(uint8_t *result)
{
	if ((word)result >= (word)-LAST_ERROR)
		expect("a mapping's error", 0, -(word)result, 0);
	return result;
}

static void expect_done(const char *what, uint8_t *where, long result)
{
	expect(what, (word)where, (word)result, 0);
}

/* xorshift64* */
static word random_word(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (word)(random_state * 0x2545f4914f6cdd1d >> 32);
}

static word below(word n)
{
	return random_word() % n;
}

static word number(const char *text)
{
	word value = 0;

	while (*text >= '0' && *text <= '9')
		value = 10 * value + (word)(*text++ - '0');
	return value;
}

static volatile word *page(uint8_t *base, word i)
{
	return (volatile word *)(base + i * PAGE);
}

/* ---- mmap ---- */

static void slot_verify(struct slot *s)
{
	for (word i = 0; i < s->pages; i++)
		expect("page", (word)page(s->base, i), *page(s->base, i), s->holds[i]);
}

static void slot_map(struct slot *s)
{
	s->pages = 1 + below(SLOT_PAGES);
	s->base = expect_mapped(map(NULL, s->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
	for (word i = 0; i < s->pages; i++)
		s->holds[i] = 0;
}

static void slot_unmap(struct slot *s)
{
	slot_verify(s);
	expect_done("munmap", s->base, call(SYS_munmap, (word)s->base, s->pages * PAGE, 0, 0, 0, 0));
	s->base = NULL;
}

static void slot_write(struct slot *s)
{
	for (word n = 1 + below(s->pages); n; n--) {
		word i = below(s->pages);

		expect("page", (word)page(s->base, i), *page(s->base, i), s->holds[i]);
		*page(s->base, i) = s->holds[i] = random_word();
	}
}

/* Pages from first on are dropped and read zeros; remap: by a fresh mapping over them. */
static void slot_drop(struct slot *s, bool remap)
{
	word first = below(s->pages), n = 1 + below(s->pages - first), size = n * PAGE;
	uint8_t *at = s->base + first * PAGE;

	if (remap)
		expect("mapping", (word)at,
		       (word)map(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), (word)at);
	else
		expect_done("madvise", at, call(SYS_madvise, (word)at, size, MADV_DONTNEED, 0, 0, 0));
	for (word i = first; i < first + n; i++)
		s->holds[i] = 0;
	slot_verify(s);
}

/* The kernel must not write to a page that the process may not write, nor change it. */
static void slot_protect(struct slot *s)
{
	word i = below(s->pages), prot = below(4) ? PROT_READ : PROT_NONE;
	uint8_t *at = s->base + i * PAGE;

	expect_done("mprotect", at, call(SYS_mprotect, (word)at, PAGE, prot, 0, 0, 0));
	expect("a system call's result for a protected page", (word)at,
	       (word)call(SYS_clock_gettime, CLOCK_MONOTONIC, (word)at, 0, 0, 0, 0), (word)-EFAULT);
	expect_done("mprotect", at, call(SYS_mprotect, (word)at, PAGE, PROT_READ | PROT_WRITE, 0, 0, 0));
	slot_verify(s);
	*page(s->base, i) = s->holds[i] = random_word();
}

static void slot_resize(struct slot *s)
{
	word pages = 1 + below(SLOT_PAGES);
	long moved = call(SYS_mremap, (word)s->base, s->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE, 0, 0);

	if (moved == -EFAULT)
		return; /* to Linux it is more than one mapping by now */
	s->base = expect_mapped((uint8_t *)moved);
	for (word i = s->pages; i < pages; i++)
		s->holds[i] = 0;
	s->pages = pages;
	slot_verify(s);
}

static void test_mmap(word operations)
{
	while (operations--) {
		struct slot *s = &slots[below(SLOTS)];

		if (!s->base) {
			slot_map(s);
			continue;
		}
		switch (below(8)) {
		case 0: slot_unmap(s); break;
		case 1: slot_drop(s, false); break;
		case 2: slot_drop(s, true); break;
		case 3: slot_protect(s); break;
		case 4: slot_resize(s); break;
		default: slot_write(s);
		}
	}
	for (struct slot *s = slots; s < slots + SLOTS; s++)
		if (s->base)
			slot_unmap(s);
}

/* ---- fork ---- */

static word fork_process(void)
{
	long child = call(SYS_fork, 0, 0, 0, 0, 0, 0);

	if (child < 0)
		expect("fork's error", 0, (word)-child, 0);
	return (word)child;
}

/* Waits for one child; its status as wait4 has it. */
static word wait_status(void)
{
	int status = -1;

	if (call(SYS_wait4, (word)-1, (word)&status, 0, 0, 0, 0) < 0)
		expect("wait4's error", 0, 1, 0);
	return (word)status;
}

static void fork_verify(uint8_t *base)
{
	for (word i = 0; i < FORK_PAGES; i++)
		expect("page", (word)page(base, i), *page(base, i), fork_holds[i]);
}

static void fork_write(uint8_t *base)
{
	for (word n = 0; n < FORK_PAGES / 2; n++) {
		word i = below(FORK_PAGES);

		*page(base, i) = fork_holds[i] = random_word();
	}
	fork_verify(base);
}

/* A write to a page that may be read only must end the process, whatever the page is shared with. */
static void fork_forbidden(uint8_t *base)
{
	if (!fork_process()) {
		expect_done("mprotect", base, call(SYS_mprotect, (word)base, PAGE, PROT_READ, 0, 0, 0));
		*page(base, 0) = 1;
		leave(0);
	}
	expect("status of a process that wrote to a read-only page", (word)base, wait_status() & 127, SIGSEGV);
}

static void test_fork(word rounds)
{
	uint8_t *base = expect_mapped(map(NULL, FORK_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));

	while (rounds--) {
		fork_write(base);
		for (word n = 0; n < CHILDREN; n++)
			if (!fork_process()) {
				random_state += n + 1;
				fork_verify(base);
				fork_write(base);
				leave(0);
			}
		fork_write(base);
		for (word n = 0; n < CHILDREN; n++)
			expect("a child's status", 0, wait_status(), 0);
		fork_verify(base);
	}
	fork_forbidden(base);
	fork_verify(base);
}

/* ---- exec ---- */

static void test_exec(word count)
{
	const char *argv[] = {SELF, "status", NULL}, *envp[] = {NULL};

	while (count--) {
		if (!fork_process()) {
			call(SYS_execve, (word)SELF, (word)argv, (word)envp, 0, 0, 0);
			leave(2);
		}
		expect("status of an executed program", 0, wait_status(), EXECUTED << 8);
	}
}

/* ---- memory ---- */

static void test_memory(word kib)
{
	word n = kib * 1024 / sizeof(word), seed = random_word();
	volatile word *all = (volatile word *)expect_mapped(
		map(NULL, kib * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));

	for (word i = 0; i < n; i++)
		all[i] = (i * 0x9e3779b1) ^ seed;
	for (word i = 0; i < n; i++) {
		expect("word", (word)&all[i], all[i], (i * 0x9e3779b1) ^ seed);
		all[i] = ~all[i];
	}
	for (word i = n; i-- > 0;)
		expect("word", (word)&all[i], all[i], ~((i * 0x9e3779b1) ^ seed));
}

/* ---- clock ---- */

static long long clock(word which)
{
	struct timespec t = {0, 0};

	expect("clock_gettime", which, (word)call(SYS_clock_gettime, which, (word)&t, 0, 0, 0, 0), 0);
	return t.s * SECOND + t.ns;
}

static void test_clock(word unused)
{
	struct timespec second = {1, 0};
	long long last = clock(CLOCK_MONOTONIC), real = clock(CLOCK_REALTIME), now, apart;

	expect("nanosleep", 0, (word)call(SYS_nanosleep, (word)&second, 0, 0, 0, 0, 0), 0);
	now = clock(CLOCK_MONOTONIC);
	apart = clock(CLOCK_REALTIME) - real - (now - last);
	expect("wrong number of nanoseconds asleep", (word)(now - last), now - last < SECOND || now - last > 10 * SECOND, 0);
	expect("two clocks apart by nanoseconds", (word)apart, apart < -CLOCKS_APART || apart > CLOCKS_APART, 0);
	last = now;
	for (word i = 0; i < CLOCK_READS; i++, last = now) {
		now = clock(CLOCK_MONOTONIC);
		expect("a clock that ran backward", i, now < last, 0);
	}
}

/* ---- end ---- */

static void end_machine(word value)
{
	call(SYS_ioctl, STDOUT, TCSBRK, 1, 0, 0, 0); /* tcdrain */
	expect("ioperm", EXIT_PORT, (word)call(SYS_ioperm, EXIT_PORT, 1, 1, 0, 0, 0), 0);
	__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(EXIT_PORT));
}

/* What an executed program leaves. */
static void tell_status(word unused)
{
	leave(EXECUTED);
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static const struct {
	const char *name;
	void (*run)(word argument);
} tests[] = {
	{"mmap", test_mmap}, {"fork", test_fork}, {"exec", test_exec}, {"memory", test_memory}, {"clock", test_clock},
	{"end", end_machine}, {"status", tell_status},
};

static __attribute__((used)) _Noreturn void load_main(word *stack)
{
	word argc = stack[0];
	const char **argv = (const char **)&stack[1];
	word first = argc > 2 ? number(argv[2]) : 0;

	test = argc > 1 ? argv[1] : "";
	random_state = 0x9e3779b97f4a7c15ull * (1 + (argc > 3 ? number(argv[3]) : 0));
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (same(test, tests[i].name)) {
			tests[i].run(first);
			leave(0);
		}
	print("load: mmap, fork, exec, memory, clock or end is wanted\n");
	leave(2);
}

#ifdef __x86_64__
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall load_main\n");
#else
__asm__(".globl _start\n_start:\n\tmov %esp, %eax\n\tand $-16, %esp\n\tsub $12, %esp\n\tpush %eax\n\tcall load_main\n");
#endif
