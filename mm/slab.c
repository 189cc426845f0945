/* SPDX-License-Identifier: MIT */
/* Slabs: caches, magazines, allocation and freeing, reaping. The states are drawn in slab_block.h. */
#include "mm/slab_block.h"
#include "mm/rcu.h"

#define SLAB_RIPEN 8 /* POISON: objects taken from the delayed list in one allocation */
#define SLAB_ALL ~0u

enum slab_mode slab_mode;
static uint64_t slab_cap = SLAB_CAP;
static atomic64 slab_waiting_bytes;
static struct {
	struct lock lock;
	struct slab_cache *first;
} slab_registry = {.lock = {.rank = LOCK_SLAB_REGISTRY}};

void slab_set_mode(enum slab_mode mode)
{
	slab_mode = mode;
	slab_registry.first = 0;
	store_relaxed(&slab_waiting_bytes, 0); /* one CPU as yet */
}

void slab_set_cap(uint64_t bytes)
{
	slab_cap = bytes;
}

uint64_t slab_waiting(void)
{
	return load_relaxed(&slab_waiting_bytes); /* a figure: orders nothing */
}

void slab_waiting_add(int64_t bytes)
{
	/* a figure: orders nothing */
	fetch_add_relaxed(&slab_waiting_bytes, (uint64_t)bytes);
}

/* Makes this CPU's part; 0 when memory is out. */
static struct slab_cpu *slab_cpu_make(struct slab_cache *c)
{
	struct slab_cpu *s = page_alloc_array(sizeof *s);

	if (!s)
		return 0;
	s->lock.rank = LOCK_SLAB;
	/* release: the zeroed part before its address; partner: slab_cpu_of on other CPUs */
	store_release(&c->cpu[host_cpu()], (uint64_t)s);
	return s;
}

/* Fills the empty magazine of s by half from home's blocks; false when they have nothing. */
static bool slab_fill(struct slab_cache *c, struct slab_cpu *s, struct slab_cpu *home)
{
	lock_take(&home->lock);
	while (s->count < c->magazine / 2) {
		void *object = slab_block_take(c, home);

		if (!object)
			break;
		s->magazine[s->count++] = object;
	}
	lock_drop(&home->lock);
	return s->count;
}

/* Puts the n oldest objects of the magazine back into their blocks. */
static void slab_flush(struct slab_cache *c, struct slab_cpu *s, unsigned n)
{
	slab_block_put(c, s->magazine, n);
	s->count -= n;
	for (unsigned i = 0; i < s->count; i++)
		s->magazine[i] = s->magazine[i + n];
}

/* Adds the blocks given back to *blocks. Returns the items handled, at most max: those and the objects that ripened. */
static unsigned slab_reap_one(struct slab_cache *c, unsigned max, unsigned *blocks)
{
	unsigned n = slab_poison_ripen(c, max);
	struct slab_block *b;

	for (; n < max && (b = slab_block_waiting(c, true)); n++, ++*blocks) {
		CHECK(b->free == c->objects);
		page_free(hpa_hfn(host_phys(b)), c->order);
		fetch_add_relaxed(&c->blocks, -1UL);
	}
	return n;
}

/* Cache number i, which is not destroyed before it is returned; 0 when there is none. The registry's lock is held for the look
 * alone: what is done to a cache may take long. */
static struct slab_cache *slab_borrow(unsigned i)
{
	struct slab_cache *c;

	lock_take(&slab_registry.lock);
	for (c = slab_registry.first; c && i > 0; i--)
		c = c->next;
	if (c)
		fetch_add_relaxed(&c->borrowed, 1); /* under the lock, as its end is */
	lock_drop(&slab_registry.lock);
	return c;
}

static void slab_return(struct slab_cache *c)
{
	/* a release: what was done to the cache before its end; partner: slab_destroy */
	fetch_sub_seq(&c->borrowed, 1);
}

