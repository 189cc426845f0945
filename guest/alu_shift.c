/* SPDX-License-Identifier: MIT */
/* Rotates and shifts (AMD APM vol. 3, RCL to SHRD). */
#include "guest/alu.h"

static uint64_t bit(uint64_t x, unsigned n)
{
	return x >> n & 1;
}

/* Through the carry: a of `bits` bits and CF above them, to the left. */
static uint64_t rotate_carry(uint64_t a, unsigned count, unsigned bits, bool *carry)
{
	while (count--) {
		bool out = bit(a, bits - 1);

		a = a << 1 | *carry;
		*carry = out;
	}
	return a;
}

static uint64_t rotate(enum insn_op op, uint64_t a, unsigned count, unsigned bytes, uint64_t *flags)
{
	unsigned bits = 8 * bytes, left;
	bool carry = *flags & RFLAGS_CF, over, to_left = op == INSN_ROL || op == INSN_RCL;
	uint64_t r;

	if (op == INSN_RCL || op == INSN_RCR) {
		left = to_left ? count % (bits + 1) : (bits + 1 - count % (bits + 1)) % (bits + 1);
		r = rotate_carry(a, left, bits, &carry);
	} else {
		left = to_left ? count % bits : (bits - count % bits) % bits;
		r = left ? a << left | a >> (bits - left) : a;
		carry = to_left ? bit(r, 0) : bit(r, bits - 1);
	}
	over = to_left ? bit(r, bits - 1) != carry : bit(r, bits - 1) != bit(r, bits - 2);
	*flags = (*flags & ~(RFLAGS_CF | RFLAGS_OF)) | (carry ? RFLAGS_CF : 0) | (over ? RFLAGS_OF : 0);
	return r;
}

static void set_flags(uint64_t *flags, uint64_t r, unsigned bytes, bool carry, bool over)
{
	*flags = (*flags & ~RFLAGS_STATUS) | alu_result(r, bytes) | (carry ? RFLAGS_CF : 0) | (over ? RFLAGS_OF : 0);
}

uint64_t alu_shift(enum insn_op op, uint64_t a, uint64_t count, unsigned bytes, uint64_t *flags)
{
	unsigned bits = 8 * bytes, n = count & (bytes == 8 ? 63 : 31);
	int64_t wide;
	uint64_t r;

	a = insn_wrap(a, bytes);
	if (!n)
		return a;
	switch (op) {
	case INSN_SHL:
	case INSN_SAL:
		r = a << n;
		set_flags(flags, r, bytes, n <= bits && bit(a, bits - n), false);
		if (bit(r, bits - 1) != (*flags & RFLAGS_CF))
			*flags |= RFLAGS_OF;
		return r;
	case INSN_SHR:
		r = a >> n;
		set_flags(flags, r, bytes, bit(a, n - 1), bit(a, bits - 1));
		return r;
	case INSN_SAR:
		wide = (int64_t)(a << (64 - bits)) >> (64 - bits);
		r = (uint64_t)(wide >> n);
		set_flags(flags, r, bytes, bit((uint64_t)wide, n - 1), false);
		return r;
	default:
		return rotate(op, a, n, bytes, flags);
	}
}

uint64_t alu_shift_double(enum insn_op op, uint64_t a, uint64_t b, uint64_t count, unsigned bytes, uint64_t *flags)
{
	unsigned bits = 8 * bytes, n = count & (bytes == 8 ? 63 : 31);
	uint64_t r;
	bool carry;

	a = insn_wrap(a, bytes);
	b = insn_wrap(b, bytes);
	if (!n)
		return a;
	if (n > bits) /* of 2 bytes: undefined */
		n -= bits;
	if (op == INSN_SHLD) {
		r = n == bits ? b : a << n | b >> (bits - n);
		carry = bit(a, bits - n);
	} else {
		r = n == bits ? b : a >> n | b << (bits - n);
		carry = bit(a, n - 1);
	}
	set_flags(flags, r, bytes, carry, bit(a, bits - 1) != bit(r, bits - 1));
	return r;
}
