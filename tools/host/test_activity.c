/* SPDX-License-Identifier: MIT */
/* guest/activity.c: what wakes vCPUs and what does not, INIT and start-up, and when a guest in which all sleep ends. */
#include "tools/host/lapic_test.h"

#define ENTRY 0x123450u

static bool ended(const char *reason)
{
	return !vm_running(vm) && !vm->pass && strstr(vm->reason, reason);
}

/* A turn of v's run loop. */
static void turn(struct vcpu *v)
{
	if (load_relaxed(&v->attention))
		vcpu_attend(v);
}

static void start(unsigned i)
{
	assert_true(vm_start_vcpu(vm, i, ENTRY));
	turn(vcpu(i));
	assert_int_equal(vcpu(i)->activity, VCPU_RUNNABLE);
	software_enable(vcpu(i));
}

/* HLT, with interrupts on or off. */
static bool halt(struct vcpu *v, bool interrupts)
{
	forget(v);
	v->activity = interrupts ? VCPU_HALTED : VCPU_ASLEEP;
	return !interrupts && vm_fall_asleep(v);
}

static void all_but_one_are_off(void **state)
{
	(void)state;
	assert_int_equal(load_relaxed(&vm->awake), 1);
	for (unsigned i = 1; i < LAPIC_TEST_VCPUS; i++)
		assert_true(vcpu(i)->activity == VCPU_OFF && load_relaxed(&vcpu(i)->asleep));
}

static void started_by_the_test_device(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	assert_false(vm_start_vcpu(vm, 0, ENTRY));
	assert_false(vm_start_vcpu(vm, LAPIC_TEST_VCPUS, ENTRY));
	assert_true(vm_start_vcpu(vm, 1, ENTRY));
	assert_false(vm_start_vcpu(vm, 1, ENTRY + 16));
	assert_int_equal(lapic_test.attended[1], 1);
	assert_int_equal(load_relaxed(&vm->awake), 2); /* at once, for it will run */
	assert_int_equal(v->activity, VCPU_OFF);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	assert_true(v->rip == ENTRY && v->gpr[RAX] == 0 && v->gpr[RBX] == 1);
	assert_true(load_relaxed(&v->attention)); /* its first entry looks */
	assert_int_equal(load_relaxed(&vm->awake), 2);
	assert_int_equal(load_relaxed(&v->signals), 0);
}

static void init_then_startup(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	v->rip = 0x555;
	page_out(v, PAGE_TPR, 0x30);
	page_out(v, PAGE_LVT_ERROR, 0x44);
	lapic_request(v, 0x80, false);
	vcpu_signal(v, SIGNAL_INIT);
	turn(v);
	assert_int_equal(v->activity, VCPU_OFF);
	assert_int_equal(load_relaxed(&vm->awake), 1);
	assert_int_equal(page_in(v, PAGE_TPR), 0);
	assert_int_equal(page_in(v, PAGE_SVR), 0xff);
	assert_int_equal(page_in(v, PAGE_LVT_ERROR), TEST_MASKED);
	assert_int_equal(page_in(v, PAGE_ID), 1 << 24);
	assert_int_equal(lapic_pending(v), -1);
	turn(v);
	assert_int_equal(v->activity, VCPU_OFF);
	store_relaxed(&v->startup, 0x12);
	vcpu_signal(v, SIGNAL_STARTUP);
	assert_int_equal(load_relaxed(&vm->awake), 2);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	assert_true(v->seg[CS].base + v->rip == 0x12000);
	assert_false(vm_start_vcpu(vm, 1, ENTRY));
	/* The second start-up, which every operating system sends, finds it running. */
	v->rip = 0x777;
	store_relaxed(&v->startup, 0x13);
	vcpu_signal(v, SIGNAL_STARTUP);
	turn(v);
	assert_true(v->activity == VCPU_RUNNABLE && v->rip == 0x777 && load_relaxed(&v->signals) == 0);
	assert_int_equal(load_relaxed(&vm->awake), 2);
}

static void a_startup_alone_starts_what_waits_for_it(void **state)
{
	(void)state;
	store_relaxed(&vcpu(2)->startup, 0x20);
	vcpu_signal(vcpu(2), SIGNAL_STARTUP);
	turn(vcpu(2));
	assert_true(vcpu(2)->activity == VCPU_RUNNABLE && vcpu(2)->seg[CS].base + vcpu(2)->rip == 0x20000);
	/* It was started: not again by the test device. */
	assert_false(vm_start_vcpu(vm, 2, ENTRY));
}

