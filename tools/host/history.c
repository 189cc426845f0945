/* SPDX-License-Identifier: MIT */
/* What is asked of each store when it comes (mm/README.md, "Invariants", and DESIGN's sections 4, 6 and 7):
 *   - an spte is 0 or present, of its table's level, W only with MMU_WRITABLE; never one frame over another
 *   - a link is to a LIVE page whose entries are all well formed; a page that becomes LIVE is protected, or empty if
 * direct
 *   - an entry comes into a chain after its mapping, and leaves it after its mapping; it never moves
 *   - a head that names a descriptor never becomes a single entry
 *   - W comes with the dirty bits, after the spte and its entry, in the same section; or alone, while D bits tell
 *   - D goes to the dirty bits, in the same section; a leaf comes after its table is in the register
 *   - owed moves after MMU_WRITABLE went, before the entry leaves and before the lock is dropped
 *   - under one hold of the lock at most 64 sptes change */
#include "tools/host/history.h"

#include <stddef.h>
#include <stdio.h>

#include "mm/rcu.h"
#include "mm/shadow.h"

#define STEP 64
#define DUTIES 1024
#define SHOWN 8 /* breaches printed */

/* What a store to an spte leaves to be done. */
struct duty {
	spte_t *spte;
	struct slot *slot;
	uint64_t first, last; /* pages of the slot whose bits are to be set */
	uint64_t words;       /* bit i: word first / 64 + i is still to come */
	bool publish;         /* the entry comes before the bits */
};

struct history history;
uint64_t trace_accesses;
const char *const history_event_name[EVENTS] = {"installs", "large installs", "drops", "large drops", "links",
	"unlinks", "widened", "narrowed", "fix-ups", "protected", "D bits taken", "first entries", "last entries",
	"single entries that became descriptors", "descriptors added", "holes filled", "holes made", "chains emptied",
	"descriptors freed"};

static struct {
	bool on, held;
	bool section[RCU_KINDS];
	unsigned first; /* record */
	unsigned changes;
	struct duty dirty[DUTIES];
	spte_t *owed[DUTIES]; /* MMU_WRITABLE went from them */
	unsigned dirties, oweds;
	struct chain *chain; /* of the last spte stored to */
} now;

void history_breach(const char *what, uint64_t where)
{
	if (history.violations++ < SHOWN)
		printf("# %s (0x%lx, record %u)\n", what, where, history.n);
}

/* ---- what a store is ---- */

static bool within(const void *at, const void *array, uint64_t bytes, uint64_t *offset)
{
	*offset = (uint64_t)((const char *)at - (const char *)array);
	return array && *offset < bytes;
}

static enum history_kind chain_kind(uint64_t offset)
{
	return offset == offsetof(struct chain, head)     ? HISTORY_HEAD
	       : offset == offsetof(struct chain, length) ? HISTORY_LENGTH
							  : HISTORY_OTHER;
}

static enum history_kind slot_kind(const struct slot *s, void *at)
{
	uint64_t offset;

	if (within(at, s->bits[SLOT_DIRTY], s->words * sizeof(atomic64), &offset))
		return HISTORY_DIRTY;
	if (within(at, s->chain[0], s->pages * sizeof(struct chain), &offset) ||
		within(at, s->chain[1], (slot_unit(s, gfn(s->gfn.v + s->pages - 1), 2) + 1) * sizeof(struct chain),
			&offset))
		return chain_kind(offset % sizeof(struct chain));
	return HISTORY_OTHER;
}

/* Memory of a slab, known by the cache's address at the block's start. */
static enum history_kind slab_kind(void *at)
{
	const struct slab_cache *c = &shadow_cache;
	char *base = slab_base(c, at);
	uint64_t offset;

	if (*(struct slab_cache **)base == c) {
		if (within(at, base + c->first, (uint64_t)c->objects * c->object_bytes, &offset))
			return offset % sizeof(struct table) < PAGE_SIZE ? HISTORY_SPTE : HISTORY_OTHER;
		if (!within(at, base + c->side, (uint64_t)c->objects * c->side_bytes, &offset))
			return HISTORY_OTHER;
		offset %= c->side_bytes;
		return offset == offsetof(struct shadow, state) ? HISTORY_STATE
								: chain_kind(offset - offsetof(struct shadow, parents));
	}
	base = slab_base(&rmap_cache, at);
	c = *(struct slab_cache **)base;
	if ((c == &rmap_cache || c == &parent_cache) && within(at, base + c->first, (uint64_t)c->objects * 64, &offset))
		return offset % 64 == offsetof(struct chain_desc, next) ? HISTORY_NEXT : HISTORY_SLOT;
	return HISTORY_OTHER;
}

