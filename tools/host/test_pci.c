/* SPDX-License-Identifier: MIT */
/* guest/pci.c: a host bridge, and nothing else on any bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/vm.h"
#include "tools/host/native.h"

static struct vm vm;

static int set_up(void **state)
{
	(void)state;
	host_native_init(1);
	vm = (struct vm){.bus.lock.rank = LOCK_BUS};
	pci_attach(&vm.pci, &vm.power, &vm.bus);
	return 0;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	assert_int_equal(bus_io(&vm.bus, port, size, true, &value), BUS_DONE);
}

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t value = 0;

	assert_int_equal(bus_io(&vm.bus, port, size, false, &value), BUS_DONE);
	return value;
}

static void the_bridge_is_found(void **state)
{
	(void)state;
	out(PCI_ADDRESS, 4, 0x80000000);
	assert_int_equal(in(PCI_DATA, 4), 0x12378086);
	assert_int_equal(in(PCI_DATA, 2), 0x8086);
	assert_int_equal(in(PCI_DATA + 2, 2), 0x1237);
	out(PCI_ADDRESS, 4, 0x80000008);
	assert_int_equal(in(PCI_DATA + 3, 1), 6); /* a bridge */
	assert_int_equal(in(PCI_DATA + 2, 1), 0); /* of the host */
	out(PCI_DATA, 4, 0xffffffff);
	assert_int_equal(in(PCI_DATA, 4), 0x06000002);
	out(PCI_ADDRESS, 4, 0x80000010);
	assert_int_equal(in(PCI_DATA, 4), 0); /* no base addresses */
}

static void nothing_else_is(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 1u << 16; i++) {
		out(PCI_ADDRESS, 4, 0x80000000 | i << 8);
		assert_int_equal(in(PCI_DATA, 4), 0xffffffff);
	}
	out(PCI_ADDRESS, 4, 0); /* not enabled */
	assert_int_equal(in(PCI_DATA, 4), 0xffffffff);
	assert_int_equal(in(PCI_DATA + 1, 1), 0xff);
}

static void the_address_is_taken_whole(void **state)
{
	(void)state;
	out(PCI_ADDRESS, 4, 0xffffffff);
	assert_int_equal(in(PCI_ADDRESS, 4), 0x80fffffc);
	out(PCI_ADDRESS, 1, 0);
	out(PCI_ADDRESS, 2, 0);
	out(PCI_ADDRESS + 2, 2, 0);
	assert_int_equal(in(PCI_ADDRESS, 4), 0x80fffffc);
	assert_int_equal(in(PCI_ADDRESS, 1), 0xff);
	assert_int_equal(in(PCI_ADDRESS + 2, 2), 0xffff);
	assert_int_equal(vm.bus.unclaimed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_bridge_is_found, set_up),
		cmocka_unit_test_setup(nothing_else_is, set_up),
		cmocka_unit_test_setup(the_address_is_taken_whole, set_up),
	};

	return cmocka_run_group_tests_name("pci", tests, 0, 0);
}
