/* SPDX-License-Identifier: MIT */
/* echo: takes input from the serial port by interrupts, and answers.
 *
 *   lines=2              to read first, each answered by "got: " and itself
 *   bytes=0              to read then: byte i is to be the low byte of 7 * i + 3
 *   all=0                1: a key, then all 256 byte values between "<<" and ">>", then a key
 *
 * No wait for input is bounded: give the guest a limit.
 *
 * Metrics: 1 interrupts at the FIFO's trigger level, 2 interrupts by its timeout.
 */
#include "guest/images/lib.h"
#include "guest/images/pic.h"

enum metric_id { METRIC_LEVEL = 1, METRIC_TIMEOUT = 2 };

#define IRQ_SERIAL 4

enum uart_port { DATA = 0x3f8, IER, IIR, LCR, MCR, LSR };
#define FCR_ENABLE_CLEAR 0x07
#define FCR_TRIGGER_8 0x80
#define IER_RECEIVED_LINE 0x05
#define MCR_DTR_RTS_OUT2 0x0b
#define LSR_RECEIVED 0x01
#define LSR_OVERRUN 0x02
#define LSR_EMPTY 0x20
#define IIR_CAUSE 0x0f
#define IIR_NONE 0x01
#define IIR_RECEIVED 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c

#define BUFFER 8192u
#define LINE 200
#define CAUSES_MAX 100 /* of one interrupt */

static uint8_t buffer[BUFFER];
static volatile uint32_t in, taken; /* bytes put into it and taken out of it; the handler's, ours */
static volatile uint32_t levels, timeouts, overruns, others;

static void receive_all(void)
{
	while (abi_in8(LSR) & LSR_RECEIVED) {
		buffer[in % BUFFER] = abi_in8(DATA);
		in++;
	}
}

static void on_irq(unsigned irq)
{
	others += irq != IRQ_SERIAL;
	for (unsigned n = 0; n < CAUSES_MAX; n++) {
		switch (abi_in8(IIR) & IIR_CAUSE) {
		case IIR_RECEIVED:
			levels++;
			receive_all();
			continue;
		case IIR_TIMEOUT:
			timeouts++;
			receive_all();
			continue;
		case IIR_LINE:
			overruns += (abi_in8(LSR) & LSR_OVERRUN) != 0;
			continue;
		case IIR_NONE:
			break;
		default:
			others++;
			break;
		}
		break;
	}
	pic_end();
}

static void set_up(void)
{
	irq_handler = on_irq;
	pic_setup((uint8_t)~(1u << IRQ_SERIAL));
	abi_out8(IIR, FCR_ENABLE_CLEAR | FCR_TRIGGER_8);
	abi_out8(MCR, MCR_DTR_RTS_OUT2);
	abi_out8(IER, IER_RECEIVED_LINE);
}

static uint8_t next_byte(void)
{
	while (taken == in)
		irq_wait();
	return buffer[taken++ % BUFFER];
}

static void answer_line(void)
{
	char line[LINE + 1];
	unsigned n = 0;
	uint8_t c;

	while ((c = next_byte()) != '\n' && c != '\r')
		if (n < LINE)
			line[n++] = (char)c;
	line[n] = 0;
	print("got: %s\n", line);
}

static void take_bytes(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint8_t want = (uint8_t)(7 * i + 3), got = next_byte();

		if (got != want)
			deviation("byte %lu is %02x, not %02x", i, got, want);
	}
	report(!deviations(), "%lu bytes came, in order", count);
}

static void print_all(void)
{
	next_byte();
	print("<<");
	for (unsigned b = 0; b < 256; b++) {
		while (!(abi_in8(LSR) & LSR_EMPTY))
			;
		abi_out8(DATA, (uint8_t)b);
	}
	print(">>");
	next_byte();
	print("\n");
}

void image_main(void)
{
	uint64_t lines = arg_number("lines", 2), bytes = arg_number("bytes", 0);

	set_up();
	print("ready\n");
	for (uint64_t i = 0; i < lines; i++)
		answer_line();
	take_bytes(bytes);
	if (arg_number("all", 0))
		print_all();
	abi_out8(IER, 0);
	report(!overruns, "no overrun");
	report(!others, "no other interrupt");
	report(in == taken, "nothing is left");
	metric(METRIC_LEVEL, "interrupts at the trigger level", levels);
	metric(METRIC_TIMEOUT, "interrupts by the timeout", timeouts);
}
