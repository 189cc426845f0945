/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include "hv/console.h"
#include "hv/frame.h"
#include "hv/x86.h"
#include "mm/atomic.h"

/* 16550A on COM1. */
#define COM1 0x3f8
#define UART_DATA (COM1 + 0)
#define UART_DIVISOR_LOW (COM1 + 0)
#define UART_INTERRUPTS (COM1 + 1)
#define UART_DIVISOR_HIGH (COM1 + 1)
#define UART_FIFO (COM1 + 2)
#define UART_LINE (COM1 + 3)
#define UART_MODEM (COM1 + 4)
#define UART_STATUS (COM1 + 5)
#define UART_SCRATCH (COM1 + 7)
#define LINE_8N1 0x03
#define LINE_DIVISOR 0x80
#define FIFO_ENABLE_CLEAR 0x07
#define UART_FIFO_BYTES 16
#define MODEM_DTR_RTS 0x03
#define STATUS_DATA 0x01
#define STATUS_OVERRUN 0x02
#define STATUS_HOLDING_EMPTY 0x20
#define STATUS_ALL_EMPTY 0x40
#define DIVISOR_115200 1
#define DELETE 0x7f
/* A character takes 87 us, a status read at least 0.1 us of real time. */
#define UART_POLLS 1000000

#define VGA_TEXT 0xb8000
#define VGA_COLUMNS 80
#define VGA_ROWS 25
#define VGA_GREY_ON_BLACK 0x0700

static bool com1_there, com1_on, vga_there, frame_there, screen_wanted = true;
static unsigned vga_column;
static atomic32 overruns;

/* A look at the line status takes an overrun away: it is counted here. Looks of several CPUs may lose a count, no more. */
static uint8_t status_read(void)
{
	uint8_t status = inb(UART_STATUS);

	if (status & STATUS_OVERRUN)
		count_add(&overruns, 1);
	return status;
}

static bool uart_wait(uint8_t status)
{
	for (unsigned i = 0; i < UART_POLLS; i++) {
		if ((status_read() & status) == status)
			return true;
		cpu_relax();
	}
	return false;
}

static bool uart_probe(void)
{
	for (unsigned v = 0x55; v <= 0xaa; v += 0x55) {
		outb(UART_SCRATCH, v);
		if (inb(UART_SCRATCH) != v)
			return false;
	}
	return inb(UART_STATUS) != 0xff;
}

static void uart_putc(char c)
{
	if (!uart_wait(STATUS_HOLDING_EMPTY)) {
		com1_on = com1_there = false;
		return;
	}
	outb(UART_DATA, (uint8_t)c);
}

static void vga_newline(void)
{
	volatile uint16_t *screen = (volatile uint16_t *)VGA_TEXT;
	asm("" : "+r"(screen)); /* an address that the compiler knows nothing about */
	for (unsigned i = 0; i < VGA_COLUMNS * (VGA_ROWS - 1); i++)
		screen[i] = screen[i + VGA_COLUMNS];
	for (unsigned i = 0; i < VGA_COLUMNS; i++)
		screen[VGA_COLUMNS * (VGA_ROWS - 1) + i] = VGA_GREY_ON_BLACK | ' ';
	vga_column = 0;
}

static void vga_putc(char c)
{
	volatile uint16_t *last_row = (volatile uint16_t *)VGA_TEXT + VGA_COLUMNS * (VGA_ROWS - 1);
	asm("" : "+r"(last_row));
	if (c == '\n' || vga_column == VGA_COLUMNS)
		vga_newline();
	if (c != '\n' && c != '\r')
		last_row[vga_column++] = VGA_GREY_ON_BLACK | (uint8_t)c;
}

void console_init(bool vga_text)
{
	com1_there = uart_probe();
	if (com1_there) {
		outb(UART_INTERRUPTS, 0);
		outb(UART_LINE, LINE_DIVISOR);
		outb(UART_DIVISOR_LOW, DIVISOR_115200);
		outb(UART_DIVISOR_HIGH, 0);
		outb(UART_LINE, LINE_8N1);
		outb(UART_FIFO, FIFO_ENABLE_CLEAR);
		outb(UART_MODEM, MODEM_DTR_RTS);
	}
	com1_on = com1_there;
	vga_there = vga_text;
	if (vga_there)
		vga_newline();
}

void console_frame(const struct bootinfo_frame *frame, void *pixels)
{
	frame_there = frame_init(frame, pixels);
}

void console_select(bool com1, bool screen)
{
	com1_on = com1_there && com1;
	screen_wanted = screen;
}

void console_input_clear(void)
{
	for (unsigned i = 0; i < UART_FIFO_BYTES && console_input(); i++)
		inb(UART_DATA);
}

int console_get(void)
{
	return com1_on && status_read() & STATUS_DATA ? inb(UART_DATA) : -1;
}

uint32_t console_overruns(void)
{
	return load_relaxed(&overruns);
}

bool console_has_input(void)
{
	return com1_on;
}

bool console_input(void)
{
	return com1_there && inb(UART_STATUS) & STATUS_DATA;
}

bool console_ready(void)
{
	return !com1_on || status_read() & STATUS_HOLDING_EMPTY;
}

static void screen_putc(char c)
{
	if (vga_there && screen_wanted)
		vga_putc(c);
	if (frame_there && screen_wanted)
		frame_putc(c);
}

void console_putc(char c)
{
	if (com1_on) {
		if (c == '\n')
			uart_putc('\r');
		uart_putc(c);
	}
	screen_putc(c);
}

void console_put_raw(char c)
{
	if (com1_on)
		uart_putc(c);
	if (c != '\n' && c != '\r' && ((uint8_t)c < ' ' || c == DELETE))
		c = '.';
	screen_putc(c);
}

void console_finish(void)
{
	if (com1_there)
		uart_wait(STATUS_ALL_EMPTY);
}
