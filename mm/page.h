/* SPDX-License-Identifier: MIT */
/* The page allocator: a binary buddy over host RAM, one lock, a lock hold is O(log orders). */
#ifndef MM_PAGE_H
#define MM_PAGE_H

#include "mm/addr.h"

#define PAGE_MAX_ORDER 18 /* 1 GiB */

/* What lies in a host frame, for those who come from an spte or a bare pointer. */
struct frame {
	void *owner;         /* the slot whose RAM this is (struct slot *), or 0. Set before the frame is reachable, and
	                      * cleared by who set it before the frame is given back. */
	uint32_t next, prev; /* page.c's, under its lock: neighbours in a free list, as frame numbers; 0 = none */
	uint8_t state;       /* page.c's, under its lock: enum page_state */
	uint8_t order;       /* page.c's, under its lock: of the piece whose first frame this is */
	bool ram;            /* fixed by page_init */
};

struct page_range { uint64_t start, bytes; }; /* host-physical bytes */

/* Takes the usable ranges (page-aligned inwards, must not overlap) and carves the frame table out of them. Frame 0 is
 * left out, so that no page has a null address. Called before anything else of mm/, on one CPU; whatever was allocated
 * before is forgotten. Panics when there is not room even for the table. */
void page_init(const struct page_range *ranges, unsigned n);

/* 2^order contiguous frames, aligned to their size, contents undefined; HFN_NONE when there are none. PAGE_LOW: below
 * 4 GiB. Prefers memory above 4 GiB without it. Any context that may take the page lock. */
enum page_where { PAGE_ANY, PAGE_LOW };
hfn_t page_alloc(unsigned order, enum page_where where);

/* Gives back 2^order frames at f (aligned to their size). They may be a part of an allocated block, or consist of
 * several parts that were left of one; a frame that is not allocated is caught. The lock is dropped between parts. */
void page_free(hfn_t f, unsigned order);

/* `frames` contiguous frames, at least one, contents undefined (what the next power of two has above them is given back);
 * HFN_NONE when there is no room, or when it is above 1 GiB. page_free_run takes any run of allocated frames, and drops the
 * lock between parts. */
hfn_t page_alloc_run(uint64_t frames);
void page_free_run(hfn_t f, uint64_t frames);

/* A contiguous zeroed array of at least `bytes`, in whole pages (the tail beyond the last page needed is given back);
 * 0 when there is no room, or when it is above 1 GiB. page_free_array takes the same `bytes`. */
void *page_alloc_array(uint64_t bytes);
void page_free_array(void *array, uint64_t bytes);

/* Frames free now; frames in all (the frame table's own left out). */
uint64_t page_free_count(void);
uint64_t page_total(void);
/* The longest hold of the page lock so far, TSC ticks; and to begin anew with that. */
uint64_t page_longest_hold(void);
void page_forget_hold(void);

/* The frame's entry, 0 when the frame lies outside RAM. */
struct frame *page_frame(hfn_t f);

#endif
