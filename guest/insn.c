/* SPDX-License-Identifier: MIT */
/* The instructions that exit. */
#include "guest/insn_read.h"

/* MOV CR and MOV DR: two registers, whatever ModRM's mod is. LOCK makes CR0 CR8 (AMD, AltMovCr8). */
static bool registers(struct insn_reader *r, const struct insn_prefixes *x, struct insn *i, enum insn_op op)
{
	uint8_t modrm = insn_byte(r);

	i->op = op;
	i->reg = (modrm >> 3 & 7) | (x->rex & INSN_REX_R ? 8 : 0);
	if (x->lock && (op == INSN_FROM_CR || op == INSN_TO_CR))
		i->reg |= 8;
	i->rm = (modrm & 7) | (x->rex & INSN_REX_B ? 8 : 0);
	return true;
}

/* 0F 01: by ModRM. */
static bool group7(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, struct insn *i)
{
	uint8_t modrm = insn_byte(r);

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
	insn_modrm(r, mode, x, i, modrm);
	return true;
}

static bool plain(struct insn *i, enum insn_op op)
{
	i->op = op;
	return true;
}

static uint8_t io_bytes(unsigned opcode, const struct insn *i)
{
	return opcode & 1 ? i->operand_bytes == 2 ? 2 : 4 : 1;
}

bool insn_exiting(struct insn_reader *r, unsigned mode, const struct insn_prefixes *x, unsigned opcode, struct insn *i)
{
	switch (opcode) {
	case 0x6c:
	case 0x6d:
		i->bytes = io_bytes(opcode, i);
		i->seg = ES;
		return plain(i, INSN_INS);
	case 0x6e:
	case 0x6f:
		i->bytes = io_bytes(opcode, i);
		i->seg = x->seg == INSN_NO_SEG ? DS : x->seg;
		return plain(i, INSN_OUTS);
	case 0xf1:
		return plain(i, INSN_ICEBP);
	case 0xf4:
		return plain(i, INSN_HLT);
	case INSN_TWO_BYTE | 0x01:
		return group7(r, mode, x, i);
	case INSN_TWO_BYTE | 0x06:
		return plain(i, INSN_CLTS);
	case INSN_TWO_BYTE | 0x08:
		return plain(i, INSN_INVD);
	case INSN_TWO_BYTE | 0x09:
		return plain(i, INSN_WBINVD);
	case INSN_TWO_BYTE | 0x20:
		return registers(r, x, i, INSN_FROM_CR);
	case INSN_TWO_BYTE | 0x21:
		return registers(r, x, i, INSN_FROM_DR);
	case INSN_TWO_BYTE | 0x22:
		return registers(r, x, i, INSN_TO_CR);
	case INSN_TWO_BYTE | 0x23:
		return registers(r, x, i, INSN_TO_DR);
	case INSN_TWO_BYTE | 0x30:
		return plain(i, INSN_WRMSR);
	case INSN_TWO_BYTE | 0x32:
		return plain(i, INSN_RDMSR);
	case INSN_TWO_BYTE | 0xa2:
		return plain(i, INSN_CPUID);
	default:
		return false;
	}
}

enum insn_outcome insn_decode(unsigned mode, const uint8_t *p, unsigned n, struct insn *out)
{
	return insn_decode_by(insn_exiting, mode, p, n, out);
}
