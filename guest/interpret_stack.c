/* SPDX-License-Identifier: MIT */
/* Stack instructions. */
#include "guest/interpret_step.h"

/* What PUSHF leaves out of its image. */
#define FLAGS_HIDDEN (RFLAGS_VM | RFLAGS_RF)
/* What POPF and IRET set at CPL 0 (SDM vol. 2, POPF). */
#define FLAGS_SET (RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID)
#define ENTER_LEVELS 31u
#define GPRS_PUSHED 8

/* Bytes of the stack pointer that count (SDM vol. 1, 6.2.3). */
static unsigned pointer_bytes(const struct vcpu *v)
{
	return vcpu_64bit(v) ? 8 : v->seg[SS].attr & SEG_DB ? 4 : 2;
}

uint64_t stack_pointer(const struct vcpu *v)
{
	return insn_wrap(v->gpr[RSP], pointer_bytes(v));
}

void stack_set_pointer(struct vcpu *v, uint64_t sp)
{
	step_set_gpr(v, RSP, sp, pointer_bytes(v));
}

enum emulate_outcome stack_push(const struct step *s, uint64_t *sp, uint64_t value, unsigned bytes)
{
	uint64_t at = insn_wrap(*sp - bytes, pointer_bytes(s->v));
	enum emulate_outcome o = step_write(s, SS, at, bytes, value);

	if (o == EMULATE_DONE)
		*sp = at;
	return o;
}

enum emulate_outcome stack_pop(const struct step *s, uint64_t *sp, uint64_t *value, unsigned bytes)
{
	enum emulate_outcome o = step_read(s, SS, *sp, bytes, value);

	if (o == EMULATE_DONE)
		*sp = insn_wrap(*sp + bytes, pointer_bytes(s->v));
	return o;
}

uint64_t stack_flags(uint64_t now, uint64_t value, unsigned bytes)
{
	uint64_t set = bytes == 2 ? FLAGS_SET & 0xffff : FLAGS_SET;

	return (now & ~set & ~RFLAGS_RF) | (value & set);
}

static enum emulate_outcome push(const struct step *s, uint64_t value)
{
	uint64_t sp = stack_pointer(s->v);
	enum emulate_outcome o = stack_push(s, &sp, value, s->i->operand_bytes);

	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(s->v, sp);
	return step_done(s);
}

static enum emulate_outcome push_operand(const struct step *s)
{
	uint64_t value = s->i->immediate;
	enum emulate_outcome o = EMULATE_DONE;

	if (s->i->form != INSN_IMMEDIATE)
		o = step_operand(s, &value);
	return o == EMULATE_DONE ? push(s, value) : o;
}

/* An address in memory that has the stack pointer in it is taken after the pop. */
static enum emulate_outcome pop_operand(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t before = v->gpr[RSP], sp = stack_pointer(v), value;
	enum emulate_outcome o = stack_pop(s, &sp, &value, s->i->operand_bytes);

	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp);
	o = step_set_operand(s, value);
	if (o == EMULATE_DONE)
		return step_done(s);
	v->gpr[RSP] = before;
	return o;
}

static enum emulate_outcome pop_segment(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t sp = stack_pointer(v), value;
	enum emulate_outcome o = stack_pop(s, &sp, &value, s->i->operand_bytes);
	struct segment to;

	if (o == EMULATE_DONE)
		o = segment_load(s, s->i->reg, (uint16_t)value, &to);
	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp); /* by the old SS */
	step_set_segment(v, s->i->reg, &to);
	return step_loaded(s, s->i->reg);
}

static enum emulate_outcome push_all(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t sp = stack_pointer(v);

	for (unsigned n = 0; n < GPRS_PUSHED; n++) {
		enum emulate_outcome o = stack_push(s, &sp, v->gpr[n], s->i->operand_bytes);

		if (o != EMULATE_DONE)
			return o;
	}
	stack_set_pointer(v, sp);
	return step_done(s);
}

static enum emulate_outcome pop_all(const struct step *s)
{
	uint64_t sp = stack_pointer(s->v), value[GPRS_PUSHED];

	for (unsigned n = GPRS_PUSHED; n-- > 0;) {
		enum emulate_outcome o = stack_pop(s, &sp, &value[n], s->i->operand_bytes);

		if (o != EMULATE_DONE)
			return o;
	}
	for (unsigned n = 0; n < GPRS_PUSHED; n++)
		if (n != RSP)
			step_set_gpr(s->v, n, value[n], s->i->operand_bytes);
	stack_set_pointer(s->v, sp);
	return step_done(s);
}

static enum emulate_outcome pop_flags(const struct step *s)
{
	struct vcpu *v = s->v;
	unsigned bytes = s->i->operand_bytes;
	uint64_t sp = stack_pointer(v), value, before = v->rflags;
	enum emulate_outcome o = stack_pop(s, &sp, &value, bytes);

	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp);
	step_done(s); /* a single step is that of the flags before */
	v->changed |= VCPU_FLOW;
	v->rflags = stack_flags(before, value, bytes);
	return EMULATE_DONE;
}

/* The frames of the levels around, then the new one's address (SDM vol. 2, ENTER). */
static enum emulate_outcome enter(const struct step *s)
{
	struct vcpu *v = s->v;
	unsigned bytes = s->i->operand_bytes, level = s->i->extra & ENTER_LEVELS;
	uint64_t sp = stack_pointer(v), bp = v->gpr[RBP], frame, value, a;
	enum emulate_outcome o = stack_push(s, &sp, bp, bytes);

	frame = sp;
	for (unsigned n = 1; n < level && o == EMULATE_DONE; n++) {
		bp = insn_wrap(bp - bytes, pointer_bytes(v));
		o = step_read(s, SS, bp, bytes, &value);
		if (o == EMULATE_DONE)
			o = stack_push(s, &sp, value, bytes);
	}
	if (level && o == EMULATE_DONE)
		o = stack_push(s, &sp, frame, bytes);
	sp = insn_wrap(sp - s->i->immediate, pointer_bytes(v));
	if (o == EMULATE_DONE)
		o = step_locate(s, SS, sp, bytes, true, &a);
	if (o == EMULATE_DONE) /* what is there must be writable */
		o = s->m->read(s->m->context, a, &value, bytes, true, s->fault);
	if (o != EMULATE_DONE)
		return o;
	step_set_gpr(v, RBP, frame, bytes);
	stack_set_pointer(v, sp);
	return step_done(s);
}

static enum emulate_outcome leave(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t sp = insn_wrap(v->gpr[RBP], pointer_bytes(v)), value;
	enum emulate_outcome o = stack_pop(s, &sp, &value, s->i->operand_bytes);

	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp);
	step_set_gpr(v, RBP, value, s->i->operand_bytes);
	return step_done(s);
}

enum emulate_outcome step_stack(const struct step *s)
{
	switch (s->i->op) {
	case INSN_PUSH:
		return push_operand(s);
	case INSN_POP:
		return pop_operand(s);
	case INSN_PUSH_SEG:
		return push(s, s->v->seg[s->i->reg].selector);
	case INSN_POP_SEG:
		return pop_segment(s);
	case INSN_PUSHA:
		return push_all(s);
	case INSN_POPA:
		return pop_all(s);
	case INSN_PUSHF:
		return push(s, s->v->rflags & ~FLAGS_HIDDEN);
	case INSN_POPF:
		return pop_flags(s);
	case INSN_ENTER:
		return enter(s);
	default:
		return leave(s);
	}
}
