/* SPDX-License-Identifier: MIT */
/* Bochs has guests that no interrupt gets out of (see host_kick()), an NMI does. The 8254's channel 0 drives interrupt
 * pin 2 of the I/O APIC (pin 0 of the ACPI interrupt override), which can be told to deliver it as NMI
 * (82093AA, 3.2.4). */
#include "hv/heartbeat.h"
#include "hv/apic.h"
#include "hv/x86.h"

#define HEARTBEAT_HZ 200u
#define PIT_HZ 1193182u
#define PIT_CHANNEL0 0x40
#define PIT_COMMAND 0x43
#define PIT_CHANNEL0_MODE2 0x34

#define IOAPIC_BASE 0xfec00000UL
#define IOAPIC_SELECT 0
#define IOAPIC_DATA 4 /* in 32-bit words */
#define IOAPIC_VERSION 1
#define IOAPIC_ENTRY(pin) (0x10 + 2 * (pin))
#define IOAPIC_TIMER_PIN 2
#define ENTRY_NMI (4u << 8)
#define ENTRY_DESTINATION_SHIFT 24

static volatile uint32_t *const ioapic = (volatile uint32_t *)IOAPIC_BASE;

static uint32_t ioapic_read(uint32_t reg)
{
	ioapic[IOAPIC_SELECT] = reg;
	return ioapic[IOAPIC_DATA];
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	ioapic[IOAPIC_SELECT] = reg;
	ioapic[IOAPIC_DATA] = value;
}

bool heartbeat_start(void)
{
	uint32_t version = ioapic_read(IOAPIC_VERSION);

	if (version == 0 || version == UINT32_MAX || (version >> 16 & 0xff) < IOAPIC_TIMER_PIN)
		return false;
	ioapic_write(IOAPIC_ENTRY(IOAPIC_TIMER_PIN) + 1, apic_id() << ENTRY_DESTINATION_SHIFT);
	ioapic_write(IOAPIC_ENTRY(IOAPIC_TIMER_PIN), ENTRY_NMI);
	outb(PIT_COMMAND, PIT_CHANNEL0_MODE2);
	outb(PIT_CHANNEL0, PIT_HZ / HEARTBEAT_HZ & 0xff);
	outb(PIT_CHANNEL0, PIT_HZ / HEARTBEAT_HZ >> 8);
	return true;
}
