/* SPDX-License-Identifier: MIT */
/* guest/vm.c and guest/testdev.c with two vCPUs: start, sleep, commands that are for one at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/vm.h"
#include "tools/host/native.h"

#define MEM (4UL << 20)

static struct vm vm;
static struct vcpu vcpu[2];
static struct vcpu *attended;

static void attend(struct vcpu *v)
{
	attended = v;
}

static int set_up(void **state)
{
	(void)state;
	host_native_init(2);
	mmu_global_init();
	memset(&vm, 0, sizeof vm);
	vm.config.mem = MEM;
	vm.attend = attend;
	attended = 0;
	for (; vm.vcpus < 2; vm.vcpus++) {
		vcpu[vm.vcpus] = (struct vcpu){
			.vm = &vm, .index = vm.vcpus, .activity = vm.vcpus ? VCPU_OFF : VCPU_RUNNABLE};
		store_relaxed(&vcpu[vm.vcpus].asleep, vm.vcpus != 0);
		lapic_init(&vcpu[vm.vcpus]);
		vm.vcpu[vm.vcpus] = &vcpu[vm.vcpus];
	}
	if (!mmu_init(&vm.mmu, "a", 128) || !mmu_add_ram(&vm.mmu, MEM))
		return -1;
	vm_init_devices(&vm, host_clock());
	store_release(&vm.state, VM_RUNNING);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mmu_destroy(&vm.mmu);
	return 0;
}

static enum bus_outcome out(uint16_t port, unsigned size, uint32_t value)
{
	return bus_io(&vm.bus, port, size, true, &value);
}

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t value = 0;

	assert_int_equal(bus_io(&vm.bus, port, size, false, &value), BUS_DONE);
	return value;
}

static uint32_t command(uint32_t value)
{
	assert_int_equal(out(0x5e0, 4, value), BUS_DONE);
	return in(0x5e0, 4);
}

static void a_vcpu_starts_once(void **state)
{
	(void)state;
	assert_int_equal(in(0x5f4, 4), 2);
	out(0x5f0, 4, 0x123450);
	out(0x5f4, 4, 0); /* runs already */
	out(0x5f4, 4, 2); /* there is none */
	out(0x5f4, 4, 0xffffffff);
	vcpu_attend(&vcpu[1]);
	assert_true(!attended && vcpu[1].activity == VCPU_OFF);
	out(0x5f4, 4, 1);
	assert_ptr_equal(attended, &vcpu[1]);
	vcpu_attend(&vcpu[1]);
	assert_int_equal(vcpu[1].activity, VCPU_RUNNABLE);
	assert_true(vcpu[1].rip == 0x123450 && vcpu[1].gpr[RAX] == 0 && vcpu[1].gpr[RBX] == 1);
	attended = 0;
	out(0x5f0, 4, 0x9000);
	out(0x5f4, 4, 1);
	vcpu[1].activity = VCPU_ASLEEP;
	vcpu_attend(&vcpu[1]);
	assert_true(!attended && vcpu[1].activity == VCPU_ASLEEP && vcpu[1].rip == 0x123450);
	/* It had nothing to get up for, and sleeps on: the other is the last to fall asleep. */
	assert_true(vm_fall_asleep(&vcpu[0]));
}

static void an_audit_waits_until_others_stand_still(void **state)
{
	(void)state;
	assert_int_equal(out(0x5e0, 4, 4), BUS_QUIET);
	store_release(&vm.quiet, 1);
	assert_int_equal(command(4), 0);
	store_release(&vm.quiet, 0);
	assert_int_equal(command(5), 0); /* beside them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_vcpu_starts_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_audit_waits_until_others_stand_still, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
