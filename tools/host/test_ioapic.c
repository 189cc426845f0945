/* SPDX-License-Identifier: MIT */
/* guest/ioapic.c and guest/irq.c: which change of which line becomes which message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "guest/irq.h"
#include "tools/host/native.h"

#define MASKED 0x10000u
#define LEVEL 0x8000u
#define REMOTE_IRR 0x4000u
#define ACTIVE_LOW 0x2000u
#define PENDING 0x1000u
#define LOGICAL 0x800u
#define MODE(n) ((n) << 8)

static struct lock lock;
static struct pic pic;
static struct ioapic io;
static struct irq irq;
static struct mmio bus;
static struct vcpu vcpu;

static struct apic_message last;
static unsigned messages;
static bool accept;

static bool hear(void *to, const struct apic_message *m)
{
	assert_ptr_equal(to, &messages);
	last = *m;
	messages++;
	return accept;
}

static int set_up(void **state)
{
	(void)state;
	host_native_init(1);
	lock = (struct lock){.rank = LOCK_BUS};
	bus = (struct mmio){0};
	messages = 0;
	accept = true;
	pic_init(&pic);
	ioapic_init(&io, &lock, hear, &messages);
	ioapic_attach(&io, &bus);
	irq = (struct irq){.pic = &pic, .ioapic = &io};
	return 0;
}

static void out(uint64_t offset, unsigned bytes, uint64_t value)
{
	mmio_access(&bus, &vcpu, gpa(IOAPIC_ADDRESS + offset), bytes, true, &value);
}

static uint64_t in(uint64_t offset, unsigned bytes)
{
	uint64_t value = 0;

	mmio_access(&bus, &vcpu, gpa(IOAPIC_ADDRESS + offset), bytes, false, &value);
	return value;
}

static void set(unsigned number, uint32_t value)
{
	out(0x00, 4, number);
	out(0x10, 4, value);
}

static uint32_t get(unsigned number)
{
	out(0x00, 4, number);
	return (uint32_t)in(0x10, 4);
}

static void program(unsigned pin, uint32_t low, uint32_t destination)
{
	set(0x11 + 2 * pin, destination << 24);
	set(0x10 + 2 * pin, low);
}

/* Messages since the last call. */
static unsigned heard(void)
{
	unsigned n = messages;

	messages = 0;
	return n;
}

static void registers_as_after_reset(void **state)
{
	(void)state;
	assert_int_equal(get(0), 0);
	assert_int_equal(get(1), 0x170020);
	assert_int_equal(get(3), 1);
	for (unsigned pin = 0; pin < 24; pin++) {
		assert_int_equal(get(0x10 + 2 * pin), MASKED);
		assert_int_equal(get(0x11 + 2 * pin), 0);
	}
	assert_int_equal(get(4), 0xffffffff);
	assert_int_equal(get(0x0f), 0xffffffff);
	assert_int_equal(get(0x40), 0xffffffff);
	assert_int_equal(get(0xff), 0xffffffff);
}

static void only_some_bits_are_writable(void **state)
{
	(void)state;
	set(0, 0xffffffff);
	assert_int_equal(get(0), 0x0f000000);
	assert_int_equal(get(2), 0x0f000000);
	for (unsigned number = 1; number < 0x10; number++)
		set(number, 0xffffffff);
	assert_int_equal(get(1), 0x170020);
	assert_int_equal(get(3), 1);
	set(0x3e, 0xffffffff);
	set(0x3f, 0xffffffff);
	assert_int_equal(get(0x3e), 0x1afff);
	assert_int_equal(get(0x3f), 0xff000000);
	assert_int_equal(get(0x3d), 0);
	set(0x3e, 0);
	assert_int_equal(get(0x3e), 0);
	assert_int_equal(get(0x3f), 0xff000000);
	set(0x40, 0);
	assert_int_equal(heard(), 0);
}

