/* SPDX-License-Identifier: MIT */
#include "guest/msr.h"
#include "guest/cpuid.h"

#define MISC_ENABLE_FAST_STRINGS 1UL
#define MTRR_DEF_TYPE_WRITABLE 0xcffUL /* type, FE, E */

typedef bool (*msr_valid)(const struct vcpu *v, uint64_t value);

static bool any(const struct vcpu *v, uint64_t value)
{
	(void)v;
	(void)value;
	return true;
}

static bool canonical(const struct vcpu *v, uint64_t value)
{
	(void)v;
	return vcpu_canonical(value);
}

static bool low32(const struct vcpu *v, uint64_t value)
{
	(void)v;
	return !(value >> 32);
}

/* A memory type as MTRRs and PAT number them: UC, WC, WT, WP, WB; UC- in the PAT alone. */
static bool memory_type(uint8_t t, bool pat)
{
	return t == 0 || t == 1 || (t >= 4 && t <= 6) || (pat && t == 7);
}

static bool pat(const struct vcpu *v, uint64_t value)
{
	(void)v;
	for (unsigned i = 0; i < 64; i += 8)
		if (!memory_type((uint8_t)(value >> i), true))
			return false;
	return true;
}

static bool mtrr_def_type(const struct vcpu *v, uint64_t value)
{
	(void)v;
	return !(value & ~MTRR_DEF_TYPE_WRITABLE) && memory_type((uint8_t)value, false);
}

static bool misc_enable(const struct vcpu *v, uint64_t value)
{
	return !((value ^ v->misc_enable) & ~MISC_ENABLE_FAST_STRINGS);
}

static bool tsc_aux(const struct vcpu *v, uint64_t value)
{
	return v->model->rdtscp && !(value >> 32);
}

/* A register that is a field of struct vcpu. changed: the parts that a write makes newer than the hardware's. */
struct msr_field {
	uint32_t index;
	size_t offset;
	msr_valid valid;
	uint32_t changed;
};

/* FS_BASE, GS_BASE and KERNEL_GS_BASE: guests read them without an exit, and write them so on VMX. */
#define FIELD(name) offsetof(struct vcpu, name)
static const struct msr_field fields[] = {
	{MSR_STAR, FIELD(star), any, VCPU_MSRS},
	{MSR_LSTAR, FIELD(lstar), canonical, VCPU_MSRS},
	{MSR_CSTAR, FIELD(cstar), canonical, VCPU_MSRS},
	{MSR_SFMASK, FIELD(sfmask), low32, VCPU_MSRS},
	{MSR_SYSENTER_CS, FIELD(sysenter_cs), low32, VCPU_MSRS},
	{MSR_SYSENTER_ESP, FIELD(sysenter_esp), canonical, VCPU_MSRS},
	{MSR_SYSENTER_EIP, FIELD(sysenter_eip), canonical, VCPU_MSRS},
	{MSR_FS_BASE, FIELD(seg[FS].base), canonical, VCPU_SEGMENTS},
	{MSR_GS_BASE, FIELD(seg[GS].base), canonical, VCPU_SEGMENTS},
	{MSR_KERNEL_GS_BASE, FIELD(kernel_gs_base), canonical, VCPU_SEGMENTS},
	{MSR_TSC_AUX, FIELD(tsc_aux), tsc_aux, VCPU_MSRS},
	{MSR_PAT, FIELD(pat), pat, 0},
	{MSR_MISC_ENABLE, FIELD(misc_enable), misc_enable, 0},
	{MSR_MTRR_DEF_TYPE, FIELD(mtrr_def_type), mtrr_def_type, 0},
};

static const struct msr_field *find(struct vcpu *v, uint32_t index, uint64_t **value)
{
	for (unsigned i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (fields[i].index == index) {
			*value = (uint64_t *)((char *)v + fields[i].offset);
			return &fields[i];
		}
	return 0;
}

bool msr_read(struct vcpu *v, uint32_t index, uint64_t *value)
{
	uint64_t *field;

	switch (index) {
	case MSR_EFER:
		*value = v->efer;
		return true;
	case MSR_TSC:
		*value = host_clock() + v->tsc_offset;
		return true;
	case MSR_APIC_BASE:
		*value = load_relaxed(&v->lapic.base);
		return true;
	case MSR_TSC_DEADLINE:
		*value = lapic_deadline(v);
		return true;
	case LAPIC_MSR_FIRST ... LAPIC_MSR_LAST:
		return lapic_msr_read(v, index, value);
	case PV_MSR_FIRST ... PV_MSR_LAST:
		if (pv_msr_read(v, index, value))
			return true;
		msr_unknown_count(&v->unknown_msrs, index, false);
		return false;
	case MSR_BIOS_SIGN_ID: /* no microcode update */
	case MSR_MTRRCAP:      /* no variable, no fixed ranges: the default type is all there is */
	case MSR_MCG_CAP:      /* no machine-check banks */
	case MSR_MCG_STATUS:
		*value = 0;
		return true;
	case MSR_INT_PENDING: /* AMD's families 0xf and 0x10 have it, and kernels look whether C1E is on */
		if (!v->model->amd)
			break;
		*value = 0;
		return true;
	}
	if (!find(v, index, &field) || (index == MSR_TSC_AUX && !v->model->rdtscp)) {
		msr_unknown_count(&v->unknown_msrs, index, false);
		return false;
	}
	*value = *field;
	return true;
}

enum cr_outcome msr_write(struct vcpu *v, uint32_t index, uint64_t value, const char **reason)
{
	const struct msr_field *f;
	uint64_t *field;

	switch (index) {
	case MSR_EFER:
		return cr_write_efer(v, value, reason);
	case MSR_TSC:
		v->tsc_offset = value - host_clock();
		v->changed |= VCPU_MSRS;
		lapic_tsc_moved(v);
		pv_tsc_moved(v);
		return CR_DONE;
	case MSR_APIC_BASE:
		return lapic_set_base(v, value) ? CR_DONE : CR_FAULT;
	case MSR_TSC_DEADLINE:
		lapic_set_deadline(v, value);
		return CR_DONE;
	case LAPIC_MSR_FIRST ... LAPIC_MSR_LAST:
		return lapic_msr_write(v, index, value) ? CR_DONE : CR_FAULT;
	case PV_MSR_FIRST ... PV_MSR_LAST:
		return pv_msr_write(v, index, value) ? CR_DONE : CR_FAULT;
	case MSR_BIOS_SIGN_ID:
	case MSR_MCG_STATUS:
		return value ? CR_FAULT : CR_DONE;
	}
	f = find(v, index, &field);
	if (!f) {
		msr_unknown_count(&v->unknown_msrs, index, true);
		return CR_FAULT;
	}
	if (!f->valid(v, value))
		return CR_FAULT;
	*field = value;
	v->changed |= f->changed;
	return CR_DONE;
}
