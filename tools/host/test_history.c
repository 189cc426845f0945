/* SPDX-License-Identifier: MIT */
/* A history of every store to shadow tables, chains and heads, and readers in each moment of it (built with trace.h).
 *
 * Rules     history.c looks at each store when it comes: who must follow whom.
 * Prefixes  When the lock is dropped, memory is put back, and the stores are made again one by one. After each, the
 *           lockless reader walks the chains that are touched: it ends by the chain's own marker, without a restart,
 * and finds each entry that is there before and after the change of one spte, once, and none that is there neither
 *           before nor after. And each address in play translates to nothing, or to the frame that it had before the
 * lock was taken or has now, with no right that was not there then or is not there now. Readers   After a few
 * operations, walks of their chains begin anywhere in that history, and the stores go on while they are on their way,
 * under the feet of the reader: it finds all that stayed.
 *
 * One thread. A reader stands on CPU 1 during the operations, so that what is freed stays of its type. */
#include <stdlib.h>

#include "mm/rcu.h"
#include "mm/shadow.h"
#include "tools/host/history.h"
#include "tools/host/mmu_test.h"

#define PAGES 24u /* virtual pages in play, over three level-1 tables */
#define FRAMES 2u /* that they map: chains of several descriptors */
#define STEPS 12000
#define PREFIXES 30000 /* states that readers start from; 40,000 and more as measured */
#define READERS 40      /* walks after each batch of operations */
#define FEET 4          /* stores at most between two loads of such a reader */
#define ENTRIES_MAX 4096
#define LARGE 0x200000UL

struct entries {
	spte_t *entry[ENTRIES_MAX];
	unsigned n;
};

struct translation {
	uint64_t frame, rights;
}; /* frame 0: none */

static struct machine *guest;
static uint64_t seed, prefixes, walks, restarts;
static uint64_t address[PAGES + 4];
static unsigned addresses;
static struct entries before, after, here;

/* ---- the reader of a chain ---- */

static unsigned collect(void *ctx, spte_t *p)
{
	struct entries *e = ctx;

	if (e->n < ENTRIES_MAX)
		e->entry[e->n++] = p;
	return 0;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (spte_t *const *)a, y = (uintptr_t) * (spte_t *const *)b;

	return (x > y) - (x < y);
}

static void walk_here(struct chain *c, struct entries *e)
{
	struct chain_walk w = {0};

	e->n = 0;
	if (!chain_walk(c, collect, e, &w) || w.restarts)
		history_breach("a walk does not end by its marker", (uint64_t)c);
	qsort(e->entry, e->n, sizeof *e->entry, by_address);
	for (unsigned i = 1; i < e->n; i++)
		if (e->entry[i] == e->entry[i - 1])
			history_breach("an entry is there twice", (uint64_t)e->entry[i]);
}

static bool has(const struct entries *e, spte_t *p)
{
	return bsearch(&p, e->entry, e->n, sizeof p, by_address);
}

static void old_or_new(struct chain *c)
{
	walk_here(c, &here);
	for (unsigned i = 0; i < here.n; i++)
		if (!has(&before, here.entry[i]) && !has(&after, here.entry[i]))
			history_breach("an entry that belongs to neither state", (uint64_t)here.entry[i]);
	for (unsigned i = 0; i < before.n; i++)
		if (has(&after, before.entry[i]) && !has(&here, before.entry[i]))
			history_breach("an entry that stays is not found", (uint64_t)before.entry[i]);
}

/* The chain of one spte's change, at every store of records [from, to). */
static void replay_change(struct chain *c, unsigned from, unsigned to)
{
	history_goto(to);
	walk_here(c, &after);
	history_goto(from);
	walk_here(c, &before);
	for (unsigned k = from + 1; k <= to; k++) {
		history_goto(k);
		old_or_new(c);
		prefixes++;
	}
}

/* ---- the hardware's walk ---- */

static struct translation translate(uint64_t at)
{
	unsigned level;
	uint64_t s;

	if (!shadow_root(&guest->vcpu, gva(at)))
		return (struct translation){0};
	s = load_acquire(shadow_walk(&guest->vcpu, gva(at), &level));
	if (!(s & SPTE_P))
		return (struct translation){0};
	return (struct translation){spte_hfn(s).v + (at >> PAGE_SHIFT & (gpte_pages(spte_level(s)) - 1)),
		(s & (SPTE_W | SPTE_U | SPTE_MMU_WRITABLE)) | (~s & SPTE_NX)};
}

