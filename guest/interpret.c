/* SPDX-License-Identifier: MIT */
#include "guest/cpuid.h"
#include "guest/interpret.h"
#include "guest/interpret_step.h"

#define PAGE_BYTES 4096UL

enum emulate_outcome step_read(const struct step *s, enum seg seg, uint64_t offset, unsigned bytes, uint64_t *value)
{
	uint64_t a;
	enum emulate_outcome o = step_locate(s, seg, offset, bytes, false, &a);

	*value = 0;
	return o == EMULATE_DONE ? s->m->read(s->m->context, a, value, bytes, false, s->fault) : o;
}

enum emulate_outcome step_write(const struct step *s, enum seg seg, uint64_t offset, unsigned bytes, uint64_t value)
{
	uint64_t a;
	enum emulate_outcome o = step_locate(s, seg, offset, bytes, true, &a);

	return o == EMULATE_DONE ? s->m->write(s->m->context, a, &value, bytes, s->fault) : o;
}

enum emulate_outcome step_operand(const struct step *s, uint64_t *value)
{
	if (s->i->memory)
		return step_read(s, s->i->seg, insn_offset(s->v, s->i), s->i->bytes, value);
	*value = step_rm(s->v, s->i);
	return EMULATE_DONE;
}

enum emulate_outcome step_set_operand(const struct step *s, uint64_t value)
{
	if (s->i->memory)
		return step_write(s, s->i->seg, insn_offset(s->v, s->i), s->i->bytes, value);
	step_set_rm(s->v, s->i, value, s->i->bytes);
	return EMULATE_DONE;
}

/* MUL … IDIV: AX of AL, or rDX:rAX of rAX. */
static enum emulate_outcome multiply(const struct step *s)
{
	const struct insn *i = s->i;
	struct vcpu *v = s->v;
	bool byte = i->bytes == 1, divides = i->op == INSN_DIV || i->op == INSN_IDIV;
	uint64_t low = insn_wrap(v->gpr[RAX], i->bytes), flags = v->rflags, b;
	uint64_t high = insn_wrap(byte ? v->gpr[RAX] >> 8 : v->gpr[RDX], i->bytes);
	enum emulate_outcome o = step_operand(s, &b);

	if (o != EMULATE_DONE)
		return o;
	if (!divides)
		alu_multiply(i->op, &low, &high, b, i->bytes, &flags);
	else if (!alu_divide(i->op, &low, &high, b, i->bytes))
		return step_fault(s, VECTOR_DE, 0);
	step_set_gpr(v, RAX, byte ? low | high << 8 : low, byte ? 2 : i->bytes);
	if (!byte)
		step_set_gpr(v, RDX, high, i->bytes);
	step_set_flags(v, flags);
	return step_done(s);
}

/* BSF and BSR behind F3, where the processor has them: zeros above, or below, the highest or lowest one; all of them of 0. */
static bool counts_zeros(const struct step *s)
{
	const struct cpuid_model *m = s->v->model;

	if (s->i->rep != INSN_REPE)
		return false;
	return s->i->op == INSN_BSF ? m->basic[7].ebx & CPUID_EBX7_BMI1 : m->extended[1].ecx & CPUID_ECXE1_LZCNT;
}

static enum emulate_outcome count_zeros(const struct step *s)
{
	const struct insn *i = s->i;
	unsigned bits = 8u * i->bytes, n = bits;
	uint64_t b, flags = s->v->rflags & ~(RFLAGS_CF | RFLAGS_ZF);
	enum emulate_outcome o = step_operand(s, &b);

	if (o != EMULATE_DONE)
		return o;
	if (b)
		n = (unsigned)(i->op == INSN_BSF ? __builtin_ctzll(b) : __builtin_clzll(b) - (64 - (int)bits));
	step_set_gpr(s->v, i->reg, n, i->bytes);
	step_set_flags(s->v, flags | (b ? 0 : RFLAGS_CF) | (n ? 0 : RFLAGS_ZF));
	return step_done(s);
}

/* IMUL with a destination, BSF, BSR. */
static enum emulate_outcome to_register(const struct step *s)
{
	const struct insn *i = s->i;
	struct vcpu *v = s->v;
	uint64_t flags = v->rflags, high, b, r = insn_wrap(v->gpr[i->reg], i->bytes);
	bool product = i->op == INSN_IMUL_REG;
	enum emulate_outcome o = step_operand(s, &b);

	if (o != EMULATE_DONE)
		return o;
	if (product) {
		r = i->three ? i->immediate : r;
		alu_multiply(INSN_IMUL, &r, &high, b, i->bytes, &flags);
	} else {
		flags = (flags & ~RFLAGS_ZF) | (b ? 0 : RFLAGS_ZF);
		if (b)
			r = (uint64_t)(i->op == INSN_BSF ? __builtin_ctzll(b) : 63 - __builtin_clzll(b));
	}
	if (product || b)
		step_set_gpr(v, i->reg, r, i->bytes);
	step_set_flags(v, flags);
	return step_done(s);
}

