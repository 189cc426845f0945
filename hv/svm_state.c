/* SPDX-License-Identifier: MIT */
/* struct vcpu to the VMCB and back.
 *
 * Real CR0.PG=WP=1, CR4.PAE=1, EFER.NXE=1, always: the shadow's tables need them. CR0.PE is the guest's: VMRUN enters real mode
 * with paging (APM vol. 2, 15.9; QEMU 7.2's does). Accesses to CR0, CR3, CR4, CR8 and EFER
 * exit, so the guest sees its own values, and none of them is ever newer in the hardware. */
#include "guest/cr.h"
#include "guest/msr.h"
#include "hv/fpu.h"
#include "hv/svm.h"
#include "hv/x86.h"

#define CR0_GUEST (CR0_TS | CR0_MP | CR0_EM | CR0_AM | CR0_PE)
#define CR0_ALWAYS (CR0_PG | CR0_WP | CR0_NE | CR0_ET)
/* Of the guest's CR4, what never reaches the hardware: it would act on the shadow's tables. */
#define CR4_HIDDEN (CR4_PGE | CR4_PSE)
/* The same while the guest does not page: what is direct is open to the user, and not forbidden to the supervisor. */
#define CR4_HIDDEN_UNPAGED (CR4_HIDDEN | CR4_SMEP | CR4_SMAP)

/* Attributes: bits 15:12 of struct segment's are 11:8 of the VMCB's. */
#define TYPE_BUSY 2u /* of a TSS */
#define ATTR_LOW 0xffu
#define ATTR_HIGH 0xf00u
#define ATTR_HIGH_SHIFT 4

static void write_control(const struct vcpu *v, struct vmcb *m)
{
	bool long_mode = vcpu_long_mode(v);
	uint64_t hidden = v->cr0 & CR0_PG ? CR4_HIDDEN : CR4_HIDDEN_UNPAGED;

	m->cr0 = (v->cr0 & CR0_GUEST) | CR0_ALWAYS;
	m->cr4 = (v->cr4 & ~hidden) | CR4_PAE;
	m->efer = (v->efer & EFER_SCE) | EFER_NXE | EFER_SVME | (long_mode ? EFER_LMA | EFER_LME : 0);
}

static struct vmcb_segment *segment_of(struct vmcb *m, unsigned i)
{
	return i == LDTR ? &m->ldtr : i == TR ? &m->tr : &m->seg[i];
}

/* An unusable segment is one that is not present. */
static void write_segments(const struct vcpu *v, struct vmcb *m)
{
	for (unsigned i = 0; i < SEGS; i++) {
		const struct segment *s = &v->seg[i];
		uint32_t attr = (s->attr & ATTR_LOW) | (s->attr >> ATTR_HIGH_SHIFT & ATTR_HIGH);

		*segment_of(m, i) = (struct vmcb_segment){.selector = s->selector,
			.attr = (uint16_t)(s->attr & SEG_UNUSABLE ? attr & ~VMCB_SEG_P : attr),
			.limit = s->limit,
			.base = s->base};
	}
	if (svm_cap.tr_unchecked)
		m->tr.attr &= (uint16_t)~TYPE_BUSY;
	m->cpl = (uint8_t)vcpu_cpl(v);
	m->kernel_gs_base = v->kernel_gs_base;
}

static void fetch_segments(struct vcpu *v, struct vmcb *m)
{
	for (unsigned i = 0; i < SEGS; i++) {
		const struct vmcb_segment *s = segment_of(m, i);
		uint32_t attr = (s->attr & ATTR_LOW) | (s->attr & ATTR_HIGH) << ATTR_HIGH_SHIFT;

		v->seg[i] = (struct segment){.selector = s->selector,
			.attr = s->attr & VMCB_SEG_P ? attr : attr | SEG_UNUSABLE,
			.limit = s->limit,
			.base = s->base};
	}
	v->kernel_gs_base = m->kernel_gs_base;
	/* The processor goes by CPL, and SS.DPL need not follow it (APM vol. 2, 15.5.1). */
	v->seg[SS].attr = (v->seg[SS].attr & ~(3u << SEG_DPL_SHIFT)) | (uint32_t)m->cpl << SEG_DPL_SHIFT;
}

static void write_msrs(const struct vcpu *v, struct vmcb *m)
{
	m->star = v->star;
	m->lstar = v->lstar;
	m->cstar = v->cstar;
	m->sfmask = v->sfmask;
	m->sysenter_cs = v->sysenter_cs;
	m->sysenter_esp = v->sysenter_esp;
	m->sysenter_eip = v->sysenter_eip;
	m->tsc_offset = v->tsc_offset;
	if (v->model->rdtscp)
		wrmsr(MSR_TSC_AUX, v->tsc_aux);
	fpu_set_xcr0(v);
}

/* QEMU 7.2 delivers an interrupt that VMRUN injects, and does it again if another of its threads stops this processor's before the
 * next exit, whatever RFLAGS.IF is by then: its exception_index stays as VMRUN set it. So there it comes as a virtual interrupt,
 * which can be taken at once, for RFLAGS.IF is 1 and nothing is in the shadow (APM vol. 2, 15.21.4). The window, a virtual interrupt
 * too, is asked for again after the exit (svm.c): where one waits, the EOI of this one exits. */
static void write_virtual_interrupt(struct svm_vcpu *x, uint8_t vector)
{
	x->virq = true;
	x->vmcb->int_vector = vector;
	x->vmcb->int_ctl |= INT_CTL_V_IRQ | INT_CTL_V_PRIORITY | INT_CTL_V_IGNORE_TPR;
	x->vmcb->intercept1 &= ~INTERCEPT1_VINTR;
}

