/* SPDX-License-Identifier: MIT */
#include "hv/vmx.h"
#include "hv/cpu.h"
#include "hv/fpu.h"
#include "hv/irqoff.h"
#include "hv/options.h"
#include "hv/step.h"
#include "hv/trap.h"
#include "hv/vmx_audit.h"
#include "hv/x86.h"

/* INVVPID types and descriptor (SDM vol. 3, chapter 30). */
#define INVVPID_ADDRESS 0
#define INVVPID_SINGLE 1
struct invvpid_descriptor {
	uint64_t vpid, address;
};

#define VPID_MAX 0xffff

/* What an exit leaves in the VMCS until it is asked for. */
#define STALE (VCPU_RSP | VCPU_CR2 | VCPU_CONTROL | VCPU_SEGMENTS | VCPU_TABLES)

static struct vmx_cpu cpus[HOST_MAX_CPUS];
static atomic32 vpids; /* handed out so far, never again */

struct vmx_cpu *vmx_this_cpu(void)
{
	return &cpus[this_cpu_index()];
}

/* One page below anywhere, its first word the revision: a VMXON region or a VMCS. */
static void *region_alloc(void)
{
	uint32_t *page = page_alloc_array(PAGE_SIZE);

	if (page)
		*page = vmx_cap.revision;
	return page;
}

static bool vmxon(hpa_t region)
{
	uint8_t failed;

	asm volatile("vmxon %1\n\tsetbe %0" : "=q"(failed) : "m"(region.v) : "cc", "memory");
	return !failed;
}

static void vmclear(const struct vmx_vcpu *x)
{
	hpa_t a = host_phys(x->vmcs);
	uint8_t failed;

	asm volatile("vmclear %1\n\tsetbe %0" : "=q"(failed) : "m"(a.v) : "cc", "memory");
	CHECK(!failed);
}

static void vmptrld(const struct vmx_vcpu *x)
{
	hpa_t a = host_phys(x->vmcs);
	uint8_t failed;

	asm volatile("vmptrld %1\n\tsetbe %0" : "=q"(failed) : "m"(a.v) : "cc", "memory");
	CHECK(!failed);
}

static void invvpid(uint64_t type, struct invvpid_descriptor d)
{
	bool failed;

	asm volatile("invvpid %1, %2" : "=@ccbe"(failed) : "m"(d), "r"(type) : "memory");
	CHECK(!failed);
}

static bool vmx_cpu_on(const char **why)
{
	struct vmx_cpu *c = vmx_this_cpu();
	uint64_t cr0 = read_cr0(), cr4 = read_cr4() | CR4_VMXE;

	if (host_cpu() == 0) {
		if (!vmx_cap_read(&vmx_cap, why))
			return false;
		trap_nmi_window = (struct trap_window){
			(uint64_t)vmx_entry_start, (uint64_t)vmx_entry_end, (uint64_t)vmx_entry_asked};
	}
	cr0 = (cr0 | vmx_cap.cr0_must) & vmx_cap.cr0_may;
	cr4 = (cr4 | vmx_cap.cr4_must) & vmx_cap.cr4_may;
	write_cr0(cr0);
	write_cr4(cr4);
	c->vmxon_region = region_alloc();
	if (!c->vmxon_region) {
		*why = "memory for the VMXON region";
		return false;
	}
	if (!vmxon(host_phys(c->vmxon_region))) {
		*why = "VMXON failed";
		return false;
	}
	return true;
}

static void vmx_cpu_off(void)
{
	struct vmx_cpu *c = vmx_this_cpu();

	asm volatile("vmxoff" : : : "cc", "memory");
	write_cr4(read_cr4() & ~CR4_VMXE);
	page_free_array(c->vmxon_region, PAGE_SIZE);
	c->vmxon_region = 0;
}

static bool vmx_has_rdtscp(void)
{
	return vmx_cap.use_secondary & SECONDARY_RDTSCP;
}

static bool vmx_has_xsave(void)
{
	return true; /* XSETBV always exits */
}

static void free_parts(struct vmx_vcpu *x)
{
	if (x->vmcs)
		page_free_array(x->vmcs, PAGE_SIZE);
	if (x->msr_bitmap)
		page_free_array(x->msr_bitmap, PAGE_SIZE);
	page_free_array(x, sizeof *x);
}

