/* SPDX-License-Identifier: MIT */
/* What the tests of chains share: two chains, a pool of entries, a walk of the first chain that counts its visits. A
 * walk is one flow of control; what other CPUs do meanwhile is done by a hook at a park point, or by the visitor. */
#ifndef TOOLS_HOST_CHAIN_TEST_H
#define TOOLS_HOST_CHAIN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mm/chain.h"
#include "mm/rcu.h"
#include "tools/host/native.h"

#define TABLES 8
#define ENTRIES (TABLES * TABLE_ENTRIES)

static struct slab_cache cache;
static struct chain_reserve reserve;
static struct chain a, b;
static struct table *table[TABLES];
static unsigned seen[ENTRIES]; /* visits of each entry in the last walk */
static struct chain_walk walk;

static inline spte_t *entry(unsigned i)
{
	return &table[i / TABLE_ENTRIES]->spte[i % TABLE_ENTRIES];
}

static inline unsigned entry_index(const spte_t *s)
{
	for (unsigned t = 0; t < TABLES; t++)
		if (s >= table[t]->spte && s < table[t]->spte + TABLE_ENTRIES)
			return t * TABLE_ENTRIES + (unsigned)(s - table[t]->spte);
	fail_msg("%p is no entry", (const void *)s);
	return 0;
}

static inline void start(enum slab_mode mode)
{
	host_native_init(3);
	slab_set_mode(mode);
	chain_cache_init(&cache, "rmap");
	reserve = (struct chain_reserve){.cache = &cache};
	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	for (unsigned i = 0; i < TABLES; i++) {
		table[i] = hfn_virt(page_alloc(1, PAGE_ANY));
		memset(table[i], 0, sizeof *table[i]);
	}
}

static inline int setup(void **state)
{
	(void)state;
	start(SLAB_NORMAL);
	return 0;
}

static inline int setup_lifo(void **state)
{
	(void)state;
	start(SLAB_LIFO);
	return 0;
}

static inline void clear(struct chain *c)
{
	for (spte_t *s; (s = chain_first(c));)
		chain_remove(c, &cache, s);
}

/* Every test ends with all descriptors given back. */
static inline int teardown(void **state)
{
	(void)state;
	host_set_park(0, 0);
	clear(&a);
	clear(&b);
	chain_unreserve(&reserve);
	slab_destroy(&cache);
	for (unsigned i = 0; i < TABLES; i++)
		page_free(hpa_hfn(host_phys(table[i])), 1);
	return page_free_count() == page_total() ? 0 : -1;
}

/* Takes a descriptor, if need be, at the last moment: the one that was freed last. */
static inline void add(struct chain *c, unsigned i)
{
	assert_true(chain_reserve(&reserve, 1));
	chain_add(c, &reserve, entry(i));
	chain_unreserve(&reserve);
}

static inline void add_range(struct chain *c, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		add(c, i);
}

static inline void del(struct chain *c, unsigned i)
{
	chain_remove(c, &cache, entry(i));
}

static inline void del_range(struct chain *c, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		del(c, i);
}

static inline unsigned look(void *ctx, spte_t *s)
{
	(void)ctx;
	seen[entry_index(s)]++;
	return 0;
}

static inline bool walk_with(chain_visit visit)
{
	bool done;

	memset(seen, 0, sizeof seen);
	walk = (struct chain_walk){0, 0};
	rcu_read_lock(RCU_WALK);
	done = chain_walk(&a, visit, 0, &walk);
	rcu_read_unlock(RCU_WALK);
	return done;
}

static inline void audit_clean(void)
{
	assert_int_equal(chain_audit(&a, CHAIN_ALL, 0, 0), 0);
	assert_int_equal(chain_audit(&b, CHAIN_ALL, 0, 0), 0);
}

static inline struct chain_desc *head_desc(const struct chain *c)
{
	uint64_t head = load_relaxed(&c->head);

	assert_true(head & CHAIN_MANY);
	return (struct chain_desc *)(head & ~CHAIN_MANY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIFO(name) cmocka_unit_test_setup_teardown(name, setup_lifo, teardown)

#endif
