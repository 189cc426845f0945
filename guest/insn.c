/* SPDX-License-Identifier: MIT */
/* Prefixes, opcode, ModRM, SIB, displacement (AMD APM vol. 3, 1.2 to 1.5). */
#include "guest/insn.h"

#define NO_SEG SEGS
#define TWO_BYTE 0x100u /* opcode 0F xx */

#define REX 0x40u
#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

struct reader {
	const uint8_t *p;
	unsigned n, at;
	bool ended; /* a byte was asked for that is not there */
};

struct prefixes {
	bool operand, address, lock;
	uint8_t rex;
	enum seg seg;
};

static uint8_t byte(struct reader *r)
{
	if (r->at < r->n)
		return r->p[r->at++];
	r->ended = true;
	return 0;
}

/* A little-endian number of so many bytes, sign-extended. */
static int64_t number(struct reader *r, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)byte(r) << 8 * i;
	return (int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

/* The prefixes; returns the byte behind them. */
static uint8_t read_prefixes(struct reader *r, unsigned mode, struct prefixes *x)
{
	*x = (struct prefixes){.seg = NO_SEG};
	while (!r->ended) {
		uint8_t b = byte(r);

		switch (b) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			if (mode != 8) /* ignored in 64-bit mode, where the last of FS and GS counts */
				x->seg = (enum seg)(b >> 3 & 3);
			break;
		case 0x64:
		case 0x65:
			x->seg = (enum seg)(b & 7);
			break;
		case 0x66:
			x->operand = true;
			break;
		case 0x67:
			x->address = true;
			break;
		case 0xf0:
			x->lock = true;
			break;
		case 0xf2:
		case 0xf3:
			break;
		default:
			if (mode != 8 || (b & 0xf0) != REX)
				return b;
			x->rex = b;
			continue;
		}
		x->rex = 0; /* counts only right before the opcode */
	}
	return 0;
}

/* The 16-bit forms: two fixed registers. */
static void memory16(struct reader *r, uint8_t mod, uint8_t rm, struct insn *i)
{
	static const uint8_t base[] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	static const uint8_t index[] = {RSI, RDI, RSI, RDI};

	i->has_base = !(mod == 0 && rm == 6);
	i->base = base[rm];
	i->has_index = rm < 4;
	i->index = i->has_index ? index[rm] : 0;
	i->scale = 1;
	if (mod == 2 || !i->has_base)
		i->displacement = number(r, 2);
	else if (mod == 1)
		i->displacement = number(r, 1);
}

static void memory32(struct reader *r, unsigned mode, uint8_t rex, uint8_t mod, uint8_t rm, struct insn *i)
{
	uint8_t sib, low = rm;

	i->has_base = true;
	i->base = rm | (rex & REX_B ? 8 : 0);
	if (rm == 4) {
		sib = byte(r);
		i->index = (sib >> 3 & 7) | (rex & REX_X ? 8 : 0);
		i->has_index = i->index != RSP;
		i->scale = (uint8_t)(1 << (sib >> 6));
		low = sib & 7;
		i->base = low | (rex & REX_B ? 8 : 0);
	}
	if (mod == 0 && low == 5) {
		i->has_base = false;
		i->rip_relative = mode == 8 && rm == 5;
		i->displacement = number(r, 4);
	} else if (mod) {
		i->displacement = number(r, mod == 1 ? 1 : 4);
	}
}

static void read_modrm(struct reader *r, unsigned mode, const struct prefixes *x, struct insn *i, uint8_t modrm)
{
	uint8_t mod = modrm >> 6, rm = modrm & 7;

	i->memory = mod != 3;
	i->rm = rm | (x->rex & REX_B ? 8 : 0);
	if (!i->memory)
		return;
	if (i->address_bytes == 2)
		memory16(r, mod, rm, i);
	else
		memory32(r, mode, x->rex, mod, rm, i);
	if (x->seg != NO_SEG)
		i->seg = x->seg;
	else
		i->seg = i->has_base && (i->base == RSP || i->base == RBP) ? SS : DS;
}

/* MOV CR and MOV DR: two registers, whatever ModRM's mod is. LOCK makes CR0 CR8 (AMD, AltMovCr8). */
static bool registers(struct reader *r, const struct prefixes *x, struct insn *i, enum insn_op op)
{
	uint8_t modrm = byte(r);

	i->op = op;
	i->reg = (modrm >> 3 & 7) | (x->rex & REX_R ? 8 : 0);
	if (x->lock && (op == INSN_FROM_CR || op == INSN_TO_CR))
		i->reg |= 8;
	i->rm = (modrm & 7) | (x->rex & REX_B ? 8 : 0);
	return true;
}

