/* SPDX-License-Identifier: MIT */
/* mm/chain_walk.h: what a walk finds while others change its chain. Hazards are numbered as in the design's list. */
#include "tools/host/chain_test.h"

static struct {
	const char *point;
	unsigned passes; /* of the point, so far */
	void (*act)(unsigned pass);
} other;

static void other_cpu(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, other.point))
		return;
	host_thread_cpu(1);
	other.act(other.passes++);
}

static bool walk_against(const char *point, void (*act)(unsigned pass), chain_visit visit)
{
	bool done;

	other.point = point;
	other.passes = 0;
	other.act = act;
	host_set_park(other_cpu, 0);
	done = walk_with(visit);
	host_set_park(0, 0);
	assert_true(other.passes > 0);
	return done;
}

/* a: D (7…13) -> E (0…6, these stay); the walker has read D's slots, or is about to. */
static void two_descriptors(void)
{
	add_range(&a, 0, 14);
	audit_clean();
}

static void assert_stayed_seen(void)
{
	for (unsigned i = 0; i < 7; i++)
		assert_true(seen[i] >= 1);
}

static void move_to_b(unsigned pass)
{
	if (pass)
		return;
	del_range(&a, 7, 14);
	add_range(&b, 20, 27);
	assert_int_equal(load_relaxed(&b.head) & ~CHAIN_MANY, (uintptr_t)*spte_location(entry(20)) & ~63UL);
}

/* H1, H42: D is freed and reused in b while the walker stands on it; b's end is not a's. */
static void reused_in_another_chain_restarts(void **state)
{
	static const char *points[] = {"chain-head", "chain-next"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct chain_desc *d;

		two_descriptors();
		d = head_desc(&a);
		assert_true(walk_against(points[i], move_to_b, look));
		assert_ptr_equal(head_desc(&b), d);
		assert_stayed_seen();
		assert_true(walk.restarts >= 1);
		audit_clean();
		clear(&a);
		clear(&b);
	}
}

/* H42: the two chains of one gfn (its 4 KiB and its 2 MiB head), and one gfn of two guests, are four chains. */
static void markers_are_unique(void **state)
{
	static struct chain guest[2][2];
	uint64_t marker[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct chain *c = &guest[i / 2][i % 2];

		add_range(c, 100 + 2 * i, 102 + 2 * i);
		marker[i] = load_relaxed(&head_desc(c)->next);
		for (unsigned j = 0; j < i; j++)
			assert_true(marker[i] != marker[j]);
	}
	for (unsigned i = 0; i < 4; i++)
		clear(&guest[i / 2][i % 2]);
}

static void relink_in_a(unsigned pass)
{
	if (pass)
		return;
	del_range(&a, 7, 14);
	add_range(&a, 20, 27);
}

/* H2: D is reused at the head of the same chain: it leads through all of it. */
static void reused_in_the_same_chain_leads_on(void **state)
{
	static const char *points[] = {"chain-head", "chain-next"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct chain_desc *d;

		two_descriptors();
		d = head_desc(&a);
		assert_true(walk_against(points[i], relink_in_a, look));
		assert_ptr_equal(head_desc(&a), d);
		assert_stayed_seen();
		audit_clean();
		clear(&a);
	}
}

static void free_d(unsigned pass)
{
	if (!pass)
		del_range(&a, 7, 14);
}

/* H18: a walker that stands on a free descriptor finds FREE, whatever the debug mode. */
static void a_free_descriptor_restarts_in_every_mode(void **state)
{
	(void)state;
	for (unsigned mode = SLAB_NORMAL; mode <= SLAB_POISON; mode++) {
		void *none = 0;

		if (mode) {
			teardown(&none);
			start((enum slab_mode)mode);
		}
		two_descriptors();
		assert_true(walk_against("chain-next", free_d, look));
		assert_stayed_seen();
		assert_int_equal(walk.restarts, 1);
		clear(&a);
		two_descriptors();
		assert_true(walk_against("chain-head", free_d, look));
		assert_stayed_seen();
		assert_int_equal(walk.restarts, 1);
		for (unsigned i = 7; i < 14; i++)
			assert_int_equal(seen[i], 0);
	}
}

static unsigned remove_first(void *ctx, spte_t *s)
{
	(void)ctx;
	if (s == entry(0) && !seen[0])
		del(&a, 0);
	seen[entry_index(s)]++;
	return 0;
}

/* H3: removal behind the walker moves nothing. */
static void removal_behind_the_walker_moves_nothing(void **state)
{
	(void)state;
	add_range(&a, 0, 3);
	assert_true(walk_with(remove_first));
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 1);
	audit_clean();
}

static void second_entry(unsigned pass)
{
	if (!pass)
		add(&a, 1);
}

static void replace_all(unsigned pass)
{
	if (pass)
		return;
	del_range(&a, 0, 2);
	add(&a, 2);
}

