/* SPDX-License-Identifier: MIT */
/* alias: thousands of mappings of one frame. What is written through each must be read through others; then they are
 * taken down in random order, and an access through one that is gone must fault while the others go on.
 *
 *   pages=4096           mappings, 1 to 131072; rounded up to a multiple of 512
 *   rounds=2             odd rounds reach the frame through one page table that all directory entries share
 *   seed=1               of the random order
 *
 * Metrics: TSC ticks per mapping: 1 first write, 2 taking down and checking.
 */
#include "guest/images/lib.h"

enum metric_id { METRIC_WRITE = 1, METRIC_TEAR_DOWN = 2 };

#define WINDOW PAGE_1G
#define ENTRIES 512UL
#define PAGES_MAX 131072
#define STRIDE 7919 /* a prime: the mapping read is far from the one written */

static uint64_t pages, *table; /* one table for each 512 pages, in a row */
static volatile uint64_t *frame;
static uint32_t *order;

static uint64_t page_va(uint64_t page) { return WINDOW + page * PAGE; }

/* A random order of 0 ... count-1. */
static void shuffle(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t other = rand_below(i + 1);

		order[i] = order[other];
		order[other] = (uint32_t)i;
	}
}

static void map_all(bool shared)
{
	for (uint64_t i = 0; i < (shared ? ENTRIES : pages); i++)
		table[i] = (uint64_t)frame | PTE_P | PTE_W;
	for (uint64_t page = 0; page < pages; page += ENTRIES)
		*paging_entry(boot_root, page_va(page), 2, true) =
			(uint64_t)(shared ? table : table + page) | PTE_P | PTE_W;
	paging_load(boot_root);
}

static uint64_t write_all(void)
{
	uint64_t start = rdtsc();

	for (uint64_t page = 0; page < pages; page++) {
		uint64_t other = page * STRIDE % (page + 1), value = rand64(), seen;

		*(volatile uint64_t *)page_va(page) = value;
		seen = *(volatile uint64_t *)page_va(other);
		if (seen != value || *frame != value)
			deviation("written through %lu: %lx; read through %lu: %lx, directly: %lx", page, value, other,
				seen, *frame);
	}
	return (rdtsc() - start) / pages;
}

static void check_gone(uint64_t page)
{
	enum access access = rand_below(2) ? ACCESS_WRITE : ACCESS_READ;
	uint32_t error = access == ACCESS_WRITE ? PF_W : 0;
	struct fault fault;

	access_try(&fault, access, page_va(page), 0);
	if (fault.vector != VECTOR_PF || fault.error != error || fault.cr2 != page_va(page))
		deviation("through %lu, which is gone: %s %x at %lx, not #PF %x", page, vector_name(fault.vector),
			fault.error, fault.cr2, error);
}

/* Takes the table entries down one by one, each of them with all the pages that it maps. */
static uint64_t tear_down(bool shared)
{
	uint64_t start = rdtsc(), count = shared ? ENTRIES : pages, value = *frame;

	shuffle(count);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t last = order[count - 1];

		table[order[i]] = 0;
		for (uint64_t page = order[i]; page < pages; page += count)
			invlpg(page_va(page));
		for (uint64_t page = order[i]; page < pages; page += count)
			check_gone(page);
		if (i < count - 1 && *(volatile uint64_t *)page_va(last) != value)
			deviation("through %lu: %lx, not %lx", last, *(volatile uint64_t *)page_va(last), value);
	}
	if (*frame != value)
		deviation("the frame: %lx, not %lx", *frame, value);
	return (rdtsc() - start) / pages;
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 2);

	pages = (arg_range("pages", 4096, 1, PAGES_MAX) + ENTRIES - 1) & ~(ENTRIES - 1);
	table = (uint64_t *)memory_take(pages * sizeof(*table), PAGE);
	order = (uint32_t *)memory_take(pages * sizeof(*order), PAGE);
	frame = (volatile uint64_t *)memory_take(PAGE, PAGE);
	print("alias: %lu mappings of one frame, %lu rounds\n", pages, rounds);
	for (uint64_t round = 0; round < rounds; round++) {
		bool shared = round & 1;

		map_all(shared);
		metric(METRIC_WRITE, "ticks per first write", write_all());
		report(!deviations(), "round %lu: written through each%s", round, shared ? ", one shared table" : "");
		metric(METRIC_TEAR_DOWN, "ticks per mapping taken down", tear_down(shared));
		report(!deviations(), "round %lu: taken down", round);
	}
}
