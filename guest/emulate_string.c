/* SPDX-License-Identifier: MIT */
/* String instructions. A REP goes EMULATE_REP_STEP iterations at most, and one with RFLAGS.TF; the registers say where
 * it stands, as after an interrupt. */
#include "guest/emulate_step.h"

static enum emulate_outcome find_source(const struct step *s, uint64_t *a)
{
	return step_find(s, s->i->seg, insn_wrap(s->v->gpr[RSI], s->i->address_bytes), false, a);
}

static enum emulate_outcome find_destination(const struct step *s, bool write, uint64_t *a)
{
	return step_find(s, ES, insn_wrap(s->v->gpr[RDI], s->i->address_bytes), write, a);
}

static enum emulate_outcome read_source(const struct step *s, uint64_t *value)
{
	uint64_t a;
	enum emulate_outcome o = find_source(s, &a);

	return o == EMULATE_DONE ? s->m->read(s->m->context, a, value, s->i->bytes, false, s->fault) : o;
}

static enum emulate_outcome read_destination(const struct step *s, uint64_t *value)
{
	uint64_t a;
	enum emulate_outcome o = find_destination(s, false, &a);

	return o == EMULATE_DONE ? s->m->read(s->m->context, a, value, s->i->bytes, false, s->fault) : o;
}

static enum emulate_outcome write_destination(const struct step *s, const uint64_t *value)
{
	uint64_t a;
	enum emulate_outcome o = find_destination(s, true, &a);

	return o == EMULATE_DONE ? s->m->write(s->m->context, a, value, s->i->bytes, s->fault) : o;
}

static void compare(const struct step *s, uint64_t a, uint64_t b)
{
	uint64_t flags = s->v->rflags;

	alu(INSN_CMP, a, b, s->i->bytes, &flags);
	step_set_flags(s->v, flags);
}

/* One iteration but for the registers that count. */
static enum emulate_outcome iterate(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t from = 0, to = 0;
	enum emulate_outcome o = EMULATE_DONE;

	switch (s->i->op) {
	case INSN_MOVS:
		o = read_source(s, &from);
		return o == EMULATE_DONE ? write_destination(s, &from) : o;
	case INSN_STOS:
		return write_destination(s, &v->gpr[RAX]);
	case INSN_LODS:
		o = read_source(s, &from);
		if (o == EMULATE_DONE)
			step_set_gpr(v, RAX, from, s->i->bytes);
		return o;
	case INSN_CMPS:
		o = read_source(s, &from);
		if (o != EMULATE_DONE)
			return o;
		break;
	default:
		from = v->gpr[RAX];
		break;
	}
	o = read_destination(s, &to);
	if (o == EMULATE_DONE)
		compare(s, from, to);
	return o;
}

static void advance(const struct step *s)
{
	const struct insn *i = s->i;
	struct vcpu *v = s->v;
	uint64_t step = v->rflags & RFLAGS_DF ? -(uint64_t)i->bytes : i->bytes;

	if (i->op == INSN_MOVS || i->op == INSN_CMPS || i->op == INSN_LODS)
		step_set_gpr(v, RSI, v->gpr[RSI] + step, i->address_bytes);
	if (i->op != INSN_LODS)
		step_set_gpr(v, RDI, v->gpr[RDI] + step, i->address_bytes);
	if (i->rep != INSN_ONCE)
		step_set_gpr(v, RCX, v->gpr[RCX] - 1, i->address_bytes);
}

/* After an iteration. */
static bool over(const struct step *s)
{
	const struct insn *i = s->i;
	bool equal = s->v->rflags & RFLAGS_ZF;

	if (i->rep == INSN_ONCE || !insn_wrap(s->v->gpr[RCX], i->address_bytes))
		return true;
	return (i->op == INSN_CMPS || i->op == INSN_SCAS) && equal != (i->rep == INSN_REPE);
}

enum emulate_outcome step_string(const struct step *s)
{
	const struct insn *i = s->i;
	struct vcpu *v = s->v;

	if (i->rep != INSN_ONCE && !insn_wrap(v->gpr[RCX], i->address_bytes)) {
		vcpu_skip(v, i->length);
		return EMULATE_DONE;
	}
	for (unsigned n = 0; n < EMULATE_REP_STEP; n++) {
		enum emulate_outcome o = iterate(s);

		if (o == EMULATE_AGAIN && n)
			return EMULATE_DONE;
		if (o != EMULATE_DONE)
			return o;
		advance(s);
		if (over(s)) {
			vcpu_skip(v, i->length);
			return EMULATE_DONE;
		}
		if (v->rflags & RFLAGS_TF) {
			vcpu_skip(v, 0); /* a step is one iteration */
			return EMULATE_DONE;
		}
	}
	return EMULATE_DONE;
}