static void both_before_it_looks(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	vcpu_signal(v, SIGNAL_INIT);
	store_relaxed(&v->startup, 0x30);
	vcpu_signal(v, SIGNAL_STARTUP);
	turn(v);
	assert_true(v->activity == VCPU_RUNNABLE && v->seg[CS].base + v->rip == 0x30000);
	assert_int_equal(page_in(v, PAGE_SVR), 0xff);
	/* The other way round the start-up came too early. */
	store_relaxed(&v->startup, 0x40);
	vcpu_signal(v, SIGNAL_STARTUP);
	vcpu_signal(v, SIGNAL_INIT);
	turn(v);
	assert_int_equal(v->activity, VCPU_OFF);
	assert_int_equal(load_relaxed(&vm->awake), 1);
}

static void nmi_wakes_what_no_interrupt_does(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	assert_false(halt(v, false));
	assert_int_equal(load_relaxed(&vm->awake), 1);
	lapic_request(v, 0x80, false);
	assert_int_equal(lapic_test.attended[1], 1);
	turn(v);
	assert_true(v->activity == VCPU_ASLEEP && load_relaxed(&v->asleep) && load_relaxed(&vm->awake) == 1);
	vcpu_signal(v, SIGNAL_NMI);
	assert_int_equal(load_relaxed(&vm->awake), 2);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	assert_true(load_relaxed(&v->attention) && load_relaxed(&v->signals) == SIGNAL_NMI); /* for its next entry */
	assert_int_equal(load_relaxed(&vm->awake), 2);
	turn(v);
	assert_true(load_relaxed(&v->attention) && load_relaxed(&v->signals) == SIGNAL_NMI);
}

static void an_nmi_that_came_before_the_halt(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	forget(v);
	vcpu_signal(v, SIGNAL_NMI);
	v->activity = VCPU_ASLEEP;
	assert_false(vm_fall_asleep(v));
	assert_int_equal(load_relaxed(&vm->awake), 2);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
}

static void interrupts_end_a_halt(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	page_out(v, PAGE_TPR, 0x80);
	halt(v, true);
	assert_int_equal(load_relaxed(&vm->awake), 2); /* a device may wake it */
	lapic_request(v, 0x75, false);
	turn(v);
	assert_true(v->activity == VCPU_HALTED && !load_relaxed(&v->attention));
	lapic_request(v, 0x95, false);
	assert_int_equal(lapic_test.attended[1], 2);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	halt(v, true);
	vcpu_signal(v, SIGNAL_NMI);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	halt(v, true);
	vcpu_signal(v, SIGNAL_INIT);
	turn(v);
	assert_int_equal(v->activity, VCPU_OFF);
}

static void port_out(uint16_t port, uint32_t value)
{
	bus_io(&vm->bus, port, 1, true, &value);
}

/* The 8259A takes line 4 alone, as vector 0x24. */
static void set_up_8259a(void)
{
	static const uint8_t words[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xef}};

	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		port_out(words[i][0], words[i][1]);
}

static void raise_line_4(void)
{
	lock_take(&vm->bus.lock);
	irq_set_line(&vm->irq, 4, true);
	lock_drop(&vm->bus.lock);
}

static void the_8259a_ends_the_halt_of_its_vcpu(void **state)
{
	(void)state;
	set_up_8259a();
	start(1);
	halt(vcpu(0), true);
	halt(vcpu(1), true);
	raise_line_4();
	vm_tick(vm, host_clock());
	turn(vcpu(0));
	turn(vcpu(1));
	assert_int_equal(vcpu(0)->activity, VCPU_RUNNABLE);
	assert_int_equal(vcpu(1)->activity, VCPU_HALTED);
	assert_int_equal(vm_interrupt_acknowledge(vcpu(1)), -1);
	assert_int_equal(vm_interrupt_acknowledge(vcpu(0)), 0x24);
	assert_int_equal(vm_interrupt_acknowledge(vcpu(0)), -1);
}

/* vCPU 1 masks the line, and before it has come to the timers vCPU 0 looks in vain. Then the line is let through again. */
static void the_8259a_tells_again_what_was_not_found(void **state)
{
	(void)state;
	set_up_8259a();
	start(1);
	halt(vcpu(0), true);
	raise_line_4();
	vm_tick(vm, host_clock());
	port_out(0x21, 0xff);
	turn(vcpu(0));
	assert_true(vcpu(0)->activity == VCPU_HALTED && !load_relaxed(&vcpu(0)->attention));
	port_out(0x21, 0xef);
	vm_tick(vm, host_clock());
	turn(vcpu(0));
	assert_int_equal(vcpu(0)->activity, VCPU_RUNNABLE);
	/* What was found is told once. */
	assert_true(vm_interrupt_pending(vcpu(0)));
	forget(vcpu(0));
	vm_tick(vm, host_clock());
	assert_int_equal(lapic_test.attended[0], 0);
	assert_int_equal(vm_interrupt_acknowledge(vcpu(0)), 0x24);
}

