/* SPDX-License-Identifier: MIT */
/* mm/page.c: the buddy, its zones, parts of blocks, and what it catches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mm/page.h"
#include "tools/host/native.h"

#define LOW_FRAMES (NATIVE_HIGH_START / PAGE_SIZE)

static int setup(void **state)
{
	(void)state;
	host_native_init(2);
	return 0;
}

static void blocks_are_aligned_ram_and_counted(void **state)
{
	(void)state;
	for (unsigned order = 0; order <= 14; order++) {
		uint64_t before = page_free_count();
		hfn_t f = page_alloc(order, PAGE_ANY);

		assert_true(hfn_valid(f));
		assert_int_equal(f.v & ((1UL << order) - 1), 0);
		for (uint64_t i = 0; i < 1UL << order; i++)
			assert_non_null(page_frame(hfn(f.v + i)));
		assert_int_equal(page_free_count(), before - (1UL << order));
		page_free(f, order);
		assert_int_equal(page_free_count(), before);
	}
}

static void any_prefers_high_memory_and_low_is_low(void **state)
{
	(void)state;
	assert_true(page_alloc(0, PAGE_ANY).v >= LOW_FRAMES);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(page_alloc(0, PAGE_LOW).v < LOW_FRAMES);
}

/* Every frame is handed out exactly once, high ones first, and all of them merge again. */
static void exhaustion_gives_every_frame_once(void **state)
{
	uint64_t total = page_total(), got = 0, last_high = 0, first_low = 0;
	hfn_t *f = calloc(total, sizeof *f);
	uint8_t *seen = calloc(1, (NATIVE_HIGH_START + NATIVE_HIGH_BYTES) / PAGE_SIZE);

	(void)state;
	assert_int_equal(page_free_count(), total);
	for (; hfn_valid(f[got] = page_alloc(0, PAGE_ANY)); got++) {
		assert_int_equal(seen[f[got].v]++, 0);
		if (f[got].v >= LOW_FRAMES)
			last_high = got;
		else if (!first_low)
			first_low = got;
		if (got + 1 == total)
			break;
	}
	assert_int_equal(got + 1, total);
	assert_true(last_high < first_low);
	assert_int_equal(page_free_count(), 0);
	assert_false(hfn_valid(page_alloc(0, PAGE_ANY)));
	assert_false(hfn_valid(page_alloc(0, PAGE_LOW)));
	for (uint64_t i = 0; i < total; i++)
		page_free(f[(i * 7919) % total], 0);
	assert_int_equal(page_free_count(), total);
	/* the largest aligned pieces of the arena exist only if everything merged */
	for (unsigned i = 0; i < 2; i++)
		assert_true(hfn_valid(page_alloc(16, PAGE_LOW)));
	free(seen);
	free(f);
}

static void parts_are_freed_alone_and_merge(void **state)
{
	uint64_t before = page_free_count();
	hfn_t f = page_alloc(9, PAGE_LOW);
	hfn_t again;

	(void)state;
	page_free(hfn(f.v + 256), 8);
	page_free(hfn(f.v + 3), 0);
	assert_int_equal(page_free_count(), before - 512 + 257);
	for (unsigned i = 0; i < 256; i++)
		if (i != 3)
			page_free(hfn(f.v + i), 0);
	assert_int_equal(page_free_count(), before);
	again = page_alloc(9, PAGE_LOW);
	assert_int_equal(again.v, f.v);
	/* the other way round: split by hand, then given back whole */
	page_free(hfn(again.v + 511), 0);
	assert_true(hfn_valid(page_alloc(0, PAGE_LOW)));
	assert_int_equal(page_free_count(), before - 512);
	page_free(again, 9);
	assert_int_equal(page_free_count(), before);
}

static void arrays_are_zeroed_and_their_tail_given_back(void **state)
{
	uint64_t before = page_free_count();
	hfn_t dirty = page_alloc(8, PAGE_ANY);
	unsigned char *a;

	(void)state;
	memset(hfn_virt(dirty), 0xff, 256 * PAGE_SIZE);
	page_free(dirty, 8);
	a = page_alloc_array(129 * PAGE_SIZE + 1);
	assert_non_null(a);
	assert_int_equal(page_free_count(), before - 130);
	for (uint64_t i = 0; i <= 129 * PAGE_SIZE; i++)
		assert_int_equal(a[i], 0);
	page_free_array(a, 129 * PAGE_SIZE + 1);
	assert_int_equal(page_free_count(), before);
}

