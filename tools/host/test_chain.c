/* SPDX-License-Identifier: MIT */
/* mm/chain.c and chain_walk.h, step by step. A walk is one flow of control; what other CPUs do meanwhile is done by a hook
 * at a park point, or by the visitor. Hazards are numbered as in the design's list. */
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

static spte_t *entry(unsigned i)
{
	return &table[i / TABLE_ENTRIES]->spte[i % TABLE_ENTRIES];
}

static unsigned entry_index(const spte_t *s)
{
	for (unsigned t = 0; t < TABLES; t++)
		if (s >= table[t]->spte && s < table[t]->spte + TABLE_ENTRIES)
			return t * TABLE_ENTRIES + (unsigned)(s - table[t]->spte);
	fail_msg("%p is no entry", (const void *)s);
	return 0;
}

static void start(enum slab_mode mode)
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

static int setup(void **state)
{
	(void)state;
	start(SLAB_NORMAL);
	return 0;
}

static int setup_lifo(void **state)
{
	(void)state;
	start(SLAB_LIFO);
	return 0;
}

static void clear(struct chain *c)
{
	for (spte_t *s; (s = chain_first(c));)
		chain_remove(c, &cache, s);
}

/* Every test ends with all descriptors given back. */
static int teardown(void **state)
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
static void add(struct chain *c, unsigned i)
{
	assert_true(chain_reserve(&reserve, 1));
	chain_add(c, &reserve, entry(i));
	chain_unreserve(&reserve);
}

static void add_range(struct chain *c, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		add(c, i);
}

static void del(struct chain *c, unsigned i)
{
	chain_remove(c, &cache, entry(i));
}

static void del_range(struct chain *c, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		del(c, i);
}

static unsigned look(void *ctx, spte_t *s)
{
	(void)ctx;
	seen[entry_index(s)]++;
	return 0;
}

static bool walk_with(chain_visit visit)
{
	bool done;

	memset(seen, 0, sizeof seen);
	walk = (struct chain_walk){0, 0};
	rcu_read_lock(RCU_WALK);
	done = chain_walk(&a, visit, 0, &walk);
	rcu_read_unlock(RCU_WALK);
	return done;
}

static void audit_clean(void)
{
	assert_int_equal(chain_audit(&a, 0, 0), 0);
	assert_int_equal(chain_audit(&b, 0, 0), 0);
}

static struct chain_desc *head_desc(const struct chain *c)
{
	uint64_t head = load_relaxed(&c->head);

	assert_true(head & CHAIN_MANY);
	return (struct chain_desc *)(head & ~CHAIN_MANY);
}

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
	assert_int_equal(chain_audit(&a, 0, 0), 1);
	assert_true(host_log_has("audit: chain") && host_log_has("location word"));
	*spte_location(entry(2)) = location;

	store_relaxed(&last->next, (uint64_t)&b.head | CHAIN_MANY);
	assert_int_equal(chain_audit(&a, 0, 0), 1);
	assert_true(host_log_has("foreign end"));
	store_relaxed(&last->next, (uint64_t)&a.head | CHAIN_MANY);

	store_relaxed(&a.length, 11);
	assert_int_equal(chain_audit(&a, 0, 0), 1);
	assert_true(host_log_has("as many as recorded"));
	store_relaxed(&a.length, 10);

	store_relaxed(&last->slot[6], 0); /* an entry lost: count, length and holes are wrong */
	assert_int_equal(chain_audit(&a, 0, 0), 3);
	store_relaxed(&last->slot[6], (uint64_t)entry(6));

	a.holes = 0;
	assert_int_equal(chain_audit(&a, 0, 0), 1);
	assert_true(host_log_has("too short"));
	a.holes = last;
	assert_true(chain_audit(&a, 0, 0) >= 1);
	a.holes = first;

	store_relaxed(&last->next, (uint64_t)first); /* a ring: the audit ends */
	assert_true(chain_audit(&a, 0, 0) >= 1);
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
	assert_int_equal(chain_audit(&a, complain, 0), 2);
	assert_int_equal(chain_audit(&b, complain, 0), 0);
}

/* ---- what others do under a walk ---- */

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

/* H45: the last descriptor goes to the head under the walker again and again: round and round, without a foreign marker. */
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
	assert_true(walk.visited * 11 <= 2 * 70 + 64 + 11);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIFO(name) cmocka_unit_test_setup_teardown(name, setup_lifo, teardown)

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
		TEST(the_audits_visitor_adds_its_own),
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
		TEST(random_operations_normal),
		TEST(random_operations_lifo),
		TEST(random_operations_poison),
		TEST_LIFO(random_churn_under_walks),
	};

	return cmocka_run_group_tests_name("chain", tests, 0, 0);
}
