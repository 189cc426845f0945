/* SPDX-License-Identifier: MIT */
/* Interrupts and exceptions on their way to a handler at CPL 0. */
#include "guest/interpret.h"
#include "guest/interpret_step.h"

#define VECTOR_BYTES 4 /* of the interrupt vector table: IP and CS */
#define GATE_BYTES 8
#define GATE_TYPE_SHIFT 40
#define GATE_16 6u
#define GATE_TRAP 1u /* interrupts stay as they are */
#define GATE_32 8u
#define GATE_S (1UL << 44)
#define GATE_DPL_SHIFT 45
#define GATE_P (1UL << 47)
#define ERROR_IDT 2u
#define ERROR_EXT 1u

/* An instruction asked for it: its fault is no external event's. */
static bool software(const struct event *e)
{
	return e->type == EVENT_SOFT_INTERRUPT || e->type == EVENT_SOFT_EXCEPTION;
}

static uint32_t idt_error(const struct event *e)
{
	return (uint32_t)e->vector << 3 | ERROR_IDT | (software(e) ? 0 : ERROR_EXT);
}

static enum emulate_outcome read_idt(const struct step *s, const struct event *e, unsigned bytes, uint64_t *entry)
{
	struct vcpu *v = s->v;
	uint64_t at = (uint64_t)e->vector * bytes;

	*entry = 0;
	if (at + bytes - 1 > v->idtr.limit)
		return step_fault(s, VECTOR_GP, step_protected(s) ? idt_error(e) : 0);
	return s->m->read(s->m->context, (uint32_t)(v->idtr.base + at), entry, bytes, false, s->fault);
}

/* Flags, CS and IP, each of `bytes` bytes. */
static enum emulate_outcome push_frame(const struct step *s, uint64_t *sp, uint64_t flags, uint64_t back, unsigned bytes)
{
	enum emulate_outcome o = stack_push(s, sp, flags, bytes);

	if (o == EMULATE_DONE)
		o = stack_push(s, sp, s->v->seg[CS].selector, bytes);
	if (o == EMULATE_DONE)
		o = stack_push(s, sp, back, bytes);
	return o;
}

static enum emulate_outcome arrive(const struct step *s, const struct event *e, const struct segment *cs, uint64_t target,
	uint64_t sp, uint64_t clear)
{
	struct vcpu *v = s->v;

	stack_set_pointer(v, sp);
	step_set_segment(v, CS, cs);
	step_set_flags(v, v->rflags & ~clear);
	v->rip = target;
	v->repeats = 0;
	v->interrupt_shadow = false;
	v->changed |= VCPU_RIP;
	if (e->type == EVENT_NMI)
		v->nmi_blocked = true;
	return EMULATE_DONE;
}

static enum emulate_outcome by_vector_table(const struct step *s, const struct event *e, uint64_t back)
{
	uint64_t entry, sp = stack_pointer(s->v);
	struct segment cs;
	enum emulate_outcome o = read_idt(s, e, VECTOR_BYTES, &entry);

	if (o == EMULATE_DONE)
		o = segment_load_code(s, (uint16_t)(entry >> 16), false, false, &cs);
	if (o == EMULATE_DONE && (entry & 0xffff) > cs.limit)
		o = step_fault(s, VECTOR_GP, 0);
	if (o == EMULATE_DONE)
		o = push_frame(s, &sp, s->v->rflags, back, 2);
	if (o != EMULATE_DONE)
		return o;
	return arrive(s, e, &cs, entry & 0xffff, sp, RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
}

/* The image of RFLAGS: a fault's has RF, so that a breakpoint there does not come again. */
static uint64_t image(const struct vcpu *v, const struct event *e)
{
	bool fault = e->type == EVENT_EXCEPTION && e->vector != VECTOR_DB && e->vector != VECTOR_DF;

	return v->rflags | (fault ? RFLAGS_RF : 0);
}

static enum emulate_outcome by_gate(const struct step *s, const struct event *e, uint64_t back)
{
	struct vcpu *v = s->v;
	uint64_t gate, target, sp = stack_pointer(v), clear = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;
	struct segment cs;
	unsigned type, bytes;
	enum emulate_outcome o;

	if (vcpu_long_mode(v))
		return EMULATE_UNKNOWN;
	o = read_idt(s, e, GATE_BYTES, &gate);
	if (o != EMULATE_DONE)
		return o;
	type = gate >> GATE_TYPE_SHIFT & 15;
	if (gate & GATE_S || (type & ~(GATE_32 | GATE_TRAP)) != GATE_16)
		return (type == 5 && !(gate & GATE_S)) ? EMULATE_UNKNOWN : step_fault(s, VECTOR_GP, idt_error(e));
	if (software(e) && (gate >> GATE_DPL_SHIFT & 3) < vcpu_cpl(v))
		return step_fault(s, VECTOR_GP, idt_error(e));
	if (!(gate & GATE_P))
		return step_fault(s, VECTOR_NP, idt_error(e));
	bytes = type & GATE_32 ? 4 : 2;
	target = bytes == 4 ? (gate & 0xffff) | (gate >> 48) << 16 : gate & 0xffff;
	o = segment_load_code(s, (uint16_t)(gate >> 16) & ~(uint16_t)SELECTOR_RPL, false, !software(e), &cs);
	if (o == EMULATE_DONE && target > cs.limit)
		o = step_fault(s, VECTOR_GP, software(e) ? 0 : ERROR_EXT);
	if (o == EMULATE_DONE)
		o = push_frame(s, &sp, image(v, e), back, bytes);
	if (o == EMULATE_DONE && e->has_error)
		o = stack_push(s, &sp, e->error, bytes);
	if (o != EMULATE_DONE)
		return o;
	return arrive(s, e, &cs, target, sp, type & GATE_TRAP ? clear : clear | RFLAGS_IF);
}

enum emulate_outcome step_deliver(const struct step *s, const struct event *e, uint64_t back)
{
	return step_protected(s) ? by_gate(s, e, back) : by_vector_table(s, e, back);
}

enum emulate_outcome interpret_event(struct vcpu *v, const struct emulate_memory *m, struct emulate_fault *f)
{
	const struct insn none = {.op = INSN_INT};
	const struct step s = {v, &none, m, f};
	uint64_t back = v->rip + (software(&v->event) ? v->event.length : 0);
	enum emulate_outcome o = step_deliver(&s, &v->event, back);

	if (o == EMULATE_DONE) {
		v->event.type = EVENT_NONE;
		interpret_update(v);
	}
	return o;
}
