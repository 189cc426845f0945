/* SPDX-License-Identifier: MIT */
/* Where things may lie in host-physical memory: planned on ranges, nothing is touched here. */
#include "boot/bootinfo.h"

#define LOW_MEMORY_END 0x100000u
#define LOW_RAM_END 0xa0000u
#define PAGE_BYTES 4096u
#define WORK_RANGES (2 * (BOOTINFO_MAX_MAP + BOOTINFO_MAX_MODULES) + 8)

/* Sorted, disjoint, non-empty ranges. */
struct ranges {
	unsigned count;
	struct range r[WORK_RANGES];
};

static bool range_overlaps(struct range a, struct range b)
{
	return a.start < b.end && b.start < a.end;
}

static void ranges_remove(struct ranges *s, unsigned i)
{
	s->count--;
	for (; i < s->count; i++)
		s->r[i] = s->r[i + 1];
}

/* Drops the shortest range when there is no room left for another. */
static void ranges_make_room(struct ranges *s)
{
	if (s->count < WORK_RANGES)
		return;
	unsigned shortest = 0;
	for (unsigned i = 1; i < s->count; i++)
		if (s->r[i].end - s->r[i].start < s->r[shortest].end - s->r[shortest].start)
			shortest = i;
	ranges_remove(s, shortest);
}

static void ranges_insert(struct ranges *s, struct range n)
{
	ranges_make_room(s);
	unsigned i = s->count++;
	for (; i > 0 && s->r[i - 1].start > n.start; i--)
		s->r[i] = s->r[i - 1];
	s->r[i] = n;
}

static void ranges_subtract(struct ranges *s, struct range cut)
{
	if (cut.start >= cut.end)
		return;
	for (unsigned i = 0; i < s->count;) {
		struct range old = s->r[i];
		if (!range_overlaps(old, cut)) {
			i++;
			continue;
		}
		ranges_remove(s, i);
		if (cut.end < old.end)
			ranges_insert(s, (struct range){cut.end, old.end});
		if (old.start < cut.start)
			ranges_insert(s, (struct range){old.start, cut.start});
	}
}

static void ranges_add(struct ranges *s, struct range n)
{
	if (n.start >= n.end)
		return;
	for (unsigned i = 0; i < s->count;) {
		if (s->r[i].end < n.start || n.end < s->r[i].start) {
			i++;
			continue;
		}
		n.start = n.start < s->r[i].start ? n.start : s->r[i].start;
		n.end = n.end > s->r[i].end ? n.end : s->r[i].end;
		ranges_remove(s, i);
	}
	ranges_insert(s, n);
}

/* All RAM of the memory map; what any entry calls something else is not RAM. */
static void ranges_of_ram(struct ranges *s, const struct bootinfo *info)
{
	s->count = 0;
	for (unsigned i = 0; i < info->maps; i++)
		if (info->map[i].type == MEMORY_RAM)
			ranges_add(s, info->map[i].range);
	for (unsigned i = 0; i < info->maps; i++)
		if (info->map[i].type != MEMORY_RAM)
			ranges_subtract(s, info->map[i].range);
}

static bool ranges_contain(const struct ranges *s, struct range x)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->r[i].start <= x.start && x.end <= s->r[i].end)
			return true;
	return false;
}

static struct range page_outward(struct range r)
{
	uint64_t up = r.end + PAGE_BYTES - 1;
	return (struct range){r.start & ~(PAGE_BYTES - 1ull), (up < r.end ? ~0ull : up) & ~(PAGE_BYTES - 1ull)};
}

