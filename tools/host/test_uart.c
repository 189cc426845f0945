/* SPDX-License-Identifier: MIT */
/* guest/uart.c: the 16550A as drivers use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/uart.h"
#include "tools/host/native.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };
#define FCR IIR
#define OUT2 0x08
#define LOOP 0x10

struct machine {
	struct pic pic;
	struct irq irq;
	struct uart uart;
	uint64_t now;
	char sent[64];
	unsigned n;
};

static void send(void *receiver, uint8_t byte)
{
	struct machine *m = receiver;

	if (m->n < sizeof m->sent - 1)
		m->sent[m->n++] = (char)byte;
}

static void out(struct machine *m, unsigned r, uint32_t value)
{
	assert_int_equal(uart_io(&m->uart, (uint16_t)(UART_PORT + r), 1, true, &value), BUS_DONE);
}

static uint8_t in(struct machine *m, unsigned r)
{
	uint32_t value = 0xdead;

	uart_io(&m->uart, (uint16_t)(UART_PORT + r), 1, false, &value);
	return (uint8_t)value;
}

/* So many characters' time at 9600 baud, 8N1, passes. */
static void wait(struct machine *m, double characters)
{
	uart_tick(&m->uart, m->now);
	m->now += (uint64_t)(characters * (double)host_clock_hz() / 960);
	uart_tick(&m->uart, m->now);
}

static void set_8n1(struct machine *m)
{
	out(m, LCR, 0x03);
}

/* Every line of the interrupt controller unmasked, automatic EOI. */
static void set_up(struct machine *m)
{
	static const uint8_t words[][2] = {{0, 0x11}, {1, 0x20}, {1, 4}, {1, 3}, {1, 0}};

	*m = (struct machine){0};
	pic_init(&m->pic);
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
		uint32_t value = words[i][1];

		pic_io(&m->pic, PIC_FIRST + words[i][0], 1, true, &value);
	}
	m->irq = (struct irq){.pic = &m->pic};
	uart_init(&m->uart, &m->irq, send, m);
}

/* True when an interrupt of the UART was pending; it is acknowledged. */
static bool interrupted(struct machine *m)
{
	if (pic_offered(&m->pic) < 0)
		return false;
	assert_int_equal(pic_acknowledge(&m->pic), 0x20 + UART_IRQ);
	return true;
}

static void what_is_written_is_sent(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	for (const char *s = "hello\n"; *s; s++) {
		assert_int_equal(in(&m, LSR), 0x60);
		out(&m, DATA, (uint8_t)*s);
	}
	assert_string_equal(m.sent, "hello\n");
	assert_false(interrupted(&m));
}

static void the_divisor_hides_data_and_ier(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, LCR, 0x83);
	out(&m, DATA, 0x01);
	out(&m, IER, 0x02);
	assert_int_equal(in(&m, DATA), 0x01);
	assert_int_equal(in(&m, IER), 0x02);
	out(&m, LCR, 0x03);
	assert_int_equal(in(&m, LCR), 0x03);
	assert_int_equal(in(&m, IER), 0);
	assert_int_equal(m.n, 0);
}

static void a_16550a_is_detected(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, SCRATCH, 0x5a);
	assert_int_equal(in(&m, SCRATCH), 0x5a);
	out(&m, IER, 0xff);
	assert_int_equal(in(&m, IER), 0x0f);
	out(&m, IER, 0);
	assert_int_equal(in(&m, IIR), 0x01);
	out(&m, FCR, 0x01);
	assert_int_equal(in(&m, IIR), 0xc1);
	out(&m, FCR, 0x00);
	assert_int_equal(in(&m, IIR), 0x01);
}

