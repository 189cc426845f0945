/* SPDX-License-Identifier: MIT */
/* What emulate.c and emulate_string.c share: one instruction under way. */
#ifndef GUEST_EMULATE_STEP_H
#define GUEST_EMULATE_STEP_H

#include "guest/alu.h"
#include "guest/emulate.h"
#include "guest/segment.h"

struct step {
	struct vcpu *v;
	const struct insn *i;
	const struct emulate_memory *m;
	struct emulate_fault *fault;
};

static inline enum emulate_outcome step_fault(const struct step *s, uint8_t vector, uint32_t error)
{
	*s->fault = (struct emulate_fault){.vector = vector, .error = error};
	return EMULATE_FAULT;
}

/* The linear address *a of `bytes` bytes at seg:offset. EMULATE_DONE or EMULATE_FAULT. */
static inline enum emulate_outcome step_locate(
	const struct step *s, enum seg seg, uint64_t offset, unsigned bytes, bool write, uint64_t *a)
{
	if (segment_linear(s->v, seg, offset, bytes, write, a))
		return EMULATE_DONE;
	return step_fault(s, seg == SS ? VECTOR_SS : VECTOR_GP, 0);
}
/* Of i->bytes bytes. */
static inline enum emulate_outcome step_find(
	const struct step *s, enum seg seg, uint64_t offset, bool write, uint64_t *a)
{
	return step_locate(s, seg, offset, s->i->bytes, write, a);
}

/* The low `bytes` of general register n. */
static inline void step_set_gpr(struct vcpu *v, unsigned n, uint64_t value, unsigned bytes)
{
	v->gpr[n] = insn_merge(v->gpr[n], value, bytes);
	if (n == RSP)
		v->changed |= VCPU_RSP;
}

/* Of a register operand in rm. */
static inline uint64_t step_rm(const struct vcpu *v, const struct insn *i)
{
	return insn_wrap(i->rm_high ? v->gpr[i->rm] >> 8 : v->gpr[i->rm], i->bytes);
}
static inline void step_set_rm(struct vcpu *v, const struct insn *i, uint64_t value, unsigned bytes)
{
	if (i->rm_high)
		step_set_gpr(v, i->rm, (v->gpr[i->rm] & 0xff) | (value & 0xff) << 8, 2);
	else
		step_set_gpr(v, i->rm, value, bytes);
}

static inline void step_set_flags(struct vcpu *v, uint64_t flags)
{
	v->rflags = flags;
	v->changed |= VCPU_FLOW;
}

/* emulate_string.c: MOVS, CMPS, STOS, LODS, SCAS. */
enum emulate_outcome step_string(const struct step *s);

#endif