static void the_last_one_asleep_ends_the_guest(void **state)
{
	(void)state;
	start(1);
	start(2);
	assert_false(halt(vcpu(1), false));
	assert_false(halt(vcpu(0), false));
	vcpu_signal(vcpu(0), SIGNAL_NMI);
	turn(vcpu(0));
	assert_false(halt(vcpu(2), false));
	assert_true(vm_running(vm));
	fetch_and_seq(&vcpu(0)->signals, 0);
	assert_true(halt(vcpu(0), false)); /* hv/exit.c says why */
}

static void one_that_is_called_for_nothing_may_be_the_last(void **state)
{
	(void)state;
	start(1);
	assert_false(halt(vcpu(1), false));
	vcpu_signal(vcpu(1), SIGNAL_STARTUP); /* no way to wake it */
	assert_int_equal(load_relaxed(&vm->awake), 2);
	assert_false(halt(vcpu(0), false));
	assert_true(vm_running(vm));
	turn(vcpu(1));
	assert_true(ended("every vCPU is halted"));
	assert_int_equal(load_relaxed(&vm->awake), 0);
}

static void what_is_off_takes_no_nmi(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	vcpu_signal(v, SIGNAL_NMI);
	turn(v);
	assert_true(v->activity == VCPU_OFF && load_relaxed(&v->signals) == 0);
	assert_int_equal(load_relaxed(&vm->awake), 1);
	start(1);
	vcpu_signal(v, SIGNAL_NMI | SIGNAL_INIT);
	turn(v);
	assert_true(v->activity == VCPU_OFF && load_relaxed(&v->signals) == 0);
	assert_true(halt(vcpu(0), false));
}

static void init_of_the_boot_processor_ends_the_guest(void **state)
{
	(void)state;
	vcpu_signal(vcpu(0), SIGNAL_INIT);
	turn(vcpu(0));
	assert_true(ended("INIT of the boot processor"));
}

/* While a shadow page is taken apart, the MMU cannot be reset: nothing changes, and it is tried again. */
static void init_that_must_wait(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	v->rip = 0x777;
	halt(v, true);
	vcpu_signal(v, SIGNAL_INIT);
	store_relaxed(&v->startup, 0x12);
	vcpu_signal(v, SIGNAL_STARTUP);
	for (unsigned i = 0; i < 3; i++) {
		forget(v);
		store_relaxed(&v->attention, 1);
		store_relaxed(&vm->mmu.burying, 1);
		turn(v);
		assert_int_equal(v->activity, VCPU_HALTED);
		assert_int_equal(v->rip, 0x777);
		assert_true(load_relaxed(&v->attention) && lapic_test.attended[1] == 1); /* its run loop does not go to sleep */
		assert_int_equal(load_relaxed(&v->signals), SIGNAL_INIT | SIGNAL_STARTUP);
	}
	/* A second INIT takes the start-up back. */
	vcpu_signal(v, SIGNAL_INIT);
	store_relaxed(&vm->mmu.burying, 0);
	turn(v);
	assert_true(v->activity == VCPU_OFF && load_relaxed(&v->signals) == 0);
	assert_int_equal(load_relaxed(&vm->awake), 1);
}

/* A sender that has set its signal, and has not yet come to wake whom it found asleep, when that one has it all done. */
static void a_sender_that_is_late(void **state)
{
	struct vcpu *v = vcpu(1);
	uint32_t asleep = 1;

	(void)state;
	start(1);
	assert_false(halt(v, false));
	fetch_or_seq(&v->signals, SIGNAL_NMI);
	store_relaxed(&v->attention, 1); /* by another sender */
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
	assert_true(!load_relaxed(&v->asleep) && load_relaxed(&vm->awake) == 2);
	assert_false(cmpxchg_seq(&v->asleep, &asleep, 0)); /* what the late one does */
}

/* vCPU 0 comes between, at a point of vCPU 1's. */
struct between {
	const char *point;
	void (*act)(void);
	unsigned times;
};