static bool vmx_vcpu_create(struct vcpu *v)
{
	struct vmx_vcpu *x = page_alloc_array(sizeof *x);

	if (!x)
		return false;
	x->cpu = -1;
	x->vmcs = region_alloc();
	x->msr_bitmap = page_alloc_array(PAGE_SIZE);
	if (!x->vmcs || !x->msr_bitmap || !fpu_create(v)) {
		free_parts(x);
		return false;
	}
	if (vmx_cap.use_vpid && load_relaxed(&vpids) < VPID_MAX)
		x->vpid = (uint16_t)(fetch_add_relaxed(&vpids, 1) + 1);
	v->backend = x;
	return true;
}

static void vmx_load(struct vcpu *v)
{
	struct vmx_cpu *c = vmx_this_cpu();
	struct vmx_vcpu *x = v->backend;

	if (c->loaded == v)
		return;
	if (c->loaded) {
		vmx_state_fetch(c->loaded, VCPU_FLOW);
		((struct vmx_vcpu *)c->loaded->backend)->may_block =
			c->loaded->nmi_blocked || c->loaded->event.type == EVENT_NMI;
		vmx_state_save_registers(c->loaded);
	}
	c->loaded = v;
	if (x->cpu < 0) {
		vmclear(x);
		vmptrld(x);
		vmx_setup(v);
		vmx_setup_host_cpu();
		x->cpu = (int)host_cpu();
	} else {
		CHECK(x->cpu == (int)host_cpu());
		vmptrld(x);
	}
	vmx_state_load_registers(v);
}

static void vmx_vcpu_destroy(struct vcpu *v)
{
	struct vmx_cpu *c = vmx_this_cpu();
	struct vmx_vcpu *x = v->backend;

	if (c->loaded == v)
		c->loaded = 0;
	if (x->cpu >= 0)
		vmclear(x);
	fpu_destroy(v);
	free_parts(x);
	v->backend = 0;
}

/* The entry did not happen: RFLAGS, or our own audit, says why. */
static void entry_failed(struct exit *e, const char *name, uint32_t code)
{
	e->reason = EXIT_ENTRY_FAILED;
	e->name = name;
	e->code = code;
	e->qualification = 0;
}

static uint64_t check_read(const void *context, uint32_t field)
{
	(void)context;
	return vmread(field);
}

static uint64_t check_pdpte(const void *context, unsigned i)
{
	const struct vcpu *v = context;

	return ((const uint64_t *)host_virt(mmu_root(&v->mmu)))[i];
}

static const char *check(const struct vcpu *v)
{
	struct vmx_view view = {.read = check_read, .pdpte = check_pdpte, .context = v, .cap = &vmx_cap};

	if (vmread(VMCS_GUEST_CR3) != mmu_root(&v->mmu).v)
		return "Umbra: the shadow root changed without a flush";
	return vmx_audit(&view);
}

/* Writes what has changed. False: the audit refuses the entry. */
__attribute__((noinline)) static bool prepare(struct vcpu *v, struct exit *e)
{
	struct vmx_vcpu *x = v->backend;
	const char *rule;

	if (v->interpret) {
		e->reason = EXIT_INTERPRET;
		return false;
	}
	vmx_state_write(v);
	if (!x->audit)
		return true;
	x->audit = false;
	rule = options.state_audit ? check(v) : 0;
	if (rule)
		entry_failed(e, rule, EXIT_REASON_ENTRY_FAILURE);
	return !rule;
}

__attribute__((noinline)) static void not_entered(struct exit *e, enum vmx_status status)
{
	if (status == VMX_ASKED)
		e->reason = EXIT_ASKED;
	else
		entry_failed(e, "VM entry failed: the VMCS was refused",
			status == VMX_FAIL_VALID ? (uint32_t)vmread(VMCS_INSTRUCTION_ERROR) : 0);
}

