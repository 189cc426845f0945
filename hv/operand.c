/* SPDX-License-Identifier: MIT */
#include "hv/operand.h"
#include "guest/segment.h"

enum emulate_outcome operand_translate(struct vcpu *v, uint64_t a, uint32_t access, gpa_t *at, struct emulate_fault *f)
{
	struct mmu_fault fault;

	switch (mmu_translate(&v->mmu, gva(a), access, at, &fault)) {
	case MMU_RESUME:
		return EMULATE_DONE;
	case MMU_INJECT:
		*f = (struct emulate_fault){VECTOR_PF, fault.error, fault.gva.v};
		return EMULATE_FAULT;
	default:
		return EMULATE_AGAIN;
	}
}

enum emulate_outcome operand_locate(
	struct vcpu *v, uint64_t a, unsigned bytes, bool write, struct operand *o, struct emulate_fault *f)
{
	uint32_t access = (write ? PF_W : 0) | (vcpu_cpl(v) == 3 ? PF_U : 0);
	uint64_t room = PAGE_SIZE - a % PAGE_SIZE;

	vcpu_note_ac(v);
	o->bytes[0] = room < bytes ? (unsigned)room : bytes;
	o->bytes[1] = bytes - o->bytes[0];
	for (unsigned i = 0; i < 2 && o->bytes[i]; i++) {
		enum emulate_outcome done =
			operand_translate(v, i ? segment_behind(v, a, room) : a, access, &o->at[i], f);

		if (done != EMULATE_DONE)
			return done;
	}
	return EMULATE_DONE;
}

enum runner_next operand_refused(
	struct runner *r, struct exit *e, enum emulate_outcome o, const struct emulate_fault *f)
{
	if (o != EMULATE_FAULT)
		return exit_retry(r, e);
	if (f->vector == VECTOR_PF)
		vcpu_set_cr2(r->v, f->cr2);
	return inject_exception(r, e, f->vector, true, f->error);
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

static enum emulate_outcome memory_read(
	void *runner, uint64_t a, void *to, unsigned bytes, bool write, struct emulate_fault *f)
{
	struct runner *r = runner;
	struct operand o;
	enum emulate_outcome done = operand_locate(r->v, a, bytes, write, &o, f);

	if (done == EMULATE_DONE)
		operand_copy(r, &o, to, false);
	return done;
}

static enum emulate_outcome memory_write(
	void *runner, uint64_t a, const void *from, unsigned bytes, struct emulate_fault *f)
{
	struct runner *r = runner;
	uint8_t data[EMULATE_BYTES_MAX];
	struct operand o;
	enum emulate_outcome done = operand_locate(r->v, a, bytes, true, &o, f);

	__builtin_memcpy(data, from, bytes);
	if (done == EMULATE_DONE)
		operand_copy(r, &o, data, true);
	return done;
}

/* One atomic step in RAM. What crosses a page, whose frames need not be neighbours, and what a device has, is stored plainly:
 * between the instruction's own read and this another vCPU may come. */
static enum emulate_outcome memory_exchange(void *runner, uint64_t a, const void *expected, const void *value,
	unsigned bytes, struct emulate_fault *f)
{
	struct runner *r = runner;
	uint8_t guess[EMULATE_BYTES_MAX], data[EMULATE_BYTES_MAX];
	struct operand o;
	enum emulate_outcome done = operand_locate(r->v, a, bytes, true, &o, f);

	if (done != EMULATE_DONE)
		return done;
	__builtin_memcpy(guess, expected, bytes);
	__builtin_memcpy(data, value, bytes);
	switch (o.bytes[1] ? MMU_NO_RAM : mmu_cmpxchg(&r->vm->mmu, o.at[0], guess, data, bytes)) {
	case MMU_EXCHANGED:
		return EMULATE_DONE;
	case MMU_DIFFERS:
		return EMULATE_AGAIN;
	default:
		operand_copy(r, &o, data, true);
		return EMULATE_DONE;
	}
}

struct emulate_memory operand_memory(struct runner *r)
{
	return (struct emulate_memory){memory_read, memory_write, memory_exchange, r};
}
