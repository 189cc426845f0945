/* SPDX-License-Identifier: MIT */
/* Inside the SVM backend. */
#ifndef HV_SVM_H
#define HV_SVM_H

#include "hv/backend.h"
#include "hv/svm_cap.h"
#include "hv/svm_vmcb.h"

/* A vCPU's side: struct vcpu.backend. Only the CPU that runs the vCPU touches it. */
struct svm_vcpu {
	struct vmcb *vmcb;
	bool audit;       /* check the VMCB before the next entry */
	bool virq;        /* v->event is a virtual interrupt: svm_state.c */
	bool shadow;      /* the instruction at shadow_rip is in that of STI or MOV SS */
	uint64_t shadow_rip;
	bool iret;        /* an IRET at iret_rip ends the blocking of NMIs, once it has run */
	uint64_t iret_rip;
	bool shared_asid; /* other vCPUs may have it too: flush whenever the CPU changes from one to the other */
};

/* What this CPU holds. Its own. */
struct svm_cpu {
	void *save_area;          /* of VMRUN, for the host's state */
	struct vmcb *host;        /* of VMSAVE, for the rest of it: FS, GS, TR, SYSCALL's and SYSENTER's MSRs */
	struct vcpu *loaded;      /* whose registers are in the hardware */
};
struct svm_cpu *svm_this_cpu(void);

/* svm_entry.S. It is called by svm_enter() alone, which knows what registers it loses. */
extern char svm_run[];

/* svm_setup.c: fills a new VMCB, all zeros: intercepts, permission maps, constants of the guest state. */
void svm_setup(struct vmcb *m, uint32_t asid);
/* Fills the permission maps, which all VMCBs share. Boot processor, once. */
void svm_setup_maps(void);

/* svm_state.c: struct vcpu to the VMCB and back. v is loaded. */
void svm_state_write(struct vcpu *v);
void svm_state_fetch(struct vcpu *v, uint32_t parts);
/* The registers that no VMCB field holds: TSC_AUX, DR0 … DR3, XCR0 and the FPU. */
void svm_state_load_registers(struct vcpu *v);
void svm_state_save_registers(struct vcpu *v);

/* svm_exit.c: what an exit was. injected: the entry before it injected an event. */
void svm_exit_decode(struct vcpu *v, bool injected, struct exit *e);
void svm_exit_describe(struct vcpu *v, struct exit *e);

#endif
