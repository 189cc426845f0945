/* SPDX-License-Identifier: MIT */
#include "hv/svm_cap.h"
#include "guest/text.h"
#include "hv/svm_vmcb.h"
#include "hv/x86.h"
#include "mm/host.h"

#define LEAF_SVM 0x8000000a
#define SVM_LOCK_KEY (1u << 2)
#define SVM_NEXT_RIP (1u << 3)
#define SVM_FLUSH_BY_ASID (1u << 6)
#define SVM_DECODE_ASSISTS (1u << 7)
#define LEAF7_EBX_INVPCID (1u << 10)
#define LEAF8_EBX_INVLPGB (1u << 3)
#define LEAF8_EBX_RDPRU (1u << 4)
#define LEAF8_EBX_MCOMMIT (1u << 8)
#define LEAF_HYPERVISOR 0x40000000
#define TCG_EBX 0x54474354u /* "TCGT" */
#define OFFER_TEXT 160

struct svm_cap svm_cap;

/* Not needed: what is used where it is there, and what a reader of the log may wonder about. */
static const struct {
	uint32_t bit;
	const char *name;
} offered[] = {
	{1u << 0, "nested-paging"},
	{SVM_NEXT_RIP, "next-RIP-save"},
	{1u << 5, "clean-bits"},
	{SVM_FLUSH_BY_ASID, "flush-by-ASID"},
	{SVM_DECODE_ASSISTS, "decode-assists"},
	{1u << 16, "virtual-GIF"},
};

static void log_offered(uint32_t have)
{
	char there[OFFER_TEXT] = "", lacking[OFFER_TEXT] = "";
	size_t at = 0, lacking_at = 0;

	for (unsigned i = 0; i < sizeof(offered) / sizeof(offered[0]); i++)
		if (have & offered[i].bit)
			at += text_format(there + at, sizeof(there) - at, " %s", offered[i].name);
		else
			lacking_at += text_format(
				lacking + lacking_at, sizeof(lacking) - lacking_at, " %s", offered[i].name);
	host_log(HOST_INFO, "SVM offers: %u ASIDs%s; lacks:%s", svm_cap.asids, there,
		lacking_at ? lacking : " nothing");
}

static void read_cap(struct svm_cap *c, struct cpuid svm)
{
	uint32_t max = cpuid(0, 0).eax, extended = cpuid(0x80000000, 0).eax;
	struct cpuid leaf8 = extended >= 0x80000008 ? cpuid(0x80000008, 0) : (struct cpuid){.eax = 36};

	c->asids = svm.ebx;
	c->next_rip = svm.edx & SVM_NEXT_RIP;
	c->decode_assists = c->next_rip && svm.edx & SVM_DECODE_ASSISTS;
	c->flush_by_asid = svm.edx & SVM_FLUSH_BY_ASID;
	c->interrupts_twice = cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR && cpuid(LEAF_HYPERVISOR, 0).ebx == TCG_EBX;
	c->tr_unchecked = c->interrupts_twice;
	/* QEMU 7.2 executes XSETBV in spite of its intercept. */
	c->xsetbv_exits = !c->interrupts_twice;
	c->phys_bits = leaf8.eax & 0xff;
	if (leaf8.ebx & LEAF8_EBX_RDPRU)
		c->intercept2 |= INTERCEPT2_RDPRU;
	if (leaf8.ebx & LEAF8_EBX_INVLPGB)
		c->intercept3 |= INTERCEPT3_INVLPGB | INTERCEPT3_TLBSYNC;
	if (leaf8.ebx & LEAF8_EBX_MCOMMIT)
		c->intercept3 |= INTERCEPT3_MCOMMIT;
	if (max >= 7 && cpuid(7, 0).ebx & LEAF7_EBX_INVPCID)
		c->intercept3 |= INTERCEPT3_INVPCID;
}

/* VM_CR.SVMDIS takes EFER.SVME away; it is the firmware's word only once it is locked (APM vol. 2, 15.30.1). */
bool svm_preflight_cpu(void)
{
	uint64_t v;

	if (!rdmsr_safe(MSR_VM_CR, &v) || !(v & VM_CR_SVMDIS))
		return true;
	return !(v & VM_CR_LOCK) && wrmsr_safe(MSR_VM_CR, v & ~(uint64_t)VM_CR_SVMDIS);
}

const char *svm_preflight(void)
{
	struct cpuid svm = cpuid(LEAF_SVM, 0);

	if (!svm_preflight_cpu()) {
		host_log(HOST_ERROR, "SVM is switched off in VM_CR (SVMDIS): enable virtualisation in the firmware%s",
			svm.edx & SVM_LOCK_KEY ? " (a key is needed to unlock it otherwise)" : "");
		return "SVM is locked off by the firmware";
	}
	read_cap(&svm_cap, svm);
	log_offered(svm.edx);
	if (svm_cap.asids < 2) {
		host_log(HOST_ERROR, "SVM has no ASID for a guest: no setting helps, another processor model is needed");
		return "an ASID for guests";
	}
	return 0;
}
