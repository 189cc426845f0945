/* SPDX-License-Identifier: MIT */
/* A binary buddy. RAM is cut into pieces of 2^k frames, aligned to their size; the first frame of a piece carries its
 * state and order, all others say INSIDE. So the piece that holds a frame is found by looking at most at one frame per
 * order, and giving back what is not allocated is always caught, whatever was merged since.
 *
 *              page_alloc (splits a piece if need be)
 *      FREE  ------------------------------------------->  USED
 *        ^                                                  |
 *        `--------------------------------------------------'
 *              page_free (splits a USED piece if only a part of it is given back; merges FREE neighbours)
 *
 * Two zones, below and from 4 GiB, so that low memory is kept for those who need it. The largest piece is 1 GiB: none
 * lies in both zones.
 */
#include "mm/page.h"
#include "mm/lock.h"

#define PAGE_LOW_FRAMES (1UL << (32 - PAGE_SHIFT))
#define PAGE_FRAMES_MAX 0xffffffffUL /* frame numbers fit 32 bits: memory above 16 TiB is left alone */

enum page_state { PAGE_INSIDE, PAGE_FREE, PAGE_USED };
enum { ZONE_LOW, ZONE_HIGH, ZONES };

struct page_zone {
	uint64_t orders; /* bit k: list[k] is not empty */
	uint32_t list[PAGE_MAX_ORDER + 1];
};

static struct {
	struct lock lock;
	struct frame *table; /* [0 … top) */
	uint64_t top;
	uint64_t total;
	struct page_zone zone[ZONES]; /* the lock */
	atomic64 free;                /* written under the lock, read by anyone */
} page;

static struct page_zone *page_zone(uint64_t f)
{
	return &page.zone[f < PAGE_LOW_FRAMES ? ZONE_LOW : ZONE_HIGH];
}

static void page_list_push(uint64_t f, unsigned order)
{
	struct page_zone *z = page_zone(f);
	struct frame *e = &page.table[f];

	e->state = PAGE_FREE;
	e->order = (uint8_t)order;
	e->prev = 0;
	e->next = z->list[order];
	if (e->next)
		page.table[e->next].prev = (uint32_t)f;
	z->list[order] = (uint32_t)f;
	z->orders |= 1UL << order;
}

static void page_list_remove(uint64_t f)
{
	struct page_zone *z = page_zone(f);
	struct frame *e = &page.table[f];

	if (e->prev)
		page.table[e->prev].next = e->next;
	else
		z->list[e->order] = e->next;
	if (e->next)
		page.table[e->next].prev = e->prev;
	if (!z->list[e->order])
		z->orders &= ~(1UL << e->order);
	e->state = PAGE_INSIDE;
}

/* Makes the piece (f, order), whose first frame is in no list, free, and merges it with its free neighbours. */
static void page_merge(uint64_t f, unsigned order)
{
	page.table[f].state = PAGE_INSIDE;
	for (; order < PAGE_MAX_ORDER; order++) {
		uint64_t buddy = f ^ (1UL << order);

		if (buddy >= page.top || page.table[buddy].state != PAGE_FREE || page.table[buddy].order != order)
			break;
		page_list_remove(buddy);
		f &= ~(1UL << order);
	}
	page_list_push(f, order);
}

/* First frame of the USED piece that holds f. */
static uint64_t page_piece(uint64_t f)
{
	for (unsigned order = 0; order <= PAGE_MAX_ORDER; order++) {
		uint64_t head = f & ~((1UL << order) - 1);
		const struct frame *e = &page.table[head];

		if (e->state == PAGE_INSIDE || e->order < order)
			continue;
		if (e->state == PAGE_USED)
			return head;
		break;
	}
	host_panic("page_free: frame 0x%lx is not allocated", f);
}

/* Gives back the piece at f, or the part (f, order) of a larger one. Returns the order of what was given back. */
static unsigned page_free_piece(uint64_t f, unsigned order)
{
	uint64_t head = page_piece(f);
	unsigned k = page.table[head].order;

	if (k < order)
		order = k;
	while (k > order) {
		uint64_t upper = head + (1UL << --k);

		page.table[head].order = page.table[upper].order = (uint8_t)k;
		page.table[upper].state = PAGE_USED;
		if (f >= upper)
			head = upper;
	}
	CHECK(head == f);
	page_merge(f, order);
	count_add(&page.free, 1UL << order);
	return order;
}

void page_free(hfn_t f, unsigned order)
{
	CHECK(order <= PAGE_MAX_ORDER && !(f.v & ((1UL << order) - 1)));
	CHECK(f.v < page.top && page.top - f.v >= 1UL << order);
	for (uint64_t at = f.v, end = f.v + (1UL << order); at < end;) {
		lock_take(&page.lock);
		at += 1UL << page_free_piece(at, order);
		lock_drop(&page.lock);
	}
}

/* Takes 2^order frames from a zone, 0 when it has none. */
static uint64_t page_take(struct page_zone *z, unsigned order)
{
	uint64_t fit = z->orders >> order << order;
	uint64_t f;
	unsigned k;

	if (!fit)
		return 0;
	k = (unsigned)__builtin_ctzl(fit);
	f = z->list[k];
	page_list_remove(f);
	while (k > order) {
		k--;
		page_list_push(f + (1UL << k), k);
	}
	page.table[f].state = PAGE_USED;
	page.table[f].order = (uint8_t)order;
	count_add(&page.free, -(1UL << order));
	return f;
}

