/* SPDX-License-Identifier: MIT */
/* mm/guard.c: linear pages that stop every access, and what the guest sees of them: nothing. */
#include "mm/page.h"
#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

#define NEIGHBOUR (TEST_VIRT + PAGE_SIZE)
#define OTHER (TEST_FREE + 0x10000) /* another frame */

static void expect_guard(struct machine *c, uint64_t at, uint32_t access)
{
	uint64_t value = 0;

	assert_false(machine_access(c, at, access, &value));
	assert_int_equal(c->outcome, MMU_GUARD);
	assert_int_equal(machine_spte(c, at), 0);
}

/* TEST_VIRT and its neighbour are mapped, used and, but for the neighbour, guarded. */
static uint64_t guarded(struct machine *c)
{
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_map(c, root, NEIGHBOUR, (TEST_FREE + PAGE_SIZE) | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	machine_store(c, NEIGHBOUR, 2);
	assert_true(mmu_guard(&c->mmu, gva(TEST_VIRT + 123)));
	return root;
}

static void every_access_stops(void **state)
{
	struct machine *c = *state;
	uint64_t value;

	guarded(c);
	expect_guard(c, TEST_VIRT, 0);
	expect_guard(c, TEST_VIRT + PAGE_SIZE - 8, PF_W);
	expect_guard(c, TEST_VIRT, PF_I);
	assert_int_equal(machine_load(c, NEIGHBOUR), 2);
	machine_store(c, NEIGHBOUR, 3);
	assert_true(machine_access(c, NEIGHBOUR, PF_I, &value));
	expect_guard(c, TEST_VIRT, 0); /* its table is in use, and the quick path would have it */
	assert_int_equal(mmu_audit(&c->mmu), 0);
}

/* The guest's own faults come first. */
static void it_allows_no_more_than_the_tables(void **state)
{
	struct machine *c = *state;
	uint64_t root = guarded(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | GPTE_P, 1);
	machine_invlpg(c, TEST_VIRT);
	expect_fault(c, TEST_VIRT, PF_U, PF_P | PF_U);
	expect_fault(c, TEST_VIRT, PF_W, PF_P | PF_W);
	expect_guard(c, TEST_VIRT, 0);
}

static void open_it_is_as_if_there_were_none(void **state)
{
	struct machine *c = *state;
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE)));
	uint64_t page = slot_index(s, gpa_gfn(gpa(TEST_FREE)));

	guarded(c);
	expect_guard(c, TEST_VIRT, PF_W);
	assert_int_equal(log_start(&c->mmu), LOG_DONE);
	assert_int_equal(log_harvest(&c->mmu, 0), LOG_DONE);
	mmu_guard_open(&c->vcpu);
	assert_int_equal(machine_load(c, TEST_VIRT), 1);
	machine_store(c, TEST_VIRT, 7);
	mmu_guard_close(&c->vcpu);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	expect_guard(c, TEST_VIRT, 0);
	assert_int_equal(machine_peek(c, TEST_FREE), 7);
	assert_true(load_relaxed(&s->bits[SLOT_DIRTY][page / 64]) >> page % 64 & 1);
	assert_int_equal(machine_load(c, NEIGHBOUR), 2);
}

static void it_stays_where_other_memory_is_mapped(void **state)
{
	struct machine *c = *state;
	uint64_t root = guarded(c), second = machine_table(c);

	machine_store(c, OTHER, 9);
	machine_map(c, root, TEST_VIRT, OTHER | TEST_RW, 1);
	machine_invlpg(c, TEST_VIRT);
	expect_guard(c, TEST_VIRT, 0);
	mmu_guard_open(&c->vcpu);
	assert_int_equal(machine_load(c, TEST_VIRT), 9);
	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1); /* it changes its own mapping */
	machine_invlpg(c, TEST_VIRT);
	assert_int_equal(machine_load(c, TEST_VIRT), 1);
	mmu_guard_close(&c->vcpu);
	expect_guard(c, TEST_VIRT, 0);
	/* another address space */
	for (uint64_t i = 0; i < PAGE_SIZE; i += 8)
		machine_store(c, second + i, machine_peek(c, root + i));
	machine_cr3(c, second);
	expect_guard(c, TEST_VIRT, 0);
	assert_int_equal(mmu_audit(&c->mmu), 0);
}

/* Paging is off: memory is mapped in pieces of 2 MiB. */
static void there_are_no_large_leaves_meanwhile(void **state)
{
	struct machine *c = *state;

	machine_store(c, TEST_DATA, 1);
	assert_int_equal(spte_level(machine_spte(c, TEST_DATA)), 2);
	assert_true(mmu_guard(&c->mmu, gva(TEST_DATA)));
	machine_store(c, TEST_DATA + PAGE_SIZE, 2);
	assert_int_equal(spte_level(machine_spte(c, TEST_DATA + PAGE_SIZE)), 1);
	expect_guard(c, TEST_DATA, 0);
	mmu_unguard(&c->mmu, gva(TEST_DATA));
	assert_int_equal(machine_load(c, TEST_DATA), 1);
}

