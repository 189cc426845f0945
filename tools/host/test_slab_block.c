/* SPDX-License-Identifier: MIT */
/* mm/slab_block.c: blocks on their way to the page allocator, pressure, and random work in all modes. */
#include "tools/host/slab_test.h"

/* H14: a block goes to the page allocator only when no reader can stand on it. */
static void empty_blocks_wait_for_readers(void **state)
{
	uint64_t before;

	(void)state;
	fill(MANY);
	before = page_free_count();
	host_thread_cpu(3);
	rcu_read_lock(RCU_WALK);
	host_thread_cpu(0);
	drain(MANY);
	assert_int_equal(slab_stats(&cache).free_objects, slab_stats(&cache).objects);
	assert_true(slab_stats(&cache).waiting_blocks > 40);
	assert_int_equal(slab_waiting(), slab_stats(&cache).waiting_blocks * 2 * PAGE_SIZE);
	assert_int_equal(slab_reap(&cache, ~0u), 0);
	assert_int_equal(slab_reap(0, ~0u), 0);
	assert_int_equal(page_free_count(), before);
	host_thread_cpu(3);
	rcu_read_unlock(RCU_WALK);
	host_thread_cpu(0);
	assert_int_equal(slab_reap(&cache, 5), 5);
	assert_true(slab_reap(0, ~0u) > 30);
	assert_int_equal(slab_stats(&cache).waiting_blocks, 0);
	/* two empty ones are kept, and the blocks of what the magazine holds */
	assert_in_range(slab_stats(&cache).blocks, 2, 4);
	assert_int_equal(slab_waiting(), 0);
	assert_true(page_free_count() > before);
}

/* H15: churn behind a reader that does not leave uses its own waiting blocks again: memory does not grow. */
static void waiting_blocks_are_revived_for_their_type(void **state)
{
	uint64_t peak = 0;

	(void)state;
	host_thread_cpu(3);
	rcu_read_lock(RCU_WALK);
	host_thread_cpu(0);
	for (unsigned round = 0; round < 50; round++) {
		fill(MANY);
		if (!round)
			peak = slab_stats(&cache).blocks;
		drain(MANY);
		assert_true(slab_stats(&cache).blocks <= peak + 1);
	}
	host_thread_cpu(3);
	rcu_read_unlock(RCU_WALK);
	host_thread_cpu(0);
}

static void remote_frees_go_home(void **state)
{
	uint64_t blocks;

	(void)state;
	fill(MANY);
	blocks = slab_stats(&cache).blocks;
	for (unsigned i = 0; i < MANY; i++)
		free_as(1 + i % 3, got[i]); /* CPUs that have never allocated here */
	assert_true(slab_stats(&cache).waiting_blocks >= blocks - 4);
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(got[i] = alloc_as(i));
	for (unsigned i = 0; i < 4; i++)
		free_as(3 - i, got[i]);
	assert_int_equal(slab_stats(&cache).free_objects, slab_stats(&cache).objects);
}

static hfn_t hoard; /* pages taken by exhaust, chained through their first word */

static void exhaust(void)
{
	hoard = HFN_NONE;
	for (int order = PAGE_MAX_ORDER; order >= 0; order--)
		for (hfn_t f; hfn_valid(f = page_alloc((unsigned)order, PAGE_ANY)); hoard = f) {
			uint64_t *word = hfn_virt(f);

			word[0] = hoard.v;
			word[1] = (uint64_t)order;
		}
}

static void relax(void)
{
	while (hfn_valid(hoard)) {
		const uint64_t *word = hfn_virt(hoard);
		hfn_t f = hoard;

		hoard = hfn(word[0]);
		page_free(f, (unsigned)word[1]);
	}
}

static void out_of_memory_is_an_answer(void **state)
{
	unsigned n = 1;
	void *object;

	(void)state;
	exhaust();
	assert_null(slab_alloc(&cache)); /* no page for this CPU's part */
	relax();
	got[0] = slab_alloc(&cache);
	exhaust();
	while ((object = slab_alloc(&cache)))
		got[n++] = object;
	assert_int_equal(n, cache.objects);
	assert_null(slab_alloc(&cache));
	slab_free(&cache, got[--n]);
	assert_ptr_equal(slab_alloc(&cache), got[n++]);
	relax();
	assert_non_null(got[n++] = slab_alloc(&cache));
	drain(n);
}

