/* SPDX-License-Identifier: MIT */
/* Taking shadow pages back when the budget is used up: the oldest first, each with a second chance.
 *
 * mmu.all is in order of age, the newest first. A page that was linked, loaded as a root or walked through since it was last
 * looked at becomes new again; one that is pinned (a loaded root, a builder's, a syncer's) is left alone. What is killed is
 * buried as ever: taken apart in steps, flushed, freed; its children stay, and are found again by the hash.
 *
 * Why a fault gets through. What its instruction touches is MMU_FLOOR tables at most. Each of its rounds makes what is
 * missing, or takes a few of the oldest pages: an eighth of the budget at most, so not those that the rounds just before made,
 * which are the newest. Promised: a guest alone on its budget goes on at
 * MMU_FLOOR pages a vCPU. Not promised: how often vCPUs take each other's pages.
 */
#include "mm/shadow.h"

#define LOOK 64 /* pages looked at between two lock breaks */
#define BATCH 16

/* The oldest becomes the newest. */
static void renew(struct mmu *m, struct shadow *s)
{
	s->recent = false;
	m->all_last = s->prev;
	m->all_last->next = 0;
	s->prev = 0;
	s->next = m->all;
	m->all->prev = s;
	m->all = s;
}

/* Looks at up to LOOK of the oldest and kills up to `want`; *waits: one could go if others were ready with it. */
static unsigned kill_oldest(struct mmu *m, unsigned want, struct shadow **dying, bool *waits)
{
	unsigned killed = 0;

	lock_take(&m->lock);
	for (unsigned looked = 0; looked < LOOK && killed < want && m->all_last != m->all; looked++) {
		struct shadow *s = m->all_last;

		if (load_relaxed(&s->state) != SHADOW_LIVE) {
			*waits = true;
		} else if (s->pins == 0 && !s->recent) {
			shadow_kill(s, dying);
			killed++;
		}
		renew(m, s); /* one that dies, too: it is out of the way until it is freed */
	}
	lock_drop(&m->lock);
	return killed;
}

enum mmu_outcome shadow_reclaim(struct mmu *m)
{
	uint64_t spare = m->budget / 8;
	unsigned want = spare < BATCH ? (unsigned)spare : BATCH, killed = 0;
	struct shadow *dying = 0;
	bool waits = false;

	/* twice round: the first may only take second chances away */
	for (uint64_t looked = 0; !killed && looked < 2 * m->budget; looked += LOOK)
		killed = kill_oldest(m, want ? want : 1, &dying, &waits);
	shadow_bury(m, dying);
	count_add(&m->stats.reclaimed, killed);
	return killed ? MMU_RESUME : waits ? MMU_RETRY : MMU_END;
}
