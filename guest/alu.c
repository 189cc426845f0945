/* SPDX-License-Identifier: MIT */
#include "guest/alu.h"

uint64_t alu_result(uint64_t r, unsigned bytes)
{
	uint64_t low = insn_wrap(r, bytes);

	return (low ? 0 : RFLAGS_ZF) | (low >> (8 * bytes - 1) & 1 ? RFLAGS_SF : 0) |
	       (__builtin_popcountll(low & 0xff) & 1 ? 0 : RFLAGS_PF);
}

/* Carries and borrows out of each bit: CF, OF and AF are those of the top bit, its neighbour and bit 3. */
static uint64_t of_carries(uint64_t carries, unsigned bytes)
{
	uint64_t top = carries >> (8 * bytes - 1) & 1, below = carries >> (8 * bytes - 2) & 1;

	return (top ? RFLAGS_CF : 0) | (top ^ below ? RFLAGS_OF : 0) | (carries >> 3 & 1 ? RFLAGS_AF : 0);
}

static uint64_t add(uint64_t a, uint64_t b, bool carry, unsigned bytes, uint64_t *flags)
{
	uint64_t r = a + b + carry;

	*flags = alu_result(r, bytes) | of_carries((a & b) | ((a | b) & ~r), bytes);
	return r;
}

static uint64_t sub(uint64_t a, uint64_t b, bool borrow, unsigned bytes, uint64_t *flags)
{
	uint64_t r = a - b - borrow;

	*flags = alu_result(r, bytes) | of_carries((~a & b) | ((~a | b) & r), bytes);
	return r;
}

static uint64_t bit(enum insn_op op, uint64_t a, uint64_t b, unsigned bytes, uint64_t *flags)
{
	uint64_t mask = 1UL << (b & (8 * bytes - 1));

	*flags = (*flags & ~RFLAGS_CF) | (a & mask ? RFLAGS_CF : 0);
	switch (op) {
	case INSN_BTS:
		return a | mask;
	case INSN_BTR:
		return a & ~mask;
	case INSN_BTC:
		return a ^ mask;
	default:
		return a;
	}
}

uint64_t alu(enum insn_op op, uint64_t a, uint64_t b, unsigned bytes, uint64_t *flags)
{
	uint64_t status = 0, keep = RFLAGS_STATUS, r = a, left;
	bool carry = *flags & RFLAGS_CF;

	switch (op) {
	case INSN_ADD:
	case INSN_ADC:
		r = add(a, b, op == INSN_ADC && carry, bytes, &status);
		break;
	case INSN_SUB:
	case INSN_SBB:
		r = sub(a, b, op == INSN_SBB && carry, bytes, &status);
		break;
	case INSN_CMP:
		sub(a, b, false, bytes, &status);
		break;
	case INSN_NEG:
		r = sub(0, a, false, bytes, &status);
		break;
	case INSN_INC:
		r = add(a, 1, false, bytes, &status);
		break;
	case INSN_DEC:
		r = sub(a, 1, false, bytes, &status);
		break;
	case INSN_AND:
	case INSN_TEST:
	case INSN_OR:
	case INSN_XOR:
		left = op == INSN_OR ? a | b : op == INSN_XOR ? a ^ b : a & b;
		status = alu_result(left, bytes);
		r = op == INSN_TEST ? a : left;
		break;
	case INSN_NOT:
		return ~a;
	default:
		return bit(op, a, b, bytes, flags);
	}
	if (op == INSN_INC || op == INSN_DEC)
		keep &= ~RFLAGS_CF;
	*flags = (*flags & ~keep) | (status & keep);
	return r;
}

bool alu_condition(unsigned condition, uint64_t flags)
{
	bool sign_differs = !(flags & RFLAGS_SF) != !(flags & RFLAGS_OF), holds;

	switch (condition >> 1) {
	case 0:
		holds = flags & RFLAGS_OF;
		break;
	case 1:
		holds = flags & RFLAGS_CF;
		break;
	case 2:
		holds = flags & RFLAGS_ZF;
		break;
	case 3:
		holds = flags & (RFLAGS_CF | RFLAGS_ZF);
		break;
	case 4:
		holds = flags & RFLAGS_SF;
		break;
	case 5:
		holds = flags & RFLAGS_PF;
		break;
	case 6:
		holds = sign_differs;
		break;
	default:
		holds = sign_differs || flags & RFLAGS_ZF;
		break;
	}
	return holds != (condition & 1);
}
