/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include "hv/gdb_port.h"
#include "hv/x86.h"

/* 16550A (National Semiconductor PC16550D data sheet). */
#define COM2 0x2f8
#define UART_DATA (COM2 + 0)
#define UART_DIVISOR_LOW (COM2 + 0)
#define UART_INTERRUPTS (COM2 + 1)
#define UART_DIVISOR_HIGH (COM2 + 1)
#define UART_FIFO (COM2 + 2)
#define UART_LINE (COM2 + 3)
#define UART_MODEM (COM2 + 4)
#define UART_STATUS (COM2 + 5)
#define UART_SCRATCH (COM2 + 7)
#define LINE_8N1 0x03
#define LINE_DIVISOR 0x80
#define FIFO_ENABLE_CLEAR 0x07
#define FIFO_TRIGGER_14 0xc0 /* as many bytes as come before an interrupt, of which there are none; QEMU hands over so many at once */
#define FIFO_THERE 0xc0      /* read where FIFO is written: this is a 16550A */
#define FIFO_BYTES 16
#define MODEM_DTR_RTS 0x03
#define STATUS_DATA 0x01
#define STATUS_HOLDING_EMPTY 0x20
#define STATUS_ALL_EMPTY 0x40
#define DIVISOR_115200 1
/* A character takes 87 us, a status read at least 0.1 us. */
#define UART_POLLS 100000

static size_t fifo_bytes; /* to be written when none is left */

static bool wait(uint8_t status)
{
	for (unsigned i = 0; i < UART_POLLS; i++) {
		if ((inb(UART_STATUS) & status) == status)
			return true;
		cpu_relax();
	}
	return false;
}

bool gdb_port_init(void)
{
	for (unsigned v = 0x55; v <= 0xaa; v += 0x55) {
		outb(UART_SCRATCH, (uint8_t)v);
		if (inb(UART_SCRATCH) != v)
			return false;
	}
	outb(UART_INTERRUPTS, 0);
	outb(UART_LINE, LINE_DIVISOR);
	outb(UART_DIVISOR_LOW, DIVISOR_115200);
	outb(UART_DIVISOR_HIGH, 0);
	outb(UART_LINE, LINE_8N1);
	outb(UART_FIFO, FIFO_ENABLE_CLEAR | FIFO_TRIGGER_14);
	fifo_bytes = (inb(UART_FIFO) & FIFO_THERE) == FIFO_THERE ? FIFO_BYTES : 1;
	outb(UART_MODEM, MODEM_DTR_RTS);
	return true;
}

int gdb_port_get(void)
{
	return inb(UART_STATUS) & STATUS_DATA ? inb(UART_DATA) : -1;
}

void gdb_port_put(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i % fifo_bytes == 0 && !wait(STATUS_HOLDING_EMPTY))
			return;
		outb(UART_DATA, (uint8_t)bytes[i]);
	}
}

void gdb_port_finish(void)
{
	wait(STATUS_ALL_EMPTY);
}