static enum history_kind kind_of(void *at)
{
	struct mmu *m = history.mmu;
	enum history_kind kind = HISTORY_OTHER;

	if (at == (void *)&m->lock.spin.held)
		return HISTORY_LOCK;
	if (at == (void *)&m->owed)
		return HISTORY_OWED;
	if (at == (void *)&rcu_cpus[0].word[RCU_PUBLISH] || at == (void *)&rcu_cpus[0].word[RCU_WALK])
		return HISTORY_SECTION;
	for (unsigned i = 0; i < load_relaxed(&m->slots) && kind == HISTORY_OTHER; i++)
		kind = slot_kind(&m->slot[i], at);
	if (kind == HISTORY_OTHER && page_frame(hpa_hfn(host_phys(at))))
		kind = slab_kind(at);
	return kind;
}

struct chain *history_chain_of(uint64_t spte)
{
	struct slot *s;

	if (!(spte & SPTE_P))
		return 0;
	if (!spte_is_leaf(spte))
		return &shadow_of_link(spte)->parents;
	s = slot_owner(spte_hfn(spte));
	return s && s->mmu == history.mmu ? slot_chain(s, slot_gfn(s, spte_hfn(spte)), spte_level(spte)) : 0;
}

/* ---- duties ---- */

static void owe_bits(spte_t *p, uint64_t spte, bool publish)
{
	struct slot *s = slot_owner(spte_hfn(spte));
	uint64_t first = slot_index(s, slot_gfn(s, spte_hfn(spte))), last = first + gpte_pages(spte_level(spte)) - 1;

	if (!now.section[RCU_PUBLISH] && (publish || !now.section[RCU_WALK]))
		history_breach("W or D changes outside a section", (uint64_t)p);
	CHECK(now.dirties < DUTIES);
	now.dirty[now.dirties++] = (struct duty){p, s, first, last, (2UL << (last / 64 - first / 64)) - 1, publish};
}

static void bits_set(void *at, uint64_t after)
{
	for (unsigned i = 0; i < now.dirties; i++) {
		struct duty *d = &now.dirty[i];
		uint64_t w = (uint64_t)((atomic64 *)at - d->slot->bits[SLOT_DIRTY]), want = ~0UL;

		if (w < d->first / 64 || w > d->last / 64)
			continue;
		if (w == d->first / 64)
			want &= ~0UL << d->first % 64;
		if (w == d->last / 64)
			want &= ~0UL >> (63 - d->last % 64);
		if ((after & want) != want)
			continue;
		if (d->publish && (load_relaxed(d->spte) & SPTE_W) && !*spte_location(d->spte))
			history_breach("a dirty bit before the rmap entry", (uint64_t)d->spte);
		d->words &= ~(1UL << (w - d->first / 64));
	}
}

static void section_ends(void)
{
	for (unsigned i = 0; i < now.dirties; i++)
		if (now.dirty[i].words)
			history_breach(now.dirty[i].publish ? "a section ends before the dirty bit of what it opened"
							    : "a section ends before the dirty bit of what it closed",
				(uint64_t)now.dirty[i].spte);
	now.dirties = 0;
}

/* An entry of p leaves a chain. */
static void entry_leaves(spte_t *p)
{
	if (load_relaxed(p))
		history_breach("an entry leaves before its mapping", (uint64_t)p);
	for (unsigned i = 0; i < now.oweds; i++)
		if (now.owed[i] == p)
			history_breach("an entry leaves before what is owed", (uint64_t)p);
}

/* ---- rules ---- */

static void well_formed(const struct shadow *s, uint64_t spte, uint64_t where)
{
	struct slot *slot;

	if (!(spte & SPTE_P)) {
		if (spte)
			history_breach("a non-present spte is not 0", where);
		return;
	}
	if (!spte_is_leaf(spte)) {
		if ((spte & (SPTE_W | SPTE_U)) != (SPTE_W | SPTE_U) || s->role.level == 1 || !history_chain_of(spte))
			history_breach("a malformed link", where);
		return;
	}
	slot = slot_owner(spte_hfn(spte));
	if (spte_level(spte) != s->role.level || !slot || slot->mmu != history.mmu)
		history_breach("a leaf of another level or of foreign memory", where);
	if ((spte & SPTE_W) && !(spte & SPTE_MMU_WRITABLE))
		history_breach("W without MMU_WRITABLE", where);
}

