/* SPDX-License-Identifier: MIT */
/* guest/mmio.c: who gets which access, and what nobody gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "guest/mmio.h"
#include "tools/host/native.h"

#define AT 0xfee00000UL
#define BYTES 0x400UL

/* A device of registers, which notes the accesses. */
struct device {
	uint8_t memory[BYTES];
	struct vcpu *by;
	unsigned accesses, widest;
};

static struct mmio bus;
static struct device device, other;
static struct vcpu vcpu;

static void access_device(void *d, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value)
{
	struct device *it = d;

	assert_true(bytes <= 8 && offset + bytes <= BYTES);
	it->by = v;
	it->accesses++;
	it->widest = bytes > it->widest ? bytes : it->widest;
	if (write)
		memcpy(it->memory + offset, value, bytes);
	else
		memcpy(value, it->memory + offset, bytes);
}

static int setup(void **state)
{
	(void)state;
	host_native_init(1);
	bus = (struct mmio){0};
	device = other = (struct device){0};
	mmio_add(&bus, gpa(AT), BYTES, access_device, &device);
	mmio_add(&bus, gpa(AT + BYTES), BYTES, access_device, &other);
	return 0;
}

static void a_device_gets_its_accesses(void **state)
{
	uint64_t value = 0x1122334455667788, seen = 0;

	(void)state;
	mmio_access(&bus, &vcpu, gpa(AT + 16), 8, true, &value);
	assert_ptr_equal(device.by, &vcpu);
	mmio_access(&bus, &vcpu, gpa(AT + 17), 2, false, &seen);
	assert_int_equal(seen, 0x6677);
	assert_int_equal(device.accesses, 2);
	assert_int_equal(other.accesses, 0);
	mmio_access(&bus, &vcpu, gpa(AT + BYTES + BYTES - 1), 1, true, &value);
	assert_int_equal(other.memory[BYTES - 1], 0x88);
	assert_int_equal(load_relaxed(&bus.unclaimed), 0);
}

static void sixteen_bytes_come_as_two(void **state)
{
	uint8_t value[16], seen[16];

	(void)state;
	for (unsigned i = 0; i < sizeof value; i++)
		value[i] = (uint8_t)(i + 1);
	mmio_access(&bus, &vcpu, gpa(AT + 32), 16, true, value);
	mmio_access(&bus, &vcpu, gpa(AT + 32), 16, false, seen);
	assert_memory_equal(seen, value, sizeof seen);
	assert_int_equal(device.accesses, 4);
	assert_int_equal(device.widest, 8);
}

/* What belongs to nobody, or to nobody whole. */
static void the_rest_reads_all_ones(void **state)
{
	static const uint64_t nowhere[] = {0, AT - 1, AT + 2 * BYTES, AT - 4, AT + BYTES - 4};
	const uint8_t ones[9] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
	uint8_t seen[9] = {0};

	(void)state;
	for (unsigned i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
		mmio_access(&bus, &vcpu, gpa(nowhere[i]), 8, true, seen);
		memset(seen, 0, sizeof seen);
		mmio_access(&bus, &vcpu, gpa(nowhere[i]), 8, false, seen);
		assert_memory_equal(seen, ones, sizeof seen);
		assert_int_equal(load_relaxed(&bus.unclaimed), 2 * (i + 1));
	}
	assert_int_equal(device.accesses + other.accesses, 0);
}

static void add_over(void *first)
{
	mmio_add(&bus, gpa(*(uint64_t *)first), BYTES, access_device, &device);
}

static void ranges_do_not_overlap(void **state)
{
	uint64_t inside = AT + 2 * BYTES - 1, before = AT - BYTES + 1;

	(void)state;
	assert_true(host_panics(add_over, &inside, "CHECK"));
	assert_true(host_panics(add_over, &before, "CHECK"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_device_gets_its_accesses, setup),
		cmocka_unit_test_setup(sixteen_bytes_come_as_two, setup),
		cmocka_unit_test_setup(the_rest_reads_all_ones, setup),
		cmocka_unit_test_setup(ranges_do_not_overlap, setup),
	};

	return cmocka_run_group_tests_name("memory-mapped devices", tests, 0, 0);
}
