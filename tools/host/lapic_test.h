/* SPDX-License-Identifier: MIT */
/* A guest of several vCPUs with their local APICs, for tests of guest/lapic*.c and guest/activity.c. */
#ifndef TOOLS_HOST_LAPIC_TEST_H
#define TOOLS_HOST_LAPIC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/cpuid.h"
#include "guest/msr.h"
#include "guest/vm.h"
#include "tools/host/native.h"

#define LAPIC_TEST_VCPUS 4
#define LAPIC_TEST_MEM (4UL << 20)

/* Registers, by their offset in the page. */
enum {
	PAGE_ID = 0x20,
	PAGE_VERSION = 0x30,
	PAGE_TPR = 0x80,
	PAGE_APR = 0x90,
	PAGE_PPR = 0xa0,
	PAGE_EOI = 0xb0,
	PAGE_LDR = 0xd0,
	PAGE_DFR = 0xe0,
	PAGE_SVR = 0xf0,
	PAGE_ISR = 0x100,
	PAGE_TMR = 0x180,
	PAGE_IRR = 0x200,
	PAGE_ESR = 0x280,
	PAGE_CMCI = 0x2f0,
	PAGE_ICR = 0x300,
	PAGE_ICR_HIGH = 0x310,
	PAGE_LVT_TIMER = 0x320,
	PAGE_LVT_LINT0 = 0x350,
	PAGE_LVT_LINT1 = 0x360,
	PAGE_LVT_ERROR = 0x370,
	PAGE_INITIAL = 0x380,
	PAGE_CURRENT = 0x390,
	PAGE_DIVIDE = 0x3e0,
	PAGE_SELF_IPI = 0x3f0,
};

#define TEST_MASKED 0x10000u
#define TEST_SVR_ON 0x1ffu
#define X2APIC_ON (LAPIC_BASE | LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)

struct lapic_test {
	struct vm vm;
	struct vcpu vcpu[LAPIC_TEST_VCPUS];
	struct cpuid_model model; /* no more of it than that there is one */
	unsigned attended[LAPIC_TEST_VCPUS]; /* how often their run loops were asked */
};
static struct lapic_test lapic_test;
static struct vm *const vm __attribute__((unused)) = &lapic_test.vm;

static inline struct vcpu *vcpu(unsigned i)
{
	return &lapic_test.vcpu[i];
}

static inline void lapic_test_attend(struct vcpu *v)
{
	lapic_test.attended[v->index]++;
}

static inline int lapic_set_up(void **state)
{
	(void)state;
	host_native_init(LAPIC_TEST_VCPUS);
	mmu_global_init();
	memset(&lapic_test, 0, sizeof lapic_test);
	vm->config.mem = LAPIC_TEST_MEM;
	vm->attend = lapic_test_attend;
	if (!mmu_init(&vm->mmu, "a", 256) || !mmu_add_ram(&vm->mmu, LAPIC_TEST_MEM))
		return -1;
	for (; vm->vcpus < LAPIC_TEST_VCPUS; vm->vcpus++) {
		struct vcpu *v = vcpu(vm->vcpus);

		v->vm = vm;
		v->index = vm->vcpus;
		if (!mmu_vcpu_init(&v->mmu, &vm->mmu))
			return -1;
		v->model = &lapic_test.model;
		vcpu_reset_multiboot(v, 0x100000, 0, 0);
		lapic_init(v);
		if (v->index) {
			v->activity = VCPU_OFF;
			store_relaxed(&v->asleep, 1);
		}
		vm->vcpu[v->index] = v;
	}
	vm_init_devices(vm, host_clock());
	store_release(&vm->state, VM_RUNNING);
	return 0;
}

static inline int lapic_tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++)
		mmu_vcpu_destroy(&vcpu(i)->mmu);
	mmu_destroy(&vm->mmu);
	return 0;
}

static inline uint32_t page_in(struct vcpu *v, unsigned offset)
{
	uint64_t value = ~0UL;

	lapic_mmio(0, v, offset, 4, false, &value);
	assert_false(value >> 32);
	return (uint32_t)value;
}

static inline void page_out(struct vcpu *v, unsigned offset, uint32_t value)
{
	uint64_t data = value;

	lapic_mmio(0, v, offset, 4, true, &data);
}

/* The x2APIC's register that has this offset in the page. False: #GP. */
static inline bool msr_in(struct vcpu *v, unsigned offset, uint64_t *value)
{
	return lapic_msr_read(v, LAPIC_MSR_FIRST + offset / 16, value);
}
static inline bool msr_out(struct vcpu *v, unsigned offset, uint64_t value)
{
	return lapic_msr_write(v, LAPIC_MSR_FIRST + offset / 16, value);
}

static inline uint64_t msr_get(struct vcpu *v, unsigned offset)
{
	uint64_t value = 0;

	assert_true(msr_in(v, offset, &value));
	return value;
}

static inline void software_enable(struct vcpu *v)
{
	page_out(v, PAGE_SVR, TEST_SVR_ON);
}

static inline void enable_all(void)
{
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++)
		software_enable(vcpu(i));
}

static inline void x2apic_all(void)
{
	enable_all();
	for (unsigned i = 0; i < LAPIC_TEST_VCPUS; i++)
		assert_true(lapic_set_base(vcpu(i), X2APIC_ON | (i ? 0 : LAPIC_BASE_BSP)));
}

/* Is the vector's bit set in the bitmap of eight registers at this offset of the page? */
static inline bool bit_in(struct vcpu *v, unsigned offset, unsigned vector)
{
	return page_in(v, offset + vector / 32 * 16) >> vector % 32 & 1;
}

/* Delivers what is to be delivered now; its vector, or -1. */
static inline int take(struct vcpu *v)
{
	int vector = lapic_pending(v);

	if (vector >= 0)
		lapic_accept(v, (uint8_t)vector);
	return vector;
}

static inline void forget(struct vcpu *v)
{
	store_relaxed(&v->attention, 0);
	lapic_test.attended[v->index] = 0;
}

#define lapic_unit_test(f) cmocka_unit_test_setup_teardown(f, lapic_set_up, lapic_tear_down)

#endif
