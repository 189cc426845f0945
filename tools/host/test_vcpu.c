/* SPDX-License-Identifier: MIT */
/* guest/vcpu.c: the state at a multiboot entry and at Linux's, events that meet, debug registers. */
#include "tools/host/vcpu_test.h"
#include "mm/gpte.h"

static void multiboot_entry_state(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	assert_int_equal(v->gpr[RAX], 0x2badb002);
	assert_int_equal(v->gpr[RBX], TEST_INFO);
	assert_int_equal(v->rip, TEST_ENTRY);
	assert_int_equal(v->rflags, RFLAGS_FIXED);
	assert_true(v->cr0 & CR0_PE);
	assert_false(v->cr0 & CR0_PG);
	assert_int_equal(v->cr4, 0);
	assert_int_equal(v->efer, 0);
	assert_int_equal(v->seg[CS].limit, 0xffffffff);
	assert_int_equal(v->seg[CS].attr & (SEG_L | SEG_DB | SEG_P), SEG_DB | SEG_P);
	assert_int_equal(vcpu_cpl(v), 0);
	assert_false(vcpu_long_mode(v));
	assert_int_equal(v->activity, VCPU_RUNNABLE);
}

/* What both have in common, too: the boot protocol's selectors, and RSI. */
static void linux_entry_state(const struct vcpu *v, struct desc_table gdt)
{
	for (unsigned i = 0; i < GPRS; i++)
		assert_int_equal(v->gpr[i], i == RSI ? TEST_INFO : 0);
	assert_int_equal(v->rip, TEST_ENTRY);
	assert_int_equal(v->rflags, RFLAGS_FIXED);
	assert_int_equal(v->seg[CS].selector, 0x10);
	for (unsigned i = 0; i < LDTR; i++) {
		if (i != CS)
			assert_int_equal(v->seg[i].selector, 0x18);
		assert_int_equal(v->seg[i].limit, 0xffffffff);
	}
	assert_memory_equal(&v->gdtr, &gdt, sizeof gdt);
	assert_int_equal(v->changed, VCPU_ALL);
}

