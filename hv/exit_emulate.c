/* SPDX-License-Identifier: MIT */
/* Page faults that end with the instruction carried out here: it accesses what is no RAM, or a page that must not be opened
 * to the hardware. Operands are found by the guest's own tables, as an access of the guest's. */
#include "guest/text.h"
#include "hv/fetch.h"
#include "hv/operand.h"

static enum runner_next unknown(struct runner *r, struct exit *e, const struct fetch *x, gpa_t a)
{
	char text[3 * INSN_BYTES_MAX + 1] = "";

	for (unsigned i = 0; i < x->n; i++)
		text_format(text + 3 * i, sizeof text - 3 * i, "%02x ", x->bytes[i]);
	return report_crash(r, e, "access to 0x%lx by what is not emulated: %s", a.v, text);
}

/* False: *next is what follows instead. */
static bool decode(struct runner *r, struct exit *e, gpa_t a, struct insn *i, enum runner_next *next)
{
	struct vcpu *v = r->v;
	struct fetch x = {.n = 0};
	struct emulate_fault f = {.vector = VECTOR_GP};

	for (;;) {
		if (!vcpu_canonical(fetch_at(v, &x))) {
			*next = operand_refused(r, e, EMULATE_FAULT, &f);
			return false;
		}
		switch (fetch_more(v, &x)) {
		case MMU_RESUME:
			break;
		case MMU_INJECT:
			f = (struct emulate_fault){VECTOR_PF, x.f.error, x.f.gva.v};
			*next = operand_refused(r, e, EMULATE_FAULT, &f);
			return false;
		case MMU_RETRY:
			*next = exit_retry(r, e);
			return false;
		default:
			*next = report_crash(r, e, "an instruction at 0x%lx: no memory at 0x%lx", fetch_at(v, &x), x.f.gpa.v);
			return false;
		}
		switch (insn_decode_memory(insn_mode(v), x.bytes, x.n, i)) {
		case INSN_OK:
			return true;
		case INSN_SHORT:
			continue;
		case INSN_OTHER:
			*next = unknown(r, e, &x, a);
			return false;
		}
	}
}

enum runner_next exit_emulate(struct runner *r, struct exit *e, gpa_t a)
{
	const struct emulate_memory memory = operand_memory(r);
	struct vcpu *v = r->v;
	struct emulate_fault f;
	enum emulate_outcome o;
	enum runner_next next;
	struct insn i;

	if (v->event.type != EVENT_NONE)
		return report_crash(r, e, "the delivery of an event accesses 0x%lx: not emulated", a.v);
	guests.backend->fetch(v, VCPU_SEGMENTS | VCPU_CONTROL | VCPU_FLOW | VCPU_RSP);
	if (!decode(r, e, a, &i, &next))
		return next;
	o = emulate(v, &i, &memory, &f);
	if (o != EMULATE_DONE)
		return operand_refused(r, e, o, &f);
	count_add(&v->emulated, 1);
	runner_arm(v->lapic.due); /* it may have been the local APIC */
	return NEXT_ENTER;
}