static void each_byte_sent_is_an_interrupt(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, MCR, OUT2);
	out(&m, IER, 0x02);
	for (unsigned i = 0; i < 10; i++) {
		assert_true(interrupted(&m));
		assert_int_equal(in(&m, IIR), 0x02);
		assert_int_equal(in(&m, IIR), 0x01);
		assert_false(interrupted(&m));
		out(&m, DATA, '0' + i);
	}
	assert_string_equal(m.sent, "0123456789");
	/* Without a look at IIR in between, each byte is an edge all the same. */
	for (unsigned i = 0; i < 10; i++) {
		assert_true(interrupted(&m));
		out(&m, DATA, 'x');
	}
}

static void enabling_the_sent_interrupt_raises_it_again(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, MCR, OUT2);
	out(&m, IER, 0x02);
	assert_true(interrupted(&m));
	in(&m, IIR);
	out(&m, IER, 0x00);
	out(&m, IER, 0x02);
	assert_true(interrupted(&m));
}

static void without_out2_no_interrupt_passes(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, IER, 0x02);
	assert_false(interrupted(&m));
	assert_int_equal(in(&m, IIR), 0x02);
	out(&m, DATA, 'x');
	out(&m, MCR, OUT2);
	assert_true(interrupted(&m));
}

static void a_byte_received_is_an_interrupt_until_read(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, MCR, OUT2);
	out(&m, IER, 0x01);
	assert_true(uart_receive(&m.uart, 'q'));
	assert_true(interrupted(&m));
	assert_int_equal(in(&m, IIR), 0x04);
	assert_int_equal(in(&m, LSR), 0x61);
	assert_int_equal(in(&m, DATA), 'q');
	assert_int_equal(in(&m, LSR), 0x60);
	assert_int_equal(in(&m, IIR), 0x01);
}

static void the_fifo_fills_to_its_trigger(void **state)
{
	static const unsigned triggers[] = {1, 4, 8, 14};
	struct machine m;

	(void)state;
	for (unsigned t = 0; t < 4; t++) {
		set_up(&m);
		out(&m, IER, 0x01);
		out(&m, MCR, OUT2);
		out(&m, FCR, t << 6 | 1);
		for (unsigned n = 1; n <= UART_FIFO; n++) {
			assert_true(uart_receive(&m.uart, (uint8_t)n));
			assert_int_equal(interrupted(&m), n == triggers[t]);
			assert_int_equal(in(&m, IIR), n >= triggers[t] ? 0xc4 : 0xc1);
		}
		for (unsigned n = 1; n <= UART_FIFO; n++) {
			assert_int_equal(in(&m, IIR), UART_FIFO - n + 1 >= triggers[t] ? 0xc4 : 0xc1);
			assert_int_equal(in(&m, DATA), n);
		}
		assert_int_equal(in(&m, LSR), 0x60);
	}
}

static void what_waits_below_the_trigger_times_out(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	set_8n1(&m);
	out(&m, IER, 0x01);
	out(&m, MCR, OUT2);
	out(&m, FCR, 0x81);
	wait(&m, 10);
	assert_int_equal(in(&m, IIR), 0xc1);
	uart_receive(&m.uart, 'a');
	uart_receive(&m.uart, 'b');
	wait(&m, 3.9);
	assert_int_equal(in(&m, IIR), 0xc1);
	uart_receive(&m.uart, 'c');
	wait(&m, 3.9);
	assert_false(interrupted(&m));
	wait(&m, 0.2);
	assert_true(interrupted(&m));
	assert_int_equal(in(&m, IIR), 0xcc);
	/* A read ends it; the others have to wait as long again. */
	assert_int_equal(in(&m, DATA), 'a');
	assert_int_equal(in(&m, IIR), 0xc1);
	wait(&m, 3.9);
	assert_int_equal(in(&m, IIR), 0xc1);
	wait(&m, 0.2);
	assert_int_equal(in(&m, IIR), 0xcc);
	/* A byte that comes does not; at the trigger it is another interrupt. */
	for (unsigned n = 0; n < 6; n++) {
		assert_int_equal(in(&m, IIR), 0xcc);
		uart_receive(&m.uart, 'x');
		wait(&m, 0.1);
	}
	assert_int_equal(in(&m, LSR), 0x61);
	assert_int_equal(in(&m, IIR), 0xc4);
	in(&m, DATA);
	assert_int_equal(in(&m, IIR), 0xc1);
	wait(&m, 4.1);
	assert_int_equal(in(&m, IIR), 0xcc);
	out(&m, FCR, 0x83);
	assert_int_equal(in(&m, IIR), 0xc1);
	wait(&m, 10);
	assert_int_equal(in(&m, IIR), 0xc1);
}

