/* SPDX-License-Identifier: MIT */
/* See lib.h. The assembler parts are in start.S. */
#include <stdarg.h>

#include "guest/images/lib.h"

/* ---- console: 16550A, polled ---- */

enum uart_register { UART_DATA = 0, UART_IER = 1, UART_FCR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5 };
#define UART_LCR_8N1 0x03
#define UART_LCR_DLAB 0x80
#define UART_FCR_ENABLE_CLEAR 0x07
#define UART_MCR_DTR_RTS 0x03
#define UART_LSR_THRE 0x20
#define UART_DIVISOR_115200 1
#define UART_POLLS 20000

static void console_setup(void)
{
	abi_out8(ABI_PORT_CONSOLE + UART_IER, 0);
	abi_out8(ABI_PORT_CONSOLE + UART_LCR, UART_LCR_DLAB);
	abi_out8(ABI_PORT_CONSOLE + UART_DATA, UART_DIVISOR_115200);
	abi_out8(ABI_PORT_CONSOLE + UART_IER, 0);
	abi_out8(ABI_PORT_CONSOLE + UART_LCR, UART_LCR_8N1);
	abi_out8(ABI_PORT_CONSOLE + UART_FCR, UART_FCR_ENABLE_CLEAR);
	abi_out8(ABI_PORT_CONSOLE + UART_MCR, UART_MCR_DTR_RTS);
}

static void console_char(char c)
{
	for (unsigned i = 0; i < UART_POLLS; i++)
		if (abi_in8(ABI_PORT_CONSOLE + UART_LSR) & UART_LSR_THRE)
			break;
	abi_out8(ABI_PORT_CONSOLE + UART_DATA, (uint8_t)c);
}

static void print_number(uint64_t value, unsigned base, bool negative, unsigned width, char fill)
{
	char text[24];
	unsigned at = 0;

	do
		text[at++] = "0123456789abcdef"[value % base];
	while (value /= base);
	if (negative)
		text[at++] = '-';
	while (width > at) {
		console_char(fill);
		width--;
	}
	while (at)
		console_char(text[--at]);
}

static void print_list(const char *format, va_list list)
{
	for (; *format; format++) {
		unsigned width = 0;
		bool wide = false;
		char fill = ' ';

		if (*format != '%') {
			console_char(*format);
			continue;
		}
		if (*++format == '0')
			fill = '0';
		for (; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (unsigned)(*format - '0');
		for (; *format == 'l'; format++)
			wide = true;
		if (*format == 's') {
			for (const char *s = va_arg(list, const char *); *s; s++)
				console_char(*s);
		} else if (*format == 'c') {
			console_char((char)va_arg(list, int));
		} else if (*format == 'd') {
			int64_t value = wide ? va_arg(list, int64_t) : va_arg(list, int);

			print_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0, width, fill);
		} else if (*format == 'u' || *format == 'x') {
			uint64_t value = wide ? va_arg(list, uint64_t) : va_arg(list, unsigned);

			print_number(value, *format == 'x' ? 16 : 10, false, width, fill);
		} else {
			console_char(*format);
		}
	}
}

void print(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	print_list(format, list);
	va_end(list);
}

/* ---- arguments ---- */

#define CMDLINE_MAX 512

static char cmdline[CMDLINE_MAX];

/* The text behind "key=", NULL if the key is absent. */
static const char *arg_find(const char *key)
{
	for (const char *word = cmdline; *word;) {
		const char *w = word, *k = key;

		while (*k && *w == *k)
			w++, k++;
		if (!*k && *w == '=')
			return w + 1;
		while (*word && *word != ' ')
			word++;
		while (*word == ' ')
			word++;
	}
	return NULL;
}

/* The value of a digit, 16 if it is none. */
static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	return 16;
}

uint64_t arg_number(const char *key, uint64_t otherwise)
{
	const char *text = arg_find(key);
	uint64_t value = 0;
	unsigned base = 10;

	if (!text)
		return otherwise;
	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	do {
		if (digit(*text) >= base) {
			report(false, "%s= needs a number", key);
			finish();
		}
		value = value * base + digit(*text++);
	} while (*text && *text != ' ');
	return value;
}

uint64_t arg_range(const char *key, uint64_t otherwise, uint64_t least, uint64_t most)
{
	uint64_t value = arg_number(key, otherwise);

	if (value < least || value > most) {
		report(false, "%s= takes %lu to %lu, not %lu", key, least, most, value);
		finish();
	}
	return value;
}

bool arg_is(const char *key, const char *value)
{
	const char *text = arg_find(key);

	if (!text)
		return false;
	while (*value && *text == *value)
		text++, value++;
	return !*value && (!*text || *text == ' ');
}

/* ---- verdict ---- */

#define DEVIATIONS_PRINTED 16

static uint64_t tests, failures, deviation_count, deviations_seen;

bool report(bool ok, const char *format, ...)
{
	va_list list;

	tests++;
	failures += !ok;
	print(ok ? "PASS: " : "FAIL: ");
	va_start(list, format);
	print_list(format, list);
	va_end(list);
	print("\n");
	return ok;
}

