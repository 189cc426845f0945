/* SPDX-License-Identifier: MIT */
#include "hv/fpu.h"
#include "guest/fpu.h"
#include "hv/x86.h"
#include "mm/page.h"

static void xsetbv(uint64_t value)
{
	asm volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

#define EXTENDED_SIZES 0x80000008u
#define EBX_RESTORES_POINTERS (1u << 2)

/* AMD's processors but the newest leave FIP, FDP and FOP as they are where no x87 exception is pending: another guest's (APM vol. 2,
 * chapter 11; CVE-2006-1056). */
static bool pointers_stay;

/* The pointers become those of a load of the hypervisor's own, which all guests may see. */
static void forget_pointers(void)
{
	static const uint32_t zero;

	asm volatile("fnclex\n\tffree %%st(7)\n\tfildl %0" : : "m"(zero));
}

void fpu_cpu_on(const struct cpuid_model *m)
{
	pointers_stay = m->amd && !(cpuid(EXTENDED_SIZES, 0).ebx & EBX_RESTORES_POINTERS);
	write_cr0((read_cr0() & ~(CR0_TS | CR0_EM)) | CR0_MP);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | (m->xcr0 ? CR4_OSXSAVE : 0));
}

bool fpu_create(struct vcpu *v)
{
	struct fpu_area *area = page_alloc_array(FPU_AREA_BYTES);

	if (!area)
		return false;
	/* All else of the reset state is zeros, the XSAVE header included. */
	area->fcw = FPU_FCW_RESET;
	area->mxcsr = FPU_MXCSR_RESET;
	v->fpu = area;
	return true;
}

void fpu_destroy(struct vcpu *v)
{
	page_free_array(v->fpu, FPU_AREA_BYTES);
	v->fpu = 0;
}

void fpu_set_xcr0(const struct vcpu *v)
{
	if (v->model->xcr0)
		xsetbv(v->xcr0);
}

/* Whatever XCR0 the guest runs with, all that it may ever have enabled is kept. */
void fpu_save(struct vcpu *v)
{
	uint64_t all = v->model->xcr0;

	if (!all) {
		asm volatile("fxsave64 (%0)" : : "r"(v->fpu) : "memory");
		return;
	}
	xsetbv(all);
	asm volatile("xsave64 (%0)" : : "r"(v->fpu), "a"((uint32_t)all), "d"((uint32_t)(all >> 32)) : "memory");
}

void fpu_load(const struct vcpu *v)
{
	uint64_t all = v->model->xcr0;

	if (pointers_stay)
		forget_pointers();
	if (!all) {
		asm volatile("fxrstor64 (%0)" : : "r"(v->fpu) : "memory");
		return;
	}
	xsetbv(all);
	/* Components whose XSTATE_BV bit is 0 go to their initial state, which is that of reset but for FCW and MXCSR:
	 * these are restored only with their bit. */
	asm volatile("xrstor64 (%0)" : : "r"(v->fpu), "a"((uint32_t)all), "d"((uint32_t)(all >> 32)) : "memory");
	xsetbv(v->xcr0);
}
