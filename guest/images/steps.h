/* SPDX-License-Identifier: MIT */
/* Between steps.c and its assembler part. */
#ifndef GUEST_IMAGES_STEPS_H
#define GUEST_IMAGES_STEPS_H

#include <stdint.h>

/* The code from steps_begin to steps_end, with its registers and its stack; returns its sum. */
uint64_t steps_enter(uint64_t seed);
/* Instructions that compilers make little use of, on 16 words and a number; changes the words, returns a sum. */
uint64_t steps_odd(uint64_t *words, uint64_t x);
uint64_t steps_recurse(uint64_t n, uint64_t x);
uint64_t steps_run(uint64_t seed);

/* What steps_hurdles() works on. */
struct hurdles {
	uint64_t window;      /* two pages: the first is mapped, the second is not */
	uint64_t *entry;      /* their page-table entries, … */
	uint64_t new, second; /* and what those are to be */
	uint64_t loaded, faulted; /* what was read there then */
	uint64_t flags;
	uint8_t read[8]; /* of which three come from a port */
};
/* CPUID, ports, page tables, a page fault, MOV SS, and HLT with an interrupt that waits. */
void steps_hurdles(struct hurdles *h);
/* The handler of that page fault. */
void steps_fault(void);

#endif