void deviation(const char *format, ...)
{
	va_list list;

	if (deviation_count++ >= DEVIATIONS_PRINTED)
		return;
	print("  ");
	va_start(list, format);
	print_list(format, list);
	va_end(list);
	print("\n");
}

uint64_t deviations(void)
{
	uint64_t fresh = deviation_count - deviations_seen;

	deviations_seen = deviation_count;
	return fresh;
}

void skip(const char *reason) { print("SKIP: %s\n", reason); }

void metric(uint32_t id, const char *name, uint64_t value)
{
	print("%s: %lu\n", name, value);
	abi_metric(id, value > UINT32_MAX ? UINT32_MAX : (uint32_t)value);
}

_Noreturn void finish(void)
{
	print("SUMMARY: %lu tests, %lu unexpected failures\n", tests, failures);
	abi_out8(ABI_PORT_EXIT, failures ? 1 : 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* ---- memory ---- */

#define MEMORY_BASE 0x100000UL
#define IDENTITY_END PAGE_1G

extern char image_end[];
static uint64_t memory_next, memory_limit;
static uint64_t rand_state;

void *memset(void *to, int byte, size_t bytes)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

uint64_t memory_end(void) { return memory_limit; }

uint64_t memory_reserve(uint64_t bytes, uint64_t align)
{
	uint64_t at = (memory_next + align - 1) & ~(align - 1);

	bytes = (bytes + PAGE - 1) & ~(PAGE - 1);
	if (at + bytes > memory_limit || at + bytes < at || at + bytes > IDENTITY_END) {
		report(false, "memory: %lu KiB asked for, %lu KiB there", bytes / 1024,
			(memory_limit - memory_next) / 1024);
		finish();
	}
	memory_next = at + bytes;
	return at;
}

uint64_t memory_take(uint64_t bytes, uint64_t align)
{
	uint64_t at = memory_reserve(bytes, align);

	memset((void *)at, 0, bytes);
	return at;
}

uint64_t rand64(void)
{
	rand_state ^= rand_state >> 12;
	rand_state ^= rand_state << 25;
	rand_state ^= rand_state >> 27;
	return rand_state * 0x2545f4914f6cdd1dUL;
}

uint32_t rand_below(uint64_t limit) { return (uint32_t)((rand64() >> 32) * limit >> 32); }

/* ---- page tables ---- */

#define TABLE_SHIFT(level) (3 + 9 * (level))

uint64_t *paging_new(void)
{
	uint64_t *root = (uint64_t *)memory_take(PAGE, PAGE);

	root[0] = boot_root[0];
	return root;
}

uint64_t *paging_entry(uint64_t *root, uint64_t va, unsigned level, bool make)
{
	uint64_t *table = root;

	for (unsigned at = 4; at > level; at--) {
		uint64_t *entry = &table[va >> TABLE_SHIFT(at) & 511];

		if (!(*entry & PTE_P)) {
			if (!make)
				return NULL;
			*entry = memory_take(PAGE, PAGE) | PTE_P | PTE_W | PTE_U;
		} else if (*entry & PTE_PS) {
			return NULL;
		}
		table = (uint64_t *)(*entry & PTE_FRAME);
	}
	return &table[va >> TABLE_SHIFT(level) & 511];
}

void paging_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t bytes, unsigned level, uint64_t flags)
{
	uint64_t size = 1UL << TABLE_SHIFT(level);

	for (uint64_t at = 0; at < bytes; at += size)
		*paging_entry(root, va + at, level, true) = (pa + at) | flags | (level > 1 ? PTE_PS : 0);
}

void paging_load(uint64_t *root) { cr3_write((uint64_t)root); }

#define CPUID_FEATURES7 7
#define CPUID_EXTENDED 0x80000001u
#define CPUID_WIDTHS 0x80000008u

unsigned cpu_phys_bits(void) { return cpuid(CPUID_WIDTHS, 0).a & 0xff; }
bool cpu_has_1g(void) { return cpuid(CPUID_EXTENDED, 0).d >> 26 & 1; }
bool cpu_has_smep(void) { return cpuid(0, 0).a >= CPUID_FEATURES7 && (cpuid(CPUID_FEATURES7, 0).b >> 7 & 1); }
bool cpu_has_smap(void) { return cpuid(0, 0).a >= CPUID_FEATURES7 && (cpuid(CPUID_FEATURES7, 0).b >> 20 & 1); }

/* ---- traps ---- */

/* What a stub in start.S and the CPU push. */
struct frame {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, flags, rsp, ss;
};

struct gate {
	uint16_t offset_low, selector, attributes, offset_middle;
	uint32_t offset_high, reserved;
};

#define GATES 256
#define STUB_VECTORS 48
#define STUB_BYTES 16
#define SEL_DATA 0x10
#define SEL_CODE 0x18
#define GATE_INTERRUPT 0x8e00
#define GATE_CPL3 0x6000

extern char trap_stubs[], trap_syscall[], trap_return[];
extern char access_code[], access_code_end[], access_read[], access_write[], access_fetch[], access_leave[];
extern uint64_t trap_stack;
uint64_t trap_call(uint64_t (*fn)(uint64_t, uint64_t), uint64_t a, uint64_t b);
uint64_t trap_call_user(uint64_t at, uint64_t a, uint64_t b, uint64_t stack);
void trap(struct frame *frame);

void (*irq_handler)(unsigned irq);
static struct gate idt[GATES];
static struct fault caught;
static uint64_t user_code, user_stack;

static void gate_set(unsigned vector, const char *to, uint16_t attributes)
{
	uint64_t at = (uint64_t)to;

	idt[vector] = (struct gate){(uint16_t)at, SEL_CODE, attributes, (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

static void trap_setup(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, (uint64_t)idt};

	for (unsigned i = 0; i < STUB_VECTORS; i++)
		gate_set(i, trap_stubs + i * STUB_BYTES, GATE_INTERRUPT);
	gate_set(VECTOR_SYSCALL, trap_syscall, GATE_INTERRUPT | GATE_CPL3);
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void trap(struct frame *frame)
{
	uint64_t cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	if (frame->vector >= VECTOR_IRQ && frame->vector < STUB_VECTORS && irq_handler) {
		irq_handler((unsigned)(frame->vector - VECTOR_IRQ));
		return;
	}
	if (!trap_stack) {
		report(false, "unexpected %s, error %lx, rip %lx, rsp %lx, cr2 %lx", vector_name((int)frame->vector),
			frame->error, frame->rip, frame->rsp, cr2);
		finish();
	}
	if (frame->vector != VECTOR_SYSCALL)
		caught = (struct fault){(int)frame->vector, (uint32_t)frame->error, cr2, frame->rip};
	frame->rip = (uint64_t)trap_return;
	frame->cs = SEL_CODE;
	frame->ss = SEL_DATA;
	frame->rsp = trap_stack;
	frame->flags &= ~(FLAGS_IF | FLAGS_AC);
}

const char *vector_name(int vector)
{
	static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS",
		"#NP", "#SS", "#GP", "#PF", "15", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP"};

	if (vector == FAULT_NONE)
		return "no fault";
	return vector >= 0 && vector < (int)(sizeof(names) / sizeof(*names)) ? names[vector] : "an interrupt";
}

uint64_t trap_try(struct fault *fault, uint64_t (*fn)(uint64_t, uint64_t), uint64_t a, uint64_t b)
{
	uint64_t result;

	caught = (struct fault){FAULT_NONE, 0, 0, 0};
	result = trap_call(fn, a, b);
	*fault = caught;
	return result;
}

static char *access_routine(enum access access)
{
	return access == ACCESS_READ ? access_read : access == ACCESS_WRITE ? access_write : access_fetch;
}

uint64_t access_try(struct fault *fault, enum access access, uint64_t va, uint64_t value)
{
	return trap_try(fault, (uint64_t(*)(uint64_t, uint64_t))access_routine(access), va, value);
}

uint64_t access_try_user(struct fault *fault, enum access access, uint64_t va, uint64_t value)
{
	uint64_t at = user_code + (uint64_t)(access_routine(access) - access_code);
	uint64_t result;

	caught = (struct fault){FAULT_NONE, 0, 0, 0};
	result = trap_call_user(at, va, value, user_stack);
	*fault = caught;
	return result;
}

void user_setup(uint64_t *root, uint64_t va)
{
	uint64_t code = memory_take(2 * PAGE, PAGE);
	uint64_t *top = (uint64_t *)(code + 2 * PAGE) - 1;

	memcpy((void *)code, access_code, (size_t)(access_code_end - access_code));
	*top = va + (uint64_t)(access_leave - access_code);
	paging_map(root, va, code, PAGE, 1, PTE_P | PTE_U);
	paging_map(root, va + PAGE, code + PAGE, PAGE, 1, PTE_P | PTE_W | PTE_U | PTE_NX);
	user_code = va;
	user_stack = va + 2 * PAGE - sizeof(*top);
}

/* ---- the way in, from start.S ---- */

#define SEED_DEFAULT 1
#define SEED_MIX 0x9e3779b97f4a7c15UL

void image_start(uint32_t magic, const struct abi_multiboot *info);
void image_start(uint32_t magic, const struct abi_multiboot *info)
{
	console_setup();
	if (magic == ABI_MULTIBOOT_MAGIC && info->flags & ABI_MULTIBOOT_CMDLINE) {
		const char *from = (const char *)(uint64_t)info->cmdline;

		for (unsigned i = 0; i < CMDLINE_MAX - 1 && from[i]; i++)
			cmdline[i] = from[i];
	}
	trap_setup();
	if (magic != ABI_MULTIBOOT_MAGIC || !(info->flags & ABI_MULTIBOOT_MEMORY)) {
		report(false, "the loader gave no multiboot 1 information, or no memory size");
		finish();
	}
	memory_limit = MEMORY_BASE + (uint64_t)info->memory_upper * 1024;
	memory_next = (uint64_t)image_end;
	rand_state = (arg_number("seed", SEED_DEFAULT) + 1) * SEED_MIX;
	image_main();
	finish();
}
