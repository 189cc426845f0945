/* SPDX-License-Identifier: MIT */
/* Random page-table operations against a model of what the guest's tables say; harvests and a replica run in between, the
 * audit after every sixty-four operations, a byte-by-byte comparison at the end. */
#include "mm/replica.h"
#include "tools/host/mmu_test.h"

#define PAGES 96u   /* virtual pages in play, over three level-1 tables */
#define FRAMES 32u  /* physical pages they map */
#define STEPS 12000

struct model { bool present, write, user, nx; unsigned frame; };

static struct model model[PAGES];
static uint64_t frame_value[FRAMES];
static uint64_t seed;

static uint64_t address(unsigned i)
{
	return TEST_VIRT + i % 3 * 0x200000 + i / 3 * PAGE_SIZE;
}

static uint64_t frame_address(unsigned f)
{
	return TEST_FREE + f * PAGE_SIZE;
}

static void change(struct machine *c, uint64_t root, unsigned i)
{
	struct model *p = &model[i];
	uint64_t r = host_random(&seed), e;

	*p = (struct model){r & 3, r >> 2 & 1, r >> 3 & 1, r >> 4 & 1, (r >> 8) % FRAMES};
	e = frame_address(p->frame) | (p->present ? GPTE_P : 0) | (p->write ? GPTE_W : 0) | (p->user ? GPTE_U : 0) |
	    (p->nx ? GPTE_NX : 0) | (r >> 5 & 1 ? GPTE_A | GPTE_D : 0);
	machine_map(c, root, address(i), e, 1);
}

static uint32_t expected_error(const struct model *p, uint32_t access, bool *ok)
{
	*ok = p->present && !((access & PF_U) && !p->user) && !((access & PF_W) && !p->write) &&
	      !((access & PF_I) && p->nx);
	return access | (p->present ? PF_P : 0);
}

static void check(struct machine *c, unsigned i)
{
	static const uint32_t accesses[] = {0, PF_W, PF_U, PF_U | PF_W, PF_I, PF_I | PF_U};
	uint32_t access = accesses[host_random(&seed) % 6], error;
	struct model *p = &model[i];
	uint64_t value = host_random(&seed), written = value;
	bool ok, got;

	error = expected_error(p, access, &ok);
	got = machine_access(c, address(i) + 64, access, &value);
	assert_int_equal(got, ok);
	if (!ok) {
		assert_int_equal(c->outcome, MMU_INJECT);
		assert_int_equal(c->fault.error, error);
	} else if (access & PF_W) {
		frame_value[p->frame] = written;
	} else {
		assert_int_equal(value, frame_value[p->frame]);
	}
}

/* How the next round goes: as `mode` says, or now so and now so. */
static void choose(struct machine *c, enum log_mode mode)
{
	c->mmu.log_mode = mode != LOG_AUTO ? mode : host_random(&seed) & 1 ? LOG_DBIT : LOG_WP;
}

static void storm(struct machine *c, bool view, enum log_mode mode)
{
	uint64_t root = machine_long_mode(c), pages;
	struct replica r;
	gfn_t first = gfn(0);

	memset(model, 0, sizeof model);
	memset(frame_value, 0, sizeof frame_value);
	log_set_mode(&c->mmu, mode);
	assert_true(replica_init(&r, &c->mmu));
	if (view)
		log_view_start(&c->mmu);
	for (unsigned n = 0; n < STEPS; n++) {
		unsigned i = host_random(&seed) % PAGES;

		switch (host_random(&seed) % 16) {
		case 0 ... 3:
			change(c, root, i);
			machine_invlpg(c, address(i));
			break;
		case 4:
			for (unsigned k = 0; k < 8; k++)
				change(c, root, (i + k) % PAGES);
			machine_cr3(c, root);
			break;
		case 5:
			choose(c, mode);
			assert_int_equal(replica_round(&r, 0), LOG_DONE);
			break;
		case 6:
			if (view)
				assert_int_equal(log_view_harvest(&c->mmu, &pages), LOG_DONE);
			break;
		case 7:
			if (n % 32 == 0)
				assert_int_equal(mmu_zap_all(&c->mmu), MMU_RESUME);
			break;
		default:
			break;
		}
		check(c, host_random(&seed) % PAGES);
		if (n % 64 == 0)
			assert_int_equal(mmu_audit(&c->mmu), 0);
	}
	assert_int_equal(replica_round(&r, 0), LOG_DONE);
	assert_int_equal(replica_compare(&r, &first), 0);
	replica_destroy(&r);
}

static void a_storm_with_a_replica(void **state)
{
	storm(*state, false, LOG_WP);
}

static void a_storm_by_d_bits(void **state)
{
	storm(*state, true, LOG_DBIT);
}

static void a_storm_by_either(void **state)
{
	storm(*state, true, LOG_AUTO);
}

static void a_storm_with_two_readers_of_the_log(void **state)
{
	storm(*state, true, LOG_WP);
}

static int setup_lifo(void **state)
{
	return test_setup_mode(state, SLAB_LIFO);
}

static int setup_poison(void **state)
{
	return test_setup_mode(state, SLAB_POISON);
}

static void guests_that_come_and_go_leak_no_page(void **state)
{
	static struct machine other;
	uint64_t before = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		machine_init(&other, TEST_PAGES, 256);
		machine_long_mode(&other);
		machine_store(&other, TEST_FREE, i);
		assert_int_equal(mmu_audit(&other.mmu), 0);
		machine_destroy(&other);
		if (i == 4)
			before = page_free_count();
	}
	assert_int_equal(page_free_count(), before);
}

int main(void)
{
	seed = 7;
	const struct CMUnitTest tests[] = {
		MMU_TEST(a_storm_with_a_replica),
		MMU_TEST(a_storm_with_two_readers_of_the_log),
		{"a_storm_in_lifo_mode", a_storm_with_a_replica, setup_lifo, test_teardown, 0},
		{"a_storm_in_poison_mode", a_storm_with_a_replica, setup_poison, test_teardown, 0},
		MMU_TEST(a_storm_by_d_bits),
		MMU_TEST(a_storm_by_either),
		{"a_storm_by_either_in_lifo_mode", a_storm_by_either, setup_lifo, test_teardown, 0},
		MMU_TEST(guests_that_come_and_go_leak_no_page),
	};

	return cmocka_run_group_tests_name("storm", tests, 0, 0);
}
