/* SPDX-License-Identifier: MIT */
/* Per-CPU data, found through GS, and what each processor does on its own: set-up, idling, work. */
#ifndef HV_CPU_H
#define HV_CPU_H

#define CPU_NMI_SEEN 8

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>
#include "mm/atomic.h"
#include "mm/host.h"

#define CPU_STACK_BYTES 32768
#define CPU_IST_BYTES 8192
#define CPU_GDT_ENTRIES 6
#define IRQOFF_NOT_YET UINT32_MAX

/* What a processor that was started found out about itself. */
enum cpu_online { CPU_OFFLINE, CPU_ONLINE, CPU_UNFIT };

/* Interrupt stack table slots (1-based, as in the IDT). */
enum cpu_ist { IST_NMI = 1, IST_DOUBLE_FAULT = 2, IST_MACHINE_CHECK = 3, IST_COUNT = 3 };

/* 64-bit task state segment (SDM 3A 8.7). */
struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_map_base;
} __attribute__((packed));

struct trap_frame;

/* Everything here is this CPU's own, but for the fields whose comment names another. */
struct cpu {
	struct cpu *self;		/* at GS:0 */
	uint32_t nmi_seen;		/* at GS:CPU_NMI_SEEN: set by every NMI, cleared before a guest entry */
	unsigned index;			/* 0 is the boot processor */
	uint32_t apic_id;

	/* Counted by the interrupt handlers, read anywhere. A loop that waits compares with an earlier value. */
	atomic64 timer_events;
	atomic64 kicks;
	atomic64 nmis;
	/* irqoff.h's; written by this CPU, read anywhere */
	atomic32 irqoff;		/* longest stretch with interrupts off, TSC ticks, or IRQOFF_NOT_YET */
	atomic64 irqoff_where;		/* and its name, a char * */
	atomic32 attend;		/* set by any CPU: the run loop is to take a turn, which takes it back */

	/* Work handed over by cpu_start_work(), taken by the idle loop: function first, 0 when there is none. */
	atomic64 work;
	void *work_argument;
	atomic32 online;		/* enum cpu_online; set once, by this CPU */
	atomic32 stopped;		/* set in the panic NMI, read by the panicking CPU */
	struct trap_frame *stopped_at;	/* valid when stopped */

	uint64_t gdt[CPU_GDT_ENTRIES];
	struct tss tss;
	uint8_t ist_stack[IST_COUNT][CPU_IST_BYTES] __attribute__((aligned(16)));
	uint8_t guard[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));	/* unmapped: a stack that overflows traps */
	uint8_t stack[CPU_STACK_BYTES];
};

_Static_assert(offsetof(struct cpu, nmi_seen) == CPU_NMI_SEEN, "assembly reads it");

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;
	asm volatile("mov %%gs:0, %0" : "=r"(c));
	return c;
}

/* The CPU with this index, 0 … host_cpus()-1. */
struct cpu *cpu_get(unsigned index);
/* Number of CPUs online, the same as host_cpus(). */
unsigned cpu_count(void);

/* Sets up GS, GDT, TSS and IDT of the CPU that runs this; *c must be zeroed. Interrupts stay off. */
void cpu_init(struct cpu *c, unsigned index);
/* Enters c in the table of CPUs that host_cpus() counts. Boot processor only. */
void cpu_add(struct cpu *c);

/* Lets CPU `index`, which must be idle and not the caller, call work(argument) with interrupts on. Returns at once;
 * false when that CPU has work already. */
bool cpu_start_work(unsigned index, void (*work)(void *), void *argument);
/* CPU `index` neither has nor runs work from cpu_start_work(). */
bool cpu_is_idle(unsigned index);
/* Waits for work for ever, halted. */
_Noreturn void cpu_idle_loop(void);

#endif
#endif
