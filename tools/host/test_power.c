/* SPDX-License-Identifier: MIT */
/* guest/power.c in a machine with all its devices: switching off, resets, the PM timer and its interrupt. The native TSC runs
 * at 1 GHz. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/text.h"
#include "guest/vm.h"
#include "tools/host/native.h"

#define HZ 1000000000UL
#define START 987654321UL
#define SLP_EN 0x2000u
#define TYPE(n) ((unsigned)(n) << 10)

static struct vm vm;

static int set_up_until(const char *until)
{
	host_native_init(1);
	memset(&vm, 0, sizeof vm);
	text_copy(vm.config.name, sizeof vm.config.name, "a");
	text_copy(vm.config.until, sizeof vm.config.until, until);
	vm.config.mem = 4UL << 20;
	vm.vcpus = 1;
	vm_init_devices(&vm, START);
	store_release(&vm.state, VM_RUNNING);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_until("");
}

static int set_up_waiting_for_text(void **state)
{
	(void)state;
	return set_up_until("done");
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

static void assert_verdict(const char *line)
{
	assert_false(vm_running(&vm));
	vm_print_verdict(&vm, true);
	assert_string_equal(host_log_line(0), line);
}

static void to_switch_off_is_a_pass(void **state)
{
	(void)state;
	out(0x604, 2, TYPE(5));
	out(0x604, 2, SLP_EN | TYPE(4));
	out(0x604, 2, SLP_EN);
	assert_true(vm_running(&vm));
	out(0x604, 2, SLP_EN | TYPE(5));
	assert_verdict("VERDICT a PASS 0");
}

static void to_switch_off_byte_by_byte(void **state)
{
	(void)state;
	out(0x605, 1, (SLP_EN | TYPE(5)) >> 8);
	assert_verdict("VERDICT a PASS 0");
}

static void to_switch_off_before_the_text_is_a_fail(void **state)
{
	(void)state;
	out(0x604, 4, SLP_EN | TYPE(5));
	assert_verdict("VERDICT a FAIL powered off before until= text");
}

static void to_switch_off_after_the_text_is_a_pass(void **state)
{
	(void)state;
	for (const char *s = "done"; *s; s++)
		out(0x3f8, 1, (uint8_t)*s);
	out(0x604, 2, SLP_EN | TYPE(5));
	assert_verdict("VERDICT a PASS 0");
}

static void control_reads_what_it_keeps(void **state)
{
	(void)state;
	assert_int_equal(in(0x604, 2), 0x0001);
	out(0x604, 2, 0);
	assert_int_equal(in(0x604, 2), 0x0001);
	out(0x604, 2, 0xdfff);
	assert_int_equal(in(0x604, 2), 0x1c03);
	out(0x605, 1, TYPE(1) >> 8);
	assert_int_equal(in(0x604, 4), 0x0403);
	assert_int_equal(in(0x605, 1), 0x04);
	assert_true(vm_running(&vm));
}

static void port_cf9_resets_when_bit_2_rises(void **state)
{
	(void)state;
	assert_int_equal(in(0xcf9, 1), 0);
	out(0xcf9, 1, 0xfb);
	assert_int_equal(in(0xcf9, 1), 0x0a);
	assert_true(vm_running(&vm));
	out(0xcf9, 1, 0x06);
	assert_verdict("VERDICT a FAIL reset: by port 0xcf9");
	/* Nothing rises when it was set. */
	store_release(&vm.claimed, 0);
	store_release(&vm.state, VM_RUNNING);
	out(0xcf9, 1, 0x0e);
	assert_true(vm_running(&vm));
	out(0xcf9, 1, 0x00);
	out(0xcf9, 1, 0x04);
	assert_false(vm_running(&vm));
}

static void pci_configuration_is_not_a_reset(void **state)
{
	(void)state;
	out(0xcf8, 4, 0x80000400);
	assert_int_equal(in(0xcf8, 4), 0x80000400);
	out(0xcf8, 2, 0x0600);
	out(0xcf9, 2, 0x0006);
	out(0xcfc, 4, 0x04040404);
	assert_true(vm_running(&vm));
	assert_int_equal(in(0xcf9, 1), 0);
}

static void the_keyboard_controller_resets_and_is_none(void **state)
{
	(void)state;
	assert_int_equal(in(0x64, 1), 0xff);
	assert_int_equal(in(0x60, 1), 0xff);
	out(0x64, 1, 0xd1);
	out(0x60, 1, 0xfe);
	out(0x64, 1, 0xff);
	assert_true(vm_running(&vm));
	out(0x64, 1, 0xfe);
	assert_verdict("VERDICT a FAIL reset: by port 0x64");
}

