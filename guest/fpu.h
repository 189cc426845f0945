/* SPDX-License-Identifier: MIT */
/* The x87, SSE and AVX registers of a vCPU in memory, as FXSAVE64 and XSAVE64 lay them out (SDM vol. 1, 10.5 and 13.4). */
#ifndef GUEST_FPU_H
#define GUEST_FPU_H

#include <stddef.h>
#include <stdint.h>

#define FPU_STS 8
#define FPU_XMMS 16
#define FPU_YMMS 16

/* st: from the top of the stack on; ftw: a bit for each physical register, set where it is not empty. xstate_bv: components of XCR0
 * whose registers lie in their places; the others' are in their initial state. But mxcsr always counts, and all of it does where
 * there is no XSAVE. Components 2 and up follow where CPUID says. */
struct fpu_area {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved0;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask; /* mask: bits that the processor has, 0: FPU_MXCSR_OLD */
	struct {
		uint64_t significand;
		uint16_t exponent; /* with the sign, bit 15 */
		uint8_t reserved[6];
	} st[FPU_STS];
	uint64_t xmm[FPU_XMMS][2];
	uint8_t reserved1[96];
	uint64_t xstate_bv, header[7];
};
#define FPU_AREA_BYTES 4096 /* with all components that a guest may have */

_Static_assert(offsetof(struct fpu_area, st) == 32 && offsetof(struct fpu_area, xmm) == 160 &&
	offsetof(struct fpu_area, xstate_bv) == 512 && sizeof(struct fpu_area) == 576, "as the processor has it");

/* After reset; all else is zeros. */
#define FPU_FCW_RESET 0x037f
#define FPU_MXCSR_RESET 0x1f80
#define FPU_MXCSR_OLD 0xffbfu

#endif
