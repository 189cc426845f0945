/* SPDX-License-Identifier: MIT */
/* The local APIC's registers, by both of its faces. */
#include "guest/lapic_inside.h"

/* As numbers of 16 bytes: the xAPIC's offset / 16, the x2APIC's MSR - 0x800. */
enum {
	REG_ID = 0x2,
	REG_VERSION = 0x3,
	REG_TPR = 0x8,
	REG_APR = 0x9,
	REG_PPR = 0xa,
	REG_EOI = 0xb,
	REG_RRD = 0xc,
	REG_LDR = 0xd,
	REG_DFR = 0xe,
	REG_SVR = 0xf,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_ICR = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT = 0x32,
	REG_INITIAL = 0x38,
	REG_CURRENT = 0x39,
	REG_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f,
	REGS = 0x40,
};

#define VERSION (0x14u | (LVTS - 1) << 16)
#define SVR_WRITABLE 0x3ffu /* vector, enabled, focus checking */
#define DFR_FIXED 0x0fffffffu

#define ICR_WRITABLE 0xccfffu
#define ICR_LOGICAL (1u << 11)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)
#define ICR_SHORTHAND_SHIFT 18

static const uint32_t lvt_writable[LVTS] = {
	[LVT_TIMER] = LVT_VECTOR | LVT_MASKED | TIMER_MODE,
	[LVT_THERMAL] = 0x107ffu,
	[LVT_COUNTERS] = 0x107ffu,
	[LVT_LINT0] = 0x1a7ffu,
	[LVT_LINT1] = 0x1a7ffu,
	[LVT_ERROR] = LVT_VECTOR | LVT_MASKED,
};

/* Bits of status: read-only, and always 0 here. */
static const uint32_t lvt_status[LVTS] = {
	[LVT_TIMER] = 0x1000u,
	[LVT_THERMAL] = 0x1000u,
	[LVT_COUNTERS] = 0x1000u,
	[LVT_LINT0] = 0x5000u,
	[LVT_LINT1] = 0x5000u,
	[LVT_ERROR] = 0x1000u,
};

static uint32_t id(const struct vcpu *v)
{
	return lapic_x2apic(&v->lapic) ? v->index : v->index << 24;
}

static uint32_t x2apic_ldr(const struct vcpu *v)
{
	return (v->index >> 4) << 16 | 1u << (v->index & 15);
}

static void set_svr(struct vcpu *v, uint32_t value)
{
	struct lapic *l = &v->lapic;

	store_relaxed(&l->svr, value & SVR_WRITABLE);
	if (!(value & SVR_ENABLED))
		for (unsigned i = 0; i < LVTS; i++)
			store_relaxed(&l->lvt[i], lapic_lvt(l, i) | LVT_MASKED);
	lapic_notice(v);
}

static void set_lvt(struct vcpu *v, enum lapic_lvt which, uint32_t value)
{
	struct lapic *l = &v->lapic;

	value &= lvt_writable[which];
	if (!(load_relaxed(&l->svr) & SVR_ENABLED))
		value |= LVT_MASKED;
	if (which == LVT_TIMER) {
		lapic_timer_set_lvt(v, value);
		return;
	}
	store_relaxed(&l->lvt[which], value);
	lapic_notice(v); /* LINT0 may let the 8259A's through now */
}

static void send_ipi(struct vcpu *v, uint32_t low, uint32_t destination)
{
	struct apic_message m = {.destination = destination,
		.vector = (uint8_t)low,
		.delivery = low >> LVT_DELIVERY_SHIFT & 7,
		.logical = low & ICR_LOGICAL};
	unsigned shorthand = low >> ICR_SHORTHAND_SHIFT & 3;

	if (m.delivery == APIC_INIT && low & ICR_LEVEL && !(low & ICR_ASSERT))
		return; /* the de-assertion, which does nothing since the Pentium 4 */
	if (m.delivery <= APIC_LOWEST && m.vector < FIRST_VECTOR) {
		lapic_error(v, ESR_SENT_ILLEGAL);
		return;
	}
	switch (shorthand) {
	case 0:
		if (lapic_x2apic(&v->lapic) && !m.logical && destination == 0xff)
			return; /* that is everyone for an xAPIC; here it is an id, and nobody's */
		lapic_send(v->vm, &m);
		return;
	case 1:
		if (m.delivery <= APIC_LOWEST)
			lapic_request(v, m.vector, false);
		return;
	default:
		lapic_send_all(v->vm, shorthand == 3 ? v : 0, &m);
		return;
	}
}

/* False: there is no such register to be read. */
static bool read(struct vcpu *v, unsigned reg, uint32_t *value)
{
	struct lapic *l = &v->lapic;

	if (reg >= REG_ISR && reg < REG_TMR)
		*value = l->isr[reg - REG_ISR];
	else if (reg >= REG_TMR && reg < REG_IRR)
		*value = load_relaxed(&l->tmr[reg - REG_TMR]);
	else if (reg >= REG_IRR && reg < REG_ESR)
		*value = load_relaxed(&l->irr[reg - REG_IRR]);
	else if (reg >= REG_LVT && reg < REG_LVT + LVTS)
		*value = lapic_lvt(l, reg - REG_LVT);
	else
		switch (reg) {
		case REG_ID:
			*value = id(v);
			break;
		case REG_VERSION:
			*value = VERSION;
			break;
		case REG_TPR:
			*value = load_relaxed(&l->tpr);
			break;
		case REG_PPR:
			*value = lapic_priority(l);
			break;
		case REG_LDR:
			*value = lapic_x2apic(l) ? x2apic_ldr(v) : load_relaxed(&l->ldr);
			break;
		case REG_SVR:
			*value = load_relaxed(&l->svr);
			break;
		case REG_ESR:
			*value = l->esr;
			break;
		case REG_ICR:
			*value = l->icr_low;
			break;
		case REG_INITIAL:
			*value = l->initial;
			break;
		case REG_CURRENT:
			*value = lapic_timer_count(l, host_clock());
			break;
		case REG_DIVIDE:
			*value = l->divide;
			break;
		default:
			return false;
		}
	return true;
}

