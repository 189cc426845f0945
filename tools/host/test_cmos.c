/* SPDX-License-Identifier: MIT */
/* guest/cmos.c and guest/fwcfg.c: what a guest learns about its machine. The clock's interrupts: test_rtc. The native TSC runs at 1 GHz. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "guest/cmos.h"
#include "guest/fwcfg.h"
#include "guest/ram.h"
#include "tools/host/native.h"

#define HZ 1000000000UL
#define MIB (1UL << 20)
#define GIB (1UL << 30)

static struct pic pic;
static struct irq irq = {.pic = &pic};

static unsigned bcd(uint8_t v)
{
	return (v >> 4) * 10u + (v & 15);
}

static void the_clock_agrees_with_the_c_library(void **state)
{
	uint64_t seed = 9;
	struct cmos c;

	(void)state;
	cmos_init(&c, &irq, 64 * MIB, 1, 77);
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t passed = i < 2000 ? i * 86400UL : host_random(&seed) % (200UL * 365 * 86400);
		uint64_t now = 77 + passed * HZ + host_random(&seed) % HZ;
		time_t t = (time_t)(CMOS_EPOCH + passed);
		struct tm tm;

		gmtime_r(&t, &tm);
		assert_int_equal(bcd(cmos_read(&c, 0x00, now)), tm.tm_sec);
		assert_int_equal(bcd(cmos_read(&c, 0x02, now)), tm.tm_min);
		assert_int_equal(bcd(cmos_read(&c, 0x04, now)), tm.tm_hour);
		assert_int_equal(cmos_read(&c, 0x06, now), tm.tm_wday + 1);
		assert_int_equal(bcd(cmos_read(&c, 0x07, now)), tm.tm_mday);
		assert_int_equal(bcd(cmos_read(&c, 0x08, now)), tm.tm_mon + 1);
		assert_int_equal(
			bcd(cmos_read(&c, 0x32, now)) * 100 + bcd(cmos_read(&c, 0x09, now)), tm.tm_year + 1900);
	}
}

static void binary_and_12_hour_formats(void **state)
{
	struct cmos c;

	(void)state;
	cmos_init(&c, &irq, 64 * MIB, 1, 0);
	cmos_write(&c, 0x0b, 0x06, 0);
	assert_int_equal(cmos_read(&c, 0x04, 23 * 3600 * HZ), 23);
	assert_int_equal(cmos_read(&c, 0x00, 59 * HZ), 59);
	cmos_write(&c, 0x0b, 0x00, 0);
	assert_int_equal(cmos_read(&c, 0x04, 0), 0x12);
	assert_int_equal(cmos_read(&c, 0x04, 11 * 3600 * HZ), 0x11);
	assert_int_equal(cmos_read(&c, 0x04, 12 * 3600 * HZ), 0x92);
	assert_int_equal(cmos_read(&c, 0x04, 23 * 3600 * HZ), 0x91);
}

static void an_update_is_announced(void **state)
{
	struct cmos c;

	(void)state;
	cmos_init(&c, &irq, 64 * MIB, 1, 0);
	assert_int_equal(cmos_read(&c, 0x0a, 5 * HZ), 0x26);
	assert_int_equal(cmos_read(&c, 0x0a, 6 * HZ - 245000), 0x26);
	assert_int_equal(cmos_read(&c, 0x0a, 6 * HZ - 244000), 0xa6);
	assert_int_equal(cmos_read(&c, 0x0a, 6 * HZ - 1), 0xa6);
	assert_int_equal(cmos_read(&c, 0x0a, 6 * HZ), 0x26);
	/* None comes while the clock is held. */
	cmos_write(&c, 0x0b, 0x82, 0);
	assert_int_equal(cmos_read(&c, 0x0a, 7 * HZ - 1), 0x26);
	cmos_write(&c, 0x0b, 0x02, 0);
	assert_int_equal(cmos_read(&c, 0x0a, 8 * HZ - 1), 0xa6);
	cmos_write(&c, 0x0a, 0x76, 0);
	assert_int_equal(cmos_read(&c, 0x0a, 9 * HZ - 1), 0x76);
	assert_int_equal(cmos_read(&c, 0x0d, 0), 0x80);
}

static unsigned word(struct cmos *c, unsigned index)
{
	return cmos_read(c, index, 0) | (unsigned)cmos_read(c, index + 1, 0) << 8;
}

static void memory_sizes(void **state)
{
	static const struct {
		uint64_t mem;
		unsigned extended, above_16m, above_4g;
	} cases[] = {
		{2 * MIB, 1024, 0, 0},
		{16 * MIB, 15 * 1024, 0, 0},
		{64 * MIB, 63 * 1024, 48 * 16, 0},
		{256 * MIB, 65535, 240 * 16, 0},
		{3 * GIB, 65535, 3056 * 16, 0},
		{6 * GIB, 65535, 3056 * 16, 3 * 1024 * 16},
	};
	struct cmos c;

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		cmos_init(&c, &irq, cases[i].mem, 3, 0);
		assert_int_equal(word(&c, 0x15), 640);
		assert_int_equal(word(&c, 0x17), cases[i].extended);
		assert_int_equal(word(&c, 0x30), cases[i].extended);
		assert_int_equal(word(&c, 0x34), cases[i].above_16m);
		assert_int_equal(word(&c, 0x5b) | (unsigned)cmos_read(&c, 0x5d, 0) << 16, cases[i].above_4g);
		assert_int_equal(cmos_read(&c, 0x5f, 0), 2);
	}
}

