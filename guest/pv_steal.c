/* SPDX-License-Identifier: MIT */
/* How long a vCPU could run and did not, and whether it runs: struct pv_steal in the guest's memory. With it, a TLB flush that
 * waits for the vCPU.
 *
 *   another vCPU of the guest                              this one's CPU
 *   1 changes page tables                                  a preempted = 1, the vCPU being outside the guest
 *   2 preempted & 1?  cmpxchg(preempted, 1, 1 | FLUSH)     b x = xchg(preempted, 0)
 *   3 it was not 1: interrupts this vCPU, which flushes    c x & FLUSH: the whole TLB is flushed, and what went
 *     in its handler, and waits for it                       unsync synced, before the next entry
 *                                                          d enters the guest
 *
 * Why it is safe. 2 and b are locked instructions on one byte, so one comes first. If 2: b finds FLUSH, and c comes after 1, for
 * 2 is a full barrier behind 1: whatever shadow or TLB entry was made of the tables before 1 is gone at d. If b: 2 fails, for
 * the byte is 0, and the other interrupts: 3. The vCPU executes nothing between a and d, so it does not matter when in between
 * it flushes, but that it does so after b; a flush before b could miss a 1 that comes after it (pvflush.pml).
 *
 * Under shadow paging to flush is not enough: a level-1 table may have been written without this vCPU's shadow knowing (unsync),
 * and is read again at a load of CR3 or a flush: mmu_flush_tlb(). */
#include "guest/vm.h"

#define NANOSECONDS 1000000000UL
#define STEAL_RESERVED 0x3eUL /* bits 5:1 */

static gpa_t at(const struct vcpu *v, size_t offset)
{
	return gpa((v->pv.steal & ~63UL) + offset);
}

static uint64_t nanoseconds(uint64_t ticks)
{
	uint64_t hz = host_clock_hz();

	return ticks / hz * NANOSECONDS + ticks % hz * NANOSECONDS / hz;
}

static void tell(struct vcpu *v)
{
	struct pv_vcpu *p = &v->pv;
	struct mmu *m = v->mmu.mmu;
	uint64_t time = nanoseconds(p->stolen);
	uint32_t version, odd, even;

	if (!mmu_read(m, at(v, offsetof(struct pv_steal, version)), &version, sizeof version))
		return;
	odd = (version + 1) | 1;
	even = odd + 1;
	/* exchanges: full barriers, for whoever reads without a lock */
	mmu_xchg(m, at(v, offsetof(struct pv_steal, version)), &odd, sizeof odd);
	mmu_write(m, at(v, offsetof(struct pv_steal, nanoseconds)), &time, sizeof time);
	mmu_xchg(m, at(v, offsetof(struct pv_steal, version)), &even, sizeof even);
	p->told = p->stolen;
}

void pv_steal_begin(struct vcpu *v)
{
	struct pv_vcpu *p = &v->pv;
	uint8_t preempted = 0;

	if (p->waits)
		p->stolen += host_clock() - p->waits;
	p->waits = 0;
	if (!mmu_xchg(v->mmu.mmu, at(v, offsetof(struct pv_steal, preempted)), &preempted, sizeof preempted)) /* b */
		return;
	if (preempted & PV_FLUSH_TLB)
		mmu_flush_tlb(&v->mmu); /* c */
	if (p->told != p->stolen)
		tell(v);
}

void pv_steal_end(struct vcpu *v)
{
	uint8_t preempted = PV_PREEMPTED;

	mmu_xchg(v->mmu.mmu, at(v, offsetof(struct pv_steal, preempted)), &preempted, sizeof preempted); /* a */
	if (v->activity == VCPU_RUNNABLE)
		v->pv.waits = host_clock();
}

void pv_waits(struct vcpu *v, uint64_t now)
{
	if (v->pv.steal && v->activity == VCPU_RUNNABLE && !v->pv.waits)
		v->pv.waits = now;
}

/* It runs now, and says so at once. */
bool pv_steal_set(struct vcpu *v, uint64_t value)
{
	struct pv_vcpu *p = &v->pv;
	struct pv_steal there;

	if (value & STEAL_RESERVED)
		return false;
	if (value & PV_MSR_ENABLE && !mmu_read(v->mmu.mmu, gpa(value & ~63UL), &there, sizeof there))
		return false;
	p->steal = value & PV_MSR_ENABLE ? value : 0;
	p->waits = p->stolen = p->told = 0;
	pv_note(v);
	if (!p->steal)
		return true;
	tell(v);
	pv_steal_begin(v);
	return true;
}