static void array_sizes_at_the_edges(void **state)
{
	static const uint64_t sizes[] = {0, 1, 4095, 4096, 4097, 3 * 4096, 7 * 4096 - 1, 1 << 20, (1 << 20) + 5};
	uint64_t before = page_free_count();

	(void)state;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint64_t pages = sizes[i] ? (sizes[i] + 4095) / 4096 : 1;
		void *a = page_alloc_array(sizes[i]);

		assert_non_null(a);
		assert_int_equal(page_free_count(), before - pages);
		page_free_array(a, sizes[i]);
		assert_int_equal(page_free_count(), before);
	}
	assert_null(page_alloc_array((1UL << 30) + 1));
	assert_null(page_alloc_array(~0UL));
	assert_null(page_alloc_array(1UL << 30)); /* no such piece here */
	assert_int_equal(page_free_count(), before);
}

static void frames_outside_ram_have_no_entry(void **state)
{
	(void)state;
	assert_null(page_frame(hfn(0)));
	assert_null(page_frame(hfn((640UL << 10) / PAGE_SIZE)));
	assert_null(page_frame(hfn((768UL << 20) / PAGE_SIZE)));
	assert_null(page_frame(hfn((770UL << 20) / PAGE_SIZE)));
	assert_non_null(page_frame(hfn((770UL << 20) / PAGE_SIZE + 1)));
	assert_null(page_frame(hfn((1UL << 30) / PAGE_SIZE)));
	assert_non_null(page_frame(hfn((NATIVE_HIGH_START + NATIVE_HIGH_BYTES) / PAGE_SIZE - 1)));
	assert_null(page_frame(hfn((NATIVE_HIGH_START + NATIVE_HIGH_BYTES) / PAGE_SIZE)));
	assert_null(page_frame(HFN_NONE));
}

struct give { hfn_t f; unsigned order; };

static void give_back(void *arg)
{
	struct give *g = arg;

	page_free(g->f, g->order);
}

static void what_is_not_allocated_is_not_freed(void **state)
{
	hfn_t f = page_alloc(4, PAGE_LOW);
	struct give twice = {f, 4}, half = {hfn(f.v + 8), 3}, inside = {hfn(f.v + 5), 0};
	struct give hole = {hfn((640UL << 10) / PAGE_SIZE), 0}, crooked = {hfn(f.v + 1), 1};

	(void)state;
	page_free(hfn(f.v + 8), 3);
	assert_true(host_panics(give_back, &half, "is not allocated"));
	/* the first half is still there, the second is not: found after the first was given back */
	assert_true(host_panics(give_back, &twice, "is not allocated"));
	page_free(f, 3);
	assert_true(host_panics(give_back, &twice, "is not allocated"));
	assert_true(host_panics(give_back, &inside, "is not allocated"));
	assert_true(host_panics(give_back, &hole, "is not allocated"));
	assert_true(host_panics(give_back, &crooked, "CHECK"));
}

static void start_with(void *arg)
{
	const struct page_range *r = arg;
	unsigned n = 0;

	while (r[n].bytes)
		n++;
	page_init(r, n);
}

static void init_refuses_bad_ranges(void **state)
{
	struct page_range overlap[] = {{1 << 20, 4 << 20}, {4 << 20, 4 << 20}, {0, 0}};
	struct page_range small[] = {{1 << 20, 4095}, {0, 0}};
	struct page_range no_room[] = {{1 << 20, PAGE_SIZE}, {900UL << 20, PAGE_SIZE}, {0, 0}};

	(void)state;
	assert_true(host_panics(start_with, overlap, "overlap"));
	assert_true(host_panics(start_with, small, "no range of RAM has room"));
	assert_true(host_panics(start_with, no_room, "no range of RAM has room"));
}

/* 2 MiB low, and some so far away that a table up to there would not fit. */
static void memory_too_far_away_is_left_out(void **state)
{
	struct page_range r[] = {{4UL << 20, 2UL << 20}, {700UL << 20, 1UL << 20}, {900UL << 20, 2 * PAGE_SIZE}};

	(void)state;
	page_init(r, 3);
	assert_true(page_total() > 0 && page_total() < 512);
	assert_null(page_frame(hfn(700UL << 8)));
	assert_non_null(page_frame(hfn(4UL << 8)));
}

