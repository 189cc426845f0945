/* SPDX-License-Identifier: MIT */
/* mm/slab.c, step by step: one thread acts as several CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mm/rcu.h"
#include "mm/slab.h"
#include "tools/host/native.h"

#define SIZE 64
#define SIDE 32
#define MARK 0x1122334455667788UL /* word 7 of an object in constructed state */
#define MANY 4096

static struct slab_cache cache, other;
static void *got[MANY];

static void construct(void *object)
{
	((uint64_t *)object)[7] = MARK;
}

static void make(enum slab_mode mode)
{
	host_native_init(4);
	slab_set_mode(mode);
	slab_init(&cache, "test", 1, SIZE, SIDE, PAGE_ANY, construct);
}

static int setup(void **state)
{
	(void)state;
	make(SLAB_NORMAL);
	return 0;
}

static int setup_lifo(void **state)
{
	(void)state;
	make(SLAB_LIFO);
	return 0;
}

static int setup_poison(void **state)
{
	(void)state;
	make(SLAB_POISON);
	return 0;
}

/* Every test ends with all its pages given back. */
static int teardown(void **state)
{
	(void)state;
	host_thread_cpu(0);
	slab_destroy(&cache);
	return page_free_count() == page_total() ? 0 : -1;
}

static void *alloc_as(unsigned cpu)
{
	void *object;

	host_thread_cpu(cpu);
	object = slab_alloc(&cache);
	host_thread_cpu(0);
	return object;
}

static void free_as(unsigned cpu, void *object)
{
	host_thread_cpu(cpu);
	slab_free(&cache, object);
	host_thread_cpu(0);
}

static bool constructed(const void *object)
{
	const uint64_t *word = object;

	return !(word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6]) && word[7] == MARK;
}

static void objects_are_constructed_aligned_and_apart(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		got[i] = slab_alloc(&cache);
		assert_non_null(got[i]);
		assert_int_equal((uintptr_t)got[i] % SIZE, 0);
		assert_true(constructed(got[i]));
		((uint64_t *)got[i])[0] = i + 1;
		memset(slab_side(&cache, got[i]), (int)i, SIDE);
	}
	for (unsigned i = 0; i < 1000; i++) {
		const unsigned char *side = slab_side(&cache, got[i]);

		assert_int_equal(((uint64_t *)got[i])[0], i + 1);
		for (unsigned j = 0; j < SIDE; j++)
			assert_int_equal(side[j], (unsigned char)i);
		assert_ptr_equal(slab_of(got[i], 1), &cache);
		((uint64_t *)got[i])[0] = 0;
		slab_free(&cache, got[i]);
	}
}

/* Objects, side data and header share a block without touching, in the two shapes that matter and at the limits. */
static void blocks_are_laid_out_within_bounds(void **state)
{
	static const struct { unsigned order; uint32_t object, side; } shape[] = {
		{1, 64, 32}, {5, 8192, 160}, {0, 8, 8}, {0, 2048, 0}, {3, 64, 0}, {0, 16, 1000},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof shape / sizeof *shape; i++) {
		uint64_t bytes = PAGE_SIZE << shape[i].order;

		slab_init(&other, "shape", shape[i].order, shape[i].object, shape[i].side, PAGE_LOW, 0);
		assert_true(other.objects > 0);
		assert_int_equal(other.first + (uint64_t)other.objects * shape[i].object, bytes);
		assert_true(other.side + (uint64_t)other.objects * shape[i].side <= other.first);
		assert_true(other.side >= 48 + 2 * other.objects);
		slab_destroy(&other);
	}
	slab_init(&other, "tables", 5, 8192, 160, PAGE_LOW, 0);
	assert_int_equal(other.objects, 15);
	slab_destroy(&other);
}

static void a_cpu_gets_back_what_it_freed_last(void **state)
{
	void *a = slab_alloc(&cache), *b = slab_alloc(&cache);

	(void)state;
	slab_free(&cache, a);
	slab_free(&cache, b);
	assert_ptr_equal(slab_alloc(&cache), b);
	assert_ptr_equal(slab_alloc(&cache), a);
	slab_free(&cache, a);
	slab_free(&cache, b);
	assert_true(slab_stats(&cache).reused >= 2);
}

/* H19: in LIFO mode the next CPU that asks gets it, whoever freed it. */
static void lifo_mode_reuses_across_cpus_at_once(void **state)
{
	void *a = alloc_as(0), *b = alloc_as(1);

	(void)state;
	free_as(2, b);
	assert_ptr_equal(alloc_as(3), b);
	free_as(1, a);
	free_as(0, b);
	assert_ptr_equal(alloc_as(2), b);
	free_as(2, b);
}

