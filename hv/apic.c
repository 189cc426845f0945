/* SPDX-License-Identifier: MIT */
/* Local APIC (SDM 3A chapter 10), by memory or, in x2APIC mode, by MSRs. */
#include "hv/apic.h"
#include "hv/irqoff.h"
#include "hv/x86.h"

/* Register offsets in the memory page; the MSR of a register is X2APIC_BASE + offset / 16. */
#define APIC_ID 0x20
#define APIC_TPR 0x80
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_SPURIOUS_ENABLE 0x100
#define APIC_ICR_LOW 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_TIMER_COUNT 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE 0x3e0
#define APIC_TIMER_DIVIDE_BY_1 0xb
#define APIC_LVT_MASKED 0x10000
#define X2APIC_BASE 0x800
#define APIC_ID_SHIFT 24
#define XAPIC_MAX_ID 0xfe

/* Interrupt command register. */
#define ICR_FIXED 0x000
#define ICR_NMI 0x400
#define ICR_INIT 0x500
#define ICR_STARTUP 0x600
#define ICR_PENDING 0x1000
#define ICR_ASSERT 0x4000
#define ICR_POLLS 1000000

/* 8259A pair: both masked, moved away from the exceptions. */
#define PIC1_COMMAND 0x20
#define PIC1_DATA 0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA 0xa1
#define PIC_INIT_ICW4 0x11
#define PIC_CASCADE 2
#define PIC_8086 1
#define PIC_ALL 0xff

/* 8254 channel 2, whose output can be read. */
#define PIT_HZ 1193182u
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_CHANNEL2_MODE0 0xb0
#define PIT_GATE 0x61
#define PIT_GATE_ENABLE 1
#define PIT_GATE_SPEAKER 2
#define PIT_GATE_OUTPUT 0x20
#define PIT_CALIBRATION_COUNT 11932u	/* 10 ms */
#define CALIBRATIONS 3
#define PIT_POLLS 20000000

#define HZ_UNKNOWN 1000000000u
#define DELAY_MAX_US 1000000u

static bool x2apic;
static volatile uint32_t *apic_page;
static uint64_t tsc_hz = HZ_UNKNOWN;
/* APIC timer ticks in a TSC tick, 32.32 fixed point. */
static uint64_t timer_per_tsc;

static uint32_t apic_read(unsigned offset)
{
	return x2apic ? (uint32_t)rdmsr(X2APIC_BASE + offset / 16) : apic_page[offset / 4];
}

static void apic_write(unsigned offset, uint32_t value)
{
	if (x2apic)
		wrmsr(X2APIC_BASE + offset / 16, value);
	else
		apic_page[offset / 4] = value;
}

static void pic_mask(void)
{
	outb(PIC1_COMMAND, PIC_INIT_ICW4);
	outb(PIC2_COMMAND, PIC_INIT_ICW4);
	outb(PIC1_DATA, VECTOR_FIRST_IRQ);
	outb(PIC2_DATA, VECTOR_FIRST_IRQ + 8);
	outb(PIC1_DATA, 1 << PIC_CASCADE);
	outb(PIC2_DATA, PIC_CASCADE);
	outb(PIC1_DATA, PIC_8086);
	outb(PIC2_DATA, PIC_8086);
	outb(PIC1_DATA, PIC_ALL);
	outb(PIC2_DATA, PIC_ALL);
}

bool apic_init(void)
{
	struct cpuid features = cpuid(1, 0);
	if (!(features.edx & CPUID_1_EDX_APIC))
		return false;
	uint64_t base = rdmsr(MSR_APIC_BASE);
	if (!apic_page)
		pic_mask();
	apic_page = (volatile uint32_t *)(base & APIC_BASE_ADDRESS);
	x2apic = features.ecx & CPUID_1_ECX_X2APIC;
	/* From disabled to x2APIC goes by way of xAPIC only (SDM 3A 10.12.5). */
	wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
	if (x2apic)
		wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	apic_write(APIC_SPURIOUS, APIC_SPURIOUS_ENABLE | VECTOR_SPURIOUS);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_TIMER_DIVIDE, APIC_TIMER_DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
	return true;
}

