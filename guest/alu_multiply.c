/* SPDX-License-Identifier: MIT */
/* Products and quotients of twice the operand's width (AMD APM vol. 3, MUL, IMUL, DIV, IDIV). */
#include "guest/alu.h"

typedef unsigned __int128 wide_t;

static wide_t extend(uint64_t x, unsigned bytes, bool is_signed)
{
	unsigned shift = 128 - 8 * bytes;

	return is_signed ? (wide_t)((__int128)((wide_t)x << shift) >> shift) : (wide_t)insn_wrap(x, bytes);
}

void alu_multiply(enum insn_op op, uint64_t *low, uint64_t *high, uint64_t b, unsigned bytes, uint64_t *flags)
{
	bool is_signed = op == INSN_IMUL, more;
	wide_t p = extend(*low, bytes, is_signed) * extend(b, bytes, is_signed);

	*low = insn_wrap((uint64_t)p, bytes);
	*high = insn_wrap((uint64_t)(p >> 8 * bytes), bytes);
	more = extend(*low, bytes, is_signed) != p;
	*flags = (*flags & ~RFLAGS_STATUS) | alu_result(*low, bytes) | (more ? RFLAGS_CF | RFLAGS_OF : 0);
}

/* By bits, since the compiler's own division of 128 bits is a library's. n's upper half is less than d. */
static uint64_t divide(wide_t n, uint64_t d, uint64_t *rest)
{
	wide_t r = n >> 64;
	uint64_t q = 0, low = (uint64_t)n;

	for (unsigned i = 0; i < 64; i++) {
		r = r << 1 | low >> 63;
		low <<= 1;
		q <<= 1;
		if (r >= d) {
			r -= d;
			q |= 1;
		}
	}
	*rest = (uint64_t)r;
	return q;
}

bool alu_divide(enum insn_op op, uint64_t *low, uint64_t *high, uint64_t b, unsigned bytes)
{
	bool is_signed = op == INSN_IDIV, negative, differ;
	wide_t n = extend(*high, bytes, is_signed) << 8 * bytes | insn_wrap(*low, bytes);
	wide_t d = extend(b, bytes, is_signed), q;
	uint64_t rest, top = 1UL << (8 * bytes - 1);

	negative = is_signed && n >> 127;
	differ = negative != (is_signed && d >> 127);
	if (negative)
		n = -n;
	if (is_signed && d >> 127)
		d = -d;
	if (!d || n >> 64 >= d)
		return false;
	q = divide(n, (uint64_t)d, &rest);
	if (is_signed ? q > top - !differ : q != insn_wrap((uint64_t)q, bytes))
		return false;
	*low = insn_wrap(differ ? -(uint64_t)q : (uint64_t)q, bytes);
	*high = insn_wrap(negative ? -rest : rest, bytes);
	return true;
}
