/* SPDX-License-Identifier: MIT */
#include "hv/memory.h"
#include "mm/host.h"

#define FOUR_GIB (1ull << 32)
/* RAM above this is left alone: its page tables would not pay. */
#define RAM_LIMIT (1ull << 40)
#define EARLY_ALIGN 4096

extern char image_start[], image_end[];

static struct range ranges[MEMORY_MAX_RANGES];
static unsigned range_count;
static bool handed_over;

static uint64_t cut_at_limit(void)
{
	uint64_t bytes = 0;
	unsigned kept = 0;
	for (unsigned i = 0; i < range_count; i++) {
		struct range r = ranges[i];
		if (r.end > RAM_LIMIT)
			r.end = RAM_LIMIT;
		if (r.start >= r.end)
			continue;
		bytes += r.end - r.start;
		ranges[kept++] = r;
	}
	range_count = kept;
	return bytes;
}

void memory_init(struct bootinfo *info)
{
	struct range image = {(uint64_t)image_start, (uint64_t)image_end};
	struct move moves[BOOTINFO_MAX_MODULES];
	unsigned count = memory_place_modules(info, image, moves);
	for (unsigned i = 0; i < count; i++) {
		__builtin_memcpy(host_virt(hpa(moves[i].to)), host_virt(hpa(moves[i].from)), moves[i].bytes);
		host_log(HOST_INFO, "module at 0x%lx moved to 0x%lx", moves[i].from, moves[i].to);
	}
	range_count = memory_usable(info, image, ranges, MEMORY_MAX_RANGES);
	host_log(HOST_INFO, "%lu MiB of RAM are free", cut_at_limit() >> 20);
}

void *memory_early(uint64_t bytes)
{
	CHECK(!handed_over);
	uint64_t at = memory_take(ranges, range_count, bytes, EARLY_ALIGN, FOUR_GIB);
	if (!at)
		return NULL;
	void *p = host_virt(hpa(at));
	__builtin_memset(p, 0, bytes);
	return p;
}

unsigned memory_ranges(const struct range **out)
{
	handed_over = true;
	*out = ranges;
	return range_count;
}