/* More leaves than are remembered: all go. */
static void many_leaves_at_once(void **state)
{
	struct machine *c = *state;
	uint64_t root = machine_long_mode(c);

	for (unsigned i = 0; i < MMU_GUARDS; i++) {
		machine_map(c, root, TEST_VIRT + i * PAGE_SIZE, (TEST_FREE + i % 8 * PAGE_SIZE) | TEST_RW, 1);
		assert_true(mmu_guard(&c->mmu, gva(TEST_VIRT + i * PAGE_SIZE)));
	}
	assert_true(mmu_guard(&c->mmu, gva(TEST_VIRT)));
	assert_false(mmu_guard(&c->mmu, gva(TEST_VIRT - PAGE_SIZE)));
	for (unsigned n = 3; n <= MMU_GUARD_LEAVES + 3; n += MMU_GUARD_LEAVES) {
		mmu_guard_open(&c->vcpu);
		for (unsigned i = 0; i < n; i++)
			machine_store(c, TEST_VIRT + i * PAGE_SIZE, i);
		mmu_guard_close(&c->vcpu);
		for (unsigned i = 0; i < n; i++)
			expect_guard(c, TEST_VIRT + i * PAGE_SIZE, 0);
	}
	for (unsigned i = 0; i < MMU_GUARDS; i++)
		mmu_unguard(&c->mmu, gva(TEST_VIRT + i * PAGE_SIZE));
	assert_int_equal(machine_load(c, TEST_VIRT + 2 * PAGE_SIZE), 18); /* the frame of page 18, too */
	assert_int_equal(mmu_audit(&c->mmu), 0);
}

static uint64_t *take_frames(uint64_t *last)
{
	hfn_t f;

	while (hfn_valid(f = page_alloc(0, PAGE_ANY))) {
		*(uint64_t **)hfn_virt(f) = last;
		last = hfn_virt(f);
	}
	return last;
}

/* All frames that are free, in a chain. A cache that is out of memory has the others give back what they do not need. */
static uint64_t *take_all_frames(void)
{
	static struct slab_cache cache;
	uint64_t *frames;
	void *object[64];
	unsigned n = 0;

	slab_init(&cache, "test", 0, PAGE_SIZE / 2, 0, PAGE_ANY, 0);
	object[n++] = slab_alloc(&cache);
	frames = take_frames(0);
	while (n < 64 && (object[n] = slab_alloc(&cache)))
		n++;
	while (n > 0)
		slab_free(&cache, object[--n]);
	slab_destroy(&cache);
	return take_frames(frames);
}

static void give_back(uint64_t *frames)
{
	while (frames) {
		uint64_t *next = *(uint64_t **)frames;

		page_free(hpa_hfn(host_phys(frames)), 0);
		frames = next;
	}
}

/* The shadow page of a leaf that was remembered is gone, and its memory somebody else's. */
static void memory_of_others_is_left_alone(void **state)
{
	struct machine *c = *state;
	uint64_t bytes = PAGE_SIZE << shadow_cache.order, at = 0, *frames;
	unsigned level, all = 0;
	char *base, *before;

	guarded(c);
	mmu_guard_open(&c->vcpu);
	machine_store(c, TEST_VIRT, 7);
	base = slab_base(&shadow_cache, shadow_of_spte(shadow_walk(&c->vcpu, gva(TEST_VIRT), &level))->table);
	before = test_malloc(bytes);
	memcpy(before, base, bytes);
	machine_exit(c);
	mmu_vcpu_destroy(&c->vcpu); /* what it has pinned and reserved goes, too */
	mmu_zap_all(&c->mmu);
	frames = take_all_frames();
	for (uint64_t *f = frames; f; f = *(uint64_t **)f)
		all += (char *)f >= base && (char *)f < base + bytes;
	assert_int_equal(all, 1u << shadow_cache.order);
	for (; at < bytes; at += PAGE_SIZE) /* but for the links of the chain, what was there */
		memcpy(base + at + 8, before + at + 8, PAGE_SIZE - 8);
	mmu_guard_close(&c->vcpu);
	for (at = 0; at < bytes; at += PAGE_SIZE)
		assert_memory_equal(base + at + 8, before + at + 8, PAGE_SIZE - 8);
	test_free(before);
	give_back(frames);
	assert_true(mmu_vcpu_init(&c->vcpu, &c->mmu));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(every_access_stops),
		MMU_TEST(it_allows_no_more_than_the_tables),
		MMU_TEST(open_it_is_as_if_there_were_none),
		MMU_TEST(it_stays_where_other_memory_is_mapped),
		MMU_TEST(there_are_no_large_leaves_meanwhile),
		MMU_TEST(many_leaves_at_once),
		MMU_TEST(memory_of_others_is_left_alone),
	};

	return cmocka_run_group_tests_name("guard", tests, 0, 0);
}
