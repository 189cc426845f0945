/* SPDX-License-Identifier: MIT */
/* Arithmetic of 1 to 8 bytes with its flags (SDM vol. 1, 3.4.3.1). */
#ifndef GUEST_ALU_H
#define GUEST_ALU_H

#include "guest/insn.h"

#define RFLAGS_CF (1UL << 0)
#define RFLAGS_PF (1UL << 2)
#define RFLAGS_AF (1UL << 4)
#define RFLAGS_ZF (1UL << 6)
#define RFLAGS_SF (1UL << 7)
#define RFLAGS_OF (1UL << 11)
#define RFLAGS_STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* a op b, of `bytes` bytes, as op leaves its destination (CMP, TEST and BT: a); *flags as it leaves RFLAGS. op:
 * INSN_ADD … INSN_BTC. What is undefined is left as processors leave it: AF clear after AND, OR, XOR and TEST; the
 * flags but CF as they were after BT …. b of BT … is the bit's number, of which those bits count that name one in the
 * operand. */
uint64_t alu(enum insn_op op, uint64_t a, uint64_t b, unsigned bytes, uint64_t *flags);

/* A condition of SETcc or CMOVcc, 0 … 15. */
bool alu_condition(unsigned condition, uint64_t flags);

#endif
