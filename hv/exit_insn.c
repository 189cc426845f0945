/* SPDX-License-Identifier: MIT */
/* Exits that leave something to be read from the instruction itself: its length, its operands. */
#include "guest/cr.h"
#include "hv/fetch.h"
#include "hv/operand.h"

/* What each exit may have been made by. */
static const uint32_t makers[] = {
	[EXIT_CPUID] = 1u << INSN_CPUID,
	[EXIT_HLT] = 1u << INSN_HLT,
	[EXIT_INVLPG] = 1u << INSN_INVLPG,
	[EXIT_CR_READ] = 1u << INSN_FROM_CR | 1u << INSN_SMSW,
	[EXIT_CR_WRITE] = 1u << INSN_TO_CR | 1u << INSN_LMSW | 1u << INSN_CLTS,
	[EXIT_DR_READ] = 1u << INSN_FROM_DR,
	[EXIT_DR_WRITE] = 1u << INSN_TO_DR,
	[EXIT_IO] = 1u << INSN_INS | 1u << INSN_OUTS,
	[EXIT_RDMSR] = 1u << INSN_RDMSR,
	[EXIT_WRMSR] = 1u << INSN_WRMSR,
	[EXIT_XSETBV] = 1u << INSN_XSETBV,
	[EXIT_HYPERCALL] = 1u << INSN_SVM,
	[EXIT_NOP] = 1u << INSN_INVD | 1u << INSN_WBINVD,
	[EXIT_EXCEPTION] = 1u << INSN_ICEBP | 1u << INSN_SVM, /* #DB of the one, #GP of others */
};

/* Could it have made this exit? If not, another CPU of the guest has put it there since; it must not be given what only the
 * one before passed the checks for. SMSW, which is for everyone, exits as MOV from CR0 does. */
static bool plausible(const struct vcpu *v, const struct exit *e, const struct insn *i)
{
	if (!(makers[e->decodes] >> i->op & 1))
		return false;
	switch (i->op) {
	case INSN_FROM_CR:
		return i->reg == e->cr.number && !vcpu_cpl(v);
	case INSN_TO_CR:
		return i->reg == e->cr.number;
	case INSN_SMSW:
	case INSN_LMSW:
	case INSN_CLTS:
		return e->cr.number == 0;
	case INSN_FROM_DR:
	case INSN_TO_DR:
		return i->reg == e->dr.number;
	default:
		return true;
	}
}

/* Nothing special about it. */
static enum runner_next exception(struct runner *r, struct exit *e)
{
	return inject_exception(r, e, e->exception.vector, e->exception.has_error, e->exception.error);
}

/* It ran from a translation that the tables do not give any more: as good a fault as any. */
static enum runner_next fetch_fault(struct runner *r, struct exit *e, const struct fetch *x)
{
	vcpu_set_cr2(r->v, x->f.gva.v);
	return inject_exception(r, e, VECTOR_PF, true, x->f.error);
}

/* Reads and decodes the instruction at RIP. False: *next is what follows instead. */
static bool decode(struct runner *r, struct exit *e, struct insn *i, enum runner_next *next)
{
	struct vcpu *v = r->v;
	struct fetch x = {.n = 0};

	for (;;) {
		bool canonical = vcpu_canonical(fetch_at(v, &x));
		enum mmu_outcome m = e->decodes == EXIT_EXCEPTION && !canonical ? MMU_INJECT : fetch_more(v, &x);

		switch (m) {
		case MMU_RESUME:
			break;
		case MMU_INJECT:
			*next = e->decodes == EXIT_EXCEPTION ? exception(r, e) : fetch_fault(r, e, &x);
			return false;
		case MMU_RETRY:
			*next = exit_retry(r, e);
			return false;
		default:
			*next = report_crash(r, e, "an instruction at 0x%lx: no memory at 0x%lx", fetch_at(v, &x), x.f.gpa.v);
			return false;
		}
		switch (insn_decode(insn_mode(v), x.bytes, x.n, i)) {
		case INSN_SHORT:
			continue;
		case INSN_OK:
			if (plausible(v, e, i))
				return true;
			/* fall through */
		case INSN_OTHER:
			*next = e->decodes == EXIT_EXCEPTION ? exception(r, e) : exit_retry(r, e);
			return false;
		}
	}
}

static enum runner_next smsw(struct runner *r, struct exit *e, const struct insn *i)
{
	struct vcpu *v = r->v;
	uint32_t value = (uint16_t)v->cr0;
	enum runner_next next;
	struct operand o;

	if (!i->memory) {
		v->gpr[i->rm] = insn_merge(v->gpr[i->rm], v->cr0, i->operand_bytes);
		if (i->rm == RSP)
			v->changed |= VCPU_RSP;
	} else if (operand_find(r, e, i->seg, insn_offset(v, i), 2, true, &o, &next)) {
		operand_copy(r, &o, &value, true);
	} else {
		return next;
	}
	vcpu_skip(v, e->length);
	return NEXT_ENTER;
}

/* PE, MP, EM and TS of CR0; it cannot clear PE. */
static enum runner_next lmsw(struct runner *r, struct exit *e, const struct insn *i)
{
	struct vcpu *v = r->v;
	uint32_t value = (uint32_t)v->gpr[i->rm];
	enum runner_next next;
	struct operand o;

