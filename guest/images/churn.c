/* SPDX-License-Identifier: MIT */
/* churn: areas mapped and unmapped all the time in one address space, as mmap and munmap do it: page tables come when
 * an area needs them and go when they are empty, and their frames are used again, as tables or as data.
 *
 *   areas=24 length=64   areas at most, and pages in each at most (1...512)
 *   tables=96            page tables at most
 *   ops=3000 seed=1      random operations, and of the random numbers
 *
 * An operation maps an area at a random place of a sparse 64 GiB window, unmaps one, makes one read-only or writable
 * again, or accesses pages: mapped ones must hold what was written, others must fault. Flushes: INVLPG of each page
 * whose entry went or narrowed, none where an entry became present; a table is freed after the INVLPG that follows its
 * unlinking.
 */
#include "guest/images/lib.h"

#define WINDOW (1UL << 39)
#define PLACES 64u	    /* 1 GiB apart */
#define SPREAD 4u	    /* directory entries in use in each of them */
#define AREAS_MAX 256
#define ENTRIES 512u
#define ACCESSES 6

static struct area {
	uint64_t va;
	unsigned pages; /* 0: none */
	bool read_only;
} area[AREAS_MAX];

static unsigned areas, length, tables_max, tables_used, frames;
static uint64_t pool, *root;
static uint16_t *stack, *live; /* frames that nobody has; per frame: entries in use, of a table */
static uint64_t *stamp;
static unsigned stack_top;
static uint64_t maps, unmaps, frees;

static uint64_t frame_gpa(unsigned frame) { return pool + frame * PAGE; }
static unsigned frame_of(uint64_t entry) { return (unsigned)(((entry & PTE_FRAME) - pool) / PAGE); }

static unsigned frame_take(void)
{
	unsigned at = rand_below(stack_top), frame = stack[at];

	stack[at] = stack[--stack_top];
	return frame;
}

static void frame_give(unsigned frame) { stack[stack_top++] = (uint16_t)frame; }

static unsigned entry_index(uint64_t va, unsigned level) { return va >> (3 + 9 * level) & (ENTRIES - 1); }

/* The table of `level` for va, made with all above it; NULL if that takes too many tables. */
static uint64_t *table_for(uint64_t va, unsigned level)
{
	uint64_t *above, *entry;
	unsigned frame;

	if (level == 4)
		return root;
	above = table_for(va, level + 1);
	if (!above)
		return NULL;
	entry = &above[entry_index(va, level + 1)];
	if (!(*entry & PTE_P)) {
		if (tables_used == tables_max)
			return NULL;
		tables_used++;
		frame = frame_take();
		live[frame] = 0;
		memset((void *)frame_gpa(frame), 0, PAGE);
		if (level < 3)
			live[frame_of((uint64_t)above)]++;
		*entry = frame_gpa(frame) | PTE_P | PTE_W;
	}
	return (uint64_t *)(*entry & PTE_FRAME);
}

/* Frees the tables of va, level 1 first, as far as they are empty. */
static void tables_trim(uint64_t va)
{
	for (unsigned level = 1; level < 4; level++) {
		uint64_t *entry = paging_entry(root, va, level + 1, false);
		unsigned frame;

		if (!entry || !(*entry & PTE_P))
			continue;
		frame = frame_of(*entry);
		if (live[frame])
			return;
		*entry = 0;
		invlpg(va);
		if (level < 3)
			live[frame_of((uint64_t)entry)]--;
		frame_give(frame);
		tables_used--;
		frees++;
	}
}

static bool overlaps(uint64_t va, unsigned pages)
{
	for (unsigned i = 0; i < areas; i++)
		if (area[i].pages && va < area[i].va + area[i].pages * PAGE && area[i].va < va + pages * PAGE)
			return true;
	return false;
}

static void unmap(struct area *a, unsigned pages)
{
	for (unsigned page = 0; page < pages; page++) {
		uint64_t va = a->va + page * PAGE, *entry = paging_entry(root, va, 1, false);

		frame_give(frame_of(*entry));
		*entry = 0;
		live[frame_of((uint64_t)entry)]--;
		invlpg(va);
		tables_trim(va);
	}
	a->pages = 0;
	unmaps += pages > 0;
}

