/* SPDX-License-Identifier: MIT */
/* The audit names what is broken: each invariant of mm/README.md is broken by hand once, named, and mended. Both by the audit
 * of a guest that stands still and by a pass in steps, but for what mm/audit.c leaves to the first alone. */
#include <stdio.h>

#include "mm/audit.h"
#include "mm/log.h"
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

#define STEPS_BEGIN "the steps begin"

/* A whole pass in steps; its violations. */
static uint64_t pass(struct machine *c)
{
	static struct audit a;

	host_log(HOST_INFO, STEPS_BEGIN);
	audit_begin(&a, &c->mmu);
	while (audit_step(&a) == AUDIT_MORE)
		;
	return a.violations;
}

/* True when a line since the last pass began holds the text. */
static bool pass_said(const char *text)
{
	for (unsigned i = 0; !strstr(host_log_line(i), STEPS_BEGIN); i++)
		if (strstr(host_log_line(i), text))
			return true;
	return false;
}

static void expect_still(struct machine *c, const char *what)
{
	char whole[80]; /* up to the values behind it */

	snprintf(whole, sizeof whole, ": %s (", what);
	assert_true(mmu_audit(&c->mmu) > 0);
	if (!host_log_has(whole))
		fail_msg("the audit did not name: %s (last line: %s)", what, host_log_line(0));
}

static void expect(struct machine *c, const char *what)
{
	char whole[80];

	expect_still(c, what);
	snprintf(whole, sizeof whole, ": %s (", what);
	assert_true(pass(c) > 0);
	if (!pass_said(whole))
		fail_msg("the steps did not name: %s (last line: %s)", what, host_log_line(0));
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
	assert_int_equal(pass(c), 0);
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
	store_relaxed(&shadow_of_link(old)->state, SHADOW_BUILDING);
	expect(c, "M3 link to a page that is not LIVE");
	store_relaxed(&shadow_of_link(old)->state, SHADOW_DYING);
	expect_still(c, "M3 link to a page that is not LIVE"); /* beside vCPUs its burial may be under way */
	assert_int_equal(pass(c), 0);
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
	spte = load_relaxed(leaf(c, TEST_VIRT));
	store_relaxed(leaf(c, TEST_VIRT), 0);
	expect_still(c, "M6 leaves and rmap entries differ in number");
	store_relaxed(leaf(c, TEST_VIRT), spte);
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
	expect_still(c, "M11 count of shadow pages");
	c->mmu.used--;
	for (unsigned k = 0; k < 3; k++) {
		atomic32 *count[] = {&c->mmu.unsync_all, &c->mmu.unsync_upper, &c->mmu.unsync_hot};

		count_add(count[k], 1);
		expect_still(c, "M11 counts of unsync pages");
		count_add(count[k], -1u);
	}
	s->hot = !s->unsync;
	expect_still(c, "M11 hot page that is not an unsync one of level 1");
	s->hot = false;
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

/* ---- a pass beside what changes ---- */

static struct { struct machine *machine; uint64_t *entry; uint64_t value; unsigned met; } doubt;

/* Another CPU is through with its publishing section. */
static void mend(void *ctx, const char *point)
{
	(void)ctx;
	if (strcmp(point, "audit-doubt"))
		return;
	doubt.met++;
	*doubt.entry = doubt.value;
}

static void what_is_under_way_is_no_violation(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c);
	struct slot *s = slot_find(&c->mmu, gpa_gfn(gpa(TEST_FREE)));
	uint64_t i = slot_index(s, gpa_gfn(gpa(TEST_FREE)));

	host_set_park(mend, 0);
	/* a host store to a table in step: the gpte is changed, its sptes are not dropped yet */
	for (unsigned level = 1; level <= 4; level++) {
		doubt.entry = raw_entry(c, machine_pte(c, root, TEST_VIRT, level));
		doubt.value = *doubt.entry;
		doubt.met = 0;
		*doubt.entry ^= 0x5000;
		assert_int_equal(pass(c), 0);
		assert_int_equal(doubt.met, 1);
	}
	/* a fix-up: open, the bit not set yet */
	doubt.entry = (uint64_t *)&s->bits[SLOT_DIRTY][i / 64];
	doubt.value = *doubt.entry;
	doubt.met = 0;
	*doubt.entry &= ~(1UL << i % 64);
	assert_int_equal(pass(c), 0);
	assert_int_equal(doubt.met, 1);
	host_set_park(0, 0);
}

static void put_back(void *ctx, const char *point)
{
	if (strcmp(point, "audit-doubt"))
		return;
	doubt.met++;
	store_relaxed(leaf(ctx, TEST_VIRT), doubt.value);
	leaf_table(ctx, TEST_VIRT, &(unsigned){0})->present++;
}

/* An INVLPG has cleared an spte, and waits for the chain's lock. Were it over, the entry would be gone; here it is there again. */
static void a_leaf_on_its_way_out_is_no_violation(void **state)
{
	struct machine *c = *state;

	prepare(c);
	doubt.value = load_relaxed(leaf(c, TEST_VIRT));
	doubt.met = 0;
	leaf_table(c, TEST_VIRT, &(unsigned){0})->present--;
	store_relaxed(leaf(c, TEST_VIRT), 0);
	host_set_park(put_back, c);
	assert_int_equal(pass(c), 0);
	assert_int_equal(doubt.met, 1);
	host_set_park(0, 0);
	/* one that stays is found */
	leaf_table(c, TEST_VIRT, &(unsigned){0})->present--;
	store_relaxed(leaf(c, TEST_VIRT), 0);
	assert_int_equal(pass(c), 1);
	assert_true(pass_said("M6 rmap entry whose spte does not map the page"));
	store_relaxed(leaf(c, TEST_VIRT), doubt.value);
	leaf_table(c, TEST_VIRT, &(unsigned){0})->present++;
}

