/* SPDX-License-Identifier: MIT */
/* The local APIC: interprocessor interrupts and the one-shot timer. */
#ifndef HV_APIC_H
#define HV_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Interrupt vectors of the hypervisor. */
#define VECTOR_FIRST_IRQ 0x20
#define VECTOR_TIMER 0xf0
#define VECTOR_KICK 0xf1
#define VECTOR_SPURIOUS 0xff

/* Enables the local APIC of this CPU, in x2APIC mode where the CPU has it; masks the 8259s on the first call.
 * False when the CPU has no APIC. */
bool apic_init(void);
/* APIC id of this CPU. */
uint32_t apic_id(void);
/* Measures the TSC and the APIC timer against the 8254; false when that does not count. Boot processor, once,
 * takes 20 ms. host_clock_hz() is valid from then on. */
bool apic_calibrate(void);
uint64_t apic_tsc_hz(void);
void apic_eoi(void);

/* Sends VECTOR_KICK, an NMI, INIT or SIPI (to page `page` below 1 MiB) to the CPU with that APIC id. Waits, bounded,
 * until the APIC has accepted it; false when it did not. */
bool apic_send_kick(uint32_t id);
bool apic_send_nmi(uint32_t id);
/* What is half done of sending when it is interrupted: for who sends meanwhile, and puts it back then. */
uint32_t apic_destination(void);
void apic_set_destination(uint32_t destination);
bool apic_send_init(uint32_t id);
bool apic_send_sipi(uint32_t id, uint64_t page);

/* One VECTOR_TIMER interrupt on this CPU when the TSC reaches deadline (TSC ticks; in the past: at once). Replaces an
 * earlier deadline. May fire a little early or, for deadlines far away, early by much: the caller compares. */
void timer_arm(uint64_t tsc_deadline);
void timer_cancel(void);
/* Waits this many microseconds, at most 1,000,000. */
void timer_delay_us(uint32_t us);

#endif