uint32_t apic_id(void)
{
	return x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> APIC_ID_SHIFT;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static bool apic_idle(void)
{
	for (unsigned i = 0; i < ICR_POLLS; i++) {
		if (!(apic_read(APIC_ICR_LOW) & ICR_PENDING))
			return true;
		cpu_relax();
	}
	return false;
}

static bool apic_send(uint32_t id, uint32_t command)
{
	if (x2apic) {
		/* Stores before it must be visible to the handler, and WRMSR to an x2APIC register does not
		 * serialise (SDM 3A 10.12.3). */
		asm volatile("mfence\n\tlfence" : : : "memory");
		wrmsr(X2APIC_BASE + APIC_ICR_LOW / 16, (uint64_t)id << 32 | command | ICR_ASSERT);
		return true;
	}
	if (id > XAPIC_MAX_ID)
		return false;
	/* The two halves belong together, and a handler may send too. */
	bool enabled = irq_enabled();
	uint32_t off = irqoff_begin();
	bool sent = apic_idle();
	if (sent) {
		apic_write(APIC_ICR_HIGH, id << APIC_ID_SHIFT);
		apic_write(APIC_ICR_LOW, command | ICR_ASSERT);
		sent = apic_idle();
	}
	if (enabled)
		irqoff_end(off, "xAPIC command");
	return sent;
}

bool apic_send_kick(uint32_t id) { return apic_send(id, ICR_FIXED | VECTOR_KICK); }
bool apic_send_nmi(uint32_t id) { return apic_send(id, ICR_NMI); }
bool apic_send_init(uint32_t id) { return apic_send(id, ICR_INIT); }
bool apic_send_sipi(uint32_t id, uint64_t page) { return apic_send(id, ICR_STARTUP | (uint32_t)(page >> 12)); }

uint32_t apic_destination(void)
{
	return x2apic ? 0 : apic_read(APIC_ICR_HIGH);
}

void apic_set_destination(uint32_t destination)
{
	if (!x2apic)
		apic_write(APIC_ICR_HIGH, destination);
}

/* Lets 8254 channel 2 count down once; false when it never ends. */
static bool pit_wait(unsigned count)
{
	uint8_t gate = inb(PIT_GATE) & ~(PIT_GATE_SPEAKER | PIT_GATE_ENABLE);
	outb(PIT_GATE, gate);
	outb(PIT_COMMAND, PIT_CHANNEL2_MODE0);
	outb(PIT_CHANNEL2, count & 0xff);
	outb(PIT_CHANNEL2, count >> 8);
	outb(PIT_GATE, gate | PIT_GATE_ENABLE);
	for (unsigned i = 0; i < PIT_POLLS; i++)
		if (inb(PIT_GATE) & PIT_GATE_OUTPUT)
			return true;
	return false;
}

/* TSC and timer ticks of one PIT_CALIBRATION_COUNT; false when there are none. */
static bool measure(uint64_t *ticks, uint64_t *timer)
{
	apic_write(APIC_TIMER_COUNT, UINT32_MAX);
	uint64_t tsc = rdtsc();
	bool ok = pit_wait(PIT_CALIBRATION_COUNT);
	*ticks = rdtsc() - tsc;
	*timer = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
	apic_write(APIC_TIMER_COUNT, 0);
	return ok && *ticks && *timer;
}

bool apic_calibrate(void)
{
	uint64_t ticks, timer, best = UINT64_MAX;
	if (!pit_wait(PIT_CALIBRATION_COUNT / 10)) /* start from an edge, with warm code */
		return false;
	apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED | VECTOR_TIMER);
	/* An emulator that is held up lengthens a measurement; nothing shortens it. */
	for (unsigned i = 0; i < CALIBRATIONS; i++) {
		if (!measure(&ticks, &timer))
			return false;
		if (ticks >= best)
			continue;
		best = ticks;
		tsc_hz = ticks * PIT_HZ / PIT_CALIBRATION_COUNT;
		timer_per_tsc = (timer << 32) / ticks;
	}
	apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
	return true;
}

uint64_t apic_tsc_hz(void)
{
	return tsc_hz;
}

void timer_arm(uint64_t tsc_deadline)
{
	uint64_t now = rdtsc();
	uint64_t wait = tsc_deadline > now ? tsc_deadline - now : 0;
	unsigned __int128 count = ((unsigned __int128)wait * timer_per_tsc) >> 32;
	apic_write(APIC_TIMER_COUNT, count < 1 ? 1 : count > UINT32_MAX ? UINT32_MAX : (uint32_t)count);
}

void timer_cancel(void)
{
	apic_write(APIC_TIMER_COUNT, 0);
}

void timer_delay_us(uint32_t us)
{
	if (us > DELAY_MAX_US)
		us = DELAY_MAX_US;
	uint64_t end = rdtsc() + tsc_hz * us / DELAY_MAX_US;
	while (rdtsc() < end)
		cpu_relax();
}
