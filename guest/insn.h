/* SPDX-License-Identifier: MIT */
/* The instructions that exit and whose exits may not tell their length and operands (AMD's SVM), decoded. Pure. */
#ifndef GUEST_INSN_H
#define GUEST_INSN_H

#include "guest/vcpu.h"

#define INSN_BYTES_MAX 15

enum insn_op {
	INSN_CPUID,
	INSN_HLT,
	INSN_INVD,
	INSN_WBINVD,
	INSN_RDMSR,
	INSN_WRMSR,
	INSN_XSETBV,
	INSN_ICEBP,
	INSN_SVM, /* VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, INVLPGA */
	INSN_CLTS,
	INSN_INS,
	INSN_OUTS,
	/* reg: the control or debug register; rm: the general one */
	INSN_FROM_CR,
	INSN_TO_CR,
	INSN_FROM_DR,
	INSN_TO_DR,
	/* an operand: register rm, or memory */
	INSN_SMSW,
	INSN_LMSW,
	INSN_INVLPG, /* always memory */
};

enum insn_outcome {
	INSN_OK,
	INSN_SHORT, /* the bytes end within the instruction */
	INSN_OTHER, /* none of these, or longer than an instruction may be */
};

struct insn {
	enum insn_op op;
	uint8_t length; /* bytes */
	uint8_t operand_bytes, address_bytes; /* 2, 4, 8 */
	uint8_t reg, rm;
	enum seg seg; /* of the memory operand; of OUTS's source */
	/* The memory operand's offset: base + index * scale + displacement, of registers where there are any. */
	bool memory, has_base, has_index, rip_relative;
	uint8_t base, index, scale;
	int64_t displacement;
};

/* The mode that CS and EFER.LMA choose: bytes of an address by default. */
unsigned insn_mode(const struct vcpu *v); /* VCPU_SEGMENTS must not be stale, also below */

/* Decodes the n bytes at p as run in `mode` (2, 4, 8). */
enum insn_outcome insn_decode(unsigned mode, const uint8_t *p, unsigned n, struct insn *out);

/* The memory operand's offset in its segment, with v's registers and RIP at the instruction. */
uint64_t insn_offset(const struct vcpu *v, const struct insn *i);

#endif
