/* SPDX-License-Identifier: MIT */
/* The Nth allocation fails, for all N, from a guest's creation to its end; or the Nth and all after it. The guest goes
 * on, or ends with a reason while the other one runs on. Nothing was half done: what ended it works once there is
 * memory again, the audits find nothing, the replica is right, and every page and object is given back.
 *
 * Linked with --wrap: every call of the page allocator and of slab_alloc from another file counts. */
#include "mm/replica.h"
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

#define ADDRESSES 40u /* virtual pages, over two level-1 tables */
#define FRAMES 3u     /* that they map: chains of more than one descriptor */
#define TABLES 0x100000UL
#define OTHER_PAGES 64u

hfn_t __real_page_alloc(unsigned order, enum page_where where);
void *__real_page_alloc_array(uint64_t bytes);
void *__real_slab_alloc(struct slab_cache *c);
hfn_t __wrap_page_alloc(unsigned order, enum page_where where);
void *__wrap_page_alloc_array(uint64_t bytes);
void *__wrap_slab_alloc(struct slab_cache *c);

static struct {
	uint64_t calls, first; /* first: the first call that fails, from 1; 0: none does */
	bool once, logging, ended;
} now;
static struct machine guest, other;
static struct replica replica;
static uint64_t value[FRAMES]; /* last stored to each */

static bool fails(void)
{
	now.calls++;
	return now.first && (now.once ? now.calls == now.first : now.calls >= now.first);
}

hfn_t __wrap_page_alloc(unsigned order, enum page_where where)
{
	return fails() ? HFN_NONE : __real_page_alloc(order, where);
}

void *__wrap_page_alloc_array(uint64_t bytes)
{
	return fails() ? 0 : __real_page_alloc_array(bytes);
}

void *__wrap_slab_alloc(struct slab_cache *c)
{
	return fails() ? 0 : __real_slab_alloc(c);
}

/* ---- a guest's life; each step is false once the guest has ended ---- */

/* It ended for want of memory. Memory is back from here on. */
static bool ended(const char *reason)
{
	assert_true(now.first && now.calls >= now.first);
	assert_non_null(strstr(reason, "out of memory"));
	now.first = 0;
	now.ended = true;
	return false;
}

static bool store(struct machine *c, uint64_t at, uint64_t to)
{
	if (machine_store(c, at, to))
		return true;
	assert_int_equal(c->outcome, MMU_END);
	ended(c->fault.reason);
	assert_true(machine_store(c, at, to));
	return false;
}

static bool paging(struct machine *c)
{
	struct mmu_paging p = {
		.cr0 = CR0_PE | CR0_PG | CR0_WP, .cr3 = TABLES, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA | EFER_NXE};

	machine_exit(c);
	if (mmu_set_paging(&c->vcpu, &p, &c->fault) == MMU_RESUME)
		return true;
	return ended(c->fault.reason);
}

static uint64_t address(unsigned i)
{
	return TEST_VIRT + i % 2 * 0x200000 + i * PAGE_SIZE;
}

static void entry(struct machine *c, uint64_t table, unsigned level, uint64_t at, uint64_t to)
{
	assert_true(mmu_write(&c->mmu, gpa(table + gpte_index(gva(at), level) * 8), &to, sizeof to));
}

/* The first 4 MiB at their own addresses; below TEST_VIRT the pages in play. By the hypervisor's stores, which need no
 * memory. */
static void tables(struct machine *c)
{
	uint64_t next = TABLES, root = next, lower = next + PAGE_SIZE, pd = next + 2 * PAGE_SIZE,
		 high = next + 3 * PAGE_SIZE;

	next += 4 * PAGE_SIZE;
	entry(c, root, 4, 0, lower | TEST_RW);
	entry(c, lower, 3, 0, pd | TEST_RW);
	entry(c, lower, 3, TEST_VIRT, high | TEST_RW);
	for (uint64_t at = 0; at < TEST_PAGES * PAGE_SIZE; at += 0x200000, next += PAGE_SIZE) {
		entry(c, pd, 2, at, next | TEST_RW);
		for (uint64_t page = at; page < at + 0x200000; page += PAGE_SIZE)
			entry(c, next, 1, page, page | TEST_RW);
	}
	for (unsigned t = 0; t < 2; t++, next += PAGE_SIZE) {
		entry(c, high, 2, TEST_VIRT + t * 0x200000, next | TEST_RW);
		for (unsigned i = t; i < ADDRESSES; i += 2)
			entry(c, next, 1, address(i), (TEST_FREE + i % FRAMES * PAGE_SIZE) | TEST_RW);
	}
}

/* Where the guest finds the level-1 entry of an address. */
static uint64_t entry_of(unsigned i)
{
	return TABLES + (4 + TEST_PAGES / 512 + i % 2) * PAGE_SIZE + gpte_index(gva(address(i)), 1) * 8;
}

static bool write_all(struct machine *c, uint64_t base)
{
	for (unsigned i = 0; i < ADDRESSES; i++) {
		value[i % FRAMES] = base + i;
		if (!store(c, address(i), base + i))
			return false;
	}
	return true;
}

static void harvest(void)
{
	if (now.logging)
		assert_int_equal(replica_round(&replica, 0), LOG_DONE);
}

/* The guest moves and drops mappings in its own tables. */
static bool remap(struct machine *c)
{
	for (unsigned i = 0; i < 6; i++) {
		if (!store(c, entry_of(i), (TEST_FREE + i % FRAMES * PAGE_SIZE) | (i % 2 ? GPTE_P : TEST_RW)))
			return false;
		machine_invlpg(c, address(i));
	}
	for (unsigned i = 0; i < 6; i++)
		if (!store(c, entry_of(i), (TEST_FREE + i % FRAMES * PAGE_SIZE) | TEST_RW))
			return false;
	return paging(c);
}

