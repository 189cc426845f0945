/* SPDX-License-Identifier: MIT */
/* Instructions and numbers of the processor, each under its manual's name (Intel SDM). */
#ifndef HV_X86_H
#define HV_X86_H

#include <stdbool.h>
#include <stdint.h>

/* Model-specific registers. */
#define MSR_APIC_BASE 0x1b
#define APIC_BASE_X2APIC (1u << 10)
#define APIC_BASE_ENABLE (1u << 11)
#define APIC_BASE_ADDRESS 0xffffff000ull
#define MSR_FEATURE_CONTROL 0x3a
#define FEATURE_CONTROL_LOCK (1u << 0)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX (1u << 2)
#define MSR_EFER 0xc0000080
#define EFER_SVME (1UL << 12)
#define MSR_VM_CR 0xc0010114
#define VM_CR_LOCK (1u << 3)
#define VM_CR_SVMDIS (1u << 4)
#define MSR_VM_HSAVE_PA 0xc0010117
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102

#define CR0_PE (1UL << 0)
#define CR0_MP (1UL << 1)
#define CR0_EM (1UL << 2)
#define CR0_TS (1UL << 3)
#define CR0_NE (1UL << 5)
#define CR0_WP (1UL << 16)
#define CR0_PG (1UL << 31)
#define CR4_PAE (1UL << 5)
#define CR4_MCE (1ull << 6)
#define CR4_PGE (1UL << 7)
#define CR4_OSFXSR (1UL << 9)
#define CR4_OSXMMEXCPT (1UL << 10)
#define CR4_VMXE (1UL << 13)
#define CR4_OSXSAVE (1UL << 18)

#define RFLAGS_IF (1UL << 9)

/* CPUID leaf 1 and extended leaf 0x80000001. */
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_1_ECX_X2APIC (1u << 21)
#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define CPUID_1_EDX_MCE (1u << 7)
#define CPUID_1_EDX_APIC (1u << 9)
#define CPUID_7_EBX_SMEP (1u << 7)
#define CPUID_7_EBX_SMAP (1u << 20)
#define CPUID_EXT_1_ECX_SVM (1u << 2)

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;
	asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
	return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;
	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* RDMSR and WRMSR of a register that may not exist: false when the instruction faulted (#GP). */
static inline bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
	uint32_t low = 0, high = 0;
	bool ok = false;
	asm volatile("1: rdmsr\n\tmovb $1, %0\n2:\n\t.pushsection .extable, \"a\"\n\t.quad 1b, 2b\n\t.popsection"
		: "+m"(ok), "+a"(low), "+d"(high) : "c"(msr) : "memory");
	*value = low | (uint64_t)high << 32;
	return ok;
}

static inline bool wrmsr_safe(uint32_t msr, uint64_t value)
{
	bool ok = false;
	asm volatile("1: wrmsr\n\tmovb $1, %0\n2:\n\t.pushsection .extable, \"a\"\n\t.quad 1b, 2b\n\t.popsection"
		: "+m"(ok) : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
	return ok;
}

static inline uint64_t rdtsc(void)
{
	uint64_t low, high; /* it clears their upper halves */
	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return low | high << 32;
}

static inline void outb(uint16_t port, uint8_t v) { asm volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void outw(uint16_t port, uint16_t v) { asm volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void outl(uint16_t port, uint32_t v) { asm volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory"); }

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;
	asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint64_t read_cr0(void) { uint64_t v; asm volatile("mov %%cr0, %0" : "=r"(v) : : "memory"); return v; }
static inline uint64_t read_cr2(void) { uint64_t v; asm volatile("mov %%cr2, %0" : "=r"(v) : : "memory"); return v; }
static inline uint64_t read_cr3(void) { uint64_t v; asm volatile("mov %%cr3, %0" : "=r"(v) : : "memory"); return v; }
static inline uint64_t read_cr4(void) { uint64_t v; asm volatile("mov %%cr4, %0" : "=r"(v) : : "memory"); return v; }
static inline uint64_t read_dr6(void)
{
	uint64_t v;

	asm volatile("mov %%dr6, %0" : "=r"(v));
	return v;
}
static inline void write_dr6(uint64_t v) { asm volatile("mov %0, %%dr6" : : "r"(v)); }
static inline void write_cr0(uint64_t v) { asm volatile("mov %0, %%cr0" : : "r"(v) : "memory"); }
static inline void write_cr2(uint64_t v) { asm volatile("mov %0, %%cr2" : : "r"(v) : "memory"); }
static inline void write_cr3(uint64_t v) { asm volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static inline void write_cr4(uint64_t v) { asm volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }

static inline void write_breakpoints(const uint64_t dr[4])
{
	asm volatile("mov %0, %%dr0" : : "r"(dr[0]));
	asm volatile("mov %0, %%dr1" : : "r"(dr[1]));
	asm volatile("mov %0, %%dr2" : : "r"(dr[2]));
	asm volatile("mov %0, %%dr3" : : "r"(dr[3]));
}

static inline uint64_t read_rflags(void)
{
	uint64_t v;
	asm volatile("pushfq\n\tpopq %0" : "=r"(v) : : "memory");
	return v;
}

static inline void irq_enable(void) { asm volatile("sti" : : : "memory"); }
static inline void irq_disable(void) { asm volatile("cli" : : : "memory"); }
static inline bool irq_enabled(void) { return read_rflags() & RFLAGS_IF; }
/* Interrupts on and wait for one, without a gap between the two: nothing that comes after a check made with
 * interrupts off is slept through. Returns with interrupts off. */
static inline void irq_wait(void) { asm volatile("sti\n\thlt\n\tcli" : : : "memory"); }
static inline void halt_once(void) { asm volatile("hlt" : : : "memory"); }
static inline void cpu_relax(void) { asm volatile("pause" : : : "memory"); }

#endif
