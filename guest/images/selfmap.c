/* SPDX-License-Identifier: MIT */
/* selfmap: two entries of the top table lead back to it, and every table is read and written through them alone.
 *
 *   regions=8            2 MiB regions (2...32), two in each GiB
 *   ops=4000 seed=1      random operations, and of the random numbers
 *
 * An operation maps a page (making the tables above it), unmaps or changes one, drops a region, whose table's frame is
 * used again, makes a region read-only or writable, or closes and opens the self-map for writing. What a store to an
 * entry does is known: through the self-map the entry above is the leaf, so it gets A and D, and if it is read-only the
 * store must fault. Pages must show what was written in them and fault where they are not; at the end the tables are
 * compared with what another mapping shows.
 */
#include "guest/images/lib.h"

#define WINDOW (1UL << 39)
#define SLOTS 2
#define ENTRIES 512u
#define REGIONS_MAX 32
#define HOT 16u /* pages of a region in use, spread over it */
#define FRAMES_FREE 64u /* beside those that the regions can fill */
#define TABLES_MAX (1 + 2 * REGIONS_MAX)
#define NO_FRAME ~0u
#define LOW_48 0xffffffffffffUL
#define SIGN (~0UL << 48)

static const uint64_t slot_index[SLOTS] = {511, 300};

static struct region {
	bool present, writable;
	uint64_t entry[HOT]; /* what each level-1 entry holds, A and D aside */
} region[REGIONS_MAX];

static unsigned regions, frames;
static uint64_t *root, pool, *stamp;
static bool closed; /* the self-map is read-only */
static uint16_t *stack;
static unsigned stack_top;
static uint64_t stores, refused, drops;

static uint64_t frame_gpa(unsigned frame) { return pool + frame * PAGE; }
static unsigned frame_of(uint64_t entry) { return (unsigned)(((entry & PTE_FRAME) - pool) / PAGE); }

static unsigned frame_take(void)
{
	unsigned at = rand_below(stack_top), frame = stack[at];

	stack[at] = stack[--stack_top];
	return frame;
}

static void frame_give(uint64_t entry) { stack[stack_top++] = (uint16_t)frame_of(entry); }

static uint64_t region_va(unsigned r) { return WINDOW + r / 2 * PAGE_1G + r % 2 * PAGE_2M; }
static uint64_t page_va(unsigned r, unsigned hot) { return region_va(r) + hot * (ENTRIES / HOT) * PAGE; }

/* The address of va's entry at `level`, through one of the two slots. */
static volatile uint64_t *entry_at(uint64_t va, unsigned level)
{
	uint64_t slot = slot_index[rand_below(SLOTS)], at = va & LOW_48;

	while (level--)
		at = slot << 39 | (at >> 9 & ~7UL);
	return (volatile uint64_t *)(at >> 47 ? at | SIGN : at);
}

/* The table behind an entry is another now: its addresses in the self-map are dropped. */
static void flush_table(uint64_t va, unsigned level)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t at = va & LOW_48;

		for (unsigned n = 0; n < level; n++)
			at = slot_index[i] << 39 | (at >> 9 & ~7UL);
		invlpg(at >> 47 ? at | SIGN : at);
	}
}

/* Stores to va's entry at `level`; may_fault: something above it is read-only. True if it was stored. */
static bool store(uint64_t va, unsigned level, uint64_t value, bool may_fault)
{
	volatile uint64_t *at = entry_at(va, level);
	uint64_t old = *at;
	struct fault fault;

	access_try(&fault, ACCESS_WRITE, (uint64_t)at, value);
	stores++;
	refused += may_fault;
	if (may_fault != (fault.vector == VECTOR_PF && fault.error == (PF_P | PF_W) && fault.cr2 == (uint64_t)at))
		deviation("store to the entry of %lx, level %u%s: %s %x", va, level, may_fault ? ", read-only" : "",
			vector_name(fault.vector), fault.error);
	if (may_fault && ((*at ^ old) & ~PTE_A))
		deviation("a refused store to the entry of %lx left %lx, not %lx", va, *at, old);
	return !may_fault;
}

/* A new table under va's entry at `level`. */
static void table_make(uint64_t va, unsigned level)
{
	volatile uint64_t *at;

	store(va, level, frame_gpa(frame_take()) | PTE_P | PTE_W, false);
	flush_table(va, level - 1);
	at = (volatile uint64_t *)((uint64_t)entry_at(va, level - 1) & ~(PAGE - 1));
	for (unsigned i = 0; i < ENTRIES; i++)
		at[i] = 0;
}

static bool table_ensure(unsigned r)
{
	uint64_t va = region_va(r);

	if (region[r].present)
		return region[r].writable && !closed;
	if (closed)
		return false;
	for (unsigned level = 4; level > 1; level--)
		if (!(*entry_at(va, level) & PTE_P))
			table_make(va, level);
	memset(&region[r], 0, sizeof(region[r]));
	region[r].present = region[r].writable = true;
	return true;
}

static void page_change(unsigned r, unsigned hot)
{
	uint64_t va = page_va(r, hot), *right = &region[r].entry[hot], value;
	unsigned dice = rand_below(4), frame = NO_FRAME;

	if (!table_ensure(r) && !region[r].present)
		return;
	value = *right;
	if (!value || dice == 0) {
		frame = frame_take();
		value = frame_gpa(frame) | PTE_P | PTE_W;
	} else if (dice < 3) {
		value ^= PTE_W;
	} else {
		value = 0;
	}
	if (!store(va, 1, value, closed || !region[r].writable)) {
		if (frame != NO_FRAME)
			frame_give(frame_gpa(frame));
		return;
	}
	if (*right)
		invlpg(va);
	if (*right && frame_of(*right) != frame_of(value))
		frame_give(*right);
	if (frame != NO_FRAME)
		stamp[frame] = *(uint64_t *)frame_gpa(frame) = rand64();
	*right = value;
}