static void the_timeout_is_four_characters_of_the_line(void **state)
{
	static const struct {
		uint8_t divisor_high, divisor_low, lcr;
		unsigned bits, divisor;
	} lines[] = {{0, 1, 0x03, 10, 1}, {0, 12, 0x03, 10, 12}, {1, 128, 0x00, 7, 384}, {0, 1, 0x1f, 12, 1}, {0, 0, 0x03, 10, 1}};
	struct machine m;

	(void)state;
	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
		set_up(&m);
		out(&m, LCR, 0x80);
		out(&m, DATA, lines[i].divisor_low);
		out(&m, IER, lines[i].divisor_high);
		out(&m, LCR, lines[i].lcr);
		out(&m, FCR, 0x81);
		assert_true(uart_tick(&m.uart, 1000) == UINT64_MAX);
		uart_receive(&m.uart, 'a');
		assert_int_equal(uart_tick(&m.uart, 1000), 1000 + 4 * (host_clock_hz() * lines[i].bits * lines[i].divisor / 115200));
		assert_true(uart_tick(&m.uart, 1000 + host_clock_hz()) == UINT64_MAX);
		assert_true(uart_tick(&m.uart, 1001 + host_clock_hz()) == UINT64_MAX);
	}
}

static void without_a_fifo_nothing_times_out(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, IER, 0x01);
	uart_receive(&m.uart, 'a');
	assert_true(uart_tick(&m.uart, 1) == UINT64_MAX);
	assert_int_equal(in(&m, IIR), 0x04);
	assert_int_equal(in(&m, DATA), 'a');
	assert_int_equal(in(&m, IIR), 0x01);
}

static void the_line_waits_for_room(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	assert_true(uart_receive(&m.uart, 1));
	assert_false(uart_receive(&m.uart, 2));
	assert_int_equal(in(&m, LSR), 0x61);
	assert_int_equal(in(&m, DATA), 1);
	assert_true(uart_receive(&m.uart, 2));
	assert_int_equal(in(&m, DATA), 2);
	out(&m, FCR, 1);
	for (unsigned n = 0; n < UART_FIFO; n++)
		assert_true(uart_receive(&m.uart, (uint8_t)n));
	assert_false(uart_receive(&m.uart, 99));
	for (unsigned n = 0; n < 100; n++) {
		assert_int_equal(in(&m, LSR), 0x61);
		assert_int_equal(in(&m, DATA), n);
		assert_true(uart_receive(&m.uart, (uint8_t)(n + UART_FIFO)));
	}
}

static void a_full_fifo_loses_the_newest(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, FCR, 1);
	out(&m, IER, 0x04);
	out(&m, MCR, OUT2);
	out(&m, MCR, LOOP | OUT2);
	for (unsigned n = 0; n < UART_FIFO; n++)
		out(&m, DATA, n);
	assert_false(interrupted(&m));
	out(&m, DATA, 99);
	assert_true(interrupted(&m));
	assert_int_equal(in(&m, IIR), 0xc6);
	assert_int_equal(in(&m, LSR), 0x63);
	assert_int_equal(in(&m, LSR), 0x61);
	for (unsigned n = 0; n < UART_FIFO; n++)
		assert_int_equal(in(&m, DATA), n);
}

static void without_fifo_the_newest_stays(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, MCR, LOOP);
	out(&m, DATA, 1);
	out(&m, DATA, 2);
	assert_int_equal(in(&m, LSR), 0x63);
	assert_int_equal(in(&m, DATA), 2);
	assert_int_equal(in(&m, LSR), 0x60);
}

