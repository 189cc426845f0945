/* SPDX-License-Identifier: MIT */
/* From boot modules to guests that are ready to run. */
#ifndef GUEST_VMSET_H
#define GUEST_VMSET_H

#include "guest/vm.h"

#define VMSET_MAX 32 /* boot modules */

/* A boot module in host memory. refused: why the boot code will not have it used (then data is not read), or 0. */
struct vmset_module {
	const void *data;
	uint64_t bytes;
	const char *string; /* see guest/config.h */
	const char *refused;
};

struct vmset {
	unsigned vms;
	struct vm *vm[VMSET_MAX];
	unsigned refused; /* modules refused: the run as a whole has failed */
};

/* Makes a guest of every module that names one, with its memory, image, modules, devices, vCPUs (their cpu, model,
 * backend and fpu are still to be set; all but the first are off) and a replica if it has log=; its state is VM_RUNNING. For each module that
 * cannot be used `VERDICT name FAIL refused: module N: reason` is printed (N counts from 1; the name is the guest's, or
 * moduleN for a module that is not a guest) and the others go on. At most VMSET_MAX modules. One CPU, outside sections
 * and locks. */
void vmset_create(struct vmset *s, const struct vmset_module *module, unsigned modules);

/* Makes the guest `name` of vmset_create's modules once more; 0: said why not. In no set; vmset_destroy_vm gives it back. Beside
 * other guests that run; outside sections and locks. */
struct vm *vmset_again(const struct vmset_module *module, unsigned modules, const char *name);

/* The longest holds of a guest's locks, TSC ticks. table: of a shadow table's where mmu.lock was not held too. */
struct vm_holds { uint64_t mmu, bus, table; };

/* Gives everything back that vmset_create got for one guest. Its vCPUs have stopped, nobody harvests. Returns the longest
 * holds of its locks, those of this call among them. Outside sections and locks. */
struct vm_holds vmset_destroy_vm(struct vm *vm);

#endif
