/* SPDX-License-Identifier: MIT */
/* Segmentation: from an offset in a segment to a linear address (SDM vol. 3, 5.3, 5.8; 64-bit mode: 5.3.1). */
#ifndef GUEST_SEGMENT_H
#define GUEST_SEGMENT_H

#include "guest/vcpu.h"

/* The linear address *a of an operand of `bytes` bytes at seg:offset, to be read or (write) written. False: #SS(0)
 * where seg is SS, else #GP(0): it is outside the limit or not canonical, or the segment does not allow it.
 * VCPU_SEGMENTS must not be stale. */
bool segment_linear(const struct vcpu *v, enum seg seg, uint64_t offset, unsigned bytes, bool write, uint64_t *a);

/* The linear address n bytes behind a: outside 64-bit mode it wraps at 4 GiB. */
static inline uint64_t segment_behind(const struct vcpu *v, uint64_t a, uint64_t n)
{
	return vcpu_64bit(v) ? a + n : (uint32_t)(a + n);
}

#endif
