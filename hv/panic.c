/* SPDX-License-Identifier: MIT */
#include "hv/apic.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/gdb_stub.h"
#include "guest/text.h"
#include "hv/log.h"
#include "hv/panic.h"
#include "hv/platform.h"
#include "hv/support.h"
#include "hv/x86.h"

#define PANIC_EXIT_CODE 5
#define PANIC_LINE 512
#define BACKTRACE_FRAMES 24
#define STOP_WAIT_US 100000
#define STOP_WAIT_STEP_US 100

/* Made from the linked image by tools/symbols: addresses ascend. */
struct symbol {
	uint32_t address, name;
};
extern const uint32_t symbol_count;
extern const struct symbol symbol_table[];
extern const char symbol_names[];
extern const char image_start[], text_end[], image_end[];

/* 0, or the index + 1 of the CPU that panics. */
static atomic32 panicking;

__attribute__((format(printf, 1, 2))) static void panic_print(const char *fmt, ...)
{
	char line[PANIC_LINE];
	va_list args;
	va_start(args, fmt);
	size_t n = text_format_list(line, sizeof(line), fmt, args);
	va_end(args);
	for (size_t i = 0; i < n; i++)
		console_putc(line[i]);
	console_putc('\n');
}

const char *panic_symbol(uint64_t address, uint64_t *offset)
{
	*offset = 0;
	if (address < (uint64_t)image_start || address >= (uint64_t)text_end || !symbol_count)
		return "?";
	uint32_t low = 0, high = symbol_count;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (symbol_table[middle].address <= address)
			low = middle;
		else
			high = middle;
	}
	*offset = address - symbol_table[low].address;
	return symbol_names + symbol_table[low].name;
}

static bool on_a_stack(uint64_t rbp)
{
	struct cpu *c = this_cpu();
	uint64_t end = rbp + 16;
	bool in_image = rbp >= (uint64_t)image_start && end <= (uint64_t)image_end;
	bool in_cpu = rbp >= (uint64_t)c && end <= (uint64_t)(c + 1);
	return rbp % 8 == 0 && (in_image || in_cpu);
}

static void print_backtrace(uint64_t rip, uint64_t rbp)
{
	for (unsigned i = 0; i < BACKTRACE_FRAMES; i++) {
		uint64_t offset;
		const char *name = panic_symbol(rip, &offset);
		panic_print("umbra:   #%u %016lx %s+0x%lx", i, rip, name, offset);
		if (!on_a_stack(rbp))
			break;
		const uint64_t *frame = (const uint64_t *)rbp;
		if (!frame[1] || frame[0] <= rbp)
			break;
		rbp = frame[0];
		rip = frame[1];
	}
}

static void print_registers(const struct trap_frame *f)
{
	panic_print("umbra:   rip %016lx cs  %04lx rflags %016lx rsp %016lx ss %04lx", f->rip, f->cs, f->rflags, f->rsp,
		f->ss);
	panic_print("umbra:   rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
	panic_print("umbra:   rsi %016lx rdi %016lx rbp %016lx r8  %016lx", f->rsi, f->rdi, f->rbp, f->r8);
	panic_print("umbra:   r9  %016lx r10 %016lx r11 %016lx r12 %016lx", f->r9, f->r10, f->r11, f->r12);
	panic_print("umbra:   r13 %016lx r14 %016lx r15 %016lx", f->r13, f->r14, f->r15);
	panic_print("umbra:   cr0 %016lx cr2 %016lx cr3 %016lx cr4 %016lx", read_cr0(), read_cr2(), read_cr3(),
		read_cr4());
}

static void print_support(const char *text)
{
	panic_print("umbra: %s", text);
}

static void stop_others(void)
{
	struct cpu *me = this_cpu();
	for (unsigned i = 0; i < cpu_count(); i++)
		if (cpu_get(i) != me)
			apic_send_nmi(cpu_get(i)->apic_id);
	unsigned waiting = 1;
	for (unsigned us = 0; us < STOP_WAIT_US && waiting; us += STOP_WAIT_STEP_US) {
		waiting = 0;
		for (unsigned i = 0; i < cpu_count(); i++)
			waiting += cpu_get(i) != me && !load_acquire(&cpu_get(i)->stopped);
		timer_delay_us(STOP_WAIT_STEP_US);
	}
}

static void print_others(void)
{
	for (unsigned i = 0; i < cpu_count(); i++) {
		struct cpu *c = cpu_get(i);
		if (c == this_cpu())
			continue;
		if (!load_acquire(&c->stopped)) {
			panic_print("umbra: CPU %u does not answer", i);
			continue;
		}
		uint64_t offset;
		const char *name = panic_symbol(c->stopped_at->rip, &offset);
		panic_print("umbra: CPU %u was at %016lx %s+0x%lx", i, c->stopped_at->rip, name, offset);
	}
}

void panic_check_stop(struct trap_frame *frame)
{
	struct cpu *me = this_cpu();
	uint32_t by = load_acquire(&panicking);
	if (!by || by == me->index + 1)
		return;
	me->stopped_at = frame;
	store_release(&me->stopped, 1);
	for (;;)
		halt_once();
}

_Noreturn void panic_at(struct trap_frame *frame, const char *why)
{
	irq_disable();
	gdb_stub_caught(why);
	const uint64_t *caller = __builtin_frame_address(0);
	/* In the call, for what is behind one that does not return is another function. */
	struct trap_frame here = {.rip = caller[1] - 1, .rbp = caller[0], .rsp = (uint64_t)(caller + 2), .cs = SELECTOR_CODE,
		.ss = SELECTOR_DATA, .rflags = read_rflags()};
	struct cpu *me = this_cpu();
	uint32_t nobody = 0;
	if (!cmpxchg_seq(&panicking, &nobody, me->index + 1)) {
		if (nobody == me->index + 1) {
			panic_print("umbra: PANIC again, in the panic: %s", why);
			panic_print("UMBRA PANIC");
			platform_stop(PANIC_EXIT_CODE);
		}
		for (;;)
			halt_once(); /* until the other's NMI takes the state down */
	}
	stop_others();
	log_flush(true);
	support_print(print_support); /* first, so that what follows is what a small screen still shows */
	panic_print("umbra: PANIC on CPU %u (APIC id %u): %s", me->index, me->apic_id, why);
	if (frame)
		print_registers(frame);
	else
		frame = &here;
	print_backtrace(frame->rip, frame->rbp);
	print_others();
	if (platform_hint())
		panic_print("umbra: %s", platform_hint());
	gdb_stub_panic(frame);
	panic_print("UMBRA PANIC");
	platform_stop(PANIC_EXIT_CODE);
}
