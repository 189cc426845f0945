/* SPDX-License-Identifier: MIT */
/* The VM-entry checks of SDM vol. 3, 26.2 and 26.3, made by ourselves before the entry: silicon only says "invalid
 * state", and Bochs lets some of it pass. Pure. */
#ifndef HV_VMX_AUDIT_H
#define HV_VMX_AUDIT_H

#include "hv/vmx_cap.h"

/* A VMCS, however it is read. */
struct vmx_view {
	uint64_t (*read)(const void *context, uint32_t field);
	/* The i-th of the four PDPTEs at guest CR3; asked for a guest without IA-32e mode alone. */
	uint64_t (*pdpte)(const void *context, unsigned i);
	const void *context;
	const struct vmx_cap *cap;
};

static inline uint64_t vmx_view_read(const struct vmx_view *w, uint32_t field)
{
	return w->read(w->context, field);
}

/* The first rule that does not hold, as a string constant "section: rule", or 0. Rules that begin with "Umbra:" are our
 * own (DESIGN: real CR0.PE=PG=WP=1, CR4.PAE=1, PCIDE=0, EFER.NXE=1). Each part alone: */
const char *vmx_audit(const struct vmx_view *w);
const char *vmx_audit_controls(const struct vmx_view *w);
const char *vmx_audit_host(const struct vmx_view *w);
const char *vmx_audit_guest(const struct vmx_view *w);
const char *vmx_audit_segments(const struct vmx_view *w);

#endif