static void init_rounds_inwards_and_leaves_frame_0(void **state)
{
	struct page_range r[] = {{0, 3 * PAGE_SIZE + 5}, {(1 << 20) + 1, 64 * PAGE_SIZE}, {0, 0}};
	uint64_t low = 2; /* frames 1 and 2 */
	uint64_t middle = 63, table = ((256 + 64) * sizeof(struct frame) + PAGE_SIZE - 1) / PAGE_SIZE;

	(void)state;
	page_init(r, 2);
	assert_int_equal(page_total(), low + middle - table);
	assert_null(page_frame(hfn(0)));
	assert_null(page_frame(hfn(3)));
	assert_null(page_frame(hfn(256)));
	assert_non_null(page_frame(hfn(257)));
	for (uint64_t i = page_total(); i > 0; i--)
		assert_true(hfn_valid(page_alloc(0, PAGE_ANY)));
	assert_false(hfn_valid(page_alloc(0, PAGE_ANY)));
}

#define MODEL_BLOCKS 512

/* Random allocations and frees, of parts too, against a byte per frame. */
static void random_operations_match_a_plain_model(void **state)
{
	static uint8_t used[(NATIVE_HIGH_START + NATIVE_HIGH_BYTES) / PAGE_SIZE];
	struct give block[MODEL_BLOCKS];
	uint64_t random = 88172645463325252UL, in_use = 0;
	unsigned n = 0;

	(void)state;
	for (unsigned step = 0; step < 60000; step++) {
		uint64_t x = host_random(&random);

		if (n < MODEL_BLOCKS && (x & 1)) {
			unsigned order = (x >> 8) % 9;
			hfn_t f = page_alloc(order, x & 2 ? PAGE_LOW : PAGE_ANY);

			assert_true(hfn_valid(f));
			for (uint64_t i = 0; i < 1UL << order; i++)
				assert_int_equal(used[f.v + i]++, 0);
			in_use += 1UL << order;
			block[n++] = (struct give){f, order};
		} else if (n) {
			unsigned i = (x >> 16) % n;
			struct give *g = &block[i];

			if ((x & 4) && g->order) { /* the upper half alone */
				g->order--;
				page_free(hfn(g->f.v + (1UL << g->order)), g->order);
				memset(&used[g->f.v + (1UL << g->order)], 0, 1UL << g->order);
				in_use -= 1UL << g->order;
				continue;
			}
			page_free(g->f, g->order);
			memset(&used[g->f.v], 0, 1UL << g->order);
			in_use -= 1UL << g->order;
			*g = block[--n];
		}
		assert_int_equal(page_free_count(), page_total() - in_use);
	}
	while (n--)
		page_free(block[n].f, block[n].order);
	assert_int_equal(page_free_count(), page_total());
	for (unsigned i = 0; i < 2; i++)
		assert_true(hfn_valid(page_alloc(16, PAGE_LOW)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(blocks_are_aligned_ram_and_counted, setup),
		cmocka_unit_test_setup(any_prefers_high_memory_and_low_is_low, setup),
		cmocka_unit_test_setup(exhaustion_gives_every_frame_once, setup),
		cmocka_unit_test_setup(parts_are_freed_alone_and_merge, setup),
		cmocka_unit_test_setup(arrays_are_zeroed_and_their_tail_given_back, setup),
		cmocka_unit_test_setup(array_sizes_at_the_edges, setup),
		cmocka_unit_test_setup(frames_outside_ram_have_no_entry, setup),
		cmocka_unit_test_setup(what_is_not_allocated_is_not_freed, setup),
		cmocka_unit_test_setup(init_refuses_bad_ranges, setup),
		cmocka_unit_test_setup(memory_too_far_away_is_left_out, setup),
		cmocka_unit_test_setup(init_rounds_inwards_and_leaves_frame_0, setup),
		cmocka_unit_test_setup(random_operations_match_a_plain_model, setup),
	};

	return cmocka_run_group_tests_name("page", tests, 0, 0);
}