/* Into the guest. False: not entered, *status says why. RSP, RIP and RFLAGS are in the VMCS. */
static STEP_INLINE bool run(struct vcpu *v, enum vmx_status *status)
{
	bool failed;

	asm volatile("call vmx_run"
		: "=@ccc"(failed), "=a"(*status)
		: "b"(v)
		: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
	return !failed;
}

/* A shadow page fault or the guest's own, and nothing was being delivered: the exit that comes most. */
static STEP_INLINE bool plain_page_fault(struct exit *e)
{
	uint32_t info = (uint32_t)vmread(VMCS_EXIT_INTERRUPTION);

	if ((info & (INTERRUPTION_TYPE | INTERRUPTION_VECTOR | INTERRUPTION_UNBLOCKED_NMI)) != (INTERRUPTION_EXCEPTION | VECTOR_PF) ||
		vmread(VMCS_VECTORING) & INTERRUPTION_VALID)
		return false;
	e->page_fault.gva = gva(vmread(VMCS_QUALIFICATION));
	e->page_fault.error = (uint32_t)vmread(VMCS_EXIT_ERROR_CODE);
	return true;
}

static STEP_INLINE bool mov_to_cr(struct exit *e)
{
	uint64_t q = vmread(VMCS_QUALIFICATION);

	e->cr.number = q & CR_ACCESS_NUMBER;
	e->cr.gpr = q >> CR_ACCESS_GPR_SHIFT & 15;
	e->cr.from_value = false;
	return (q >> CR_ACCESS_TYPE_SHIFT & 3) == CR_ACCESS_TO;
}

static STEP_INLINE enum exit_reason vmx_enter(struct vcpu *v, uint32_t *off, struct exit *e)
{
	enum vmx_status status;
	uint32_t code;

	if (__builtin_expect(v->changed & ~VCPU_RIP, 0)) {
		if (!prepare(v, e)) {
			mmu_leave(&v->mmu);
			return e->reason;
		}
	} else if (v->changed) {
		v->changed = 0;
		vmwrite(VMCS_GUEST_RIP, v->rip);
	}
	irqoff_note(*off, "VM entry");
	if (__builtin_expect(!run(v, &status), 0)) {
		mmu_leave(&v->mmu);
		*off = irqoff_now();
		not_entered(e, status);
		return e->reason;
	}
	mmu_leave(&v->mmu);
	*off = irqoff_now();
	v->event.type = EVENT_NONE;
	v->rip = vmread(VMCS_GUEST_RIP);
	code = (uint32_t)vmread(VMCS_EXIT_REASON);
	if (code == VMX_EXIT_EXCEPTION && plain_page_fault(e)) {
		v->stale = STALE | VCPU_FLOW;
		return EXIT_PAGE_FAULT;
	}
	v->stale = STALE;
	vmx_state_fetch_flow(v);
	e->length = (uint8_t)vmread(VMCS_EXIT_LENGTH);
	switch (code) {
	case VMX_EXIT_CPUID:
		return EXIT_CPUID;
	case VMX_EXIT_INVLPG:
		e->page_fault.gva = gva(vmread(VMCS_QUALIFICATION));
		return e->reason = EXIT_INVLPG;
	case VMX_EXIT_CR:
		if (mov_to_cr(e))
			return e->reason = EXIT_CR_WRITE;
		/* fall through */
	default:
		e->code = code;
		vmx_exit_decode(v, e);
		return e->reason;
	}
}

static enum runner_next vmx_step(struct runner *r)
{
	return step_once(r, &vmx_backend, vmx_enter);
}

static enum runner_next vmx_slice(struct runner *r)
{
	return step_slice(r, &vmx_backend, vmx_enter);
}

static void vmx_flush(struct vcpu *v)
{
	struct vmx_vcpu *x = v->backend;

	/* A new root comes with a flush, always. */
	vmwrite(VMCS_GUEST_CR3, mmu_root(&v->mmu).v);
	/* Without a VPID every transition flushes. */
	if (x->vpid)
		invvpid(INVVPID_SINGLE, (struct invvpid_descriptor){.vpid = x->vpid});
}

static void vmx_flush_address(struct vcpu *v, gva_t a)
{
	struct vmx_vcpu *x = v->backend;

	if (x->vpid && vmx_cap.invvpid_address)
		invvpid(INVVPID_ADDRESS, (struct invvpid_descriptor){.vpid = x->vpid, .address = a.v});
	else
		vmx_flush(v);
}

const struct backend vmx_backend = {
	.name = "VMX",
	.preflight = vmx_preflight,
	.preflight_cpu = vmx_preflight_cpu,
	.cpu_on = vmx_cpu_on,
	.cpu_off = vmx_cpu_off,
	.has_rdtscp = vmx_has_rdtscp,
	.has_xsave = vmx_has_xsave,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.load = vmx_load,
	.fetch = vmx_state_fetch,
	.step = vmx_step,
	.slice = vmx_slice,
	.run = vmx_run,
	.describe = vmx_exit_describe,
	.flush = vmx_flush,
	.flush_address = vmx_flush_address,
};
