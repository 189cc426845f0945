/* SPDX-License-Identifier: MIT */
/* bench: what the operations of a memory-management unit cost, as the rows of the cost table: TSC ticks per operation,
 * measured here inside the guest. 8192 4 KiB pages at 1 GiB virtual lie on 16 to 48 MiB physical: mem=64M at least.
 *
 *   seed=1               of the random writes of row 13
 *
 * Metrics: the row's number and its figure (its rounded ticks; for row 13 a count). The rows of the dirty log print
 * SKIP where there is none. A row's loop says exactly what it measures.
 */
#include "guest/images/lib.h"

enum row {
	ROW_FIRST_WRITE = 1,
	ROW_CPUID = 2,
	ROW_LOG_START = 3,
	ROW_WRITE_AFTER_HARVEST = 4,
	ROW_HARVEST = 5,
	ROW_REMAP = 6,
	ROW_CR3 = 7,
	ROW_PROTECT = 8,
	ROW_UNPROTECT = 9,
	ROW_ALIAS_WRITE = 10,
	ROW_ALIAS_HARVEST = 11,
	ROW_ALIAS_UNMAP = 12,
	ROW_FALSE_DIRTY = 13,
};

#define WINDOW PAGE_1G
#define PAGES 8192UL
#define AREA 0x1000000UL
#define ENTRIES 512
#define CPUIDS 1000
#define CR3_WRITES 16
#define ALIASED_FRAMES (PAGES / 4)
#define ALIASED_ROUNDS 20
#define ALIASED_WRITES 1024

static uint64_t *pte; /* of all pages, in a row */
static uint64_t *root2, area;

static volatile uint64_t *page(uint64_t i) { return (volatile uint64_t *)(WINDOW + i % PAGES * PAGE); }

static uint64_t frame(uint64_t i) { return area + i % PAGES * PAGE; }

static void row(enum row row, const char *name, uint64_t ticks, uint64_t operations)
{
	print("row %u, ", row);
	metric(row, name, (ticks + operations / 2) / operations);
}

static uint64_t time_writes(void)
{
	uint64_t start = rdtsc();

	for (uint64_t i = 0; i < PAGES; i++)
		*page(i) = i;
	return rdtsc() - start;
}

static uint64_t time_command(enum abi_command command)
{
	uint64_t start = rdtsc();

	abi_command(command);
	return rdtsc() - start;
}

static void bench_basic(void)
{
	uint64_t start;

	row(ROW_FIRST_WRITE, "first write to a page", time_writes(), PAGES);
	start = rdtsc();
	for (unsigned i = 0; i < CPUIDS; i++)
		cpuid(0, 0);
	row(ROW_CPUID, "CPUID", rdtsc() - start, CPUIDS);
}

/* The pages have been written and their A and D bits are set. */
static void bench_log(void)
{
	uint64_t start = rdtsc();

	if (abi_command(ABI_LOG_START) == ABI_REFUSED) {
		skip("rows 3, 4, 5: no dirty log here");
		return;
	}
	row(ROW_LOG_START, "log start, per page", rdtsc() - start, PAGES);
	abi_command(ABI_LOG_HARVEST);
	row(ROW_WRITE_AFTER_HARVEST, "write after a harvest", time_writes(), PAGES);
	row(ROW_HARVEST, "harvest, per page", time_command(ABI_LOG_HARVEST), PAGES);
	abi_command(ABI_LOG_STOP);
}

static uint64_t remap_pass(uint64_t shift)
{
	uint64_t start = rdtsc();

	for (uint64_t i = 0; i < PAGES; i++) {
		pte[i] = 0;
		invlpg((uint64_t)page(i));
		pte[i] = frame(i + shift) | PTE_P | PTE_W;
		invlpg((uint64_t)page(i));
		*page(i) = i;
	}
	return rdtsc() - start;
}

static uint64_t cr3_pass(void)
{
	uint64_t start = rdtsc();

	for (uint64_t i = 0; i < PAGES; i += CR3_WRITES) {
		paging_load(i & CR3_WRITES ? root2 : boot_root);
		for (uint64_t j = 0; j < CR3_WRITES; j++)
			*page(i + j) = i;
	}
	return rdtsc() - start;
}

