/* SPDX-License-Identifier: MIT */
/* Protecting guest tables and reading them again.
 *
 * Shadowing a table, and unsync to synced, use one order: protect the frame, flush and collect the acknowledgements, and
 * only then read gptes. A gpte read earlier could be overwritten through a stale writable translation without anyone
 * noticing (HAZARDS H40a, H50). A table that is synced keeps its unsync flag until the last gpte is read: between protection
 * and reading it is not in step, and a vCPU that has changed an entry and executes INVLPG, loads CR3 or follows a link must
 * not take it for being so (found by tools/host/torture.c under TSan, when the flag was cleared first). A write meanwhile
 * faults, for the frame is protected, and takes the mark `syncing` away, which keeps the flag.
 *
 * Who protects flushes unless nothing can write any more: see protected_flush, and tools/model/owed.pml.
 *
 * A table that the guest writes between any two of its CR3 loads (a process that maps as it runs; Linux's text_poke) would
 * fault each time for being protected. So it becomes hot (stays_open): sync_load reads it and leaves it as it is, unsync. Nothing can be
 * missed by that. What the loading vCPU has stored, or been told of, before it came out of the guest is read; what is stored
 * later finds the table unsync, as if it had gone so again at once; and this vCPU flushes before it enters. A link is another
 * matter: which old tables it will lead to is known only after the guest's upper tables were read, so it protects hot ones too
 * (sync_all), and none that was changed before the link was made is taken for being in step.
 *
 * Protection takes no lock: it is a reader of the frame's chain. It misses nothing, because the count (or the syncing mark)
 * was raised under the lock before the walk began, and every install reads it under the lock after that. A fix-up that
 * races has compared the whole spte, MMU_WRITABLE included, which protection clears.
 */
#include "mm/sync.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/tlb.h"

#define LOOK 64       /* unsync tables looked at */
#define BATCH 16      /* tables synced with one flush */
#define WALK_TRIES 16 /* of a protection that churn makes give up */
#define HOT_AFTER 4   /* syncs in a row that found a table unsync again; who goes unsync so often without a use is dead (fault.c) */
#define HOT_NEAR 1    /* in a row: so many syncs apart at most */
#define HOT_IDLE 2    /* syncs that find it unused, until it is protected again */
#define HOT_MOST 8    /* tables of one guest */

struct protect {
	uint64_t want; /* P, size, frame */
	bool saw;      /* a mapping through which the guest may write */
	bool dirty;    /* one that had D */
};

static unsigned protect_visit(void *ctx, spte_t *s)
{
	struct protect *p = ctx;
	uint64_t old = load_acquire(s);
	unsigned tries = 0;

	p->saw |= !old; /* on its way out, and perhaps not yet owed */
	while ((old & (SPTE_P | SPTE_SIZE_MASK | SPTE_PFN_MASK)) == p->want && (old & SPTE_MMU_WRITABLE)) {
		p->saw = true;
		if (cmpxchg_seq(s, &old, old & ~(SPTE_W | SPTE_D | SPTE_MMU_WRITABLE))) {
			p->dirty |= (old & SPTE_D) != 0;
			park("sync-protected");
			break;
		}
		park("spte-changed");
		tries++;
	}
	return tries;
}

/* False when the walk was given up every time, or the slot moves. */
static bool protect_frame(struct slot *slot, gfn_t f, struct protect *p)
{
	struct chain_walk w = {0};
	bool done = false;

	for (unsigned i = 0; !done && i < WALK_TRIES; i++) {
		/* a publishing section: a harvest that finds D cleared here waits for the bits set instead (dbit.pml) */
		rcu_read_lock(RCU_PUBLISH);
		done = !mmu_moving(slot->mmu); /* else the table is dead, or about to be */
		for (unsigned level = 1; done && level <= SLOT_LEVELS; level++) {
			gfn_t first = gfn(f.v & ~(gpte_pages(level) - 1));

			p->want = hfn_hpa(slot_hfn(slot, first)).v | SPTE_P | SPTE_SIZE(level);
			p->dirty = false;
			done &= chain_walk(slot_chain(slot, f, level), protect_visit, p, &w);
			if (p->dirty)
				slot_mark_range(slot, first, gpte_pages(level));
		}
		rcu_read_unlock(RCU_PUBLISH);
	}
	return done;
}

/* After the walks of one flow (protecting was raised before them): flushes if the guest may still write the frame through
 * some TLB. That is so if the walk saw a mapping, or if what it did not see any more was narrowed just before: by a drop,
 * which is owed (asked under the lock, for a drop changes the spte first), or by another flow that has not flushed yet. */
static void protected_flush(struct mmu *m, bool saw)
{
	bool owing;

	park("sync-asking");
	lock_take(&m->lock);
	owing = tlb_owing(m);
	lock_drop(&m->lock);
	if (saw || owing || load_seq(&m->protecting) > 1)
		tlb_flush(m);
	fetch_sub_seq(&m->protecting, 1);
}

enum mmu_outcome sync_build(struct shadow *s)
{
	struct mmu *m = s->mmu;
	struct protect p = {0};
	struct shadow *dying = 0;
	bool done;

