/* SPDX-License-Identifier: MIT */
#include "hv/svm_audit.h"
#include "guest/cr.h"

#define CR4_PCIDE (1UL << 17)
/* Defined on some processor: VME … OSXMMEXCPT, UMIP, LA57, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP, PKE, CET. */
#define CR4_DEFINED 0xf71fffUL
#define EFER_SVME (1UL << 12)
/* LMSLE, FFXSR, TCE and what later processors added are not for guests here. */
#define EFER_DEFINED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME)
#define RFLAGS_ZEROS 0xffffffffffc08028UL
#define ERROR_CODE_MAX 0xffffu
#define MSRPM_BYTES 8192
#define IOPM_BYTES 12288
/* Exceptions that push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP. */
#define WITH_ERROR (1u << 8 | 0x1fu << 10 | 1u << 17 | 1u << 21)
/* Vectors below 32 that no exception has: NMI's, 9, 15, 22 … 27, 31. */
#define NO_EXCEPTION (1u << 2 | 1u << 9 | 1u << 15 | 0x3fu << 22 | 1u << 31)

#define EXCEPTIONS (1u << VECTOR_PF | 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC | 1u << VECTOR_GP)
#define REGISTERS (1u << 0 | 1u << 3 | 1u << 4 | 1u << 8)
#define INTERCEPTS1                                                                                                    \
	(INTERCEPT1_INTR | INTERCEPT1_NMI | INTERCEPT1_INIT | INTERCEPT1_HLT | INTERCEPT1_INVLPG | INTERCEPT1_INVLPGA | \
		INTERCEPT1_IO | INTERCEPT1_MSR | INTERCEPT1_TASK_SWITCH | INTERCEPT1_SHUTDOWN)
#define INTERCEPTS2                                                                                                    \
	(INTERCEPT2_VMMCALL | INTERCEPT2_VMLOAD | INTERCEPT2_VMSAVE | INTERCEPT2_STGI | INTERCEPT2_CLGI |              \
		INTERCEPT2_SKINIT | INTERCEPT2_XSETBV)

static bool map_fits(uint64_t a, uint64_t bytes, const struct svm_cap *cap)
{
	return !(a & (PAGE_SIZE - 1)) && !((a + bytes - 1) >> cap->phys_bits);
}

static const char *audit_controls(const struct vmcb *m, const struct svm_cap *cap)
{
	if (!(m->intercept2 & INTERCEPT2_VMRUN))
		return "15.5.1: VMRUN is not intercepted";
	if (!m->asid || m->asid >= cap->asids)
		return "15.5.1: ASID";
	if (!map_fits(m->msrpm, MSRPM_BYTES, cap) || !map_fits(m->iopm, IOPM_BYTES, cap))
		return "15.5.1: permission map beyond the physical-address width, or not of whole pages";
	if (m->tlb_control != TLB_FLUSH_NOTHING && m->tlb_control != TLB_FLUSH_ALL &&
		(m->tlb_control != TLB_FLUSH_ASID || !cap->flush_by_asid))
		return "15.16: TLB control";
	if ((m->intercept1 & INTERCEPTS1) != INTERCEPTS1 || (m->intercept2 & INTERCEPTS2) != INTERCEPTS2)
		return "Umbra: interrupts, NMIs, INVLPG, I/O, MSRs and SVM's instructions exit";
	if ((m->exceptions & EXCEPTIONS) != EXCEPTIONS)
		return "Umbra: #PF, #DB, #AC, #MC and #GP exit";
	if ((m->cr_read & REGISTERS) != REGISTERS || (m->cr_write & REGISTERS) != REGISTERS || m->dr_read != 0xffff ||
		m->dr_write != 0xffff)
		return "Umbra: CR0, CR3, CR4, CR8 and the debug registers exit";
	if (!(m->int_ctl & INT_CTL_V_INTR_MASKING))
		return "Umbra: the guest's RFLAGS.IF and CR8 do not mask physical interrupts";
	if (m->int_ctl & (INT_CTL_AVIC | INT_CTL_VGIF))
		return "Umbra: neither AVIC nor a virtual GIF is used";
	if (m->int_ctl & INT_CTL_V_IRQ && !(m->intercept1 & INTERCEPT1_VINTR) &&
		(!cap->interrupts_twice || !(m->rflags & RFLAGS_IF) || m->int_state & INT_STATE_SHADOW))
		return "Umbra: a virtual interrupt is delivered only for an injected one, which nothing blocks";
	if (m->np_enable || m->lbr_control)
		return "Umbra: neither nested paging nor branch records are used";
	return m->clean ? "Umbra: clean bits are not used" : 0;
}

