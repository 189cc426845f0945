/* SPDX-License-Identifier: MIT */
#include "mm/replica.h"

static uint64_t pieces(const struct slot *s)
{
	return (s->pages + REPLICA_PIECE - 1) / REPLICA_PIECE;
}

static uint64_t piece_bytes(const struct slot *s, uint64_t k)
{
	uint64_t left = s->pages - k * REPLICA_PIECE;

	return (left < REPLICA_PIECE ? left : REPLICA_PIECE) * PAGE_SIZE;
}

static bool init_slot(struct replica *r, unsigned i)
{
	const struct slot *s = &r->mmu->slot[i];

	r->copy[i] = page_alloc_array(pieces(s) * sizeof *r->copy[i]);
	for (uint64_t k = 0; r->copy[i] && k < pieces(s); k++)
		if (!(r->copy[i][k] = page_alloc_array(piece_bytes(s, k))))
			return false;
	return r->copy[i];
}

bool replica_init(struct replica *r, struct mmu *m)
{
	*r = (struct replica){.mmu = m};
	for (unsigned i = 0; i < load_acquire(&m->slots); i++) {
		if (!init_slot(r, i)) {
			replica_destroy(r);
			return false;
		}
	}
	log_start(m); /* nobody else has the turn before the guest runs */
	return true;
}

void replica_destroy(struct replica *r)
{
	for (unsigned i = 0; i < SLOT_MAX; i++) {
		const struct slot *s = &r->mmu->slot[i];

		if (!r->copy[i])
			continue;
		for (uint64_t k = 0; k < pieces(s); k++)
			if (r->copy[i][k])
				page_free_array(r->copy[i][k], piece_bytes(s, k));
		page_free_array(r->copy[i], pieces(s) * sizeof *r->copy[i]);
	}
	*r = (struct replica){.mmu = r->mmu};
}

/* The guest may write the page meanwhile (and then its bit is set again): relaxed atomic loads, word by word. */
static void copy_page(uint64_t *to, const atomic64 *from)
{
	for (unsigned i = 0; i < PAGE_SIZE / sizeof *to; i += 4) {
		to[i] = load_relaxed(&from[i]);
		to[i + 1] = load_relaxed(&from[i + 1]);
		to[i + 2] = load_relaxed(&from[i + 2]);
		to[i + 3] = load_relaxed(&from[i + 3]);
	}
}

static uint64_t copy_slot(struct replica *r, unsigned i)
{
	struct slot *s = &r->mmu->slot[i];
	uint64_t pages = 0;

	for (uint64_t w = 0; w < s->words; w++) {
		uint64_t bits = 0;

		if (load_relaxed(&s->bits[SLOT_COPY][w]))
			bits = xchg_acquire(&s->bits[SLOT_COPY][w], 0); /* partner: hand_on in log.c */
		for (; bits; bits &= bits - 1, pages++) {
			uint64_t p = w * 64 + (unsigned)__builtin_ctzl(bits);

			copy_page(replica_page(r, i, p), hfn_virt(hfn(s->hfn.v + p)));
		}
	}
	return pages;
}

enum log_outcome replica_round(struct replica *r, struct log_round *round)
{
	enum log_outcome o;
	uint64_t pages = 0;

	fetch_add_seq(&r->mmu->copying, 1); /* before the turn; partner: mmu_move_ram */
	o = log_harvest(r->mmu, round);
	for (unsigned i = 0; o == LOG_DONE && i < load_acquire(&r->mmu->slots); i++)
		pages += copy_slot(r, i);
	fetch_sub_seq(&r->mmu->copying, 1);
	if (o != LOG_DONE)
		return o;
	r->copied += pages;
	r->last[1] = r->last[0];
	r->last[0] = pages;
	return LOG_DONE;
}

uint64_t replica_compare(const struct replica *r, gfn_t *first)
{
	uint64_t bad = 0;

	for (unsigned i = 0; i < load_acquire(&r->mmu->slots); i++) {
		struct slot *s = &r->mmu->slot[i];

		for (uint64_t p = 0; p < s->pages; p++) {
			if (!__builtin_memcmp(replica_page(r, i, p), hfn_virt(hfn(s->hfn.v + p)), PAGE_SIZE))
				continue;
			if (bad++ == 0)
				*first = gfn(s->gfn.v + p);
		}
	}
	return bad;
}
