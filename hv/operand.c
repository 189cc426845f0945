/* SPDX-License-Identifier: MIT */
#include "hv/operand.h"

/* The linear address of an operand of `bytes` bytes at `offset`; false: it lies outside the segment. */
static bool linear(const struct vcpu *v, enum seg seg, uint64_t offset, unsigned bytes, bool write, uint64_t *a)
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

static enum mmu_outcome locate(
	struct vcpu *v, uint64_t a, unsigned bytes, bool write, struct operand *o, struct mmu_fault *f)
{
	uint32_t access = (write ? PF_W : 0) | (vcpu_cpl(v) == 3 ? PF_U : 0);
	uint64_t room = PAGE_SIZE - (a & (PAGE_SIZE - 1));
	enum mmu_outcome m;

	vcpu_note_ac(v);
	m = mmu_translate(&v->mmu, gva(a), access, &o->at[0], f);
	o->bytes[0] = room < bytes ? (unsigned)room : bytes;
	o->bytes[1] = bytes - o->bytes[0];
	if (m != MMU_RESUME || !o->bytes[1])
		return m;
	return mmu_translate(&v->mmu, gva(a + room), access, &o->at[1], f);
}

static bool in_ram(struct mmu *m, const struct operand *o)
{
	uint32_t byte;

	for (unsigned i = 0; i < 2 && o->bytes[i]; i++)
		if (!mmu_read(m, o->at[i], &byte, 1))
			return false;
	return true;
}

bool operand_find(struct runner *r, struct exit *e, enum seg seg, uint64_t offset, unsigned bytes, bool write,
	struct operand *o, enum runner_next *next)
{
	struct vcpu *v = r->v;
	struct mmu_fault f;
	uint64_t a;

	if (!linear(v, seg, offset, bytes, write, &a)) {
		*next = inject_exception(r, e, seg == SS ? VECTOR_SS : VECTOR_GP, true, 0);
		return false;
	}
	switch (locate(v, a, bytes, write, o, &f)) {
	case MMU_RESUME:
		if (in_ram(&r->vm->mmu, o))
			return true;
		*next = report_crash(r, e, "an operand at 0x%lx, where there is no memory", o->at[0].v);
		return false;
	case MMU_INJECT:
		vcpu_set_cr2(v, f.gva.v);
		*next = inject_exception(r, e, VECTOR_PF, true, f.error);
		return false;
	case MMU_RETRY:
		*next = exit_retry(r, e);
		return false;
	default:
		*next = report_crash(r, e, "an operand at 0x%lx: the page tables cannot be read", a);
		return false;
	}
}

void operand_copy(struct mmu *m, const struct operand *o, uint32_t *value, bool write)
{
	uint8_t *p = (uint8_t *)value;

	for (unsigned i = 0; i < 2 && o->bytes[i]; p += o->bytes[i++])
		CHECK(write ? mmu_write(m, o->at[i], p, o->bytes[i]) : mmu_read(m, o->at[i], p, o->bytes[i]));
}