static const char *audit_injection(const struct vmcb *m)
{
	uint64_t e = m->event_inject;
	unsigned type = e >> EVENT_TYPE_SHIFT & EVENT_TYPE, vector = e & EVENT_VECTOR;
	bool error = e & EVENT_HAS_ERROR;

	if (!(e & EVENT_VALID))
		return 0;
	if (type != EVENT_TYPE_INTERRUPT && type != EVENT_TYPE_NMI && type != EVENT_TYPE_EXCEPTION &&
		type != EVENT_TYPE_SOFT_INTERRUPT)
		return "15.20: event type";
	if (type == EVENT_TYPE_EXCEPTION && (vector > 31 || NO_EXCEPTION >> vector & 1))
		return "15.20: vector of no exception";
	if (error != (m->cr0 & CR0_PE && type == EVENT_TYPE_EXCEPTION && WITH_ERROR >> vector & 1))
		return "15.20: error code against vector";
	if (error && e >> EVENT_ERROR_SHIFT > ERROR_CODE_MAX)
		return "Umbra: error code";
	if (type == EVENT_TYPE_INTERRUPT && (!(m->rflags & RFLAGS_IF) || m->int_state & INT_STATE_SHADOW))
		return "Umbra: interrupt injected while blocked";
	return 0;
}

static const char *audit_registers(const struct vmcb *m, const struct svm_cap *cap)
{
	bool lme = m->efer & EFER_LME, pg = m->cr0 & CR0_PG;

	if (!(m->efer & EFER_SVME))
		return "15.5.1: EFER.SVME is 0";
	if (!(m->cr0 & CR0_CD) && m->cr0 & CR0_NW)
		return "15.5.1: CR0.NW without CR0.CD";
	if (m->cr0 >> 32)
		return "15.5.1: CR0 above bit 31";
	if (m->cr3 >> cap->phys_bits)
		return "15.5.1: CR3 reserved bits";
	if (m->cr4 & ~CR4_DEFINED)
		return "15.5.1: CR4 reserved bits";
	if (m->dr6 >> 32)
		return "15.5.1: DR6 above bit 31";
	if (m->dr7 >> 32)
		return "15.5.1: DR7 above bit 31";
	if (m->efer & ~EFER_DEFINED)
		return "15.5.1: EFER reserved bits";
	if (lme && pg && !(m->cr4 & CR4_PAE))
		return "15.5.1: long mode without CR4.PAE";
	if (lme && pg && !(m->cr0 & CR0_PE))
		return "15.5.1: long mode without CR0.PE";
	if (lme && pg && m->seg[CS].attr & VMCB_SEG_L && m->seg[CS].attr & VMCB_SEG_DB)
		return "15.5.1: CS.L with CS.D in long mode";
	if (!pg || !(m->cr0 & CR0_WP))
		return "Umbra: real CR0.PG and WP are 1";
	if (!(m->cr0 & CR0_PE) && (m->cpl || m->rflags & RFLAGS_VM))
		return "Umbra: real mode is at CPL 0";
	if (!(m->cr4 & CR4_PAE) || m->cr4 & (CR4_PCIDE | CR4_PGE))
		return "Umbra: real CR4.PAE is 1, PCIDE and PGE are 0";
	if (!(m->efer & EFER_NXE))
		return "Umbra: real EFER.NXE is 1";
	if (lme != !!(m->efer & EFER_LMA))
		return "Umbra: real EFER.LME is LMA";
	/* PAE's root is a 32-bit address of four entries (APM vol. 2, 5.2.3). */
	return !lme && m->cr3 >> 32 ? "Umbra: PAE root above 4 GiB" : 0;
}

static const char *audit_flow(const struct vmcb *m)
{
	bool long_mode = m->efer & EFER_LMA, code64 = long_mode && m->seg[CS].attr & VMCB_SEG_L;

	if (m->cpl > 3)
		return "Umbra: CPL";
	if (!(m->seg[CS].attr & VMCB_SEG_P) || !(m->seg[CS].attr & SEG_S) || !(m->tr.attr & VMCB_SEG_P))
		return "Umbra: CS and TR are present";
	if (m->rflags & RFLAGS_ZEROS || !(m->rflags & RFLAGS_FIXED))
		return "Umbra: RFLAGS reserved bits";
	if (m->rflags & RFLAGS_VM && long_mode)
		return "Umbra: virtual-8086 mode in long mode";
	return (code64 ? !vcpu_canonical(m->rip) : m->rip >> 32 != 0) ? "Umbra: RIP" : 0;
}

const char *svm_audit(const struct vmcb *m, const struct svm_cap *cap)
{
	const char *rule = audit_controls(m, cap);

	if (!rule)
		rule = audit_registers(m, cap);
	if (!rule)
		rule = audit_injection(m);
	return rule ? rule : audit_flow(m);
}
