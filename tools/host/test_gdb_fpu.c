/* SPDX-License-Identifier: MIT */
/* guest/gdb_guest_fpu.c: a vCPU's x87, SSE and AVX registers, by its area. This processor makes areas and takes them back, where
 * it can. */
#include <string.h>

#include "guest/fpu.h"
#include "guest/gdb_guest.h"
#include "tools/host/vcpu_test.h"

#define X87_EMPTY 0xffff
#define TOP(n) ((uint16_t)((n) << 11))

static struct vcpu *v;
static _Alignas(64) union {
	struct fpu_area fpu;
	uint8_t bytes[FPU_AREA_BYTES];
} area;

/* As after reset. */
static int set_up(void **state)
{
	vcpu_setup(state);
	v = &vcpu_test.v;
	memset(&area, 0, sizeof area);
	area.fpu.fcw = FPU_FCW_RESET;
	area.fpu.mxcsr = FPU_MXCSR_RESET;
	v->fpu = &area.fpu;
	return 0;
}

/* The area is FXSAVE's. */
static void without_xsave(void)
{
	cpuid_init(&vcpu_test.model, old_host, false);
	assert_int_equal(vcpu_test.model.xcr0, 0);
	memset(area.bytes + 512, 0xee, sizeof area - 512);
}

static uint64_t get(unsigned r)
{
	uint64_t value = 0xbad;

	assert_true(gdb_guest_register(v, r, &value));
	return value;
}

static bool set(unsigned r, uint64_t value)
{
	return gdb_guest_set_register(v, r, value);
}

/* Whatever lies in the place of a component that is not marked. */
static void unmarked(void **state)
{
	(void)state;
	memset(&area, 0x5a, sizeof area);
	area.fpu.xstate_bv = 0;
	area.fpu.mxcsr = 0x1fa0;
	for (unsigned r = GDB_FPU; r < GDB_REGS; r++)
		assert_int_equal(get(r), r == GDB_FCTRL   ? FPU_FCW_RESET
					 : r == GDB_FTAG  ? X87_EMPTY
					 : r == GDB_MXCSR ? 0x1fa0
							  : 0);
	area.fpu.xstate_bv = XCR0_X87;
	assert_int_equal(get(GDB_FCTRL), 0x5a5a);
	assert_int_equal(get(GDB_XMM), 0);
	area.fpu.xstate_bv = XCR0_SSE;
	assert_int_equal(get(GDB_FCTRL), FPU_FCW_RESET);
	assert_int_equal(get(GDB_XMM_LAST), 0x5a5a5a5a5a5a5a5a);
	assert_int_equal(get(GDB_YMMH_LAST), 0);
	area.fpu.xstate_bv = XCR0_AVX;
	assert_int_equal(get(GDB_XMM), 0);
	assert_int_equal(get(GDB_YMMH), 0x5a5a5a5a5a5a5a5a);
	area.fpu.xstate_bv = 0;
	without_xsave();
	assert_int_equal(get(GDB_FCTRL), 0x5a5a);
	assert_int_equal(get(GDB_XMM), 0x5a5a5a5a5a5a5a5a);
}

/* A write marks its component, which is in its initial state but for that. A write that is refused does not. */
static void writing_marks(void **state)
{
	(void)state;
	memset(&area, 0x5a, sizeof area);
	area.fpu.xstate_bv = 0;
	area.fpu.mxcsr = FPU_MXCSR_RESET;
	area.fpu.mxcsr_mask = 0xffff;
	assert_false(set(GDB_FSTAT, 0x10000));
	assert_false(set(GDB_MXCSR, 0x10000));
	assert_int_equal(area.fpu.xstate_bv, 0);
	assert_true(set(GDB_ST + 4, 0x123456789abcdef0));
	assert_int_equal(area.fpu.xstate_bv, XCR0_X87);
	assert_true(set(GDB_MXCSR, 0x9f80));
	assert_int_equal(area.fpu.xstate_bv, XCR0_X87 | XCR0_SSE);
	assert_true(set(GDB_YMMH + 1, 7));
	assert_int_equal(area.fpu.xstate_bv, XCR0_X87 | XCR0_SSE | XCR0_AVX);
	for (unsigned r = GDB_FPU; r < GDB_REGS; r++)
		assert_int_equal(get(r), r == GDB_FCTRL      ? FPU_FCW_RESET
					 : r == GDB_FTAG     ? X87_EMPTY
					 : r == GDB_ST + 4   ? 0x123456789abcdef0
					 : r == GDB_MXCSR    ? 0x9f80
					 : r == GDB_YMMH + 1 ? 7
							     : 0);
	/* what is marked keeps the rest */
	assert_true(set(GDB_ST + 5, 0xc000));
	assert_true(set(GDB_XMM, 8));
	assert_true(set(GDB_XMM + 1, 9));
	assert_true(set(GDB_YMMH, 10));
	assert_int_equal(get(GDB_ST + 4), 0x123456789abcdef0);
	assert_int_equal(get(GDB_XMM), 8);
	assert_int_equal(get(GDB_YMMH + 1), 7);
	assert_int_equal(area.bytes[576], 10);
	assert_int_equal(area.bytes[576 + 256], 0x5a); /* the next component */
}

