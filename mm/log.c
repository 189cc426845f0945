/* SPDX-License-Identifier: MIT */
/* The dirty log, its lockless walker, and rounds by protection. (By D bits: dbit.c.)
 *
 * Publishers (leaf.c, fault.c, gmem.c): in one publishing section, the spte, then its rmap entry, then the dirty bit by a
 * locked RMW. A harvest:
 *
 *   0 a grace period for publishers   whoever opened a page before the call has set its bit (publish.pml)
 *   1 take the bits (acquiring xchg)  what was published before a bit is visible to the walk (publish.pml)
 *   2 walk each page's chain          clears W of every writable leaf of the page; a failed cmpxchg looks again
 *   3 flush, collect acknowledgements no CPU writes through a translation older than 2
 *   4 hand the bits on                only now may the pages be read
 *
 * Why nothing is lost. A write that completed before the call went through a writable spte that was published, so its bit
 * was set by the end of 0, and is in 1, or was taken by an earlier harvest, whose 2 and 3 had then not happened to that
 * spte: it was published after that harvest's 1, and so was its bit. A write after the flush of this harvest faults, and
 * the fix-up sets the bit again. A write between 1 and 3 is in the page before 4 reads it.
 *
 * Who may be missed by the walk: an spte installed after 1 (its bit comes after it, for the next harvest) and one
 * removed (its writes are over with the flush, and the bit was set by then).
 *
 * The walker takes no lock that a vCPU takes. Harvests of one guest take turns by one flag, which nobody waits for.
 * Not promised: that a page reported was written (named over-reports: first harvest after a start, a walk given up, a
 * zapped writable spte, an instruction that faulted and did not complete).
 */
#include "mm/gpte.h"
#include "mm/harvest.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/tlb.h"

struct log_test log_test;

#define MATCH (SPTE_P | SPTE_W | SPTE_SIZE_MASK | SPTE_PFN_MASK)

/* What a walk is to protect: leaves of one page and size. The value is guessed, which is mostly right, so that the load is the
 * cmpxchg's own. */
struct protect {
	uint64_t guess;  /* under MATCH: a writable leaf of this page and size; the other bits as the last one had them */
	uint64_t set;    /* the same, protected */
	uint64_t missed; /* entries visited that were none */
};

static inline void protect_aim(struct protect *p, uint64_t guess)
{
	p->guess = guess;
	p->set = guess & ~(SPTE_W | SPTE_D);
}

/* By value, so that the walk keeps what it knows in registers. */
struct unguessed {
	uint64_t found; /* the value that was protected; 0: there was nothing to protect */
	unsigned tries;
};

static __attribute__((noinline)) struct unguessed protect_unguessed(uint64_t guess, spte_t *s, uint64_t old)
{
	struct unguessed u = {0};

	while (((old ^ guess) & MATCH) == 0) {
		park("log-retry");
		if (cmpxchg_seq(s, &old, old & ~(SPTE_W | SPTE_D))) {
			u.found = old;
			break;
		}
		park("spte-changed");
		u.tries++;
	}
	return u;
}

static inline __attribute__((always_inline)) unsigned protect_visit(void *ctx, spte_t *s)
{
	struct protect *p = ctx;
	uint64_t old = p->guess;
	struct unguessed u;

	park("log-protect");
	if (cmpxchg_seq(s, &old, p->set)) /* partner: leaf_add */
		return 0;
	u = protect_unguessed(p->guess, s, old);
	if (u.found)
		protect_aim(p, u.found);
	else
		p->missed++;
	return u.tries;
}

bool log_turn_take(struct mmu *m)
{
	uint32_t free = 0;

	return cmpxchg_seq(&m->harvesting, &free, 1); /* partner: turn_end */
}

void log_turn_end(struct mmu *m)
{
	store_release(&m->harvesting, 0);
}

/* walker-skip=: the pages of a word that are forgotten. */
static uint64_t skipped(uint64_t w)
{
	uint64_t bits = 0;

	for (unsigned b = 0; b < 64; b++)
		bits |= (uint64_t)((w * 64 + b) % log_test.skip == log_test.skip - 1) << b;
	return bits;
}

