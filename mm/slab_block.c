/* SPDX-License-Identifier: MIT */
/* Blocks of a slab: objects in and out of them, and their way to the page allocator. */
#include "mm/slab_block.h"
#include "mm/rcu.h"

/* Lists of blocks, under the home's lock. */
static void slab_list_push(struct slab_list *l, struct slab_block *b)
{
	b->prev = 0;
	b->next = l->first;
	if (b->next)
		b->next->prev = b;
	l->first = b;
}

static void slab_list_remove(struct slab_list *l, struct slab_block *b)
{
	if (b->prev)
		b->prev->next = b->next;
	else
		l->first = b->next;
	if (b->next)
		b->next->prev = b->prev;
}

/* Takes an empty block that is in no list any more into the waiting list. */
static void slab_block_retire(struct slab_cache *c, struct slab_block *b)
{
	/* figures; the cap is a bound of size, not of order */
	fetch_add_relaxed(&c->waiting_blocks, 1);
	slab_waiting_add((int64_t)slab_block_bytes(c));
	b->next = 0;
	b->tag = rcu_tag();
	lock_take(&c->lock);
	if (c->waiting)
		c->waiting_last->next = b;
	else
		c->waiting = b;
	c->waiting_last = b;
	lock_drop(&c->lock);
}

struct slab_block *slab_block_waiting(struct slab_cache *c, bool passed)
{
	struct slab_block *b;

	lock_take(&c->lock);
	b = c->waiting;
	if (b && passed && !rcu_passed(b->tag, RCU_MASK_ALL))
		b = 0;
	if (b)
		c->waiting = b->next;
	lock_drop(&c->lock);
	if (b) {
		fetch_add_relaxed(&c->waiting_blocks, -1UL);
		slab_waiting_add(-(int64_t)slab_block_bytes(c));
	}
	return b;
}

/* Puts one object back, under its home's lock. True: the block is empty, in no list, and to be retired. */
static bool slab_block_put_one(struct slab_cache *c, struct slab_block *b, void *object)
{
	struct slab_cpu *home = b->home;
	unsigned index = slab_index(c, object);

	b->link[index] = b->head;
	b->head = (uint16_t)index;
	if (b->free++ == 0)
		slab_list_push(&home->partial, b);
	if (b->free < c->objects)
		return false;
	slab_list_remove(&home->partial, b);
	if (home->empties >= SLAB_KEEP)
		return true;
	slab_list_push(&home->empty, b);
	home->empties++;
	return false;
}

void slab_block_put(struct slab_cache *c, void *const *objects, unsigned n)
{
	CHECK(n <= SLAB_MAGAZINE_MAX);
	for (unsigned i = 0; i < n && slab_mode == SLAB_POISON; i++)
		if (slab_block(c, objects[i])->link[slab_index(c, objects[i])] == SLAB_FRESH)
			slab_poison_fill(c, objects[i]);
	for (unsigned i = 0; i < n;) {
		struct slab_cpu *home = slab_block(c, objects[i])->home;
		struct slab_list retired = {0};
		struct slab_block *b;

		lock_take(&home->lock);
		for (; i < n && (b = slab_block(c, objects[i]))->home == home; i++)
			if (slab_block_put_one(c, b, objects[i]))
				slab_list_push(&retired, b);
		lock_drop(&home->lock);
		while ((b = retired.first)) {
			slab_list_remove(&retired, b);
			slab_block_retire(c, b);
		}
	}
}

void *slab_block_take(struct slab_cache *c, struct slab_cpu *home)
{
	struct slab_block *b = home->partial.first;
	unsigned index;

	if (!b) {
		b = home->empty.first;
		if (!b)
			return 0;
		slab_list_remove(&home->empty, b);
		home->empties--;
		slab_list_push(&home->partial, b);
	}
	if (b->head != SLAB_END) {
		index = b->head;
		b->head = b->link[index];
		b->link[index] = SLAB_CACHED;
	} else {
		index = b->fresh++;
		b->link[index] = SLAB_FRESH;
	}
	if (--b->free == 0)
		slab_list_remove(&home->partial, b);
	return slab_object(c, b, index);
}

void slab_block_adopt(struct slab_cpu *s, struct slab_block *b)
{
	b->home = s;
	lock_take(&s->lock);
	slab_list_push(&s->empty, b);
	s->empties++;
	lock_drop(&s->lock);
}

bool slab_block_grow(struct slab_cache *c, struct slab_cpu *s)
{
	hfn_t f = page_alloc(c->order, c->where);
	struct slab_block *b;

	if (!hfn_valid(f))
		return false;
	b = hfn_virt(f);
	__builtin_memset(b, 0, slab_block_bytes(c));
	b->cache = c;
	b->free = (uint16_t)c->objects;
	b->head = SLAB_END;
	for (unsigned i = 0; i < c->objects; i++) {
		b->link[i] = SLAB_FRESH;
		if (c->construct)
			c->construct(slab_object(c, b, i));
	}
	fetch_add_relaxed(&c->blocks, 1);
	slab_block_adopt(s, b);
	return true;
}

void slab_block_shed(struct slab_cache *c)
{
	for (unsigned cpu = 0; cpu < host_cpus(); cpu++) {
		struct slab_cpu *s = slab_cpu_of(c, cpu);
		struct slab_block *b;

		while (s) {
			lock_take(&s->lock);
			b = s->empty.first;
			if (b) {
				slab_list_remove(&s->empty, b);
				s->empties--;
			}
			lock_drop(&s->lock);
			if (!b)
				break;
			slab_block_retire(c, b);
		}
	}
}
