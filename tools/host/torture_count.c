/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <unistd.h>

#include "mm/shadow.h"
#include "tools/host/native.h"
#include "tools/host/torture_count.h"

#define RECORDS (1u << 16) /* by a hash of the object's address; one that is overwritten is not counted */
#define NOBODY 0xffu
#define DAWDLE_US 100
#define DAWDLE_EDITS 200   /* a walker's long rest: until so many chain edits were made … */
#define DAWDLE_RESTS 150   /* … or it has lasted for so many short ones */
#define DAWDLE_WALK 16     /* one passage in so many, of a walker on its way from one descriptor to the next … */
#define DAWDLE 512         /* … and of anyone elsewhere */

/* What is known of a free object: who freed it, and which walks were underway. All of it under `busy`. */
struct record { atomic32 busy; uint64_t object, guest, walk[TALLY_THREADS]; };

static struct tally tallies[TALLY_THREADS];
static struct record records[RECORDS];
static _Thread_local struct tally *mine;
static _Thread_local uint64_t my_guest, my_seed;

static struct record *record_take(const void *object)
{
	struct record *r = &records[((uint64_t)object >> 6) * 0x9e3779b97f4a7c15UL >> 48];
	uint32_t free = 0;

	while (!cmpxchg_seq(&r->busy, &free, 1))
		free = 0;
	return r;
}

static void record_drop(struct record *r)
{
	store_release(&r->busy, 0);
}

static bool counted(const struct slab_cache *c)
{
	return mine && my_guest != NOBODY && (c == &rmap_cache || c == &shadow_cache);
}

static void dawdle(unsigned odds)
{
	if (host_random(&my_seed) % odds == 0)
		usleep(DAWDLE_US);
}

static uint64_t edits(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < TALLY_THREADS; i++)
		n += load_relaxed(&tallies[i].edits);
	return n;
}

/* Between two descriptors, or before a cmpxchg. What is underfoot is freed now and then; a long rest is as long as it
 * takes to be used again, however slow the build. */
static void rest(void)
{
	uint64_t r = host_random(&my_seed), end = edits() + DAWDLE_EDITS;

	if (my_guest != NOBODY) {
		dawdle(DAWDLE);
		return;
	}
	if (r % DAWDLE_WALK)
		return;
	usleep(DAWDLE_US);
	for (unsigned i = 0; (r >> 32 & 3) == 0 && edits() < end && i < DAWDLE_RESTS; i++)
		usleep(DAWDLE_US);
}

/* The places of no lock where it matters that others come first. */
static bool is_gap(const char *point)
{
	static const char *const gaps[] = {"fixup-found", "fixup-opened", "fault-walked", "sync-flushed", "log-waited",
		"gmem-stored", "walk-read", "invlpg", "rcu-lock", "dbit-table", "dbit-clear"};

	for (unsigned i = 0; i < sizeof gaps / sizeof *gaps; i++)
		if (!strcmp(point, gaps[i]))
			return true;
	return false;
}

static void follow(void *ctx, const char *point)
{
	struct tally *t = ctx;
	uint64_t walk = load_relaxed(&t->walk);

	if (!strcmp(point, "chain-next") || !strcmp(point, "log-retry"))
		rest();
	else if (!strcmp(point, "chain-head"))
		store_relaxed(&t->walk, walk | 1); /* a restart is the same walk */
	else if (!strcmp(point, "chain-done"))
		store_relaxed(&t->walk, walk + 1);
	else if (!strcmp(point, "chain-foreign"))
		count_add(&t->foreign, 1);
	else if (!strcmp(point, "chain-free"))
		count_add(&t->free, 1);
	else if (!strcmp(point, "spte-changed"))
		count_add(&t->failed, 1);
	else if (is_gap(point))
		dawdle(DAWDLE);
}

void tally_begin(unsigned thread, unsigned guest, uint64_t seed)
{
	mine = &tallies[thread];
	my_guest = guest == ~0u ? NOBODY : guest;
	my_seed = seed | 1;
	host_set_park(follow, mine);
}

struct tally tally_sum(void)
{
	struct tally sum = {0};

	for (unsigned i = 0; i < TALLY_THREADS; i++) {
		const struct tally *t = &tallies[i];

		count_add(&sum.foreign, load_relaxed(&t->foreign));
		count_add(&sum.free, load_relaxed(&t->free));
		count_add(&sum.failed, load_relaxed(&t->failed));
		count_add(&sum.edits, load_relaxed(&t->edits));
		count_add(&sum.descriptors, load_relaxed(&t->descriptors));
		count_add(&sum.tables, load_relaxed(&t->tables));
		count_add(&sum.crossed, load_relaxed(&t->crossed));
	}
	return sum;
}

/* ---- wrapped by the linker ---- */

void *__real_slab_alloc(struct slab_cache *c);
void __real_slab_free(struct slab_cache *c, void *object);
void __real_chain_add_many(struct chain *c, struct chain_reserve *r, spte_t *s);
void __real_chain_remove(struct chain *c, struct slab_cache *cache, spte_t *s);
void *__wrap_slab_alloc(struct slab_cache *c);
void __wrap_slab_free(struct slab_cache *c, void *object);
void __wrap_chain_add_many(struct chain *c, struct chain_reserve *r, spte_t *s);
void __wrap_chain_remove(struct chain *c, struct slab_cache *cache, spte_t *s);

static void note_free(const void *object)
{
	struct record *r = record_take(object);

	r->object = (uint64_t)object;
	r->guest = my_guest;
	for (unsigned i = 0; i < TALLY_THREADS; i++)
		r->walk[i] = load_relaxed(&tallies[i].walk);
	record_drop(r);
}

static void note_alloc(const void *object, atomic64 *under_a_walk)
{
	struct record *r = record_take(object);
	bool under = false;

	if (r->object == (uint64_t)object) {
		r->object = 0;
		for (unsigned i = 0; i < TALLY_THREADS; i++)
			under |= (r->walk[i] & 1) && load_relaxed(&tallies[i].walk) == r->walk[i];
		count_add(under_a_walk, under);
		count_add(&mine->crossed, r->guest != my_guest);
	}
	record_drop(r);
}

void __wrap_slab_free(struct slab_cache *c, void *object)
{
	if (counted(c))
		note_free(object);
	__real_slab_free(c, object);
}

void *__wrap_slab_alloc(struct slab_cache *c)
{
	void *object = __real_slab_alloc(c);

	if (object && counted(c))
		note_alloc(object, c == &rmap_cache ? &mine->descriptors : &mine->tables);
	return object;
}

void __wrap_chain_add_many(struct chain *c, struct chain_reserve *r, spte_t *s)
{
	if (mine)
		count_add(&mine->edits, 1);
	__real_chain_add_many(c, r, s);
}

void __wrap_chain_remove(struct chain *c, struct slab_cache *cache, spte_t *s)
{
	if (mine)
		count_add(&mine->edits, 1);
	__real_chain_remove(c, cache, s);
}