static uint64_t take_bits(struct slot *s)
{
	uint64_t pages = 0;

	for (uint64_t w = 0; w < s->words; w++) {
		uint64_t bits = 0;

		/* A clear word need not be taken: the grace period has made every bit of an earlier write visible. */
		if (load_relaxed(&s->bits[SLOT_DIRTY][w]))
			bits = xchg_acquire(&s->bits[SLOT_DIRTY][w], 0); /* partner: slot_mark_dirty */
		if (log_test.skip && bits)
			bits &= ~skipped(w);
		store_relaxed(&s->bits[SLOT_TAKEN][w], bits);
		if (bits)
			pages += slot_count(bits);
	}
	return pages;
}

/* Any chain, from its head. False: given up. */
static __attribute__((noinline)) bool protect_chain(struct harvest *h, struct chain *c, uint64_t guess)
{
	struct chain_walk walk = {0};
	struct protect p = {0};
	bool done;

	protect_aim(&p, guess);
	done = chain_walk(c, protect_visit, &p, &walk);
	h->other = p.guess & ~MATCH;
	h->protected += walk.visited - p.missed;
	h->restarts += walk.restarts;
	return done;
}

/* A page's only mapping, whose value was guessed wrong. */
static void protect_single(struct harvest *h, spte_t *s, uint64_t guess, uint64_t old)
{
	struct unguessed u = protect_unguessed(guess, s, old);

	if (u.found) {
		h->other = u.found & ~MATCH;
		h->protected++;
	}
}

/* The 2 MiB leaves over page f: they lose W, and are split by the next write. */
static inline bool protect_large(struct harvest *h, struct slot *s, gfn_t f)
{
	struct chain *c = slot_chain(s, f, 2);
	uint64_t other = h->other;
	gfn_t first;
	bool done;

	if (__builtin_expect(!chain_peek(c), 1))
		return true;
	first = gfn(f.v & ~(gpte_pages(2) - 1));
	done = protect_chain(h, c, hfn_hpa(slot_hfn(s, first)).v | SPTE_P | SPTE_W | SPTE_SIZE(2) | SPTE_PS | other);
	h->other = other;
	return done;
}

/* The same over a word's pages, which lie in one unit or in two: once per unit and word. */
static inline bool protect_units(struct harvest *h, struct slot *s, uint64_t w)
{
	gfn_t f = gfn(s->gfn.v + w * 64), last = gfn(f.v + 63), end = gfn(s->gfn.v + s->pages - 1);
	bool done = protect_large(h, s, f);

	if (last.v > end.v)
		last = end;
	return (f.v ^ last.v) & gpte_pages(2) ? done & protect_large(h, s, last) : done;
}

/* Walks the chains of one bitmap word's pages; a section of its own, so grace periods get through. Most pages have one mapping,
 * with the same rights as the page before: that case is here. */
static void protect_word(struct harvest *h, struct slot *s, uint64_t w)
{
	uint64_t bits = load_relaxed(&s->bits[SLOT_TAKEN][w]), first = w * 64, plain = slot_count(bits);
	uint64_t want = hfn_hpa(hfn(s->hfn.v + first)).v | SPTE_P | SPTE_W | SPTE_SIZE(1), aim, set;
	struct chain *chain = &s->chain[0][first];

	rcu_read_lock(RCU_WALK);
	if (!protect_units(h, s, w)) {
		fetch_or_seq(&s->bits[SLOT_DIRTY][w], bits); /* as below, for the whole word */
		h->gaveup++;
	}
	aim = want | h->other;
	set = aim & ~(SPTE_W | SPTE_D);
	for (; bits; bits &= bits - 1) {
		uint64_t i = (uint64_t)__builtin_ctzl(bits), frame = i << PAGE_SHIFT, guess = aim + frame, old = guess;
		uint64_t at = chain_peek(&chain[i]);

		if (at && !(at & CHAIN_MANY)) {
			park("log-protect");
			if (cmpxchg_seq((spte_t *)at, &old, set + frame)) /* partner: leaf_add */
				continue;
		}
		plain--;
		if (!at)
			continue;
		if (!(at & CHAIN_MANY)) {
			protect_single(h, (spte_t *)at, guess, old);
		} else if (!protect_chain(h, &chain[i], guess)) {
			slot_mark_dirty(s, gfn(s->gfn.v + first + i)); /* reported, and looked at again */
			h->gaveup++;
		}
		aim = want | h->other;
		set = aim & ~(SPTE_W | SPTE_D);
	}
	rcu_read_unlock(RCU_WALK);
	h->protected += plain;
}

