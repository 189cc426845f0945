/* SPDX-License-Identifier: MIT */
#include "guest/vcpu.h"

#define CR0_ET (1UL << 4)
#define CR4_DE (1UL << 3)

#define PAT_RESET 0x0007040600070406UL
#define MISC_ENABLE_RESET 0x1801UL /* fast strings; no BTS, no PEBS */

#define SEG_FLAT (SEG_S | SEG_P | SEG_G)
static const struct segment no_ldt = {.attr = SEG_UNUSABLE};
static const struct segment reset_tss = {.limit = 0xffff, .attr = 0xb | SEG_P};

/* All as after reset, but in protected mode with flat segments of these selectors; the code's are of 64 bits or of 32. */
static void reset(struct vcpu *v, uint32_t entry, uint16_t code, uint16_t data, bool code64)
{
	for (unsigned i = 0; i < GPRS; i++)
		v->gpr[i] = 0;
	v->rip = entry;
	v->rflags = RFLAGS_FIXED;
	v->cr0 = CR0_PE | CR0_ET;
	v->cr2 = v->cr3 = v->cr4 = v->efer = 0;
	v->xcr0 = 1;
	for (unsigned i = 0; i < 4; i++)
		v->dr[i] = 0;
	v->dr6 = DR6_FIXED;
	v->dr7 = DR7_FIXED;
	for (unsigned i = 0; i < LDTR; i++)
		v->seg[i] = (struct segment){
			.limit = 0xffffffff, .attr = 0x3 | SEG_FLAT | SEG_DB, .selector = data};
	v->seg[CS] = (struct segment){
		.limit = 0xffffffff, .attr = 0xb | SEG_FLAT | (code64 ? SEG_L : SEG_DB), .selector = code};
	v->seg[LDTR] = no_ldt;
	v->seg[TR] = reset_tss;
	v->gdtr = v->idtr = (struct desc_table){.limit = 0xffff};
	v->star = v->lstar = v->cstar = v->sfmask = v->kernel_gs_base = 0;
	v->sysenter_cs = v->sysenter_esp = v->sysenter_eip = v->tsc_aux = 0;
	v->pat = PAT_RESET;
	v->misc_enable = MISC_ENABLE_RESET;
	v->mtrr_def_type = 0;
	v->event.type = EVENT_NONE;
	v->interrupt_shadow = v->nmi_blocked = v->window = v->nmi_window = v->interpret = false;
	v->activity = VCPU_RUNNABLE;
	v->stale = 0;
	v->changed = VCPU_ALL;
}

void vcpu_reset_multiboot(struct vcpu *v, uint32_t entry, uint32_t magic, uint32_t info)
{
	reset(v, entry, 8, 16, false);
	v->gpr[RAX] = magic;
	v->gpr[RBX] = info;
}

void vcpu_reset_linux32(struct vcpu *v, uint32_t entry, uint32_t boot_params, struct desc_table gdt)
{
	reset(v, entry, LINUX_CS, LINUX_DS, false);
	v->gpr[RSI] = boot_params;
	v->gdtr = gdt;
}

bool vcpu_reset_linux64(struct vcpu *v, uint32_t entry, uint32_t boot_params, struct desc_table gdt, uint32_t cr3)
{
	struct mmu_paging p = {
		.cr0 = CR0_PE | CR0_ET | CR0_PG, .cr3 = cr3, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA};
	struct mmu_fault f;

	reset(v, entry, LINUX_CS, LINUX_DS, true);
	v->gpr[RSI] = boot_params;
	v->gdtr = gdt;
	if (mmu_set_paging(&v->mmu, &p, &f) != MMU_RESUME)
		return false;
	v->cr0 = p.cr0;
	v->cr3 = p.cr3;
	v->cr4 = p.cr4;
	v->efer = p.efer;
	return true;
}

uint64_t vcpu_exits(const struct vcpu *v)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VCPU_EXIT_REASONS; i++)
		if (i != VCPU_EXIT_NOT_ENTERED)
			sum += load_relaxed(&v->exits[i]);
	return sum;
}

/* Classes of SDM vol. 3 table 6-4. */
enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class fault_class(uint8_t vector)
{
	switch (vector) {
	case VECTOR_DE:
	case VECTOR_TS:
	case VECTOR_NP:
	case VECTOR_SS:
	case VECTOR_GP:
	case VECTOR_CP:
		return CONTRIBUTORY;
	case VECTOR_PF:
	case VECTOR_VE:
		return PAGE_FAULT;
	case VECTOR_DF:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

bool vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
	enum fault_class first = v->event.type == EVENT_EXCEPTION ? fault_class(v->event.vector) : BENIGN;
	enum fault_class second = fault_class(vector);

	v->repeats = 0;
	if (first == DOUBLE_FAULT && second != BENIGN) {
		v->event.type = EVENT_NONE;
		return false;
	}
	if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
		(first == PAGE_FAULT && (second == CONTRIBUTORY || second == PAGE_FAULT))) {
		vector = VECTOR_DF;
		has_error = true;
		error = 0;
	}
	vcpu_set_event(v, (struct event){.type = EVENT_EXCEPTION, .vector = vector, .has_error = has_error, .error = error});
	return true;
}

void vcpu_wrap_rip(struct vcpu *v)
{
	if (!vcpu_64bit(v))
		v->rip = (uint32_t)v->rip;
}

void vcpu_skip_rest(struct vcpu *v)
{
	if (!vcpu_long_mode(v) || !(v->stale & VCPU_SEGMENTS))
		vcpu_wrap_rip(v);
	else if (v->rip >> 32)
		v->changed |= VCPU_CARRY;
	if (v->interrupt_shadow) {
		v->interrupt_shadow = false;
		v->changed |= VCPU_FLOW;
	}
	if (!(v->rflags & (RFLAGS_TF | RFLAGS_RF)))
		return;
	v->rflags &= ~RFLAGS_RF;
	v->changed |= VCPU_FLOW;
	if (!(v->rflags & RFLAGS_TF))
		return;
	v->step.done = v->step.on;
	if (!v->step.on || v->step.own_tf) {
		v->dr6 |= DR6_BS;
		vcpu_inject_exception(v, VECTOR_DB, false, 0);
	}
}

/* The checks that MOV DR makes before it looks at the register: DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
static int dr_check(struct vcpu *v, unsigned *n)
{
	if (*n == 4 || *n == 5) {
		if (v->cr4 & CR4_DE)
			return VECTOR_UD;
		*n += 2;
	}
	if (vcpu_cpl(v))
		return VECTOR_GP;
	if (v->dr7 & DR7_GD) {
		v->dr6 |= DR6_BD;
		v->dr7 &= ~DR7_GD;
		v->changed |= VCPU_DEBUG;
		return VECTOR_DB;
	}
	return -1;
}

int vcpu_read_dr(struct vcpu *v, unsigned n, uint64_t *value)
{
	int fault = dr_check(v, &n);

	if (fault < 0)
		*value = n < 4 ? v->dr[n] : n == 6 ? v->dr6 : v->dr7;
	return fault;
}

int vcpu_write_dr(struct vcpu *v, unsigned n, uint64_t value)
{
	int fault = dr_check(v, &n);

	if (fault >= 0)
		return fault;
	if (n >= 6 && value >> 32)
		return VECTOR_GP;
	if (n < 4)
		v->dr[n] = value;
	else if (n == 6)
		v->dr6 = (value & 0xe00f) | DR6_FIXED;
	else
		v->dr7 = (value & 0xffff2bff) | DR7_FIXED;
	v->changed |= VCPU_DEBUG;
	return -1;
}
