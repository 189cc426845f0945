/* SPDX-License-Identifier: MIT */
/* Decimal adjustments (AMD APM vol. 3, AAA to AAS, DAA, DAS). */
#include "guest/alu.h"

/* DAA, DAS: two packed digits. */
static uint8_t adjust_packed(uint8_t al, bool subtract, uint64_t *flags)
{
	bool half = *flags & RFLAGS_AF || (al & 15) > 9, whole = *flags & RFLAGS_CF || al > 0x99;
	bool carry = whole || (half && subtract && al < 6);
	uint8_t change = (half ? 6 : 0) + (whole ? 0x60 : 0), r = (uint8_t)(subtract ? al - change : al + change);

	*flags = (*flags & ~RFLAGS_STATUS) | alu_result(r, 1) | (carry ? RFLAGS_CF : 0) | (half ? RFLAGS_AF : 0);
	return r;
}

/* AAA, AAS: one digit, the carry goes to AH. */
static uint16_t adjust(uint16_t ax, bool subtract, uint64_t *flags)
{
	bool carry = *flags & RFLAGS_AF || (ax & 15) > 9;
	uint16_t r = carry ? (uint16_t)(subtract ? ax - 0x106 : ax + 0x106) : ax;

	r &= 0xff0f;
	*flags = (*flags & ~RFLAGS_STATUS) | alu_result(r, 1) | (carry ? RFLAGS_CF | RFLAGS_AF : 0);
	return r;
}

uint16_t alu_decimal(enum insn_op op, uint16_t ax, uint8_t base, uint64_t *flags)
{
	uint8_t al = (uint8_t)ax, ah = (uint8_t)(ax >> 8);

	switch (op) {
	case INSN_DAA:
	case INSN_DAS:
		return (uint16_t)(ah << 8 | adjust_packed(al, op == INSN_DAS, flags));
	case INSN_AAA:
	case INSN_AAS:
		return adjust(ax, op == INSN_AAS, flags);
	case INSN_AAM:
		ah = al / base;
		al = al % base;
		break;
	default:
		al = (uint8_t)(al + ah * base);
		ah = 0;
		break;
	}
	*flags = (*flags & ~RFLAGS_STATUS) | alu_result(al, 1);
	return (uint16_t)(ah << 8 | al);
}
