/* SPDX-License-Identifier: MIT */
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/x86.h"

/* Bochs stops when these bytes are written to its shutdown port. */
#define BOCHS_SHUTDOWN_PORT 0x8900
/* QEMU's isa-debug-exit: the process ends with (value << 1) | 1. */
#define QEMU_EXIT_PORT 0xf4
/* PM1 control (ACPI 6.4, 4.8.3.2.1). */
#define PM1_SCI_ENABLED 0x0001
#define PM1_SLEEP_TYPE_SHIFT 10
#define PM1_SLEEP_TYPE (7 << PM1_SLEEP_TYPE_SHIFT)
#define PM1_SLEEP 0x2000
#define ACPI_MODE_POLLS 1000000
/* 8042: a byte is there; pulse the reset line. */
#define KEYBOARD_DATA 0x60
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_FULL 0x01
#define KEYBOARD_FROM_MOUSE 0x20
#define KEYBOARD_KEY_RELEASED 0x80
#define KEYBOARD_ABSENT 0xff
#define KEYBOARD_RESET 0xfe
#define KEYBOARD_BUFFER 16

static enum platform_end how = END_AUTO;
static struct acpi_power power;

void platform_set_end(enum platform_end end)
{
	how = end;
}

void platform_set_power(const struct acpi_power *p)
{
	power = *p;
}

static bool waits_for_key(void)
{
	return how == END_AUTO && !power.emulator;
}

const char *platform_hint(void)
{
	if (!waits_for_key())
		return NULL;
	return power.off ? "press a key to switch the machine off" : "this machine is to be switched off by its button";
}

/* The keyboard has a byte for us: a key went down, unless it is a mouse's or tells of a key that was let go. */
static bool key_pressed(void)
{
	uint8_t status = inb(KEYBOARD_COMMAND);
	if (status == KEYBOARD_ABSENT || !(status & KEYBOARD_FULL))
		return false;
	return !(inb(KEYBOARD_DATA) & KEYBOARD_KEY_RELEASED) && !(status & KEYBOARD_FROM_MOUSE);
}

static void wait_key(void)
{
	for (unsigned i = 0; i < KEYBOARD_BUFFER; i++)
		key_pressed();
	console_input_clear();
	while (!key_pressed() && !console_input())
		cpu_relax();
}

static void sleep_enter(uint16_t port, uint8_t type)
{
	if (port)
		outw(port, (uint16_t)((inw(port) & ~PM1_SLEEP_TYPE) | type << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP));
}

/* Returns when the machine cannot be switched off. */
static void power_off(void)
{
	if (!power.off)
		return;
	if (power.smi && power.enable && !(inw(power.pm1a) & PM1_SCI_ENABLED)) {
		outb(power.smi, power.enable);
		for (unsigned i = 0; i < ACPI_MODE_POLLS && !(inw(power.pm1a) & PM1_SCI_ENABLED); i++)
			cpu_relax();
	}
	sleep_enter(power.pm1a, power.type_a);
	sleep_enter(power.pm1b, power.type_b);
}

static void reset(void)
{
	if (power.reset)
		outb(power.reset, power.reset_value);
	outb(KEYBOARD_COMMAND, KEYBOARD_RESET);
}

static void emulator_stop(unsigned code)
{
	for (const char *s = "Shutdown"; *s; s++)
		outb(BOCHS_SHUTDOWN_PORT, (uint8_t)*s);
	outb(QEMU_EXIT_PORT, (uint8_t)code);
}

_Noreturn void platform_stop(unsigned code)
{
	irq_disable();
	console_finish();
	if (waits_for_key())
		wait_key();
	if (how == END_REBOOT)
		reset();
	if (how == END_AUTO && power.emulator)
		emulator_stop(code);
	if (how == END_AUTO || how == END_POWEROFF)
		power_off();
	for (;;) {
		irq_disable();
		halt_once();
	}
}

_Noreturn void platform_finish(const char *verdict, unsigned code)
{
	if (log_lost())
		host_log(HOST_WARN, "%lu log lines were lost: the ring was full", log_lost());
	if (platform_hint())
		host_log(HOST_INFO, "%s", platform_hint());
	host_print("UMBRA %s", verdict);
	log_flush(false);
	platform_stop(code);
}
