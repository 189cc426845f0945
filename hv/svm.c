/* SPDX-License-Identifier: MIT */
#include "hv/svm.h"
#include "hv/cpu.h"
#include "hv/fpu.h"
#include "hv/irqoff.h"
#include "hv/options.h"
#include "hv/step.h"
#include "hv/svm_audit.h"
#include "hv/x86.h"

#define PAE_ROOT_ENTRIES 4

static struct svm_cpu cpus[HOST_MAX_CPUS];
static atomic32 asids; /* handed out so far, never again */

struct svm_cpu *svm_this_cpu(void)
{
	return &cpus[this_cpu_index()];
}

static void vmsave(const struct vmcb *m)
{
	asm volatile("vmsave %0" : : "a"(host_phys(m).v) : "memory");
}

static void invlpga(uint64_t a, uint32_t asid)
{
	asm volatile("invlpga %0, %1" : : "a"(a), "c"(asid) : "memory");
}

static bool svm_cpu_on(const char **why)
{
	struct svm_cpu *c = svm_this_cpu();

	if (host_cpu() == 0)
		svm_setup_maps();
	c->save_area = page_alloc_array(PAGE_SIZE);
	c->host = page_alloc_array(PAGE_SIZE);
	if (!c->save_area || !c->host) {
		*why = "memory for the host's state";
		return false;
	}
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, host_phys(c->save_area).v);
	/* None of it changes any more. */
	vmsave(c->host);
	return true;
}

static void svm_cpu_off(void)
{
	struct svm_cpu *c = svm_this_cpu();

	wrmsr(MSR_VM_HSAVE_PA, 0);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
	page_free_array(c->save_area, PAGE_SIZE);
	page_free_array(c->host, PAGE_SIZE);
	c->save_area = 0;
	c->host = 0;
}

static bool svm_has_rdtscp(void)
{
	return true; /* where the processor has it: guests execute it without an exit */
}

static bool svm_has_xsave(void)
{
	return svm_cap.xsetbv_exits;
}

static void free_parts(struct svm_vcpu *x)
{
	if (x->vmcb)
		page_free_array(x->vmcb, PAGE_SIZE);
	page_free_array(x, sizeof *x);
}

static bool svm_vcpu_create(struct vcpu *v)
{
	struct svm_vcpu *x = page_alloc_array(sizeof *x);
	uint32_t last = svm_cap.asids - 1, asid;

	if (!x)
		return false;
	x->vmcb = page_alloc_array(PAGE_SIZE);
	if (!x->vmcb || !fpu_create(v)) {
		free_parts(x);
		return false;
	}
	/* The last one is for all that come too late for one of their own. */
	asid = load_relaxed(&asids) < last ? fetch_add_relaxed(&asids, 1) + 1 : last;
	x->shared_asid = asid == last;
	svm_setup(x->vmcb, asid);
	v->backend = x;
	v->real_native = true;
	return true;
}

static void flush(const struct svm_vcpu *x)
{
	x->vmcb->tlb_control = svm_cap.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_ALL;
}

static void svm_load(struct vcpu *v)
{
	struct svm_cpu *c = svm_this_cpu();
	struct svm_vcpu *x = v->backend;

	if (c->loaded == v)
		return;
	if (c->loaded)
		svm_state_save_registers(c->loaded);
	c->loaded = v;
	if (x->shared_asid)
		flush(x);
	svm_state_load_registers(v);
}

static void svm_vcpu_destroy(struct vcpu *v)
{
	struct svm_cpu *c = svm_this_cpu();

	if (c->loaded == v)
		c->loaded = 0;
	fpu_destroy(v);
	free_parts(v->backend);
	v->backend = 0;
}

static const char *check(const struct vcpu *v)
{
	const struct svm_vcpu *x = v->backend;

	if (x->vmcb->cr3 != mmu_root(&v->mmu).v)
		return "Umbra: the shadow root changed without a flush";
	return svm_audit(x->vmcb, &svm_cap);
}

/* Writes what has changed. False: the audit refuses the entry. */
__attribute__((noinline)) static bool prepare(struct vcpu *v, struct exit *e)
{
	struct svm_vcpu *x = v->backend;
	const char *rule;

	svm_state_write(v);
	if (!x->audit)
		return true;
	x->audit = false;
	x->vmcb->rip = v->rip;
	rule = options.state_audit ? check(v) : 0;
	if (!rule)
		return true;
	e->reason = EXIT_ENTRY_FAILED;
	e->name = rule;
	e->code = (uint32_t)SVM_EXIT_INVALID;
	e->qualification = 0;
	return false;
}

/* QEMU 7.2's own emulation sets the accessed bit in PAE's four top entries, where it is reserved. KVM reads them at every
 * VMRUN of its guest's (as `make check-nested` has it) and refuses the entry. */
