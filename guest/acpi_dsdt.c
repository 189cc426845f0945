/* SPDX-License-Identifier: MIT */
/* In ASL, n = 0 … vcpus - 1:
 *
 *     Name (\_S5, Package () { ACPI_SLEEP_S5, ACPI_SLEEP_S5, 0, 0 })
 *     Scope (\_SB) {
 *         Device (PCI0) { Name (_HID, EisaId ("PNP0A03"))  Name (_BBN, 0)  Name (_CRS, bus 0, its configuration ports, the others) }
 *         Device (CPUn) { Name (_HID, "ACPI0007")  Name (_UID, n) }
 *         Device (COM1) { Name (_HID, EisaId ("PNP0501"))  Name (_UID, 1)  Name (_CRS, ports 0x3f8-0x3ff, IRQ 4) }
 *         Device (RTC_) { Name (_HID, EisaId ("PNP0B00"))  Name (_CRS, ports 0x70-0x71, IRQ 8) }
 *     }
 */
#include "guest/acpi_dsdt.h"
#include "guest/acpi_tables.h"
#include "guest/text.h"
#include "mm/host.h"

enum aml { ZERO = 0x00, NAME = 0x08, BYTE = 0x0a, DWORD = 0x0c, STRING = 0x0d, SCOPE = 0x10, BUFFER = 0x11, PACKAGE = 0x12,
	ROOT = '\\', EXTENDED = 0x5b, EXTENDED_DEVICE = 0x82 };

#define PNP(number) ((uint32_t)('P' - '@') << 26 | ('N' - '@') << 21 | ('P' - '@') << 16 | (number)) /* big-endian */
#define PCI_PORT 0xcf8
#define PCI_PORTS 8
#define UART_PORT 0x3f8
#define UART_IRQ 4
#define CMOS_PORT 0x70
#define CMOS_IRQ 8

/* Bytes of resource descriptors. */
#define PORTS_BYTES 8
#define WINDOW_BYTES 16
#define END_BYTES 2

struct writer {
	uint8_t *to;
	unsigned n;
};

static void byte(struct writer *w, unsigned value)
{
	CHECK(w->n < ACPI_DSDT_MAX);
	w->to[w->n++] = (uint8_t)value;
}

static void text(struct writer *w, const char *s)
{
	while (*s)
		byte(w, (uint8_t)*s++);
}

/* A PkgLength of two bytes for what follows; close() fills it in. */
static unsigned open(struct writer *w)
{
	unsigned at = w->n;

	byte(w, 0);
	byte(w, 0);
	return at;
}

static void close(struct writer *w, unsigned at)
{
	unsigned length = w->n - at;

	w->to[at] = (uint8_t)(1u << 6 | (length & 0xf));
	w->to[at + 1] = (uint8_t)(length >> 4);
}

static void name(struct writer *w, const char *segment)
{
	byte(w, NAME);
	text(w, segment);
}

static void small(struct writer *w, unsigned value)
{
	byte(w, BYTE);
	byte(w, value);
}

static unsigned open_device(struct writer *w, const char *segment)
{
	unsigned at;

	byte(w, EXTENDED);
	byte(w, EXTENDED_DEVICE);
	at = open(w);
	text(w, segment);
	return at;
}

static void pnp_id(struct writer *w, uint32_t id)
{
	name(w, "_HID");
	byte(w, DWORD);
	for (int shift = 24; shift >= 0; shift -= 8)
		byte(w, id >> shift);
}

static void word(struct writer *w, unsigned value)
{
	byte(w, value & 0xff);
	byte(w, value >> 8);
}

static unsigned open_resources(struct writer *w, unsigned bytes)
{
	unsigned at;

	name(w, "_CRS");
	byte(w, BUFFER);
	at = open(w);
	small(w, bytes); /* that follow */
	return at;
}

static void close_resources(struct writer *w, unsigned at)
{
	byte(w, 0x79); /* end tag, 1 byte: */
	byte(w, 0);    /* no checksum */
	close(w, at);
}

