/* SPDX-License-Identifier: MIT */
/* hv/place.c: who runs where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hv/place.h"

static void console_and_walker_alone_from_three_cpus(void **state)
{
	(void)state;
	for (unsigned cpus = 3; cpus <= 256; cpus++) {
		assert_int_equal(place_walker(cpus), cpus - 1);
		for (unsigned i = 0; i < 600; i++) {
			assert_in_range(place_vcpu(cpus, i), 1, cpus - 2);
			if (i + 2 < cpus - 1)
				assert_int_not_equal(place_vcpu(cpus, i), place_vcpu(cpus, i + 1));
		}
	}
}

static void few_cpus_share(void **state)
{
	(void)state;
	assert_int_equal(place_walker(1), 0);
	assert_int_equal(place_walker(2), 0);
	assert_int_equal(place_vcpu(1, 0), 0);
	assert_int_equal(place_vcpu(1, 5), 0);
	assert_int_equal(place_vcpu(2, 0), 1);
	assert_int_equal(place_vcpu(2, 1), 0);
	assert_int_equal(place_vcpu(2, 2), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(console_and_walker_alone_from_three_cpus),
		cmocka_unit_test(few_cpus_share),
	};

	return cmocka_run_group_tests_name("place", tests, 0, 0);
}