static void the_timer_counts_without_rounding(void **state)
{
	uint64_t seed = 41;

	(void)state;
	assert_int_equal(power_timer(&vm.power, START), 0);
	assert_int_equal(power_timer(&vm.power, START - 5), 0);
	assert_int_equal(power_timer(&vm.power, START + HZ), 3579545);
	assert_int_equal(power_timer(&vm.power, START + HZ - 1), 3579544);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t passed = host_random(&seed) >> (i % 40 + 2);
		unsigned __int128 exact = (unsigned __int128)passed * POWER_TIMER_HZ / HZ;

		assert_int_equal(power_timer(&vm.power, START + passed), (uint32_t)exact);
	}
	/* Parts of it are those of one number; it cannot be written. */
	assert_int_equal(power_read(&vm.power, 0x608, 4, START + HZ), 3579545);
	assert_int_equal(power_read(&vm.power, 0x609, 2, START + HZ), 3579545 >> 8 & 0xffff);
	power_write(&vm.power, 0x608, 4, 0, START + HZ);
	assert_int_equal(power_read(&vm.power, 0x608, 4, START + HZ), 3579545);
}

/* The nanosecond at which the timer's highest bit changes for the nth time. */
static uint64_t change(uint64_t n)
{
	return START + (uint64_t)((((unsigned __int128)n << 31) * HZ + POWER_TIMER_HZ - 1) / POWER_TIMER_HZ);
}

static void the_timers_event(void **state)
{
	(void)state;
	assert_int_equal(power_read(&vm.power, 0x600, 2, change(1) - 1), 0);
	assert_int_equal(power_read(&vm.power, 0x600, 2, change(1)), 1);
	/* Without an enable there is no interrupt and no call. */
	assert_int_equal(power_tick(&vm.power, change(1)), UINT64_MAX);
	assert_int_equal(vm.irq.pic->chip[1].lines & 2, 0);
	power_write(&vm.power, 0x600, 2, 0x0100, change(1));
	assert_int_equal(power_read(&vm.power, 0x600, 2, change(1)), 1);
	power_write(&vm.power, 0x602, 2, 1, change(1));
	assert_int_equal(vm.irq.pic->chip[1].lines & 2, 2);
	assert_int_equal(power_tick(&vm.power, change(1)), UINT64_MAX);
	power_write(&vm.power, 0x600, 1, 1, change(1) + 5);
	assert_int_equal(vm.irq.pic->chip[1].lines & 2, 0);
	assert_int_equal(power_tick(&vm.power, change(1) + 5), change(2));
	assert_int_equal(power_tick(&vm.power, change(2) - 1), change(2) - 1 + 50000);
	assert_int_equal(power_tick(&vm.power, change(2)), UINT64_MAX);
	assert_int_equal(vm.irq.pic->chip[1].lines & 2, 2);
	power_write(&vm.power, 0x600, 4, 0x00010001, change(5));
	assert_int_equal(power_read(&vm.power, 0x600, 4, change(5)), 0x00010000);
	/* The machine's own call knows it, here with the 8254 at rest. */
	out(0x43, 1, 0x30);
	assert_int_equal(vm_tick(&vm, change(5)), change(6));
	out(0x602, 2, 0);
	assert_int_equal(vm_tick(&vm, change(5)), UINT64_MAX);
	out(0x70, 1, 0x0b);
	out(0x71, 1, 0x12);
	out(0x70, 1, 0x0c);
	in(0x71, 1);
	assert_true(vm_tick(&vm, change(5)) <= change(5) + HZ);
}

static void events_that_never_happen_can_be_enabled(void **state)
{
	(void)state;
	power_write(&vm.power, 0x602, 2, 0xffff, START);
	assert_int_equal(power_read(&vm.power, 0x602, 2, START), 0x0721);
	assert_int_equal(power_read(&vm.power, 0x600, 2, START), 0);
	power_write(&vm.power, 0x603, 1, 0, START);
	assert_int_equal(power_read(&vm.power, 0x600, 4, START), 0x00210000);
	assert_int_equal(vm.irq.pic->chip[1].lines & 2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(to_switch_off_is_a_pass, set_up),
		cmocka_unit_test_setup(to_switch_off_byte_by_byte, set_up),
		cmocka_unit_test_setup(to_switch_off_before_the_text_is_a_fail, set_up_waiting_for_text),
		cmocka_unit_test_setup(to_switch_off_after_the_text_is_a_pass, set_up_waiting_for_text),
		cmocka_unit_test_setup(control_reads_what_it_keeps, set_up),
		cmocka_unit_test_setup(port_cf9_resets_when_bit_2_rises, set_up),
		cmocka_unit_test_setup(pci_configuration_is_not_a_reset, set_up),
		cmocka_unit_test_setup(the_keyboard_controller_resets_and_is_none, set_up),
		cmocka_unit_test_setup(the_timer_counts_without_rounding, set_up),
		cmocka_unit_test_setup(the_timers_event, set_up),
		cmocka_unit_test_setup(events_that_never_happen_can_be_enabled, set_up),
	};

	return cmocka_run_group_tests_name("power", tests, 0, 0);
}