static void only_plain_memory_is_writable(void **state)
{
	struct cmos c, before;
	unsigned changed = 0;

	(void)state;
	cmos_init(&c, &irq, 64 * MIB, 1, 0);
	before = c;
	for (unsigned i = 0; i < 256; i++)
		cmos_write(&c, i, 0xff, 0);
	for (unsigned i = 0; i < CMOS_BYTES; i++)
		changed += c.ram[i] != before.ram[i];
	assert_int_equal(c.ram[0x0f], 0xff);
	assert_int_equal(c.ram[0x0a], 0x7f);
	assert_int_equal(c.ram[0x0b], 0xef);
	assert_int_equal(word(&c, 0x15), 640);
	/* Status C and D, 11 of the memory, 1 of the CPUs stay. */
	assert_int_equal(changed, CMOS_BYTES - 14);
}

static void cmos_through_its_ports(void **state)
{
	struct bus b = {0};
	struct cmos c;
	uint32_t v = 0x80 | 0x15;

	(void)state;
	cmos_init(&c, &irq, 64 * MIB, 1, host_clock());
	cmos_attach(&c, &b);
	bus_io(&b, 0x70, 1, true, &v);
	bus_io(&b, 0x71, 1, false, &v);
	assert_int_equal(v, 640 & 0xff);
	bus_io(&b, 0x70, 1, false, &v);
	assert_int_equal(v, 0xff);
	/* A word: the index and its data at once. */
	v = 0x550f;
	bus_io(&b, 0x70, 2, true, &v);
	assert_int_equal(c.ram[0x0f], 0x55);
}

static uint64_t item(struct bus *b, unsigned key, unsigned bytes)
{
	uint64_t value = 0;
	uint32_t v = key;

	bus_io(b, 0x510, 2, true, &v);
	for (unsigned i = 0; i < bytes; i++) {
		bus_io(b, 0x511, 1, false, &v);
		value |= (uint64_t)v << (8 * i);
	}
	return value;
}

static void fwcfg_items(void **state)
{
	struct bus b = {0};
	struct fwcfg f;
	uint32_t v;

	(void)state;
	fwcfg_init(&f, 6 * GIB, 4);
	fwcfg_attach(&f, &b);
	assert_int_equal(item(&b, 0x00, 4), 'Q' | 'E' << 8 | 'M' << 16 | 'U' << 24);
	bus_io(&b, 0x511, 1, false, &v);
	assert_int_equal(v, 0);
	assert_int_equal(item(&b, 0x01, 4), 1);
	assert_int_equal(item(&b, 0x03, 8), 6 * GIB);
	assert_int_equal(item(&b, 0x05, 2), 4);
	assert_int_equal(item(&b, 0x0f, 2), 4);
	assert_int_equal(item(&b, 0x19, 8), 0);
	assert_int_equal(item(&b, 0x4242, 8), 0);
	/* A selection starts from the first byte, also in the middle of an item. */
	item(&b, 0x00, 2);
	assert_int_equal(item(&b, 0x00, 2), 'Q' | 'E' << 8);
}

static void fwcfg_reads_of_other_shapes(void **state)
{
	struct bus b = {0};
	struct fwcfg f;
	uint32_t v = 0;

	(void)state;
	fwcfg_init(&f, 64 * MIB, 1);
	fwcfg_attach(&f, &b);
	bus_io(&b, 0x510, 2, false, &v);
	assert_int_equal(v, 0xffff);
	bus_io(&b, 0x510, 1, false, &v);
	assert_int_equal(v, 0xff);
	v = 3;
	bus_io(&b, 0x510, 1, true, &v);
	bus_io(&b, 0x511, 1, true, &v);
	bus_io(&b, 0x511, 1, false, &v);
	assert_int_equal(v, 'Q');
}

static void ram_layout(void **state)
{
	(void)state;
	assert_true(ram_holds(64 * MIB, 0, 0xa0000));
	assert_false(ram_holds(64 * MIB, 0, 0xa0001));
	assert_false(ram_holds(64 * MIB, 0xa0000, 1));
	assert_false(ram_holds(64 * MIB, 0xfffff, 1));
	assert_true(ram_holds(64 * MIB, 0x100000, 63 * MIB));
	assert_false(ram_holds(64 * MIB, 0x100000, 63 * MIB + 1));
	assert_false(ram_holds(64 * MIB, 64 * MIB, 0));
	assert_false(ram_holds(64 * MIB, 4 * GIB, 1));
	assert_false(ram_holds(6 * GIB, 3 * GIB, 1));
	assert_true(ram_holds(6 * GIB, 4 * GIB, 3 * GIB));
	assert_false(ram_holds(6 * GIB, 4 * GIB, 3 * GIB + 1));
	assert_false(ram_holds(6 * GIB, 0x100000, UINT64_MAX));
	assert_false(ram_holds(6 * GIB, UINT64_MAX, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clock_agrees_with_the_c_library),
		cmocka_unit_test(binary_and_12_hour_formats),
		cmocka_unit_test(an_update_is_announced),
		cmocka_unit_test(memory_sizes),
		cmocka_unit_test(only_plain_memory_is_writable),
		cmocka_unit_test(cmos_through_its_ports),
		cmocka_unit_test(fwcfg_items),
		cmocka_unit_test(fwcfg_reads_of_other_shapes),
		cmocka_unit_test(ram_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