static void linux_32_bit_entry_state(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;
	struct desc_table gdt = {0x8000, 31};

	vcpu_reset_linux32(v, TEST_ENTRY, TEST_INFO, gdt);
	linux_entry_state(v, gdt);
	assert_int_equal(v->cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_false(vcpu_64bit(v));
	assert_int_equal(v->seg[CS].attr & (SEG_L | SEG_DB), SEG_DB);
	assert_int_equal(v->mmu.mode, PAGING_OFF);
}

static void linux_64_bit_entry_state(void **state)
{
	struct vcpu_test *t = *state;
	struct vcpu *v = &t->v;
	struct desc_table gdt = {0x8000, 31};
	uint64_t level4 = 0x3000 | GPTE_P | GPTE_W, level3 = GPTE_PS | GPTE_P | GPTE_W;
	struct mmu_fault f;
	gpa_t a;

	assert_true(mmu_write(&t->mmu, gpa(0x2000), &level4, 8));
	assert_true(mmu_write(&t->mmu, gpa(0x3000), &level3, 8));
	assert_true(vcpu_reset_linux64(v, TEST_ENTRY, TEST_INFO, gdt, 0x2000));
	linux_entry_state(v, gdt);
	assert_true(vcpu_64bit(v));
	assert_int_equal(v->seg[CS].attr & (SEG_L | SEG_DB), SEG_L);
	assert_int_equal(v->cr3, 0x2000);
	/* The MMU goes by the guest's tables. */
	assert_int_equal(v->mmu.mode, PAGING_LONG);
	assert_int_equal(v->mmu.paging.cr0, v->cr0);
	assert_int_equal(mmu_translate(&v->mmu, gva(TEST_ENTRY), PF_I, &a, &f), MMU_RESUME);
	assert_int_equal(a.v, TEST_ENTRY);
	assert_int_equal(mmu_translate(&v->mmu, gva(1UL << 30), PF_I, &a, &f), MMU_INJECT);
}

struct meeting {
	enum event_type type;
	uint8_t first, second;
	bool error;
	int result;
};
#define TRIPLE (-1)

/* SDM vol. 3, table 6-5: what is delivered when `second` comes while `first` is delivered. */
static void events_that_meet(void **state)
{
	static const struct meeting table[] = {
		{EVENT_NONE, 0, VECTOR_GP, true, VECTOR_GP},
		{EVENT_NONE, 0, VECTOR_PF, true, VECTOR_PF},
		{EVENT_EXCEPTION, VECTOR_DB, VECTOR_PF, true, VECTOR_PF},
		{EVENT_EXCEPTION, VECTOR_UD, VECTOR_GP, true, VECTOR_GP},
		{EVENT_EXCEPTION, VECTOR_AC, VECTOR_AC, true, VECTOR_AC},
		{EVENT_EXCEPTION, VECTOR_DE, VECTOR_GP, true, VECTOR_DF},
		{EVENT_EXCEPTION, VECTOR_GP, VECTOR_GP, true, VECTOR_DF},
		{EVENT_EXCEPTION, VECTOR_TS, VECTOR_NP, true, VECTOR_DF},
		{EVENT_EXCEPTION, VECTOR_SS, VECTOR_DE, false, VECTOR_DF},
		{EVENT_EXCEPTION, VECTOR_GP, VECTOR_PF, true, VECTOR_PF},
		{EVENT_EXCEPTION, VECTOR_PF, VECTOR_PF, true, VECTOR_DF},
		{EVENT_EXCEPTION, VECTOR_PF, VECTOR_GP, true, VECTOR_DF},
		{EVENT_EXCEPTION, VECTOR_PF, VECTOR_DB, false, VECTOR_DB},
		{EVENT_EXCEPTION, VECTOR_DF, VECTOR_GP, true, TRIPLE},
		{EVENT_EXCEPTION, VECTOR_DF, VECTOR_PF, true, TRIPLE},
		{EVENT_EXCEPTION, VECTOR_DF, VECTOR_DF, true, TRIPLE},
		{EVENT_INTERRUPT, 0x20, VECTOR_PF, true, VECTOR_PF},
		{EVENT_INTERRUPT, VECTOR_PF, VECTOR_PF, true, VECTOR_PF},
		{EVENT_NMI, VECTOR_NMI, VECTOR_GP, true, VECTOR_GP},
		{EVENT_SOFT_INTERRUPT, VECTOR_GP, VECTOR_GP, true, VECTOR_GP},
		{EVENT_SOFT_EXCEPTION, VECTOR_BP, VECTOR_NP, true, VECTOR_NP},
	};
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		const struct meeting *m = &table[i];
		bool delivered;

		v->event = (struct event){.type = m->type, .vector = m->first};
		delivered = vcpu_inject_exception(v, m->second, m->error, 0x18);
		assert_int_equal(delivered, m->result != TRIPLE);
		if (m->result == TRIPLE) {
			assert_int_equal(v->event.type, EVENT_NONE);
			continue;
		}
		assert_int_equal(v->event.type, EVENT_EXCEPTION);
		assert_int_equal(v->event.vector, m->result);
		assert_int_equal(v->event.has_error, m->result == VECTOR_DF || m->error);
		if (v->event.has_error)
			assert_int_equal(v->event.error, m->result == VECTOR_DF ? 0 : 0x18);
	}
}

static void skip_goes_past(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->interrupt_shadow = true;
	vcpu_skip(v, 3);
	assert_int_equal(v->rip, TEST_ENTRY + 3);
	assert_false(v->interrupt_shadow);
	assert_int_equal(v->changed, VCPU_RIP | VCPU_FLOW);
	assert_int_equal(v->event.type, EVENT_NONE);
}

static void skip_wraps_at_4_gib_outside_long_mode(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->rip = 0xffffffff;
	vcpu_skip(v, 2);
	assert_int_equal(v->rip, 1);
	v->efer |= EFER_LMA;
	v->seg[CS].attr |= SEG_L;
	v->rip = 0xffffffff;
	vcpu_skip(v, 2);
	assert_true(v->rip == 0x100000001);
}

static void skip_wraps_at_4_gib_in_compatibility_mode(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->efer |= EFER_LMA;
	v->rip = 0xfffffffe;
	vcpu_skip(v, 2);
	assert_int_equal(v->rip, 0);
	assert_int_equal(v->changed, VCPU_RIP);
	v->stale = VCPU_SEGMENTS; /* who knows CS cuts it */
	v->rip = 0xfffffffe;
	vcpu_skip(v, 2);
	assert_int_equal(v->changed, VCPU_RIP | VCPU_CARRY);
	vcpu_wrap_rip(v);
	assert_int_equal(v->rip, 0);
	v->changed = 0;
	v->rip = 0xfffffffd; /* not there yet */
	vcpu_skip(v, 2);
	assert_int_equal(v->changed, VCPU_RIP);
}