/* A store to a table through the self-map sets A and D in the entry that links it. */
static void mark_check(unsigned r, unsigned hot)
{
	uint64_t va = page_va(r, hot);

	if (!region[r].present || !region[r].writable || closed)
		return;
	store(va, 2, *entry_at(va, 2) & ~(PTE_A | PTE_D), false);
	flush_table(va, 1);
	store(va, 1, region[r].entry[hot], false);
	invlpg(va);
	if (~*entry_at(va, 2) & (PTE_A | PTE_D))
		deviation("region %u: its table was written, its entry is %lx", r, *entry_at(va, 2));
}

static void region_drop(unsigned r)
{
	uint64_t link;

	if (!region[r].present || closed)
		return;
	link = *entry_at(region_va(r), 2);
	store(region_va(r), 2, 0, false);
	paging_load(root);
	for (unsigned hot = 0; hot < HOT; hot++)
		if (region[r].entry[hot])
			frame_give(region[r].entry[hot]);
	*(volatile uint64_t *)(link & PTE_FRAME) = rand64();
	frame_give(link);
	region[r].present = false;
	drops++;
}

static void region_protect(unsigned r)
{
	uint64_t va = region_va(r);

	if (!region[r].present || closed)
		return;
	region[r].writable = !region[r].writable;
	store(va, 2, (*entry_at(va, 2) & ~PTE_W) | (region[r].writable ? PTE_W : 0), false);
	paging_load(root);
}

/* Both slots' entries; the way back is through the identity map, as none other is left. */
static void selfmap_protect(void)
{
	closed = !closed;
	for (unsigned i = 0; i < SLOTS; i++)
		root[slot_index[i]] = (uint64_t)root | PTE_P | (closed ? 0 : PTE_W);
	paging_load(root);
}

static void check(unsigned r, unsigned hot)
{
	uint64_t va = page_va(r, hot), entry = region[r].present ? region[r].entry[hot] : 0, value = rand64(), seen;
	bool write = chance(50), faults = !entry || (write && (!(entry & PTE_W) || !region[r].writable));
	uint32_t error = (write ? PF_W : 0) | (entry ? PF_P : 0);
	struct fault fault;

	seen = access_try(&fault, write ? ACCESS_WRITE : ACCESS_READ, va, value);
	if (faults ? fault.vector != VECTOR_PF || fault.error != error : fault.vector != FAULT_NONE)
		deviation("%s of %lx, entry %lx: %s %x", write ? "write" : "read", va, entry, vector_name(fault.vector),
			fault.error);
	else if (!faults && write)
		stamp[frame_of(entry)] = value;
	else if (!faults && seen != stamp[frame_of(entry)])
		deviation("read of %lx: %lx, not %lx", va, seen, stamp[frame_of(entry)]);
}

static void check_all(void)
{
	uint32_t audit = abi_command(ABI_MMU_AUDIT);

	for (unsigned r = 0; r < regions; r++) {
		for (unsigned hot = 0; hot < HOT; hot++) {
			uint64_t va = page_va(r, hot), *real = paging_entry(root, va, 1, false);

			check(r, hot);
			if (!region[r].present)
				continue;
			if (*entry_at(va, 1) != *real || (*real ^ region[r].entry[hot]) & ~(PTE_A | PTE_D))
				deviation("entry of %lx: %lx, directly %lx, not %lx", va, *entry_at(va, 1), *real,
					region[r].entry[hot]);
		}
	}
	if (audit && audit != ABI_REFUSED)
		deviation("the machine's audit finds %u violations", audit);
}

void image_main(void)
{
	uint64_t ops = arg_number("ops", 4000);

	regions = (unsigned)arg_range("regions", 8, 2, REGIONS_MAX);
	frames = regions * HOT + TABLES_MAX + FRAMES_FREE;
	root = paging_new();
	pool = memory_take(frames * PAGE, PAGE);
	stack = (uint16_t *)memory_take(frames * sizeof(*stack), PAGE);
	stamp = (uint64_t *)memory_take(frames * sizeof(*stamp), PAGE);
	for (stack_top = 0; stack_top < frames; stack_top++)
		stack[stack_top] = (uint16_t)stack_top;
	for (unsigned i = 0; i < SLOTS; i++)
		root[slot_index[i]] = (uint64_t)root | PTE_P | PTE_W;
	paging_load(root);
	print("selfmap: %u regions, %lu operations\n", regions, ops);
	for (uint64_t i = 0; i < ops; i++) {
		unsigned dice = rand_below(100), r = rand_below(regions), hot = rand_below(HOT);

		disturb();
		if (dice < 50)
			page_change(r, hot);
		else if (dice < 60)
			mark_check(r, hot);
		else if (dice < 63)
			region_drop(r);
		else if (dice < 70)
			region_protect(r);
		else if (dice < 71 || closed)
			selfmap_protect();
		for (unsigned n = 0; n < 3; n++)
			check(chance(70) ? r : rand_below(regions), chance(50) ? hot : rand_below(HOT));
	}
	check_all();
	report(!deviations(), "%lu stores through the self-map, %lu of them refused, %lu regions dropped", stores,
		refused, drops);
	report(refused && drops, "each of them happened");
}
