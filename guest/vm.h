/* SPDX-License-Identifier: MIT */
/* A virtual machine: its configuration, vCPUs, memory, devices, console and verdict. */
#ifndef GUEST_VM_H
#define GUEST_VM_H

#include "guest/bus.h"
#include "guest/cmos.h"
#include "guest/config.h"
#include "guest/fwcfg.h"
#include "guest/ioapic.h"
#include "guest/irq.h"
#include "guest/match.h"
#include "guest/mmio.h"
#include "guest/pci.h"
#include "guest/pic.h"
#include "guest/pit.h"
#include "guest/power.h"
#include "guest/testdev.h"
#include "guest/uart.h"
#include "guest/vcpu.h"
#include "mm/replica.h"

#define VM_LINE 240 /* longest console line kept together, bytes */
#define VM_REASON 120

enum vm_state {
	VM_NEW,
	VM_RUNNING,
	VM_ENDING, /* a verdict is known; its vCPUs are to stop */
	VM_ENDED,  /* verdict and replica line printed */
};

struct vm {
	struct config config;
	struct mmu mmu;
	struct vcpu *vcpu[MMU_MAX_VCPUS];
	unsigned vcpus;
	atomic32 state; /* enum vm_state */

	/* vCPUs that are not asleep. Whoever takes away the last one ends the guest */
	atomic32 awake;
	/* the vCPUs whose TSC was set to another time than the others', by index */
	atomic32 tsc_apart;
	/* hv's: not 0 while all vCPUs but the one that looks at it stand still, with their handlers */
	atomic32 quiet;
	/* hv's: the run loop of v looks at it soon. Any CPU, any context; 0: nobody runs it */
	void (*attend)(struct vcpu *v);

	/* devices, under bus.lock: touched by the exits of any vCPU */
	struct bus bus;
	struct uart uart;
	struct pic pic;
	struct ioapic ioapic;
	struct irq irq;
	struct pit pit;
	struct cmos cmos;
	struct power power;
	struct pci pci;
	struct fwcfg fwcfg;
	struct testdev testdev;
	struct mmio mmio; /* not under bus.lock */

	struct replica replica;
	bool has_replica;

	/* verdict: written by the one who claimed it, read by anyone once state is past VM_RUNNING */
	atomic32 claimed;
	bool pass;
	uint32_t exit_value;    /* written to port 0xf4 */
	char reason[VM_REASON]; /* of a FAIL: "crash: …", "refused: …", "limit", …; empty otherwise */

	/* console */
	char line[VM_LINE + 1];
	unsigned line_n;
	bool raw; /* what it prints goes out as it is; bus.lock */
	atomic64 printed; /* lines and raw bytes so far: who prints is to wait for the console */
	struct match until;
	uint64_t created; /* TSC of the host when it was made: 0 of its own, and of its clocks */
	uint64_t started; /* TSC at the first entry */
	uint64_t ticked;  /* TSC up to which the timers were brought; bus.lock */
	int pic_told;     /* what the 8259A offered when its vCPU was last told; -1: nothing, or gone when it looked; bus.lock */
};

/* Connects the devices to the bus. The MMU and RAM exist already. */
void vm_init_devices(struct vm *vm, uint64_t now);

/* A byte of guest console output (UART or port 0xe9): lines go to the hypervisor's console as "name| text"; watches for
 * until=. Control characters but tab are shown as '.', carriage returns left out; an overlong line is broken. flush:
 * what stands in an unfinished line. */
void vm_console_byte(struct vm *vm, uint8_t byte);
void vm_console_flush(struct vm *vm);
/* From now on its bytes go to the hypervisor's console as they are, or in lines again. First goes what stands in an
 * unfinished line. Any CPU, outside locks, here and in the next. */
void vm_console_raw(struct vm *vm, bool raw);
/* Bytes for its UART: returns how many of them it had room for. vm_tick() is to follow. */
unsigned vm_receive(struct vm *vm, const uint8_t *bytes, unsigned n);

/* The guest ends: the first verdict counts, later ones are ignored. */
void vm_end_exit(struct vm *vm, uint32_t value); /* wrote port 0xf4 */
void vm_end_until(struct vm *vm);                /* console printed until= */
void vm_end_power_off(struct vm *vm);            /* switched itself off: a PASS, unless until= is still awaited */
void vm_end_fail(struct vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* crash: …, limit … */
static inline bool vm_running(const struct vm *vm)
{
	return load_acquire(&vm->state) == VM_RUNNING;
}
/* Prints `REPLICA name EQUAL pages=P copied=C`, P the guest's pages and C all copies made, or, when pages differ, their
 * number and the first of them. */
void vm_print_replica(const struct vm *vm, uint64_t differing, gfn_t first);
/* Prints `VERDICT name PASS value` / `VERDICT name FAIL …` as GUEST-ABI says. replica_equal: true too when there is
 * none; a replica that differs makes a FAIL of a PASS. Returns whether it is a PASS. */
bool vm_print_verdict(const struct vm *vm, bool replica_equal);

/* activity.c. vCPU `index` is to start at `entry` (GUEST-ABI). False: there is none, or it was started before. Any CPU. */
bool vm_start_vcpu(struct vm *vm, uint32_t index, uint32_t entry);
/* Asks v's run loop to look at v->attention, if nobody has. Any CPU, any context but an interrupt handler. */
void vcpu_attract(struct vcpu *v);
/* Sends v a SIGNAL_. The sender is awake, or a device. Any CPU, any context but an interrupt handler. */
void vcpu_signal(struct vcpu *v, uint32_t signal);
/* v, on its CPU, is halted with interrupts off, or waits for a start-up. True: no vCPU is awake any more, and nothing will ever happen
 * in this guest. */
bool vm_fall_asleep(struct vcpu *v);
/* What has come for v since it last ran: signals, an interrupt that ends a halt. On its CPU, when v->attention is set; outside
 * sections and locks. */
void vcpu_attend(struct vcpu *v);
/* May what must not meet another vCPU be done here? */
static inline bool vm_quiet(const struct vm *vm)
{
	return vm->vcpus == 1 || load_acquire(&vm->quiet);
}

/* Interrupts of v, by the local APIC or by the 8259A: is there one to be delivered? Its vector, which is acknowledged; -1 if it
 * has gone meanwhile. On its CPU, outside locks. */
bool vm_interrupt_pending(struct vcpu *v);
int vm_interrupt_acknowledge(struct vcpu *v);
/* Brings the guest's timers to `now`, TSC ticks, and tells the vCPU that takes the 8259A's interrupts when it offers another;
 * returns the TSC at which a timer will next change an interrupt line (UINT64_MAX: never). Any CPU, outside locks. */
uint64_t vm_tick(struct vm *vm, uint64_t now);
/* A level-triggered interrupt's end, for the I/O APIC. Any CPU, outside locks. */
void vm_ioapic_eoi(struct vm *vm, uint8_t vector);

#endif
