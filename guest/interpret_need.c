/* SPDX-License-Identifier: MIT */
/* The rules for segment registers at a VM entry (SDM vol. 3, 26.3.1.2), as far as a vCPU can come to break them: by real mode,
 * where loads check nothing, and by tables that were loaded there. A virtual-8086 task keeps its own by itself. */
#include "guest/interpret.h"

#define RPL 3u
#define TYPE_ACCESSED 1u
#define TYPE_READABLE 2u
#define TYPE_CONFORMING 4u
#define TYPE_CODE 8u
#define TYPE_DATA_WRITTEN 3u /* writable, accessed; also one that grows down */
#define TYPE_TSS16_BUSY 3u
#define TYPE_TSS_BUSY 11u
#define TYPE_LDT 2u

static unsigned dpl(const struct segment *s)
{
	return s->attr >> SEG_DPL_SHIFT & 3;
}

static unsigned type(const struct segment *s)
{
	return s->attr & SEG_TYPE;
}

static bool usable(const struct segment *s)
{
	return !(s->attr & SEG_UNUSABLE);
}

/* Present, of the kind (code or data, system), and granularity and limit agree. */
static bool common(const struct segment *s, bool system)
{
	if (!(s->attr & SEG_P) || !(s->attr & SEG_S) != system)
		return false;
	return s->attr & SEG_G ? (s->limit & 0xfff) == 0xfff : !(s->limit >> 20);
}

static bool code_fits(const struct vcpu *v)
{
	const struct segment *cs = &v->seg[CS], *ss = &v->seg[SS];

	if (!usable(cs) || !common(cs, false) || (type(cs) & (TYPE_CODE | TYPE_ACCESSED)) != (TYPE_CODE | TYPE_ACCESSED))
		return false;
	if (type(cs) & TYPE_CONFORMING ? dpl(cs) > dpl(ss) : dpl(cs) != dpl(ss))
		return false;
	if (vcpu_long_mode(v) && cs->attr & SEG_L && cs->attr & SEG_DB)
		return false;
	if ((ss->selector & RPL) != (cs->selector & RPL) || dpl(ss) != (ss->selector & RPL))
		return false;
	return !usable(ss) || (common(ss, false) && (type(ss) & ~TYPE_CONFORMING) == TYPE_DATA_WRITTEN);
}

static bool data_fits(const struct segment *s)
{
	bool code = type(s) & TYPE_CODE;

	if (!usable(s))
		return true;
	if (!common(s, false) || !(type(s) & TYPE_ACCESSED) || (code && !(type(s) & TYPE_READABLE)))
		return false;
	return (code && type(s) & TYPE_CONFORMING) || dpl(s) >= (s->selector & RPL);
}

static bool system_fits(const struct vcpu *v)
{
	const struct segment *tr = &v->seg[TR], *ldt = &v->seg[LDTR];

	if (!usable(tr) || !common(tr, true) ||
		(type(tr) != TYPE_TSS_BUSY && (vcpu_long_mode(v) || type(tr) != TYPE_TSS16_BUSY)))
		return false;
	return !usable(ldt) || (common(ldt, true) && type(ldt) == TYPE_LDT);
}

bool interpret_needed(const struct vcpu *v)
{
	if (!(v->cr0 & CR0_PE))
		return true;
	if (v->rflags & RFLAGS_VM)
		return false;
	return !code_fits(v) || !data_fits(&v->seg[DS]) || !data_fits(&v->seg[ES]) || !data_fits(&v->seg[FS]) ||
	       !data_fits(&v->seg[GS]) || !system_fits(v);
}

void interpret_update(struct vcpu *v)
{
	v->interpret = !v->real_native && (interpret_needed(v) || (v->interpret && v->interrupt_shadow));
	if (v->interpret)
		v->changed |= VCPU_CONTROL;
}
