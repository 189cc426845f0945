/* SPDX-License-Identifier: MIT */
/* Runs a vCPU's code an instruction at a time where the hardware cannot: VMX without unrestricted guest enters neither real mode
 * nor, with CR0.PE just set, segments that are still real mode's (SDM vol. 3, 26.3.1.1, 26.3.1.2). 16-, 32- and 64-bit code at
 * CPL 0. Left out, and said by EMULATE_UNKNOWN: x87 and SIMD; call gates, task gates, task switches and transfers to another
 * privilege level; SYSENTER, SYSCALL; LAR, LSL, VERR, VERW, ARPL. Breakpoints and #AC do not occur. Pure: memory is the caller's. */
#ifndef GUEST_INTERPRET_H
#define GUEST_INTERPRET_H

#include "guest/emulate.h"

struct interpret_memory {
	struct emulate_memory data; /* accesses of the supervisor's */
	/* The same for code: `bytes` bytes, which cross no page, at linear address a. */
	enum emulate_outcome (*fetch)(void *context, uint64_t a, void *to, unsigned bytes, struct emulate_fault *fault);
};

/* Carries out the instruction at v's RIP, of a string EMULATE_REP_STEP iterations at most. EMULATE_EXIT: *i is
 *   one of insn_decode's but MOV to and from CR2; INSN_IN, INSN_OUT, INSN_RDPMC
 * for the handlers of exits. EMULATE_FAULT: *f is to be injected, with an error code where interpret_has_error(). No part of v
 * may be stale, and there is no event in v->event. Sets v->interpret anew. Outside sections and locks if m asks for that. */
enum emulate_outcome interpret(
	struct vcpu *v, const struct interpret_memory *m, struct insn *i, struct emulate_fault *f);

/* Delivers v->event, of which there is one: through the IVT in real mode, else through an interrupt or trap gate to CPL 0
 * (SDM vol. 3, 20.1.4, 6.12.1). EMULATE_FAULT: *f comes on top of the event. EMULATE_UNKNOWN: such a gate is not interpreted. */
enum emulate_outcome interpret_event(struct vcpu *v, const struct emulate_memory *m, struct emulate_fault *f);

/* Does this exception have an error code in protected mode? (SDM vol. 3, table 6-1) */
static inline bool interpret_has_error(uint8_t vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == VECTOR_AC || vector == VECTOR_CP;
}

/* Would a VM entry without unrestricted guest refuse this state: CR0.PE is 0, or segment registers break the rules of SDM
 * vol. 3, 26.3.1.2? Nothing of v may be stale. */
bool interpret_needed(const struct vcpu *v);
/* Sets v->interpret: it is needed and the hardware has no real mode of its own, or MOV SS or STI still blocks interrupts,
 * which the hardware is not told. */
void interpret_update(struct vcpu *v);

#endif