/* Under pressure a CPU takes from the blocks of others, and every cache gives its empty blocks up. */
static void pressure_finds_what_others_keep(void **state)
{
	unsigned n = 0;
	void *object;

	(void)state;
	free_as(1, alloc_as(1)); /* CPU 1 keeps a block; half a magazine of it is out of reach */
	slab_init(&other, "other", 1, SIZE, SIDE, PAGE_ANY, 0);
	for (unsigned i = 0; i < 1000; i++)
		got[i] = slab_alloc(&other);
	for (unsigned i = 0; i < 1000; i++)
		slab_free(&other, got[i]);
	slab_reap(0, ~0u);
	free_as(0, alloc_as(0));
	exhaust();
	assert_true(slab_stats(&other).blocks >= 2);
	while ((object = slab_alloc(&cache)))
		got[n++] = object;
	assert_int_equal(slab_stats(&other).blocks, 0);
	assert_true(n >= 4 * cache.objects - cache.magazine);
	relax();
	drain(n);
	slab_destroy(&other);
}

/* H20, from this side: all of the cache's pages are back, wherever its objects were left. */
static void destroy_collects_from_every_cpu(void **state)
{
	(void)state;
	slab_destroy(&cache);
	for (unsigned mode = SLAB_NORMAL; mode <= SLAB_POISON; mode++) {
		make((enum slab_mode)mode);
		for (unsigned i = 0; i < MANY; i++)
			got[i] = alloc_as(i % 4);
		for (unsigned i = 0; i < MANY; i++)
			free_as((i * 7) % 4, got[i]);
		if (mode != SLAB_POISON) {
			slab_destroy(&cache);
			assert_int_equal(page_free_count(), page_total());
			assert_int_equal(slab_waiting(), 0);
		}
	}
}

/* Random allocations and frees by four CPUs: no object is out twice, each comes in constructed state. */
static void random_operations(enum slab_mode mode)
{
	uint64_t random = 0x9e3779b97f4a7c15UL;
	unsigned n = 0, peak = 0;

	slab_destroy(&cache);
	make(mode);
	for (unsigned step = 0; step < 40000; step++) {
		uint64_t x = host_random(&random);
		bool growing = step / 5000 % 2 == 0;

		if (n < MANY && x % 8 < (growing ? 6u : 2u)) {
			uint64_t *object = alloc_as(x >> 8 & 3);

			assert_non_null(object);
			assert_true(constructed(object));
			object[0] = (uint64_t)object;
			got[n++] = object;
		} else if (n) {
			unsigned i = (x >> 16) % n;
			uint64_t *object = got[i];

			assert_int_equal(object[0], (uint64_t)object);
			object[0] = 0;
			free_as(x >> 8 & 3, object);
			got[i] = got[--n];
		}
		peak = n > peak ? n : peak;
		if (x >> 40 & 1)
			slab_reap(&cache, 1);
		assert_int_equal(slab_stats(&cache).objects - slab_stats(&cache).free_objects, n);
	}
	assert_true(peak > 1000);
	while (n--) {
		((uint64_t *)got[n])[0] = 0;
		slab_free(&cache, got[n]);
	}
}

static void random_operations_normal(void **state)
{
	(void)state;
	random_operations(SLAB_NORMAL);
}

static void random_operations_lifo(void **state)
{
	(void)state;
	random_operations(SLAB_LIFO);
}

static void random_operations_poison(void **state)
{
	(void)state;
	random_operations(SLAB_POISON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_blocks_wait_for_readers),
		TEST(waiting_blocks_are_revived_for_their_type),
		TEST(remote_frees_go_home),
		TEST(out_of_memory_is_an_answer),
		TEST(pressure_finds_what_others_keep),
		TEST(destroy_collects_from_every_cpu),
		TEST(random_operations_normal),
		TEST(random_operations_lifo),
		TEST(random_operations_poison),
	};

	return cmocka_run_group_tests_name("slab blocks", tests, 0, 0);
}
