/* SPDX-License-Identifier: MIT */
/* A message between APICs: what an I/O APIC's line, an IPI and a message-signalled interrupt have in common (SDM vol. 3, 10.6, 10.11). */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* As registers encode it. */
enum apic_delivery { APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_NMI = 4, APIC_INIT, APIC_STARTUP, APIC_EXTINT };

struct apic_message {
	uint32_t destination; /* an APIC id, or a set of them if logical; all ones of 8 or 32 bits: everyone */
	uint8_t vector;
	enum apic_delivery delivery;
	bool logical, level;
};

/* False: no APIC takes it. */
typedef bool (*apic_send)(void *to, const struct apic_message *m);

#endif
