/* SPDX-License-Identifier: MIT */
/* The page allocator: a binary buddy over host RAM, one lock, every operation O(log orders). */
#ifndef MM_PAGE_H
#define MM_PAGE_H

#include "mm/addr.h"

#define PAGE_MAX_ORDER 18 /* 1 GiB */

/* What lies in a host frame, for those who come from an spte or a bare pointer. */
struct frame {
	void *owner;     /* the slot whose RAM this is (struct slot *), or 0. Set before the frame is reachable. */
	uint32_t state;  /* page.c's own */
	uint32_t order;
};

struct page_range { uint64_t start, bytes; }; /* host-physical bytes */

/* Takes the usable ranges (page-aligned inwards, must not overlap) and carves the frame table out of them. Called once,
 * before anything else of mm/, on one CPU. Panics when there is not room even for that. */
void page_init(const struct page_range *ranges, unsigned n);

/* 2^order contiguous frames, aligned to their size, contents undefined; HFN_NONE when there are none. PAGE_LOW: below
 * 4 GiB. Prefers memory above 4 GiB without it. Any context that may take the page lock. */
enum page_where { PAGE_ANY, PAGE_LOW };
hfn_t page_alloc(unsigned order, enum page_where where);

/* Gives back 2^order frames at f; a part of an allocated block may be given back alone (order lower than allocated). */
void page_free(hfn_t f, unsigned order);

/* A contiguous zeroed array of at least `bytes`, in whole pages (the tail beyond the last page needed is given back);
 * 0 when there is no room. page_free_array takes the same `bytes`. */
void *page_alloc_array(uint64_t bytes);
void page_free_array(void *array, uint64_t bytes);

/* Frames free now / in all; the highest frame the table covers. */
uint64_t page_free_count(void);
uint64_t page_total(void);

/* The frame's entry, 0 when the frame lies outside RAM. */
struct frame *page_frame(hfn_t f);

#endif
