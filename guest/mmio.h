/* SPDX-License-Identifier: MIT */
/* Guest-physical memory that is not RAM: a small table of address ranges. Where no device is, reads give all ones and writes
 * are ignored; that is counted. */
#ifndef GUEST_MMIO_H
#define GUEST_MMIO_H

#include "guest/vcpu.h"

/* A device's handler: vCPU v accesses `bytes` (1 … 8) bytes at first + offset, all of them the device's; *value is the data
 * (zero-extended), in or out. Runs on v's CPU, of several at once: the device looks after itself. Outside sections and
 * locks. */
typedef void (*mmio_handler)(
	void *device, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value);

#define MMIO_RANGES 8
struct mmio_range {
	uint64_t first, last; /* gpa, bytes */
	mmio_handler handler;
	void *device;
};
struct mmio {
	struct mmio_range range[MMIO_RANGES]; /* fixed before the guest runs */
	unsigned ranges;
	atomic64 unclaimed; /* accesses of which some byte went to no device */
};

/* The `bytes` bytes from `first` on, where there is no RAM, belong to device. */
void mmio_add(struct mmio *m, gpa_t first, uint64_t bytes, mmio_handler handler, void *device);
/* One access of `bytes` (1 … 16) bytes at a, from or to *data. More than 8 reach a device as two. */
void mmio_access(struct mmio *m, struct vcpu *v, gpa_t a, unsigned bytes, bool write, void *data);

#endif
