/* SPDX-License-Identifier: MIT */
/* Instructions, decoded (AMD APM vol. 3, 1.2 to 1.5, A.1). Three decoders share the way of reading prefixes and operands
 * (insn_read.h): insn_decode knows the instructions that exit and whose exits may not tell their length and operands
 * (AMD's SVM); insn_decode_memory those with an operand in memory that emulate.c carries out; insn_decode_all both, the same
 * with registers for operands, and what else interpret.c carries out. Pure. */
#ifndef GUEST_INSN_H
#define GUEST_INSN_H

#include "guest/vcpu.h"

#define INSN_BYTES_MAX VCPU_INSN_BYTES

enum insn_op {
	/* insn_decode */
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

	/* insn_decode_memory; the first eight in the order of their encoding */
	INSN_ADD,
	INSN_OR,
	INSN_ADC,
	INSN_SBB,
	INSN_AND,
	INSN_SUB,
	INSN_XOR,
	INSN_CMP,
	INSN_TEST,
	INSN_NOT,
	INSN_NEG,
	INSN_INC,
	INSN_DEC,
	INSN_BT, /* the next four in the order of their encoding */
	INSN_BTS,
	INSN_BTR,
	INSN_BTC,
	INSN_MOV,
	INSN_MOVSX, /* MOVSXD too */
	INSN_MOVZX,
	INSN_MOV_SEG, /* the selector of segment register reg, to memory */
	INSN_SETCC,   /* condition */
	INSN_CMOVCC,  /* condition */
	INSN_XCHG,
	INSN_XADD,
	INSN_CMPXCHG,
	INSN_CMPXCHG_PAIR, /* CMPXCHG8B, CMPXCHG16B */
	INSN_MOVS,	   /* the strings last */
	INSN_CMPS,
	INSN_STOS,
	INSN_LODS,
	INSN_SCAS,

	/* insn_decode_all; the next eight in the order of their encoding */
	INSN_ROL,
	INSN_ROR,
	INSN_RCL,
	INSN_RCR,
	INSN_SHL,
	INSN_SHR,
	INSN_SAL, /* SHL again */
	INSN_SAR,
	INSN_SHLD,
	INSN_SHRD,
	INSN_MUL, /* the next four in the order of their encoding */
	INSN_IMUL,
	INSN_DIV,
	INSN_IDIV,
	INSN_IMUL_REG, /* IMUL with a destination, of it and the operand; or, if `three`, of the operand and the immediate */
	INSN_BSF, /* with rep INSN_REPE TZCNT and LZCNT, where the processor has them */
	INSN_BSR,
	INSN_BSWAP,
	INSN_CBW, /* CWDE, CDQE */
	INSN_CWD, /* CDQ, CQO */
	INSN_DAA,
	INSN_DAS,
	INSN_AAA,
	INSN_AAS,
	INSN_AAM,
	INSN_AAD,
	INSN_CLC, /* the next six in the order of their encoding */
	INSN_STC,
	INSN_CLI,
	INSN_STI,
	INSN_CLD,
	INSN_STD,
	INSN_CMC,
	INSN_SAHF,
	INSN_LAHF,
	INSN_NOP,
	INSN_UD,
	INSN_LEA,
	INSN_XLAT,
	INSN_BOUND,
	INSN_PUSH,
	INSN_POP,
	INSN_PUSH_SEG, /* of segment register reg, also below */
	INSN_POP_SEG,
	INSN_TO_SEG,
	INSN_LOAD_FAR, /* LES, LDS, LSS, LFS, LGS: segment register `extra` */
	INSN_PUSHA,
	INSN_POPA,
	INSN_PUSHF,
	INSN_POPF,
	INSN_ENTER, /* immediate: bytes, extra: level */
	INSN_LEAVE,
	INSN_JCC,
	INSN_LOOPNE, /* the next four in the order of their encoding */
	INSN_LOOPE,
	INSN_LOOP,
	INSN_JCXZ,
	INSN_JMP,  /* immediate: relative; or an operand */
	INSN_CALL, /* the same */
	INSN_RET,  /* immediate: bytes of arguments */
	INSN_JMP_FAR,  /* extra:immediate, or an operand */
	INSN_CALL_FAR, /* the same */
	INSN_RET_FAR,
	INSN_INT, /* immediate */
	INSN_INT3,
	INSN_INTO,
	INSN_IRET,
	INSN_SLDT, /* the next four in the order of their encoding */
	INSN_STR,
	INSN_LLDT,
	INSN_LTR,
	INSN_SGDT, /* the next four in the order of their encoding */
	INSN_SIDT,
	INSN_LGDT,
	INSN_LIDT,
	INSN_IN,  /* immediate: the port, or an operand: DX */
	INSN_OUT, /* the same */
	INSN_RDTSC,
	INSN_RDTSCP,
	INSN_RDPMC,
};