unsigned slab_reap(struct slab_cache *c, unsigned max)
{
	unsigned blocks = 0, n = 0;

	if (c) {
		slab_reap_one(c, max, &blocks);
		return blocks;
	}
	for (unsigned i = 0; n < max && (c = slab_borrow(i)); i++) {
		park("slab-borrowed");
		n += slab_reap_one(c, max - n, &blocks);
		slab_return(c);
	}
	return blocks;
}

/* What this CPU and the empty blocks of cache number i keep goes back; false when there is no such cache. */
static bool slab_squeeze_one(unsigned i)
{
	struct slab_cache *c = slab_borrow(i);
	struct slab_cpu *s;

	if (!c)
		return false;
	s = slab_cpu_of(c, host_cpu());
	if (s)
		slab_flush(c, s, s->count);
	slab_block_shed(c);
	slab_return(c);
	return true;
}

/* Memory is out: gives back what no cache needs. A cache made or destroyed meanwhile may be passed over. */
static void slab_squeeze(void)
{
	for (unsigned i = 0; slab_squeeze_one(i); i++)
		;
	rcu_wait(RCU_MASK_ALL);
	slab_reap(0, SLAB_ALL);
}

/* Gets at least one object into the empty magazine of s; false when memory is out. */
static bool slab_refill(struct slab_cache *c, struct slab_cpu *s)
{
	struct slab_block *b;

	if (slab_fill(c, s, s))
		return true;
	b = slab_block_waiting(c, false);
	if (b) {
		slab_block_adopt(s, b);
		return slab_fill(c, s, s);
	}
	if (slab_waiting() > slab_cap) {
		/* Every CPU leaves the sections it is in now; what was retired before this line is free after it. */
		rcu_wait(RCU_MASK_ALL);
		slab_reap(0, SLAB_ALL);
	}
	if (slab_block_grow(c, s))
		return slab_fill(c, s, s);
	for (unsigned cpu = 0; cpu < host_cpus(); cpu++) {
		struct slab_cpu *other = slab_cpu_of(c, cpu);

		if (other && slab_fill(c, s, other))
			return true;
	}
	slab_squeeze();
	return slab_fill(c, s, s) || (slab_block_grow(c, s) && slab_fill(c, s, s));
}

/* What the debug modes do first: LIFO may have an object at once. */
static __attribute__((noinline)) void *slab_alloc_debug(struct slab_cache *c)
{
	if (slab_mode == SLAB_POISON)
		slab_poison_ripen(c, SLAB_RIPEN);
	/* acquire and release: the object's last user before its next; partner: the exchange in slab_free */
	return slab_mode == SLAB_LIFO ? (void *)xchg_seq(&c->last, 0) : 0;
}

void *slab_alloc(struct slab_cache *c)
{
	unsigned cpu = host_cpu();
	struct slab_cpu *s = slab_cpu_of(c, cpu);
	void *object = 0;
	uint16_t *link;

	CHECK(!rcu_in_section_of(cpu));
	if (__builtin_expect(!s, 0) && !(s = slab_cpu_make(c)))
		return 0;
	if (__builtin_expect(slab_mode != SLAB_NORMAL, 0))
		object = slab_alloc_debug(c);
	if (!object) {
		if (__builtin_expect(!s->count, 0) && !slab_refill(c, s))
			return 0;
		object = s->magazine[--s->count];
	}
	link = &slab_block(c, object)->link[slab_index(c, object)];
	if (*link == SLAB_CACHED) {
		count_add(&s->reused, 1);
		if (__builtin_expect(slab_mode == SLAB_POISON, 0))
			slab_poison_restore(c, object);
	} else {
		CHECK(*link == SLAB_FRESH);
	}
	*link = SLAB_TAKEN;
	count_add(&s->allocs, 1);
	return object;
}

