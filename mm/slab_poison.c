/* SPDX-License-Identifier: MIT */
/* The POISON mode of the slab: an object that was freed keeps its contents for a grace period, for readers may stand
 * on it. Then it must be in its constructed state; it is poisoned, and a write to it shows when it is handed out
 * again. */
#include "mm/slab_block.h"
#include "mm/rcu.h"

#define SLAB_POISON_BYTE 0xa5

/* Bookkeeping of an object in the delayed list. */
struct slab_delay {
	void *next;
	uint64_t tag;
};

uint32_t slab_poison_bytes(void)
{
	return sizeof(struct slab_delay);
}

void slab_poison_fill(const struct slab_cache *c, void *object)
{
	__builtin_memset(object, SLAB_POISON_BYTE, c->object_bytes);
}

void slab_poison_restore(const struct slab_cache *c, void *object)
{
	const unsigned char *byte = object;

	for (uint32_t i = 0; i < c->object_bytes; i++)
		if (byte[i] != SLAB_POISON_BYTE)
			host_panic("cache %s: free object 0x%lx was written at +0x%x", c->name, (uint64_t)object, i);
	__builtin_memcpy(object, c->pattern, c->object_bytes);
}

static void slab_poison_check(const struct slab_cache *c, const void *object)
{
	const unsigned char *byte = object, *pattern = c->pattern;

	for (uint32_t i = 0; i < c->object_bytes; i++)
		if (byte[i] != pattern[i])
			host_panic("cache %s: object 0x%lx was given back in use: +0x%x", c->name, (uint64_t)object, i);
}

static struct slab_delay *slab_delay(const struct slab_cache *c, void *object)
{
	return (struct slab_delay *)(slab_base(c, object) + c->delay) + slab_index(c, object);
}

void slab_poison_delay(struct slab_cache *c, void *object)
{
	struct slab_delay *d = slab_delay(c, object);

	slab_waiting_add(c->object_bytes);
	d->next = 0;
	d->tag = rcu_tag();
	lock_take(&c->lock);
	if (c->delayed)
		slab_delay(c, c->delayed_last)->next = object;
	else
		c->delayed = object;
	c->delayed_last = object;
	lock_drop(&c->lock);
}

unsigned slab_poison_ripen(struct slab_cache *c, unsigned max)
{
	unsigned n = 0;

	for (; n < max; n++) {
		void *object;

		lock_take(&c->lock);
		object = c->delayed;
		if (object && !rcu_passed(slab_delay(c, object)->tag, RCU_MASK_ALL))
			object = 0;
		if (object)
			c->delayed = slab_delay(c, object)->next;
		lock_drop(&c->lock);
		if (!object)
			break;
		slab_waiting_add(-(int64_t)c->object_bytes);
		slab_poison_check(c, object);
		slab_poison_fill(c, object);
		slab_block_put(c, &object, 1);
	}
	return n;
}
