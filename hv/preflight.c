/* SPDX-License-Identifier: MIT */
#include "hv/preflight.h"
#include "hv/backend.h"
#include "hv/x86.h"

static void log_name(void)
{
	struct cpuid id = cpuid(0, 0), version = cpuid(1, 0);
	union {
		uint32_t word[3];
		char text[13];
	} vendor = {{id.ebx, id.edx, id.ecx}};
	vendor.text[12] = 0;
	host_log(HOST_INFO, "processor %s, version 0x%x, TSC %lu MHz%s", vendor.text, version.eax,
		host_clock_hz() / 1000000, version.ecx & CPUID_1_ECX_X2APIC ? ", x2APIC" : "");
}

const char *preflight(void)
{
	const struct backend *b = backend_pick();

	log_name();
	if (b)
		return b->preflight();
	host_log(HOST_ERROR, "this processor has neither Intel's VMX nor AMD's SVM (CPUID.1:ECX.VMX and "
			     "CPUID.80000001h:ECX.SVM are 0).");
	host_log(HOST_ERROR, "In a virtual machine, enable nested virtualisation; or use an emulator: tools/run --on bochs");
	return "no VMX, no SVM";
}

bool preflight_cpu(void)
{
	const struct backend *b = backend_pick();

	return b && b->preflight_cpu();
}
