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
/* ACPI power-off of QEMU's two machine types: SLP_EN with sleep type 0. */
#define QEMU_PIIX4_PM 0x604
#define QEMU_OLD_PM 0xb004
#define ACPI_SLEEP_ENABLE 0x2000
/* 8042: pulse the reset line. */
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET 0xfe

static enum platform_end how = END_AUTO;

void platform_set_end(enum platform_end end)
{
	how = end;
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
	if (how == END_REBOOT)
		outb(KEYBOARD_COMMAND, KEYBOARD_RESET);
	if (how == END_POWEROFF) {
		outw(QEMU_PIIX4_PM, ACPI_SLEEP_ENABLE);
		outw(QEMU_OLD_PM, ACPI_SLEEP_ENABLE);
	}
	if (how == END_AUTO || how == END_POWEROFF)
		emulator_stop(code);
	for (;;) {
		irq_disable();
		halt_once();
	}
}

_Noreturn void platform_finish(const char *verdict, unsigned code)
{
	if (log_lost())
		host_log(HOST_WARN, "%lu log lines were lost: the ring was full", log_lost());
	host_print("UMBRA %s", verdict);
	log_flush(false);
	platform_stop(code);
}