static void bench_tables(void)
{
	uint64_t start;

	remap_pass(1);
	row(ROW_REMAP, "unmap, map another frame, write", remap_pass(2), PAGES);

	cr3_pass();
	row(ROW_CR3, "CR3 load and 16 writes", cr3_pass(), PAGES / CR3_WRITES);
	paging_load(boot_root);

	start = rdtsc();
	for (uint64_t i = 0; i < PAGES; i++)
		pte[i] &= ~PTE_W;
	paging_load(boot_root);
	row(ROW_PROTECT, "write-protect a page of many", rdtsc() - start, PAGES);

	start = rdtsc();
	for (uint64_t i = 0; i < PAGES; i++) {
		pte[i] |= PTE_W;
		invlpg((uint64_t)page(i));
		*page(i) = i;
	}
	row(ROW_UNPROTECT, "make writable again, write", rdtsc() - start, PAGES);
}

static void bench_alias(void)
{
	uint64_t start;

	for (uint64_t i = 0; i < PAGES; i++)
		pte[i] = frame(0) | PTE_P | PTE_W;
	paging_load(boot_root);
	row(ROW_ALIAS_WRITE, "first write through an alias", time_writes(), PAGES);

	if (abi_command(ABI_LOG_START) == ABI_REFUSED) {
		skip("row 11: no dirty log here");
	} else {
		abi_command(ABI_LOG_HARVEST);
		time_writes();
		row(ROW_ALIAS_HARVEST, "harvest of one frame with 8192 aliases", time_command(ABI_LOG_HARVEST), 1);
		abi_command(ABI_LOG_STOP);
	}

	start = rdtsc();
	for (uint64_t i = 0; i < PAGES; i++) {
		pte[i] = 0;
		invlpg((uint64_t)page(i));
	}
	row(ROW_ALIAS_UNMAP, "unmap an alias", rdtsc() - start, PAGES);
}

/* Each of 2048 frames has four aliases, at random; a report of a frame that no alias wrote is false. */
static void bench_false_dirty(void)
{
	bool *written = (bool *)memory_take(ALIASED_FRAMES, PAGE);
	uint16_t *frame_of = (uint16_t *)memory_take(PAGES * sizeof(*frame_of), PAGE);
	uint64_t count = 0;

	if (abi_command(ABI_LOG_START) == ABI_REFUSED) {
		skip("row 13: no dirty log here");
		return;
	}
	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t other = rand_below(i + 1);

		frame_of[i] = frame_of[other];
		frame_of[other] = (uint16_t)(i % ALIASED_FRAMES);
	}
	for (uint64_t i = 0; i < PAGES; i++)
		pte[i] = frame(frame_of[i]) | PTE_P | PTE_W;
	paging_load(boot_root);
	abi_command(ABI_LOG_HARVEST);
	for (uint64_t round = 0; round < ALIASED_ROUNDS; round++) {
		for (unsigned i = 0; i < ALIASED_WRITES; i++) {
			uint64_t at = rand_below(PAGES);

			*page(at) = rand64();
			written[frame_of[at]] = true;
		}
		abi_command(ABI_LOG_HARVEST);
		for (uint64_t i = 0; i < ALIASED_FRAMES; i++) {
			bool dirty = abi_dirty((uint32_t)(frame(i) / PAGE)) == 1;

			if (written[i] && !dirty)
				deviation("round %lu: gfn %lx is lost", round, frame(i) / PAGE);
			count += dirty && !written[i];
		}
		memset(written, 0, ALIASED_FRAMES);
	}
	row(ROW_FALSE_DIRTY, "false dirty reports", count, 1);
	report(!deviations(), "no dirty page lost");
	abi_command(ABI_LOG_STOP);
}

void image_main(void)
{
	area = memory_reserve(PAGES * PAGE, AREA);
	pte = (uint64_t *)memory_take(PAGES * sizeof(*pte), PAGE);
	root2 = paging_new();
	for (uint64_t i = 0; i < PAGES; i++)
		pte[i] = frame(i) | PTE_P | PTE_W;
	for (uint64_t i = 0; i < PAGES; i += ENTRIES)
		*paging_entry(boot_root, (uint64_t)page(i), 2, true) = (uint64_t)&pte[i] | PTE_P | PTE_W;
	if (!report(area == AREA, "the pages start at 16 MiB"))
		return;
	bench_basic();
	bench_log();
	bench_tables();
	bench_alias();
	bench_false_dirty();
}
