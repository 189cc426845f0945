/* SPDX-License-Identifier: MIT */
#include "guest/irq.h"
#include "mm/host.h"

void irq_set_line(struct irq *q, unsigned line, bool level)
{
	CHECK(line < IRQ_LINES && line != PIC_CASCADE);
	pic_set_line(q->pic, line, level);
	if (q->ioapic)
		ioapic_set_line(q->ioapic, line ? line : IRQ_TIMER_PIN, level);
}

void irq_pulse(struct irq *q, unsigned line)
{
	irq_set_line(q, line, false);
	irq_set_line(q, line, true);
}
