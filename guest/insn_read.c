/* SPDX-License-Identifier: MIT */
#include "guest/insn_read.h"

#define REX 0x40u

int64_t insn_number(struct insn_reader *r, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)insn_byte(r) << 8 * i;
	return (int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

/* The prefixes; returns the byte behind them. */
static uint8_t read_prefixes(struct insn_reader *r, unsigned mode, struct insn_prefixes *x)
{
	*x = (struct insn_prefixes){.seg = INSN_NO_SEG};
	while (!r->ended) {
		uint8_t b = insn_byte(r);

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
			x->rep = INSN_REPNE;
			break;
		case 0xf3:
			x->rep = INSN_REPE;
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
static void memory16(struct insn_reader *r, uint8_t mod, uint8_t rm, struct insn *i)
{
	static const uint8_t base[] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	static const uint8_t index[] = {RSI, RDI, RSI, RDI};

	i->has_base = !(mod == 0 && rm == 6);
	i->base = base[rm];
	i->has_index = rm < 4;
	i->index = i->has_index ? index[rm] : 0;
	i->scale = 1;
	if (mod == 2 || !i->has_base)
		i->displacement = insn_number(r, 2);
	else if (mod == 1)
		i->displacement = insn_number(r, 1);
}

static void memory32(struct insn_reader *r, unsigned mode, uint8_t rex, uint8_t mod, uint8_t rm, struct insn *i)
{
	uint8_t sib, low = rm;

	i->has_base = true;
	i->base = rm | (rex & INSN_REX_B ? 8 : 0);
	if (rm == 4) {
		sib = insn_byte(r);
		i->index = (sib >> 3 & 7) | (rex & INSN_REX_X ? 8 : 0);
		i->has_index = i->index != RSP;
		i->scale = (uint8_t)(1 << (sib >> 6));
		low = sib & 7;
		i->base = low | (rex & INSN_REX_B ? 8 : 0);
	}
	if (mod == 0 && low == 5) {
		i->has_base = false;
		i->rip_relative = mode == 8 && rm == 5;
		i->displacement = insn_number(r, 4);
	} else if (mod) {
		i->displacement = insn_number(r, mod == 1 ? 1 : 4);
	}
}

void insn_modrm(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, struct insn *i, uint8_t modrm)
{
	uint8_t mod = modrm >> 6, rm = modrm & 7;

	i->memory = mod != 3;
	i->rm = rm | (x->rex & INSN_REX_B ? 8 : 0);
	if (!i->memory)
		return;
	if (i->address_bytes == 2)
		memory16(r, mod, rm, i);
	else
		memory32(r, mode, x->rex, mod, rm, i);
	if (x->seg != INSN_NO_SEG)
		i->seg = x->seg;
	else
		i->seg = i->has_base && (i->base == RSP || i->base == RBP) ? SS : DS;
}

void insn_rm_high(const struct insn_prefixes *x, struct insn *i)
{
	i->rm_high = !i->memory && i->bytes == 1 && !x->rex && i->rm >= 4;
	if (i->rm_high)
		i->rm -= 4;
}

static unsigned read_opcode(struct insn_reader *r, unsigned mode, struct insn_prefixes *x, struct insn *out)
{
	unsigned opcode = read_prefixes(r, mode, x);

	if (opcode == 0x0f)
		opcode = INSN_TWO_BYTE | insn_byte(r);
	*out = (struct insn){.seg = DS, .rep = x->rep, .lock = x->lock};
	out->operand_bytes = mode == 8 ? (x->rex & INSN_REX_W ? 8 : x->operand ? 2 : 4) : (mode == 4) != x->operand ? 4 : 2;
	out->address_bytes = mode == 8 ? (x->address ? 4 : 8) : (mode == 4) != x->address ? 4 : 2;
	return opcode;
}

enum insn_outcome insn_decode_by(insn_decoder *decoder, unsigned mode, const uint8_t *p, unsigned n, struct insn *out)
{
	struct insn_reader r = {.p = p, .n = n < INSN_BYTES_MAX ? n : INSN_BYTES_MAX};
	struct insn_prefixes x;
	unsigned opcode = read_opcode(&r, mode, &x, out);
	bool known = decoder(&r, mode, &x, opcode, out);

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
	return insn_wrap(a, i->address_bytes);
}
