/* SPDX-License-Identifier: MIT */
/* hv/escape.c and hv/ring.h: what is typed at the console, and where it waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hv/escape.h"
#include "hv/ring.h"

static bool escaped;
static uint8_t out;

static enum escape_key type(uint8_t byte)
{
	out = 0xee;
	return escape_byte(&escaped, byte, &out);
}

static void all_but_ctrl_a_passes(void **state)
{
	(void)state;
	for (unsigned b = 0; b < 256; b++) {
		if (b == ESCAPE_BYTE)
			continue;
		assert_int_equal(type((uint8_t)b), ESCAPE_PASS);
		assert_int_equal(out, b);
	}
}

static void keys_behind_ctrl_a(void **state)
{
	(void)state;
	for (unsigned b = 0; b < 256; b++) {
		enum escape_key want = b >= '1' && b <= '9' ? ESCAPE_GUEST
			: b == 'n'			    ? ESCAPE_NEXT
			: b == 'p'			    ? ESCAPE_PREVIOUS
			: b == 'h'			    ? ESCAPE_HYPERVISOR
			: b == 'r'			    ? ESCAPE_RAW
			: b == 'm'			    ? ESCAPE_MONITOR
			: b == 'a'			    ? ESCAPE_PASS
							    : ESCAPE_USAGE;

		assert_int_equal(type(ESCAPE_BYTE), ESCAPE_NONE);
		assert_int_equal(type((uint8_t)b), want);
		if (want == ESCAPE_GUEST)
			assert_int_equal(out, b - '1');
		if (want == ESCAPE_PASS)
			assert_int_equal(out, ESCAPE_BYTE);
		/* One key only. */
		assert_int_equal(type('n'), ESCAPE_PASS);
		assert_int_equal(out, 'n');
	}
}

/* Beside a count: what comes out is what went in, over the end of the array too. */
static void a_ring_keeps_bytes_and_order(void **state)
{
	static struct ring r;
	uint32_t put = 0, taken = 0, full = 0, seed = 1;
	const uint8_t *first;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		unsigned n;

		seed = seed * 1664525 + 1013904223;
		for (n = seed >> 20; n && !ring_full(&r); n--)
			ring_put(&r, (uint8_t)(put++ * 7));
		if (ring_full(&r)) {
			assert_int_equal(put - taken, RING_BYTES);
			full++;
		}
		n = ring_piece(&r, &first);
		assert_true(n > 0 || put == taken);
		n = n < seed % 5000 ? n : seed % 5000;
		for (unsigned k = 0; k < n; k++)
			assert_int_equal(first[k], (uint8_t)(taken++ * 7));
		ring_drop(&r, n);
	}
	assert_true(full > 100);
	ring_clear(&r);
	assert_int_equal(ring_piece(&r, &first), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_but_ctrl_a_passes),
		cmocka_unit_test(keys_behind_ctrl_a),
		cmocka_unit_test(a_ring_keeps_bytes_and_order),
	};

	return cmocka_run_group_tests_name("escape", tests, 0, 0);
}
