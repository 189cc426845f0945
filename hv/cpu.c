/* SPDX-License-Identifier: MIT */
#include "boot/bootinfo.h"
#include "hv/apic.h"
#include "hv/cpu.h"
#include "hv/log.h"
#include "hv/trap.h"
#include "hv/x86.h"
#include "mm/mmu.h"

#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_DATA 0x00cf93000000ffffull
#define GDT_TSS_AVAILABLE 0x0000890000000000ull

extern void trap_load_segments(void);

static struct cpu *cpus[HOST_MAX_CPUS];
static unsigned cpus_online;

struct cpu *cpu_get(unsigned index)
{
	CHECK(index < cpus_online);
	return cpus[index];
}

unsigned cpu_count(void)
{
	return cpus_online;
}

void cpu_add(struct cpu *c)
{
	CHECK(cpus_online < HOST_MAX_CPUS && c->index == cpus_online);
	cpus[cpus_online++] = c;
}

static void gdt_init(struct cpu *c)
{
	uint64_t base = (uint64_t)&c->tss, limit = sizeof(c->tss) - 1;
	c->gdt[SELECTOR_CODE32 / 8] = GDT_CODE32;
	c->gdt[SELECTOR_CODE / 8] = GDT_CODE64;
	c->gdt[SELECTOR_DATA / 8] = GDT_DATA;
	c->gdt[SELECTOR_TSS / 8] = GDT_TSS_AVAILABLE | limit | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	c->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;

	c->tss.io_map_base = sizeof(c->tss);
	for (unsigned i = 0; i < IST_COUNT; i++)
		c->tss.ist[i] = (uint64_t)c->ist_stack[i] + CPU_IST_BYTES;

	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {sizeof(c->gdt) - 1, (uint64_t)c->gdt};
	asm volatile("lgdt %0" : : "m"(pointer));
	trap_load_segments();
	asm volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

/* What CR4 turns on. There is no user's page here: SMEP and SMAP are what a guest's CR4 most likely has too, and a VM entry or
 * exit that changes neither costs QEMU two flushes less. */
static uint64_t features(void)
{
	struct cpuid basic = cpuid(1, 0);
	uint32_t ebx = cpuid(0, 0).eax >= 7 ? cpuid(7, 0).ebx : 0;
	uint64_t cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (basic.ecx & CPUID_1_ECX_XSAVE)
		cr4 |= CR4_OSXSAVE;
	if (basic.edx & CPUID_1_EDX_MCE)
		cr4 |= CR4_MCE;
	if (ebx & CPUID_7_EBX_SMEP)
		cr4 |= CR4_SMEP;
	if (ebx & CPUID_7_EBX_SMAP)
		cr4 |= CR4_SMAP;
	return cr4;
}

void cpu_init(struct cpu *c, unsigned index)
{
	c->self = c;
	c->index = index;
	store_relaxed(&c->irqoff, IRQOFF_NOT_YET);
	gdt_init(c);
	wrmsr(MSR_FS_BASE, 0);
	wrmsr(MSR_GS_BASE, (uint64_t)c);
	trap_load_idt();
	write_cr4(features());
}

bool cpu_start_work(unsigned index, void (*work)(void *), void *argument)
{
	struct cpu *c = cpu_get(index);
	CHECK(c != this_cpu());
	if (!cpu_is_idle(index))
		return false;
	c->work_argument = argument;
	/* Publishes the argument; partner: the load in cpu_idle_loop(). */
	store_release(&c->work, (uint64_t)work);
	CHECK(apic_send_kick(cpu_get(index)->apic_id));
	return true;
}

bool cpu_is_idle(unsigned index)
{
	return !load_acquire(&cpu_get(index)->work);
}

_Noreturn void cpu_idle_loop(void)
{
	struct cpu *c = this_cpu();
	for (;;) {
		irq_disable();
		void (*work)(void *) = (void (*)(void *))load_acquire(&c->work);
		if (!work) {
			irq_wait();
			continue;
		}
		irq_enable();
		work(c->work_argument);
		store_release(&c->work, 0);
	}
}
