/* SPDX-License-Identifier: MIT */
/* The consistency checks of VMRUN (AMD APM vol. 2, 15.5.1, 15.20), made by ourselves before the entry: silicon only says
 * VMEXIT_INVALID, and QEMU lets most of it pass. Pure. */
#ifndef HV_SVM_AUDIT_H
#define HV_SVM_AUDIT_H

#include "hv/svm_cap.h"
#include "hv/svm_vmcb.h"

/* The first rule that does not hold, as a string constant "section: rule", or 0. Rules that begin with "Umbra:" are our
 * own (DESIGN: real CR0.PE=PG=WP=1, CR4.PAE=1, PCIDE=0, EFER.NXE=1; what exits). */
const char *svm_audit(const struct vmcb *m, const struct svm_cap *cap);

#endif