enum insn_outcome {
	INSN_OK,
	INSN_SHORT, /* the bytes end within the instruction */
	INSN_OTHER, /* none of these, or longer than an instruction may be */
};

/* Which operand is the destination, which the source. "Memory" may be a register to insn_decode_all. Not insn_decode's. */
enum insn_form {
	INSN_MEMORY_REG,
	INSN_REG_MEMORY,
	INSN_MEMORY_IMMEDIATE,
	INSN_MEMORY_ALONE, /* it is both; what else takes part the operation implies */
	INSN_STRING,
	INSN_IMMEDIATE, /* alone */
	INSN_PLAIN,     /* no operands but those it implies */
};

enum insn_rep { INSN_ONCE, INSN_REPE, INSN_REPNE }; /* F3, F2 */

struct insn {
	enum insn_op op;
	uint8_t length; /* bytes */
	uint8_t operand_bytes, address_bytes; /* 2, 4, 8 */
	uint8_t reg, rm;
	enum seg seg; /* of the memory operand; of OUTS's source, of a string instruction's */
	/* The memory operand's offset: base + index * scale + displacement, of registers where there are any. */
	bool memory, has_base, has_index, rip_relative;
	uint8_t base, index, scale;
	int64_t displacement;

	/* insn_decode_memory's */
	enum insn_form form;
	enum insn_rep rep;
	bool lock;
	bool high;	   /* reg is AH, CH, DH or BH: bits 15:8 of general register reg */
	uint8_t bytes;     /* of the memory operand: 1, 2, 4, 8, 16; of INS and OUTS too */
	uint8_t reg_bytes; /* of register reg: 1, 2, 4, 8 */
	uint8_t condition; /* of SETcc and CMOVcc: 0 … 15 */
	uint64_t immediate; /* sign-extended */

	/* insn_decode_all's */
	bool rm_high;   /* as `high`, of an operand in register rm */
	bool by_cl;     /* a shift's count is CL, else the immediate */
	bool three;     /* IMUL's factors are the operand and the immediate */
	uint16_t extra; /* a second number: the selector of a far pointer … */
};

/* The mode that CS and EFER.LMA choose: bytes of an address by default. */
unsigned insn_mode(const struct vcpu *v); /* VCPU_SEGMENTS must not be stale, also below */

/* Decodes the n bytes at p as run in `mode` (2, 4, 8). */
enum insn_outcome insn_decode(unsigned mode, const uint8_t *p, unsigned n, struct insn *out);
/* The same for instructions with an operand in memory; LOCK where it is not allowed makes INSN_OTHER. */
enum insn_outcome insn_decode_memory(unsigned mode, const uint8_t *p, unsigned n, struct insn *out);
/* The same for all that the interpreter knows. Of INSN_OTHER, out->lock is right. */
enum insn_outcome insn_decode_all(unsigned mode, const uint8_t *p, unsigned n, struct insn *out);

/* x as an offset of `bytes` bytes. */
static inline uint64_t insn_wrap(uint64_t x, unsigned bytes)
{
	return bytes == 8 ? x : x & ((1UL << 8 * bytes) - 1);
}
/* x with its low `bytes` (1, 2, 4, 8) replaced; 4 bytes clear the upper half, as the processor does. */
static inline uint64_t insn_merge(uint64_t x, uint64_t value, unsigned bytes)
{
	uint64_t mask = bytes == 8 ? ~0UL : (1UL << 8 * bytes) - 1;

	return bytes == 4 ? (uint32_t)value : (x & ~mask) | (value & mask);
}

/* The memory operand's offset in its segment, with v's registers and RIP at the instruction. */
uint64_t insn_offset(const struct vcpu *v, const struct insn *i);

#endif
