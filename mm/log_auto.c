/* SPDX-License-Identifier: MIT */
/* How the next round of the dirty log goes: by protection or by D bits.
 *
 * A round by protection costs the walk of each dirty page's chain, and later a fault when the page is written again. One by
 * D bits costs the walk of all leaf tables, dirty or not, and the guest nothing. Both prices are measured while the log
 * runs: ticks a page and a fix-up in rounds by protection, ticks a table in rounds by D bits; the number of pages a round
 * is known in either. So the two can be compared after each round without trying the other one again.
 */
#include "mm/harvest.h"

#define EXIT_TICKS 256 /* an exit and entry beside mmu_fault: make bench, row 2; silicon takes longer, which favours D bits */
#define FIRST_ROUNDS 3 /* by protection, until a round by D bits shows what a table costs */
#define STAY_ROUNDS 8  /* at least, between two changes */
#define MEAN_SHIFT 2   /* a new value counts for a quarter of the mean */

/* What a round would cost, TSC ticks. */
static uint64_t by_protection(const struct log_costs *c)
{
	return c->pages * (c->page + c->fixup + EXIT_TICKS);
}

static uint64_t by_dbits(const struct log_costs *c)
{
	return c->tables * c->table;
}

bool log_choose(struct mmu *m)
{
	struct log_costs *c = &m->costs;
	bool now = load_relaxed(&m->by_dbit), known = now || c->tables;
	uint64_t mine, other;

	if (m->log_mode != LOG_AUTO)
		return m->log_mode == LOG_DBIT;
	mine = now ? by_dbits(c) : by_protection(c);
	other = now ? by_protection(c) : by_dbits(c);
	if (c->rounds < (known ? STAY_ROUNDS : FIRST_ROUNDS) || (known && other >= mine / 4 * 3))
		return now;
	host_log(HOST_INFO, "%s: log=auto: by %s from round %lu on; estimates: %lu ticks a round, not %lu", m->name,
		now ? "protection" : "D bits", (unsigned long)load_relaxed(&m->stats.rounds), (unsigned long)other,
		(unsigned long)mine);
	c->rounds = 0;
	return !now;
}

static void learn(uint64_t *mean, uint64_t value)
{
	*mean = *mean ? *mean - (*mean >> MEAN_SHIFT) + (value >> MEAN_SHIFT) : value;
}

void log_learn(const struct harvest *h)
{
	struct mmu *m = h->mmu;
	struct log_costs *c = &m->costs;
	struct mmu_faults now = mmu_faults(m);

	if (c->started) {
		c->started = false;
		return;
	}
	c->rounds++;
	learn(&c->pages, h->pages);
	if (load_relaxed(&m->by_dbit)) {
		c->tables = h->tables + 1; /* the register's own walk counts for one */
		learn(&c->table, h->ticks / c->tables);
	} else if (h->pages) {
		learn(&c->page, h->ticks / h->pages);
	}
	if (now.fixups > c->fixups) {
		learn(&c->fixup, (now.fixup_ticks - c->fixup_ticks) / (now.fixups - c->fixups));
		c->fixups = now.fixups;
		c->fixup_ticks = now.fixup_ticks;
	}
}