static enum emulate_outcome byte_swap(const struct step *s)
{
	uint64_t x = __builtin_bswap64(step_rm(s->v, s->i));

	step_set_rm(s->v, s->i, x >> (64 - 8 * s->i->bytes), s->i->bytes);
	return step_done(s);
}

/* CBW and its like within rAX, CWD and its like to rDX. */
static enum emulate_outcome sign(const struct step *s)
{
	struct vcpu *v = s->v;
	unsigned bytes = s->i->operand_bytes, from = s->i->op == INSN_CBW ? bytes / 2 : bytes, shift = 64 - 8 * from;
	uint64_t wide = (uint64_t)((int64_t)(v->gpr[RAX] << shift) >> shift);

	if (s->i->op == INSN_CBW)
		step_set_gpr(v, RAX, wide, bytes);
	else
		step_set_gpr(v, RDX, (uint64_t)((int64_t)wide >> 63), bytes);
	return step_done(s);
}

static enum emulate_outcome decimal(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t flags = v->rflags;

	if (s->i->op == INSN_AAM && !(uint8_t)s->i->immediate)
		return step_fault(s, VECTOR_DE, 0);
	step_set_gpr(v, RAX, alu_decimal(s->i->op, (uint16_t)v->gpr[RAX], (uint8_t)s->i->immediate, &flags), 2);
	step_set_flags(v, flags);
	return step_done(s);
}

/* CLC … STD, CMC, SAHF, LAHF. */
static enum emulate_outcome change_flags(const struct step *s)
{
	static const uint64_t flag[] = {RFLAGS_CF, RFLAGS_IF, RFLAGS_DF}; /* by pairs of clear and set */
	const uint64_t stored = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF;
	struct vcpu *v = s->v;
	uint64_t before = v->rflags, flags = before, bit;

	switch (s->i->op) {
	case INSN_CMC:
		flags ^= RFLAGS_CF;
		break;
	case INSN_SAHF:
		flags = (flags & ~stored) | (v->gpr[RAX] >> 8 & stored);
		break;
	case INSN_LAHF:
		step_set_gpr(v, RAX, (v->gpr[RAX] & 0xff) | ((flags & stored) | RFLAGS_FIXED) << 8, 2);
		break;
	default:
		bit = flag[(s->i->op - INSN_CLC) / 2];
		flags = (s->i->op - INSN_CLC) % 2 ? flags | bit : flags & ~bit;
		break;
	}
	step_set_flags(v, flags);
	step_done(s);
	v->interrupt_shadow = s->i->op == INSN_STI && !(before & RFLAGS_IF);
	return EMULATE_DONE;
}

static enum emulate_outcome translate(const struct step *s)
{
	const struct vcpu *v = s->v;
	uint64_t offset = insn_wrap(v->gpr[RBX] + (v->gpr[RAX] & 0xff), s->i->address_bytes), value;
	enum emulate_outcome o = step_read(s, s->i->seg, offset, 1, &value);

	if (o != EMULATE_DONE)
		return o;
	step_set_gpr(s->v, RAX, value, 1);
	return step_done(s);
}

static enum emulate_outcome bound(const struct step *s)
{
	unsigned bytes = s->i->operand_bytes, shift = 64 - 8 * bytes;
	uint64_t at = insn_offset(s->v, s->i), low, high;
	int64_t index = (int64_t)(s->v->gpr[s->i->reg] << shift);
	enum emulate_outcome o = step_read(s, s->i->seg, at, bytes, &low);

	if (o == EMULATE_DONE)
		o = step_read(s, s->i->seg, at + bytes, bytes, &high);
	if (o != EMULATE_DONE)
		return o;
	if (index < (int64_t)(low << shift) || index > (int64_t)(high << shift))
		return step_fault(s, VECTOR_BR, 0);
	return step_done(s);
}

static enum emulate_outcome time(const struct step *s)
{
	struct vcpu *v = s->v;
	uint64_t now = host_clock() + v->tsc_offset;

	if (s->i->op == INSN_RDTSCP && !v->model->rdtscp)
		return step_fault(s, VECTOR_UD, 0);
	v->gpr[RAX] = (uint32_t)now;
	v->gpr[RDX] = now >> 32;
	if (s->i->op == INSN_RDTSCP)
		v->gpr[RCX] = (uint32_t)v->tsc_aux;
	return step_done(s);
}

static enum emulate_outcome effective_address(const struct step *s)
{
	step_set_gpr(s->v, s->i->reg, insn_offset(s->v, s->i), s->i->operand_bytes);
	return step_done(s);
}

/* An exit's, but for CR2, and for registers that are not there. */
static enum emulate_outcome control_register(const struct step *s)
{
	const struct insn *i = s->i;

