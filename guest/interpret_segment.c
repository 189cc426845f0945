/* SPDX-License-Identifier: MIT */
/* Loads of segment registers, LDTR and TR, and of the descriptor tables' registers (SDM vol. 3, 5.5 to 5.8, 3.5; vol. 2, MOV,
 * LGDT, LLDT, LTR; real mode: vol. 3, 20.1.1). */
#include "guest/interpret_step.h"

#define SELECTOR_TI 4u
#define SELECTOR_BYTES 7u /* of a descriptor, less one */
#define ERROR_EXT 1u
#define DESCRIPTOR_BYTES 8
#define DESCRIPTOR_ACCESS 5 /* the byte that holds type, S, DPL, P */
#define HIGH_TYPE_SHIFT 40 /* S and the type of the upper half of 16 bytes: zeros */
#define HIGH_TYPE 0x1fu

#define TYPE_ACCESSED 1u
#define TYPE_READABLE 2u /* code; of data: writable */
#define TYPE_CONFORMING 4u
#define TYPE_CODE 8u
#define TYPE_LDT 2u
#define TYPE_TSS16 1u
#define TYPE_TSS 9u
#define TYPE_BUSY 2u
#define LIMIT_SCALE 12

/* A descriptor on its way into a register. */
struct descriptor {
	struct segment segment;
	uint64_t at; /* its linear address */
};

static unsigned type(const struct descriptor *d)
{
	return d->segment.attr & SEG_TYPE;
}
static bool system(const struct descriptor *d)
{
	return !(d->segment.attr & SEG_S);
}
static unsigned dpl(const struct descriptor *d)
{
	return d->segment.attr >> SEG_DPL_SHIFT & 3;
}

/* Real mode looks at no table: what the register says of rights becomes a writable data segment's, its limit stays. */
static struct segment real(const struct segment *now, uint16_t selector)
{
	return (struct segment){
		.base = (uint64_t)selector << 4,
		.limit = now->limit,
		.attr = (now->attr & (SEG_DB | SEG_G)) | TYPE_ACCESSED | TYPE_READABLE | SEG_S | SEG_P,
		.selector = selector,
	};
}

static struct segment decode(uint64_t d, uint16_t selector)
{
	struct segment s = {
		.base = (d >> 16 & 0xffffff) | (d >> 56) << 24,
		.limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000)),
		.attr = (uint32_t)((d >> 40 & 0xff) | (d >> 40 & 0xf000)),
		.selector = selector,
	};

	if (s.attr & SEG_G)
		s.limit = s.limit << LIMIT_SCALE | ((1u << LIMIT_SCALE) - 1);
	return s;
}

static enum emulate_outcome read_descriptor(
	const struct step *s, uint16_t selector, uint32_t external, struct descriptor *d)
{
	const struct vcpu *v = s->v;
	const struct segment *ldt = &v->seg[LDTR];
	bool local = selector & SELECTOR_TI;
	uint64_t base = local ? ldt->base : v->gdtr.base, raw = 0;
	uint32_t limit = local ? ldt->limit : v->gdtr.limit;
	enum emulate_outcome o;

	if ((local && ldt->attr & SEG_UNUSABLE) || (selector | SELECTOR_BYTES) > limit)
		return step_fault(s, VECTOR_GP, (selector & SELECTOR_ERROR) | external);
	d->at = segment_behind(v, base, selector & ~SELECTOR_BYTES);
	if (!vcpu_long_mode(v))
		d->at = (uint32_t)d->at;
	o = s->m->read(s->m->context, d->at, &raw, DESCRIPTOR_BYTES, false, s->fault);
	d->segment = decode(raw, selector);
	return o;
}

/* Sets bits of the type, in the table too. EMULATE_AGAIN: another was there first. */
static enum emulate_outcome mark(const struct step *s, struct descriptor *d, unsigned bits)
{
	uint8_t before = (uint8_t)d->segment.attr, after = before | (uint8_t)bits;
	enum emulate_outcome o = EMULATE_DONE;

	if (before != after)
		o = s->m->exchange(s->m->context, d->at + DESCRIPTOR_ACCESS, &before, &after, 1, s->fault);
	d->segment.attr |= bits;
	return o;
}

static bool stack_fits(const struct descriptor *d, unsigned rpl, unsigned cpl)
{
	return !system(d) && !(type(d) & TYPE_CODE) && type(d) & TYPE_READABLE && rpl == cpl && dpl(d) == cpl;
}

static bool data_fits(const struct descriptor *d, unsigned rpl, unsigned cpl)
{
	bool code = type(d) & TYPE_CODE;

	if (system(d) || (code && !(type(d) & TYPE_READABLE)))
		return false;
	return (code && type(d) & TYPE_CONFORMING) || (dpl(d) >= rpl && dpl(d) >= cpl);
}