static void clearing_the_fifo_drops_what_it_holds(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, FCR, 1);
	uart_receive(&m.uart, 1);
	out(&m, FCR, 3);
	assert_int_equal(in(&m, LSR), 0x60);
	uart_receive(&m.uart, 2);
	out(&m, FCR, 0);
	assert_int_equal(in(&m, LSR), 0x60);
	/* Bit 0 has to be set for the others to count. */
	uart_receive(&m.uart, 3);
	out(&m, FCR, 2);
	assert_int_equal(in(&m, LSR), 0x61);
	assert_int_equal(in(&m, DATA), 3);
}

static void causes_come_by_priority(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, IER, 0x0f);
	out(&m, MCR, LOOP);
	uart_receive(&m.uart, 0);
	out(&m, DATA, 'a');
	out(&m, DATA, 'b');
	out(&m, MCR, 0);
	assert_int_equal(in(&m, IIR), 0x06);
	in(&m, LSR);
	assert_int_equal(in(&m, IIR), 0x04);
	in(&m, DATA);
	assert_int_equal(in(&m, IIR), 0x02);
	assert_int_equal(in(&m, IIR), 0x00);
	in(&m, MSR);
	assert_int_equal(in(&m, IIR), 0x01);
}

static void loopback_receives_what_it_sends(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	out(&m, MCR, LOOP | OUT2);
	out(&m, IER, 0x01);
	assert_false(uart_receive(&m.uart, 'z'));
	out(&m, DATA, 0xae);
	assert_int_equal(m.n, 0);
	assert_true(interrupted(&m));
	assert_int_equal(in(&m, DATA), 0xae);
}

static void loopback_feeds_the_modem_lines(void **state)
{
	struct machine m;

	(void)state;
	set_up(&m);
	assert_int_equal(in(&m, MSR), 0xb0);
	out(&m, MCR, LOOP);
	assert_int_equal(in(&m, MSR), 0x0b);
	assert_int_equal(in(&m, MSR), 0x00);
	out(&m, MCR, LOOP | 0x0f);
	assert_int_equal(in(&m, MSR), 0xfb);
	out(&m, MCR, LOOP | 0x0a);
	assert_int_equal(in(&m, MSR), 0x96);
}

static void random_accesses_do_no_harm(void **state)
{
	uint64_t seed = 5;
	struct machine m;

	(void)state;
	set_up(&m);
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t r = host_random(&seed);

		if (r & 8)
			out(&m, r & 7, r >> 8 & 0xff);
		else if (r & 16)
			in(&m, r & 7);
		else
			uart_receive(&m.uart, (uint8_t)(r >> 8));
		if (!(r & 0x70000))
			wait(&m, 1);
		interrupted(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_sent),
		cmocka_unit_test(the_divisor_hides_data_and_ier),
		cmocka_unit_test(a_16550a_is_detected),
		cmocka_unit_test(each_byte_sent_is_an_interrupt),
		cmocka_unit_test(enabling_the_sent_interrupt_raises_it_again),
		cmocka_unit_test(without_out2_no_interrupt_passes),
		cmocka_unit_test(a_byte_received_is_an_interrupt_until_read),
		cmocka_unit_test(the_fifo_fills_to_its_trigger),
		cmocka_unit_test(what_waits_below_the_trigger_times_out),
		cmocka_unit_test(the_timeout_is_four_characters_of_the_line),
		cmocka_unit_test(without_a_fifo_nothing_times_out),
		cmocka_unit_test(the_line_waits_for_room),
		cmocka_unit_test(a_full_fifo_loses_the_newest),
		cmocka_unit_test(without_fifo_the_newest_stays),
		cmocka_unit_test(clearing_the_fifo_drops_what_it_holds),
		cmocka_unit_test(causes_come_by_priority),
		cmocka_unit_test(loopback_receives_what_it_sends),
		cmocka_unit_test(loopback_feeds_the_modem_lines),
		cmocka_unit_test(random_accesses_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
