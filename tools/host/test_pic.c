/* SPDX-License-Identifier: MIT */
/* guest/pic.c: the 8259A pair as a guest programs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/pic.h"
#include "tools/host/native.h"

#define EOI 0x20
#define READ_IRR 0x0a
#define READ_ISR 0x0b
#define POLL 0x0c
#define SPECIAL_MASK 0x68
#define NO_SPECIAL_MASK 0x48

static void out(struct pic *p, uint16_t port, uint32_t value)
{
	assert_int_equal(pic_io(p, port, 1, true, &value), BUS_DONE);
}

static uint8_t in(struct pic *p, uint16_t port)
{
	uint32_t value = 0xaa;

	pic_io(p, port, 1, false, &value);
	return (uint8_t)value;
}

static void set_up_chip(struct pic *p, uint16_t port, uint8_t icw1, uint8_t base, uint8_t icw4)
{
	out(p, port, icw1);
	out(p, port + 1, base);
	out(p, port + 1, port == PIC_FIRST ? 4 : 2);
	out(p, port + 1, icw4);
	out(p, port + 1, 0);
}

/* Vectors 0x20 and 0x28, nothing masked. */
static void set_up(struct pic *p, uint8_t icw4)
{
	*p = (struct pic){0};
	pic_init(p);
	set_up_chip(p, PIC_FIRST, 0x11, 0x20, icw4);
	set_up_chip(p, PIC_SECOND, 0x11, 0x28, 0x01);
}

static uint8_t isr(struct pic *p, uint16_t port)
{
	out(p, port, READ_ISR);
	return in(p, port);
}

static uint8_t irr(struct pic *p, uint16_t port)
{
	out(p, port, READ_IRR);
	return in(p, port);
}

static void nothing_is_offered_before_set_up(void **state)
{
	struct pic p;

	(void)state;
	pic_init(&p);
	for (unsigned i = 0; i < 16; i++)
		pic_set_line(&p, i, true);
	assert_int_equal(pic_offered(&p), -1);
	out(&p, PIC_FIRST + 1, 0xfe);
	assert_int_equal(pic_offered(&p), 0x08);
}

static void an_interrupt_from_line_to_eoi(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	assert_int_equal(pic_offered(&p), -1);
	pic_set_line(&p, 4, true);
	assert_int_equal(pic_offered(&p), 0x24);
	assert_int_equal(irr(&p, PIC_FIRST), 0x10);
	assert_int_equal(pic_acknowledge(&p), 0x24);
	assert_int_equal(irr(&p, PIC_FIRST), 0);
	assert_int_equal(isr(&p, PIC_FIRST), 0x10);
	assert_int_equal(pic_offered(&p), -1);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(isr(&p, PIC_FIRST), 0);
	assert_int_equal(pic_offered(&p), -1);
}

static void an_edge_counts_once_and_a_level_again(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 3, true);
	pic_acknowledge(&p);
	pic_set_line(&p, 3, true);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_offered(&p), -1);
	pic_pulse(&p, 3);
	assert_int_equal(pic_offered(&p), 0x23);

	set_up_chip(&p, PIC_FIRST, 0x19, 0x20, 1);
	assert_int_equal(pic_offered(&p), 0x23);
	pic_acknowledge(&p);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_offered(&p), 0x23);
	pic_set_line(&p, 3, false);
	assert_int_equal(pic_offered(&p), -1);
}

static void an_edge_is_latched_while_masked(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	out(&p, PIC_FIRST + 1, 0xff);
	pic_set_line(&p, 0, true);
	pic_set_line(&p, 0, false);
	assert_int_equal(pic_offered(&p), -1);
	out(&p, PIC_FIRST + 1, 0xfe);
	assert_int_equal(in(&p, PIC_FIRST + 1), 0xfe);
	assert_int_equal(pic_offered(&p), 0x20);
}

static void lower_lines_come_first_and_nest(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 5, true);
	pic_set_line(&p, 1, true);
	assert_int_equal(pic_acknowledge(&p), 0x21);
	assert_int_equal(pic_offered(&p), -1);
	pic_set_line(&p, 0, true);
	assert_int_equal(pic_acknowledge(&p), 0x20);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(isr(&p, PIC_FIRST), 0x02);
	assert_int_equal(pic_offered(&p), -1);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_acknowledge(&p), 0x25);
}

static void a_specific_eoi_ends_its_line(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 5, true);
	pic_acknowledge(&p);
	pic_set_line(&p, 1, true);
	pic_acknowledge(&p);
	out(&p, PIC_FIRST, 0x60 | 5);
	assert_int_equal(isr(&p, PIC_FIRST), 0x02);
}

static void the_second_chip_goes_through_line_2(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 12, true);
	pic_set_line(&p, 8, true);
	assert_int_equal(pic_acknowledge(&p), 0x28);
	assert_int_equal(isr(&p, PIC_FIRST), 0x04);
	assert_int_equal(isr(&p, PIC_SECOND), 0x01);
	pic_set_line(&p, 3, true);
	assert_int_equal(pic_offered(&p), -1);
	pic_set_line(&p, 1, true);
	assert_int_equal(pic_offered(&p), 0x21);
	pic_acknowledge(&p);
	out(&p, PIC_FIRST, EOI);
	out(&p, PIC_SECOND, EOI);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_acknowledge(&p), 0x2c);
	out(&p, PIC_SECOND, EOI);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_acknowledge(&p), 0x23);
}

