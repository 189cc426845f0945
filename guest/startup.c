/* SPDX-License-Identifier: MIT */
#include "guest/startup.h"
#include "guest/cpuid.h"
#include "guest/interpret.h"

#define TYPE_DATA_WRITTEN 3u
#define TYPE_LDT 2u
#define TYPE_TSS_BUSY 11u
#define LIMIT_64K 0xffffu
#define RESET_SELECTOR 0xf000
#define RESET_BASE 0xffff0000UL
#define RESET_IP 0xfff0
#define STARTUP_PAGE_SHIFT 12
#define STARTUP_SELECTOR_SHIFT 8

enum cr_outcome vcpu_reset_init(struct vcpu *v, const char **reason)
{
	const struct segment data = {.limit = LIMIT_64K, .attr = TYPE_DATA_WRITTEN | SEG_S | SEG_P};
	enum cr_outcome o;

	if (!v->xcr0) { /* it never ran: what INIT leaves alone is as after power-up */
		vcpu_reset_multiboot(v, 0, 0, 0);
		v->cr0 |= CR0_CD | CR0_NW;
	}
	o = cr_reset(v, reason);
	if (o != CR_DONE)
		return o;
	for (unsigned i = 0; i < GPRS; i++)
		v->gpr[i] = 0;
	v->gpr[RDX] = v->model->basic[1].eax; /* family, model, stepping */
	v->rip = RESET_IP;
	v->rflags = RFLAGS_FIXED;
	v->cr2 = 0;
	for (unsigned i = 0; i < 4; i++)
		v->dr[i] = 0;
	v->dr6 = DR6_FIXED;
	v->dr7 = DR7_FIXED;
	for (unsigned i = ES; i <= GS; i++)
		v->seg[i] = data;
	v->seg[CS].selector = RESET_SELECTOR;
	v->seg[CS].base = RESET_BASE;
	v->seg[LDTR] = (struct segment){.limit = LIMIT_64K, .attr = TYPE_LDT | SEG_P};
	v->seg[TR] = (struct segment){.limit = LIMIT_64K, .attr = TYPE_TSS_BUSY | SEG_P};
	v->gdtr = v->idtr = (struct desc_table){.limit = LIMIT_64K};
	v->event.type = EVENT_NONE;
	v->interrupt_shadow = v->nmi_blocked = false;
	v->was_reset = true;
	v->activity = VCPU_OFF;
	v->stale = 0;
	v->changed = VCPU_ALL;
	vcpu_want_window(v, false);
	vcpu_want_nmi_window(v, false);
	interpret_update(v);
	return CR_DONE;
}

enum cr_outcome vcpu_reset_startup(struct vcpu *v, uint8_t vector, const char **reason)
{
	enum cr_outcome o = vcpu_reset_init(v, reason);

	if (o != CR_DONE)
		return o;
	v->seg[CS].selector = (uint16_t)(vector << STARTUP_SELECTOR_SHIFT);
	v->seg[CS].base = (uint64_t)vector << STARTUP_PAGE_SHIFT;
	v->rip = 0;
	v->changed |= VCPU_RIP | VCPU_SEGMENTS;
	v->activity = VCPU_RUNNABLE;
	return CR_DONE;
}
