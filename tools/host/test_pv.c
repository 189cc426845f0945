/* SPDX-License-Identifier: MIT */
/* guest/pv.c, pv_clock.c and pv_steal.c: what a guest is shown of KVM's interface, and what it finds in its memory; anything in any
 * order. */
#include "tools/host/pv_test.h"

/* ---- what is there ---- */

static void leaves_show_what_is_on(void **state)
{
	static const struct {
		unsigned pv;
		uint32_t eax;
	} table[] = {
		{CONFIG_PV_ALL, 0x01000a6a},
		{CONFIG_PV_CLOCK, 0x0100000a},
		{CONFIG_PV_EOI, 0x42},
		{CONFIG_PV_STEAL, 0x22},
		{CONFIG_PV_STEAL | CONFIG_PV_TLB, 0x222},
		{CONFIG_PV_IPI, 0x802},
	};
	struct vcpu *v = vcpu(state);
	struct cpuid_regs r;

	r = cpuid_guest(v, 0x40000000, 0);
	assert_memory_equal(&r.ebx, "UmbraUmbraUm", 12);
	assert_int_equal(r.eax, 0x40000000);
	r = cpuid_guest(v, 0x40000100, 0);
	assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(r.eax, 0x40000101);
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		v->vm->config.pv = table[i].pv;
		r = cpuid_guest(v, 0x40000101, 0);
		assert_int_equal(r.eax, table[i].eax);
		assert_int_equal(r.ebx | r.ecx | r.edx, 0);
	}
	v->vm->config.pv = 0;
	for (uint32_t leaf = 0x40000100; leaf < 0x40000103; leaf++) {
		r = cpuid_guest(v, leaf, 0);
		assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	}
}

static void an_msr_is_there_when_its_part_is(void **state)
{
	static const struct {
		uint32_t msr;
		unsigned part;
	} table[] = {
		{0x4b564d00, CONFIG_PV_CLOCK},
		{0x4b564d01, CONFIG_PV_CLOCK},
		{0x4b564d02, 0},
		{0x4b564d03, CONFIG_PV_STEAL},
		{0x4b564d04, CONFIG_PV_EOI},
		{0x4b564d05, 0},
		{0x11, 0},
		{0x12, 0},
	};
	struct vcpu *v = vcpu(state);
	uint64_t value;

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
		for (unsigned pv = 0; pv <= CONFIG_PV_ALL; pv++) {
			v->vm->config.pv = pv;
			assert_int_equal(msr_read(v, table[i].msr, &value), (pv & table[i].part) != 0);
			assert_int_equal(wr(v, table[i].msr, PAGE_A), (pv & table[i].part) != 0);
		}
}

static void addresses_are_checked(void **state)
{
	static const struct {
		uint32_t msr;
		uint64_t good, reserved;
	} table[] = {
		{PV_MSR_SYSTEM_TIME, 1, 2},
		{PV_MSR_STEAL_TIME, 1, 0x20},
		{PV_MSR_EOI, 1, 2},
		{PV_MSR_WALL_CLOCK, 0, 2},
	};
	struct vcpu *v = vcpu(state);
	uint64_t value;

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		uint64_t end = (4UL << 20) + 0x60000; /* 4 MiB of RAM end there: 640 KiB, then from 1 MiB on */

		assert_true(wr(v, table[i].msr, PAGE_A | table[i].good));
		assert_false(wr(v, table[i].msr, NO_RAM | table[i].good));
		assert_false(wr(v, table[i].msr, (end & ~63UL) | table[i].good));
		assert_false(wr(v, table[i].msr, 1UL << 63 | table[i].good));
		assert_false(wr(v, table[i].msr, PAGE_A | table[i].good | table[i].reserved));
		assert_true(msr_read(v, table[i].msr, &value));
		assert_int_equal(value, i == 3 ? 0 : PAGE_A | 1);
		if (i < 3) {
			assert_true(wr(v, table[i].msr, NO_RAM)); /* off: not looked at */
			assert_true(msr_read(v, table[i].msr, &value));
			assert_int_equal(value, 0);
		}
	}
	assert_false(v->pv.slices);
}

/* ---- the clock ---- */

static unsigned __int128 scaled(uint64_t ticks, uint32_t mul, int8_t shift)
{
	unsigned __int128 t = ticks;

	t = shift < 0 ? t >> -shift : t << shift;
	return t * mul >> 32;
}

static void scale_is_exact(void **state)
{
	static const uint64_t hz[] = {1000000, 999999937, 1000000000, 1000000001, 1193182, 2000000000, 2000000001, 1234567891,
		2399998000, 2494140000, 3700000001, 4000000000, 4000000001, 4999999999, 7999999999, 8000000001, 8000000000};

	(void)state;
	for (unsigned i = 0; i < sizeof hz / sizeof *hz; i++) {
		uint64_t day = hz[i] * 86400;
		uint32_t mul;
		int8_t shift;
		int64_t error;

		pv_clock_scale(hz[i], &mul, &shift);
		assert_true(mul >> 31);
		error = (int64_t)(scaled(day, mul, shift)) - 86400 * 1000000000L;
		/* a quarter of a nanosecond each second */
		assert_true(error < 86400 / 4 && error > -86400 / 4);
		error = (int64_t)scaled(hz[i], mul, shift) - 1000000000L;
		assert_true(error <= 1 && error >= -(shift < 0 ? 1 << -shift : 1));
	}
}

