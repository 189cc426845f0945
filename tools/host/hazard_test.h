/* SPDX-License-Identifier: MIT */
/* What the tests of hazards share: a guest whose vCPUs sit on CPUs of their own, all played by one thread, and
 * something to do at a park point. */
#ifndef TOOLS_HOST_HAZARD_TEST_H
#define TOOLS_HOST_HAZARD_TEST_H

#include "mm/shadow.h"
#include "mm/tlb.h"
#include "tools/host/mmu_test.h"

#define HAZARD_CPUS 4
#define TEST_OTHER (TEST_VIRT + 0x200000) /* not mapped at first; the next entry of the same level-2 table */
#define FRAME_A (TEST_FREE + 0x10000)
#define FRAME_B (TEST_FREE + 0x11000)

static struct machine test_second __attribute__((unused)); /* joins on CPU 1 */

/* What happens at a park point, once, after `skip` passages. */
struct parking { const char *point; unsigned skip; void (*act)(struct machine *c); bool done; };
static struct parking parking __attribute__((unused));

static inline void hazard_hook(void *ctx, const char *point)
{
	if (parking.done || strcmp(point, parking.point) || parking.skip-- > 0)
		return;
	parking.done = true;
	parking.act(ctx);
}

/* At the next passage of `point` by this thread, act(c) happens. */
static inline void park_at(struct machine *c, const char *point, unsigned skip, void (*act)(struct machine *c))
{
	parking = (struct parking){point, skip, act, false};
	host_set_park(hazard_hook, c);
}

static inline void parked(void)
{
	host_set_park(0, 0);
	assert_true(parking.done);
}

/* A kick that is answered at once: the vCPU on that CPU leaves the guest. */
static inline void hazard_kick(unsigned cpu)
{
	struct machine *all[] = {&test_machine, &test_second};

	for (unsigned i = 0; i < 2; i++)
		if (all[i]->vcpu.mmu && load_relaxed(&all[i]->vcpu.cpu) == cpu)
			machine_exit(all[i]);
}

static inline int hazard_setup_mode(void **state, enum slab_mode mode)
{
	host_native_init(HAZARD_CPUS);
	slab_set_mode(mode);
	mmu_global_init();
	log_test = (struct log_test){0};
	test_second.vcpu.mmu = 0;
	machine_init(&test_machine, TEST_PAGES, 256);
	host_set_kick(hazard_kick);
	*state = &test_machine;
	return 0;
}

static inline int hazard_setup(void **state)
{
	return hazard_setup_mode(state, SLAB_NORMAL);
}

static inline int hazard_setup_lifo(void **state)
{
	return hazard_setup_mode(state, SLAB_LIFO);
}

static inline int hazard_teardown(void **state)
{
	host_set_park(0, 0);
	host_thread_cpu(0);
	machine_exit(&test_machine);
	if (test_second.vcpu.mmu)
		machine_part(&test_second);
	test_second.vcpu.mmu = 0;
	return test_teardown(state);
}

#define HAZARD_TEST(f) cmocka_unit_test_setup_teardown(f, hazard_setup, hazard_teardown)
#define HAZARD_TEST_LIFO(f) cmocka_unit_test_setup_teardown(f, hazard_setup_lifo, hazard_teardown)

/* Long mode with one page mapped at TEST_VIRT, every table in step, and a second vCPU; the root. The entry for
 * TEST_OTHER names TEST_FREE as a level-1 table, and was never used. */
static inline uint64_t two_vcpus(struct machine *c, uint64_t entry)
{
	uint64_t root = machine_long_mode(c);

	machine_map(c, root, TEST_VIRT, entry, 1);
	machine_map(c, root, TEST_OTHER, TEST_FREE | TEST_RW, 2);
	machine_cr3(c, root);
	machine_load(c, TEST_VIRT);
	machine_join(&test_second, c);
	return root;
}

/* Threads that stop each other: how far they are. */
#define FOREVER 20000000000UL    /* ns after which a thread is taken for stuck */
static atomic32 stage __attribute__((unused));

/* True once the other has come to `wanted`; false when it took longer than `ns`. */
static inline bool comes_to(uint32_t wanted, uint64_t ns)
{
	uint64_t start = host_clock();

	for (; load_acquire(&stage) < wanted; host_relax())
		if (host_clock() - start > ns)
			return false;
	return true;
}

static inline bool store_on(unsigned cpu, struct machine *c, uint64_t at, uint64_t value)
{
	unsigned back = host_cpu();
	bool done;

	host_thread_cpu(cpu);
	done = machine_store(c, at, value);
	host_thread_cpu(back);
	return done;
}

static inline uint64_t load_on(unsigned cpu, struct machine *c, uint64_t at)
{
	unsigned back = host_cpu();
	uint64_t value;

	host_thread_cpu(cpu);
	value = machine_load(c, at);
	host_thread_cpu(back);
	return value;
}

/* A store by what CPU `cpu` has cached, if the vCPU is in guest mode there still. */
static inline bool slips_on(unsigned cpu, struct machine *c, uint64_t at, uint64_t value)
{
	unsigned back = host_cpu();
	bool done;

	host_thread_cpu(cpu);
	done = machine_inside(c, at, PF_W, &value);
	host_thread_cpu(back);
	return done;
}

static inline void harvest_on(unsigned cpu, struct machine *c, struct log_round *r)
{
	unsigned back = host_cpu();

	host_thread_cpu(cpu);
	assert_int_equal(log_harvest(c->vcpu.mmu, r), LOG_DONE);
	host_thread_cpu(back);
}

static inline bool is_dirty(struct machine *c, uint64_t at)
{
	struct slot *s = slot_find(c->vcpu.mmu, gpa_gfn(gpa(at)));
	uint64_t i = slot_index(s, gpa_gfn(gpa(at)));

	return load_relaxed(&s->bits[SLOT_DIRTY][i / 64]) >> (i % 64) & 1;
}

/* A word of guest RAM behind the MMU's back. */
static inline atomic64 *raw(struct machine *c, uint64_t at)
{
	struct slot *s = slot_find(c->vcpu.mmu, gpa_gfn(gpa(at)));

	return (atomic64 *)((char *)hfn_virt(slot_hfn(s, gpa_gfn(gpa(at)))) + at % PAGE_SIZE);
}

/* True when no rmap chain has an entry. */
static inline bool nothing_is_mapped(struct machine *c)
{
	for (unsigned i = 0; i < load_relaxed(&c->mmu.slots); i++) {
		struct slot *s = &c->mmu.slot[i];

		for (uint64_t p = 0; p < s->pages; p++)
			for (unsigned level = 1; level <= SLOT_LEVELS; level++)
				if (!chain_empty(slot_chain(s, gfn(s->gfn.v + p), level)))
					return false;
	}
	return true;
}

#endif
