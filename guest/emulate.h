/* SPDX-License-Identifier: MIT */
/* Carries out one instruction with an operand in memory, in place of the processor: where nothing is behind an address
 * that hardware could access, or hardware must not make the access. Pure: memory is the caller's. */
#ifndef GUEST_EMULATE_H
#define GUEST_EMULATE_H

#include "guest/insn.h"

#define EMULATE_BYTES_MAX 16 /* of an operand */
#define EMULATE_REP_STEP 64  /* iterations of a REP in one call */

enum emulate_outcome {
	EMULATE_DONE,  /* RIP is behind it; or a REP is not over: RIP is at it, and the next call goes on from there */
	EMULATE_FAULT, /* *fault is to be injected. Nothing has changed but, of a REP, the iterations before */
	EMULATE_AGAIN, /* waits for another flow: nothing has changed, the same call later */
	EMULATE_END,   /* memory's own: the guest cannot go on, and memory knows why */
	EMULATE_EXIT,  /* interpret()'s alone, as the next: nothing has changed, what the instruction does is an exit's handler's */
	EMULATE_UNKNOWN, /* nothing has changed: it is not interpreted */
};

/* emulate()'s: #PF (cr2 counts), #GP or #SS; each has an error code. */
struct emulate_fault {
	uint8_t vector;
	uint32_t error;
	uint64_t cr2;
};

/* What the instruction does to memory: `bytes` bytes, 1, 2, 4, 8 or 16, at linear address a, as the vCPU may at its
 * present CPL, CR0.WP and so on. The operand may cross a page; outside 64-bit mode it wraps at 4 GiB. Each returns
 * EMULATE_DONE, or another outcome and has done nothing then. */
struct emulate_memory {
	/* write: the instruction is going to write there, so that a refusal says so (as a fault's error code). */
	enum emulate_outcome (*read)(
		void *context, uint64_t a, void *to, unsigned bytes, bool write, struct emulate_fault *fault);
	enum emulate_outcome (*write)(
		void *context, uint64_t a, const void *from, unsigned bytes, struct emulate_fault *fault);
	/* Replaces `expected`, which was read there, by `value`, in one atomic step; EMULATE_AGAIN: it holds another.
	 */
	enum emulate_outcome (*exchange)(void *context, uint64_t a, const void *expected, const void *value,
		unsigned bytes, struct emulate_fault *fault);
	void *context;
};

/* Carries out i, which insn_decode_memory made of the bytes at v's RIP, or insn_decode_all with the same operation. Every instruction that reads and writes its
 * operand does so in one atomic step, with LOCK or without. Changes registers, RFLAGS and RIP of v, and queues what
 * follows from RFLAGS.TF. No part of v but VCPU_CR2, _TABLES, _DEBUG and _MSRS may be stale. Of data breakpoints and of
 * #AC it knows nothing. Outside sections and locks if m asks for that. */
enum emulate_outcome emulate(
	struct vcpu *v, const struct insn *i, const struct emulate_memory *m, struct emulate_fault *fault);

#endif