static void fixed_ports(struct writer *w, unsigned port, unsigned ports)
{
	byte(w, 0x47); /* I/O port descriptor, 7 bytes */
	byte(w, 1);    /* decodes 16 bits */
	word(w, port); /* lowest */
	word(w, port); /* and highest base */
	byte(w, 1);    /* alignment */
	byte(w, ports);
}

/* A range that a bridge passes on (6.4.3.5.3). type: 1 ports, 2 bus numbers. */
static void window(struct writer *w, unsigned type, unsigned flags, unsigned first, unsigned last)
{
	byte(w, 0x88);
	word(w, WINDOW_BYTES - 3);
	byte(w, type);
	byte(w, 0x0c); /* minimum and maximum are fixed; it produces them */
	byte(w, flags);
	word(w, 0); /* granularity */
	word(w, first);
	word(w, last);
	word(w, 0); /* translation */
	word(w, last - first + 1);
}

/* _CRS of `ports` ports and an edge-triggered IRQ (6.4.2.5, 6.4.2.1, 6.4.2.9). */
static void resources(struct writer *w, unsigned port, unsigned ports, unsigned irq)
{
	unsigned at = open_resources(w, PORTS_BYTES + 3 + END_BYTES);

	fixed_ports(w, port, ports);
	byte(w, 0x22); /* IRQ descriptor, 2 bytes: a mask */
	byte(w, 1u << irq);
	byte(w, 1u << irq >> 8);
	close_resources(w, at);
}

static void host_bridge(struct writer *w)
{
	unsigned device = open_device(w, "PCI0"), at;

	pnp_id(w, PNP(0x0a03));
	name(w, "_BBN");
	byte(w, ZERO);
	at = open_resources(w, PORTS_BYTES + 3 * WINDOW_BYTES + END_BYTES);
	window(w, 2, 0, 0, 0);
	fixed_ports(w, PCI_PORT, PCI_PORTS);
	window(w, 1, 3, 0, PCI_PORT - 1);
	window(w, 1, 3, PCI_PORT + PCI_PORTS, 0xffff);
	close_resources(w, at);
	close(w, device);
}

static void processor(struct writer *w, unsigned index)
{
	char segment[] = {'C', 'P', 'U', (char)('0' + index), 0};
	unsigned device = open_device(w, segment);

	name(w, "_HID");
	byte(w, STRING);
	text(w, "ACPI0007");
	byte(w, 0);
	name(w, "_UID");
	small(w, index);
	close(w, device);
}

static void serial_port(struct writer *w)
{
	unsigned device = open_device(w, "COM1");

	pnp_id(w, PNP(0x0501));
	name(w, "_UID");
	small(w, 1);
	resources(w, UART_PORT, 8, UART_IRQ);
	close(w, device);
}

static void real_time_clock(struct writer *w)
{
	unsigned device = open_device(w, "RTC_");

	pnp_id(w, PNP(0x0b00));
	resources(w, CMOS_PORT, 2, CMOS_IRQ);
	close(w, device);
}

static void soft_off(struct writer *w)
{
	unsigned package;

	byte(w, NAME);
	byte(w, ROOT);
	text(w, "_S5_");
	byte(w, PACKAGE);
	package = open(w);
	byte(w, 4);
	small(w, ACPI_SLEEP_S5);
	small(w, ACPI_SLEEP_S5);
	byte(w, ZERO);
	byte(w, ZERO);
	close(w, package);
}

unsigned acpi_dsdt_build(uint8_t aml[ACPI_DSDT_MAX], unsigned vcpus)
{
	struct writer w = {aml, 0};
	unsigned scope;

	soft_off(&w);
	byte(&w, SCOPE);
	scope = open(&w);
	byte(&w, ROOT);
	text(&w, "_SB_");
	host_bridge(&w);
	for (unsigned i = 0; i < vcpus; i++)
		processor(&w, i);
	serial_port(&w);
	real_time_clock(&w);
	close(&w, scope);
	return w.n;
}
