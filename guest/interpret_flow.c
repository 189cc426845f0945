/* SPDX-License-Identifier: MIT */
/* Branches, near and far; software interrupts and the return from any. */
#include "guest/interpret_step.h"

/* To an offset in CS as it is. */
static enum emulate_outcome check_target(const struct step *s, const struct segment *cs, uint64_t target)
{
	bool code64 = vcpu_long_mode(s->v) && cs->attr & SEG_L;

	if (code64 ? !vcpu_canonical(target) : target > cs->limit)
		return step_fault(s, VECTOR_GP, 0);
	return EMULATE_DONE;
}

static enum emulate_outcome arrive(const struct step *s, uint64_t target)
{
	s->v->rip = target;
	vcpu_skip(s->v, 0);
	return EMULATE_DONE;
}

static enum emulate_outcome jump(const struct step *s, uint64_t target)
{
	enum emulate_outcome o;

	target = insn_wrap(target, s->i->operand_bytes);
	o = check_target(s, &s->v->seg[CS], target);
	return o == EMULATE_DONE ? arrive(s, target) : o;
}

static uint64_t behind(const struct step *s)
{
	return insn_wrap(s->v->rip + s->i->length, s->i->operand_bytes);
}

static enum emulate_outcome conditional(const struct step *s)
{
	if (!alu_condition(s->i->condition, s->v->rflags))
		return step_done(s);
	return jump(s, behind(s) + s->i->immediate);
}

static enum emulate_outcome loop(const struct step *s)
{
	struct vcpu *v = s->v;
	enum insn_op op = s->i->op;
	uint64_t before = v->gpr[RCX], count = insn_wrap(before - (op != INSN_JCXZ), s->i->address_bytes);
	bool taken = op == INSN_JCXZ ? !count : count, zero = v->rflags & RFLAGS_ZF;
	enum emulate_outcome o;

	if (op == INSN_LOOPE || op == INSN_LOOPNE)
		taken &= zero == (op == INSN_LOOPE);
	if (op != INSN_JCXZ)
		step_set_gpr(v, RCX, count, s->i->address_bytes);
	if (!taken)
		return step_done(s);
	o = jump(s, behind(s) + s->i->immediate);
	if (o != EMULATE_DONE)
		v->gpr[RCX] = before;
	return o;
}

/* Of JMP and CALL. */
static enum emulate_outcome near_target(const struct step *s, uint64_t *target)
{
	*target = behind(s) + s->i->immediate;
	return s->i->form == INSN_IMMEDIATE ? EMULATE_DONE : step_operand(s, target);
}

static enum emulate_outcome near(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t target, sp = stack_pointer(v);
	enum emulate_outcome o = near_target(s, &target);

	if (o != EMULATE_DONE || s->i->op == INSN_JMP)
		return o == EMULATE_DONE ? jump(s, target) : o;
	target = insn_wrap(target, s->i->operand_bytes);
	o = check_target(s, &v->seg[CS], target);
	if (o == EMULATE_DONE)
		o = stack_push(s, &sp, behind(s), s->i->operand_bytes);
	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp);
	return arrive(s, target);
}

static enum emulate_outcome near_return(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t target, sp = stack_pointer(v);
	enum emulate_outcome o = stack_pop(s, &sp, &target, s->i->operand_bytes);

	if (o == EMULATE_DONE)
		o = check_target(s, &v->seg[CS], target);
	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp + s->i->immediate);
	return arrive(s, target);
}

/* Of JMP and CALL. */
static enum emulate_outcome far_target(const struct step *s, uint16_t *selector, uint64_t *offset)
{
	const struct insn *i = s->i;
	uint64_t value = i->extra, at;
	enum emulate_outcome o = EMULATE_DONE;

	*offset = i->immediate;
	if (i->form != INSN_IMMEDIATE) {
		at = insn_offset(s->v, i);
		o = step_read(s, i->seg, at, i->operand_bytes, offset);
		if (o == EMULATE_DONE)
			o = step_read(s, i->seg, at + i->operand_bytes, 2, &value);
	}
	*selector = (uint16_t)value;
	return o;
}