static void skip_single_steps(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->rflags |= RFLAGS_TF | RFLAGS_RF;
	vcpu_skip(v, 2);
	assert_int_equal(v->event.type, EVENT_EXCEPTION);
	assert_int_equal(v->event.vector, VECTOR_DB);
	assert_true(v->dr6 & DR6_BS);
	assert_false(v->rflags & RFLAGS_RF);
}

static void interruptible_only_when_all_allow(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	assert_false(vcpu_interruptible(v));
	v->rflags |= RFLAGS_IF;
	assert_true(vcpu_interruptible(v));
	v->interrupt_shadow = true;
	assert_false(vcpu_interruptible(v));
	v->interrupt_shadow = false;
	v->event.type = EVENT_EXCEPTION;
	assert_false(vcpu_interruptible(v));
}

static void cr2_set_is_newer_than_the_hardware(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;

	v->stale = VCPU_ALL;
	vcpu_set_cr2(v, 0x1234);
	assert_false(v->stale & VCPU_CR2);
	assert_true(v->changed & VCPU_CR2);
	assert_int_equal(v->cr2, 0x1234);
}

static void debug_registers_read_and_write(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;
	uint64_t value;

	assert_int_equal(vcpu_write_dr(v, 2, 0xdeadbeef000), -1);
	assert_int_equal(vcpu_read_dr(v, 2, &value), -1);
	assert_true(value == 0xdeadbeef000);
	assert_true(v->changed & VCPU_DEBUG);
	assert_int_equal(vcpu_write_dr(v, 7, 0x10001), -1);
	assert_int_equal(vcpu_read_dr(v, 7, &value), -1);
	assert_int_equal(value, 0x10401);
	assert_int_equal(vcpu_write_dr(v, 6, 0), -1);
	assert_int_equal(vcpu_read_dr(v, 6, &value), -1);
	assert_int_equal(value, DR6_FIXED);
	assert_int_equal(vcpu_write_dr(v, 7, 1UL << 32), VECTOR_GP);
	assert_int_equal(vcpu_write_dr(v, 6, 1UL << 63), VECTOR_GP);
}

static void dr4_is_dr6_unless_de(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;
	uint64_t value;

	assert_int_equal(vcpu_read_dr(v, 4, &value), -1);
	assert_int_equal(value, v->dr6);
	assert_int_equal(vcpu_read_dr(v, 5, &value), -1);
	assert_int_equal(value, v->dr7);
	v->cr4 |= 1UL << 3;
	assert_int_equal(vcpu_read_dr(v, 4, &value), VECTOR_UD);
	assert_int_equal(vcpu_write_dr(v, 5, 0), VECTOR_UD);
}

static void general_detect_and_privilege(void **state)
{
	struct vcpu *v = &((struct vcpu_test *)*state)->v;
	uint64_t value;

	v->dr7 |= DR7_GD;
	assert_int_equal(vcpu_read_dr(v, 0, &value), VECTOR_DB);
	assert_true(v->dr6 & DR6_BD);
	assert_false(v->dr7 & DR7_GD);
	v->seg[SS].attr |= 3 << SEG_DPL_SHIFT;
	assert_int_equal(vcpu_cpl(v), 3);
	assert_int_equal(vcpu_read_dr(v, 0, &value), VECTOR_GP);
}

static void canonical_addresses(void **state)
{
	(void)state;
	assert_true(vcpu_canonical(0));
	assert_true(vcpu_canonical(0x00007fffffffffff));
	assert_true(vcpu_canonical(0xffff800000000000));
	assert_false(vcpu_canonical(0x0000800000000000));
	assert_false(vcpu_canonical(0xffff7fffffffffff));
	assert_false(vcpu_canonical(0x8000000000000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vcpu_unit_test(multiboot_entry_state),
		vcpu_unit_test(linux_32_bit_entry_state),
		vcpu_unit_test(linux_64_bit_entry_state),
		vcpu_unit_test(events_that_meet),
		vcpu_unit_test(skip_goes_past),
		vcpu_unit_test(skip_wraps_at_4_gib_outside_long_mode),
		vcpu_unit_test(skip_wraps_at_4_gib_in_compatibility_mode),
		vcpu_unit_test(skip_single_steps),
		vcpu_unit_test(interruptible_only_when_all_allow),
		vcpu_unit_test(cr2_set_is_newer_than_the_hardware),
		vcpu_unit_test(debug_registers_read_and_write),
		vcpu_unit_test(dr4_is_dr6_unless_de),
		vcpu_unit_test(general_detect_and_privilege),
		cmocka_unit_test(canonical_addresses),
	};

	return cmocka_run_group_tests_name("vcpu", tests, 0, 0);
}
