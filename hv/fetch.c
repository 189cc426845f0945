/* SPDX-License-Identifier: MIT */
#include "hv/fetch.h"
#include "guest/segment.h"

uint64_t fetch_at(const struct vcpu *v, const struct fetch *x)
{
	return segment_behind(v, vcpu_64bit(v) ? v->rip : v->seg[CS].base + v->rip, x->n);
}

enum mmu_outcome fetch_more(struct vcpu *v, struct fetch *x)
{
	uint32_t access = PF_I | (vcpu_cpl(v) == 3 ? PF_U : 0);
	enum mmu_outcome o;
	uint64_t room;
	gpa_t a;

	o = mmu_translate(&v->mmu, gva(fetch_at(v, x)), access, &a, &x->f);
	if (o != MMU_RESUME)
		return o;
	room = PAGE_SIZE - a.v % PAGE_SIZE;
	if (room > INSN_BYTES_MAX - x->n)
		room = INSN_BYTES_MAX - x->n;
	x->f.gpa = a;
	if (!mmu_read(v->mmu.mmu, a, x->bytes + x->n, room))
		return MMU_MMIO;
	x->n += (unsigned)room;
	return MMU_RESUME;
}