static void auto_eoi_leaves_nothing_in_service(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 3);
	pic_set_line(&p, 6, true);
	assert_int_equal(pic_acknowledge(&p), 0x26);
	assert_int_equal(isr(&p, PIC_FIRST), 0);
	pic_set_line(&p, 7, true);
	assert_int_equal(pic_offered(&p), 0x27);
}

static void rotation_in_auto_eoi(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 3);
	out(&p, PIC_FIRST, 0x80);
	pic_set_line(&p, 3, true);
	pic_acknowledge(&p);
	pic_pulse(&p, 3);
	pic_set_line(&p, 6, true);
	assert_int_equal(pic_acknowledge(&p), 0x26);
	out(&p, PIC_FIRST, 0x00);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	/* Rotation is off: line 6 is still the lowest, 7 the highest. */
	pic_pulse(&p, 0);
	pic_pulse(&p, 7);
	assert_int_equal(pic_offered(&p), 0x27);
}

static void rotation_on_eoi(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 4, true);
	pic_acknowledge(&p);
	out(&p, PIC_FIRST, 0xa0);
	assert_int_equal(isr(&p, PIC_FIRST), 0);
	pic_pulse(&p, 4);
	pic_pulse(&p, 0);
	pic_pulse(&p, 5);
	assert_int_equal(pic_acknowledge(&p), 0x25);
	out(&p, PIC_FIRST, 0xe0 | 5);
	assert_int_equal(pic_acknowledge(&p), 0x20);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_offered(&p), 0x24);
}

static void priority_set_by_command(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	out(&p, PIC_FIRST, 0xc0 | 4);
	pic_set_line(&p, 0, true);
	pic_set_line(&p, 4, true);
	pic_set_line(&p, 5, true);
	assert_int_equal(pic_offered(&p), 0x25);
	out(&p, PIC_FIRST, 0xc0 | 7);
	assert_int_equal(pic_offered(&p), 0x20);
}

static void special_mask_lets_lower_lines_in(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 1, true);
	pic_acknowledge(&p);
	pic_set_line(&p, 5, true);
	out(&p, PIC_FIRST + 1, 0x02);
	assert_int_equal(pic_offered(&p), -1);
	out(&p, PIC_FIRST, SPECIAL_MASK);
	assert_int_equal(pic_acknowledge(&p), 0x25);
	/* A plain EOI passes over the masked line. */
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(isr(&p, PIC_FIRST), 0x02);
	pic_pulse(&p, 6);
	assert_int_equal(pic_offered(&p), 0x26);
	out(&p, PIC_FIRST, NO_SPECIAL_MASK);
	assert_int_equal(pic_offered(&p), -1);
}

static void special_fully_nested_mode(void **state)
{
	struct pic p;

	(void)state;
	for (unsigned nested = 0; nested < 2; nested++) {
		set_up(&p, nested ? 0x11 : 0x01);
		pic_set_line(&p, 12, true);
		pic_acknowledge(&p);
		pic_set_line(&p, 9, true);
		assert_int_equal(pic_offered(&p), nested ? 0x29 : -1);
	}
}

static void an_acknowledgement_without_request_is_line_7(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	assert_int_equal(pic_acknowledge(&p), 0x27);
	assert_int_equal(isr(&p, PIC_FIRST), 0);
	assert_int_equal(p.spurious, 1);
}

static void a_request_masked_at_the_second_chip_is_line_15(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_set_line(&p, 14, true);
	out(&p, PIC_SECOND + 1, 0x40);
	assert_int_equal(pic_offered(&p), 0x2f);
	assert_int_equal(pic_acknowledge(&p), 0x2f);
	/* The first chip does not know: it needs its EOI, the second must get none. */
	assert_int_equal(isr(&p, PIC_FIRST), 0x04);
	assert_int_equal(isr(&p, PIC_SECOND), 0);
	assert_int_equal(p.spurious, 1);
	out(&p, PIC_FIRST, EOI);
	out(&p, PIC_SECOND + 1, 0);
	assert_int_equal(pic_acknowledge(&p), 0x2e);
}

static void polling_acknowledges(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	out(&p, PIC_FIRST, POLL);
	assert_int_equal(in(&p, PIC_FIRST), 0);
	pic_set_line(&p, 5, true);
	out(&p, PIC_FIRST, POLL);
	assert_int_equal(in(&p, PIC_FIRST), 0x85);
	assert_int_equal(isr(&p, PIC_FIRST), 0x20);
	assert_int_equal(pic_offered(&p), -1);
}

