/* SPDX-License-Identifier: MIT */
/* mm/chain.c: the shape of chains, memory, misuse, the audit, and random work against a plain model. */
#include "tools/host/chain_test.h"

/* ---- shape ---- */

static void an_empty_chain_visits_nothing(void **state)
{
	(void)state;
	assert_true(chain_empty(&a));
	assert_null(chain_first(&a));
	assert_true(walk_with(look));
	assert_int_equal(walk.visited, 0);
	audit_clean();
}

static void one_entry_is_the_head_itself(void **state)
{
	(void)state;
	add(&a, 5);
	assert_int_equal(load_relaxed(&a.head), (uint64_t)entry(5));
	assert_ptr_equal(*spte_location(entry(5)), &a.head);
	assert_int_equal(slab_stats(&cache).objects, slab_stats(&cache).free_objects);
	assert_true(walk_with(look));
	assert_int_equal(seen[5], 1);
	assert_int_equal(walk.visited, 1);
	audit_clean();
	del(&a, 5);
	assert_true(chain_empty(&a));
	assert_null(*spte_location(entry(5)));
	audit_clean();
}

static void the_second_entry_makes_a_descriptor(void **state)
{
	struct chain_desc *d;

	(void)state;
	add_range(&a, 0, 2);
	d = head_desc(&a);
	assert_ptr_equal(*spte_location(entry(0)), &d->slot[0]);
	assert_ptr_equal(*spte_location(entry(1)), &d->slot[1]);
	assert_int_equal(load_relaxed(&d->next), (uint64_t)&a.head | CHAIN_MANY);
	audit_clean();
	assert_true(walk_with(look));
	assert_int_equal(seen[0] + seen[1], 2);
	assert_int_equal(walk.visited, 2);
}

static void holes_are_filled_before_a_descriptor_is_taken(void **state)
{
	struct chain_desc *d;

	(void)state;
	add_range(&a, 0, CHAIN_SLOTS);
	d = head_desc(&a);
	del(&a, 3);
	add(&a, 100);
	assert_ptr_equal(head_desc(&a), d);
	assert_ptr_equal(*spte_location(entry(100)), &d->slot[3]);
	add(&a, 101);
	assert_ptr_not_equal(head_desc(&a), d); /* at the head */
	assert_int_equal(load_relaxed(&head_desc(&a)->next), (uint64_t)d);
	del(&a, 0);
	add_range(&a, 200, 207); /* one hole, six more in the new one */
	assert_int_equal(load_relaxed(&head_desc(&a)->next), (uint64_t)d);
	assert_int_equal(load_relaxed(&a.length), 14);
	audit_clean();
}

/* H33: a descriptor that holds one entry stays a descriptor; the last one that empties leaves 0. */
static void the_head_never_goes_back_to_one_pointer(void **state)
{
	struct chain_desc *d;

	(void)state;
	add_range(&a, 0, 3);
	d = head_desc(&a);
	del(&a, 0);
	del(&a, 2);
	assert_ptr_equal(head_desc(&a), d);
	audit_clean();
	del(&a, 1);
	assert_int_equal(load_relaxed(&a.head), 0);
	assert_int_equal(load_relaxed(&d->next), CHAIN_FREE);
	add(&a, 1);
	assert_int_equal(load_relaxed(&a.head), (uint64_t)entry(1));
	audit_clean();
}

static void descriptors_are_unlinked_wherever_they_are(void **state)
{
	(void)state;
	for (unsigned victim = 0; victim < 3; victim++) {
		add_range(&a, 0, 21); /* 14…20, 7…13, 0…6 */
		del_range(&a, victim * 7, victim * 7 + 7);
		audit_clean();
		assert_int_equal(load_relaxed(&a.length), 14);
		assert_true(walk_with(look));
		for (unsigned i = 0; i < 21; i++)
			assert_int_equal(seen[i], i / 7 != victim);
		clear(&a);
		audit_clean();
	}
}

static void first_takes_a_chain_apart(void **state)
{
	unsigned n = 0;

	(void)state;
	add_range(&a, 0, 1000);
	for (spte_t *s; (s = chain_first(&a)); n++) {
		chain_remove(&a, &cache, s);
		if (n % 50 == 0)
			audit_clean();
	}
	assert_int_equal(n, 1000);
	assert_true(chain_empty(&a));
	assert_int_equal(slab_stats(&cache).objects, slab_stats(&cache).free_objects);
}

static void long_chains_are_walked_once_through(void **state)
{
	(void)state;
	add_range(&a, 0, ENTRIES);
	assert_true(walk_with(look));
	assert_int_equal(walk.visited, ENTRIES);
	assert_int_equal(walk.restarts, 0);
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_int_equal(seen[i], 1);
}

/* One entry in each descriptor is as sparse as a chain can be: still within the bound. */
static void sparse_chains_are_within_the_bound(void **state)
{
	(void)state;
	add_range(&a, 0, ENTRIES);
	for (unsigned i = 0; i < ENTRIES; i++)
		if (i % 7 != 3)
			del(&a, i);
	audit_clean();
	assert_true(walk_with(look));
	assert_int_equal(walk.visited, load_relaxed(&a.length));
}

