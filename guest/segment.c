/* SPDX-License-Identifier: MIT */
#include "guest/segment.h"

bool segment_linear(const struct vcpu *v, enum seg seg, uint64_t offset, unsigned bytes, bool write, uint64_t *a)
{
	const struct segment *s = &v->seg[seg];
	unsigned type = s->attr & SEG_TYPE;
	bool code = type & 8, down = !code && type & 4;
	uint64_t last = offset + bytes - 1, top = s->attr & SEG_DB ? 0xffffffff : 0xffff;

	if (vcpu_64bit(v)) {
		*a = offset + (seg == FS || seg == GS ? s->base : 0);
		return vcpu_canonical(*a) && vcpu_canonical(*a + bytes - 1);
	}
	*a = (uint32_t)(s->base + offset);
	if (s->attr & SEG_UNUSABLE || (code ? write || !(type & 2) : write && !(type & 2)))
		return false;
	return down ? offset > s->limit && last <= top : last <= s->limit;
}