hfn_t page_alloc(unsigned order, enum page_where where)
{
	uint64_t f = 0;

	CHECK(order <= PAGE_MAX_ORDER);
	lock_take(&page.lock);
	if (where == PAGE_ANY)
		f = page_take(&page.zone[ZONE_HIGH], order);
	if (!f)
		f = page_take(&page.zone[ZONE_LOW], order);
	lock_drop(&page.lock);
	return f ? hfn(f) : HFN_NONE;
}

void page_free_run(hfn_t f, uint64_t frames)
{
	for (uint64_t at = f.v, end = f.v + frames; at < end;) {
		unsigned order = (unsigned)__builtin_ctzl(at | 1UL << PAGE_MAX_ORDER);

		while (1UL << order > end - at)
			order--;
		page_free(hfn(at), order);
		at += 1UL << order;
	}
}

hfn_t page_alloc_run(uint64_t frames)
{
	unsigned order = 0;
	hfn_t f;

	while (1UL << order < frames)
		if (++order > PAGE_MAX_ORDER)
			return HFN_NONE;
	f = page_alloc(order, PAGE_ANY);
	if (hfn_valid(f))
		page_free_run(hfn(f.v + frames), (1UL << order) - frames);
	return f;
}

/* Frames of an array; one of no bytes has one too. */
static uint64_t page_array_frames(uint64_t bytes)
{
	return bytes ? (bytes >> PAGE_SHIFT) + !!(bytes & (PAGE_SIZE - 1)) : 1;
}

void *page_alloc_array(uint64_t bytes)
{
	hfn_t f = page_alloc_run(page_array_frames(bytes));

	return hfn_valid(f) ? __builtin_memset(hfn_virt(f), 0, bytes) : 0;
}

void page_free_array(void *array, uint64_t bytes)
{
	page_free_run(hpa_hfn(host_phys(array)), page_array_frames(bytes));
}

uint64_t page_free_count(void)
{
	return load_relaxed(&page.free); /* a figure: orders nothing */
}

uint64_t page_total(void)
{
	return page.total;
}

uint64_t page_longest_hold(void)
{
	return lock_longest(&page.lock);
}

void page_forget_hold(void)
{
	lock_forget(&page.lock);
}

struct frame *page_frame(hfn_t f)
{
	return f.v < page.top && page.table[f.v].ram ? &page.table[f.v] : 0;
}

/* The whole frames of a range that begins below frame `limit`: [*first, result). */
static uint64_t page_clip(const struct page_range *r, uint64_t limit, uint64_t *first)
{
	uint64_t end = (r->start + r->bytes) >> PAGE_SHIFT;

	CHECK(r->start + r->bytes >= r->start);
	*first = (r->start >> PAGE_SHIFT) + !!(r->start & (PAGE_SIZE - 1));
	if (!*first)
		*first = 1;
	if (end > limit)
		end = limit;
	return end > *first ? end : *first;
}

/* Where the frame table of the ranges below *limit goes: the highest place. None: that range has to go which makes it largest, and
 * *limit is where it begins. */
static uint64_t place_table(const struct page_range *ranges, unsigned n, uint64_t *limit, uint64_t *top)
{
	uint64_t need, first, end, place = 0, last = 0;

	*top = 0;
	for (unsigned i = 0; i < n; i++) {
		end = page_clip(&ranges[i], *limit, &first);
		if (end > first && end > *top) {
			*top = end;
			last = first;
		}
	}
	need = (*top * sizeof(struct frame) + PAGE_SIZE - 1) >> PAGE_SHIFT;
	for (unsigned i = 0; i < n; i++) {
		end = page_clip(&ranges[i], *limit, &first);
		if (need && end - first >= need && end - need > place)
			place = end - need;
	}
	if (!place)
		*limit = last;
	return place;
}

void page_init(const struct page_range *ranges, unsigned n)
{
	uint64_t first, end, table, top, limit = PAGE_FRAMES_MAX;

	while (!(table = place_table(ranges, n, &limit, &top))) {
		if (!limit)
			host_panic("no range of RAM has room for the frame table");
		host_log(HOST_WARN, "the RAM from 0x%lx on is not used: no range has room for a table of its frames", limit * PAGE_SIZE);
	}

	__builtin_memset(&page, 0, sizeof page);
	page.lock.rank = LOCK_PAGE;
	page.table = hfn_virt(hfn(table));
	page.top = top;
	__builtin_memset(page.table, 0, top * sizeof(struct frame));
	for (unsigned i = 0; i < n; i++) {
		end = page_clip(&ranges[i], limit, &first);
		for (uint64_t f = first; f < end; f++) {
			if (page.table[f].ram)
				host_panic("ranges of RAM overlap at frame 0x%lx", f);
			page.table[f].ram = true;
		}
		if (table >= first && table < end)
			end = table;
		page.total += end - first;
		while (first < end) {
			unsigned order = (unsigned)__builtin_ctzl(first | 1UL << PAGE_MAX_ORDER);

			while (1UL << order > end - first)
				order--;
			page_merge(first, order);
			first += 1UL << order;
		}
	}
	store_relaxed(&page.free, page.total); /* one CPU as yet */
}
