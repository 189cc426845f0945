/* SPDX-License-Identifier: MIT */
/* SDM vol. 3, 26.3.1.2 and 26.3.1.3. */
#include "guest/vcpu.h"
#include "hv/vmx_audit.h"
#include "hv/vmx_vmcs.h"

#define RPL 3u
#define TI 4u
#define ATTR_RESERVED 0xfffe0f00u
#define TYPE_ACCESSED 1u
#define TYPE_READABLE 2u
#define TYPE_CODE 8u
#define TYPE_TSS16_BUSY 3u
#define TYPE_TSS_BUSY 11u
#define TYPE_LDT 2u
#define V86_ATTR 0xf3u
#define V86_LIMIT 0xffffu

static struct segment segment(const struct vmx_view *w, enum seg s)
{
	return (struct segment){
		.base = vmx_view_read(w, VMCS_GUEST_BASE(s)),
		.limit = (uint32_t)vmx_view_read(w, VMCS_GUEST_LIMIT(s)),
		.attr = (uint32_t)vmx_view_read(w, VMCS_GUEST_ATTR(s)),
		.selector = (uint16_t)vmx_view_read(w, VMCS_GUEST_SELECTOR(s)),
	};
}

static bool usable(struct segment s)
{
	return !(s.attr & SEG_UNUSABLE);
}
static unsigned dpl(struct segment s)
{
	return s.attr >> SEG_DPL_SHIFT & 3;
}
static unsigned type(struct segment s)
{
	return s.attr & SEG_TYPE;
}

/* What is the same for all: present, reserved bits, granularity against limit. */
static bool common(struct segment s)
{
	if (!(s.attr & SEG_P) || s.attr & ATTR_RESERVED)
		return false;
	return s.attr & SEG_G ? (s.limit & 0xfff) == 0xfff : !(s.limit >> 20);
}

static const char *audit_v86(const struct vmx_view *w)
{
	for (unsigned i = ES; i <= GS; i++) {
		struct segment s = segment(w, i);

		if (s.base != (uint64_t)s.selector << 4 || s.limit != V86_LIMIT || s.attr != V86_ATTR)
			return "26.3.1.2: segment in virtual-8086 mode";
	}
	return 0;
}

static const char *audit_code(const struct vmx_view *w, bool long_mode)
{
	struct segment cs = segment(w, CS), ss = segment(w, SS);

	if ((type(cs) & (TYPE_CODE | TYPE_ACCESSED)) != (TYPE_CODE | TYPE_ACCESSED) || !(cs.attr & SEG_S))
		return "26.3.1.2: CS type";
	if (type(cs) & 4 ? dpl(cs) > dpl(ss) : dpl(cs) != dpl(ss))
		return "26.3.1.2: CS.DPL against SS.DPL";
	if (!usable(cs) || !common(cs) || cs.base >> 32)
		return "26.3.1.2: CS";
	if (long_mode && cs.attr & SEG_L && cs.attr & SEG_DB)
		return "26.3.1.2: CS.L with CS.D";
	if ((ss.selector & RPL) != (cs.selector & RPL))
		return "26.3.1.2: SS.RPL against CS.RPL";
	if (dpl(ss) != (ss.selector & RPL))
		return "26.3.1.2: SS.DPL against SS.RPL";
	if (usable(ss) && ((type(ss) != 3 && type(ss) != 7) || !(ss.attr & SEG_S) || !common(ss) || ss.base >> 32))
		return "26.3.1.2: SS";
	return 0;
}

static const char *audit_data(const struct vmx_view *w)
{
	static const enum seg data[] = {DS, ES, FS, GS};

	for (unsigned i = 0; i < 4; i++) {
		struct segment s = segment(w, data[i]);

		if (data[i] >= FS && !vcpu_canonical(s.base))
			return "26.3.1.2: FS or GS base";
		if (!usable(s))
			continue;
		if (!(type(s) & TYPE_ACCESSED) || (type(s) & TYPE_CODE && !(type(s) & TYPE_READABLE)) ||
			!(s.attr & SEG_S))
			return "26.3.1.2: data segment type";
		if (type(s) <= 11 && dpl(s) < (s.selector & RPL))
			return "26.3.1.2: data segment DPL against RPL";
		if (!common(s) || (data[i] < FS && s.base >> 32))
			return "26.3.1.2: data segment";
	}
	return 0;
}

static const char *audit_system(const struct vmx_view *w, bool long_mode)
{
	struct segment tr = segment(w, TR), ldt = segment(w, LDTR);

	if (tr.selector & TI || !usable(tr) || tr.attr & SEG_S || !common(tr) || !vcpu_canonical(tr.base))
		return "26.3.1.2: TR";
	if (type(tr) != TYPE_TSS_BUSY && (long_mode || type(tr) != TYPE_TSS16_BUSY))
		return "26.3.1.2: TR type";
	if (usable(ldt) && (ldt.selector & TI || type(ldt) != TYPE_LDT || ldt.attr & SEG_S || !common(ldt) ||
				   !vcpu_canonical(ldt.base)))
		return "26.3.1.2: LDTR";
	if (!vcpu_canonical(vmx_view_read(w, VMCS_GUEST_GDTR_BASE)) || vmx_view_read(w, VMCS_GUEST_GDTR_LIMIT) >> 16)
		return "26.3.1.3: GDTR";
	if (!vcpu_canonical(vmx_view_read(w, VMCS_GUEST_IDTR_BASE)) || vmx_view_read(w, VMCS_GUEST_IDTR_LIMIT) >> 16)
		return "26.3.1.3: IDTR";
	return 0;
}

const char *vmx_audit_segments(const struct vmx_view *w)
{
	bool long_mode = vmx_view_read(w, VMCS_ENTRY_CONTROLS) & ENTRY_CTL_IA32E;
	const char *rule = audit_system(w, long_mode);

	if (rule)
		return rule;
	if (vmx_view_read(w, VMCS_GUEST_RFLAGS) & RFLAGS_VM)
		return audit_v86(w);
	rule = audit_code(w, long_mode);
	return rule ? rule : audit_data(w);
}
