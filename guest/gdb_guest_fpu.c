/* SPDX-License-Identifier: MIT */
/* A vCPU's x87, SSE and AVX registers, as they are in its area. */
#include "guest/cpuid.h"
#include "guest/fpu.h"
#include "guest/gdb_guest.h"

#define FOP_BITS 0x7ffu
#define EXPONENT 0x7fffu
#define INTEGER_BIT (1UL << 63)
#define AVX_COMPONENT 2

enum tag { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static const struct fpu_area reset = {.fcw = FPU_FCW_RESET, .mxcsr = FPU_MXCSR_RESET};

/* The component of XCR0 that a register belongs to. */
static uint64_t component_of(enum gdb_reg r)
{
	return r <= GDB_FOP ? XCR0_X87 : r <= GDB_MXCSR ? XCR0_SSE : XCR0_AVX;
}

/* Is what lies in the component's place what the guest has there? Else that is the initial state. */
static bool is_kept(const struct vcpu *v, uint64_t component)
{
	return !v->model->xcr0 || v->fpu->xstate_bv & component;
}

static uint64_t *ymmh(const struct vcpu *v)
{
	return (uint64_t *)((uint8_t *)v->fpu + v->model->xsave[AVX_COMPONENT].ebx);
}

/* What is in its place is the guest's from now on. */
static void keep(struct vcpu *v, uint64_t component)
{
	struct fpu_area *a = v->fpu;

	if (is_kept(v, component))
		return;
	a->xstate_bv |= component;
	if (component == XCR0_X87) {
		a->fcw = reset.fcw;
		a->fsw = a->ftw = a->fop = 0;
		a->fip = a->fdp = 0;
		for (unsigned i = 0; i < FPU_STS; i++)
			a->st[i] = reset.st[i];
	}
	for (unsigned i = 0; i < FPU_XMMS && component == XCR0_SSE; i++)
		a->xmm[i][0] = a->xmm[i][1] = 0;
	for (unsigned i = 0; i < 2 * FPU_YMMS && component == XCR0_AVX; i++)
		ymmh(v)[i] = 0;
}

/* Of physical register n. */
static enum tag tag(const struct fpu_area *a, unsigned n)
{
	unsigned top = a->fsw >> 11 & 7, st = (n - top) & 7, exponent = a->st[st].exponent & EXPONENT;

	if (!(a->ftw >> n & 1))
		return TAG_EMPTY;
	if (!exponent && !a->st[st].significand)
		return TAG_ZERO;
	return exponent && exponent != EXPONENT && a->st[st].significand & INTEGER_BIT ? TAG_VALID : TAG_SPECIAL;
}

static uint64_t tags(const struct fpu_area *a)
{
	uint64_t word = 0;

	for (unsigned n = 0; n < FPU_STS; n++)
		word |= (uint64_t)tag(a, n) << 2 * n;
	return word;
}

/* Which registers are empty; the other tags follow from what they hold. */
static uint8_t abridged(uint64_t word)
{
	uint8_t ftw = 0;

	for (unsigned n = 0; n < FPU_STS; n++)
		ftw |= (uint8_t)(((word >> 2 * n & 3) != TAG_EMPTY) << n);
	return ftw;
}

static uint64_t x87(const struct fpu_area *a, enum gdb_reg r)
{
	switch (r) {
	case GDB_FCTRL:
		return a->fcw;
	case GDB_FSTAT:
		return a->fsw;
	case GDB_FTAG:
		return tags(a);
	case GDB_FISEG:
		return a->fip >> 32;
	case GDB_FIOFF:
		return (uint32_t)a->fip;
	case GDB_FOSEG:
		return a->fdp >> 32;
	case GDB_FOOFF:
		return (uint32_t)a->fdp;
	case GDB_FOP:
		return a->fop & FOP_BITS;
	default:
		r -= GDB_ST;
		return r & 1 ? a->st[r / 2].exponent : a->st[r / 2].significand;
	}
}

bool gdb_guest_fpu(const struct vcpu *v, enum gdb_reg r, uint64_t *value)
{
	uint64_t component = component_of(r);
	bool kept = is_kept(v, component);

	if (component == XCR0_X87) {
		*value = x87(kept ? v->fpu : &reset, r);
	} else if (r == GDB_MXCSR) {
		*value = v->fpu->mxcsr;
	} else if (component == XCR0_SSE) {
		r -= GDB_XMM;
		*value = kept ? v->fpu->xmm[r / 2][r & 1] : 0;
	} else if (v->model->xcr0 & XCR0_AVX) {
		*value = kept ? ymmh(v)[r - GDB_YMMH] : 0;
	} else {
		return false;
	}
	return true;
}

/* The bits that a register has. With others the processor would refuse to load the area, or drop them. */
static uint64_t bits_of(const struct vcpu *v, enum gdb_reg r)
{
	switch (r) {
	case GDB_FCTRL ... GDB_FTAG:
		return 0xffff;
	case GDB_FISEG ... GDB_FOOFF:
		return 0xffffffff;
	case GDB_FOP:
		return FOP_BITS;
	case GDB_MXCSR:
		return v->fpu->mxcsr_mask ? v->fpu->mxcsr_mask : FPU_MXCSR_OLD;
	case GDB_ST ... GDB_ST_LAST:
		return (r - GDB_ST) & 1 ? 0xffff : ~0UL;
	default:
		return ~0UL;
	}
}

static void set_half(uint64_t *to, bool high, uint64_t value)
{
	*to = high ? (uint32_t)*to | value << 32 : (*to & ~0xffffffffUL) | value;
}

static void set_x87(struct fpu_area *a, enum gdb_reg r, uint64_t value)
{
	switch (r) {
	case GDB_FCTRL:
		a->fcw = (uint16_t)value;
		return;
	case GDB_FSTAT:
		a->fsw = (uint16_t)value;
		return;
	case GDB_FTAG:
		a->ftw = abridged(value);
		return;
	case GDB_FISEG:
	case GDB_FIOFF:
		set_half(&a->fip, r == GDB_FISEG, value);
		return;
	case GDB_FOSEG:
	case GDB_FOOFF:
		set_half(&a->fdp, r == GDB_FOSEG, value);
		return;
	case GDB_FOP:
		a->fop = (uint16_t)value;
		return;
	default:
		r -= GDB_ST;
		if (r & 1)
			a->st[r / 2].exponent = (uint16_t)value;
		else
			a->st[r / 2].significand = value;
	}
}

bool gdb_guest_set_fpu(struct vcpu *v, enum gdb_reg r, uint64_t value)
{
	uint64_t component = component_of(r), old;

	if (!gdb_guest_fpu(v, r, &old) || value & ~bits_of(v, r))
		return false;
	keep(v, component);
	if (component == XCR0_X87)
		set_x87(v->fpu, r, value);
	else if (r == GDB_MXCSR)
		v->fpu->mxcsr = (uint32_t)value;
	else if (component == XCR0_SSE)
		v->fpu->xmm[(r - GDB_XMM) / 2][(r - GDB_XMM) & 1] = value;
	else
		ymmh(v)[r - GDB_YMMH] = value;
	return true;
}