static bool part_of(const struct translation *t, const struct translation *whole)
{
	return t->frame == whole->frame && !(t->rights & ~whole->rights);
}

static void replay_translations(unsigned from, unsigned to)
{
	struct translation old[PAGES + 4], new[PAGES + 4], t;

	history_goto(to);
	for (unsigned i = 0; i < addresses; i++)
		new[i] = translate(address[i]);
	history_goto(from);
	for (unsigned i = 0; i < addresses; i++)
		old[i] = translate(address[i]);
	for (unsigned k = from + 1; k < to; k++) {
		if (history.record[k - 1].kind != HISTORY_SPTE)
			continue;
		history_goto(k);
		for (unsigned i = 0; i < addresses; i++) {
			t = translate(address[i]);
			if (t.frame && !part_of(&t, &old[i]) && !part_of(&t, &new[i]))
				history_breach("a translation that is neither old nor new", address[i]);
		}
	}
	history_goto(to);
}

/* ---- what each section of the lock has done ---- */

static void replay_section(unsigned first)
{
	unsigned end = history.n;
	bool relevant = false;

	for (unsigned k = first; k < end; k++) {
		const struct history_record *r = &history.record[k];

		relevant |= r->kind == HISTORY_HEAD || r->kind == HISTORY_SLOT ||
			    (r->kind == HISTORY_SPTE && ((r->before ^ r->after) & ~(SPTE_A | SPTE_D)));
	}
	if (!relevant)
		return;
	replay_translations(first, end);
	for (unsigned from = first, to; from < end; from = to) {
		struct chain *c = history.record[from].chain;

		/* the change of one spte and of its entry */
		for (to = from + 1; to < end && history.record[to].kind != HISTORY_SPTE; to++)
			c = c ? c : history.record[to].chain;
		if (c)
			replay_change(c, from, to);
	}
	history_goto(end);
}

/* ---- readers on their way while the stores are made ---- */

static void underfoot(void *ctx, const char *point)
{
	unsigned n = history.at + host_random(&seed) % (FEET + 1);

	(void)ctx;
	(void)point;
	history_goto(n < history.n ? n : history.n);
}

static unsigned collect_underfoot(void *ctx, spte_t *p)
{
	collect(ctx, p);
	underfoot(0, 0);
	return 0;
}

/* True when p left a chain in records [from, to). */
static bool left(spte_t *p, unsigned from, unsigned to)
{
	for (unsigned k = from; k < to; k++) {
		const struct history_record *r = &history.record[k];

		if ((r->kind == HISTORY_SLOT || r->kind == HISTORY_HEAD) && r->before == (uint64_t)p && !r->after)
			return true;
	}
	return false;
}

static void reader(struct chain *c, unsigned from)
{
	struct chain_walk w = {0};
	bool done;

	history_goto(from);
	walk_here(c, &before);
	here.n = 0;
	host_set_park(underfoot, 0);
	done = chain_walk(c, collect_underfoot, &here, &w);
	host_set_park(0, 0);
	walks++;
	restarts += w.restarts;
	if (!done)
		return;
	qsort(here.entry, here.n, sizeof *here.entry, by_address);
	for (unsigned i = 0; i < before.n; i++)
		if (!has(&here, before.entry[i]) && !left(before.entry[i], from, history.at))
			history_breach("a reader misses an entry that stays", (uint64_t)before.entry[i]);
}

static void readers(void)
{
	for (unsigned i = 0; i < READERS && history.n; i++) {
		unsigned k = host_random(&seed) % history.n;

		if (history.record[k].chain)
			reader(history.record[k].chain, k - (k < FEET ? k : host_random(&seed) % FEET));
	}
	history_goto(history.n);
}

/* ---- scenarios ---- */

static void stand_on_cpu_1(bool in)
{
	host_thread_cpu(1);
	if (in)
		rcu_read_lock(RCU_WALK);
	else
		rcu_read_unlock(RCU_WALK);
	host_thread_cpu(0);
}

static void begin(void)
{
	stand_on_cpu_1(true);
	history_on(&guest->mmu, replay_section);
}

static void end(void)
{
	history_off();
	readers();
	stand_on_cpu_1(false);
}

