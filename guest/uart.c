/* SPDX-License-Identifier: MIT */
#include "guest/uart.h"
#include "mm/host.h"

/* Registers, by offset from the first port. The first two are the divisor while LCR_DLAB is set. */
enum uart_register { UART_DATA, UART_IER, UART_IIR_FCR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCRATCH };

#define IER_RECEIVED 0x01
#define IER_SENT 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IER_MASK 0x0f

/* What IIR says, in falling priority. */
#define IIR_LINE 0x06
#define IIR_RECEIVED 0x04
#define IIR_TIMEOUT 0x0c
#define IIR_SENT 0x02
#define IIR_MODEM 0x00
#define IIR_NONE 0x01
#define IIR_FIFO 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define LCR_BITS 0x03 /* of data, less 5 */
#define LCR_STOP 0x04
#define LCR_PARITY 0x08
#define LCR_DLAB 0x80
#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f
#define LSR_RECEIVED 0x01
#define LSR_OVERRUN 0x02
#define LSR_SENT 0x60 /* both the holding and the shift register are empty, always */
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_INPUTS 0xf0
#define MSR_RI_FELL 0x04
#define MSR_DELTAS 0x0f
#define DIVISOR_9600 12
#define BITS_PER_SECOND 115200 /* with a divisor of 1 */
#define TIMEOUT_CHARACTERS 4

/* The interrupt of highest priority that is pending and enabled. */
static uint8_t cause(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->errors)
		return IIR_LINE;
	if ((u->ier & IER_RECEIVED) && u->rx_n >= (u->fifo ? u->trigger : 1))
		return IIR_RECEIVED;
	if ((u->ier & IER_RECEIVED) && u->timed_out)
		return IIR_TIMEOUT;
	if ((u->ier & IER_SENT) && u->sent)
		return IIR_SENT;
	if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update(struct uart *u)
{
	irq_set_line(u->irq, UART_IRQ, cause(u) != IIR_NONE && (u->mcr & MCR_OUT2));
}

