/* SPDX-License-Identifier: MIT */
/* What the tests of the shadow MMU share: one small guest a test, audited at its end. */
#ifndef TOOLS_HOST_MMU_TEST_H
#define TOOLS_HOST_MMU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mm/sync.h"
#include "tools/host/machine.h"
#include "tools/host/native.h"

#define TEST_PAGES 1024UL /* 4 MiB */
#define TEST_RW (GPTE_P | GPTE_W | GPTE_U)
#define TEST_DATA 0x200000UL  /* guest-physical; the tables begin here too, see machine_init */
#define TEST_FREE 0x300000UL  /* guest-physical memory that no table uses */
#define TEST_VIRT 0x40000000UL /* nothing is mapped here at first */

static struct machine test_machine __attribute__((unused));

static inline int test_setup_mode(void **state, enum slab_mode mode)
{
	host_native_init(1);
	slab_set_mode(mode);
	mmu_global_init();
	log_test = (struct log_test){0};
	machine_init(&test_machine, TEST_PAGES, 256);
	*state = &test_machine;
	return 0;
}

static inline int test_setup(void **state)
{
	return test_setup_mode(state, SLAB_NORMAL);
}

static inline int test_teardown(void **state)
{
	struct machine *c = *state;
	uint64_t before;

	assert_int_equal(mmu_audit(&c->mmu), 0);
	if (sync_all(&c->mmu) == MMU_RESUME) /* what is unsync the audit passes over */
		assert_int_equal(mmu_audit(&c->mmu), 0);
	before = c->mmu.used;
	machine_destroy(c);
	assert_true(before == 0 || c->mmu.used == 0);
	return 0;
}

/* Two level-1 tables, of TEST_VIRT and of the 2 MiB behind, which map two frames; entry[]: what leads to each. The gpa of the first
 * of these level-2 entries. */
static inline uint64_t test_two_tables(struct machine *c, uint64_t root, uint64_t first, uint64_t second, uint64_t entry[2])
{
	uint64_t pde;

	machine_map(c, root, TEST_VIRT, first | TEST_RW, 1);
	machine_map(c, root, TEST_VIRT + 0x200000, second | TEST_RW, 1);
	pde = machine_pte(c, root, TEST_VIRT, 2);
	entry[0] = machine_load(c, pde);
	entry[1] = machine_load(c, machine_pte(c, root, TEST_VIRT + 0x200000, 2));
	return pde;
}

/* The access must end in a page fault of the guest's own, with this error code. */
static inline void expect_fault(struct machine *c, uint64_t at, uint32_t access, uint32_t error)
{
	uint64_t value = 0;

	assert_false(machine_access(c, at, access, &value));
	assert_int_equal(c->outcome, MMU_INJECT);
	assert_int_equal(c->fault.error, error);
	assert_int_equal(c->fault.gva.v, at);
}

#define MMU_TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

#endif