static void clean_pae_root(spte_t *root)
{
	for (unsigned i = 0; i < PAE_ROOT_ENTRIES; i++)
		if (load_relaxed(&root[i]) & SPTE_A)
			store_relaxed(&root[i], load_relaxed(&root[i]) & ~SPTE_A);
}

/* Into the guest. False: not entered, for something is asked of this CPU. RAX, RSP, RIP and RFLAGS are in the VMCB. */
static STEP_INLINE bool run(struct vcpu *v, hpa_t vmcb, hpa_t host_vmcb)
{
	bool failed;

	asm volatile("call svm_run"
		: "=@ccc"(failed), "+S"(vmcb.v), "+d"(host_vmcb.v)
		: "b"(v)
		: "rax", "rcx", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
	return !failed;
}

/* The virtual interrupt that the entry had: taken, or to be delivered again, as after EXITINTINFO. */
__attribute__((noinline)) static void virtual_interrupt_over(struct vcpu *v, struct svm_vcpu *x)
{
	x->virq = false;
	if (x->vmcb->int_ctl & INT_CTL_V_IRQ)
		vcpu_set_event(v, (struct event){.type = EVENT_INTERRUPT, .vector = (uint8_t)x->vmcb->int_vector});
	x->vmcb->int_ctl &= ~INT_CTL_V_IRQ;
	v->changed |= VCPU_WINDOW;
}

/* QEMU 7.2's VMRUN does not take INT_STATE_SHADOW up: an exit at the instruction that was in the shadow finds none. Until that has
 * been passed it is in the shadow still, unless the virtual interrupt of the window came there. */
static STEP_INLINE bool in_shadow(struct svm_vcpu *x, const struct vmcb *m, uint64_t rip)
{
	if (__builtin_expect(m->int_state & INT_STATE_SHADOW, 0)) {
		x->shadow = true;
		x->shadow_rip = rip;
	} else if (__builtin_expect(x->shadow, 0)) {
		x->shadow = rip == x->shadow_rip && m->exit_code != SVM_EXIT_VINTR;
	}
	return x->shadow;
}

static STEP_INLINE enum exit_reason svm_enter(struct vcpu *v, uint32_t *off, struct exit *e)
{
	struct svm_vcpu *x = v->backend;
	struct vmcb *m = x->vmcb;
	bool injected = v->event.type != EVENT_NONE, entered;
	uint64_t rip = v->rip;

	if (__builtin_expect(v->changed & ~VCPU_RIP, 0) && !prepare(v, e)) {
		mmu_leave(&v->mmu);
		return e->reason;
	}
	if (!(m->efer & EFER_LMA))
		clean_pae_root(v->mmu.pae_root);
	v->changed = 0;
	m->rip = v->rip;
	m->rax = v->gpr[RAX];
	irqoff_note(*off, "VM entry");
	entered = run(v, host_phys(m), host_phys(svm_this_cpu()->host));
	mmu_leave(&v->mmu);
	*off = irqoff_now();
	if (!entered)
		return e->reason = EXIT_ASKED;
	m->tlb_control = TLB_FLUSH_NOTHING;
	m->event_inject = 0;
	v->rip = m->rip;
	v->gpr[RAX] = m->rax;
	v->gpr[RSP] = m->rsp;
	v->rflags = m->rflags;
	v->interrupt_shadow = in_shadow(x, m, v->rip);
	v->stale = VCPU_CR2 | VCPU_SEGMENTS | VCPU_TABLES;
	v->event.type = EVENT_NONE;
	/* What was delivered has moved RIP to its handler: then EXITINTINFO is left over from before (Bochs). */
	svm_exit_decode(v, injected && v->rip == rip, e);
	if (__builtin_expect(x->virq, 0))
		virtual_interrupt_over(v, x);
	return e->reason;
}

static enum runner_next svm_step(struct runner *r)
{
	return step_once(r, &svm_backend, svm_enter);
}

static enum runner_next svm_slice(struct runner *r)
{
	return step_slice(r, &svm_backend, svm_enter);
}

static void svm_flush(struct vcpu *v)
{
	struct svm_vcpu *x = v->backend;

	/* A new root comes with a flush, always. VMRUN flushes before it takes anything from the TLB. */
	x->vmcb->cr3 = mmu_root(&v->mmu).v;
	flush(x);
}

static void svm_flush_address(struct vcpu *v, gva_t a)
{
	struct svm_vcpu *x = v->backend;

	invlpga(a.v, x->vmcb->asid);
}

const struct backend svm_backend = {
	.name = "SVM",
	.preflight = svm_preflight,
	.preflight_cpu = svm_preflight_cpu,
	.cpu_on = svm_cpu_on,
	.cpu_off = svm_cpu_off,
	.has_rdtscp = svm_has_rdtscp,
	.has_xsave = svm_has_xsave,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.load = svm_load,
	.fetch = svm_state_fetch,
	.step = svm_step,
	.slice = svm_slice,
	.run = svm_run,
	.describe = svm_exit_describe,
	.flush = svm_flush,
	.flush_address = svm_flush_address,
};
