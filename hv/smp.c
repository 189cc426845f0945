/* SPDX-License-Identifier: MIT */
#include "boot/bootinfo.h"
#include "hv/apic.h"
#include "hv/cpu.h"
#include "hv/memory.h"
#include "hv/paging.h"
#include "hv/preflight.h"
#include "hv/smp.h"
#include "hv/x86.h"

/* SDM 3A 8.4.4.1: INIT, 10 ms, SIPI, 200 us, SIPI. */
#define INIT_WAIT_US 10000
#define SIPI_WAIT_US 200
#define ONLINE_WAIT_US 500000
#define LATE_WAIT_US 10000000 /* of one that was seen to start */
#define ONLINE_STEP_US 50

/* Where a processor's struct lies, seen from the stack top it was given: the stack is its last member. */
static struct cpu *cpu_of_stack(uint64_t stack_top)
{
	return (struct cpu *)(stack_top - offsetof(struct cpu, stack) - CPU_STACK_BYTES);
}

_Noreturn void ap_main(uint64_t stack_top)
{
	struct cpu *c = cpu_of_stack(stack_top);
	cpu_init(c, c->index);
	CHECK(apic_init());
	c->apic_id = apic_id();
	/* Partner: the acquire in wait_online(). */
	store_release(&c->online, preflight_cpu() ? CPU_ONLINE : CPU_UNFIT);
	cpu_idle_loop();
}

static bool wait_online(struct cpu *c, unsigned us)
{
	for (unsigned waited = 0; waited < us; waited += ONLINE_STEP_US) {
		if (load_acquire(&c->online))
			return true;
		timer_delay_us(ONLINE_STEP_US);
	}
	return load_acquire(&c->online);
}

/* Starts the processor with that APIC id on *c; false when it does not come. Then *c is free for the next one. */
static bool start_one(struct cpu *c, uint32_t id, uint64_t low_page)
{
	ap_stack_top = (uint64_t)c->stack + CPU_STACK_BYTES;
	if (!apic_send_init(id))
		return false;
	timer_delay_us(INIT_WAIT_US);
	if (!apic_send_sipi(id, low_page))
		return false;
	if (wait_online(c, SIPI_WAIT_US))
		return true;
	if (ap_stack_top)
		apic_send_sipi(id, low_page);
	if (wait_online(c, ONLINE_WAIT_US))
		return true;
	/* Take the stack back. One that took it a moment ago is coming. */
	if (__atomic_exchange_n(&ap_stack_top, 0, __ATOMIC_SEQ_CST))
		return false;
	CHECK(wait_online(c, LATE_WAIT_US));
	return true;
}

/* A struct for each processor to be started, with the guard page below its stack unmapped; NULL when memory is out. */
static struct cpu *make_cpus(unsigned count)
{
	struct cpu *c = memory_early(count * sizeof(*c));
	for (unsigned i = 0; c && i < count; i++)
		if (!paging_guard((uint64_t)c[i].guard))
			return NULL;
	return c;
}

bool smp_start(const struct acpi *acpi, unsigned limit, uint64_t low_page)
{
	unsigned silent = 0, parked = 0;
	unsigned wanted = acpi->cpus ? acpi->cpus : 1;
	bool fit = true;

	if (limit && limit < wanted)
		wanted = limit;
	struct cpu *next = low_page && wanted > 1 ? make_cpus(wanted - 1) : NULL;
	if (wanted > 1 && !next)
		host_log(HOST_WARN, "no RAM below %s for other processors", low_page ? "4 GiB" : "640 KiB");
	if (low_page)
		__builtin_memcpy(host_virt(hpa(low_page)), ap_trampoline_start,
			(size_t)(ap_trampoline_end - ap_trampoline_start));
	for (unsigned i = 0; i < acpi->cpus; i++) {
		if (acpi->apic_id[i] == this_cpu()->apic_id)
			continue;
		if (!next || cpu_count() >= wanted) {
			parked++;
			continue;
		}
		next->index = cpu_count();
		next->apic_id = acpi->apic_id[i];
		if (!start_one(next, acpi->apic_id[i], low_page)) {
			host_log(HOST_WARN, "the processor with APIC id %u does not start", acpi->apic_id[i]);
			silent++;
			continue;
		}
		fit = fit && load_acquire(&next->online) == CPU_ONLINE;
		cpu_add(next++);
	}
	host_log(HOST_INFO, "%u processors run, %u are parked, %u do not answer, %u are disabled, %u too many",
		cpu_count(), parked, silent, acpi->disabled, acpi->beyond);
	return fit;
}
