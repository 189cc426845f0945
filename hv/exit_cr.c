/* SPDX-License-Identifier: MIT */
/* Exits of control and debug registers, MSRs and XSETBV. The rules are guest/cr.c's, guest/msr.c's and guest/vcpu.c's.
 */
#include "guest/cpuid.h"
#include "guest/msr.h"
#include "hv/runner.h"

/* The register operand of a MOV: 32 bits outside 64-bit mode. */
__attribute__((noinline)) static uint64_t wide_operand(struct vcpu *v, uint64_t value)
{
	guests.backend->fetch(v, VCPU_SEGMENTS);
	return vcpu_64bit(v) ? value : (uint32_t)value;
}

static inline uint64_t operand(struct vcpu *v, unsigned gpr)
{
	if (gpr == RSP)
		guests.backend->fetch(v, VCPU_RSP);
	return v->gpr[gpr] >> 32 ? wide_operand(v, v->gpr[gpr]) : v->gpr[gpr];
}

static void set_operand(struct vcpu *v, unsigned gpr, uint64_t value)
{
	v->gpr[gpr] = value;
	if (gpr == RSP) {
		v->stale &= ~VCPU_RSP;
		v->changed |= VCPU_RSP;
	}
}

/* *reason is what o came with: a pointer, since the calls' arguments are evaluated in any order. */
static enum runner_next finish(struct runner *r, struct exit *e, enum cr_outcome o, const char *const *reason)
{
	switch (o) {
	case CR_DONE:
		vcpu_skip(r->v, e->length);
		return NEXT_ENTER;
	case CR_FAULT:
		return inject_exception(r, e, VECTOR_GP, true, 0);
	case CR_RETRY:
		return exit_retry(r, e);
	default:
		return report_crash(r, e, "%s", *reason);
	}
}

enum runner_next exit_cr_read(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;

	switch (e->cr.number) {
	case 0:
	case 4:
		guests.backend->fetch(v, VCPU_CONTROL);
		set_operand(v, e->cr.gpr, e->cr.number ? v->cr4 : v->cr0);
		break;
	case 3:
		set_operand(v, e->cr.gpr, v->cr3);
		break;
	case 8:
		set_operand(v, e->cr.gpr, lapic_cr8(v));
		break;
	default:
		return report_crash(r, e, "exit of a read of CR%u", e->cr.number);
	}
	vcpu_skip(v, e->length);
	return NEXT_ENTER;
}

static inline enum runner_next write_cr3(struct runner *r, struct exit *e, uint64_t value)
{
	struct vcpu *v = r->v;
	const char *reason;
	enum cr_outcome o = cr_write_cr3(v, value, &reason);

	if (o != CR_FLUSH)
		return finish(r, e, o, &reason);
	guests.backend->flush(v);
	mmu_flushed(&v->mmu);
	vcpu_skip(v, e->length);
	return NEXT_ENTER;
}

/* All but CR3. */
__attribute__((noinline)) static enum runner_next write_control(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint64_t value = e->cr.from_value ? e->cr.value : operand(v, e->cr.gpr);
	const char *reason = 0;

	guests.backend->fetch(v, VCPU_CONTROL);
	switch (e->cr.number) {
	case 0:
		if ((value ^ v->cr0) & CR0_PG)
			guests.backend->fetch(v, VCPU_SEGMENTS);
		return finish(r, e, cr_write_cr0(v, value, &reason), &reason);
	case 4:
		return finish(r, e, cr_write_cr4(v, value, &reason), &reason);
	case 8:
		return finish(r, e, cr_write_cr8(v, value), 0);
	default:
		return report_crash(r, e, "exit of a write of CR%u", e->cr.number);
	}
}

enum runner_next exit_cr_write(struct runner *r, struct exit *e)
{
	return e->cr.number == 3 ? write_cr3(r, e, operand(r->v, e->cr.gpr)) : write_control(r, e);
}

enum runner_next exit_dr(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint64_t value;
	int fault;

	guests.backend->fetch(v, VCPU_SEGMENTS);
	if (e->reason == EXIT_DR_READ) {
		fault = vcpu_read_dr(v, e->dr.number, &value);
		if (fault < 0)
			set_operand(v, e->dr.gpr, value);
	} else {
		fault = vcpu_write_dr(v, e->dr.number, operand(v, e->dr.gpr));
	}
	if (fault >= 0)
		return inject_exception(r, e, (uint8_t)fault, fault == VECTOR_GP, 0);
	vcpu_skip(v, e->length);
	return NEXT_ENTER;
}

enum runner_next exit_rdmsr(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint64_t value;

	guests.backend->fetch(v, VCPU_CONTROL);
	if (!msr_read(v, (uint32_t)v->gpr[RCX], &value))
		return inject_exception(r, e, VECTOR_GP, true, 0);
	v->gpr[RAX] = (uint32_t)value;
	v->gpr[RDX] = value >> 32;
	vcpu_skip(v, e->length);
	return NEXT_ENTER;
}

/* What may bring the local APIC's timer nearer. */
static enum runner_next write_lapic(struct runner *r, struct exit *e, uint32_t index, uint64_t value)
{
	const char *reason;
	enum cr_outcome o = msr_write(r->v, index, value, &reason);

	runner_arm(r->v->lapic.due);
	return finish(r, e, o, &reason);
}

enum runner_next exit_wrmsr(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint64_t value = (uint32_t)v->gpr[RAX] | v->gpr[RDX] << 32;
	uint32_t index = (uint32_t)v->gpr[RCX];
	const char *reason = 0;

	guests.backend->fetch(v, VCPU_CONTROL);
	if (index >= MSR_FS_BASE && index <= MSR_KERNEL_GS_BASE)
		guests.backend->fetch(v, VCPU_SEGMENTS);
	if ((index >= LAPIC_MSR_FIRST && index <= LAPIC_MSR_LAST) || index == MSR_TSC_DEADLINE || index == MSR_TSC)
		return write_lapic(r, e, index, value);
	return finish(r, e, msr_write(v, index, value, &reason), &reason);
}

enum runner_next exit_xsetbv(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint64_t value = (uint32_t)v->gpr[RAX] | v->gpr[RDX] << 32;

	/* Bochs exits before it looks at CPL, as SVM is said to (APM vol. 2, 15.7); the interpreter looks at neither. */
	guests.backend->fetch(v, VCPU_SEGMENTS | VCPU_CONTROL);
	if (!(v->cr4 & CR4_OSXSAVE))
		return inject_exception(r, e, VECTOR_UD, false, 0);
	if (vcpu_cpl(v))
		return inject_exception(r, e, VECTOR_GP, true, 0);
	return finish(r, e, cr_write_xcr(v, (uint32_t)v->gpr[RCX], value), 0);
}
