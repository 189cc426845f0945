/* SPDX-License-Identifier: MIT */
/* What the interpreter's files share. Each function carries out i of the step and goes past it, or has changed no register. */
#ifndef GUEST_INTERPRET_STEP_H
#define GUEST_INTERPRET_STEP_H

#include "guest/cr.h"
#include "guest/emulate_step.h"

#define RFLAGS_NT (1UL << 14)
#define RFLAGS_IOPL (3UL << 12)
#define RFLAGS_ID (1UL << 21)

#define SELECTOR_RPL 3u
#define SELECTOR_ERROR 0xfffcu /* of a selector, in an error code */

static inline bool step_protected(const struct step *s)
{
	return s->v->cr0 & CR0_PE;
}

static inline enum emulate_outcome step_done(const struct step *s)
{
	vcpu_skip(s->v, s->i->length);
	return EMULATE_DONE;
}

/* The same where segment register `seg` was loaded. Nothing comes between a load of SS and the next instruction, the #DB of a single
 * step as little as an interrupt (SDM vol. 3, 6.8.3); of loads in a row, behind the first. */
static inline enum emulate_outcome step_loaded(const struct step *s, enum seg seg)
{
	struct vcpu *v = s->v;
	uint64_t held = seg == SS && !v->interrupt_shadow ? v->rflags & RFLAGS_TF : 0;

	v->rflags &= ~held;
	step_done(s);
	v->rflags |= held;
	v->interrupt_shadow = seg == SS;
	return EMULATE_DONE;
}

/* `bytes` (1, 2, 4, 8) bytes at seg:offset. */
enum emulate_outcome step_read(const struct step *s, enum seg seg, uint64_t offset, unsigned bytes, uint64_t *value);
enum emulate_outcome step_write(const struct step *s, enum seg seg, uint64_t offset, unsigned bytes, uint64_t value);
/* The operand in rm or in memory, of i->bytes bytes. */
enum emulate_outcome step_operand(const struct step *s, uint64_t *value);
enum emulate_outcome step_set_operand(const struct step *s, uint64_t value);

/* interpret_stack.c: a stack pointer on its way; the vCPU's is set at last. */
uint64_t stack_pointer(const struct vcpu *v);
void stack_set_pointer(struct vcpu *v, uint64_t sp);
enum emulate_outcome stack_push(const struct step *s, uint64_t *sp, uint64_t value, unsigned bytes);
enum emulate_outcome stack_pop(const struct step *s, uint64_t *sp, uint64_t *value, unsigned bytes);
/* PUSH … LEAVE */
enum emulate_outcome step_stack(const struct step *s);
/* RFLAGS as POPF and IRET of `bytes` bytes make them of a value, at CPL 0. */
uint64_t stack_flags(uint64_t now, uint64_t value, unsigned bytes);

/* interpret_flow.c: Jcc … IRET. */
enum emulate_outcome step_flow(const struct step *s);

/* interpret_event.c: event e is delivered and RIP of what was interrupted kept as `back`. */
enum emulate_outcome step_deliver(const struct step *s, const struct event *e, uint64_t back);

/* interpret_segment.c: *to is what the segment register holds after a load of `selector`. Nothing in v changes. */
enum emulate_outcome segment_load(const struct step *s, enum seg seg, uint16_t selector, struct segment *to);
/* The same for CS by a far transfer: a jump or call, or (back) a return. external: error codes have their bit EXT. */
enum emulate_outcome segment_load_code(
	const struct step *s, uint16_t selector, bool back, bool external, struct segment *to);
/* MOV to segment registers, LES …, SLDT … LTR, SGDT … LIDT. */
enum emulate_outcome step_segment(const struct step *s);

static inline void step_set_segment(struct vcpu *v, enum seg seg, const struct segment *to)
{
	v->seg[seg] = *to;
	v->changed |= VCPU_SEGMENTS;
}

#endif
