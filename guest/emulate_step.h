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

/* The linear address *a of i->bytes bytes at seg:offset. EMULATE_DONE or EMULATE_FAULT. */
static inline enum emulate_outcome step_find(
	const struct step *s, enum seg seg, uint64_t offset, bool write, uint64_t *a)
{
	if (segment_linear(s->v, seg, offset, s->i->bytes, write, a))
		return EMULATE_DONE;
	*s->fault = (struct emulate_fault){.vector = seg == SS ? VECTOR_SS : VECTOR_GP};
	return EMULATE_FAULT;
}

/* The low `bytes` of general register n. */
static inline void step_set_gpr(struct vcpu *v, unsigned n, uint64_t value, unsigned bytes)
{
	v->gpr[n] = insn_merge(v->gpr[n], value, bytes);
	if (n == RSP)
		v->changed |= VCPU_RSP;
}

static inline void step_set_flags(struct vcpu *v, uint64_t flags)
{
	v->rflags = flags;
	v->changed |= VCPU_FLOW;
}

/* emulate_string.c: MOVS, CMPS, STOS, LODS, SCAS. */
enum emulate_outcome step_string(const struct step *s);

#endif