static bool live(struct machine *c)
{
	if (!store(c, 0x200000, 1) || !store(c, 0x1000, 2))
		return false;
	harvest();
	if (!store(c, 0x200008, 3))
		return false;
	tables(c);
	if (!paging(c) || !write_all(c, 100))
		return false;
	harvest();
	if (!write_all(c, 200) || !remap(c))
		return false;
	harvest();
	assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
	return write_all(c, 300);
}

/* False: refused for want of memory, and nothing is left of it. */
static bool create(struct machine *c)
{
	memset(c, 0, sizeof *c);
	if (!mmu_init(&c->mmu, "a", 256))
		return false;
	if (mmu_add_ram(&c->mmu, TEST_PAGES * PAGE_SIZE) && (!now.logging || replica_init(&replica, &c->mmu))) {
		if (mmu_vcpu_init(&c->vcpu, &c->mmu)) {
			c->vcpu.paging.cr0 = CR0_PE | CR0_WP;
			return true;
		}
		if (now.logging)
			replica_destroy(&replica);
	}
	mmu_destroy(&c->mmu);
	return false;
}

/* What the guest wrote is there, also in the replica. */
static void compare(struct machine *c)
{
	gfn_t first = gfn(0);

	for (unsigned f = 0; f < FRAMES; f++)
		if (value[f])
			assert_int_equal(machine_peek(c, TEST_FREE + f * PAGE_SIZE), value[f]);
	if (!now.logging)
		return;
	assert_int_equal(replica_round(&replica, 0), LOG_DONE);
	assert_int_equal(replica_compare(&replica, &first), 0);
	replica_destroy(&replica);
}

/* One life with the first failure at `first`. */
static void one_life(uint64_t first)
{
	memset(value, 0, sizeof value);
	now.calls = 0;
	now.first = first;
	now.ended = false;
	if (!create(&guest)) {
		assert_true(first && now.calls >= first);
		now.first = 0;
		return;
	}
	live(&guest);
	now.first = 0;
	assert_int_equal(mmu_audit(&guest.mmu), 0);
	compare(&guest);
	machine_exit(&guest);
	mmu_vcpu_destroy(&guest.vcpu);
	mmu_destroy(&guest.mmu);
}

/* Pages that are free or belong to slabs, and objects in use. */
static uint64_t pages_kept(void)
{
	struct slab_cache *caches[] = {&shadow_cache, &rmap_cache, &parent_cache};
	uint64_t pages = page_free_count();

	for (unsigned i = 0; i < 3; i++)
		pages += slab_stats(caches[i]).blocks << caches[i]->order;
	return pages;
}

static uint64_t objects_used(void)
{
	struct slab_cache *caches[] = {&shadow_cache, &rmap_cache, &parent_cache};
	uint64_t objects = 0;

	for (unsigned i = 0; i < 3; i++)
		objects += slab_stats(caches[i]).objects - slab_stats(caches[i]).free_objects;
	return objects;
}

static void every_allocation_fails(bool once, bool logging, enum slab_mode mode)
{
	uint64_t pages, objects, n = 0, ends = 0;

	host_native_init(1);
	slab_set_mode(mode);
	mmu_global_init();
	now.once = once;
	now.logging = logging;
	now.first = 0;
	machine_init(&other, OTHER_PAGES, 16);
	assert_true(machine_store(&other, 0x1000, 1));
	one_life(0);
	assert_false(now.ended);
	pages = pages_kept();
	objects = objects_used();
	do {
		one_life(++n);
		ends += now.ended;
		assert_int_equal(pages_kept(), pages);
		assert_int_equal(objects_used(), objects);
		/* the other guest does not feel it */
		assert_true(machine_store(&other, 0x1000, n));
		assert_int_equal(machine_peek(&other, 0x1000), n);
	} while (now.calls >= n);
	print_message("%lu allocations; %lu of the failures ended the guest\n", n - 1, ends);
	assert_true(n > 50 && ends > 10);
	assert_int_equal(mmu_audit(&other.mmu), 0);
	machine_destroy(&other);
	slab_destroy(&shadow_cache);
	slab_destroy(&rmap_cache);
	slab_destroy(&parent_cache);
	assert_int_equal(page_free_count(), page_total());
}

static void one_fails(void **state)
{
	(void)state;
	every_allocation_fails(true, false, SLAB_NORMAL);
}

static void one_fails_while_logging(void **state)
{
	(void)state;
	every_allocation_fails(true, true, SLAB_NORMAL);
}

static void one_fails_while_logging_poison(void **state)
{
	(void)state;
	every_allocation_fails(true, true, SLAB_POISON);
}

static void all_fail_from_one_on(void **state)
{
	(void)state;
	every_allocation_fails(false, false, SLAB_LIFO);
}

static void all_fail_from_one_on_while_logging(void **state)
{
	(void)state;
	every_allocation_fails(false, true, SLAB_NORMAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_fails),
		cmocka_unit_test(one_fails_while_logging),
		cmocka_unit_test(one_fails_while_logging_poison),
		cmocka_unit_test(all_fail_from_one_on),
		cmocka_unit_test(all_fail_from_one_on_while_logging),
	};

	return cmocka_run_group_tests_name("exhaustion", tests, 0, 0);
}