	if (i->reg == 0 || i->reg == 3 || i->reg == 4 || i->reg == 8)
		return EMULATE_EXIT;
	if (i->reg != 2)
		return step_fault(s, VECTOR_UD, 0);
	if (i->op == INSN_FROM_CR)
		step_set_gpr(s->v, i->rm, s->v->cr2, vcpu_64bit(s->v) ? 8 : 4);
	else
		vcpu_set_cr2(s->v, vcpu_64bit(s->v) ? s->v->gpr[i->rm] : (uint32_t)s->v->gpr[i->rm]);
	return step_done(s);
}

/* What is carried out without memory in more than one operand. */
static enum emulate_outcome single(const struct step *s)
{
	switch (s->i->op) {
	case INSN_MUL:
	case INSN_IMUL:
	case INSN_DIV:
	case INSN_IDIV:
		return multiply(s);
	case INSN_BSF:
	case INSN_BSR:
		if (counts_zeros(s))
			return count_zeros(s);
		/* fall through */
	case INSN_IMUL_REG:
		return to_register(s);
	case INSN_BSWAP:
		return byte_swap(s);
	case INSN_CBW:
	case INSN_CWD:
		return sign(s);
	case INSN_DAA ... INSN_AAD:
		return decimal(s);
	case INSN_CLC ... INSN_LAHF:
		return change_flags(s);
	case INSN_NOP:
		return step_done(s);
	case INSN_UD:
		return step_fault(s, VECTOR_UD, 0);
	case INSN_LEA:
		return effective_address(s);
	case INSN_XLAT:
		return translate(s);
	case INSN_BOUND:
		return bound(s);
	case INSN_RDTSC:
	case INSN_RDTSCP:
		return time(s);
	default: /* IN, OUT, RDPMC */
		return EMULATE_EXIT;
	}
}

static enum emulate_outcome carry_out(const struct step *s)
{
	enum insn_op op = s->i->op;

	if (op == INSN_FROM_CR || op == INSN_TO_CR)
		return control_register(s);
	if (op < INSN_ADD)
		return s->i->lock ? step_fault(s, VECTOR_UD, 0) : EMULATE_EXIT;
	if (op <= INSN_SHRD)
		return emulate(s->v, s->i, s->m, s->fault);
	if (op >= INSN_PUSH && op <= INSN_LEAVE && op != INSN_TO_SEG && op != INSN_LOAD_FAR)
		return step_stack(s);
	if (op >= INSN_JCC && op <= INSN_IRET)
		return step_flow(s);
	if ((op >= INSN_SLDT && op <= INSN_LIDT) || op == INSN_TO_SEG || op == INSN_LOAD_FAR)
		return step_segment(s);
	return single(s);
}

/* Reads on, to the end of the page, of CS or of the longest instruction. */
static enum emulate_outcome fetch(const struct step *s, const struct interpret_memory *m, uint8_t *bytes, unsigned *n)
{
	const struct vcpu *v = s->v;
	uint64_t at = v->rip + *n, a = at, room = INSN_BYTES_MAX - *n;
	enum emulate_outcome o;

	if (!vcpu_64bit(v)) {
		if (at > v->seg[CS].limit || v->seg[CS].attr & SEG_UNUSABLE)
			return step_fault(s, VECTOR_GP, 0);
		a = (uint32_t)(v->seg[CS].base + at);
		if (room > v->seg[CS].limit - at + 1)
			room = v->seg[CS].limit - at + 1;
	} else if (!vcpu_canonical(a)) {
		return step_fault(s, VECTOR_GP, 0);
	}
	if (room > PAGE_BYTES - a % PAGE_BYTES)
		room = PAGE_BYTES - a % PAGE_BYTES;
	o = m->fetch(m->data.context, a, bytes + *n, (unsigned)room, s->fault);
	if (o == EMULATE_DONE)
		*n += (unsigned)room;
	return o;
}

enum emulate_outcome interpret(
	struct vcpu *v, const struct interpret_memory *m, struct insn *i, struct emulate_fault *f)
{
	const struct step s = {v, i, &m->data, f};
	uint8_t bytes[INSN_BYTES_MAX];
	enum insn_outcome decoded = INSN_SHORT;
	enum emulate_outcome o;
	unsigned n = 0;

	if (vcpu_cpl(v))
		return EMULATE_UNKNOWN;
	while (decoded == INSN_SHORT) {
		o = fetch(&s, m, bytes, &n);
		if (o != EMULATE_DONE)
			return o;
		decoded = insn_decode_all(insn_mode(v), bytes, n, i);
	}
	if (decoded == INSN_OTHER)
		return n == INSN_BYTES_MAX && !i->length ? step_fault(&s, VECTOR_GP, 0)
		       : i->lock			 ? step_fault(&s, VECTOR_UD, 0)
							 : EMULATE_UNKNOWN;
	o = carry_out(&s);
	interpret_update(v);
	return o;
}