static void a_message_is_as_programmed(void **state)
{
	(void)state;
	program(4, 0x31, 3);
	ioapic_set_line(&io, 4, true);
	assert_int_equal(heard(), 1);
	assert_int_equal(last.vector, 0x31);
	assert_int_equal(last.destination, 3);
	assert_int_equal(last.delivery, APIC_FIXED);
	assert_false(last.logical || last.level);
	program(23, LEVEL | LOGICAL | MODE(1) | 0xef, 0xc5);
	ioapic_set_line(&io, 23, true);
	assert_int_equal(heard(), 1);
	assert_int_equal(last.vector, 0xef);
	assert_int_equal(last.destination, 0xc5);
	assert_int_equal(last.delivery, APIC_LOWEST);
	assert_true(last.logical && last.level);
	assert_int_equal(io.sent[4], 1);
	assert_int_equal(io.sent[23], 1);
}

static void an_edge_is_one_message(void **state)
{
	(void)state;
	program(3, 0x33, 0);
	assert_int_equal(heard(), 0);
	ioapic_set_line(&io, 3, true);
	assert_int_equal(heard(), 1);
	ioapic_set_line(&io, 3, true);
	ioapic_set_line(&io, 3, false);
	ioapic_eoi(&io, 0x33);
	assert_int_equal(heard(), 0);
	/* No EOI is needed for the next. */
	ioapic_set_line(&io, 3, true);
	assert_int_equal(heard(), 1);
	assert_int_equal(get(0x16), 0x33);
	/* The line is high: programming it again is no edge. */
	program(3, 0x34, 0);
	assert_int_equal(heard(), 0);
}

static void an_edge_while_masked_is_lost(void **state)
{
	(void)state;
	program(3, MASKED | 0x33, 0);
	ioapic_set_line(&io, 3, true);
	assert_int_equal(io.lost, 1);
	program(3, 0x33, 0);
	assert_int_equal(heard(), 0);
	ioapic_set_line(&io, 3, false);
	ioapic_set_line(&io, 3, true);
	assert_int_equal(heard(), 1);
	assert_int_equal(io.lost, 1);
}

static void a_level_waits_for_its_eoi(void **state)
{
	(void)state;
	program(9, LEVEL | 0x39, 0);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(heard(), 1);
	assert_int_equal(get(0x22), LEVEL | REMOTE_IRR | 0x39);
	ioapic_set_line(&io, 9, false);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(heard(), 0);
	/* Others' vectors are nothing to it. */
	ioapic_eoi(&io, 0x38);
	assert_int_equal(heard(), 0);
	/* Still asserted: again. */
	ioapic_eoi(&io, 0x39);
	assert_int_equal(heard(), 1);
	assert_int_equal(get(0x22), LEVEL | REMOTE_IRR | 0x39);
	ioapic_set_line(&io, 9, false);
	out(0x40, 4, 0x39);
	assert_int_equal(heard(), 0);
	assert_int_equal(get(0x22), LEVEL | 0x39);
	ioapic_eoi(&io, 0x39);
	assert_int_equal(heard(), 0);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(heard(), 1);
}

static void one_eoi_serves_all_pins_of_its_vector(void **state)
{
	(void)state;
	for (unsigned pin = 16; pin < 19; pin++) {
		program(pin, LEVEL | 0x51, 0);
		ioapic_set_line(&io, pin, true);
	}
	assert_int_equal(heard(), 3);
	ioapic_set_line(&io, 17, false);
	ioapic_eoi(&io, 0x51);
	assert_int_equal(heard(), 2);
	assert_int_equal(get(0x10 + 2 * 17), LEVEL | 0x51);
}

static void a_masked_level_comes_when_unmasked(void **state)
{
	(void)state;
	program(9, MASKED | LEVEL | 0x39, 0);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(heard(), 0);
	assert_int_equal(get(0x22), MASKED | LEVEL | 0x39);
	set(0x22, LEVEL | 0x39);
	assert_int_equal(heard(), 1);
	/* Masked between message and EOI: the EOI sends nothing, but counts. */
	set(0x22, MASKED | LEVEL | 0x39);
	assert_int_equal(get(0x22), MASKED | LEVEL | REMOTE_IRR | 0x39);
	ioapic_eoi(&io, 0x39);
	assert_int_equal(heard(), 0);
	set(0x22, LEVEL | 0x39);
	assert_int_equal(heard(), 1);
	assert_int_equal(io.lost, 0);
}