enum emulate_outcome segment_load(const struct step *s, enum seg seg, uint16_t selector, struct segment *to)
{
	const struct vcpu *v = s->v;
	unsigned rpl = selector & SELECTOR_RPL, cpl = vcpu_cpl(v);
	uint32_t error = selector & SELECTOR_ERROR;
	struct descriptor d;
	enum emulate_outcome o;

	*to = v->seg[seg];
	to->selector = selector;
	if (!step_protected(s)) {
		*to = real(&v->seg[seg], selector);
		return EMULATE_DONE;
	}
	if (!error) {
		to->attr |= SEG_UNUSABLE;
		return seg == SS && !(vcpu_64bit(v) && rpl == cpl) ? step_fault(s, VECTOR_GP, 0) : EMULATE_DONE;
	}
	o = read_descriptor(s, selector, 0, &d);
	if (o != EMULATE_DONE)
		return o;
	if (seg == SS ? !stack_fits(&d, rpl, cpl) : !data_fits(&d, rpl, cpl))
		return step_fault(s, VECTOR_GP, error);
	if (!(d.segment.attr & SEG_P))
		return step_fault(s, seg == SS ? VECTOR_SS : VECTOR_NP, error);
	o = mark(s, &d, TYPE_ACCESSED);
	*to = d.segment;
	return o;
}

static bool code_fits(const struct step *s, const struct descriptor *d, unsigned rpl, unsigned cpl, bool back)
{
	bool conforming = type(d) & TYPE_CONFORMING;

	if (!(type(d) & TYPE_CODE))
		return false;
	if (vcpu_long_mode(s->v) && d->segment.attr & SEG_L && d->segment.attr & SEG_DB)
		return false;
	return conforming ? dpl(d) <= cpl : dpl(d) == cpl && (back ? rpl == cpl : rpl <= cpl);
}

enum emulate_outcome segment_load_code(
	const struct step *s, uint16_t selector, bool back, bool external, struct segment *to)
{
	unsigned rpl = selector & SELECTOR_RPL, cpl = vcpu_cpl(s->v);
	uint32_t error = (selector & SELECTOR_ERROR) | (external ? ERROR_EXT : 0);
	struct descriptor d;
	enum emulate_outcome o;

	if (!step_protected(s)) {
		*to = real(&s->v->seg[CS], selector);
		return EMULATE_DONE;
	}
	if (!(selector & SELECTOR_ERROR))
		return step_fault(s, VECTOR_GP, error);
	o = read_descriptor(s, selector, error & ERROR_EXT, &d);
	if (o != EMULATE_DONE)
		return o;
	if (back ? rpl > cpl : system(&d)) /* to an outer level; a gate or a TSS */
		return EMULATE_UNKNOWN;
	if (system(&d) || !code_fits(s, &d, rpl, cpl, back))
		return step_fault(s, VECTOR_GP, error);
	if (!(d.segment.attr & SEG_P))
		return step_fault(s, VECTOR_NP, error);
	o = mark(s, &d, TYPE_ACCESSED);
	*to = d.segment;
	to->selector = (uint16_t)((selector & ~SELECTOR_RPL) | cpl);
	return o;
}

static enum emulate_outcome load(const struct step *s)
{
	enum seg seg = s->i->reg % 8;
	uint64_t selector;
	struct segment to;
	enum emulate_outcome o = step_operand(s, &selector);

	if (o == EMULATE_DONE)
		o = segment_load(s, seg, (uint16_t)selector, &to);
	if (o != EMULATE_DONE)
		return o;
	step_set_segment(s->v, seg, &to);
	return step_loaded(s, seg);
}

static enum emulate_outcome load_far(const struct step *s)
{
	const struct insn *i = s->i;
	uint64_t at = insn_offset(s->v, i), offset, selector;
	struct segment to;
	enum emulate_outcome o = step_read(s, i->seg, at, i->operand_bytes, &offset);

	if (o == EMULATE_DONE)
		o = step_read(s, i->seg, at + i->operand_bytes, 2, &selector);
	if (o == EMULATE_DONE)
		o = segment_load(s, i->extra, (uint16_t)selector, &to);
	if (o != EMULATE_DONE)
		return o;
	step_set_segment(s->v, i->extra, &to);
	step_set_gpr(s->v, i->reg, offset, i->operand_bytes);
	return step_done(s);
}

/* In long mode such a descriptor has 16 bytes, the upper ones with the rest of the base (SDM vol. 3, 3.5.2, 7.2.3). */
static enum emulate_outcome read_high(const struct step *s, uint16_t selector, struct descriptor *d)
{
	uint64_t raw = 0;
	enum emulate_outcome o;

