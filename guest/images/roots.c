/* SPDX-License-Identifier: MIT */
/* roots: many address spaces, changed by CR3: each must show its own memory, whatever was loaded before.
 *
 *   roots=400            address spaces; each takes a shadow page of the hypervisor's as long as it has one to spare
 *   shared=8             trees of tables that they share (1...64); space r has tree r % shared
 *   moves=6000 seed=1    loads of CR3, and of the random numbers
 *
 * A load goes to the next space, back to the last one, or anywhere; then a page is read that tells the tree, a page is
 * written and read through the same tree of another space. At times a space gets another tree, and at times a root is
 * given back, its frame written as data, and a new root made in it.
 *
 * Metric: 1 TSC ticks per load with its accesses.
 */
#include "guest/images/lib.h"

#define METRIC_TICKS 1
#define WINDOW (1UL << 39)
#define ROOTS_MAX 16384
#define TREES_MAX 64
#define TREE_PAGES 8u
#define WINDOW_SLOT (WINDOW >> 39)

static unsigned roots, trees, now;
static uint64_t first_root;
static uint8_t *tree_of;
static uint64_t link[TREES_MAX], right[TREES_MAX][TREE_PAGES];
static uint64_t remade, relinked;

static uint64_t *root_at(unsigned i) { return (uint64_t *)(first_root + i * PAGE); }

static void root_make(unsigned i, unsigned tree)
{
	uint64_t *root = memset(root_at(i), 0, PAGE);

	root[0] = boot_root[0];
	root[WINDOW_SLOT] = link[tree];
	tree_of[i] = (uint8_t)tree;
}

static void load(unsigned i)
{
	now = i;
	paging_load(root_at(i));
}

static volatile uint64_t *page_at(unsigned page) { return (volatile uint64_t *)(WINDOW + page * PAGE); }

/* Reads a page, writes one: no INVLPG, no load in between. */
static void check_here(void)
{
	unsigned tree = tree_of[now], page = rand_below(TREE_PAGES), other = rand_below(TREE_PAGES);
	uint64_t seen = *page_at(page);

	if (seen != right[tree][page])
		deviation("space %u, tree %u, page %u: %lx, not %lx", now, tree, page, seen, right[tree][page]);
	right[tree][other] = *page_at(other) = rand64();
}

/* A root that is not loaded: another tree, or a new root in the same frame after it was data. */
static void change(void)
{
	unsigned i = rand_below(roots), tree = rand_below(trees);

	if (i == now)
		return;
	if (chance(50)) {
		root_at(i)[WINDOW_SLOT] = link[tree];
		tree_of[i] = (uint8_t)tree;
		relinked++;
	} else {
		for (unsigned at = 0; at < PAGE / 8; at += 32)
			((volatile uint64_t *)root_at(i))[at] = rand64();
		root_make(i, tree);
		remade++;
	}
}

static void setup(void)
{
	roots = (unsigned)arg_range("roots", 400, 2, ROOTS_MAX);
	trees = (unsigned)arg_range("shared", 8, 1, TREES_MAX);
	for (unsigned tree = 0; tree < trees; tree++) {
		uint64_t *scratch = paging_new(), frames = memory_take(TREE_PAGES * PAGE, PAGE);

		paging_map(scratch, WINDOW, frames, TREE_PAGES * PAGE, 1, PTE_P | PTE_W);
		link[tree] = scratch[WINDOW_SLOT];
		for (unsigned page = 0; page < TREE_PAGES; page++)
			right[tree][page] = *(uint64_t *)(frames + page * PAGE) = rand64();
	}
	tree_of = (uint8_t *)memory_take(roots, PAGE);
	first_root = memory_take(roots * PAGE, PAGE);
	for (unsigned i = 0; i < roots; i++)
		root_make(i, i % trees);
}

void image_main(void)
{
	uint64_t moves = arg_number("moves", 6000), start;
	uint32_t audit;

	setup();
	print("roots: %u address spaces, %u trees, %lu loads\n", roots, trees, moves);
	for (unsigned i = 0; i < roots; i++) {
		load(i);
		check_here();
	}
	report(!deviations(), "each loaded once");
	start = rdtsc();
	for (uint64_t i = 0, last = now; i < moves; i++) {
		unsigned dice = rand_below(4), from = now;

		load(dice == 0 ? (unsigned)last : dice == 1 ? (now + 1) % roots : rand_below(roots));
		last = from;
		check_here();
		disturb();
		if (chance(5))
			change();
	}
	metric(METRIC_TICKS, "ticks per load", (rdtsc() - start) / (moves | 1));
	audit = abi_command(ABI_MMU_AUDIT);
	if (audit && audit != ABI_REFUSED)
		deviation("the machine's audit finds %u violations", audit);
	report(!deviations(), "%lu loads, %lu roots made anew, %lu with another tree", moves, remade, relinked);
}