/* Linux ends a level interrupt so where there is no EOI register. */
static void a_turn_as_an_edge_ends_a_level(void **state)
{
	(void)state;
	program(9, LEVEL | 0x39, 0);
	ioapic_set_line(&io, 9, true);
	set(0x22, MASKED | 0x39);
	assert_int_equal(get(0x22), MASKED | 0x39);
	assert_int_equal(heard(), 1);
	set(0x22, LEVEL | 0x39);
	assert_int_equal(heard(), 1);
	assert_true(last.level);
}

static void what_nobody_accepts_stays_pending_by_level(void **state)
{
	(void)state;
	accept = false;
	program(9, LEVEL | 0x39, 7);
	program(3, 0x33, 7);
	ioapic_set_line(&io, 9, true);
	ioapic_set_line(&io, 3, true);
	assert_int_equal(heard(), 2);
	assert_int_equal(io.refused, 2);
	assert_int_equal(get(0x22), LEVEL | PENDING | 0x39);
	assert_int_equal(get(0x16), 0x33);
	accept = true;
	set(0x23, 0);
	assert_int_equal(heard(), 1);
	assert_int_equal(last.destination, 0);
	assert_int_equal(get(0x22), LEVEL | REMOTE_IRR | 0x39);
}

static void other_delivery_modes(void **state)
{
	static const struct {
		unsigned mode;
		bool sent;
	} cases[] = {{APIC_SMI, false}, {3, false}, {APIC_NMI, true}, {APIC_INIT, true}, {APIC_STARTUP, false},
		{APIC_EXTINT, true}};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* By level they are edges all the same. */
		program(12, LEVEL | MODE(cases[i].mode) | 0x44, 1);
		assert_int_equal(heard(), 0);
		ioapic_set_line(&io, 12, true);
		assert_int_equal(heard(), cases[i].sent);
		if (cases[i].sent) {
			assert_int_equal(last.delivery, cases[i].mode);
			assert_false(last.level);
		}
		assert_int_equal(get(0x28), LEVEL | MODE(cases[i].mode) | 0x44);
		ioapic_set_line(&io, 12, false);
	}
	assert_int_equal(io.refused, 3);
}

static void polarity_is_shown_and_changes_nothing(void **state)
{
	(void)state;
	program(9, ACTIVE_LOW | LEVEL | 0x39, 0);
	assert_int_equal(heard(), 0);
	assert_int_equal(get(0x22), ACTIVE_LOW | LEVEL | 0x39);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(heard(), 1);
}

static void accesses_of_every_size(void **state)
{
	(void)state;
	out(0x00, 1, 0x123401);
	assert_int_equal(in(0x00, 1), 1);
	assert_int_equal(in(0x00, 4), 1);
	assert_int_equal(in(0x00, 8), 1);
	assert_int_equal(in(0x10, 2), 0x0020);
	assert_int_equal(in(0x10, 8), 0x170020);
	/* Parts of the window are not written; of eight bytes the lower four. */
	out(0x00, 2, 0x10);
	out(0x10, 1, 0);
	out(0x10, 2, 0);
	assert_int_equal(in(0x10, 4), MASKED);
	out(0x10, 8, 0xffffffff00000055);
	assert_int_equal(in(0x10, 4), 0x55);
	assert_int_equal(get(0x11), 0);
	/* The EOI register takes a byte. */
	program(9, LEVEL | 0x39, 0);
	ioapic_set_line(&io, 9, true);
	out(0x40, 1, 0x39);
	assert_int_equal(heard(), 2);
	/* Elsewhere is nothing. */
	assert_int_equal(in(0x04, 4), 0xffffffff);
	assert_int_equal(in(0x11, 1), 0xff);
	assert_int_equal(in(0xffc, 4), 0xffffffff);
	out(0x14, 4, 0);
	out(0x01, 1, 5);
	assert_int_equal(in(0x00, 4), 0x23 - 1);
	assert_int_equal(load_relaxed(&bus.unclaimed), 0);
}