static void empty_all(unsigned pass)
{
	if (!pass)
		clear(&a);
}

/* H4: whatever the head becomes after the walker loaded it, the loaded value is what it walks. */
static void the_head_is_loaded_once(void **state)
{
	(void)state;
	add(&a, 0);
	assert_true(walk_against("chain-head", second_entry, look)); /* one pointer became a descriptor */
	assert_int_equal(seen[0], 1);
	assert_int_equal(walk.visited, 1);
	assert_true(walk_against("chain-head", replace_all, look)); /* a descriptor, then nothing, then one pointer */
	assert_int_equal(walk.restarts, 1);
	assert_int_equal(seen[2], 1);
	assert_true(walk_against("chain-head", empty_all, look)); /* one pointer, stale */
	assert_int_equal(seen[2], 1);
	add_range(&a, 0, 20);
	assert_true(walk_against("chain-head", empty_all, look)); /* a descriptor, then nothing */
	assert_int_equal(walk.restarts, 1);
	assert_int_equal(walk.visited, 0);
}

static void drop_second(unsigned pass)
{
	if (!pass)
		del(&a, 1);
}

static void drop_then_add(void *ctx, const char *point)
{
	static unsigned step;

	(void)ctx;
	host_thread_cpu(1);
	if (!strcmp(point, "chain-head") && !other.passes++) {
		step = 1;
		del(&a, 1);
	} else if (!strcmp(point, "chain-next") && step == 1) {
		step = 2;
		add(&a, 2);
	}
}

/* H33: entry 0 stays while the descriptor is left with it alone and grows again: a collapse would hide it. */
static void one_entry_left_in_a_descriptor_is_seen(void **state)
{
	(void)state;
	add_range(&a, 0, 2);
	assert_true(walk_against("chain-head", drop_second, look));
	assert_int_equal(seen[0], 1);
	add(&a, 1);
	other.passes = 0;
	host_set_park(drop_then_add, 0);
	assert_true(walk_with(look));
	assert_true(seen[0] >= 1);
}

static uintptr_t stand; /* the descriptor that the walker read last */

static unsigned look_and_stand(void *ctx, spte_t *s)
{
	stand = (uintptr_t)*spte_location(s) & ~63UL;
	return look(ctx, s);
}

static void rotate_last(unsigned pass)
{
	struct chain_desc *last = head_desc(&a), *next;
	unsigned moved[CHAIN_SLOTS];

	if (pass > 1000)
		return;
	while (!((next = (struct chain_desc *)load_relaxed(&last->next), (uintptr_t)next) & CHAIN_MANY))
		last = next;
	if ((uintptr_t)last != stand)
		return;
	for (unsigned i = 0; i < CHAIN_SLOTS; i++) {
		moved[i] = entry_index((spte_t *)load_relaxed(&last->slot[i]));
		del(&a, moved[i]);
	}
	for (unsigned i = 0; i < CHAIN_SLOTS; i++)
		add(&a, moved[i]);
}

/* H45: the last descriptor goes to the head under the walker again and again: round and round, without a foreign
 * marker. */
static void a_walk_led_in_circles_gives_up(void **state)
{
	(void)state;
	add_range(&a, 0, 21);
	assert_false(walk_against("chain-next", rotate_last, look_and_stand));
	assert_int_equal(walk.restarts, 0);
	assert_true(walk.visited <= 2 * 21 + 64);
	assert_true(other.passes < 1000);
	audit_clean();
}

static void bounce(unsigned pass)
{
	if (pass > 1000)
		return;
	clear(&a);
	assert_true(chain_reserve(&reserve, 2)); /* the first is the one just freed: it stays free */
	chain_add(&a, &reserve, entry(0));
	chain_add(&a, &reserve, entry(1));
	chain_unreserve(&reserve);
}

/* Restarts alone end too: each costs a descriptor. */
static void a_walk_that_restarts_for_ever_gives_up(void **state)
{
	(void)state;
	add_range(&a, 0, 2);
	assert_false(walk_against("chain-head", bounce, look));
	assert_true(walk.visited <= 2 * 2 + 64);
	assert_true(other.passes <= 2 * 2 + 64 + 1);
}

static unsigned stubborn(void *ctx, spte_t *s)
{
	look(ctx, s);
	return 10;
}

static void tries_of_the_visitor_count(void **state)
{
	(void)state;
	add_range(&a, 0, 70);
	assert_false(walk_with(stubborn));
	assert_true((walk.visited - CHAIN_SLOTS) * 11 <= 2 * 70 + 64); /* looked at before each descriptor */
	assert_true(walk.visited >= 18);
}

static struct { hfn_t f[4096]; unsigned n; } canary;

