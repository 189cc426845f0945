/* SPDX-License-Identifier: MIT */
/* The audit names what is broken: each invariant of mm/README.md is broken by hand once, named, and mended. */
#include <stdio.h>

#include "mm/shadow.h"
#include "tools/host/mmu_test.h"

/* The level-1 shadow and the index that translate an address. */
static struct shadow *leaf_table(struct machine *c, uint64_t at, unsigned *index)
{
	struct shadow *s = c->vcpu.root[0];

	while (s->role.level > 1)
		s = shadow_of_link(load_relaxed(&s->table->spte[gpte_index(gva(at), s->role.level)]));
	*index = gpte_index(gva(at), 1);
	return s;
}

static spte_t *leaf(struct machine *c, uint64_t at)
{
	unsigned i;
	struct shadow *s = leaf_table(c, at, &i);

	return &s->table->spte[i];
}

static void expect(struct machine *c, const char *what)
{
	char whole[80]; /* up to the values behind it */

	snprintf(whole, sizeof whole, ": %s (", what);
	assert_true(mmu_audit(&c->mmu) > 0);
	if (!host_log_has(whole))
		fail_msg("the audit did not name: %s (last line: %s)", what, host_log_line(0));
}

/* A mapped, written page whose tables are all in step. */
static uint64_t prepare(struct machine *c)
{
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT, 1);
	machine_cr3(c, root);
	machine_store(c, TEST_VIRT, 1);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	return root;
}

static void break_leaf(struct machine *c, uint64_t clear, uint64_t set, const char *what)
{
	spte_t *s = leaf(c, TEST_VIRT);
	uint64_t old = load_relaxed(s);

	store_relaxed(s, (old & ~clear) | set);
	expect(c, what);
	store_relaxed(s, old);
}

static void names_m1(void **state)
{
	prepare(*state);
	break_leaf(*state, SPTE_P, 0, "M1 non-present spte that is not 0");
}

static void names_m2(void **state)
{
	prepare(*state);
	break_leaf(*state, SPTE_SIZE_MASK, SPTE_SIZE(2), "M2 leaf of a wrong size");
}

static void names_m3(void **state)
{
	struct machine *c = *state;
	spte_t *link;
	uint64_t old;

	prepare(c);
	link = &c->vcpu.root[0]->table->spte[gpte_index(gva(TEST_VIRT), 4)];
	old = load_relaxed(link);
	store_relaxed(link, old & ~SPTE_W);
	expect(c, "M3 malformed link");
	store_relaxed(link, old);
	store_relaxed(&shadow_of_link(old)->state, SHADOW_DYING);
	expect(c, "M3 link to a page that is not LIVE");
	store_relaxed(&shadow_of_link(old)->state, SHADOW_LIVE);
}

static void names_m4(void **state)
{
	prepare(*state);
	break_leaf(*state, SPTE_MMU_WRITABLE, SPTE_W, "M4 W without MMU_WRITABLE");
	break_leaf(*state, SPTE_W, SPTE_D, "M4 D without W");
}

static void names_m5(void **state)
{
	hfn_t other = page_alloc(0, PAGE_ANY);

	prepare(*state);
	break_leaf(*state, SPTE_PFN_MASK, hfn_hpa(other).v, "M5 leaf maps a frame that is not this guest's");
}

static void names_m6(void **state)
{
	struct machine *c = *state;
	void **location;
	void *old, *wrong;
	uint64_t spte;
	spte_t *link;

	prepare(c);
	location = spte_location(leaf(c, TEST_VIRT));
	old = *location;
	wrong = 0;
	*location = &wrong;
	expect(c, "M6 location word does not lead back");
	*location = old;
	break_leaf(c, ~0UL, 0, "M6 rmap entry whose spte does not map the page");
	break_leaf(c, ~0UL, 0, "M6 leaves and rmap entries differ in number");
	link = &c->vcpu.root[0]->table->spte[gpte_index(gva(TEST_VIRT), 4)];
	spte = load_relaxed(link);
	store_relaxed(link, 0);
	expect(c, "M6 parent entry does not link this page");
	store_relaxed(link, spte);
}

static void names_m7(void **state)
{
	struct machine *c = *state;
	struct slot *s;
	uint64_t i;

	prepare(c);
	s = slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE)));
	i = slot_index(s, gpa_gfn(gpa(TEST_FREE)));
	fetch_and_seq(&s->bits[SLOT_DIRTY][i / 64], ~(1UL << i % 64));
	expect(c, "M7 writable page without its dirty bit");
	slot_mark_dirty(s, gpa_gfn(gpa(TEST_FREE)));
}

