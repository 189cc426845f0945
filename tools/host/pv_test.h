/* SPDX-License-Identifier: MIT */
/* What the tests of guest/pv*.c share: two vCPUs with x2APICs, the first one running, and every part on. */
#ifndef TOOLS_HOST_PV_TEST_H
#define TOOLS_HOST_PV_TEST_H

#include <string.h>

#include "tools/host/vcpu_test.h"

#define PAGE_A 0x200000UL
#define NO_RAM (1UL << 32)
#define X2APIC_EOI 0x80bu
#define X2APIC_SELF_IPI 0x83fu
#define X2APIC_ISR 0x810u
#define VECTOR 0x51

static struct vcpu second __attribute__((unused));
static unsigned attended;

static inline void attend(struct vcpu *v)
{
	(void)v;
	attended++;
}

static inline int setup(void **state)
{
	struct vcpu_test *t;

	if (vcpu_setup(state))
		return -1;
	t = *state;
	t->vm.config.pv = CONFIG_PV_ALL;
	t->vm.created = host_clock();
	t->vm.attend = attend;
	t->vm.bus.lock.rank = LOCK_BUS;
	pic_init(&t->vm.pic);
	second = (struct vcpu){.vm = &t->vm, .index = 1, .activity = VCPU_HALTED, .model = &t->model};
	assert_true(mmu_vcpu_init(&second.mmu, &t->mmu));
	t->vm.vcpu[t->vm.vcpus++] = &second;
	lapic_init(&second);
	for (unsigned i = 0; i < 2; i++) {
		struct vcpu *v = t->vm.vcpu[i];

		v->tsc_offset = -t->vm.created;
		assert_true(lapic_set_base(v, load_relaxed(&v->lapic.base) | LAPIC_BASE_X2APIC));
		assert_true(lapic_msr_write(v, 0x80f, 0x1ff));
	}
	store_relaxed(&t->v.lapic.lvt[LVT_LINT0], 1u << 16);
	attended = 0;
	return 0;
}

static inline int teardown(void **state)
{
	mmu_vcpu_destroy(&second.mmu);
	return vcpu_teardown(state);
}

#define PV_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static inline struct vcpu *vcpu(void **state)
{
	return &((struct vcpu_test *)*state)->v;
}

static inline bool wr(struct vcpu *v, uint32_t msr, uint64_t value)
{
	const char *why;

	return msr_write(v, msr, value, &why) == CR_DONE;
}

static inline uint64_t peek(struct vcpu *v, uint64_t at, unsigned bytes)
{
	uint64_t value = 0;

	assert_true(mmu_read(v->mmu.mmu, gpa(at), &value, bytes));
	return value;
}

static inline void poke(struct vcpu *v, uint64_t at, uint64_t value, unsigned bytes)
{
	assert_true(mmu_write(v->mmu.mmu, gpa(at), &value, bytes));
}

static inline uint64_t call(struct vcpu *v, uint64_t number, uint64_t low, uint64_t high, uint64_t first, uint64_t icr)
{
	v->gpr[RAX] = number;
	v->gpr[RBX] = low;
	v->gpr[RCX] = high;
	v->gpr[RDX] = first;
	v->gpr[RSI] = icr;
	assert_true(pv_call(v));
	return v->gpr[RAX];
}

#endif