	if ((selector | SELECTOR_BYTES) + DESCRIPTOR_BYTES > s->v->gdtr.limit)
		return step_fault(s, VECTOR_GP, selector & SELECTOR_ERROR);
	o = s->m->read(s->m->context, d->at + DESCRIPTOR_BYTES, &raw, DESCRIPTOR_BYTES, false, s->fault);
	d->segment.base |= raw << 32;
	if (o == EMULATE_DONE && (raw >> HIGH_TYPE_SHIFT & HIGH_TYPE || !vcpu_canonical(d->segment.base)))
		return step_fault(s, VECTOR_GP, selector & SELECTOR_ERROR);
	return o;
}

/* LLDT and LTR. */
static enum emulate_outcome load_system(const struct step *s)
{
	bool task = s->i->op == INSN_LTR, wide = vcpu_long_mode(s->v);
	enum seg seg = task ? TR : LDTR;
	uint64_t selector;
	uint32_t error;
	struct descriptor d;
	enum emulate_outcome o = step_operand(s, &selector);

	if (o != EMULATE_DONE)
		return o;
	error = (uint32_t)selector & SELECTOR_ERROR;
	if (!error && !task) {
		step_set_segment(s->v, seg, &(struct segment){.selector = (uint16_t)selector, .attr = SEG_UNUSABLE});
		return step_done(s);
	}
	if (!error || selector & SELECTOR_TI)
		return step_fault(s, VECTOR_GP, error);
	o = read_descriptor(s, (uint16_t)selector, 0, &d);
	if (o != EMULATE_DONE)
		return o;
	if (!system(&d) || (task ? type(&d) != TYPE_TSS && (type(&d) != TYPE_TSS16 || wide) : type(&d) != TYPE_LDT))
		return step_fault(s, VECTOR_GP, error);
	if (!(d.segment.attr & SEG_P))
		return step_fault(s, VECTOR_NP, error);
	if (wide)
		o = read_high(s, (uint16_t)selector, &d);
	if (o != EMULATE_DONE)
		return o;
	o = task ? mark(s, &d, TYPE_BUSY) : EMULATE_DONE;
	if (o != EMULATE_DONE)
		return o;
	step_set_segment(s->v, seg, &d.segment);
	return step_done(s);
}

/* SLDT and STR: a register takes all of its size, memory two bytes. */
static enum emulate_outcome store_system(const struct step *s)
{
	uint16_t selector = s->v->seg[s->i->op == INSN_STR ? TR : LDTR].selector;
	enum emulate_outcome o = EMULATE_DONE;

	if (s->i->memory)
		o = step_set_operand(s, selector);
	else
		step_set_gpr(s->v, s->i->rm, selector, s->i->operand_bytes);
	return o == EMULATE_DONE ? step_done(s) : o;
}

/* LGDT and LIDT. An operand of 16 bits has a base of 24. */
static enum emulate_outcome load_table(const struct step *s)
{
	const struct insn *i = s->i;
	struct vcpu *v = s->v;
	bool code64 = vcpu_64bit(v);
	uint64_t at = insn_offset(v, i), limit, base;
	enum emulate_outcome o = step_read(s, i->seg, at, 2, &limit);

	if (o == EMULATE_DONE)
		o = step_read(s, i->seg, at + 2, code64 ? 8 : 4, &base);
	if (o != EMULATE_DONE)
		return o;
	if (code64 && !vcpu_canonical(base))
		return step_fault(s, VECTOR_GP, 0);
	if (!code64 && i->operand_bytes == 2)
		base &= 0xffffff;
	*(i->op == INSN_LGDT ? &v->gdtr : &v->idtr) = (struct desc_table){base, (uint32_t)limit};
	v->changed |= VCPU_TABLES;
	return step_done(s);
}

static enum emulate_outcome store_table(const struct step *s)
{
	const struct desc_table *t = s->i->op == INSN_SGDT ? &s->v->gdtr : &s->v->idtr;
	uint64_t at = insn_offset(s->v, s->i);
	enum emulate_outcome o = step_write(s, s->i->seg, at, 2, t->limit);

	if (o == EMULATE_DONE)
		o = step_write(s, s->i->seg, at + 2, vcpu_64bit(s->v) ? 8 : 4, t->base);
	return o == EMULATE_DONE ? step_done(s) : o;
}

enum emulate_outcome step_segment(const struct step *s)
{
	switch (s->i->op) {
	case INSN_TO_SEG:
		return load(s);
	case INSN_LOAD_FAR:
		return load_far(s);
	case INSN_SGDT:
	case INSN_SIDT:
		return store_table(s);
	case INSN_LGDT:
	case INSN_LIDT:
		return load_table(s);
	default:
		break;
	}
	if (!step_protected(s))
		return step_fault(s, VECTOR_UD, 0);
	return s->i->op == INSN_LLDT || s->i->op == INSN_LTR ? load_system(s) : store_system(s);
}
