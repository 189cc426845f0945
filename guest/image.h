/* SPDX-License-Identifier: MIT */
/* An executable, whatever its format: what of the file goes where in guest-physical memory. */
#ifndef GUEST_IMAGE_H
#define GUEST_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mm/addr.h"

#define IMAGE_MAX_SEGMENTS 32

/* file_bytes of the file go to start; what memory_bytes has more is zero. */
struct image_segment {
	uint64_t offset, file_bytes; /* lie in the file */
	uint64_t start;              /* gpa, bytes */
	uint64_t memory_bytes;       /* not less than file_bytes, not 0; start + memory_bytes does not wrap */
};

struct image {
	uint64_t entry; /* gpa, in one of the segments */
	unsigned segments;
	struct image_segment segment[IMAGE_MAX_SEGMENTS];
};

/* Where a guest's memory is written while it is loaded: false when some byte is not RAM. */
struct image_memory {
	bool (*write)(void *to, gpa_t at, const void *from, uint64_t bytes);
	void *to;
};

/* True when the address lies in one of the segments. */
static inline bool image_holds(const struct image *m, uint64_t a)
{
	for (unsigned i = 0; i < m->segments; i++)
		if (a >= m->segment[i].start && a - m->segment[i].start < m->segment[i].memory_bytes)
			return true;
	return false;
}

#endif
