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

/* PF, ZF and SF of the result r. */
uint64_t alu_result(uint64_t r, unsigned bytes);

/* a rotated or shifted by `count`, of which the low five bits count, six where bytes is 8. op: INSN_ROL … INSN_SAR. No flags
 * change where that is 0. OF is as for one bit whatever the count, AF is clear after shifts. */
uint64_t alu_shift(enum insn_op op, uint64_t a, uint64_t count, unsigned bytes, uint64_t *flags);
/* The same for INSN_SHLD and INSN_SHRD, the bits that come in being b's. bytes: 2, 4, 8. */
uint64_t alu_shift_double(enum insn_op op, uint64_t a, uint64_t b, uint64_t count, unsigned bytes, uint64_t *flags);

/* low * b as high:low, each of `bytes` bytes; CF and OF. op: INSN_MUL or INSN_IMUL. */
void alu_multiply(enum insn_op op, uint64_t *low, uint64_t *high, uint64_t b, unsigned bytes, uint64_t *flags);
/* high:low by b: quotient to low, remainder to high. False: #DE, and nothing has changed. op: INSN_DIV or INSN_IDIV. */
bool alu_divide(enum insn_op op, uint64_t *low, uint64_t *high, uint64_t b, unsigned bytes);

/* AX after INSN_DAA … INSN_AAD, with `base` of the last two. AAM's must not be 0. What is undefined of the flags is clear. */
uint16_t alu_decimal(enum insn_op op, uint16_t ax, uint8_t base, uint64_t *flags);

/* A condition of SETcc, CMOVcc or Jcc, 0 … 15. */
bool alu_condition(unsigned condition, uint64_t flags);

#endif