/* ---- memory and misuse ---- */

static void a_reserve_is_filled_kept_and_given_back(void **state)
{
	(void)state;
	assert_true(chain_reserve(&reserve, CHAIN_RESERVE));
	assert_int_equal(reserve.n, CHAIN_RESERVE);
	assert_true(chain_reserve(&reserve, 3));
	assert_int_equal(reserve.n, CHAIN_RESERVE);
	chain_add(&a, &reserve, entry(0));
	assert_int_equal(reserve.n, CHAIN_RESERVE);
	chain_add(&a, &reserve, entry(1));
	assert_int_equal(reserve.n, CHAIN_RESERVE - 1);
	chain_unreserve(&reserve);
	assert_int_equal(reserve.n, 0);
	assert_int_equal(slab_stats(&cache).objects - slab_stats(&cache).free_objects, 1);
}

static void no_memory_is_found_before_the_lock(void **state)
{
	hfn_t taken[40000];
	unsigned n = 0, i = 0;

	(void)state;
	for (int order = PAGE_MAX_ORDER; order >= 0; order--)
		while (n < 40000 && hfn_valid(taken[n] = page_alloc((unsigned)order, PAGE_ANY)))
			taken[n++].v |= (uint64_t)order << 56;
	assert_int_equal(page_free_count(), 0);
	assert_false(chain_reserve(&reserve, 1));
	add_range(&b, 0, 0);
	chain_add(&a, &reserve, entry(0)); /* needs none */
	while (i < n) {
		page_free(hfn(taken[i].v & ((1UL << 56) - 1)), (unsigned)(taken[i].v >> 56));
		i++;
	}
	assert_true(chain_reserve(&reserve, CHAIN_RESERVE));
}

static void add_unreserved(void *arg)
{
	(void)arg;
	chain_unreserve(&reserve);
	chain_add(&a, &reserve, entry(1));
}

static void add_twice(void *arg)
{
	(void)arg;
	chain_add(&a, &reserve, entry(0));
}

static void remove_absent(void *arg)
{
	(void)arg;
	chain_remove(&a, &cache, entry(9));
}

static void remove_moved(void *arg)
{
	(void)arg;
	*spte_location(entry(9)) = &a.head;
	chain_remove(&a, &cache, entry(9));
}

static void misuse_is_caught(void **state)
{
	(void)state;
	add(&a, 0);
	assert_true(host_panics(add_unreserved, 0, "r->n > 0"));
	assert_true(host_panics(add_twice, 0, "spte_location"));
	assert_true(host_panics(remove_absent, 0, "CHECK(word"));
	assert_true(host_panics(remove_moved, 0, "CHECK(word"));
}

/* ---- audit ---- */

static void the_audit_finds_damage(void **state)
{
	struct chain_desc *first, *last;
	void *location;

	(void)state;
	add_range(&a, 0, 10);
	first = head_desc(&a);
	last = (struct chain_desc *)load_relaxed(&first->next);
	audit_clean();

	location = *spte_location(entry(2));
	*spte_location(entry(2)) = &last->slot[3];
	assert_int_equal(chain_audit(&a, CHAIN_ALL, 0, 0), 1);
	assert_true(host_log_has("audit: chain") && host_log_has("location word"));
	*spte_location(entry(2)) = location;

	store_relaxed(&last->next, (uint64_t)&b.head | CHAIN_MANY);
	assert_int_equal(chain_audit(&a, CHAIN_ALL, 0, 0), 1);
	assert_true(host_log_has("foreign end"));
	store_relaxed(&last->next, (uint64_t)&a.head | CHAIN_MANY);

	store_relaxed(&a.length, 11);
	assert_int_equal(chain_audit(&a, CHAIN_ALL, 0, 0), 1);
	assert_true(host_log_has("as many as recorded"));
	store_relaxed(&a.length, 10);

	store_relaxed(&last->slot[6], 0); /* an entry lost: count, length and holes are wrong */
	assert_int_equal(chain_audit(&a, CHAIN_ALL, 0, 0), 4);
	store_relaxed(&last->slot[6], (uint64_t)entry(6));

	a.holes = 0;
	assert_int_equal(chain_audit(&a, CHAIN_ALL, 0, 0), 2);
	assert_true(host_log_has("too short") && host_log_has("not in the hole list"));
	a.holes = last;
	assert_true(chain_audit(&a, CHAIN_ALL, 0, 0) >= 1);
	a.holes = first;

	store_relaxed(&last->next, (uint64_t)first); /* a ring: the audit ends */
	assert_true(chain_audit(&a, CHAIN_ALL, 0, 0) >= 1);
	store_relaxed(&last->next, (uint64_t)&a.head | CHAIN_MANY);
	audit_clean();
}

