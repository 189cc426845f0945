/* SPDX-License-Identifier: MIT */
/* Whether this processor's VMX will do, and if not, what to do about it. */
#include "guest/text.h"
#include "hv/vmx.h"
#include "hv/x86.h"

/* VMX capability MSRs: the high half tells which controls may be 1 (SDM 3D A.3 to A.5). */
#define MSR_VMX_PIN 0x481
#define MSR_VMX_PROCESSOR 0x482
#define MSR_VMX_EXIT 0x483
#define MSR_VMX_ENTRY 0x484
#define MSR_VMX_SECONDARY 0x48b
#define PROCESSOR_SECONDARY_CONTROLS 31
#define OFFER_TEXT 160

struct control {
	uint32_t msr;
	unsigned bit;
	const char *name;
};

static const struct control required[] = {
	{MSR_VMX_PIN, 0, "external-interrupt exiting"},
	{MSR_VMX_PIN, 3, "NMI exiting"},
	{MSR_VMX_PROCESSOR, 2, "interrupt-window exiting"},
	{MSR_VMX_PROCESSOR, 7, "HLT exiting"},
	{MSR_VMX_PROCESSOR, 9, "INVLPG exiting"},
	{MSR_VMX_PROCESSOR, 15, "CR3-load exiting"},
	{MSR_VMX_PROCESSOR, 16, "CR3-store exiting"},
	{MSR_VMX_PROCESSOR, 19, "CR8-load exiting"},
	{MSR_VMX_PROCESSOR, 20, "CR8-store exiting"},
	{MSR_VMX_PROCESSOR, 24, "unconditional I/O exiting"},
	{MSR_VMX_PROCESSOR, 28, "use MSR bitmaps"},
	{MSR_VMX_EXIT, 9, "host address-space size"},
	{MSR_VMX_EXIT, 15, "acknowledge interrupt on exit"},
	{MSR_VMX_ENTRY, 9, "IA-32e mode guest"},
};

/* Not needed: what is used where it is there. */
static const struct control offered[] = {
	{MSR_VMX_PIN, 6, "preemption-timer"},
	{MSR_VMX_PROCESSOR, 21, "TPR-shadow"},
	{MSR_VMX_SECONDARY, 1, "EPT"},
	{MSR_VMX_SECONDARY, 5, "VPID"},
	{MSR_VMX_SECONDARY, 7, "unrestricted-guest"},
	{MSR_VMX_EXIT, 19, "save-PAT"},
	{MSR_VMX_EXIT, 21, "load-EFER"},
};

static bool control_allowed(const struct control *c)
{
	uint64_t v;
	return rdmsr_safe(c->msr, &v) && v >> 32 >> c->bit & 1;
}

static bool has_secondary(void)
{
	const struct control secondary = {MSR_VMX_PROCESSOR, PROCESSOR_SECONDARY_CONTROLS, ""};
	return control_allowed(&secondary);
}

static void log_offered(void)
{
	char there[OFFER_TEXT] = "", lacking[OFFER_TEXT] = "";
	size_t at = 0, lacking_at = 0;
	for (unsigned i = 0; i < sizeof(offered) / sizeof(offered[0]); i++) {
		if ((offered[i].msr != MSR_VMX_SECONDARY || has_secondary()) && control_allowed(&offered[i]))
			at += text_format(there + at, sizeof(there) - at, " %s", offered[i].name);
		else
			lacking_at += text_format(lacking + lacking_at, sizeof(lacking) - lacking_at, " %s", offered[i].name);
	}
	host_log(HOST_INFO, "VMX offers:%s; lacks:%s", at ? there : " nothing", lacking_at ? lacking : " nothing");
}

/* Lets VMXON work on this processor; false when the firmware locked it off. */
bool vmx_preflight_cpu(void)
{
	uint64_t v, wanted = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX;
	if (!rdmsr_safe(MSR_FEATURE_CONTROL, &v))
		return true; /* emulators without the register */
	if (!(v & FEATURE_CONTROL_LOCK))
		return wrmsr_safe(MSR_FEATURE_CONTROL, v | wanted);
	return v & FEATURE_CONTROL_VMX_OUTSIDE_SMX;
}

const char *vmx_preflight(void)
{
	const char *missing = 0;
	if (!vmx_preflight_cpu()) {
		host_log(HOST_ERROR, "VMX is locked off in IA32_FEATURE_CONTROL: enable virtualisation in the firmware");
		return "VMX is locked off by the firmware";
	}
	for (unsigned i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		if (control_allowed(&required[i]))
			continue;
		host_log(HOST_ERROR, "VMX lacks '%s': no setting helps, another processor model is needed",
			required[i].name);
		missing = required[i].name;
	}
	log_offered();
	return missing;
}