static enum emulate_outcome far(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t target, sp = stack_pointer(v);
	struct segment cs;
	uint16_t selector;
	enum emulate_outcome o = far_target(s, &selector, &target);

	if (o == EMULATE_DONE)
		o = segment_load_code(s, selector, false, false, &cs);
	if (o == EMULATE_DONE)
		o = check_target(s, &cs, target);
	if (o == EMULATE_DONE && s->i->op == INSN_CALL_FAR) {
		o = stack_push(s, &sp, v->seg[CS].selector, s->i->operand_bytes);
		if (o == EMULATE_DONE)
			o = stack_push(s, &sp, behind(s), s->i->operand_bytes);
	}
	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp);
	step_set_segment(v, CS, &cs);
	return arrive(s, target);
}

/* RET far and IRET: *flags stays as it is but for IRET's. */
static enum emulate_outcome far_return(const struct step *s, uint64_t *flags)
{
	struct vcpu *v = s->v;
	unsigned bytes = s->i->operand_bytes;
	uint64_t target, selector, sp = stack_pointer(v);
	enum emulate_outcome o = stack_pop(s, &sp, &target, bytes);
	struct segment cs;

	if (o == EMULATE_DONE)
		o = stack_pop(s, &sp, &selector, bytes);
	if (o == EMULATE_DONE && s->i->op == INSN_IRET)
		o = stack_pop(s, &sp, flags, bytes);
	if (o == EMULATE_DONE && s->i->op == INSN_IRET && step_protected(s) && bytes == 4 && *flags & RFLAGS_VM)
		return EMULATE_UNKNOWN;
	if (o == EMULATE_DONE)
		o = segment_load_code(s, (uint16_t)selector, true, false, &cs);
	if (o == EMULATE_DONE)
		o = check_target(s, &cs, target);
	if (o != EMULATE_DONE)
		return o;
	stack_set_pointer(v, sp + s->i->immediate);
	step_set_segment(v, CS, &cs);
	return arrive(s, target);
}

static enum emulate_outcome interrupt_return(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t flags, before = v->rflags;
	enum emulate_outcome o;

	/* The nested task bit makes it a task switch; in 64-bit mode it loads SS too. */
	if (vcpu_64bit(v) || (step_protected(s) && before & RFLAGS_NT))
		return EMULATE_UNKNOWN;
	o = far_return(s, &flags);
	if (o != EMULATE_DONE)
		return o;
	v->changed |= VCPU_FLOW;
	v->rflags = stack_flags(before, flags, s->i->operand_bytes) | (s->i->operand_bytes == 4 ? flags & RFLAGS_RF : 0);
	v->nmi_blocked = false;
	return EMULATE_DONE;
}

static enum emulate_outcome interrupt(const struct step *s)
{
	struct event e = {.type = EVENT_SOFT_EXCEPTION, .vector = VECTOR_BP};

	if (s->i->op == INSN_INTO) {
		if (!(s->v->rflags & RFLAGS_OF))
			return step_done(s);
		e.vector = VECTOR_OF;
	} else if (s->i->op == INSN_INT) {
		e = (struct event){.type = EVENT_SOFT_INTERRUPT, .vector = (uint8_t)s->i->immediate};
	}
	return step_deliver(s, &e, s->v->rip + s->i->length);
}

enum emulate_outcome step_flow(const struct step *s)
{
	uint64_t flags;

	switch (s->i->op) {
	case INSN_JCC:
		return conditional(s);
	case INSN_LOOPNE:
	case INSN_LOOPE:
	case INSN_LOOP:
	case INSN_JCXZ:
		return loop(s);
	case INSN_JMP:
	case INSN_CALL:
		return near(s);
	case INSN_RET:
		return near_return(s);
	case INSN_JMP_FAR:
	case INSN_CALL_FAR:
		return far(s);
	case INSN_RET_FAR:
		return far_return(s, &flags);
	case INSN_IRET:
		return interrupt_return(s);
	default:
		return interrupt(s);
	}
}