static void protect_slots(struct harvest *h)
{
	uint64_t start = host_clock();

	for (unsigned i = 0; i < h->slots; i++) {
		struct slot *s = &h->mmu->slot[i];

		for (uint64_t w = 0; w < s->words; w++)
			if (load_relaxed(&s->bits[SLOT_TAKEN][w]))
				protect_word(h, s, w);
	}
	h->ticks += host_clock() - start;
}

static void hand_on(struct slot *s)
{
	for (uint64_t w = 0; w < s->words; w++) {
		uint64_t bits = load_relaxed(&s->bits[SLOT_TAKEN][w]);

		if (bits == 0)
			continue;
		fetch_or_seq(&s->bits[SLOT_COPY][w], bits); /* partner: replica.c takes them without the turn */
		store_relaxed(&s->bits[SLOT_SINCE][w], load_relaxed(&s->bits[SLOT_SINCE][w]) | bits);
	}
}

/* What the guest felt while the walker stood still. */
struct watch { uint64_t faults, worst; };

static struct watch stand_still(struct mmu *m)
{
	uint64_t until = host_clock() + log_test.stop_ticks, faults = mmu_faults(m).faults;
	struct mmu_faults now;

	for (unsigned i = 0; i < m->vcpus; i++)
		store_relaxed(&m->vcpu[i]->stats.worst_fault, 0);
	while (host_clock() < until)
		host_relax();
	now = mmu_faults(m);
	return (struct watch){now.faults - faults, now.worst_fault};
}

/* walker-stop=: one line for the test that reads it. before, after: outside a harvest; during: bits taken, nothing protected.
 * A worst fault of a second is a matter of luck too: it is held against the worse of the two beside it. */
static void compare_watches(struct mmu *m, struct watch before, struct watch during, struct watch after)
{
	uint64_t beside = before.worst > after.worst ? before.worst : after.worst;
	uint64_t growth = during.worst > beside ? (during.worst - beside) * 100 / (beside | 1) : 0;

	host_print("WALKER-STOP %s faults=%lu worst=%lu before: faults=%lu worst=%lu after: faults=%lu worst=%lu growth=%lu%%",
		m->name, (unsigned long)during.faults, (unsigned long)during.worst, (unsigned long)before.faults,
		(unsigned long)before.worst, (unsigned long)after.faults, (unsigned long)after.worst,
		(unsigned long)growth);
}

static void count(const struct harvest *h, struct log_round *r)
{
	struct mmu_stats *stats = &h->mmu->stats;

	count_add(&stats->rounds, 1);
	count_add(&stats->dbit_rounds, load_relaxed(&h->mmu->by_dbit));
	count_add(&stats->dirty, h->pages);
	count_add(&stats->protected, h->protected);
	count_add(&stats->cleared, h->cleared);
	count_add(&stats->restarts, h->restarts);
	count_add(&stats->gaveup, h->gaveup);
	if (r)
		*r = (struct log_round){h->pages, h->protected, h->cleared, h->restarts, h->gaveup};
}

/* Makes rounds go by D bits from now on, or by protection. */
static void change_mode(struct harvest *h, bool by_dbit)
{
	/* release: before the tag of the grace period; partner: fault.c's load in a publishing section */
	store_release(&h->mmu->by_dbit, by_dbit);
	if (by_dbit)
		return; /* where W is, D is, and the bit: nothing to mend */
	/* leaves that were opened without D and without a bit are there, after this; and then no more */
	rcu_wait(RCU_MASK_PUBLISH);
	dbit_walk(h, SPTE_W | SPTE_D);
	/* some processors set D though W is gone, by a translation that had it; after this there is none */
	tlb_flush(h->mmu);
	dbit_walk(h, SPTE_D);
	h->ticks = 0; /* not what a round by protection costs */
}