	fetch_add_seq(&m->protecting, 1);
	/* a slot lives as long as the guest does (slot.c) */
	done = protect_frame(slot_find(m, s->gfn), s->gfn, &p);
	protected_flush(m, p.saw);
	park("build-protected");
	lock_take(&m->lock);
	if (load_relaxed(&s->state) == SHADOW_BUILDING) { /* it may have died meanwhile */
		if (done)
			store_release(&s->state, SHADOW_LIVE);
		else
			shadow_kill(s, &dying);
	}
	shadow_unpin(s);
	lock_drop(&m->lock);
	shadow_bury(m, dying);
	return done ? MMU_RESUME : MMU_RETRY;
}

/* One flow through sync_all or sync_load. */
struct sync {
	struct mmu *mmu;
	bool load;
	uint64_t call;
	struct shadow *batch[BATCH];
	bool open[BATCH]; /* is not protected */
	unsigned n;
	bool busy; /* some table is being read by a flow that began before: not all is in step when this one is through */
};

/* Whether a sync for a load leaves the table unsync. Lock held. */
static bool stays_open(struct shadow *s, uint64_t call)
{
	struct mmu *m = s->mmu;
	bool hot;

	/* an install makes writes 0, going unsync adds 1, and a hot table begins with 1 */
	s->idle = load_relaxed(&s->writes) > !s->hot ? s->idle + 1 : 0;
	if (s->idle >= HOT_IDLE || (!s->hot && call - s->read_call > HOT_NEAR))
		s->again = s->idle = 0;
	else if (s->again < HOT_AFTER)
		s->again++;
	/* a frame that is another table's too is protected for that one */
	hot = s->again == HOT_AFTER && s->role.level == 1 && (s->hot || load_relaxed(&m->unsync_hot) < HOT_MOST) &&
	      load_relaxed(slot_tables(slot_find(m, s->gfn), s->gfn, 1)) == 1;
	if (hot != s->hot)
		count_add(&m->unsync_hot, hot ? 1 : -1u);
	s->hot = hot;
	if (hot)
		store_relaxed(&s->writes, 1);
	return hot;
}

/* Pins up to BATCH unsync tables that nobody is syncing and that no call has read since this one began. */
static bool take_batch(struct sync *y)
{
	struct mmu *m = y->mmu;
	unsigned looked = 0;
	struct shadow *s;

	y->n = 0;
	lock_take(&m->lock);
	for (s = m->unsync; s && y->n < BATCH && looked < LOOK; s = s->unsync_next, looked++) {
		if (s->read_call >= y->call)
			continue;
		if (s->syncing) {
			y->busy = true;
			continue;
		}
		s->syncing = y;
		s->pins++;
		y->open[y->n] = y->load && stays_open(s, y->call);
		y->batch[y->n++] = s;
	}
	if (s && looked == LOOK && y->n == 0)
		y->busy = true; /* other vCPUs keep writing that many tables */
	lock_drop(&m->lock);
	return y->n > 0;
}

static void protect_batch(struct sync *y, bool done[BATCH])
{
	struct mmu *m = y->mmu;
	struct protect p = {0};
	unsigned open = 0;

	for (unsigned i = 0; i < y->n; i++)
		open += y->open[i];
	if (open == y->n)
		return;
	fetch_add_seq(&m->protecting, 1);
	for (unsigned i = 0; i < y->n; i++)
		done[i] = !y->open[i] && protect_frame(slot_find(m, y->batch[i]->gfn), y->batch[i]->gfn, &p);
	protected_flush(m, p.saw);
}

/* The table stays unsync, and on the list, until it has been read: whoever meets it meanwhile (INVLPG, a CR3 load, a link,
 * the quick path) must not take it for being in step. A write after the protection faults, and clears syncing. */
static void sync_batch(struct sync *y)
{
	struct mmu *m = y->mmu;
	bool done[BATCH] = {false};

	protect_batch(y, done);
	park("sync-flushed");
	for (unsigned i = 0; i < y->n; i++)
		reread_table(y->batch[i]);
	lock_take(&m->lock);
	for (unsigned i = 0; i < y->n; i++) {
		struct shadow *s = y->batch[i];

		if (s->read_call < y->call)
			s->read_call = y->call;
		if (s->syncing == y) {
			if (done[i])
				shadow_clear_unsync(s);
			s->syncing = 0;
		}
		count_add(&m->stats.synced, 1);
		count_add(&m->stats.left_open, y->open[i]);
		shadow_unpin(s);
	}
	lock_drop(&m->lock);
}

static enum mmu_outcome sync(struct mmu *m, bool load)
{
	struct sync y = {.mmu = m, .load = load};

	if (load && load_acquire(&m->burying)) /* it would have to come again, and nothing would be used meanwhile */
		return MMU_RETRY;
	lock_take(&m->lock);
	y.call = ++m->sync_call;
	lock_drop(&m->lock);
	while (take_batch(&y))
		sync_batch(&y);
	/* acquire: partner is the release in shadow_bury */
	return y.busy || load_acquire(&m->burying) ? MMU_RETRY : MMU_RESUME;
}

enum mmu_outcome sync_all(struct mmu *m)
{
	return sync(m, false);
}

enum mmu_outcome sync_load(struct mmu *m)
{
	return sync(m, true);
}
