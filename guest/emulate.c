/* SPDX-License-Identifier: MIT */
/* An instruction with one operand in memory: read it, compute, write it, then the registers; nothing is changed before
 * memory has said yes. */
#include "guest/emulate_step.h"

#define EXCHANGE_TRIES 16 /* of one instruction, while others write its operand */
#define PAIR_BYTES 16

/* What the instruction comes to, given its operand's value. */
struct effect {
	uint64_t memory[2];
	uint64_t reg;        /* for the register that ModRM names */
	uint64_t implied[2]; /* for RAX and, of a pair, RDX */
	uint64_t flags;
	bool sets_reg, sets_implied;
};

static uint64_t reg_value(const struct vcpu *v, const struct insn *i)
{
	return insn_wrap(i->high ? v->gpr[i->reg] >> 8 : v->gpr[i->reg], i->reg_bytes);
}

static void set_reg(struct vcpu *v, const struct insn *i, uint64_t value)
{
	if (i->high)
		step_set_gpr(v, i->reg, (v->gpr[i->reg] & 0xff) | (value & 0xff) << 8, 2);
	else
		step_set_gpr(v, i->reg, value, i->reg_bytes);
}

static int64_t sign_extend(uint64_t x, unsigned bytes)
{
	unsigned shift = 64 - 8 * bytes;

	return (int64_t)(x << shift) >> shift;
}

static bool reads(const struct insn *i)
{
	return i->form == INSN_REG_MEMORY || (i->op != INSN_MOV && i->op != INSN_MOV_SEG && i->op != INSN_SETCC);
}

static bool writes(const struct insn *i)
{
	return i->form != INSN_REG_MEMORY && i->op != INSN_CMP && i->op != INSN_TEST && i->op != INSN_BT;
}

/* BT and its like take a register's bit number as signed and unbounded: it leads to another operand nearby. */
static uint64_t offset_of(const struct vcpu *v, const struct insn *i)
{
	uint64_t offset = insn_offset(v, i);

	if (i->op >= INSN_BT && i->op <= INSN_BTC && i->form == INSN_MEMORY_REG) {
		int64_t bit = sign_extend(reg_value(v, i), i->bytes);

		offset += (uint64_t)(bit >> __builtin_ctz(8 * i->bytes)) * i->bytes;
	}
	return insn_wrap(offset, i->address_bytes);
}

/* CMPXCHG8B, CMPXCHG16B: EDX:EAX or RDX:RAX, replaced by ECX:EBX or RCX:RBX. */
static void pair(const struct vcpu *v, unsigned bytes, const uint64_t *old, struct effect *e)
{
	const uint64_t *g = v->gpr;
	uint64_t guess[2] = {g[RAX], g[RDX]}, value[2] = {g[RBX], g[RCX]};
	bool equal;

	e->implied[0] = old[0];
	e->implied[1] = old[1];
	if (bytes < PAIR_BYTES) {
		guess[0] = (uint32_t)g[RAX] | g[RDX] << 32;
		value[0] = (uint32_t)g[RBX] | g[RCX] << 32;
		guess[1] = value[1] = 0;
		e->implied[0] = (uint32_t)old[0];
		e->implied[1] = old[0] >> 32;
	}
	equal = old[0] == guess[0] && old[1] == guess[1];
	e->flags = (e->flags & ~RFLAGS_ZF) | (equal ? RFLAGS_ZF : 0);
	e->sets_implied = !equal;
	e->memory[0] = equal ? value[0] : old[0];
	e->memory[1] = equal ? value[1] : old[1];
}

static uint64_t compare_exchange(const struct vcpu *v, const struct insn *i, uint64_t a, uint64_t b, struct effect *e)
{
	alu(INSN_CMP, insn_wrap(v->gpr[RAX], i->bytes), a, i->bytes, &e->flags);
	if (e->flags & RFLAGS_ZF)
		return b;
	e->implied[0] = a;
	e->sets_implied = true;
	return a;
}