static void ranges_of_free(struct ranges *s, const struct bootinfo *info, struct range image)
{
	ranges_of_ram(s, info);
	ranges_subtract(s, (struct range){0, LOW_MEMORY_END});
	ranges_subtract(s, page_outward(image));
	for (unsigned i = 0; i < info->modules; i++)
		if (!info->module[i].refused)
			ranges_subtract(s, page_outward(info->module[i].range));
	for (unsigned i = 0; i < s->count;) {
		struct range *r = &s->r[i];
		r->start = (r->start + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
		r->end &= ~(PAGE_BYTES - 1ull);
		if (r->start >= r->end)
			ranges_remove(s, i);
		else
			i++;
	}
}

/* One file may be several modules: it is only read. */
static bool same_range(struct range a, struct range b)
{
	return a.start == b.start && a.end == b.end;
}

static const char *module_fault(const struct bootinfo *info, unsigned n, struct range image, const struct ranges *ram)
{
	const struct bootinfo_module *m = &info->module[n];
	if (m->refused)
		return m->refused;
	if (m->range.start >= m->range.end)
		return "it is empty";
	if (range_overlaps(m->range, image))
		return "it overlaps the hypervisor's image";
	for (unsigned i = 0; i < info->modules; i++)
		if (range_overlaps(m->range, info->module[i].range) && !same_range(m->range, info->module[i].range))
			return "it overlaps another module";
	if (!ranges_contain(ram, m->range))
		return "it lies in memory that is not RAM";
	return NULL;
}

unsigned memory_place_modules(struct bootinfo *info, struct range image, struct move *moves)
{
	static struct ranges work;
	unsigned count = 0;
	const char *fault[BOOTINFO_MAX_MODULES];

	ranges_of_ram(&work, info);
	for (unsigned i = 0; i < info->modules; i++)
		fault[i] = module_fault(info, i, image, &work);
	for (unsigned i = 0; i < info->modules; i++)
		info->module[i].refused = fault[i];

	for (unsigned i = 0; i < info->modules; i++) {
		struct bootinfo_module *m = &info->module[i];
		if (m->refused || m->range.start >= LOW_MEMORY_END)
			continue;
		struct range from = m->range;
		uint64_t bytes = from.end - from.start;
		ranges_of_free(&work, info, image);
		uint64_t to = memory_take(work.r, work.count, bytes, PAGE_BYTES, 1ull << 32);
		if (!to) {
			m->refused = "it lies below 1 MiB and there is no room to move it to";
			continue;
		}
		moves[count++] = (struct move){from.start, to, bytes};
		for (unsigned k = i; k < info->modules; k++)
			if (same_range(info->module[k].range, from))
				info->module[k].range = (struct range){to, to + bytes};
	}
	return count;
}

unsigned memory_usable(const struct bootinfo *info, struct range image, struct range *out, unsigned max)
{
	static struct ranges work;
	ranges_of_free(&work, info, image);
	while (work.count > max) {
		unsigned shortest = 0;
		for (unsigned i = 1; i < work.count; i++)
			if (work.r[i].end - work.r[i].start < work.r[shortest].end - work.r[shortest].start)
				shortest = i;
		ranges_remove(&work, shortest);
	}
	for (unsigned i = 0; i < work.count; i++)
		out[i] = work.r[i];
	return work.count;
}

uint64_t memory_low_page(const struct bootinfo *info)
{
	static struct ranges work;
	ranges_of_ram(&work, info);
	for (uint64_t at = LOW_RAM_END - PAGE_BYTES; at > 0; at -= PAGE_BYTES)
		if (ranges_contain(&work, (struct range){at, at + PAGE_BYTES}))
			return at;
	return 0;
}

uint64_t memory_take(struct range *ranges, unsigned count, uint64_t bytes, uint64_t align, uint64_t limit)
{
	bytes = (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
	for (unsigned i = count; i-- > 0;) {
		uint64_t end = ranges[i].end < limit ? ranges[i].end : limit;
		if (end < ranges[i].start || end - ranges[i].start < bytes)
			continue;
		uint64_t at = (end - bytes) & ~(align - 1);
		/* The rest of the range must stay one piece: what lies above is given up, and must be little. */
		if (at < ranges[i].start || ranges[i].end - (at + bytes) >= align)
			continue;
		ranges[i].end = at;
		return at;
	}
	return 0;
}