/* H18: neither freeing nor allocating writes into the object: a stale reader finds what was there. */
static void a_free_object_is_not_written(void **state)
{
	static unsigned char before[SIZE];
	enum slab_mode modes[] = {SLAB_NORMAL, SLAB_LIFO, SLAB_POISON};

	(void)state;
	slab_destroy(&cache);
	for (unsigned m = 0; m < 3; m++) {
		make(modes[m]);
		for (unsigned i = 0; i < 200; i++)
			got[i] = slab_alloc(&cache);
		memcpy(before, got[0], SIZE);
		host_thread_cpu(1);
		rcu_read_lock(RCU_WALK);
		host_thread_cpu(0);
		for (unsigned i = 0; i < 200; i++)
			slab_free(&cache, got[i]);
		for (unsigned i = 0; i < 200; i++)
			assert_memory_equal(got[i], before, SIZE);
		for (unsigned i = 0; i < 100; i++)
			slab_free(&cache, slab_alloc(&cache));
		for (unsigned i = 0; i < 200; i++)
			assert_memory_equal(got[i], before, SIZE);
		host_thread_cpu(1);
		rcu_read_unlock(RCU_WALK);
		host_thread_cpu(0);
		if (m < 2)
			slab_destroy(&cache);
	}
}

static void poison_comes_after_the_grace_period_and_goes_before_reuse(void **state)
{
	void *a = slab_alloc(&cache);

	(void)state;
	host_thread_cpu(2);
	rcu_read_lock(RCU_PUBLISH);
	host_thread_cpu(0);
	slab_free(&cache, a);
	slab_reap(&cache, 10);
	assert_true(constructed(a));
	host_thread_cpu(2);
	rcu_read_unlock(RCU_PUBLISH);
	host_thread_cpu(0);
	slab_reap(&cache, 10);
	assert_int_equal(((uint64_t *)a)[0], 0xa5a5a5a5a5a5a5a5);
	for (unsigned i = 0; i < 500; i++) {
		got[i] = slab_alloc(&cache);
		assert_true(constructed(got[i]));
	}
	for (unsigned i = 0; i < 500; i++)
		slab_free(&cache, got[i]);
	assert_true(slab_stats(&cache).reused >= 1);
}

static void write_after_free(void *arg)
{
	uint64_t *a = slab_alloc(&cache);

	(void)arg;
	slab_free(&cache, a);
	slab_reap(&cache, 10);
	a[3] = 1;
	for (unsigned i = 0; i < 500; i++)
		slab_alloc(&cache);
}

static void free_in_use(void *arg)
{
	uint64_t *a = slab_alloc(&cache);

	(void)arg;
	a[5] = 1;
	slab_free(&cache, a);
	slab_reap(&cache, 10);
}

static void poison_mode_catches_misuse(void **state)
{
	(void)state;
	assert_true(host_panics(write_after_free, 0, "was written at +0x18"));
	assert_true(host_panics(free_in_use, 0, "given back in use: +0x28"));
}

static void free_twice(void *arg)
{
	slab_free(&cache, arg);
	slab_free(&cache, arg);
}

static void free_at(void *arg)
{
	slab_free(&cache, arg);
}

static void free_elsewhere(void *arg)
{
	slab_free(&other, arg);
}

static void destroy_in_use(void *arg)
{
	(void)arg;
	slab_destroy(&cache);
}

static void misuse_is_caught(void **state)
{
	char *a = slab_alloc(&cache);

	(void)state;
	assert_true(host_panics(free_twice, a, "SLAB_TAKEN"));
	assert_true(host_panics(free_at, a + 8, "CHECK"));
	slab_init(&other, "other", 1, SIZE, SIDE, PAGE_ANY, 0);
	assert_true(host_panics(free_elsewhere, a, "cache == c"));
	assert_true(host_panics(destroy_in_use, 0, "objects in use"));
	slab_destroy(&other);
	slab_free(&cache, a);
}

static void alloc_in_section(void *arg)
{
	(void)arg;
	rcu_read_lock(RCU_PUBLISH);
	slab_alloc(&cache);
}

/* H38: at the cap this would wait for itself; so it is caught always. */
static void allocation_in_a_section_is_caught(void **state)
{
	(void)state;
	assert_true(host_panics(alloc_in_section, 0, "rcu_in_section"));
}

static void fill(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_non_null(got[i] = slab_alloc(&cache));
}

static void drain(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		slab_free(&cache, got[i]);
}

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(objects_are_constructed_aligned_and_apart),
		TEST(blocks_are_laid_out_within_bounds),
		TEST(a_cpu_gets_back_what_it_freed_last),
		cmocka_unit_test_setup_teardown(lifo_mode_reuses_across_cpus_at_once, setup_lifo, teardown),
		TEST(a_free_object_is_not_written),
		cmocka_unit_test_setup_teardown(
			poison_comes_after_the_grace_period_and_goes_before_reuse, setup_poison, teardown),
		cmocka_unit_test_setup_teardown(poison_mode_catches_misuse, setup_poison, teardown),
		TEST(misuse_is_caught),
		TEST(allocation_in_a_section_is_caught),
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

	return cmocka_run_group_tests_name("slab", tests, 0, 0);
}
