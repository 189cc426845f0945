/* SPDX-License-Identifier: MIT */
/* What a person wants to see of the dirty log: pages written since the map was looked at last, beside whoever else harvests. */
#include "mm/harvest.h"
#include "mm/slot.h"

static void draw(struct slot *s)
{
	for (uint64_t w = 0; w < s->words; w++)
		store_relaxed(&s->bits[SLOT_MAP][w],
			load_relaxed(&s->bits[SLOT_MAP][w]) | load_relaxed(&s->bits[SLOT_TAKEN][w]));
}

void log_map_draw(struct mmu *m)
{
	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		draw(&m->slot[i]);
}

/* The map's bits go; how many there were. */
static uint64_t forget_map(struct mmu *m)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < load_acquire(&m->slots); i++)
		for (uint64_t w = 0; w < m->slot[i].words; w++) {
			pages += slot_count(load_relaxed(&m->slot[i].bits[SLOT_MAP][w]));
			store_relaxed(&m->slot[i].bits[SLOT_MAP][w], 0);
		}
	return pages;
}

enum log_outcome log_map_start(struct mmu *m)
{
	if (!log_turn_take(m))
		return LOG_BUSY;
	if (!m->map)
		log_start_held(m);
	m->map = true;
	log_harvest_held(m, 0);
	forget_map(m);
	log_turn_end(m);
	return LOG_DONE;
}

enum log_outcome log_map_harvest(struct mmu *m, struct log_round *r, uint64_t *pages)
{
	bool on;

	if (!log_turn_take(m))
		return LOG_BUSY;
	on = m->map;
	if (on) {
		log_harvest_held(m, r);
		*pages = forget_map(m);
	}
	log_turn_end(m);
	return on ? LOG_DONE : LOG_OFF;
}

enum log_outcome log_map_stop(struct mmu *m)
{
	bool on;

	if (!log_turn_take(m))
		return LOG_BUSY;
	on = m->map;
	if (on)
		fetch_sub_seq(&m->logging, 1);
	m->map = false;
	forget_map(m);
	log_turn_end(m);
	return on ? LOG_DONE : LOG_OFF;
}