/* Each register by itself: it takes every value that it has bits for, and others keep theirs. */
static void one_by_one(void **state)
{
	uint64_t before[GDB_REGS];

	(void)state;
	area.fpu.xstate_bv = 7;
	area.fpu.mxcsr_mask = 0xffff;
	for (unsigned r = GDB_FPU; r < GDB_REGS; r++)
		assert_true(r == GDB_FTAG || set(r, (r == GDB_MXCSR ? 0x100 : 0x5a0) + r)); /* TOP is 0 */
	for (unsigned r = GDB_FPU; r < GDB_REGS; r++)
		assert_true(r == GDB_FTAG || get(r) == (r == GDB_MXCSR ? 0x100 : 0x5a0) + r);
	for (unsigned r = GDB_FPU; r < GDB_REGS; r++) {
		bool odd = (r - GDB_FPU) & 1;
		uint64_t most = r == GDB_FOP ? 0x7ff : r == GDB_FSTAT ? 0x47ff : r == GDB_FCTRL || r == GDB_MXCSR ? 0xffff
			      : r >= GDB_FISEG && r <= GDB_FOOFF ? 0xffffffff : r <= GDB_ST_LAST && odd ? 0xffff : ~0UL;

		if (r == GDB_FTAG)
			continue;
		for (unsigned k = GDB_FPU; k < GDB_REGS; k++)
			before[k] = get(k);
		assert_true(set(r, most));
		assert_int_equal(get(r), most);
		for (unsigned k = GDB_FPU; k < GDB_REGS; k++)
			assert_true(k == r || k == GDB_FTAG || get(k) == before[k]);
		if (most != ~0UL)
			assert_false(set(r, r == GDB_FSTAT ? 0x10000 : most + 1));
		assert_int_equal(get(r), most);
		assert_true(set(r, 0));
		assert_int_equal(get(r), 0);
		assert_true(set(r, before[r]));
	}
}

/* MXCSR has the bits that the processor says. */
static void mxcsr(void **state)
{
	(void)state;
	assert_false(set(GDB_MXCSR, 0x40)); /* DAZ, of none that does not tell */
	assert_true(set(GDB_MXCSR, FPU_MXCSR_OLD));
	area.fpu.mxcsr_mask = 0x2ffff;
	assert_true(set(GDB_MXCSR, 0x21fc0));
	assert_int_equal(get(GDB_MXCSR), 0x21fc0);
	assert_false(set(GDB_MXCSR, 0x10000));
	assert_false(set(GDB_MXCSR, 1UL << 32));
	assert_int_equal(get(GDB_MXCSR), 0x21fc0);
}