static int start(void **state, enum slab_mode mode)
{
	host_native_init(2);
	slab_set_mode(mode);
	mmu_global_init();
	machine_init(&test_machine, TEST_PAGES, 256);
	*state = guest = &test_machine;
	memset(&history, 0, sizeof history);
	seed = 1 + mode;
	prefixes = walks = restarts = 0;
	for (addresses = 0; addresses < PAGES; addresses++)
		address[addresses] = TEST_VIRT + addresses % 3 * LARGE + addresses / 3 * PAGE_SIZE;
	for (unsigned i = 0; i < 4; i++)
		address[addresses++] = TEST_FREE + i * PAGE_SIZE;
	return 0;
}

static int setup(void **state)
{
	return start(state, SLAB_NORMAL);
}

static int setup_lifo(void **state)
{
	return start(state, SLAB_LIFO);
}

static int setup_dbit(void **state)
{
	start(state, SLAB_NORMAL);
	log_set_mode(&guest->mmu, LOG_DBIT);
	return 0;
}

/* No breach, and each of the events named has been there. */
static void expect(const enum history_event *events, unsigned n, uint64_t floor)
{
	print_message("%lu prefixes, %lu readers, %lu restarts, at most %u sptes under one hold\n", prefixes, walks,
		restarts, history.longest);
	assert_int_equal(history.violations, 0);
	for (unsigned i = 0; i < n; i++)
		if (!history.events[events[i]])
			fail_msg("no %s", history_event_name[events[i]]);
	assert_true(prefixes >= floor);
}
#define EXPECT(floor, ...)                                                                                             \
	expect((enum history_event[]){__VA_ARGS__},                                                                    \
		sizeof((enum history_event[]){__VA_ARGS__}) / sizeof(enum history_event), floor)

static void one_page_mapped_moved_and_dropped(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	begin();
	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_load(c, TEST_VIRT);
	machine_store(c, TEST_VIRT, 1);
	machine_map(c, root, TEST_VIRT, (TEST_FREE + PAGE_SIZE) | TEST_RW, 1);
	machine_invlpg(c, TEST_VIRT);
	machine_store(c, TEST_VIRT, 2);
	machine_map(c, root, TEST_VIRT, (TEST_FREE + PAGE_SIZE) | GPTE_P | GPTE_A, 1);
	machine_invlpg(c, TEST_VIRT);
	machine_map(c, root, TEST_VIRT, 0, 1);
	machine_invlpg(c, TEST_VIRT);
	end();
	EXPECT(20, EVENT_INSTALL, EVENT_DROP, EVENT_LINK, EVENT_NARROW, EVENT_FIRST);
}

static void a_chain_grows_gets_holes_and_ends(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	begin();
	for (unsigned i = 0; i < PAGES; i++) {
		machine_map(c, root, address[i], TEST_FREE | TEST_RW, 1);
		machine_store(c, address[i], i);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < PAGES; i += 2 - round) {
			machine_map(c, root, address[i], 0, 1);
			machine_invlpg(c, address[i]);
		}
		if (round == 0) {
			machine_map(c, root, address[0], TEST_FREE | TEST_RW, 1);
			machine_store(c, address[0], 1);
		}
	}
	machine_map(c, root, TEST_FREE, 0, 1); /* the identity's, the last one */
	machine_invlpg(c, TEST_FREE);
	end();
	EXPECT(150, EVENT_GROW_SINGLE, EVENT_GROW, EVENT_HOLE_FILLED, EVENT_HOLE_MADE, EVENT_FREED, EVENT_EMPTIED);
}

static void a_large_leaf_is_split(void **state)
{
	struct machine *c = *state;
	uint64_t unit = LARGE / 64 / PAGE_SIZE;

	begin();
	machine_store(c, LARGE, 1); /* paging is off: all of it in one leaf */
	assert_int_equal(spte_level(machine_spte(c, LARGE)), 2);
	log_start(&c->mmu);
	log_harvest(&c->mmu, 0);
	for (unsigned i = 0; i < unit; i++)
		machine_store(c, LARGE + i * 64 * PAGE_SIZE, i);
	machine_long_mode(c); /* tables in it: they are protected */
	end();
	EXPECT(30, EVENT_INSTALL_LARGE, EVENT_DROP_LARGE, EVENT_LINK, EVENT_PROTECT);
}