/* What breaks one descriptor, or the way to it, is found by those who know an entry there. */
static void the_audit_of_one_entry_finds_damage(void **state)
{
	struct chain_desc *first, *middle, *last;

	(void)state;
	add_range(&a, 0, 3 * CHAIN_SLOTS - 2);
	first = head_desc(&a);
	middle = (struct chain_desc *)load_relaxed(&first->next);
	last = (struct chain_desc *)load_relaxed(&middle->next);
	for (unsigned i = 0; i < 3 * CHAIN_SLOTS - 2; i++)
		assert_int_equal(chain_audit_at(&a, entry(i), 0, 0), 0);

	store_relaxed(&last->next, (uint64_t)&b.head | CHAIN_MANY);
	assert_int_equal(chain_audit_at(&a, entry(0), 0, 0), 1);
	assert_true(host_log_has("foreign end"));
	assert_int_equal(chain_audit_at(&a, entry(CHAIN_SLOTS), 0, 0), 0);
	store_relaxed(&last->next, (uint64_t)&a.head | CHAIN_MANY);

	store_relaxed(&last->slot[6], 0);
	assert_int_equal(chain_audit_at(&a, entry(0), 0, 0), 2); /* not counted, and a hole that is in no list */
	store_relaxed(&last->slot[6], (uint64_t)entry(6));

	store_relaxed(&first->next, (uint64_t)last); /* middle is skipped */
	assert_int_equal(chain_audit_at(&a, entry(CHAIN_SLOTS), 0, 0), 1);
	assert_true(host_log_has("prev is wrong"));
	assert_int_equal(chain_audit_at(&a, entry(2 * CHAIN_SLOTS), 0, 0), 1);
	store_relaxed(&first->next, (uint64_t)middle);

	a.holes = 0;
	assert_int_equal(chain_audit_at(&a, entry(2 * CHAIN_SLOTS), 0, 0), 1);
	assert_true(host_log_has("not in the hole list"));
	a.holes = first;
	/* so many descriptors, and no more, are looked at: the last one's damage is not met */
	store_relaxed(&last->next, (uint64_t)&b.head | CHAIN_MANY);
	assert_int_equal(chain_audit(&a, 2, 0, 0), 0);
	assert_int_equal(chain_audit(&a, 3, 0, 0), 1);
	store_relaxed(&last->next, (uint64_t)&a.head | CHAIN_MANY);
	audit_clean();
}

static unsigned complain(void *ctx, spte_t *s)
{
	(void)ctx;
	return entry_index(s) == 4 ? 2 : 0;
}

static void the_audits_visitor_adds_its_own(void **state)
{
	(void)state;
	add_range(&a, 0, 10);
	assert_int_equal(chain_audit(&a, CHAIN_ALL, complain, 0), 2);
	assert_int_equal(chain_audit(&b, CHAIN_ALL, complain, 0), 0);
}

/* ---- against a plain model ---- */

#define MODEL 600

static void random_operations(enum slab_mode mode)
{
	static uint8_t where[MODEL]; /* 0: in no chain, 1: a, 2: b */
	uint64_t random = 0x2545f4914f6cdd1dUL;
	unsigned in[3] = {MODEL, 0, 0};
	void *none = 0;

	teardown(&none);
	start(mode);
	memset(where, 0, sizeof where);
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t x = host_random(&random);
		unsigned i = (x >> 8) % MODEL, to = 1 + (x & 1);
		bool growing = step / 3000 % 2 == 0;

		if (!where[i] && (growing || x % 16 < 4)) {
			add(to == 1 ? &a : &b, i);
			where[i] = (uint8_t)to;
			in[0]--, in[to]++;
		} else if (where[i] && (!growing || x % 16 < 4)) {
			del(where[i] == 1 ? &a : &b, i);
			in[where[i]]--, in[0]++;
			where[i] = 0;
		}
		assert_int_equal(load_relaxed(&a.length), in[1]);
		assert_int_equal(load_relaxed(&b.length), in[2]);
		audit_clean();
		if (step % 16)
			continue;
		assert_true(walk_with(look));
		assert_int_equal(walk.visited, in[1]);
		for (i = 0; i < MODEL; i++)
			assert_int_equal(seen[i], where[i] == 1);
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
		TEST(an_empty_chain_visits_nothing),
		TEST(one_entry_is_the_head_itself),
		TEST(the_second_entry_makes_a_descriptor),
		TEST(holes_are_filled_before_a_descriptor_is_taken),
		TEST(the_head_never_goes_back_to_one_pointer),
		TEST(descriptors_are_unlinked_wherever_they_are),
		TEST(first_takes_a_chain_apart),
		TEST(long_chains_are_walked_once_through),
		TEST(sparse_chains_are_within_the_bound),
		TEST(a_reserve_is_filled_kept_and_given_back),
		TEST(no_memory_is_found_before_the_lock),
		TEST(misuse_is_caught),
		TEST(the_audit_finds_damage),
		TEST(the_audit_of_one_entry_finds_damage),
		TEST(the_audits_visitor_adds_its_own),
		TEST(random_operations_normal),
		TEST(random_operations_lifo),
		TEST(random_operations_poison),
	};

	return cmocka_run_group_tests_name("chain", tests, 0, 0);
}