	if (i->memory) {
		if (!operand_find(r, e, i->seg, insn_offset(v, i), 2, false, &o, &next))
			return next;
		operand_copy(r, &o, &value, false);
	}
	e->cr.from_value = true;
	e->cr.value = (v->cr0 & ~0xeUL) | (value & 0xf);
	return exit_handle(r, e);
}

/* The general register of MOV CR and MOV DR, the address of INVLPG, the operand of string I/O. */
static void fill_operand(const struct vcpu *v, const struct insn *i, struct exit *e)
{
	uint64_t base;

	switch (i->op) {
	case INSN_FROM_CR:
	case INSN_TO_CR:
	case INSN_CLTS:
		e->cr.gpr = i->rm;
		e->cr.from_value = i->op == INSN_CLTS;
		e->cr.value = v->cr0 & ~CR0_TS;
		return;
	case INSN_FROM_DR:
	case INSN_TO_DR:
		e->dr.gpr = i->rm;
		return;
	case INSN_INVLPG:
		base = vcpu_64bit(v) && i->seg != FS && i->seg != GS ? 0 : v->seg[i->seg].base;
		e->page_fault.gva = gva(base + insn_offset(v, i));
		if (!vcpu_64bit(v))
			e->page_fault.gva.v &= 0xffffffff;
		return;
	case INSN_INS:
	case INSN_OUTS:
		e->io.address_bytes = i->address_bytes;
		e->io.seg = (uint8_t)i->seg;
		return;
	case INSN_ICEBP:
		e->exception.soft = e->exception.vector == VECTOR_DB;
		return;
	case INSN_SVM:
		if (e->decodes != EXIT_HYPERCALL)
			e->reason = EXIT_UNDEFINED;
		return;
	default:
		return;
	}
}

/* e->reason is what i exits for, and its numbers are known. */
static enum runner_next handle(struct runner *r, struct exit *e, const struct insn *i)
{
	e->length = i->length;
	if (i->op == INSN_SMSW)
		return smsw(r, e, i);
	if (i->op == INSN_LMSW)
		return lmsw(r, e, i);
	fill_operand(r->v, i, e);
	return exit_handle(r, e);
}

enum runner_next exit_instruction(struct runner *r, struct exit *e)
{
	enum runner_next next;
	struct insn i;

	guests.backend->fetch(r->v, VCPU_SEGMENTS | VCPU_CONTROL);
	if (!decode(r, e, &i, &next))
		return next;
	e->reason = e->decodes;
	count_add(&r->v->exits[EXIT_INSTRUCTION], -1UL); /* it was counted as; now it is known what it is */
	count_add(&r->v->exits[e->reason], 1);
	return handle(r, e, &i);
}

/* IN … OUTS. */
static void fill_io(const struct vcpu *v, const struct insn *i, struct exit_io *io)
{
	*io = (struct exit_io){
		.port = (uint16_t)(i->form == INSN_IMMEDIATE ? i->immediate : v->gpr[RDX]),
		.size = i->bytes == 8 ? 4 : i->bytes,
		.write = i->op == INSN_OUT || i->op == INSN_OUTS,
		.string = i->op == INSN_INS || i->op == INSN_OUTS,
		.rep = i->rep != INSN_ONCE,
	};
}

enum runner_next exit_interpreted(struct runner *r, struct exit *e, const struct insn *i)
{
	static const uint8_t reason[] = {
		[INSN_CPUID] = EXIT_CPUID,
		[INSN_HLT] = EXIT_HLT,
		[INSN_INVD] = EXIT_NOP,
		[INSN_WBINVD] = EXIT_NOP,
		[INSN_RDMSR] = EXIT_RDMSR,
		[INSN_WRMSR] = EXIT_WRMSR,
		[INSN_XSETBV] = EXIT_XSETBV,
		[INSN_ICEBP] = EXIT_EXCEPTION,
		[INSN_SVM] = EXIT_UNDEFINED,
		[INSN_CLTS] = EXIT_CR_WRITE,
		[INSN_INS] = EXIT_IO,
		[INSN_OUTS] = EXIT_IO,
		[INSN_FROM_CR] = EXIT_CR_READ,
		[INSN_TO_CR] = EXIT_CR_WRITE,
		[INSN_FROM_DR] = EXIT_DR_READ,
		[INSN_TO_DR] = EXIT_DR_WRITE,
		[INSN_SMSW] = EXIT_CR_READ,
		[INSN_LMSW] = EXIT_CR_WRITE,
		[INSN_INVLPG] = EXIT_INVLPG,
		[INSN_IN] = EXIT_IO,
		[INSN_OUT] = EXIT_IO,
		[INSN_RDPMC] = EXIT_PRIVILEGED,
	};

	e->reason = reason[i->op];
	switch (e->reason) {
	case EXIT_CR_READ:
	case EXIT_CR_WRITE:
		e->cr.number = i->op == INSN_FROM_CR || i->op == INSN_TO_CR ? i->reg : 0;
		break;
	case EXIT_DR_READ:
	case EXIT_DR_WRITE:
		e->dr.number = i->reg;
		break;
	case EXIT_IO:
		fill_io(r->v, i, &e->io);
		break;
	case EXIT_EXCEPTION:
		e->exception.vector = VECTOR_DB;
		e->exception.has_error = false;
		break;
	default:
		break;
	}
	return handle(r, e, i);
}