/* What both faces take. False: there is no such register to be written. */
static bool write(struct vcpu *v, unsigned reg, uint32_t value)
{
	struct lapic *l = &v->lapic;

	if (reg >= REG_LVT && reg < REG_LVT + LVTS) {
		set_lvt(v, reg - REG_LVT, value);
		return true;
	}
	switch (reg) {
	case REG_TPR:
		store_relaxed(&l->tpr, value & 0xff);
		lapic_lowered(v);
		return true;
	case REG_EOI:
		lapic_eoi(v);
		return true;
	case REG_SVR:
		set_svr(v, value);
		return true;
	case REG_ESR:
		l->esr = xchg_seq(&l->errors, 0);
		return true;
	case REG_INITIAL:
		lapic_timer_set_initial(v, value);
		return true;
	case REG_DIVIDE:
		lapic_timer_set_divide(v, value);
		return true;
	default:
		return false;
	}
}

/* The page. Registers are 32 bits wide and 16 bytes apart; what else is there reads as zeros, writes to it are ignored. */

static void no_register(struct vcpu *v)
{
	v->lapic.bad++;
	lapic_error(v, ESR_NO_REGISTER);
}

/* Of one that is not to be written. */
static bool is_read_only(struct vcpu *v, unsigned reg)
{
	uint32_t value;

	return reg == REG_APR || reg == REG_RRD || read(v, reg, &value);
}

static void page_write(struct vcpu *v, unsigned reg, uint32_t value)
{
	struct lapic *l = &v->lapic;

	switch (reg) {
	case REG_LDR:
		store_relaxed(&l->ldr, value & 0xff000000);
		return;
	case REG_DFR:
		store_relaxed(&l->dfr, value | DFR_FIXED);
		return;
	case REG_ICR:
		l->icr_low = value & ICR_WRITABLE;
		send_ipi(v, value, l->icr_high >> 24);
		return;
	case REG_ICR_HIGH:
		l->icr_high = value & 0xff000000;
		return;
	case REG_ID: /* fixed */
		return;
	}
	if (!write(v, reg, value) && !is_read_only(v, reg))
		no_register(v);
}

static uint32_t page_read(struct vcpu *v, unsigned reg)
{
	struct lapic *l = &v->lapic;
	uint32_t value = 0;

	switch (reg) {
	case REG_DFR:
		return load_relaxed(&l->dfr);
	case REG_ICR_HIGH:
		return l->icr_high;
	case REG_APR:
	case REG_RRD:
	case REG_EOI:
		return 0;
	}
	if (!read(v, reg, &value))
		no_register(v);
	return value;
}

void lapic_mmio(void *device, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value)
{
	unsigned reg = (unsigned)(offset / 16), shift = offset % 16 * 8;

	(void)device;
	if (v->pv.eoi_offered)
		pv_eoi_sync(v);
	if ((load_relaxed(&v->lapic.base) & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)) != LAPIC_BASE_ENABLED) {
		*value = ~0UL; /* the page is not there */
		return;
	}
	if (write) {
		if (offset % 16 == 0 && bytes >= 4 && reg < REGS)
			page_write(v, reg, (uint32_t)*value);
		return;
	}
	*value = offset % 16 < 4 && reg < REGS ? (uint64_t)page_read(v, reg) >> shift : 0;
}

/* The MSRs. */

bool lapic_msr_read(struct vcpu *v, uint32_t index, uint64_t *value)
{
	unsigned reg = index - LAPIC_MSR_FIRST;
	uint32_t low = 0;

	if (v->pv.eoi_offered)
		pv_eoi_sync(v);
	if (!lapic_x2apic(&v->lapic) || !read(v, reg, &low))
		return false;
	*value = low;
	if (reg == REG_ICR)
		*value |= (uint64_t)v->lapic.icr_high << 32;
	return true;
}

/* Bits that are reserved, which a write must leave zero. */
static uint64_t msr_reserved(unsigned reg)
{
	if (reg >= REG_LVT && reg < REG_LVT + LVTS)
		return ~(uint64_t)(lvt_writable[reg - REG_LVT] | lvt_status[reg - REG_LVT]);
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		return ~0xffUL;
	case REG_EOI:
	case REG_ESR:
		return ~0UL;
	case REG_SVR:
		return ~(uint64_t)SVR_WRITABLE;
	case REG_ICR:
		return ~(0xffffffff00000000UL | ICR_WRITABLE | 1u << 12);
	case REG_DIVIDE:
		return ~0xbUL;
	default:
		return ~0xffffffffUL;
	}
}

bool lapic_msr_write(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct lapic *l = &v->lapic;
	unsigned reg = index - LAPIC_MSR_FIRST;

	if (v->pv.eoi_offered)
		pv_eoi_sync(v);
	if (!lapic_x2apic(l) || value & msr_reserved(reg))
		return false;
	switch (reg) {
	case REG_ICR:
		l->icr_low = (uint32_t)value & ICR_WRITABLE;
		l->icr_high = (uint32_t)(value >> 32);
		send_ipi(v, (uint32_t)value, l->icr_high);
		return true;
	case REG_SELF_IPI:
		if (value < FIRST_VECTOR)
			lapic_error(v, ESR_SENT_ILLEGAL);
		else
			lapic_request(v, (uint8_t)value, false);
		return true;
	default:
		return write(v, reg, (uint32_t)value);
	}
}
