/* SPDX-License-Identifier: MIT */
/* A PC's 16 interrupt lines, each wired to the 8259A pair and to the I/O APIC: line 0 to its pin 2, the others to the pin
 * of their number. Line 2 is the pair's own, pin 0 is not connected. */
#ifndef GUEST_IRQ_H
#define GUEST_IRQ_H

#include "guest/ioapic.h"
#include "guest/pic.h"

#define IRQ_LINES 16u
#define IRQ_TIMER_PIN 2 /* of the I/O APIC, driven by line 0 */

struct irq {
	struct pic *pic;
	struct ioapic *ioapic; /* 0: there is none */
};

/* Sets a line, 0 … 15 but not 2. Its guest's bus.lock is held, here and in the next. */
void irq_set_line(struct irq *q, unsigned line, bool level);
/* A low, then a high level: an edge whatever was before. The line stays high. */
void irq_pulse(struct irq *q, unsigned line);

#endif
