/* SPDX-License-Identifier: MIT */
/* A 16550A UART (National Semiconductor PC16550D data sheet): the guest's console. What it sends leaves at once; what
 * it receives comes from uart_receive, or from itself in loopback mode. As on a PC its interrupt passes only with OUT2
 * set. The line brings neither breaks nor errors of parity or framing; it waits while the guest does not read, so that
 * only a guest that sends to itself sees an overrun. */
#ifndef GUEST_UART_H
#define GUEST_UART_H

#include "guest/irq.h"

#define UART_PORT 0x3f8
#define UART_IRQ 4
#define UART_FIFO 16 /* bytes */

struct uart {
	struct irq *irq;
	void (*send)(void *receiver, uint8_t byte); /* takes what the guest sends */
	void *receiver;

	uint8_t ier, lcr, mcr, msr, scratch;
	uint8_t errors; /* line status bits 4:1 until read */
	uint8_t divisor_low, divisor_high;
	bool fifo;       /* FIFO mode */
	uint8_t trigger; /* received bytes that make an interrupt, FIFO mode */
	bool sent;       /* the transmitter became empty: an interrupt until IIR is read or a byte written */
	uint8_t rx[UART_FIFO];
	unsigned rx_first, rx_n;
	uint64_t hz;      /* TSC ticks a second */
	uint64_t timeout; /* TSC at which the bytes in the FIFO will have waited for four characters' time; 0: from the next tick on */
	bool timed_out;   /* they have, since the last one was read */
};

void uart_init(struct uart *u, struct irq *irq, void (*send)(void *receiver, uint8_t byte), void *receiver);
void uart_attach(struct uart *u, struct bus *b);
/* A byte arrives from outside. False: there is no room for it before the guest has taken earlier ones, or the guest has
 * the line cut off by loopback mode; nothing happened. Its guest's bus.lock is held, here and in the next. */
bool uart_receive(struct uart *u, uint8_t byte);
/* What waits in the FIFO below its trigger level becomes an interrupt when it has waited for long enough. Returns the TSC
 * at which that will be; UINT64_MAX: never, as it is. */
uint64_t uart_tick(struct uart *u, uint64_t now);
/* A port access of one byte, as bus_handler. */
enum bus_outcome uart_io(void *uart, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