void slab_free(struct slab_cache *c, void *object)
{
	struct slab_cpu *s = slab_cpu_of(c, host_cpu());
	struct slab_block *b = slab_block(c, object);
	unsigned index = slab_index(c, object);

	CHECK(b->cache == c && index < c->objects && object == slab_object(c, b, index));
	CHECK(b->link[index] == SLAB_TAKEN);
	b->link[index] = SLAB_CACHED;
	if (s)
		count_add(&s->frees, 1);
	else
		fetch_add_relaxed(&c->frees, 1); /* a figure */
	if (slab_mode == SLAB_POISON) {
		slab_poison_delay(c, object);
		return;
	}
	if (slab_mode == SLAB_LIFO) {
		/* partner: the exchange in slab_alloc */
		object = (void *)xchg_seq(&c->last, (uint64_t)object);
		if (!object)
			return;
	}
	if (!s) {
		slab_block_put(c, &object, 1);
		return;
	}
	if (s->count == c->magazine)
		slab_flush(c, s, c->magazine / 2);
	s->magazine[s->count++] = object;
}

/* Lays a block out: as many objects as fit behind what is kept about them. */
static void slab_layout(struct slab_cache *c)
{
	uint64_t bytes = slab_block_bytes(c), head;
	uint32_t n, extra = slab_mode == SLAB_POISON ? slab_poison_bytes() : 0;

	for (n = (uint32_t)(bytes / c->object_bytes); n > 0; n--) {
		head = (sizeof(struct slab_block) + n * sizeof(uint16_t) + 15) & ~15UL;
		if (head + n * ((uint64_t)extra + c->side_bytes + c->object_bytes) <= bytes)
			break;
	}
	CHECK(n > 0 && n < SLAB_FRESH);
	c->objects = n;
	c->delay = (uint32_t)head;
	c->side = (uint32_t)head + n * extra;
	c->first = (uint32_t)(bytes - (uint64_t)n * c->object_bytes);
	c->magazine = n / 2 > SLAB_MAGAZINE_MAX ? SLAB_MAGAZINE_MAX : n / 2;
	if (c->magazine < SLAB_MAGAZINE_MIN)
		c->magazine = SLAB_MAGAZINE_MIN;
}

void slab_init(struct slab_cache *c, const char *name, unsigned order, uint32_t object_bytes, uint32_t side_bytes,
	enum page_where where, void (*construct)(void *object))
{
	CHECK(object_bytes && !(object_bytes & (object_bytes - 1)) && !(side_bytes & 7));
	__builtin_memset(c, 0, sizeof *c);
	c->lock.rank = LOCK_SLAB;
	c->name = name;
	c->order = order;
	c->object_bytes = object_bytes;
	c->shift = (unsigned)__builtin_ctz(object_bytes);
	c->side_bytes = side_bytes;
	c->where = where;
	c->construct = construct;
	slab_layout(c);
	if (slab_mode == SLAB_POISON) {
		c->pattern = page_alloc_array(object_bytes);
		if (!c->pattern)
			host_panic("cache %s: no memory", name);
		if (construct)
			construct(c->pattern);
	}
	lock_take(&slab_registry.lock);
	c->next = slab_registry.first;
	slab_registry.first = c;
	lock_drop(&slab_registry.lock);
}

static void slab_unregister(struct slab_cache *c)
{
	struct slab_cache **at = &slab_registry.first;

	lock_take(&slab_registry.lock);
	while (*at && *at != c)
		at = &(*at)->next;
	CHECK(*at == c);
	*at = c->next;
	lock_drop(&slab_registry.lock);
}

