/* SPDX-License-Identifier: MIT */
/* guest/smbios.c, as a kernel walks it (DSP0134 3.0: 5.2.2, 6.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/smbios.h"
#include "tools/host/native.h"

#define BYTES 4096

static struct mmio mmio;
static uint8_t rom[BYTES];

static int set_up(void **state)
{
	(void)state;
	host_native_init(1);
	for (unsigned again = 0; again < 2; again++) { /* of two guests the second is told the same */
		mmio = (struct mmio){.ranges = 0};
		smbios_attach(&mmio);
	}
	for (unsigned i = 0; i < BYTES; i++)
		mmio_access(&mmio, 0, gpa(SMBIOS_ADDRESS + i), 1, false, &rom[i]);
	return 0;
}

static uint64_t get(unsigned at, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, rom + at, bytes);
	return value;
}

static void the_entry_point_sums_up(void **state)
{
	uint8_t sum = 0;

	(void)state;
	assert_memory_equal(rom, "_SM3_", 5);
	assert_int_equal(rom[6], 24);
	for (unsigned i = 0; i < 24; i++)
		sum = (uint8_t)(sum + rom[i]);
	assert_int_equal(sum, 0);
	assert_true(get(16, 8) > SMBIOS_ADDRESS + 23 && get(16, 8) % 16 == 0);
}

static void its_structures_follow_each_other(void **state)
{
	unsigned at = (unsigned)(get(16, 8) - SMBIOS_ADDRESS), end = at + (unsigned)get(12, 4), type, handle = 0;
	static const unsigned types[] = {0, 1, 127};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		type = rom[at];
		assert_int_equal(type, types[i]);
		assert_int_equal(get(at + 2, 2), handle++);
		at += rom[at + 1];
		if (type == 0)
			assert_string_equal((char *)rom + at, "Umbra");
		while (rom[at] || rom[at + 1])
			at++;
		at += 2;
	}
	assert_int_equal(at, end);
}

static void it_is_for_reading(void **state)
{
	uint32_t value = 0x12345678;

	(void)state;
	mmio_access(&mmio, 0, gpa(SMBIOS_ADDRESS), 4, true, &value);
	mmio_access(&mmio, 0, gpa(SMBIOS_ADDRESS), 4, false, &value);
	assert_memory_equal(&value, "_SM3", 4);
	mmio_access(&mmio, 0, gpa(SMBIOS_ADDRESS + 0xfff0), 4, false, &value);
	assert_int_equal(value, 0xffffffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_entry_point_sums_up, set_up),
		cmocka_unit_test_setup(its_structures_follow_each_other, set_up),
		cmocka_unit_test_setup(it_is_for_reading, set_up),
	};

	return cmocka_run_group_tests_name("smbios", tests, 0, 0);
}