static void a_new_set_up_forgets_requests_and_service(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 1);
	out(&p, PIC_FIRST, SPECIAL_MASK);
	pic_set_line(&p, 1, true);
	pic_acknowledge(&p);
	pic_set_line(&p, 4, true);
	set_up_chip(&p, PIC_FIRST, 0x11, 0x40, 1);
	assert_int_equal(isr(&p, PIC_FIRST), 0);
	assert_int_equal(irr(&p, PIC_FIRST), 0);
	assert_int_equal(pic_offered(&p), -1);
	pic_pulse(&p, 4);
	assert_int_equal(pic_offered(&p), 0x44);
}

static void set_up_without_icw3_and_icw4(void **state)
{
	struct pic p;

	(void)state;
	set_up(&p, 3);
	out(&p, PIC_FIRST, 0x12);
	out(&p, PIC_FIRST + 1, 0x57);
	out(&p, PIC_FIRST + 1, 0xf0);
	assert_int_equal(in(&p, PIC_FIRST + 1), 0xf0);
	pic_set_line(&p, 1, true);
	assert_int_equal(pic_acknowledge(&p), 0x51);
	assert_int_equal(isr(&p, PIC_FIRST), 0x02);
}

static void lines_are_by_level_one_by_one(void **state)
{
	struct bus b = {0};
	struct pic p;
	uint32_t v = 0xffff;

	(void)state;
	set_up(&p, 1);
	pic_attach(&p, &b);
	bus_io(&b, 0x4d0, 2, true, &v);
	bus_io(&b, 0x4d0, 2, false, &v);
	assert_int_equal(v, 0xdef8);
	v = 0x0200;
	bus_io(&b, 0x4d0, 2, true, &v);
	/* Line 9 asks again while it is high, and no longer when it is not. */
	pic_set_line(&p, 9, true);
	assert_int_equal(pic_acknowledge(&p), 0x29);
	out(&p, PIC_SECOND, EOI);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_acknowledge(&p), 0x29);
	pic_set_line(&p, 9, false);
	out(&p, PIC_SECOND, EOI);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(irr(&p, PIC_SECOND), 0);
	/* Line 10 is by edge as before. */
	pic_set_line(&p, 10, true);
	pic_acknowledge(&p);
	out(&p, PIC_SECOND, EOI);
	out(&p, PIC_FIRST, EOI);
	assert_int_equal(pic_offered(&p), -1);
	/* A line that is high when it comes to be by level asks at once. */
	v = 0x06;
	bus_io(&b, 0x4d1, 1, true, &v);
	assert_int_equal(pic_offered(&p), 0x2a);
	/* A new set-up of the chip leaves them. */
	set_up_chip(&p, PIC_SECOND, 0x11, 0x48, 1);
	bus_io(&b, 0x4d1, 1, false, &v);
	assert_int_equal(v, 0x06);
	assert_int_equal(irr(&p, PIC_SECOND), 0x04);
}

/* Random accesses: never a crash, and what is offered is what the acknowledgement gives. */
static void offers_and_acknowledgements_agree(void **state)
{
	static const uint16_t ports[] = {PIC_FIRST, PIC_FIRST + 1, PIC_SECOND, PIC_SECOND + 1};
	uint64_t seed = 7;
	struct bus b = {0};
	struct pic p;

	(void)state;
	set_up(&p, 1);
	pic_attach(&p, &b);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = host_random(&seed);

		if (r % 64 == 0) {
			uint32_t value = (uint32_t)(r >> 16);

			bus_io(&b, PIC_ELCR, 2, true, &value);
		} else if (r % 4 == 0) {
			out(&p, ports[r >> 8 & 3], (uint8_t)(r >> 16));
		} else if (r % 4 == 1) {
			in(&p, ports[r >> 8 & 3]);
		} else if (r % 4 == 2) {
			pic_set_line(&p, r >> 8 & 15, r >> 12 & 1);
		} else if (pic_offered(&p) >= 0) {
			int offered = pic_offered(&p);

			assert_int_equal(pic_acknowledge(&p), (uint8_t)offered);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_offered_before_set_up),
		cmocka_unit_test(an_interrupt_from_line_to_eoi),
		cmocka_unit_test(an_edge_counts_once_and_a_level_again),
		cmocka_unit_test(an_edge_is_latched_while_masked),
		cmocka_unit_test(lower_lines_come_first_and_nest),
		cmocka_unit_test(a_specific_eoi_ends_its_line),
		cmocka_unit_test(the_second_chip_goes_through_line_2),
		cmocka_unit_test(auto_eoi_leaves_nothing_in_service),
		cmocka_unit_test(rotation_in_auto_eoi),
		cmocka_unit_test(rotation_on_eoi),
		cmocka_unit_test(priority_set_by_command),
		cmocka_unit_test(special_mask_lets_lower_lines_in),
		cmocka_unit_test(special_fully_nested_mode),
		cmocka_unit_test(an_acknowledgement_without_request_is_line_7),
		cmocka_unit_test(a_request_masked_at_the_second_chip_is_line_15),
		cmocka_unit_test(polling_acknowledges),
		cmocka_unit_test(a_new_set_up_forgets_requests_and_service),
		cmocka_unit_test(set_up_without_icw3_and_icw4),
		cmocka_unit_test(lines_are_by_level_one_by_one),
		cmocka_unit_test(offers_and_acknowledgements_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
