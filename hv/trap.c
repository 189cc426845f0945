/* SPDX-License-Identifier: MIT */
#include "boot/bootinfo.h"
#include "hv/apic.h"
#include "hv/cpu.h"
#include "hv/gdb_stop.h"
#include "hv/gdb_stub.h"
#include "hv/irqoff.h"
#include "guest/text.h"
#include "hv/panic.h"
#include "hv/trap.h"
#include "hv/x86.h"

#define VECTORS 256
#define ENTRY_BYTES 16
#define GATE_INTERRUPT 0x8e	/* present, 64-bit interrupt gate, privilege 0 */
#define TRAP_TEXT 128

/* Interrupt gate (SDM 3A 6.14.1). */
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct extable_entry {
	uint64_t instruction, fixup;
};

extern const char trap_entries[VECTORS][ENTRY_BYTES];
extern const struct extable_entry extable_start[], extable_end[];

struct trap_window trap_nmi_window;

static struct gate idt[VECTORS] __attribute__((aligned(16)));

static const char *const exception_names[TRAP_EXCEPTIONS] = {
	"#DE divide error", "#DB debug", "NMI", "#BP breakpoint", "#OF overflow", "#BR bound", "#UD invalid opcode",
	"#NM no FPU", "#DF double fault", "coprocessor overrun", "#TS invalid TSS", "#NP segment not present",
	"#SS stack fault", "#GP general protection", "#PF page fault", "reserved 15", "#MF x87 error",
	"#AC alignment", "#MC machine check", "#XM SIMD error", "#VE virtualisation", "#CP control protection",
};

void trap_init(void)
{
	for (unsigned v = 0; v < VECTORS; v++) {
		uint64_t entry = (uint64_t)trap_entries[v];
		idt[v] = (struct gate){
			.offset_low = (uint16_t)entry,
			.offset_middle = (uint16_t)(entry >> 16),
			.offset_high = (uint32_t)(entry >> 32),
			.selector = SELECTOR_CODE,
			.type = GATE_INTERRUPT,
		};
	}
	idt[TRAP_NMI].ist = IST_NMI;
	idt[TRAP_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
	idt[TRAP_MACHINE_CHECK].ist = IST_MACHINE_CHECK;
}

uint64_t trap_idt_base(void)
{
	return (uint64_t)idt;
}

void trap_load_idt(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, trap_idt_base()};
	asm volatile("lidt %0" : : "m"(pointer));
}

static bool trap_fixup(struct trap_frame *frame)
{
	for (const struct extable_entry *e = extable_start; e < extable_end; e++) {
		if (e->instruction == frame->rip) {
			frame->rip = e->fixup;
			return true;
		}
	}
	return false;
}

void trap_handle_irq(unsigned vector)
{
	struct cpu *c = this_cpu();
	switch (vector) {
	case VECTOR_TIMER:
		count_add(&c->timer_events, 1);
		fetch_or_seq(&c->asked, CPU_ASKED_TIMER); /* after the count; partner: timer_seen() in runner.c */
		apic_eoi();
		return;
	case VECTOR_KICK:
		count_add(&c->kicks, 1);
		apic_eoi();
		return;
	default:
		/* Spurious ones of the APIC (no EOI) and of the masked 8259s. */
		return;
	}
}

void trap_handle(struct trap_frame *frame)
{
	if (frame->vector >= TRAP_EXCEPTIONS) {
		uint32_t off = irqoff_now();
		trap_handle_irq((unsigned)frame->vector);
		irqoff_note(off, "interrupt handler");
		return;
	}
	if (frame->vector == TRAP_NMI) {
		count_add(&this_cpu()->nmis, 1);
		fetch_or_seq(&this_cpu()->asked, CPU_ASKED_NMI);
		if (frame->rip >= trap_nmi_window.start && frame->rip < trap_nmi_window.end)
			frame->rip = trap_nmi_window.resume;
		panic_check_stop(frame);
		gdb_stop_nmi(frame);
		return;
	}
	if ((frame->vector == TRAP_GENERAL_PROTECTION || frame->vector == TRAP_PAGE_FAULT) && trap_fixup(frame))
		return;
	if ((frame->vector == TRAP_BREAKPOINT || frame->vector == TRAP_DEBUG) && gdb_stub_trap(frame))
		return;

	char why[TRAP_TEXT];
	const char *name = exception_names[frame->vector];
	text_format(why, sizeof(why), "unexpected trap %lu (%s), error code %lx", frame->vector, name ? name : "reserved",
		frame->error);
	panic_at(frame, why);
}