static void table_complete(const struct shadow *s)
{
	if (load_relaxed(&s->state) != SHADOW_LIVE)
		history_breach("a link to a table that is not LIVE", (uint64_t)s);
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		well_formed(s, load_relaxed(&s->table->spte[i]), (uint64_t)&s->table->spte[i]);
}

static void count_spte(uint64_t before, uint64_t after)
{
	uint64_t leaf = before ? before : after, w = (before ^ after) & SPTE_W;
	bool large = spte_level(leaf) > 1;

	if (before && after && (before & ~after & SPTE_D) && !now.held)
		history.events[EVENT_TAKEN]++;
	if (!before || !after) {
		if (spte_is_leaf(leaf))
			history.events[before ? EVENT_DROP + large : EVENT_INSTALL + large]++;
		else
			history.events[after ? EVENT_LINK : EVENT_UNLINK]++;
	} else if (w && now.held) {
		history.events[after & SPTE_W ? EVENT_WIDEN : EVENT_NARROW]++;
	} else if (w) {
		history.events[after & SPTE_W ? EVENT_FIXUP : EVENT_PROTECT]++;
	}
}

static void spte_stored(spte_t *p, uint64_t before, uint64_t after)
{
	struct shadow *s = shadow_of_spte(p);

	well_formed(s, after, (uint64_t)p);
	if (before && after && ((before ^ after) & (SPTE_PFN_MASK | SPTE_SIZE_MASK)))
		history_breach("a frame over another", (uint64_t)p);
	if (before && !after && !*spte_location(p))
		history_breach("a mapping goes after its entry", (uint64_t)p);
	if (!before && after && *spte_location(p))
		history_breach("a mapping comes after its entry", (uint64_t)p);
	if (after && !spte_is_leaf(after) && !before)
		table_complete(shadow_of_link(after));
	if (!before && spte_is_leaf(after) && load_relaxed(&s->mmu->leaf_table[s->registered]) != (uint64_t)s->table)
		history_breach("a leaf in a table that is not in the register", (uint64_t)p);
	/* while rounds go by D bits, W alone is opened without a bit */
	if (spte_is_leaf(after) && (after & ~before & SPTE_W) && ((after & SPTE_D) || !load_relaxed(&s->mmu->by_dbit)))
		owe_bits(p, after, true);
	/* a walker that protects has taken the bit before */
	if (spte_is_leaf(before) && (before & ~after & SPTE_D) &&
		(now.section[RCU_PUBLISH] || load_relaxed(&s->mmu->by_dbit)))
		owe_bits(p, before, false);
	if (now.held && spte_is_leaf(before)) {
		CHECK(now.oweds < DUTIES);
		if (before & ~after & SPTE_MMU_WRITABLE)
			now.owed[now.oweds++] = p;
	}
	if ((before ^ after) & ~(SPTE_A | SPTE_D))
		now.changes++;
	if (before != after)
		count_spte(before, after);
	now.chain = history_chain_of(before ? before : after);
}

static void slot_stored(void *at, uint64_t before, uint64_t after)
{
	if (before && after)
		history_breach("an entry over another", before);
	else if (before)
		entry_leaves((spte_t *)before);
	else if (!load_relaxed((spte_t *)after))
		history_breach("an entry comes before its mapping", after);
	if (before)
		history.events[EVENT_HOLE_MADE]++;
	else if (load_relaxed(&((struct chain_desc *)((uintptr_t)at & ~63UL))->next) != CHAIN_FREE)
		history.events[EVENT_HOLE_FILLED]++;
}

static void head_stored(struct chain *c, uint64_t before, uint64_t after)
{
	if (after && !(after & CHAIN_MANY)) {
		if (before)
			history_breach("a head becomes a single entry", (uint64_t)c);
		if (history_chain_of(load_relaxed((spte_t *)after)) != c)
			history_breach("an entry comes before its mapping", after);
		history.events[EVENT_FIRST]++;
	} else if (before && !(before & CHAIN_MANY)) {
		if (!after)
			entry_leaves((spte_t *)before);
		history.events[after ? EVENT_GROW_SINGLE : EVENT_LAST]++;
	} else if (!after) {
		history.events[EVENT_EMPTIED]++;
	} else if (load_relaxed(&((struct chain_desc *)(after & ~CHAIN_MANY))->next) == (before & ~CHAIN_MANY)) {
		history.events[EVENT_GROW]++;
	}
}