void slab_destroy(struct slab_cache *c)
{
	void *last = (void *)xchg_seq(&c->last, 0);

	slab_unregister(c);
	while (load_acquire(&c->borrowed)) /* partner: slab_return */
		host_relax();
	if (last)
		slab_block_put(c, &last, 1);
	rcu_wait(RCU_MASK_ALL); /* also for readers that met a free object: it was type-stable until now */
	/* The tags are looked at again and again, not once after the wait: a reader that was held up between loading the
	 * epoch and its exchange shows an old value then, and a tag that had passed seems not to have. */
	while (c->delayed) { /* nobody else knows the cache any more */
		slab_poison_ripen(c, SLAB_ALL);
		host_relax();
	}
	for (unsigned cpu = 0; cpu < host_cpus(); cpu++) {
		struct slab_cpu *s = slab_cpu_of(c, cpu);

		if (s)
			slab_flush(c, s, s->count);
	}
	slab_block_shed(c);
	rcu_wait(RCU_MASK_ALL);
	while (load_relaxed(&c->waiting_blocks)) {
		slab_reap(c, SLAB_ALL);
		host_relax();
	}
	if (load_relaxed(&c->blocks))
		host_panic("cache %s: destroyed with objects in use", c->name);
	for (unsigned cpu = 0; cpu < HOST_MAX_CPUS; cpu++)
		if (slab_cpu_of(c, cpu))
			page_free_array(slab_cpu_of(c, cpu), sizeof(struct slab_cpu));
	if (c->pattern)
		page_free_array(c->pattern, c->object_bytes);
}

bool slab_nth(unsigned i, const char **name, struct slab_stats *s)
{
	struct slab_cache *c = slab_borrow(i);

	if (!c)
		return false;
	*name = c->name;
	*s = slab_stats(c);
	slab_return(c);
	return true;
}

uint64_t slab_pages(void)
{
	uint64_t part = (sizeof(struct slab_cpu) + PAGE_SIZE - 1) >> PAGE_SHIFT, pages = 0;

	lock_take(&slab_registry.lock);
	for (const struct slab_cache *c = slab_registry.first; c; c = c->next) {
		pages += load_relaxed(&c->blocks) << c->order; /* a figure */
		for (unsigned cpu = 0; cpu < host_cpus(); cpu++)
			pages += slab_cpu_of(c, cpu) ? part : 0;
	}
	lock_drop(&slab_registry.lock);
	return pages;
}

static uint64_t longer(uint64_t ticks, const struct lock *l)
{
	uint64_t longest = lock_longest(l);

	return longest > ticks ? longest : ticks;
}

struct slab_holds slab_holds(void)
{
	struct slab_holds h = {0};

	lock_take(&slab_registry.lock);
	for (const struct slab_cache *c = slab_registry.first; c; c = c->next) {
		h.cache = longer(h.cache, &c->lock);
		for (unsigned cpu = 0; cpu < host_cpus(); cpu++)
			if (slab_cpu_of(c, cpu))
				h.cpu = longer(h.cpu, &slab_cpu_of(c, cpu)->lock);
	}
	lock_drop(&slab_registry.lock);
	h.registry = longer(0, &slab_registry.lock);
	return h;
}

void slab_forget_holds(void)
{
	lock_take(&slab_registry.lock);
	for (struct slab_cache *c = slab_registry.first; c; c = c->next) {
		lock_forget(&c->lock);
		for (unsigned cpu = 0; cpu < host_cpus(); cpu++)
			if (slab_cpu_of(c, cpu))
				lock_forget(&slab_cpu_of(c, cpu)->lock);
	}
	lock_drop(&slab_registry.lock);
	lock_forget(&slab_registry.lock);
}

struct slab_stats slab_stats(const struct slab_cache *c)
{
	uint64_t allocs = 0, reused = 0, frees = load_relaxed(&c->frees); /* figures, all of them */
	struct slab_stats stats;

	for (unsigned cpu = 0; cpu < HOST_MAX_CPUS; cpu++) {
		const struct slab_cpu *s = slab_cpu_of(c, cpu);

		if (s) {
			allocs += load_relaxed(&s->allocs);
			frees += load_relaxed(&s->frees);
			reused += load_relaxed(&s->reused);
		}
	}
	stats.blocks = load_relaxed(&c->blocks);
	stats.waiting_blocks = load_relaxed(&c->waiting_blocks);
	stats.objects = stats.blocks * c->objects;
	stats.free_objects = stats.objects - (allocs - frees);
	stats.reused = reused;
	return stats;
}
