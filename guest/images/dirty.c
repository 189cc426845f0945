/* SPDX-License-Identifier: MIT */
/* dirty: writes pages through all kinds of mappings, has the test device harvest the dirty log after each round, and
 * asks about each gfn. Each page that was written must be in the set (none lost); one that was not should not be.
 *
 *   pages=512            4 KiB pages to write, rounded up to a multiple of 512
 *   rounds=20 writes=200 rounds, and writes in each of them
 *   remap=16             mappings changed in each round (what a zap had to report may count as false then)
 *   full=0               1: each round asks about all RAM; 0: only the first and the last do, the others ask about
 *                        these pages and the image's own
 *   seed=1               of the random numbers
 *
 * Mappings: the identity map (2 MiB pages), two windows of 4 KiB pages in random order, a third one that is read-only
 * (written with CR0.WP clear), and one of 2 MiB pages. Writes: 8 bytes, a locked exchange, a REP STOS over a page
 * boundary. Page tables count too: each store to one, and each A or D bit that the CPU sets there.
 * Without a test device or a log: SKIP.
 *
 * Metrics: 1 lost pages, 2 false reports, 3 TSC ticks per write, 4 ticks per harvest.
 */
#include "guest/images/lib.h"

enum metric_id { METRIC_LOST = 1, METRIC_FALSE = 2, METRIC_WRITE = 3, METRIC_HARVEST = 4 };

#define WINDOW (1UL << 39)
#define WINDOW_LARGE (2UL << 39)
#define ENTRIES 512UL
#define PAGES_MAX 65536
#define HOLE_START 0xa0 /* gfns between the two pieces of low RAM */
#define HOLE_END 0x100
#define STRING_WORDS 8

enum map { MAP_RANDOM, MAP_RANDOM2, MAP_READ_ONLY, MAPS, MAP_LARGE = MAPS, MAP_IDENTITY, MAP_KINDS };

static uint64_t pages, arena, ram_pages, taken_end; /* pages; gpa; pages; gpa */
static uint32_t *frame_of[MAPS];		    /* window page -> arena page */
static uint64_t *pte[MAPS];			    /* window page -> its level-1 entry */
static bool *written;				    /* per gfn, since the last harvest; lives in taken memory itself */
static uint64_t lost, false_reports, harvests, write_ticks, harvest_ticks;

static void mark(const volatile void *address) { written[(uint64_t)address / PAGE] = true; }

static bool in_arena(uint64_t gfn) { return gfn >= arena / PAGE && gfn < arena / PAGE + pages; }

/* Pages that this program writes as it runs, whatever it does: nobody can say when they were clean. */
static bool is_own(uint64_t gfn)
{
	return !in_arena(gfn) && gfn >= HOLE_END && gfn < taken_end / PAGE;
}

static uint64_t frame_address(uint64_t page) { return arena + page * PAGE; }

/* Where page `at` of a mapping is, and which arena page it shows. */
static uint64_t map_va(enum map map, uint64_t at, uint64_t *page)
{
	*page = map < MAPS ? frame_of[map][at] : at;
	if (map == MAP_IDENTITY)
		return frame_address(at);
	return map == MAP_LARGE ? WINDOW_LARGE + at * PAGE : WINDOW + (map * pages + at) * PAGE;
}

/* Notes what a write to page `at` of a mapping changes: the page, and the table if A or D gets set. */
static void mark_write(enum map map, uint64_t at, uint64_t page)
{
	mark((void *)frame_address(page));
	if (map < MAPS && ~pte[map][at] & (PTE_A | PTE_D))
		mark(&pte[map][at]);
}

static void store_string(uint64_t va, uint64_t value, uint64_t words)
{
	__asm__ volatile("rep stosq" : "+D"(va), "+c"(words) : "a"(value) : "memory");
}

static void write_one(bool wp)
{
	enum map map = (enum map)rand_below(MAP_KINDS);
	uint64_t at = rand_below(pages), offset = rand_below(PAGE / 8) * 8, value = rand64(), page, va, start;
	unsigned kind = rand_below(3);

	if (map == MAP_READ_ONLY && wp)
		map = MAP_RANDOM;
	va = map_va(map, at, &page);
	mark_write(map, at, page);
	if (kind == 2 && at + 1 < pages) {
		map_va(map, at + 1, &page);
		mark_write(map, at + 1, page);
		va += PAGE - STRING_WORDS / 2 * sizeof(value);
	} else {
		va += offset;
	}
	start = rdtsc();
	if (kind == 0)
		*(volatile uint64_t *)va = value;
	else if (kind == 1)
		__asm__ volatile("xchg %0, %1" : "+r"(value), "+m"(*(volatile uint64_t *)va) : : "memory");
	else
		store_string(va, value, at + 1 < pages ? STRING_WORDS : 1);
	write_ticks += rdtsc() - start;
}