static struct pv_clock clock_of(struct vcpu *v, uint64_t at)
{
	struct pv_clock c;

	assert_true(mmu_read(v->mmu.mmu, gpa(at), &c, sizeof c));
	assert_int_equal(c.version % 2, 0);
	return c;
}

static uint64_t time_at(const struct pv_clock *c, uint64_t guest_tsc)
{
	return c->system_time + (uint64_t)scaled(guest_tsc - c->tsc_timestamp, c->tsc_to_system_mul, c->tsc_shift);
}

static void clocks_of_all_vcpus_are_one(void **state)
{
	struct vcpu *v = vcpu(state);
	struct pv_clock a, b;

	poke(v, PAGE_A, 5, 4); /* odd: somebody left it so */
	assert_true(wr(v, PV_MSR_SYSTEM_TIME, PAGE_A | 1));
	assert_true(wr(&second, PV_MSR_SYSTEM_TIME, (PAGE_A + PAGE_SIZE - 16) | 1)); /* over a page's end */
	a = clock_of(v, PAGE_A);
	b = clock_of(v, PAGE_A + PAGE_SIZE - 16);
	assert_int_equal(a.version, 8);
	assert_int_equal(b.version, 2);
	b.version = a.version;
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(a.flags, PV_CLOCK_STABLE);
	assert_int_equal(time_at(&a, 0), 0);
	assert_int_equal(a.tsc_timestamp, 0);
}

static void a_tsc_that_was_set_is_told_apart(void **state)
{
	struct vcpu *v = vcpu(state);
	struct pv_clock a, b;
	uint64_t host;

	wr(v, PV_MSR_SYSTEM_TIME, PAGE_A | 1);
	wr(&second, PV_MSR_SYSTEM_TIME, (PAGE_A + 64) | 1);
	assert_true(wr(v, MSR_TSC, 1UL << 40));
	assert_true(attended > 0);
	pv_slice_begin(&second);
	a = clock_of(v, PAGE_A);
	b = clock_of(v, PAGE_A + 64);
	assert_int_equal(a.flags, 0);
	assert_int_equal(b.flags, 0);
	host = host_clock();
	assert_int_equal(time_at(&a, host + v->tsc_offset), time_at(&b, host + second.tsc_offset));
	/* together again */
	v->tsc_offset = second.tsc_offset;
	pv_tsc_moved(v);
	pv_slice_begin(&second);
	assert_int_equal(clock_of(v, PAGE_A).flags, PV_CLOCK_STABLE);
	assert_int_equal(clock_of(v, PAGE_A + 64).flags, PV_CLOCK_STABLE);
}

static void a_stop_is_told_until_the_guest_has_seen_it(void **state)
{
	struct vcpu *v = vcpu(state);

	wr(v, PV_MSR_SYSTEM_TIME, PAGE_A | 1);
	pv_stood_still(v);
	assert_int_equal(clock_of(v, PAGE_A).flags, PV_CLOCK_STABLE);
	pv_slice_begin(v);
	assert_int_equal(clock_of(v, PAGE_A).flags, PV_CLOCK_STABLE | PV_CLOCK_STOPPED);
	assert_true(pv_clock_write(v));
	assert_int_equal(clock_of(v, PAGE_A).flags, PV_CLOCK_STABLE | PV_CLOCK_STOPPED);
	poke(v, PAGE_A + offsetof(struct pv_clock, flags), PV_CLOCK_STABLE, 1);
	assert_true(pv_clock_write(v));
	assert_int_equal(clock_of(v, PAGE_A).flags, PV_CLOCK_STABLE);
}

static void the_wall_clock_is_the_cmos_epoch(void **state)
{
	struct vcpu *v = vcpu(state);

	assert_true(wr(v, PV_MSR_WALL_CLOCK, PAGE_A));
	assert_int_equal(peek(v, PAGE_A, 4), 2);
	assert_int_equal(peek(v, PAGE_A + 4, 4), CMOS_EPOCH);
	assert_int_equal(peek(v, PAGE_A + 8, 4), 0);
}

/* ---- steal time ---- */

