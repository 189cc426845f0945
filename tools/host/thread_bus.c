/* SPDX-License-Identifier: MIT */
/* The devices of a guest, used by several vCPUs at once, beside the timers' ticks: under ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/text.h"
#include "guest/vm.h"
#include "tools/host/native.h"

#define MEM (4UL << 20)
#define CPUS 3
#define ACCESSES 20000
#define LETTERS 500

static struct vm vm;
static struct vcpu vcpu[CPUS];

static int set_up(void **state)
{
	(void)state;
	host_native_init(CPUS);
	mmu_global_init();
	memset(&vm, 0, sizeof vm);
	text_copy(vm.config.name, sizeof vm.config.name, "a");
	vm.config.mem = MEM;
	for (; vm.vcpus < CPUS; vm.vcpus++) {
		vcpu[vm.vcpus] = (struct vcpu){.vm = &vm, .index = vm.vcpus};
		lapic_init(&vcpu[vm.vcpus]);
		vm.vcpu[vm.vcpus] = &vcpu[vm.vcpus];
	}
	if (!mmu_init(&vm.mmu, vm.config.name, 128) || !mmu_add_ram(&vm.mmu, MEM))
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

/* Every port but those that end the guest, and no audit: it is for one at a time. And the I/O APIC in memory. */
static void use_devices(void *arg)
{
	static const uint16_t bases[] = {0x20, 0xa0, 0x40, 0x60, 0x70, 0xe8, 0x3f8, 0x4d0, 0x510, 0x5e4, 0x5ec,
		0x608, 0xfff8};
	uint64_t seed = 7 + host_cpu();

	(void)arg;
	for (unsigned i = 0; i < ACCESSES; i++) {
		uint64_t r = host_random(&seed);
		uint16_t port = (uint16_t)(bases[r % (sizeof bases / sizeof *bases)] + (r >> 8 & 7));
		uint32_t value = (uint32_t)(r >> 32);

		if (port >> 4 == 6)
			value &= 0x0f0f0f0f; /* not the reset through the keyboard controller */
		bus_io(&vm.bus, port, 1u << (r >> 16) % 3, r >> 21 & 1, &value);
		mmio_access(&vm.mmio, vm.vcpu[0], gpa(IOAPIC_ADDRESS + (r >> 24 & 1) * IOAPIC_WINDOW), 4, r >> 25 & 1, &value);
		vm_tick(&vm, host_clock());
		if (vm_interrupt_pending(&vcpu[host_cpu()]))
			vm_interrupt_acknowledge(&vcpu[host_cpu()]);
	}
}

static void devices_of_several_vcpus(void **state)
{
	(void)state;
	host_run_cpus(CPUS, use_devices, 0);
	assert_true(vm_running(&vm));
	assert_true(vm.bus.unclaimed > 0 && vm.bus.lock.longest.v > 0);
}

static void print_letters(void *arg)
{
	uint32_t value = 'a' + host_cpu();

	(void)arg;
	for (unsigned i = 0; i < LETTERS; i++)
		bus_io(&vm.bus, 0xe9, 1, true, &value);
}

static void no_character_is_lost(void **state)
{
	const unsigned lines = CPUS * LETTERS / VM_LINE;

	(void)state;
	host_run_cpus(CPUS, print_letters, 0);
	for (unsigned i = 0; i < lines; i++)
		assert_int_equal(strlen(host_log_line(i)), VM_LINE + 3);
	assert_string_equal(host_log_line(lines), "");
	assert_int_equal(vm.line_n, CPUS * LETTERS % VM_LINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(devices_of_several_vcpus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_character_is_lost, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