/* What the destination, which holds a, is to hold; b: the source. */
static uint64_t result(const struct vcpu *v, const struct insn *i, uint64_t a, uint64_t b, struct effect *e)
{
	switch (i->op) {
	case INSN_MOV:
	case INSN_MOVZX:
		return b;
	case INSN_MOVSX:
		return (uint64_t)sign_extend(b, i->bytes);
	case INSN_MOV_SEG:
		return v->seg[i->reg % 8].selector;
	case INSN_SETCC:
		return alu_condition(i->condition, v->rflags);
	case INSN_CMOVCC:
		return alu_condition(i->condition, v->rflags) ? b : a;
	case INSN_XADD:
		e->reg = a;
		e->sets_reg = true;
		return alu(INSN_ADD, a, b, i->bytes, &e->flags);
	case INSN_XCHG:
		e->reg = a;
		e->sets_reg = true;
		return b;
	case INSN_CMPXCHG:
		return compare_exchange(v, i, a, b, e);
	case INSN_SHLD:
	case INSN_SHRD:
		return alu_shift_double(i->op, a, b, i->by_cl ? v->gpr[RCX] : i->immediate, i->bytes, &e->flags);
	default:
		if (i->op >= INSN_ROL && i->op <= INSN_SAR)
			return alu_shift(i->op, a, i->by_cl ? v->gpr[RCX] : b, i->bytes, &e->flags);
		return alu(i->op, a, b, i->bytes, &e->flags);
	}
}

static struct effect effect_of(const struct vcpu *v, const struct insn *i, const uint64_t *old)
{
	struct effect e = {.flags = v->rflags};

	switch (i->form) {
	case INSN_REG_MEMORY:
		e.reg = result(v, i, reg_value(v, i), old[0], &e);
		e.sets_reg = i->op != INSN_CMP;
		break;
	case INSN_MEMORY_REG:
		e.memory[0] = result(v, i, old[0], reg_value(v, i), &e);
		break;
	case INSN_MEMORY_IMMEDIATE:
		e.memory[0] = result(v, i, old[0], i->immediate, &e);
		break;
	default:
		if (i->op == INSN_CMPXCHG_PAIR)
			pair(v, i->bytes, old, &e);
		else
			e.memory[0] = result(v, i, old[0], 0, &e);
		break;
	}
	return e;
}

/* Memory took it. */
static void commit(struct vcpu *v, const struct insn *i, const struct effect *e)
{
	unsigned bytes = i->op == INSN_CMPXCHG_PAIR ? i->bytes / 2 : i->bytes;

	if (e->sets_implied)
		step_set_gpr(v, RAX, e->implied[0], bytes);
	if (e->sets_implied && i->op == INSN_CMPXCHG_PAIR)
		step_set_gpr(v, RDX, e->implied[1], bytes);
	if (e->sets_reg)
		set_reg(v, i, e->reg);
	if (e->flags != v->rflags)
		step_set_flags(v, e->flags);
	vcpu_skip(v, i->length);
}

/* The operand is a register. */
static enum emulate_outcome on_register(struct vcpu *v, const struct insn *i)
{
	uint64_t old[2] = {step_rm(v, i)};
	struct effect e = effect_of(v, i, old);

	commit(v, i, &e);
	if (writes(i) && !e.sets_implied) /* CMPXCHG's that differs stays, its upper half too */
		step_set_rm(v, i, e.memory[0], i->op == INSN_MOV_SEG ? i->operand_bytes : i->bytes);
	return EMULATE_DONE;
}

/* EMULATE_AGAIN: another has written the operand meanwhile. */
static enum emulate_outcome try(const struct step *s, uint64_t at)
{
	const struct emulate_memory *m = s->m;
	const struct insn *i = s->i;
	uint64_t old[2] = {0};
	enum emulate_outcome o = EMULATE_DONE;
	struct effect e;

	if (reads(i))
		o = m->read(m->context, at, old, i->bytes, writes(i), s->fault);
	if (o != EMULATE_DONE)
		return o;
	e = effect_of(s->v, i, old);
	if (writes(i))
		o = reads(i) ? m->exchange(m->context, at, old, e.memory, i->bytes, s->fault)
			     : m->write(m->context, at, e.memory, i->bytes, s->fault);
	if (o == EMULATE_DONE)
		commit(s->v, i, &e);
	return o;
}

enum emulate_outcome emulate(
	struct vcpu *v, const struct insn *i, const struct emulate_memory *m, struct emulate_fault *fault)
{
	const struct step s = {v, i, m, fault};
	enum emulate_outcome o;
	uint64_t at;

	if (i->form == INSN_STRING)
		return step_string(&s);
	if (!i->memory)
		return on_register(v, i);
	o = step_find(&s, i->seg, offset_of(v, i), writes(i), &at);
	if (i->bytes == PAIR_BYTES && at % PAIR_BYTES) {
		*fault = (struct emulate_fault){.vector = VECTOR_GP};
		return EMULATE_FAULT;
	}
	if (o != EMULATE_DONE)
		return o;
	for (unsigned n = 0; n < EXCHANGE_TRIES; n++) {
		o = try(&s, at);
		if (o != EMULATE_AGAIN)
			break;
	}
	return o;
}