static void come_between(void *ctx, const char *point)
{
	struct between *b = ctx;

	if (strcmp(point, b->point) == 0 && b->times++ == 0)
		b->act();
}

static void with(struct between *b, void (*act)(struct vcpu *v))
{
	host_set_park(come_between, b);
	act(vcpu(1));
	host_set_park(0, 0);
	assert_true(b->times > 0);
}

static void send_nmi_and_sleep(void)
{
	vcpu_signal(vcpu(1), SIGNAL_NMI);
	assert_false(vm_fall_asleep(vcpu(0)));
}

static void halt_for_good(struct vcpu *v)
{
	assert_false(halt(v, false));
}

static void its_waker_sleeps_before_it_does(void **state)
{
	(void)state;
	start(1);
	with(&(struct between){"falling-asleep", send_nmi_and_sleep, 0}, halt_for_good);
	assert_int_equal(load_relaxed(&vm->awake), 1);
	turn(vcpu(1));
	assert_int_equal(vcpu(1)->activity, VCPU_RUNNABLE);
	assert_true(vm_running(vm));
}

static void its_waker_sleeps_while_it_gets_up(void **state)
{
	(void)state;
	start(1);
	halt_for_good(vcpu(1));
	fetch_or_seq(&vcpu(1)->signals, SIGNAL_NMI);
	store_relaxed(&vcpu(1)->attention, 1);
	with(&(struct between){"waking", send_nmi_and_sleep, 0}, turn);
	assert_int_equal(load_relaxed(&vm->awake), 1);
	assert_true(!load_relaxed(&vcpu(1)->asleep) && vcpu(1)->activity == VCPU_RUNNABLE && vm_running(vm));
}

static void send_init(void)
{
	vcpu_signal(vcpu(1), SIGNAL_INIT);
	store_relaxed(&vcpu(1)->startup, 0x66);
	vcpu_signal(vcpu(1), SIGNAL_STARTUP);
}

static void init_comes_after_the_look(void **state)
{
	(void)state;
	start(1);
	halt(vcpu(1), true);
	vcpu_signal(vcpu(1), SIGNAL_NMI);
	vcpu(1)->rip = 0x777;
	with(&(struct between){"signals-seen", send_init, 0}, turn);
	turn(vcpu(1));
	assert_int_equal(vcpu(1)->activity, VCPU_RUNNABLE);
	assert_true(vcpu(1)->seg[CS].base + vcpu(1)->rip == 0x66000);
	assert_int_equal(page_in(vcpu(1), PAGE_SVR), 0xff);
	assert_int_equal(load_relaxed(&vcpu(1)->signals), 0);
}

static void send_interrupt(void)
{
	lapic_request(vcpu(1), 0x80, false);
}

static void an_interrupt_comes_after_the_look(void **state)
{
	struct vcpu *v = vcpu(1);

	(void)state;
	start(1);
	halt(v, true);
	store_relaxed(&v->attention, 1);
	with(&(struct between){"attended", send_interrupt, 0}, turn);
	assert_true(v->activity == VCPU_HALTED && load_relaxed(&v->attention) && lapic_test.attended[1] == 1);
	turn(v);
	assert_int_equal(v->activity, VCPU_RUNNABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		lapic_unit_test(all_but_one_are_off),
		lapic_unit_test(started_by_the_test_device),
		lapic_unit_test(init_then_startup),
		lapic_unit_test(a_startup_alone_starts_what_waits_for_it),
		lapic_unit_test(both_before_it_looks),
		lapic_unit_test(nmi_wakes_what_no_interrupt_does),
		lapic_unit_test(an_nmi_that_came_before_the_halt),
		lapic_unit_test(interrupts_end_a_halt),
		lapic_unit_test(the_8259a_ends_the_halt_of_its_vcpu),
		lapic_unit_test(the_8259a_tells_again_what_was_not_found),
		lapic_unit_test(the_last_one_asleep_ends_the_guest),
		lapic_unit_test(one_that_is_called_for_nothing_may_be_the_last),
		lapic_unit_test(what_is_off_takes_no_nmi),
		lapic_unit_test(init_of_the_boot_processor_ends_the_guest),
		lapic_unit_test(init_that_must_wait),
		lapic_unit_test(a_sender_that_is_late),
		lapic_unit_test(its_waker_sleeps_before_it_does),
		lapic_unit_test(its_waker_sleeps_while_it_gets_up),
		lapic_unit_test(init_comes_after_the_look),
		lapic_unit_test(an_interrupt_comes_after_the_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