/* 0F 01: by ModRM. */
static bool group7(struct reader *r, unsigned mode, const struct prefixes *x, struct insn *i)
{
	uint8_t modrm = byte(r);

	if (modrm == 0xd1) {
		i->op = INSN_XSETBV;
		return true;
	}
	if (modrm >> 3 == 0xd8 >> 3) {
		i->op = INSN_SVM;
		return true;
	}
	switch (modrm >> 3 & 7) {
	case 4:
		i->op = INSN_SMSW;
		break;
	case 6:
		i->op = INSN_LMSW;
		break;
	case 7:
		if (modrm >> 6 == 3)
			return false;
		i->op = INSN_INVLPG;
		break;
	default:
		return false;
	}
	read_modrm(r, mode, x, i, modrm);
	return true;
}

static bool plain(struct insn *i, enum insn_op op)
{
	i->op = op;
	return true;
}

static bool by_opcode(struct reader *r, unsigned mode, const struct prefixes *x, unsigned opcode, struct insn *i)
{
	switch (opcode) {
	case 0x6c:
	case 0x6d:
		i->seg = ES;
		return plain(i, INSN_INS);
	case 0x6e:
	case 0x6f:
		i->seg = x->seg == NO_SEG ? DS : x->seg;
		return plain(i, INSN_OUTS);
	case 0xf1:
		return plain(i, INSN_ICEBP);
	case 0xf4:
		return plain(i, INSN_HLT);
	case TWO_BYTE | 0x01:
		return group7(r, mode, x, i);
	case TWO_BYTE | 0x06:
		return plain(i, INSN_CLTS);
	case TWO_BYTE | 0x08:
		return plain(i, INSN_INVD);
	case TWO_BYTE | 0x09:
		return plain(i, INSN_WBINVD);
	case TWO_BYTE | 0x20:
		return registers(r, x, i, INSN_FROM_CR);
	case TWO_BYTE | 0x21:
		return registers(r, x, i, INSN_FROM_DR);
	case TWO_BYTE | 0x22:
		return registers(r, x, i, INSN_TO_CR);
	case TWO_BYTE | 0x23:
		return registers(r, x, i, INSN_TO_DR);
	case TWO_BYTE | 0x30:
		return plain(i, INSN_WRMSR);
	case TWO_BYTE | 0x32:
		return plain(i, INSN_RDMSR);
	case TWO_BYTE | 0xa2:
		return plain(i, INSN_CPUID);
	default:
		return false;
	}
}

enum insn_outcome insn_decode(unsigned mode, const uint8_t *p, unsigned n, struct insn *out)
{
	struct reader r = {.p = p, .n = n < INSN_BYTES_MAX ? n : INSN_BYTES_MAX};
	struct prefixes x;
	unsigned opcode = read_prefixes(&r, mode, &x);
	bool known;

	if (opcode == 0x0f)
		opcode = TWO_BYTE | byte(&r);
	*out = (struct insn){.seg = DS};
	out->operand_bytes = mode == 8 ? (x.rex & REX_W ? 8 : x.operand ? 2 : 4) : (mode == 4) != x.operand ? 4 : 2;
	out->address_bytes = mode == 8 ? (x.address ? 4 : 8) : (mode == 4) != x.address ? 4 : 2;
	known = by_opcode(&r, mode, &x, opcode, out);
	if (r.ended)
		return n < INSN_BYTES_MAX ? INSN_SHORT : INSN_OTHER;
	out->length = (uint8_t)r.at;
	return known ? INSN_OK : INSN_OTHER;
}

unsigned insn_mode(const struct vcpu *v)
{
	if (vcpu_64bit(v))
		return 8;
	return v->seg[CS].attr & SEG_DB ? 4 : 2;
}

uint64_t insn_offset(const struct vcpu *v, const struct insn *i)
{
	uint64_t a = (uint64_t)i->displacement;

	if (i->rip_relative)
		a += v->rip + i->length;
	if (i->has_base)
		a += v->gpr[i->base];
	if (i->has_index)
		a += v->gpr[i->index] * i->scale;
	return i->address_bytes == 8 ? a : a & ((1UL << 8 * i->address_bytes) - 1);
}