static void a_vcpu_says_when_it_does_not_run(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t before, nanoseconds, hz = host_clock_hz();

	assert_true(wr(v, PV_MSR_STEAL_TIME, PAGE_A | 1));
	assert_int_equal(peek(v, PAGE_A + 16, 1), 0);
	assert_int_equal(peek(v, PAGE_A, 8), 0);
	pv_slice_end(v);
	assert_int_equal(peek(v, PAGE_A + 16, 1), PV_PREEMPTED);
	assert_true(v->pv.waits);
	before = host_clock();
	v->pv.waits = before - hz; /* a second ago */
	pv_waits(v, before);
	pv_slice_begin(v);
	assert_int_equal(peek(v, PAGE_A + 16, 1), 0);
	nanoseconds = peek(v, PAGE_A, 8);
	assert_true(nanoseconds >= 1000000000);
	assert_true(nanoseconds <= 1000000000 + (host_clock() - before) * 1000000000 / hz);
	assert_int_equal(peek(v, PAGE_A + 8, 4) % 2, 0);
	/* halted: it could not have run, until something woke it */
	v->activity = VCPU_HALTED;
	pv_slice_end(v);
	assert_int_equal(v->pv.waits, 0);
	pv_waits(v, 5);
	assert_int_equal(v->pv.waits, 0);
	v->activity = VCPU_RUNNABLE;
	pv_waits(v, 7);
	pv_waits(v, 9);
	assert_int_equal(v->pv.waits, 7);
	pv_stood_still(v);
	pv_slice_begin(v);
	assert_int_equal(peek(v, PAGE_A, 8), nanoseconds);
	/* off: nothing is written */
	wr(v, PV_MSR_STEAL_TIME, 0);
	poke(v, PAGE_A + 16, 0x55, 1);
	pv_slice_end(v);
	pv_slice_begin(v);
	assert_int_equal(peek(v, PAGE_A + 16, 1), 0x55);
}

static void a_flush_is_done_on_the_way_in(void **state)
{
	struct vcpu *v = vcpu(state);

	wr(v, PV_MSR_STEAL_TIME, PAGE_A | 1);
	pv_slice_end(v);
	v->mmu.root_stale = v->mmu.sync_wanted = false;
	store_relaxed(&v->mmu.seen, 1);
	pv_slice_begin(v);
	assert_false(v->mmu.sync_wanted);
	assert_int_equal(load_relaxed(&v->mmu.seen), 1);
	pv_slice_end(v);
	poke(v, PAGE_A + 16, PV_PREEMPTED | PV_FLUSH_TLB, 1);
	pv_slice_begin(v);
	assert_true(v->mmu.sync_wanted && v->mmu.root_stale);
	assert_int_equal(load_relaxed(&v->mmu.seen), 0);
	assert_int_equal(peek(v, PAGE_A + 16, 1), 0);
}

/* ---- anything ---- */

static void init_switches_all_off(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t offset = v->tsc_offset;

	wr(v, PV_MSR_EOI, PAGE_A | 1);
	wr(v, PV_MSR_SYSTEM_TIME, (PAGE_A + 64) | 1);
	wr(v, PV_MSR_STEAL_TIME, (PAGE_A + 128) | 1);
	assert_true(v->pv.slices);
	pv_reset(v);
	vcpu_reset_multiboot(v, 0, 0, 0);
	assert_int_equal(v->pv.clock | v->pv.steal | v->pv.eoi, 0);
	assert_false(v->pv.slices);
	assert_true(v->tsc_offset == offset);
}

static void random_writes_do_no_harm(void **state)
{
	struct vcpu *v = vcpu(state);
	uint64_t x = 88172645463325252UL;

	v->efer = EFER_LMA | EFER_LME;
	v->seg[CS].attr |= SEG_L;
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t value;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		value = x >> (x % 60);
		if (x >> 32 & 1)
			value &= 0x47ffff; /* most of that is RAM */
		switch (x % 8) {
		case 0:
			pv_slice_begin(v);
			break;
		case 1:
			pv_slice_end(v);
			break;
		case 2:
			if (!vm_interrupt_pending(v))
				lapic_request(v, (uint8_t)value, x >> 40 & 1);
			else
				vm_interrupt_acknowledge(v);
			pv_eoi_settle(v);
			break;
		case 3:
			call(v, 10, x, value, x >> 60, value);
			store_relaxed(&v->signals, 0);
			break;
		case 4:
			wr(v, x >> 41 & 1 ? X2APIC_EOI : MSR_TSC, x >> 41 & 1 ? 0 : value);
			break;
		default:
			wr(v, PV_MSR_FIRST + (uint32_t)(x >> 20) % 6, value);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PV_TEST(leaves_show_what_is_on),
		PV_TEST(an_msr_is_there_when_its_part_is),
		PV_TEST(addresses_are_checked),
		PV_TEST(scale_is_exact),
		PV_TEST(clocks_of_all_vcpus_are_one),
		PV_TEST(a_tsc_that_was_set_is_told_apart),
		PV_TEST(a_stop_is_told_until_the_guest_has_seen_it),
		PV_TEST(the_wall_clock_is_the_cmos_epoch),
		PV_TEST(a_vcpu_says_when_it_does_not_run),
		PV_TEST(a_flush_is_done_on_the_way_in),
		PV_TEST(init_switches_all_off),
		PV_TEST(random_writes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
