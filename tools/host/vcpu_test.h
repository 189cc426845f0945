/* SPDX-License-Identifier: MIT */
/* What the tests of the vCPU's policy share: a host whose CPUID is a table, and a vCPU of it in reset state. */
#ifndef TOOLS_HOST_VCPU_TEST_H
#define TOOLS_HOST_VCPU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/cpuid.h"
#include "guest/msr.h"
#include "guest/vm.h"
#include "tools/host/native.h"

#define TEST_ENTRY 0x101000u
#define TEST_INFO 0x9000u
#define TEST_PHYS_BITS 39u

/* A host with every feature bit there is, AVX-512 and RDTSCP too. */
static inline struct cpuid_regs full_host(uint32_t leaf, uint32_t subleaf)
{
	switch (leaf) {
	case 0:
		return (struct cpuid_regs){0x16, 0x756e6547, 0x6c65746e, 0x49656e69};
	case 4:
		return subleaf < 3 ? (struct cpuid_regs){0xfc004121, 0x01c0003f, 63, 0} : (struct cpuid_regs){0};
	case 0xd:
		if (subleaf == 0)
			return (struct cpuid_regs){0x2e7, 2696, 2696, 0};
		if (subleaf == 2)
			return (struct cpuid_regs){256, 576, 0, 0};
		if (subleaf >= 5 && subleaf <= 7)
			return (struct cpuid_regs){subleaf == 5   ? 64
						   : subleaf == 6 ? 512
								  : 1024,
				subleaf == 5   ? 1088
				: subleaf == 6 ? 1152
					       : 1664,
				0, 0};
		return (struct cpuid_regs){~0u, ~0u, ~0u, ~0u};
	case 0x80000000:
		return (struct cpuid_regs){0x80000008, 0, 0, 0};
	case 0x80000008:
		return (struct cpuid_regs){0x3000 | TEST_PHYS_BITS, ~0u, ~0u, ~0u};
	default:
		return (struct cpuid_regs){~0u, ~0u, ~0u, ~0u};
	}
}

/* As the oldest processor that can run this hypervisor: no XSAVE, no leaf 7. */
static inline struct cpuid_regs old_host(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r = full_host(leaf, subleaf);

	if (leaf == 0)
		r.eax = 4;
	if (leaf == 1)
		r.ecx &= ~(1u << 26);
	if (leaf == 0x80000001)
		r.edx &= ~(1u << 26 | 1u << 27);
	return r;
}

struct vcpu_test {
	struct cpuid_model model;
	struct mmu mmu;
	struct vcpu v;
	struct vm vm; /* no more of it than its vCPU */
};
static struct vcpu_test vcpu_test __attribute__((unused));

static inline int vcpu_setup(void **state)
{
	struct vcpu_test *t = &vcpu_test;

	*t = (struct vcpu_test){0};
	host_native_init(1);
	mmu_global_init();
	cpuid_init(&t->model, full_host, true);
	mmu_phys_bits = t->model.phys_bits;
	assert_true(mmu_init(&t->mmu, "a", 256));
	assert_true(mmu_add_ram(&t->mmu, 4UL << 20));
	assert_true(mmu_vcpu_init(&t->v.mmu, &t->mmu));
	vcpu_reset_multiboot(&t->v, TEST_ENTRY, 0x2badb002, TEST_INFO);
	t->v.model = &t->model;
	t->vm.vcpu[t->vm.vcpus++] = &t->v;
	t->v.vm = &t->vm;
	lapic_init(&t->v);
	t->v.changed = 0;
	*state = t;
	return 0;
}

static inline int vcpu_teardown(void **state)
{
	struct vcpu_test *t = *state;

	mmu_vcpu_destroy(&t->v.mmu);
	mmu_destroy(&t->mmu);
	return 0;
}

#define vcpu_unit_test(f) cmocka_unit_test_setup_teardown(f, vcpu_setup, vcpu_teardown)

#endif
