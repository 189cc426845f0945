/* SPDX-License-Identifier: MIT */
#include "guest/ioapic.h"
#include "mm/host.h"

/* Numbers of the registers behind the window. */
#define ID 0
#define VERSION 1
#define ARBITRATION 2
#define BOOT_CONFIGURATION 3
#define TABLE 0x10 /* two for each pin, the low half first */

#define ID_SHIFT 24
#define ID_MASK 0xf
#define LAST_PIN_SHIFT 16
#define BY_SYSTEM_BUS 1 /* boot configuration: messages go over the processors' bus, not the APICs' own */

#define WRITABLE \
	(IOAPIC_VECTOR | 7UL << IOAPIC_DELIVERY_SHIFT | IOAPIC_LOGICAL | IOAPIC_ACTIVE_LOW | IOAPIC_LEVEL | IOAPIC_MASKED | \
		0xffUL << IOAPIC_DESTINATION_SHIFT)

static enum apic_delivery delivery(uint64_t entry)
{
	return entry >> IOAPIC_DELIVERY_SHIFT & 7;
}

/* NMI, INIT and ExtINT are edges, whatever their trigger mode says (data sheet, 3.2.4). */
static bool by_level(uint64_t entry)
{
	return entry & IOAPIC_LEVEL && (delivery(entry) == APIC_FIXED || delivery(entry) == APIC_LOWEST);
}

static bool deliverable(enum apic_delivery d)
{
	switch (d) {
	case APIC_FIXED:
	case APIC_LOWEST:
	case APIC_NMI:
	case APIC_INIT:
	case APIC_EXTINT:
		return true;
	case APIC_SMI: /* there is no system management mode */
	case APIC_STARTUP:
		break;
	}
	return false;
}

/* A level message is due: it was not sent yet, or nobody accepted it. */
static bool due(const struct ioapic *io, unsigned pin)
{
	uint64_t e = io->entry[pin];

	return io->asserted >> pin & 1 && by_level(e) && !(e & (IOAPIC_MASKED | IOAPIC_REMOTE_IRR));
}

static bool send(struct ioapic *io, unsigned pin)
{
	uint64_t e = io->entry[pin];
	struct apic_message m = {
		.destination = (uint32_t)(e >> IOAPIC_DESTINATION_SHIFT),
		.vector = (uint8_t)(e & IOAPIC_VECTOR),
		.delivery = delivery(e),
		.logical = e & IOAPIC_LOGICAL,
		.level = by_level(e),
	};
	bool accepted = deliverable(m.delivery) && io->send(io->to, &m);

	io->sent[pin] += accepted;
	io->refused += !accepted;
	return accepted;
}

static void send_due(struct ioapic *io, unsigned pin)
{
	if (due(io, pin) && send(io, pin))
		io->entry[pin] |= IOAPIC_REMOTE_IRR;
}

void ioapic_set_line(struct ioapic *io, unsigned pin, bool asserted)
{
	uint32_t bit = 1u << pin % IOAPIC_PINS;
	bool rises = asserted && !(io->asserted & bit);
	uint64_t e = io->entry[pin % IOAPIC_PINS];

	CHECK(pin < IOAPIC_PINS);
	io->asserted = asserted ? io->asserted | bit : io->asserted & ~bit;
	if (by_level(e))
		send_due(io, pin);
	else if (rises && e & IOAPIC_MASKED)
		io->lost++;
	else if (rises)
		send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(io->entry[pin] & IOAPIC_REMOTE_IRR) || (io->entry[pin] & IOAPIC_VECTOR) != vector)
			continue;
		io->entry[pin] &= ~IOAPIC_REMOTE_IRR;
		send_due(io, pin);
	}
}

uint32_t ioapic_read(const struct ioapic *io, uint8_t number)
{
	unsigned pin = (number - TABLE) / 2u;
	uint64_t e;

	switch (number) {
	case ID:
	case ARBITRATION:
		return (uint32_t)io->id << ID_SHIFT;
	case VERSION:
		return IOAPIC_VERSION | (IOAPIC_PINS - 1) << LAST_PIN_SHIFT;
	case BOOT_CONFIGURATION:
		return BY_SYSTEM_BUS;
	}
	if (number < TABLE || pin >= IOAPIC_PINS)
		return UINT32_MAX;
	e = io->entry[pin] | (due(io, pin) ? IOAPIC_PENDING : 0);
	return (uint32_t)(number & 1 ? e >> 32 : e);
}

void ioapic_write(struct ioapic *io, uint8_t number, uint32_t value)
{
	unsigned pin = (number - TABLE) / 2u;
	uint64_t e, half = number & 1 ? 0xffffffffUL << 32 : 0xffffffffUL;

	if (number == ID)
		io->id = value >> ID_SHIFT & ID_MASK;
	if (number < TABLE || pin >= IOAPIC_PINS)
		return;
	e = (uint64_t)value << (number & 1 ? 32 : 0);
	e = (io->entry[pin] & ~(half & WRITABLE)) | (e & half & WRITABLE);
	/* To make an edge of it and a level again ends a level interrupt: guests do so where there is no EOI register. */
	io->entry[pin] = by_level(e) ? e : e & ~IOAPIC_REMOTE_IRR;
	send_due(io, pin);
}

void ioapic_access(void *ioapic, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value)
{
	struct ioapic *io = ioapic;
	uint32_t written = (uint32_t)*value;

	(void)v;
	if (!write)
		*value = UINT64_MAX;
	lock_take(io->lock);
	switch (offset) {
	case IOAPIC_SELECT:
		if (write)
			io->select = (uint8_t)written;
		else
			*value = io->select;
		break;
	case IOAPIC_WINDOW:
		if (!write)
			*value = ioapic_read(io, io->select);
		else if (bytes >= sizeof written)
			ioapic_write(io, io->select, written);
		break;
	case IOAPIC_EOI:
		if (write)
			ioapic_eoi(io, (uint8_t)written);
		break;
	}
	lock_drop(io->lock);
}

void ioapic_init(struct ioapic *io, struct lock *lock, apic_send send, void *to)
{
	*io = (struct ioapic){.lock = lock, .send = send, .to = to};
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		io->entry[pin] = IOAPIC_MASKED;
}

void ioapic_attach(struct ioapic *io, struct mmio *m)
{
	mmio_add(m, gpa(IOAPIC_ADDRESS), IOAPIC_BYTES, ioapic_access, io);
}