/* A round; the caller has the turn. */
void log_harvest_held(struct mmu *m, struct log_round *r)
{
	struct harvest h = {.mmu = m, .slots = load_acquire(&m->slots)};
	bool by_dbit = log_choose(m);
	struct watch before = {0}, during = {0};

	if (by_dbit != load_relaxed(&m->by_dbit))
		change_mode(&h, by_dbit);
	if (log_test.stop_ticks)
		before = stand_still(m);
	if (by_dbit)
		dbit_walk(&h, SPTE_D);
	rcu_wait(RCU_MASK_PUBLISH);
	park("log-waited");
	for (unsigned i = 0; i < h.slots; i++)
		h.pages += take_bits(&m->slot[i]);
	if (log_test.stop_ticks)
		during = stand_still(m);
	if (h.pages && !by_dbit)
		protect_slots(&h);
	park("log-protected");
	if (h.pages || h.cleared)
		tlb_flush(m);
	for (unsigned i = 0; h.pages && i < h.slots; i++)
		hand_on(&m->slot[i]);
	if (m->map && h.pages)
		log_map_draw(m);
	if (log_test.stop_ticks)
		compare_watches(m, before, during, stand_still(m));
	count(&h, r);
	log_learn(&h);
}

enum log_outcome log_harvest(struct mmu *m, struct log_round *r)
{
	if (load_acquire(&m->logging) == 0)
		return LOG_OFF;
	if (!log_turn_take(m))
		return LOG_BUSY;
	log_harvest_held(m, r);
	log_turn_end(m);
	return LOG_DONE;
}

void log_set_mode(struct mmu *m, enum log_mode mode)
{
	m->log_mode = mode;
	store_relaxed(&m->by_dbit, mode == LOG_DBIT); /* nobody else looks at it yet */
}

void log_start_held(struct mmu *m)
{
	/* The mode first, then the bits: whatever was opened without protection is dirty now (log.pml). */
	if (fetch_add_seq(&m->logging, 1) == 0)
		for (unsigned i = 0; i < load_acquire(&m->slots); i++)
			slot_fill(&m->slot[i], SLOT_DIRTY);
	m->costs.started = true;
}

enum log_outcome log_start(struct mmu *m)
{
	if (!log_turn_take(m))
		return LOG_BUSY;
	log_start_held(m);
	log_turn_end(m);
	return LOG_DONE;
}

enum log_outcome log_stop(struct mmu *m)
{
	if (!log_turn_take(m))
		return LOG_BUSY;
	fetch_sub_seq(&m->logging, 1);
	log_turn_end(m);
	return LOG_DONE;
}

enum log_outcome log_view_start(struct mmu *m)
{
	if (!log_turn_take(m))
		return LOG_BUSY;
	if (!m->view)
		log_start_held(m);
	m->view = true;
	/* the first harvest after a start reports every page, whoever else is logging */
	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		slot_fill(&m->slot[i], SLOT_SINCE);
	log_turn_end(m);
	return LOG_DONE;
}

enum log_outcome log_view_harvest(struct mmu *m, uint64_t *pages)
{
	if (!log_turn_take(m))
		return LOG_BUSY;
	if (!m->view) {
		log_turn_end(m);
		return LOG_OFF;
	}
	log_harvest_held(m, 0);
	*pages = 0;
	for (unsigned i = 0; i < load_acquire(&m->slots); i++) {
		struct slot *s = &m->slot[i];

		for (uint64_t w = 0; w < s->words; w++) {
			uint64_t bits = load_relaxed(&s->bits[SLOT_SINCE][w]);

			store_relaxed(&s->bits[SLOT_SINCE][w], 0);
			store_relaxed(&s->bits[SLOT_VIEW][w], bits);
			*pages += slot_count(bits);
		}
	}
	log_turn_end(m);
	return LOG_DONE;
}

enum log_outcome log_view_stop(struct mmu *m)
{
	if (!log_turn_take(m))
		return LOG_BUSY;
	if (m->view)
		fetch_sub_seq(&m->logging, 1);
	m->view = false;
	log_turn_end(m);
	return LOG_DONE;
}

bool log_view_test(struct mmu *m, gfn_t f)
{
	struct slot *s = slot_find(m, f);
	uint64_t i;

	if (!s)
		return false;
	i = slot_index(s, f);
	return load_relaxed(&s->bits[SLOT_VIEW][i / 64]) >> (i % 64) & 1;
}