static void hand_out_as_guest_ram(unsigned pass)
{
	if (pass != 200) /* in the middle of the chain: its block has no other entry, and no magazine holds of it */
		return;
	del_range(&a, 7, ENTRIES);
	slab_reap(&cache, ~0u);
	for (canary.n = 0; canary.n < 4096; canary.n++) {
		canary.f[canary.n] = page_alloc(1, PAGE_ANY);
		memset(hfn_virt(canary.f[canary.n]), 0x5a, 2 * PAGE_SIZE);
	}
}

/* H14: a walker stands on a descriptor whose whole page became empty; the page must not become guest RAM under it. */
static void pages_do_not_leave_under_a_walker(void **state)
{
	(void)state;
	add_range(&a, 0, ENTRIES);
	assert_true(walk_against("chain-next", hand_out_as_guest_ram, look));
	assert_stayed_seen();
	assert_true(slab_stats(&cache).waiting_blocks > 0);
	while (canary.n--) {
		const unsigned char *byte = hfn_virt(canary.f[canary.n]);

		for (unsigned j = 0; j < 2 * PAGE_SIZE; j++)
			assert_int_equal(byte[j], 0x5a);
		page_free(canary.f[canary.n], 1);
	}
	assert_true(slab_reap(&cache, ~0u) > 0);
}

/* ---- between any two stores of a writer ---- */

static unsigned between_walks, staying;

static void walk_between(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "chain-write"))
		return;
	host_thread_cpu(1);
	assert_true(walk_with(look));
	assert_int_equal(walk.restarts, 0);
	for (unsigned i = 0; i < staying; i++)
		assert_true(seen[i] >= 1);
	between_walks++;
}

/* A walk that begins after any store that a writer makes finds what stays, at the first try. */
static void every_store_leaves_the_chain_whole(void **state)
{
	uint64_t random = 0x6c078965;

	(void)state;
	between_walks = 0;
	for (unsigned round = 0; round < 200; round++) {
		staying = 0;
		add(&a, 0);
		staying = 1;
		host_set_park(walk_between, 0);
		for (unsigned step = 0; step < 100; step++) {
			unsigned i = 10 + host_random(&random) % 30;

			if (*spte_location(entry(i)))
				del(&a, i);
			else
				add(&a, i);
			if (step == 50) {
				add_range(&a, 1, 5);
				staying = 5;
			}
		}
		for (unsigned i = 10; i < 40; i++)
			if (*spte_location(entry(i)))
				del(&a, i);
		host_set_park(0, 0);
		audit_clean();
		clear(&a);
	}
	assert_true(between_walks > 20000);
}

/* Random work on both chains at every park point of a walk: what stays (0 … 29) is seen, whatever comes and goes. */
static uint64_t churn_random;

static void churn(unsigned pass)
{
	(void)pass;
	for (unsigned n = host_random(&churn_random) % 12; n > 0; n--) {
		uint64_t x = host_random(&churn_random);
		unsigned i = 30 + (x >> 8) % 40;
		void *at = *spte_location(entry(i));

		/* 30 … 49 go into a, the others into b; which descriptor each of them gets is left to the slab */
		if (at)
			del(i < 50 ? &a : &b, i);
		else
			add(i < 50 ? &a : &b, i);
	}
}

static void churn_anywhere(void *ctx, const char *point)
{
	(void)ctx;
	(void)point;
	host_thread_cpu(1);
	churn(0);
}

static void random_churn_under_walks(void **state)
{
	unsigned gave_up = 0;
	uint64_t restarts = 0;

	(void)state;
	churn_random = 0x853c49e6748fea9bUL;
	add_range(&a, 0, 30);
	for (unsigned round = 0; round < 3000; round++) {
		bool done;

		host_set_park(churn_anywhere, 0);
		done = walk_with(look);
		host_set_park(0, 0);
		restarts += walk.restarts;
		if (!done)
			gave_up++;
		else
			for (unsigned i = 0; i < 30; i++)
				assert_true(seen[i] >= 1);
		audit_clean();
	}
	assert_true(restarts > 100);
	assert_true(gave_up < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_LIFO(reused_in_another_chain_restarts),
		TEST(markers_are_unique),
		TEST_LIFO(reused_in_the_same_chain_leads_on),
		TEST(a_free_descriptor_restarts_in_every_mode),
		TEST(removal_behind_the_walker_moves_nothing),
		TEST_LIFO(the_head_is_loaded_once),
		TEST_LIFO(one_entry_left_in_a_descriptor_is_seen),
		TEST_LIFO(a_walk_led_in_circles_gives_up),
		TEST_LIFO(a_walk_that_restarts_for_ever_gives_up),
		TEST(tries_of_the_visitor_count),
		TEST(pages_do_not_leave_under_a_walker),
		TEST_LIFO(every_store_leaves_the_chain_whole),
		TEST_LIFO(random_churn_under_walks),
	};

	return cmocka_run_group_tests_name("chain walk", tests, 0, 0);
}
