/* SPDX-License-Identifier: MIT */
/* The two 8259A of a guest (Intel 8259A data sheet): IRQ n comes at vector VECTOR_IRQ + n, to irq_handler (lib.h). */
#ifndef GUEST_IMAGES_PIC_H
#define GUEST_IMAGES_PIC_H

#include "guest/images/lib.h"

enum pic_port { PIC1_COMMAND = 0x20, PIC1_DATA = 0x21, PIC2_COMMAND = 0xa0, PIC2_DATA = 0xa1 };
#define PIC_ICW1_ICW4 0x11
#define PIC_ICW3_MASTER 0x04
#define PIC_ICW3_SLAVE 0x02
#define PIC_ICW4_8086 0x01
#define PIC_EOI 0x20
#define PIC_READ_IRR 0x0a
#define PIC_READ_ISR 0x0b
#define PIC_MASK_ALL 0xff

static inline void pic_mask(uint8_t masked) { abi_out8(PIC1_DATA, masked); }

static inline void pic_end(void) { abi_out8(PIC1_COMMAND, PIC_EOI); }

/* PIC_READ_IRR or PIC_READ_ISR of the first one. */
static inline uint8_t pic_read(uint8_t which)
{
	abi_out8(PIC1_COMMAND, which);
	return abi_in8(PIC1_COMMAND);
}

/* From reset. masked: of IRQ 0 to 7, a bit each; 8 to 15 are all masked. */
static inline void pic_setup(uint8_t masked)
{
	abi_out8(PIC1_COMMAND, PIC_ICW1_ICW4);
	abi_out8(PIC2_COMMAND, PIC_ICW1_ICW4);
	abi_out8(PIC1_DATA, VECTOR_IRQ);
	abi_out8(PIC2_DATA, VECTOR_IRQ + 8);
	abi_out8(PIC1_DATA, PIC_ICW3_MASTER);
	abi_out8(PIC2_DATA, PIC_ICW3_SLAVE);
	abi_out8(PIC1_DATA, PIC_ICW4_8086);
	abi_out8(PIC2_DATA, PIC_ICW4_8086);
	abi_out8(PIC2_DATA, PIC_MASK_ALL);
	pic_mask(masked);
}

#endif
