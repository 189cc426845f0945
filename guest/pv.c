/* SPDX-License-Identifier: MIT */
#include "guest/pv.h"
#include "guest/cpuid.h"
#include "guest/vm.h"

#define BIT(n) (1u << (n))

/* "KVMKVMKVM" and zeros */
#define SIGNATURE_EBX 0x4b4d564bu
#define SIGNATURE_ECX 0x564b4d56u
#define SIGNATURE_EDX 0x0000004du

static const struct part {
	unsigned part;
	uint32_t features;
} parts[] = {
	{CONFIG_PV_CLOCK, BIT(PV_FEATURE_CLOCK) | BIT(PV_FEATURE_CLOCK_STABLE)},
	{CONFIG_PV_EOI, BIT(PV_FEATURE_EOI)},
	{CONFIG_PV_STEAL, BIT(PV_FEATURE_STEAL_TIME)},
	{CONFIG_PV_TLB, BIT(PV_FEATURE_TLB_FLUSH)},
	{CONFIG_PV_IPI, BIT(PV_FEATURE_SEND_IPI)},
};

static bool has(const struct vcpu *v, unsigned part)
{
	return v->vm->config.pv & part;
}

void pv_cpuid(const struct vcpu *v, uint32_t leaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){0};
	if (!v->vm->config.pv)
		return;
	if (leaf == PV_CPUID_SIGNATURE)
		*r = (struct cpuid_regs){PV_CPUID_FEATURES, SIGNATURE_EBX, SIGNATURE_ECX, SIGNATURE_EDX};
	if (leaf != PV_CPUID_FEATURES)
		return;
	r->eax = BIT(PV_FEATURE_NOP_IO_DELAY); /* no device here needs time between two accesses */
	for (unsigned i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (has(v, parts[i].part))
			r->eax |= parts[i].features;
}

bool pv_msr_read(const struct vcpu *v, uint32_t index, uint64_t *value)
{
	switch (index) {
	case PV_MSR_WALL_CLOCK:
		*value = 0;
		return has(v, CONFIG_PV_CLOCK);
	case PV_MSR_SYSTEM_TIME:
		*value = v->pv.clock;
		return has(v, CONFIG_PV_CLOCK);
	case PV_MSR_STEAL_TIME:
		*value = v->pv.steal;
		return has(v, CONFIG_PV_STEAL);
	case PV_MSR_EOI:
		*value = v->pv.eoi;
		return has(v, CONFIG_PV_EOI);
	}
	return false;
}

void pv_note(struct vcpu *v)
{
	v->pv.slices = v->pv.clock || v->pv.steal;
}

static bool set_clock(struct vcpu *v, uint64_t value)
{
	uint64_t old = v->pv.clock;

	if (value & 2)
		return false;
	v->pv.clock = value & PV_MSR_ENABLE ? value : 0;
	if (v->pv.clock && !pv_clock_write(v)) {
		v->pv.clock = old;
		return false;
	}
	pv_note(v);
	return true;
}

static bool set_eoi(struct vcpu *v, uint64_t value)
{
	uint8_t flag;

	if (value & 2 || (value & PV_MSR_ENABLE && !mmu_read(v->mmu.mmu, gpa(value & ~3UL), &flag, sizeof flag)))
		return false;
	if (v->pv.eoi_offered)
		pv_eoi_sync(v);
	if (v->pv.eoi_offered)
		pv_eoi_withdraw(v);
	v->pv.eoi = value & PV_MSR_ENABLE ? value : 0;
	if (v->pv.eoi)
		pv_eoi_withdraw(v); /* nothing is offered, whatever is there */
	return true;
}

bool pv_msr_write(struct vcpu *v, uint32_t index, uint64_t value)
{
	switch (index) {
	case PV_MSR_WALL_CLOCK:
		return has(v, CONFIG_PV_CLOCK) && pv_wall_write(v, value);
	case PV_MSR_SYSTEM_TIME:
		return has(v, CONFIG_PV_CLOCK) && set_clock(v, value);
	case PV_MSR_STEAL_TIME:
		return has(v, CONFIG_PV_STEAL) && pv_steal_set(v, value);
	case PV_MSR_EOI:
		return has(v, CONFIG_PV_EOI) && set_eoi(v, value);
	}
	return false;
}

void pv_reset(struct vcpu *v)
{
	v->pv.clock = v->pv.steal = v->pv.eoi = 0;
	v->pv.eoi_offered = false;
	v->pv.waits = 0;
	pv_note(v);
}

void pv_slice_begin(struct vcpu *v)
{
	struct pv_vcpu *p = &v->pv;

	if (load_relaxed(&p->clock_due)) {
		xchg_seq(&p->clock_due, 0); /* before the look at what it is due to; partner: pv_tsc_moved */
		pv_clock_write(v);
	}
	if (p->steal)
		pv_steal_begin(v);
}

void pv_slice_end(struct vcpu *v)
{
	if (v->pv.steal)
		pv_steal_end(v);
}

void pv_stood_still(struct vcpu *v)
{
	v->pv.waits = 0;
	v->pv.stopped = true;
	store_relaxed(&v->pv.clock_due, 1);
}
