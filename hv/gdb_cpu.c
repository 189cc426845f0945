/* SPDX-License-Identifier: MIT */
#include "hv/gdb_cpu.h"
#include "guest/vcpu.h"

#define LAR_ATTR_SHIFT 8
#define LAR_ATTR 0xf0ffu /* struct segment's, from bit 8 on */

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static struct table_register read_gdtr(void)
{
	struct table_register t;

	asm volatile("sgdt %0" : "=m"(t));
	return t;
}

static struct table_register read_idtr(void)
{
	struct table_register t;

	asm volatile("sidt %0" : "=m"(t));
	return t;
}

static uint16_t read_tr(void)
{
	uint16_t selector;

	asm volatile("str %0" : "=r"(selector));
	return selector;
}

/* What the descriptor of a selector says; an empty selector: unusable. */
static struct segment segment(uint16_t selector)
{
	struct segment s = {.selector = selector, .attr = SEG_UNUSABLE};
	uint64_t attr = 0, limit = 0;
	bool ok = false;

	asm("lar %2, %1\n\tsetz %0" : "=q"(ok), "+r"(attr) : "r"((uint64_t)selector) : "cc");
	if (!ok)
		return s;
	asm("lsl %1, %0" : "+r"(limit) : "r"((uint64_t)selector) : "cc");
	s.attr = (uint32_t)attr >> LAR_ATTR_SHIFT & LAR_ATTR;
	s.limit = (uint32_t)limit;
	return s;
}

static struct segment segment_of(const struct cpu *c, uint16_t cs, uint16_t ss, enum seg s)
{
	struct segment found;

	switch (s) {
	case CS:
		return segment(cs);
	case SS:
	case DS:
	case ES:
		return segment(ss);
	case TR:
		found = segment(read_tr());
		found.base = (uint64_t)&c->tss;
		return found;
	default:
		found = segment(0);
		found.base = s == GS ? (uint64_t)c : 0;
		return found;
	}
}

bool gdb_cpu_register(const struct cpu *c, uint16_t cs, uint16_t ss, enum gdb_reg r, uint64_t *value)
{
	switch (r) {
	case GDB_LDTR ... GDB_TR:
		*value = segment_of(c, cs, ss, (enum seg)(r - GDB_ES)).selector;
		return true;
	case GDB_ES_BASE ... GDB_TR_BASE:
		*value = segment_of(c, cs, ss, (enum seg)(r - GDB_ES_BASE)).base;
		return true;
	case GDB_ES_LIMIT ... GDB_TR_LIMIT:
		*value = segment_of(c, cs, ss, (enum seg)(r - GDB_ES_LIMIT)).limit;
		return true;
	case GDB_ES_ATTR ... GDB_TR_ATTR:
		*value = segment_of(c, cs, ss, (enum seg)(r - GDB_ES_ATTR)).attr;
		return true;
	case GDB_GDTR_BASE:
		*value = (uint64_t)c->gdt;
		return true;
	case GDB_GDTR_LIMIT:
		*value = read_gdtr().limit;
		return true;
	case GDB_IDTR_BASE:
		*value = read_idtr().base;
		return true;
	case GDB_IDTR_LIMIT:
		*value = read_idtr().limit;
		return true;
	default:
		return false;
	}
}
