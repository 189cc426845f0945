/* SPDX-License-Identifier: MIT */
/* What the tests of slabs share: a cache of 64-byte objects with a mark in their last word. One thread acts as several
 * CPUs. */
#ifndef TOOLS_HOST_SLAB_TEST_H
#define TOOLS_HOST_SLAB_TEST_H

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

static struct slab_cache cache, other __attribute__((unused));
static void *got[MANY];

static inline void construct(void *object)
{
	((uint64_t *)object)[7] = MARK;
}

static inline void make(enum slab_mode mode)
{
	host_native_init(4);
	slab_set_mode(mode);
	slab_init(&cache, "test", 1, SIZE, SIDE, PAGE_ANY, construct);
}

static inline int setup(void **state)
{
	(void)state;
	make(SLAB_NORMAL);
	return 0;
}

static inline int setup_lifo(void **state)
{
	(void)state;
	make(SLAB_LIFO);
	return 0;
}

static inline int setup_poison(void **state)
{
	(void)state;
	make(SLAB_POISON);
	return 0;
}

/* Every test ends with all its pages given back. */
static inline int teardown(void **state)
{
	(void)state;
	host_thread_cpu(0);
	slab_destroy(&cache);
	return page_free_count() == page_total() ? 0 : -1;
}

static inline void *alloc_as(unsigned cpu)
{
	void *object;

	host_thread_cpu(cpu);
	object = slab_alloc(&cache);
	host_thread_cpu(0);
	return object;
}

static inline void free_as(unsigned cpu, void *object)
{
	host_thread_cpu(cpu);
	slab_free(&cache, object);
	host_thread_cpu(0);
}

static inline bool constructed(const void *object)
{
	const uint64_t *word = object;

	return !(word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6]) && word[7] == MARK;
}

static inline void fill(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_non_null(got[i] = slab_alloc(&cache));
}

static inline void drain(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		slab_free(&cache, got[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