static void lines_reach_both_controllers(void **state)
{
	(void)state;
	for (unsigned pin = 0; pin < 24; pin++)
		program(pin, 0x40 + pin, 0);
	for (unsigned line = 0; line < 16; line++) {
		if (line == 2)
			continue;
		irq_set_line(&irq, line, true);
		assert_int_equal(heard(), 1);
		assert_int_equal(last.vector, 0x40 + (line ? line : 2));
		assert_true(pic.chip[line / 8].lines >> line % 8 & 1);
		irq_pulse(&irq, line);
		assert_int_equal(heard(), 1);
		assert_true(pic.chip[line / 8].lines >> line % 8 & 1);
		irq_set_line(&irq, line, false);
		assert_false(pic.chip[line / 8].lines >> line % 8 & 1);
	}
	assert_int_equal(io.sent[0], 0);
	irq.ioapic = 0;
	irq_set_line(&irq, 5, true);
	assert_int_equal(heard(), 0);
	assert_true(pic.chip[0].lines & 0x20);
}

static void drive_line_2(void *line)
{
	irq_set_line(&irq, *(unsigned *)line, true);
}

static void nothing_drives_the_cascade(void **state)
{
	unsigned cascade = 2, none = 16;

	(void)state;
	assert_true(host_panics(drive_line_2, &cascade, "CHECK"));
	assert_true(host_panics(drive_line_2, &none, "CHECK"));
}

/* Random accesses, lines and EOIs. Of any pin: a message is sent only when its entry allows it; a level pin that is due
 * is never left waiting while messages are accepted. */
static void a_hostile_guest(void **state)
{
	uint64_t seed = 5;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t r = host_random(&seed);
		unsigned bytes = 1u << (r >> 8 & 3), pin = (r >> 16) % 24;
		static const uint64_t offsets[] = {0x00, 0x10, 0x10, 0x40};
		uint64_t value = r & 1 << 12 ? r >> 32 & 0x3f : r >> 24;

		accept = i % 1000 >= 100;
		if (r % 4 == 0) {
			out(offsets[r >> 4 & 3], bytes, value);
		} else if (r % 4 == 1) {
			out((r >> 4) % (IOAPIC_BYTES - bytes), bytes, value);
			in((r >> 40) % (IOAPIC_BYTES - bytes), bytes);
		} else if (r % 4 == 2) {
			ioapic_set_line(&io, pin, r >> 4 & 1);
		} else {
			ioapic_eoi(&io, (uint8_t)(r & 1 << 13 ? io.entry[pin] : r >> 24));
		}
		if (!accept)
			continue;
		if (i % 1000 == 100)
			for (unsigned p = 0; p < 24; p++)
				ioapic_set_line(&io, p, io.asserted >> p & 1);
		for (unsigned p = 0; p < 24; p++)
			assert_false(get(0x10 + 2 * p) & PENDING && get(0x10 + 2 * p) != 0xffffffff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(registers_as_after_reset, set_up),
		cmocka_unit_test_setup(only_some_bits_are_writable, set_up),
		cmocka_unit_test_setup(a_message_is_as_programmed, set_up),
		cmocka_unit_test_setup(an_edge_is_one_message, set_up),
		cmocka_unit_test_setup(an_edge_while_masked_is_lost, set_up),
		cmocka_unit_test_setup(a_level_waits_for_its_eoi, set_up),
		cmocka_unit_test_setup(one_eoi_serves_all_pins_of_its_vector, set_up),
		cmocka_unit_test_setup(a_masked_level_comes_when_unmasked, set_up),
		cmocka_unit_test_setup(a_turn_as_an_edge_ends_a_level, set_up),
		cmocka_unit_test_setup(what_nobody_accepts_stays_pending_by_level, set_up),
		cmocka_unit_test_setup(other_delivery_modes, set_up),
		cmocka_unit_test_setup(polarity_is_shown_and_changes_nothing, set_up),
		cmocka_unit_test_setup(accesses_of_every_size, set_up),
		cmocka_unit_test_setup(lines_reach_both_controllers, set_up),
		cmocka_unit_test_setup(nothing_drives_the_cascade, set_up),
		cmocka_unit_test_setup(a_hostile_guest, set_up),
	};

	return cmocka_run_group_tests_name("I/O APIC", tests, 0, 0);
}