static void names_m8(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c), table = machine_load(c, machine_pte(c, root, TEST_VIRT, 2)) & GPTE_ADDRESS;
	spte_t *s = leaf(c, table); /* the identity mapping of the level-1 table */
	uint64_t old = load_relaxed(s);

	store_relaxed(s, old | SPTE_W | SPTE_MMU_WRITABLE);
	expect(c, "M8 writable page that is a synced page table");
	store_relaxed(s, old);
}

/* A guest entry, behind the MMU's back. */
static uint64_t *raw_entry(struct machine *c, uint64_t at)
{
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(at)));

	return (uint64_t *)((char *)hfn_virt(slot_hfn(s, gpa_gfn(gpa(at)))) + at % PAGE_SIZE);
}

static void names_m9(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c), *at = raw_entry(c, machine_pte(c, root, TEST_VIRT, 2));

	*at ^= 0x5000; /* the entry leads elsewhere */
	expect(c, "M9 link does not follow the guest's table");
	*at ^= 0x5000;
}

/* With CR0.WP = 0 under SMAP. */
static void names_m10_under_smap(void **state)
{
	struct machine *c = *state;
	struct mmu_paging p;

	prepare(c);
	p = c->vcpu.paging;
	p.cr0 &= ~CR0_WP;
	p.cr4 |= CR4_SMAP;
	c->vcpu.ac = true;
	machine_set(c, &p);
	machine_store(c, TEST_VIRT, 2);
	break_leaf(c, SPTE_U, 0, "M10 the user's, but SMAP does not stop the supervisor");
}

static void names_m10(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c), *gpte;

	machine_map(c, root, TEST_VIRT + PAGE_SIZE, (TEST_FREE + PAGE_SIZE) | GPTE_P | GPTE_NX, 1);
	machine_load(c, TEST_VIRT + PAGE_SIZE);
	machine_cr3(c, root);
	struct { uint64_t clear, set; const char *what; } broken[] = {
		{0, SPTE_U, "M10 user access that the guest does not allow"},
		{SPTE_NX, 0, "M10 execution that the guest does not allow"},
		{0, SPTE_MMU_WRITABLE, "M10 writable though the guest does not allow it"},
		{0, SPTE_MMU_WRITABLE, "M10 writable over a clear D bit"},
		{SPTE_PFN_MASK, load_relaxed(leaf(c, TEST_VIRT)) & SPTE_PFN_MASK, "M10 leaf maps another page than the guest's table"},
	};
	spte_t *s = leaf(c, TEST_VIRT + PAGE_SIZE);
	uint64_t old = load_relaxed(s);

	for (unsigned i = 0; i < sizeof broken / sizeof *broken; i++) {
		store_relaxed(s, (old & ~broken[i].clear) | broken[i].set);
		expect(c, broken[i].what);
		store_relaxed(s, old);
	}
	gpte = raw_entry(c, machine_pte(c, root, TEST_VIRT + PAGE_SIZE, 1));
	*gpte ^= GPTE_A;
	expect(c, "M10 leaf over a gpte that is not present and accessed");
	*gpte ^= GPTE_A;
}

static void names_m11(void **state)
{
	struct machine *c = *state;
	unsigned i;
	struct shadow *s;

	prepare(c);
	s = leaf_table(c, TEST_VIRT, &i);
	s->present++;
	expect(c, "M11 count of present entries");
	s->present--;
	c->mmu.used++;
	expect(c, "M11 count of shadow pages");
	c->mmu.used--;
}

static void names_m12(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c);
	atomic32 *tables = slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(root))), gpa_gfn(gpa(root)), 1);

	fetch_add_seq(tables, 1);
	expect(c, "M12 count of page-table shadows");
	fetch_sub_seq(tables, 1);
	tables = slot_tables(slot_find(&c->mmu, gpa_gfn(gpa(root))), gpa_gfn(gpa(root)), 2);
	fetch_add_seq(tables, 1);
	expect(c, "M12 count of page-table shadows in 2 MiB");
	fetch_sub_seq(tables, 1);
}

static void names_m13(void **state)
{
	struct machine *c = *state;
	uint64_t flushed;

	prepare(c);
	flushed = load_relaxed(&c->mmu.flushed);
	store_relaxed(&c->mmu.flushed, load_relaxed(&c->mmu.owed) + 1);
	expect(c, "M13 more flushed than was owed");
	store_relaxed(&c->mmu.flushed, flushed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(names_m1), MMU_TEST(names_m2), MMU_TEST(names_m3), MMU_TEST(names_m4), MMU_TEST(names_m5),
		MMU_TEST(names_m6), MMU_TEST(names_m7), MMU_TEST(names_m8), MMU_TEST(names_m9), MMU_TEST(names_m10),
		MMU_TEST(names_m10_under_smap), MMU_TEST(names_m11), MMU_TEST(names_m12), MMU_TEST(names_m13),
	};

	return cmocka_run_group_tests_name("audit", tests, 0, 0);
}