static void write_event(struct vcpu *v)
{
	static const uint8_t type[] = {
		[EVENT_INTERRUPT] = EVENT_TYPE_INTERRUPT,
		[EVENT_NMI] = EVENT_TYPE_NMI,
		[EVENT_EXCEPTION] = EVENT_TYPE_EXCEPTION,
		[EVENT_SOFT_EXCEPTION] = EVENT_TYPE_EXCEPTION,
	};
	struct svm_vcpu *x = v->backend;
	const struct event *e = &v->event;

	CHECK(e->type != EVENT_SOFT_INTERRUPT);
	if (e->type == EVENT_NMI) { /* until the next IRET */
		v->nmi_blocked = true;
		x->vmcb->intercept1 |= INTERCEPT1_IRET;
	}
	if (e->type == EVENT_SOFT_EXCEPTION)
		v->rip += e->length;
	if (e->type == EVENT_INTERRUPT && svm_cap.interrupts_twice) {
		write_virtual_interrupt(x, e->vector);
		return;
	}
	x->vmcb->event_inject = EVENT_VALID | (uint32_t)type[e->type] << EVENT_TYPE_SHIFT | e->vector;
	if (e->has_error && v->cr0 & CR0_PE) /* real mode has none */
		x->vmcb->event_inject |= EVENT_HAS_ERROR | (uint64_t)e->error << EVENT_ERROR_SHIFT;
}

/* The window is a virtual interrupt of the highest priority whose delivery exits (APM vol. 2, 15.21.4). It stays asked
 * for until it is taken back. */
static void write_window(struct vmcb *m, bool want)
{
	if (want) {
		m->int_ctl |= INT_CTL_V_IRQ | INT_CTL_V_PRIORITY | INT_CTL_V_IGNORE_TPR;
		m->intercept1 |= INTERCEPT1_VINTR;
	} else {
		m->int_ctl &= ~(INT_CTL_V_IRQ | INT_CTL_V_PRIORITY | INT_CTL_V_IGNORE_TPR);
		m->intercept1 &= ~INTERCEPT1_VINTR;
	}
}

void svm_state_write(struct vcpu *v)
{
	struct svm_vcpu *x = v->backend;
	struct vmcb *m = x->vmcb;
	uint32_t changed = v->changed;

	v->changed = 0;
	if (changed & VCPU_CARRY) {
		svm_state_fetch(v, VCPU_SEGMENTS);
		vcpu_wrap_rip(v);
	}
	if (x->virq && v->event.type != EVENT_INTERRUPT) { /* the entry was not made, and INIT came */
		x->virq = false;
		changed |= VCPU_WINDOW;
	}
	if (changed & VCPU_RSP)
		m->rsp = v->gpr[RSP];
	if (changed & VCPU_FLOW) {
		m->rflags = v->rflags;
		m->int_state = v->interrupt_shadow ? INT_STATE_SHADOW : 0;
		if (!v->nmi_blocked) { /* INIT does not wait for a handler's IRET */
			m->intercept1 &= ~INTERCEPT1_IRET;
			x->iret = false;
		}
	}
	if (changed & VCPU_CR2) {
		m->cr2 = v->cr2;
		write_cr2(v->cr2); /* Bochs's VMRUN leaves the one in the VMCB alone */
	}
	if (changed & VCPU_EVENT)
		m->event_inject = 0; /* one that was written may not have been entered with: then INIT came */
	if (changed & VCPU_EVENT && v->event.type != EVENT_NONE)
		write_event(v);
	if (changed & VCPU_WINDOW && !x->virq)
		write_window(m, v->window);
	if (!(changed & ~VCPU_EASY))
		return;
	x->audit = true;
	if (changed & VCPU_CONTROL)
		write_control(v, m);
	if (changed & VCPU_SEGMENTS)
		write_segments(v, m);
	if (changed & VCPU_TABLES) {
		m->gdtr = (struct vmcb_segment){.base = v->gdtr.base, .limit = v->gdtr.limit};
		m->idtr = (struct vmcb_segment){.base = v->idtr.base, .limit = v->idtr.limit};
	}
	if (changed & VCPU_DEBUG) {
		/* DR0 … DR3 are in the hardware only while one of them is enabled: nothing else looks at them. */
		m->dr7 = v->dr7;
		if (v->dr7 & DR7_ENABLES)
			write_breakpoints(v->dr);
	}
	if (changed & VCPU_MSRS)
		write_msrs(v, m);
}

void svm_state_fetch(struct vcpu *v, uint32_t parts)
{
	struct svm_vcpu *x = v->backend;
	struct vmcb *m = x->vmcb;

	parts &= v->stale;
	v->stale &= ~parts;
	if (parts & VCPU_CR2)
		v->cr2 = m->cr2;
	if (parts & VCPU_SEGMENTS)
		fetch_segments(v, m);
	if (parts & VCPU_TABLES) {
		v->gdtr = (struct desc_table){m->gdtr.base, m->gdtr.limit};
		v->idtr = (struct desc_table){m->idtr.base, m->idtr.limit};
	}
}

/* A software exception here is ICEBP's alone: the handler returns to behind it (svm_exit.c). */
void svm_state_load_registers(struct vcpu *v)
{
	fpu_load(v);
	v->changed |= VCPU_MSRS | VCPU_DEBUG; /* part of them is not in the VMCB */
}

void svm_state_save_registers(struct vcpu *v)
{
	fpu_save(v);
}
