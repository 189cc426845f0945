/* SPDX-License-Identifier: MIT */
/* A guest's RAM: which gfns there are, and host frames for them. */
#include "mm/mmu.h"

#define HOLE_FIRST 0xa0UL        /* gfn: VGA and option ROMs, left out */
#define HOLE_LAST 0x100UL        /* gfn after the hole */
#define LOW_END 0xc0000UL        /* gfn of 3 GiB */
#define HIGH_START 0x100000UL    /* gfn of 4 GiB */

#define LARGE 512UL              /* frames of a large leaf */
#define RUNS 64                  /* of a region, while it is taken */

/* Host frames taken for a region of guest memory, in the order in which they become slots. */
struct run {
	uint64_t hfn, pages;
};
struct runs {
	unsigned n;
	struct run run[RUNS];
};

/* The largest block not above `pages` rounded up to a power of two. */
static hfn_t take_block(uint64_t pages, unsigned *order)
{
	hfn_t h;

	for (*order = 0; *order < PAGE_MAX_ORDER && (1UL << *order) < pages; ++*order)
		;
	while (!hfn_valid(h = page_alloc(*order, PAGE_ANY)) && *order > 0)
		--*order;
	return h;
}

/* May they be one slot, in this order? */
static bool follows(const struct run *a, const struct run *b)
{
	return a->hfn + a->pages == b->hfn && a->pages + b->pages <= SLOT_PAGES_MAX;
}

/* A block more, joined with those beside it, wherever they are among the runs. But only blocks of whole 2 MiB: blocks come in
 * falling sizes, so they come first, and where they begin guest and host addresses lie alike to 2 MiB, in whatever order they
 * stand. False: there are RUNS. */
static bool add_block(struct runs *r, uint64_t h, uint64_t pages)
{
	struct run new = {h, pages};

	for (unsigned i = 0; i < r->n && pages % LARGE == 0;) {
		struct run *o = &r->run[i];

		if (!follows(o, &new) && !follows(&new, o)) {
			i++;
			continue;
		}
		new = (struct run){o->hfn < new.hfn ? o->hfn : new.hfn, o->pages + new.pages};
		*o = r->run[--r->n];
		i = 0;
	}
	if (r->n == RUNS)
		return false;
	r->run[r->n++] = new;
	return true;
}

static bool take_runs(struct runs *r, uint64_t pages)
{
	while (pages > 0) {
		unsigned order;
		hfn_t h = take_block(pages, &order);
		uint64_t got = 1UL << order;

		if (!hfn_valid(h))
			return false;
		if (got > pages) {
			page_free_run(hfn(h.v + pages), got - pages);
			got = pages;
		}
		if (!add_block(r, h.v, got)) {
			page_free_run(h, got);
			return false;
		}
		pages -= got;
	}
	return true;
}

static bool add_slot(struct mmu *m, uint64_t f, uint64_t h, uint64_t pages)
{
	if (slot_add(m, gfn(f), hfn(h), pages))
		return true;
	page_free_run(hfn(h), pages);
	return false;
}

static inline uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

/* A run at gfn f: what lies below the hole, and what lies above. */
static bool add_run(struct mmu *m, uint64_t f, uint64_t h, uint64_t pages)
{
	uint64_t below = f < HOLE_FIRST ? at_most(pages, HOLE_FIRST - f) : 0;
	uint64_t above = f < HOLE_LAST ? at_most(pages, HOLE_LAST - f) : 0; /* the first page of that */
	bool done = true;

	__builtin_memset(hfn_virt(hfn(h)), 0, pages * PAGE_SIZE);
	if (below > 0)
		done = add_slot(m, f, h, below);
	if (above > below)
		page_free_run(hfn(h + below), above - below);
	if (done && pages > above)
		return add_slot(m, f + above, h + above, pages - above);
	page_free_run(hfn(h + above), pages - above);
	return done;
}

static bool add_region(struct mmu *m, uint64_t first, uint64_t pages)
{
	struct runs r = {0};
	bool done = take_runs(&r, pages);

	for (struct run *run = r.run; run < r.run + r.n; run++) {
		if (done)
			done = add_run(m, first, run->hfn, run->pages);
		else
			page_free_run(hfn(run->hfn), run->pages);
		first += run->pages;
	}
	return done;
}

bool mmu_add_ram(struct mmu *m, uint64_t bytes)
{
	uint64_t pages = bytes / PAGE_SIZE, low = pages < LOW_END ? pages : LOW_END;

	if (pages > page_free_count())
		return false;
	if (add_region(m, 0, low) && add_region(m, HIGH_START, pages - low))
		return true;
	mmu_drop_ram(m);
	return false;
}

void mmu_drop_ram(struct mmu *m)
{
	for (unsigned i = load_relaxed(&m->slots); i-- > 0;) {
		struct slot *s = &m->slot[i];
		uint64_t pages = s->pages;

		slot_drop(s);
		page_free_run(s->hfn, pages);
	}
	store_release(&m->slots, 0);
}

uint64_t mmu_pages(const struct mmu *m)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		pages += m->slot[i].pages;
	return pages;
}
