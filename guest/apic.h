/* SPDX-License-Identifier: MIT */
/* Interrupt messages from the I/O APIC and from local APICs to local APICs (Intel SDM vol. 3, chapter 10). */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* As the delivery mode fields of the interrupt command register and of redirection entries number them; 3 is reserved. */
enum apic_delivery { APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_NMI = 4, APIC_INIT, APIC_STARTUP, APIC_EXTINT };

struct apic_message {
	uint32_t destination; /* an APIC ID, or a logical address; the I/O APIC's have 8 bits, where 0xff is everyone */
	uint8_t vector;
	enum apic_delivery delivery;
	bool logical; /* the destination is a logical address */
	bool level;   /* level triggered: its EOI goes back to the I/O APIC */
};

/* Takes a message to the local APICs. False: nobody accepted it. The sender may hold its guest's bus.lock: it waits for
 * nothing and takes no lock of that rank. */
typedef bool (*apic_send)(void *to, const struct apic_message *m);

#endif
