/* SPDX-License-Identifier: MIT */
/* Accesses to MSRs that a guest does not have: counted by number, and told once, when it ends. */
#ifndef GUEST_MSR_UNKNOWN_H
#define GUEST_MSR_UNKNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSR_UNKNOWN_MAX 12 /* numbers that are told apart; the others are counted together */

struct msr_unknown {
	struct msr_count {
		uint32_t index;
		uint64_t reads, writes;
	} msr[MSR_UNKNOWN_MAX];
	unsigned n;
	uint64_t others; /* accesses to further ones */
};

void msr_unknown_count(struct msr_unknown *u, uint32_t index, bool write);
/* Adds `from` to `to`. */
void msr_unknown_add(struct msr_unknown *to, const struct msr_unknown *from);
/* "0xc0010055 INT_PENDING 1 read, 0x34 SMI_COUNT 2 writes": into to[0 … room-1], cut off where it does not fit. */
void msr_unknown_print(const struct msr_unknown *u, char *to, size_t room);

#endif
