/* SPDX-License-Identifier: MIT */
#include "hv/operand.h"
#include "guest/segment.h"

enum emulate_outcome operand_locate(
	struct vcpu *v, uint64_t a, unsigned bytes, bool write, struct operand *o, struct emulate_fault *f)
{
	uint32_t access = (write ? PF_W : 0) | (vcpu_cpl(v) == 3 ? PF_U : 0);
	uint64_t room = PAGE_SIZE - a % PAGE_SIZE;
	struct mmu_fault fault;

	vcpu_note_ac(v);
	o->bytes[0] = room < bytes ? (unsigned)room : bytes;
	o->bytes[1] = bytes - o->bytes[0];
	for (unsigned i = 0; i < 2 && o->bytes[i]; i++) {
		uint64_t at = i ? segment_behind(v, a, room) : a;

		switch (mmu_translate(&v->mmu, gva(at), access, &o->at[i], &fault)) {
		case MMU_RESUME:
			break;
		case MMU_INJECT:
			*f = (struct emulate_fault){VECTOR_PF, fault.error, fault.gva.v};
			return EMULATE_FAULT;
		case MMU_RETRY:
			return EMULATE_AGAIN;
		default:
			f->cr2 = at;
			return EMULATE_END;
		}
	}
	return EMULATE_DONE;
}

enum runner_next operand_refused(
	struct runner *r, struct exit *e, enum emulate_outcome o, const struct emulate_fault *f)
{
	switch (o) {
	case EMULATE_FAULT:
		if (f->vector == VECTOR_PF)
			vcpu_set_cr2(r->v, f->cr2);
		return inject_exception(r, e, f->vector, true, f->error);
	case EMULATE_AGAIN:
		return exit_retry(r, e);
	default:
		return report_crash(r, e, "an operand at 0x%lx: the page tables cannot be read", f->cr2);
	}
}

bool operand_find(struct runner *r, struct exit *e, enum seg seg, uint64_t offset, unsigned bytes, bool write,
	struct operand *o, enum runner_next *next)
{
	struct emulate_fault f = {.vector = seg == SS ? VECTOR_SS : VECTOR_GP};
	enum emulate_outcome done = EMULATE_FAULT;
	uint64_t a;

	if (segment_linear(r->v, seg, offset, bytes, write, &a))
		done = operand_locate(r->v, a, bytes, write, o, &f);
	if (done == EMULATE_DONE)
		return true;
	*next = operand_refused(r, e, done, &f);
	return false;
}

void operand_copy(struct runner *r, const struct operand *o, void *value, bool write)
{
	struct mmu *m = &r->vm->mmu;
	char *p = value;

	for (unsigned i = 0; i < 2 && o->bytes[i]; p += o->bytes[i++])
		if (!(write ? mmu_write(m, o->at[i], p, o->bytes[i]) : mmu_read(m, o->at[i], p, o->bytes[i])))
			mmio_access(&r->vm->mmio, r->v, o->at[i], o->bytes[i], write, p);
}
