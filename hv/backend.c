/* SPDX-License-Identifier: MIT */
#include "hv/backend.h"
#include "hv/x86.h"

const struct backend *backend_pick(void)
{
	if (cpuid(1, 0).ecx & CPUID_1_ECX_VMX)
		return &vmx_backend;
	if (cpuid(0x80000000, 0).eax >= 0x80000001 && cpuid(0x80000001, 0).ecx & CPUID_EXT_1_ECX_SVM)
		return &svm_backend;
	return 0;
}