static unsigned writable_visit(void *ctx, spte_t *p)
{
	*(bool *)ctx |= (load_relaxed(p) & SPTE_MMU_WRITABLE) != 0;
	return 0;
}

static void state_stored(const struct shadow *s, uint64_t after)
{
	struct chain_walk w = {0};
	bool writable = false;
	struct slot *slot;

	if (after != SHADOW_LIVE && after != SHADOW_BUILDING)
		return;
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		if (load_relaxed(&s->table->spte[i]))
			history_breach("a new shadow page is not empty", (uint64_t)s);
	if (s->role.direct)
		return;
	slot = slot_find(history.mmu, s->gfn);
	if (!load_relaxed(slot_tables(slot, s->gfn, 1)))
		history_breach("a shadow page that is not counted", (uint64_t)s);
	if (after != SHADOW_LIVE)
		return;
	for (unsigned level = 1; level <= SLOT_LEVELS; level++)
		chain_walk(slot_chain(slot, s->gfn, level), writable_visit, &writable, &w);
	if (writable)
		history_breach("a shadow page is published before its frame is protected", (uint64_t)s);
}

static void lock_stored(uint64_t after)
{
	now.held = after;
	if (after) {
		now.changes = 0;
		return;
	}
	if (now.oweds)
		history_breach("the lock is dropped before what is owed", (uint64_t)now.owed[0]);
	now.oweds = 0;
	if (now.changes > history.longest)
		history.longest = now.changes;
	if (now.changes > STEP)
		history_breach("more than 64 sptes change under one hold of the lock", now.changes);
}

/* ---- the recorder ---- */

static void stored(enum history_kind kind, void *at, uint64_t before, uint64_t after)
{
	switch (kind) {
	case HISTORY_SPTE:
		spte_stored(at, before, after);
		break;
	case HISTORY_SLOT:
		slot_stored(at, before, after);
		break;
	case HISTORY_NEXT:
		history.events[EVENT_FREED] += before != 0 && after == CHAIN_FREE;
		break;
	case HISTORY_HEAD:
		head_stored(at, before, after);
		break;
	case HISTORY_DIRTY:
		bits_set(at, after);
		break;
	case HISTORY_STATE:
		state_stored((struct shadow *)((char *)at - offsetof(struct shadow, state)), after);
		break;
	case HISTORY_OWED:
		now.oweds = 0;
		break;
	case HISTORY_LOCK:
		lock_stored(after);
		break;
	case HISTORY_SECTION:
		now.section[at == (void *)&rcu_cpus[0].word[RCU_WALK] ? RCU_WALK : RCU_PUBLISH] = after;
		if (!now.section[RCU_PUBLISH] && !now.section[RCU_WALK])
			section_ends();
		break;
	default:
		break;
	}
}

void trace_store(void *at, unsigned bytes, uint64_t before, uint64_t after)
{
	enum history_kind kind;

	trace_accesses++;
	if (!now.on)
		return;
	now.on = false; /* what follows stores too */
	kind = kind_of(at);
	stored(kind, at, before, after);
	if (kind <= HISTORY_LENGTH) {
		history.record[history.n++] = (struct history_record){
			at, before, after, kind == HISTORY_HEAD ? at : now.chain, kind, (uint8_t)bytes};
		history.at = history.n;
	}
	if (!now.held && history.n > now.first) {
		history.section(now.first);
		if (history.n > HISTORY_MAX / 2)
			history.n = history.at = 0;
		now.first = history.n;
	}
	now.on = true;
}

void history_on(struct mmu *m, void (*section)(unsigned first))
{
	history.mmu = m;
	history.section = section;
	history.n = history.at = now.first = 0;
	now.on = true;
}

void history_off(void)
{
	now.on = false;
}

static void put(const struct history_record *r, uint64_t from, uint64_t to)
{
	uint64_t found = r->bytes == 8 ? *(uint64_t *)r->at : *(uint32_t *)r->at;

	if (found != from)
		history_breach("a store was not recorded", (uint64_t)r->at);
	if (r->bytes == 8)
		*(uint64_t *)r->at = to;
	else
		*(uint32_t *)r->at = (uint32_t)to;
}

void history_goto(unsigned n)
{
	while (history.at > n) {
		const struct history_record *r = &history.record[--history.at];

		put(r, r->after, r->before);
	}
	while (history.at < n) {
		const struct history_record *r = &history.record[history.at++];

		put(r, r->before, r->after);
	}
}