/* Points a window page at another frame, or clears its A and D. */
static void remap_one(void)
{
	enum map map = (enum map)rand_below(MAPS);
	uint64_t at = rand_below(pages), page;

	if (rand_below(2)) {
		frame_of[map][at] = rand_below(pages);
		mark(&frame_of[map][at]);
	}
	pte[map][at] = frame_address(frame_of[map][at]) | PTE_P | (map == MAP_READ_ONLY ? 0 : PTE_W);
	mark(&pte[map][at]);
	invlpg(map_va(map, at, &page));
}

/* Harvests and asks. The first harvest after a start must report everything. */
static void harvest(uint64_t round, bool first, bool all)
{
	uint64_t end = all ? ram_pages : taken_end / PAGE, start, reported, ones = 0;
	volatile bool here = true; /* this page of the stack has been written */

	harvests++;
	mark(&here);
	mark(&harvests);
	start = rdtsc();
	reported = abi_command(ABI_LOG_HARVEST);
	harvest_ticks += rdtsc() - start;
	if (reported == ABI_REFUSED) {
		report(false, "round %lu: the harvest was refused", round);
		finish();
	}
	for (uint64_t gfn = all ? 0 : HOLE_END; gfn < end; gfn++) {
		bool dirty;

		if (gfn == HOLE_START)
			gfn = HOLE_END;
		dirty = abi_dirty((uint32_t)gfn) == 1;
		ones += dirty;
		if (!dirty && (first || written[gfn])) {
			lost++;
			deviation("round %lu: gfn %lx is lost", round, gfn);
		}
		if (dirty && !first && !written[gfn] && !is_own(gfn))
			false_reports++;
	}
	if (ones > reported)
		deviation("round %lu: %lu gfns are in the set, the harvest reported %lu pages", round, ones, reported);
	memset(written, 0, ram_pages);
	for (uint64_t at = 0; at < ram_pages; at += PAGE)
		mark(written + at);
}

static void setup(void)
{
	ram_pages = memory_end() / PAGE;
	arena = memory_reserve(pages * PAGE, PAGE_2M);
	written = (bool *)memory_take(ram_pages, PAGE);
	for (unsigned map = 0; map < MAPS; map++) {
		frame_of[map] = (uint32_t *)memory_take(pages * sizeof(uint32_t), PAGE);
		pte[map] = (uint64_t *)memory_take(pages * sizeof(uint64_t), PAGE);
		for (uint64_t i = 0; i < pages; i++) {
			frame_of[map][i] = rand_below(pages);
			pte[map][i] = frame_address(frame_of[map][i]) | PTE_P | (map == MAP_READ_ONLY ? 0 : PTE_W);
		}
		for (uint64_t i = 0; i < pages; i += PAGE / sizeof(uint64_t))
			*paging_entry(boot_root, WINDOW + (map * pages + i) * PAGE, 2, true) =
				(uint64_t)&pte[map][i] | PTE_P | PTE_W;
	}
	paging_map(boot_root, WINDOW_LARGE, arena, pages * PAGE, 2, PTE_P | PTE_W);
	taken_end = memory_reserve(0, PAGE);
}

/* A last write to every page, for whoever keeps a replica of this guest, and a look at them through another mapping. */
static bool rewrite(void)
{
	uint64_t page, right = 0;

	for (uint64_t at = 0; at < pages; at++)
		*(volatile uint64_t *)frame_address(at) = ~at;
	for (uint64_t at = 0; at < pages; at++) {
		uint64_t va = map_va(MAP_RANDOM, at, &page);

		right += *(volatile uint64_t *)va == ~page;
	}
	return right == pages;
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 20), writes = arg_number("writes", 200);
	uint64_t remaps = arg_number("remap", 16);
	bool full = arg_number("full", 0);

	pages = (arg_range("pages", 512, 1, PAGES_MAX) + ENTRIES - 1) & ~(ENTRIES - 1);
	if (abi_command(ABI_LOG_START) == ABI_REFUSED) {
		skip("no dirty log here");
		return;
	}
	setup();
	print("dirty: %lu pages, %lu rounds of %lu writes and %lu remaps\n", pages, rounds, writes, remaps);
	harvest(0, true, true);
	report(!deviations(), "the first harvest reports every page");
	for (uint64_t round = 1; round <= rounds; round++) {
		bool wp = rand_below(2);

		cr0_set_wp(wp);
		for (uint64_t i = 0; i < remaps; i++)
			remap_one();
		for (uint64_t i = 0; i < writes; i++)
			write_one(wp);
		cr0_set_wp(true);
		harvest(round, false, full || round == rounds);
	}
	report(!deviations(), "no page lost in %lu rounds", rounds);
	report(abi_command(ABI_LOG_STOP) != ABI_REFUSED, "the log stops");
	report(rewrite(), "every page keeps what is written after that");
	metric(METRIC_LOST, "lost pages", lost);
	metric(METRIC_FALSE, "false reports", false_reports);
	metric(METRIC_WRITE, "ticks per write", write_ticks / (rounds * writes | 1));
	metric(METRIC_HARVEST, "ticks per harvest", harvest_ticks / harvests);
}