/* ftag is of physical registers, st of the stack's. */
static void tags(void **state)
{
	static const struct {
		uint64_t significand;
		uint16_t exponent;
		unsigned tag;
	} value[] = {
		{1UL << 63, 0x3fff, 0}, {0, 0, 1}, {0, 0x8000, 1}, {1, 0, 2}, {1UL << 63, 0x7fff, 2}, {3UL << 62, 0xffff, 2},
		{1UL << 62, 0x3fff, 2}, {0, 0x3fff, 2},
	};

	(void)state;
	area.fpu.xstate_bv = XCR0_X87;
	assert_int_equal(get(GDB_FTAG), 0xffff);
	area.fpu.fsw = TOP(6);
	area.fpu.ftw = 1 << 6 | 1 << 7;
	for (unsigned i = 0; i < sizeof value / sizeof *value; i++) {
		area.fpu.st[0].significand = value[i].significand;
		area.fpu.st[0].exponent = value[i].exponent;
		assert_int_equal(get(GDB_FTAG), 0x0fff | value[i].tag << 12 | 1 << 14);
	}
	area.fpu.fsw = TOP(7);
	assert_int_equal(get(GDB_FTAG), 0x0fff | 1 << 12 | 2 << 14);
	assert_true(set(GDB_FTAG, 0x3ffc | 2 << 14));
	assert_int_equal(area.fpu.ftw, 1 << 0 | 1 << 7);
	assert_int_equal(get(GDB_FTAG), 0x3ffc | 2 << 14 | 1);
	assert_true(set(GDB_FTAG, 0));
	assert_int_equal(area.fpu.ftw, 0xff);
	assert_true(set(GDB_FTAG, 0xffff));
	assert_int_equal(area.fpu.ftw, 0);
	assert_false(set(GDB_FTAG, 0x10000));
}

/* AVX is there where guests may have it. */
static void no_avx(void **state)
{
	uint64_t value;

	(void)state;
	vcpu_test.model.xcr0 = XCR0_X87 | XCR0_SSE;
	assert_false(gdb_guest_register(v, GDB_YMMH, &value));
	assert_false(set(GDB_YMMH_LAST, 0));
	assert_true(set(GDB_XMM_LAST, 1));
	without_xsave();
	assert_false(gdb_guest_register(v, GDB_YMMH_LAST, &value));
	assert_true(set(GDB_XMM, 1));
	assert_int_equal(area.fpu.xstate_bv, 0xeeeeeeeeeeeeeeee);
}

/* What this processor has saved is what its registers held, and what is written comes back to them. */
static void as_the_processor(void **state)
{
	static _Alignas(64) struct fpu_area old;
	uint16_t status, control;
	double top, next;
	uint64_t low;

	(void)state;
	without_xsave();
	__asm__ volatile("fxsave64 %0" : "=m"(old));
	__asm__ volatile("fninit; fld1; fldpi; fldz; fxsave64 %0; fninit" : "=m"(area.fpu) : : "memory");
	assert_int_equal(get(GDB_FCTRL), 0x37f);
	assert_int_equal(get(GDB_FSTAT), TOP(5));
	assert_int_equal(get(GDB_FTAG), 0x07ff); /* 7 and 6 are valid, 5 is zero */
	assert_int_equal(get(GDB_ST) | get(GDB_ST + 1), 0);
	assert_int_equal(get(GDB_ST + 2), 0xc90fdaa22168c235);
	assert_int_equal(get(GDB_ST + 3), 0x4000);
	assert_true(set(GDB_ST, 3UL << 62) && set(GDB_ST + 1, 0xc000)); /* -3 */
	assert_true(set(GDB_FCTRL, 0x27f));
	assert_true(set(GDB_FTAG, 0xc3ff)); /* but for 6 and 5 all are empty */
	assert_true(set(GDB_MXCSR, 0x3f80) && set(GDB_XMM + 6, 0x1122334455667788));
	__asm__ volatile("fxrstor64 %5; fnstcw %0; fnstsw %1; movq %%xmm3, %4; fstpl %2; fstpl %3; fxsave64 %5; fxrstor64 %6"
			 : "=m"(control), "=m"(status), "=m"(top), "=m"(next), "=r"(low), "+m"(area.fpu) : "m"(old) : "memory");
	assert_int_equal(control, 0x27f);
	assert_int_equal(status, TOP(5));
	assert_true(top == -3 && next > 3.14159 && next < 3.1416);
	assert_int_equal(low, 0x1122334455667788);
	assert_int_equal(get(GDB_MXCSR), 0x3f80);
	assert_int_equal(get(GDB_FTAG), 0xffff);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, vcpu_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unmarked), TEST(writing_marks), TEST(one_by_one), TEST(mxcsr), TEST(tags), TEST(no_avx), TEST(as_the_processor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