static void a_harvest_and_fix_ups(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < PAGES; i++)
		machine_map(c, root, address[i], (TEST_FREE + i % FRAMES * PAGE_SIZE) | TEST_RW, 1);
	log_start(&c->mmu);
	begin();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < PAGES; i++)
			machine_store(c, address[i], i);
		assert_int_equal(log_harvest(&c->mmu, 0), LOG_DONE);
	}
	end();
	EXPECT(100, EVENT_INSTALL, EVENT_FIXUP, EVENT_PROTECT);
}

/* Of one address or of several at once; what the guest's tables say is whatever comes. */
static void random_operation(struct machine *c, uint64_t root)
{
	uint64_t r = host_random(&seed), at = address[r % PAGES], value = 1;

	switch (r >> 8 & 15) {
	case 0 ... 4:
		machine_map(c, root, at,
			(TEST_FREE + (r >> 16) % FRAMES * PAGE_SIZE) | GPTE_P |
				(r >> 24 & (GPTE_W | GPTE_U | GPTE_A | GPTE_D)),
			1);
		machine_invlpg(c, at);
		break;
	case 5:
		machine_map(c, root, at, 0, 1);
		machine_invlpg(c, at);
		break;
	case 6: /* without INVLPG: read again by the load of CR3 */
		for (unsigned i = 0; i < 6; i++)
			machine_map(
				c, root, address[(r + i) % PAGES], r >> (20 + i) & 1 ? (TEST_FREE | TEST_RW) : 0, 1);
		machine_cr3(c, root);
		break;
	case 7:
		log_harvest(&c->mmu, 0);
		break;
	case 8: /* the hypervisor's own store to a table */
		if ((r >> 32) % 4 == 0)
			mmu_write(&c->mmu, gpa(machine_pte(c, root, at, 1)), &(uint64_t){0}, 8);
		break;
	case 9:
		if ((r >> 32) % 32 == 0)
			mmu_zap_all(&c->mmu);
		else if ((r >> 32) % 32 == 1)
			log_start(&c->mmu);
		else if ((r >> 32) % 32 == 2 && load_relaxed(&c->mmu.logging))
			log_stop(&c->mmu);
		break;
	default:
		machine_access(c, at, r >> 40 & (PF_W | PF_U), &value);
		break;
	}
}

static void storm(struct machine *c)
{
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < STEPS; i++) {
		begin();
		for (unsigned k = host_random(&seed) % 8; k-- > 0;)
			random_operation(c, root);
		end();
		if (i % 64 == 0)
			assert_int_equal(mmu_audit(&c->mmu), 0);
	}
	for (unsigned i = 0; i < EVENTS; i++)
		print_message("%s: %lu\n", history_event_name[i], history.events[i]);
}

static void random_operations(void **state)
{
	storm(*state);
	EXPECT(PREFIXES, EVENT_INSTALL, EVENT_DROP, EVENT_LINK, EVENT_UNLINK, EVENT_WIDEN, EVENT_NARROW, EVENT_FIXUP,
		EVENT_PROTECT, EVENT_FIRST, EVENT_LAST, EVENT_GROW_SINGLE, EVENT_GROW, EVENT_HOLE_FILLED,
		EVENT_HOLE_MADE, EVENT_EMPTIED, EVENT_FREED);
}

static void random_operations_dbit(void **state)
{
	storm(*state);
	EXPECT(PREFIXES, EVENT_INSTALL, EVENT_DROP, EVENT_LINK, EVENT_UNLINK, EVENT_NARROW, EVENT_TAKEN, EVENT_GROW);
}

#define HISTORY_TEST(f) cmocka_unit_test_setup_teardown(f, setup, test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HISTORY_TEST(one_page_mapped_moved_and_dropped),
		HISTORY_TEST(a_chain_grows_gets_holes_and_ends),
		HISTORY_TEST(a_large_leaf_is_split),
		HISTORY_TEST(a_harvest_and_fix_ups),
		HISTORY_TEST(random_operations),
		{"random_operations_lifo", random_operations, setup_lifo, test_teardown, 0},
		{"random_operations_dbit", random_operations_dbit, setup_dbit, test_teardown, 0},
	};

	return cmocka_run_group_tests_name("history", tests, 0, 0);
}