static void map(struct area *a)
{
	unsigned pages = 1 + rand_below(length), page;

	a->va = WINDOW + rand_below(PLACES) * PAGE_1G + rand_below(SPREAD * ENTRIES) * PAGE;
	a->read_only = false;
	if (overlaps(a->va, pages))
		return;
	for (page = 0; page < pages; page++) {
		uint64_t va = a->va + page * PAGE, *table = stack_top > tables_max ? table_for(va, 1) : NULL;
		unsigned frame;

		if (!table) {
			tables_trim(va);
			break;
		}
		frame = frame_take();
		stamp[frame] = *(uint64_t *)frame_gpa(frame) = rand64();
		table[entry_index(va, 1)] = frame_gpa(frame) | PTE_P | PTE_W;
		live[frame_of((uint64_t)table)]++;
	}
	a->pages = page;
	maps += page > 0;
}

static void protect(struct area *a)
{
	a->read_only = !a->read_only;
	for (unsigned page = 0; page < a->pages; page++) {
		uint64_t *entry = paging_entry(root, a->va + page * PAGE, 1, false);

		*entry = a->read_only ? *entry & ~PTE_W : *entry | PTE_W;
		invlpg(a->va + page * PAGE);
	}
}

static void access(uint64_t va, bool mapped, bool read_only)
{
	bool write = rand_below(2), faults = !mapped || (write && read_only);
	uint32_t error = (write ? PF_W : 0) | (mapped ? PF_P : 0);
	uint64_t value = rand64(), seen, *entry = mapped ? paging_entry(root, va, 1, false) : NULL;
	struct fault fault;

	seen = access_try(&fault, write ? ACCESS_WRITE : ACCESS_READ, va, value);
	if (faults ? fault.vector != VECTOR_PF || fault.error != error || fault.cr2 != va : fault.vector != FAULT_NONE)
		deviation("%s of %lx, %s: %s %x", write ? "write" : "read", va,
			!mapped ? "not mapped" : read_only ? "read-only" : "mapped", vector_name(fault.vector), fault.error);
	else if (!faults && write)
		stamp[frame_of(*entry)] = value;
	else if (!faults && seen != stamp[frame_of(*entry)])
		deviation("read of %lx: %lx, not %lx", va, seen, stamp[frame_of(*entry)]);
}

static void access_some(const struct area *a)
{
	for (unsigned i = 0; i < ACCESSES; i++) {
		uint64_t va = WINDOW + rand_below(PLACES) * PAGE_1G + rand_below(SPREAD * ENTRIES) * PAGE;

		if (a->pages)
			access(a->va + rand_below(a->pages) * PAGE, true, a->read_only);
		else if (!overlaps(va, 1))
			access(va, false, false);
	}
}

static void check_all(void)
{
	uint32_t audit = abi_command(ABI_MMU_AUDIT);

	for (unsigned i = 0; i < areas; i++)
		for (unsigned page = 0; page < area[i].pages; page++)
			access(area[i].va + page * PAGE, true, area[i].read_only);
	if (audit && audit != ABI_REFUSED)
		deviation("the machine's audit finds %u violations", audit);
	for (unsigned i = 0; i < areas; i++)
		unmap(&area[i], area[i].pages);
	if (tables_used || stack_top != frames)
		deviation("%u tables and %u of %u frames are left", tables_used, stack_top, frames);
}

static void setup(void)
{
	areas = (unsigned)arg_range("areas", 24, 1, AREAS_MAX);
	length = (unsigned)arg_range("length", 64, 1, ENTRIES);
	tables_max = (unsigned)arg_range("tables", 96, 3, 4096);
	frames = tables_max + areas * length;
	root = paging_new();
	pool = memory_take(frames * PAGE, PAGE);
	stamp = (uint64_t *)memory_take(frames * sizeof(*stamp), PAGE);
	stack = (uint16_t *)memory_take(frames * sizeof(*stack), PAGE);
	live = (uint16_t *)memory_take(frames * sizeof(*live), PAGE);
	while (stack_top < frames) {
		stack[stack_top] = (uint16_t)stack_top;
		stack_top++;
	}
	paging_load(root);
}

void image_main(void)
{
	uint64_t ops = arg_number("ops", 3000);

	setup();
	print("churn: %u areas of up to %u pages, %u tables, %lu operations\n", areas, length, tables_max, ops);
	for (uint64_t i = 0; i < ops; i++) {
		struct area *a = &area[rand_below(areas)];
		unsigned dice = rand_below(10);

		disturb();
		if (!a->pages && dice < 8)
			map(a);
		else if (a->pages && dice < 2)
			unmap(a, a->pages);
		else if (a->pages && dice < 4)
			protect(a);
		access_some(a);
	}
	check_all();
	report(!deviations(), "%lu areas mapped, %lu unmapped, %lu tables freed", maps, unmaps, frees);
	report(maps && unmaps && frees, "each of them happened");
}
