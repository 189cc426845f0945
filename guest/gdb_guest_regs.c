/* SPDX-License-Identifier: MIT */
#include "guest/gdb_guest.h"

/* RFLAGS that gdb may change: all but VM, VIF, VIP and IOPL, and those that are fixed. */
#define RFLAGS_WRITABLE 0x254fd5UL

_Static_assert(GDB_SEGS == SEGS && GDB_CS - GDB_ES == CS && GDB_GS - GDB_ES == GS && GDB_TR - GDB_ES == TR &&
	GDB_FS_BASE - GDB_ES_BASE == FS, "enum gdb_reg counts segments as enum seg does");

enum gdb_mode gdb_guest_mode(const struct vcpu *v)
{
	if (vcpu_long_mode(v))
		return GDB_X86_64;
	return v->seg[CS].attr & SEG_DB ? GDB_I386 : GDB_I8086;
}

uint64_t gdb_guest_linear_rip(const struct vcpu *v)
{
	return vcpu_64bit(v) ? v->rip : (uint32_t)(v->seg[CS].base + v->rip);
}

static uint64_t table_register(const struct desc_table *t, bool limit)
{
	return limit ? t->limit : t->base;
}

static bool is_table(enum gdb_reg r)
{
	return r >= GDB_GDTR_BASE && r <= GDB_IDTR_LIMIT;
}

bool gdb_guest_register(const struct vcpu *v, enum gdb_reg r, uint64_t *value)
{
	switch (r) {
	case GDB_RAX ... GDB_R15:
		*value = v->gpr[r - GDB_RAX];
		return true;
	case GDB_RIP:
		*value = gdb_guest_linear_rip(v);
		return true;
	case GDB_IP:
		*value = v->rip;
		return true;
	case GDB_RFLAGS:
		*value = v->rflags;
		return true;
	case GDB_ES ... GDB_TR:
		*value = v->seg[r - GDB_ES].selector;
		return true;
	case GDB_ES_BASE ... GDB_TR_BASE:
		*value = v->seg[r - GDB_ES_BASE].base;
		return true;
	case GDB_ES_LIMIT ... GDB_TR_LIMIT:
		*value = v->seg[r - GDB_ES_LIMIT].limit;
		return true;
	case GDB_ES_ATTR ... GDB_TR_ATTR:
		*value = v->seg[r - GDB_ES_ATTR].attr;
		return true;
	case GDB_GDTR_BASE:
	case GDB_GDTR_LIMIT:
		*value = table_register(&v->gdtr, r == GDB_GDTR_LIMIT);
		return true;
	case GDB_IDTR_BASE:
	case GDB_IDTR_LIMIT:
		*value = table_register(&v->idtr, r == GDB_IDTR_LIMIT);
		return true;
	case GDB_CR0:
		*value = v->cr0;
		return true;
	case GDB_CR2:
		*value = v->cr2;
		return true;
	case GDB_CR3:
		*value = v->cr3;
		return true;
	case GDB_CR4:
		*value = v->cr4;
		return true;
	case GDB_CR8:
		*value = lapic_cr8(v);
		return true;
	case GDB_EFER:
		*value = v->efer;
		return true;
	case GDB_FPU ... GDB_REGS - 1:
		return gdb_guest_fpu(v, r, value);
	default:
		return false;
	}
}

/* A linear address, or a segment's base. */
static bool fits(const struct vcpu *v, uint64_t a)
{
	return vcpu_long_mode(v) ? vcpu_canonical(a) : !(a >> 32);
}

/* value: the linear address; within CS, where that counts. */
static bool set_rip(struct vcpu *v, uint64_t value)
{
	if (vcpu_64bit(v) ? !vcpu_canonical(value) : value >> 32)
		return false;
	if (!vcpu_64bit(v))
		value = (uint32_t)(value - v->seg[CS].base);
	if (!vcpu_64bit(v) && value > v->seg[CS].limit)
		return false;
	v->rip = value;
	v->changed |= VCPU_RIP;
	return true;
}

/* Where a selector is 16 times its base: real mode and virtual-8086 mode. Others come from descriptors. */
static bool set_selector(struct vcpu *v, enum seg s, uint64_t value)
{
	if ((v->cr0 & CR0_PE && !(v->rflags & RFLAGS_VM)) || s > GS || value >> 16)
		return false;
	v->seg[s].selector = (uint16_t)value;
	v->seg[s].base = value << 4;
	v->changed |= VCPU_SEGMENTS;
	return true;
}

static bool set_base(struct vcpu *v, enum seg s, uint64_t value)
{
	if (v->rflags & RFLAGS_VM || s > GS || (vcpu_64bit(v) && s < FS))
		return false;
	if (vcpu_64bit(v) ? !vcpu_canonical(value) : value >> 32)
		return false;
	v->seg[s].base = value;
	v->changed |= VCPU_SEGMENTS;
	return true;
}

static bool set_table(struct vcpu *v, enum gdb_reg r, uint64_t value)
{
	struct desc_table *t = r <= GDB_GDTR_LIMIT ? &v->gdtr : &v->idtr;
	bool limit = r == GDB_GDTR_LIMIT || r == GDB_IDTR_LIMIT;

	if (limit ? value >> 16 : !fits(v, value))
		return false;
	if (limit)
		t->limit = (uint32_t)value;
	else
		t->base = value;
	v->changed |= VCPU_TABLES;
	return true;
}

bool gdb_guest_set_register(struct vcpu *v, enum gdb_reg r, uint64_t value)
{
	if (r <= GDB_R15) {
		v->gpr[r - GDB_RAX] = value;
		v->changed |= r == GDB_RAX + RSP ? VCPU_RSP : 0;
		return true;
	}
	if (r == GDB_RIP)
		return set_rip(v, value);
	if (r == GDB_RFLAGS) {
		v->rflags = (v->rflags & ~RFLAGS_WRITABLE) | (value & RFLAGS_WRITABLE);
		v->changed |= VCPU_FLOW;
		return true;
	}
	if (r >= GDB_ES && r <= GDB_TR)
		return set_selector(v, (enum seg)(r - GDB_ES), value);
	if (r >= GDB_ES_BASE && r <= GDB_TR_BASE)
		return set_base(v, (enum seg)(r - GDB_ES_BASE), value);
	if (is_table(r))
		return set_table(v, r, value);
	if (r == GDB_CR2) {
		vcpu_set_cr2(v, value);
		return true;
	}
	return r >= GDB_FPU && gdb_guest_set_fpu(v, r, value);
}
