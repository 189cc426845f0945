/* SPDX-License-Identifier: MIT */
/* Per-CPU data, found through GS, and what each processor does on its own: set-up, idling, work. */
#ifndef HV_CPU_H
#define HV_CPU_H

#define CPU_ASKED 8
#define CPU_INDEX 12
#define CPU_IRQOFF 16

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

/* What keeps a CPU from entering a guest, until it has looked after it. */
enum cpu_asked {
	CPU_ASKED_TURN = 1,  /* the run loop is to take a turn */
	CPU_ASKED_TIMER = 2, /* the timer's interrupt came */
	CPU_ASKED_NMI = 4,   /* an NMI came: the entry protocol begins anew */
};

struct trap_frame;

/* Everything here is this CPU's own, but for the fields whose comment names another. */
struct cpu {
	struct cpu *self;		/* at GS:0 */
	atomic32 asked;			/* at GS:CPU_ASKED: enum cpu_asked bits; set by any CPU, no guest is entered while not 0 */
	unsigned index;			/* 0 is the boot processor */
	atomic32 irqoff;		/* irqoff.h's: longest stretch with interrupts off, TSC ticks, or IRQOFF_NOT_YET */
	uint32_t apic_id;

	/* Counted by the interrupt handlers, read anywhere. A loop that waits compares with an earlier value. */
	atomic64 timer_events;
	atomic64 kicks;
	atomic64 nmis;
	atomic64 irqoff_where;		/* the name of the longest stretch, a char * */

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

_Static_assert(offsetof(struct cpu, asked) == CPU_ASKED && offsetof(struct cpu, index) == CPU_INDEX &&
	offsetof(struct cpu, irqoff) == CPU_IRQOFF, "assembly reads them");

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;
	asm("mov %%gs:0, %0" : "=r"(c)); /* not volatile: it is always the same */
	return c;
}
static inline unsigned this_cpu_index(void)
{
	unsigned index;

	asm("mov %%gs:%c1, %0" : "=r"(index) : "i"(CPU_INDEX));
	return index;
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
