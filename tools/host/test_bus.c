/* SPDX-License-Identifier: MIT */
/* guest/bus.c: who gets which access. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/bus.h"
#include "tools/host/native.h"

struct seen {
	unsigned accesses;
	uint16_t port;
	unsigned size;
	bool write;
	uint32_t value, answer;
	enum bus_outcome outcome;
};

static enum bus_outcome device(void *ctx, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct seen *s = ctx;

	s->accesses++;
	s->port = port;
	s->size = size;
	s->write = write;
	if (write)
		s->value = *value;
	else
		*value = s->answer + port;
	return s->outcome;
}

static void an_access_reaches_its_device(void **state)
{
	struct bus b = {0};
	struct seen wide = {.answer = 0x1000}, narrow = {.answer = 0};
	uint32_t v = 0xabcd;

	(void)state;
	bus_add(&b, 0x5e0, 0x5e7, 4, device, &wide);
	bus_add(&b, 0x20, 0x21, 1, device, &narrow);
	assert_int_equal(bus_io(&b, 0x5e4, 4, true, &v), BUS_DONE);
	assert_true(wide.write && wide.port == 0x5e4 && wide.size == 4 && wide.value == 0xabcd);
	bus_io(&b, 0x21, 1, false, &v);
	assert_int_equal(v, 0x21);
	assert_int_equal(wide.accesses + narrow.accesses, 2);
	assert_int_equal(b.unclaimed, 0);
}

static void retry_is_passed_on(void **state)
{
	struct bus b = {0};
	struct seen s = {.outcome = BUS_RETRY};
	uint32_t v = 2;

	(void)state;
	bus_add_concurrent(&b, 0x5e0, 0x5e3, 4, device, &s);
	assert_int_equal(bus_io(&b, 0x5e0, 4, true, &v), BUS_RETRY);
}

static void other_ports_read_all_ones_and_are_counted(void **state)
{
	struct bus b = {0};
	uint32_t v;

	(void)state;
	bus_io(&b, 0xcf8, 4, false, &v);
	assert_int_equal(v, 0xffffffff);
	bus_io(&b, 0xcf8, 2, false, &v);
	assert_int_equal(v, 0xffff);
	bus_io(&b, 0xcf8, 1, false, &v);
	assert_int_equal(v, 0xff);
	v = 5;
	bus_io(&b, 0xffff, 4, true, &v);
	assert_int_equal(v, 5);
	assert_int_equal(b.unclaimed, 4);
}

static void a_wide_access_to_a_narrow_device_goes_byte_by_byte(void **state)
{
	struct bus b = {0};
	struct seen s = {.answer = 0};
	uint32_t v = 0x1234;

	(void)state;
	bus_add(&b, 0x40, 0x42, 1, device, &s);
	bus_io(&b, 0x40, 2, true, &v);
	assert_true(s.accesses == 2 && s.port == 0x41 && s.size == 1 && s.value == 0x12);
	bus_io(&b, 0x41, 4, false, &v);
	assert_int_equal(v, 0xffff4241);
	assert_int_equal(b.unclaimed, 1);
}

static void a_wide_device_does_not_see_half_an_access(void **state)
{
	struct bus b = {0};
	struct seen s = {0};
	uint32_t v;

	(void)state;
	bus_add(&b, 0x510, 0x511, 2, device, &s);
	bus_io(&b, 0x510, 4, false, &v);
	assert_int_equal(v, 0xffffffff);
	bus_io(&b, 0x511, 2, false, &v);
	assert_int_equal(v, 0xffff);
	assert_int_equal(s.accesses, 0);
	assert_int_equal(b.unclaimed, 2);
}

static void add_twice(void *ctx)
{
	bus_add(ctx, 0x40, 0x43, 1, device, 0);
	bus_add(ctx, 0x43, 0x50, 1, device, 0);
}

/* What a device of that kind sees of the bus's lock. */
static enum bus_outcome lock_seen(void *bus, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct bus *b = bus;

	(void)port, (void)size, (void)write;
	*value = load_relaxed(&b->lock.spin.held);
	return BUS_DONE;
}

static void devices_are_locked_but_concurrent_ones(void **state)
{
	struct bus b = {0};
	uint32_t v;

	(void)state;
	bus_add(&b, 0x40, 0x43, 1, lock_seen, &b);
	bus_add_concurrent(&b, 0x5e0, 0x5e3, 4, lock_seen, &b);
	bus_io(&b, 0x40, 1, false, &v);
	assert_int_equal(v, 1);
	bus_io(&b, 0x40, 2, false, &v);
	assert_int_equal(v, 0x101);
	bus_io(&b, 0x5e0, 4, false, &v);
	assert_int_equal(v, 0);
	assert_int_equal(load_relaxed(&b.lock.spin.held), 0);
}

static void overlapping_devices_are_our_bug(void **state)
{
	struct bus b = {0};

	(void)state;
	assert_true(host_panics(add_twice, &b, "CHECK"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_access_reaches_its_device),
		cmocka_unit_test(retry_is_passed_on),
		cmocka_unit_test(other_ports_read_all_ones_and_are_counted),
		cmocka_unit_test(a_wide_access_to_a_narrow_device_goes_byte_by_byte),
		cmocka_unit_test(a_wide_device_does_not_see_half_an_access),
		cmocka_unit_test(devices_are_locked_but_concurrent_ones),
		cmocka_unit_test(overlapping_devices_are_our_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
