/* SPDX-License-Identifier: MIT */
/* How a guest switches itself off or resets itself, and the timer beside it: the fixed hardware of ACPI (ACPI Specification,
 * 4.8.3) without buttons or sleep; the reset control register at 0xcf9 (Intel ICH data sheets, RST_CNT); and of the keyboard
 * controller the one command that resets a PC. */
#ifndef GUEST_POWER_H
#define GUEST_POWER_H

#include "guest/irq.h"

struct vm;

#define POWER_STATUS 0x600  /* PM1a event block, 16 bits: status, written ones clear it */
#define POWER_ENABLE 0x602  /* 16 bits */
#define POWER_CONTROL 0x604 /* PM1a control block, 16 bits; the 2 bytes behind it read zero */
#define POWER_TIMER 0x608   /* PM timer, 32 bits */
#define POWER_TIMER_HZ 3579545UL
#define POWER_RESET 0xcf9     /* 8 bits, among the ports of pci.c */
#define POWER_KEYBOARD 0x64   /* reads all ones, as where there is no keyboard controller */
#define POWER_SCI 9           /* IRQ, by level */
#define POWER_OFF_TYPE 5      /* SLP_TYP of S5; no other does anything */
#define POWER_RESET_GO 0x04   /* written to POWER_RESET, when it was clear */
#define POWER_KEYBOARD_RESET 0xfe /* written to POWER_KEYBOARD */

struct power {
	struct vm *vm;
	struct irq *irq;
	uint64_t origin, hz;              /* TSC at the timer's zero; TSC ticks a second */
	uint64_t halves;                  /* times that the timer's highest bit had changed when last looked at */
	uint16_t status, enable, control; /* PM1a */
	uint8_t reset;                    /* POWER_RESET as written */
};

/* now: TSC ticks. */
void power_init(struct power *p, struct vm *vm, struct irq *irq, uint64_t now);
void power_attach(struct power *p, struct bus *b);
/* The PM timer at the TSC `now`: it never loses a tick to rounding. */
uint32_t power_timer(const struct power *p, uint64_t now);
/* Raises the SCI when the timer's highest bit has changed and the guest asked for that. Returns the TSC at which to call it
 * next, at least 50 microseconds away; UINT64_MAX: not before the guest's next access. */
uint64_t power_tick(struct power *p, uint64_t now);
/* An access to the byte at POWER_RESET. */
void power_reset_io(struct power *p, bool write, uint32_t *value);
/* An access to POWER_STATUS … POWER_TIMER + 3 at the TSC `now`, at most 4 bytes. */
uint32_t power_read(struct power *p, uint16_t port, unsigned size, uint64_t now);
void power_write(struct power *p, uint16_t port, unsigned size, uint32_t value, uint64_t now);

#endif