/* The modem's lines: a terminal that is always ready, or in loopback mode the UART's own outputs. */
static uint8_t inputs(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
			 (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void set_mcr(struct uart *u, uint8_t value)
{
	uint8_t now, changed;

	u->mcr = value & MCR_MASK;
	now = inputs(u);
	changed = (now ^ u->msr) & (MSR_CTS | MSR_DSR | MSR_DCD);
	u->msr = (uint8_t)(now | (u->msr & MSR_DELTAS) | changed >> 4 | (u->msr & ~now & MSR_RI ? MSR_RI_FELL : 0));
}

/* The receiver's FIFO was read or emptied: its timeout is over and begins anew. */
static void restart_timeout(struct uart *u)
{
	u->timed_out = false;
	u->timeout = 0;
}

static bool has_room(const struct uart *u)
{
	return u->rx_n < (u->fifo ? UART_FIFO : 1);
}

/* A byte has come down the line, wanted or not. What finds the FIFO full is lost; without a FIFO it is the older one. */
static void store(struct uart *u, uint8_t byte)
{
	if (has_room(u))
		u->rx[(u->rx_first + u->rx_n++) % UART_FIFO] = byte;
	else
		u->errors |= LSR_OVERRUN;
	if (!u->fifo)
		u->rx[u->rx_first] = byte;
	u->timeout = 0; /* begins anew; one that has occurred lasts until the FIFO is read */
}

bool uart_receive(struct uart *u, uint8_t byte)
{
	if ((u->mcr & MCR_LOOP) || !has_room(u))
		return false;
	store(u, byte);
	update(u);
	return true;
}

/* TSC ticks that a character takes on the line: start, data, parity and stop bits. */
static uint64_t character(const struct uart *u)
{
	unsigned divisor = u->divisor_high << 8 | u->divisor_low;
	unsigned bits = 1 + 5 + (u->lcr & LCR_BITS) + (u->lcr & LCR_PARITY ? 1 : 0) + (u->lcr & LCR_STOP ? 2 : 1);

	return u->hz * bits * (divisor ? divisor : 1) / BITS_PER_SECOND;
}

uint64_t uart_tick(struct uart *u, uint64_t now)
{
	if (!u->fifo || !u->rx_n || u->timed_out)
		return UINT64_MAX;
	if (!u->timeout)
		u->timeout = now + TIMEOUT_CHARACTERS * character(u);
	if (now < u->timeout)
		return u->timeout;
	u->timed_out = true;
	update(u);
	return UINT64_MAX;
}

static uint8_t take(struct uart *u)
{
	uint8_t byte = u->rx[u->rx_first];

	if (u->rx_n) {
		u->rx_n--;
		u->rx_first = (u->rx_first + 1) % UART_FIFO;
	}
	restart_timeout(u);
	return byte;
}

/* The byte leaves at once. In between the line goes low: the next interrupt is an edge of its own. */
static void transmit(struct uart *u, uint8_t byte)
{
	u->sent = false;
	update(u);
	if (u->mcr & MCR_LOOP)
		store(u, byte);
	else
		u->send(u->receiver, byte);
	u->sent = true;
}

static void set_ier(struct uart *u, uint8_t value)
{
	if ((value & ~u->ier) & IER_SENT)
		u->sent = true;
	u->ier = value & IER_MASK;
}

static void set_fcr(struct uart *u, uint8_t value)
{
	static const uint8_t triggers[] = {1, 4, 8, 14};
	bool fifo = value & FCR_ENABLE;

	if (fifo != u->fifo || (fifo && (value & FCR_CLEAR_RX))) {
		u->rx_n = 0;
		restart_timeout(u);
	}
	u->fifo = fifo;
	if (fifo)
		u->trigger = triggers[value >> 6];
}

static void write_register(struct uart *u, enum uart_register r, uint8_t value)
{
	bool divisor = u->lcr & LCR_DLAB;

	switch (r) {
	case UART_DATA:
		if (divisor)
			u->divisor_low = value;
		else
			transmit(u, value);
		break;
	case UART_IER:
		if (divisor)
			u->divisor_high = value;
		else
			set_ier(u, value);
		break;
	case UART_IIR_FCR:
		set_fcr(u, value);
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		set_mcr(u, value);
		break;
	case UART_LSR: /* for the factory's tests only */
	case UART_MSR:
		break;
	case UART_SCRATCH:
		u->scratch = value;
		break;
	}
}

static uint8_t read_register(struct uart *u, enum uart_register r)
{
	bool divisor = u->lcr & LCR_DLAB;
	uint8_t value = 0;

	switch (r) {
	case UART_DATA:
		return divisor ? u->divisor_low : take(u);
	case UART_IER:
		return divisor ? u->divisor_high : u->ier;
	case UART_IIR_FCR:
		value = cause(u);
		if (value == IIR_SENT)
			u->sent = false;
		return value | (u->fifo ? IIR_FIFO : 0);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		value = (uint8_t)(LSR_SENT | u->errors | (u->rx_n ? LSR_RECEIVED : 0));
		u->errors = 0;
		return value;
	case UART_MSR:
		value = u->msr;
		u->msr &= MSR_INPUTS;
		return value;
	case UART_SCRATCH:
		value = u->scratch;
		break;
	}
	return value;
}

enum bus_outcome uart_io(void *uart, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct uart *u = uart;
	enum uart_register r = (port - UART_PORT) & 7;

	(void)size;
	if (write)
		write_register(u, r, (uint8_t)*value);
	else
		*value = read_register(u, r);
	update(u);
	return BUS_DONE;
}

void uart_init(struct uart *u, struct irq *irq, void (*send)(void *receiver, uint8_t byte), void *receiver)
{
	*u = (struct uart){.irq = irq, .send = send, .receiver = receiver, .trigger = 1, .sent = true};
	u->hz = host_clock_hz();
	u->divisor_low = DIVISOR_9600;
	u->msr = inputs(u);
	update(u);
}

void uart_attach(struct uart *u, struct bus *b)
{
	bus_add(b, UART_PORT, UART_PORT + UART_SCRATCH, 1, uart_io, u);
}
