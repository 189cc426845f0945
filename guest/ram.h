/* SPDX-License-Identifier: MIT */
/* Where a guest's RAM lies (GUEST-ABI): 0-0x9ffff, 0x100000 up to min(mem, 3 GiB), the rest from 4 GiB on. */
#ifndef GUEST_RAM_H
#define GUEST_RAM_H

#include "mm/addr.h"

#define RAM_LOW_END 0xa0000UL
#define RAM_MIDDLE 0x100000UL
#define RAM_MIDDLE_MAX (3UL << 30)
#define RAM_HIGH (4UL << 30)

/* One past the last byte of the RAM from 1 MiB on; mem, in bytes, is at least 1 MiB. */
static inline uint64_t ram_middle_end(uint64_t mem)
{
	return mem < RAM_MIDDLE_MAX ? mem : RAM_MIDDLE_MAX;
}
/* One past the last byte of the RAM from 4 GiB on; RAM_HIGH when there is none. */
static inline uint64_t ram_high_end(uint64_t mem)
{
	return RAM_HIGH + (mem - ram_middle_end(mem));
}

/* True when the bytes from `start` on are all RAM. No sum overflows here. */
static inline bool ram_holds(uint64_t mem, uint64_t start, uint64_t bytes)
{
	uint64_t end = start < RAM_LOW_END ? RAM_LOW_END : ram_middle_end(mem);

	if (start >= RAM_HIGH)
		end = ram_high_end(mem);
	else if (start >= RAM_LOW_END && start < RAM_MIDDLE)
		return false;
	return start < end && bytes <= end - start;
}

#endif
