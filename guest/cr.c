/* SPDX-License-Identifier: MIT */
#include "guest/cr.h"
#include "guest/cpuid.h"
#include "guest/interpret.h"

/* CR0 bits that exist; others below bit 32 are ignored, above they fault. */
#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR0_PAGING (CR0_PG | CR0_WP | CR0_PE)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP)
/* A change of these loads the PDPTEs where PAE paging is on then, as each load of CR3 does (4.4.1). */
#define CR0_LOADS_PDPTES (CR0_PG | CR0_CD | CR0_NW)
#define CR4_LOADS_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define PDPTE_RESERVED 0x1e6UL

static bool pae_paging(const struct mmu_paging *p)
{
	return (p->cr0 & CR0_PG) && (p->cr4 & CR4_PAE) && !(p->efer & EFER_LMA);
}

/* The four PDPTEs, from the table at CR3. False: one that is present has a reserved bit, or they are not in RAM, where all
 * bits read as ones. */
static bool load_pdptes(struct vcpu *v, struct mmu_paging *p)
{
	uint64_t reserved = PDPTE_RESERVED | ~0UL << v->model->phys_bits, pdpte[4];

	if (!mmu_read(v->mmu.mmu, gpa(p->cr3 & 0xffffffe0), pdpte, sizeof pdpte))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		if (pdpte[i] & GPTE_P && pdpte[i] & reserved)
			return false;
		p->pdpte[i] = pdpte[i];
	}
	return true;
}

/* Hands the new values to the MMU, then makes them the vCPU's. load: this is one of the instructions that load the PDPTEs. */
static enum cr_outcome set_paging(struct vcpu *v, struct mmu_paging p, bool load, const char **reason)
{
	struct mmu_fault f;

	if (load && pae_paging(&p) && !load_pdptes(v, &p))
		return CR_FAULT;
	switch (mmu_set_paging(&v->mmu, &p, &f)) {
	case MMU_RESUME:
		if (p.cr0 != v->cr0 || p.cr4 != v->cr4 || p.efer != v->efer)
			v->changed |= VCPU_CONTROL;
		v->cr0 = p.cr0;
		v->cr3 = p.cr3;
		v->cr4 = p.cr4;
		v->efer = p.efer;
		return CR_DONE;
	case MMU_RETRY:
		return CR_RETRY;
	default:
		*reason = f.reason;
		return CR_END;
	}
}

static struct mmu_paging paging_now(const struct vcpu *v)
{
	struct mmu_paging p = v->mmu.paging; /* its PDPTEs */

	p.cr0 = v->cr0;
	p.cr3 = v->cr3;
	p.cr4 = v->cr4;
	p.efer = v->efer;
	return p;
}

/* Switching paging on or off: the long-mode transitions. */
static bool toggle_pg(const struct vcpu *v, struct mmu_paging *p)
{
	if (p->cr0 & CR0_PG) {
		if (!(v->efer & EFER_LME))
			return true;
		if (!(v->cr4 & CR4_PAE) || v->seg[CS].attr & SEG_L || (v->seg[TR].attr & SEG_TYPE) < 9)
			return false;
		p->efer |= EFER_LMA;
		return true;
	}
	if (vcpu_64bit(v))
		return false;
	p->efer &= ~EFER_LMA;
	return true;
}

/* To real mode, or from it; paging is off before and after, or on from here. */
__attribute__((noinline)) static enum cr_outcome toggle_pe(struct vcpu *v, struct mmu_paging p, const char **reason)
{
	enum cr_outcome o = set_paging(v, p, (p.cr0 ^ v->cr0) & CR0_LOADS_PDPTES, reason);

	if (o == CR_DONE)
		interpret_update(v);
	return o;
}

enum cr_outcome cr_write_cr0(struct vcpu *v, uint64_t value, const char **reason)
{
	struct mmu_paging p = paging_now(v);

	if (value >> 32)
		return CR_FAULT;
	p.cr0 = (value & CR0_DEFINED) | CR0_ET;
	if ((p.cr0 & CR0_PG && !(p.cr0 & CR0_PE)) || (p.cr0 & CR0_NW && !(p.cr0 & CR0_CD)))
		return CR_FAULT;
	if ((p.cr0 ^ v->cr0) & CR0_PG && !toggle_pg(v, &p))
		return CR_FAULT;
	if ((p.cr0 ^ v->cr0) & CR0_PE)
		return toggle_pe(v, p, reason);
	if ((p.cr0 ^ v->cr0) & (CR0_PAGING | (pae_paging(&p) ? CR0_LOADS_PDPTES : 0)))
		return set_paging(v, p, (p.cr0 ^ v->cr0) & CR0_LOADS_PDPTES, reason);
	v->cr0 = p.cr0;
	v->changed |= VCPU_CONTROL;
	return CR_DONE;
}

__attribute__((noinline)) static enum cr_outcome write_cr3(struct vcpu *v, uint64_t value, const char **reason)
{
	struct mmu_paging p = paging_now(v);

	p.cr3 = value;
	return set_paging(v, p, true, reason);
}

enum cr_outcome cr_write_cr3(struct vcpu *v, uint64_t value, const char **reason)
{
	if (vcpu_long_mode(v)) {
		if (value >> v->model->phys_bits)
			return CR_FAULT;
		if (mmu_load_cr3(&v->mmu, value)) {
			v->cr3 = value;
			return CR_FLUSH;
		}
	}
	return write_cr3(v, value, reason);
}

enum cr_outcome cr_write_cr4(struct vcpu *v, uint64_t value, const char **reason)
{
	struct mmu_paging p = paging_now(v);

	if (value & ~v->model->cr4 || (vcpu_long_mode(v) && !(value & CR4_PAE)))
		return CR_FAULT;
	p.cr4 = value;
	if ((p.cr4 ^ v->cr4) & CR4_PAGING)
		return set_paging(v, p, (p.cr4 ^ v->cr4) & CR4_LOADS_PDPTES, reason);
	v->cr4 = value;
	v->changed |= VCPU_CONTROL;
	return CR_DONE;
}

enum cr_outcome cr_write_cr8(struct vcpu *v, uint64_t value)
{
	if (value > 15)
		return CR_FAULT;
	lapic_set_cr8(v, value);
	return CR_DONE;
}

enum cr_outcome cr_write_efer(struct vcpu *v, uint64_t value, const char **reason)
{
	struct mmu_paging p = paging_now(v);

	/* LMA is the processor's: what is written there is ignored. */
	value &= ~EFER_LMA;
	if (value & ~v->model->efer)
		return CR_FAULT;
	if ((value ^ v->efer) & EFER_LME && v->cr0 & CR0_PG)
		return CR_FAULT;
	p.efer = value | (v->efer & EFER_LMA);
	if ((p.efer ^ v->efer) & EFER_NXE)
		return set_paging(v, p, false, reason);
	v->efer = p.efer;
	v->changed |= VCPU_CONTROL;
	return CR_DONE;
}

enum cr_outcome cr_reset(struct vcpu *v, const char **reason)
{
	struct mmu_paging p = paging_now(v);

	p.cr0 = (v->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
	p.cr3 = p.cr4 = p.efer = 0;
	return set_paging(v, p, false, reason);
}

enum cr_outcome cr_write_xcr(struct vcpu *v, uint32_t index, uint64_t value)
{
	if (index || !cpuid_xcr0_valid(v->model, value))
		return CR_FAULT;
	v->xcr0 = value;
	v->changed |= VCPU_MSRS;
	return CR_DONE;
}
