/* SPDX-License-Identifier: MIT */
/* Who runs where. Pure. */
#ifndef HV_PLACE_H
#define HV_PLACE_H

/* With three CPUs or more, CPU 0 has the console, the last one the walker, and vCPUs take turns on those between. With
 * fewer, vCPUs, walker and console share. cpus: how many there are, from 1. */
unsigned place_walker(unsigned cpus);
/* The CPU of the i-th vCPU (from 0, over all guests) that did not ask for one. */
unsigned place_vcpu(unsigned cpus, unsigned i);

#endif
