/* SPDX-License-Identifier: MIT */
/* The I/O APIC (Intel 82093AA data sheet, order number 290566), 24 pins, with the EOI register of its successors
 * (version 0x20).
 *
 * A pin's level is "asserted" or not, whatever the polarity: that a guest programs is kept and shown, no more. An edge
 * that comes while its pin is masked is lost. A level pin sends while it is asserted, unmasked and its remote IRR clear. */
#ifndef GUEST_IOAPIC_H
#define GUEST_IOAPIC_H

#include "guest/apic.h"
#include "guest/mmio.h"
#include "mm/lock.h"

#define IOAPIC_ADDRESS 0xfec00000UL /* gpa */
#define IOAPIC_BYTES 0x1000u
#define IOAPIC_PINS 24u
#define IOAPIC_VERSION 0x20

/* Memory-mapped registers, 32 bits each, by offset from the address. Reads of anything else give all ones. */
#define IOAPIC_SELECT 0x00 /* number of the register in the window */
#define IOAPIC_WINDOW 0x10
#define IOAPIC_EOI 0x40 /* write: a vector */

/* Bits of a redirection entry. */
#define IOAPIC_VECTOR 0xffUL
#define IOAPIC_DELIVERY_SHIFT 8
#define IOAPIC_LOGICAL (1UL << 11)
#define IOAPIC_PENDING (1UL << 12) /* delivery status: a message is still to be accepted; read-only */
#define IOAPIC_ACTIVE_LOW (1UL << 13)
#define IOAPIC_REMOTE_IRR (1UL << 14) /* a level message was accepted, its EOI has not come; read-only */
#define IOAPIC_LEVEL (1UL << 15)
#define IOAPIC_MASKED (1UL << 16)
#define IOAPIC_DESTINATION_SHIFT 56

struct ioapic {
	struct lock *lock; /* guards all of it: the guest's bus.lock */
	apic_send send;
	void *to;
	uint64_t entry[IOAPIC_PINS]; /* redirection table, without IOAPIC_PENDING */
	uint32_t asserted;           /* a bit for each pin */
	uint8_t select, id;

	uint64_t sent[IOAPIC_PINS]; /* messages accepted */
	uint64_t refused;           /* messages that nobody accepted */
	uint64_t lost;              /* edges that came while masked */
};

/* As after reset: ID 0, every pin masked. Messages go to send(to, …), under `lock`. */
void ioapic_init(struct ioapic *io, struct lock *lock, apic_send send, void *to);
/* Connects it to the guest's memory. */
void ioapic_attach(struct ioapic *io, struct mmio *m);

/* Sets a pin, 0 … 23; a rising one is an edge. This and the next three: the caller holds the lock. */
void ioapic_set_line(struct ioapic *io, unsigned pin, bool asserted);
/* A local APIC's EOI of a level interrupt: the pins of this vector may send again, and do while asserted. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);
/* The register that IOAPIC_SELECT numbers (data sheet, 3.2). */
uint32_t ioapic_read(const struct ioapic *io, uint8_t number);
void ioapic_write(struct ioapic *io, uint8_t number, uint32_t value);
/* As mmio_handler; takes the lock. Below 32 bits: the selector and the EOI register take the low byte, reads give the
 * lowest bytes, writes of the window are ignored. Above: the lower 32 bits. */
void ioapic_access(void *ioapic, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value);

#endif