static unsigned protections;

static void pass_while_protecting(void *ctx, const char *point)
{
	if (strcmp(point, "sync-protected") || protections++)
		return;
	assert_int_equal(pass(ctx), 0);
}

/* A frame with two writable mappings becomes a page table: one of them is protected already, the other is not. */
static void a_table_being_built_is_no_violation(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c), value;

	machine_map(c, root, TEST_VIRT + PAGE_SIZE, TEST_FREE | TEST_RW, 1);
	machine_store(c, TEST_VIRT + PAGE_SIZE, (TEST_FREE + PAGE_SIZE) | TEST_RW);
	machine_map(c, root, TEST_VIRT + 0x200000, TEST_FREE | TEST_RW, 2);
	machine_cr3(c, root);
	protections = 0;
	host_set_park(pass_while_protecting, c);
	assert_true(machine_access(c, TEST_VIRT + 0x200000, 0, &value));
	host_set_park(0, 0);
	assert_true(protections >= 2);
}

/* More mappings of one frame than a step looks at: those in the midst are looked at by their leaves. */
static void names_m6_in_a_long_chain(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c), next;
	struct chain_desc *d;

	for (unsigned i = 1; i <= 200; i++) {
		machine_map(c, root, TEST_VIRT + i * PAGE_SIZE, TEST_FREE | TEST_RW, 1);
		machine_load(c, TEST_VIRT + i * PAGE_SIZE);
	}
	machine_cr3(c, root);
	assert_int_equal(mmu_audit(&c->mmu), 0);
	assert_int_equal(pass(c), 0);
	d = (struct chain_desc *)((uintptr_t)*spte_location(leaf(c, TEST_VIRT + 20 * PAGE_SIZE)) & ~(sizeof *d - 1));
	next = load_relaxed(&d->next);
	assert_false(next & (CHAIN_MANY | CHAIN_FREE));
	store_relaxed(&d->next, CHAIN_MANY); /* it ends early, in a marker of nobody's */
	assert_true(mmu_audit(&c->mmu) > 0 && host_log_has("as many as recorded"));
	assert_true(pass(c) > 0);
	assert_true(pass_said("foreign end") && pass_said("prev is wrong"));
	store_relaxed(&d->next, next);
	break_leaf(c, SPTE_PFN_MASK, hfn_hpa(slot_hfn(slot_find(&c->mmu, gfn(1)), gfn(1))).v,
		"M6 rmap entry whose spte does not map the page");
}

/* The guest goes on between two steps: passes find nothing, and end. */
static void a_pass_goes_on_beside_the_guest(void **state)
{
	struct machine *c = *state;
	uint64_t root = prepare(c), seed = 7, steps = 0;
	struct audit a;

	for (unsigned round = 0; round < 30; round++) {
		audit_begin(&a, &c->mmu);
		while (audit_step(&a) == AUDIT_MORE) {
			uint64_t r = host_random(&seed), at = TEST_VIRT + (r % 4 << 21) + (r >> 8) % 16 * PAGE_SIZE;

			machine_map(c, root, at, (TEST_FREE + (r >> 16) % 16 * PAGE_SIZE) | TEST_RW, 1);
			machine_store(c, at, r);
			if (r % 16 == 0)
				machine_cr3(c, root);
			if (r % 64 == 1)
				mmu_zap_all(&c->mmu);
			steps++;
		}
		assert_int_equal(a.violations, 0);
	}
	assert_true(steps > 30 * 10);
}

static void the_turn_is_kept(void **state)
{
	struct machine *c = *state;
	static struct audit a;

	prepare(c);
	audit_begin(&a, &c->mmu);
	assert_true(log_turn_take(&c->mmu));
	assert_int_equal(audit_step(&a), AUDIT_BUSY);
	assert_int_equal(mmu_audit(&c->mmu), MMU_AUDIT_BUSY);
	log_turn_end(&c->mmu);
	assert_int_equal(audit_step(&a), AUDIT_MORE);
	assert_true(log_turn_take(&c->mmu)); /* between two steps it is free */
	log_turn_end(&c->mmu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(names_m1), MMU_TEST(names_m2), MMU_TEST(names_m3), MMU_TEST(names_m4), MMU_TEST(names_m5),
		MMU_TEST(names_m6), MMU_TEST(names_m7), MMU_TEST(names_m8), MMU_TEST(names_m9), MMU_TEST(names_m10),
		MMU_TEST(names_m10_under_smap),
		MMU_TEST(names_m11), MMU_TEST(names_m12), MMU_TEST(names_m13),
		MMU_TEST(what_is_under_way_is_no_violation), MMU_TEST(a_table_being_built_is_no_violation),
		MMU_TEST(a_leaf_on_its_way_out_is_no_violation),
		MMU_TEST(names_m6_in_a_long_chain),
		MMU_TEST(a_pass_goes_on_beside_the_guest), MMU_TEST(the_turn_is_kept),
	};

	return cmocka_run_group_tests_name("audit", tests, 0, 0);
}
