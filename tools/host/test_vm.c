/* SPDX-License-Identifier: MIT */
/* guest/vm.c and guest/testdev.c on the real MMU: console, verdicts, interrupts, and the test device's commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/text.h"
#include "guest/vm.h"
#include "tools/host/native.h"

#define MEM (4UL << 20)
#define RAM_PAGES (MEM / PAGE_SIZE - 0x60) /* without the hole below 1 MiB */

static struct vm vm;
static struct vcpu vcpu;

static int set_up_until(const char *until)
{
	host_native_init(2);
	mmu_global_init();
	memset(&vm, 0, sizeof vm);
	text_copy(vm.config.name, sizeof vm.config.name, "a");
	text_copy(vm.config.until, sizeof vm.config.until, until);
	vm.config.mem = MEM;
	vcpu = (struct vcpu){.vm = &vm};
	lapic_init(&vcpu);
	vm.vcpu[vm.vcpus++] = &vcpu;
	if (!mmu_init(&vm.mmu, vm.config.name, 128) || !mmu_add_ram(&vm.mmu, MEM))
		return -1;
	vm_init_devices(&vm, host_clock());
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
	return set_up_until("all done");
}

static int tear_down(void **state)
{
	(void)state;
	if (vm.has_replica)
		replica_destroy(&vm.replica);
	mmu_destroy(&vm.mmu);
	return 0;
}

static enum bus_outcome out(uint16_t port, unsigned size, uint32_t value)
{
	return bus_io(&vm.bus, port, size, true, &value);
}

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t value = 0;

	assert_int_equal(bus_io(&vm.bus, port, size, false, &value), BUS_DONE);
	return value;
}

static uint32_t command(uint32_t value)
{
	assert_int_equal(out(0x5e0, 4, value), BUS_DONE);
	return in(0x5e0, 4);
}

static uint32_t view(uint32_t gfn)
{
	out(0x5ec, 4, gfn);
	return in(0x5ec, 4);
}

static void print(const char *s)
{
	for (; *s; s++)
		out(0x3f8, 1, (uint8_t)*s);
}

static void store(uint64_t at)
{
	uint64_t value = at;

	assert_true(mmu_write(&vm.mmu, gpa(at), &value, sizeof value));
}

static void lines_carry_the_guests_name(void **state)
{
	(void)state;
	print("hello\r\nwor");
	assert_string_equal(host_log_line(0), "a| hello");
	print("ld\n\n");
	assert_string_equal(host_log_line(1), "a| world");
	assert_string_equal(host_log_line(0), "a|");
	print("rest");
	vm_console_flush(&vm);
	assert_string_equal(host_log_line(0), "a| rest");
	vm_console_flush(&vm);
	assert_string_equal(host_log_line(1), "a|");
}

static void uart_and_debug_port_share_the_console(void **state)
{
	(void)state;
	out(0x3f8, 1, 'x');
	out(0xe9, 1, 'y');
	out(0xe9, 1, '\n');
	assert_string_equal(host_log_line(0), "a| xy");
	assert_int_equal(in(0xe9, 1), 0xe9);
}

static void a_guest_cannot_forge_a_line(void **state)
{
	(void)state;
	print("\x1b[2J\tVERDICT a PASS 0\x7f%s\n");
	assert_string_equal(host_log_line(0), "a| .[2J\tVERDICT a PASS 0.%s");
	print("x\rVERDICT a PASS 0\n");
	assert_string_equal(host_log_line(0), "a| xVERDICT a PASS 0");
}

static void a_raw_guest_prints_every_byte(void **state)
{
	(void)state;
	print("in a line\n\tlogin: ");
	vm_console_raw(&vm, true);
	print("\x1b[2J\r\n\x7f");
	out(0xe9, 1, 0xff);
	assert_string_equal(host_raw_text(), "\tlogin: \x1b[2J\r\n\x7f\xff");
	vm_console_raw(&vm, false);
	print("again\n");
	assert_string_equal(host_log_line(0), "a| again");
}

static void received_bytes_interrupt_the_vcpu(void **state)
{
	static const uint8_t bytes[20] = "0123456789abcdefghi";

	(void)state;
	out(0x21, 1, 0xef);
	out(0x3fc, 1, 0x0b);
	out(0x3fa, 1, 0xc1);
	out(0x3f9, 1, 0x01);
	assert_int_equal(vm_receive(&vm, bytes, 3), 3);
	vm_tick(&vm, host_clock());
	assert_false(vm_interrupt_pending(&vcpu));
	assert_true(vm_tick(&vm, vm.ticked + 1) <= vm.ticked + host_clock_hz() / 100);
	vm_tick(&vm, vm.ticked + host_clock_hz() / 100);
	assert_true(vm_interrupt_pending(&vcpu));
	assert_int_equal(in(0x3fa, 1), 0xcc);
	assert_int_equal(vm_receive(&vm, bytes + 3, 17), 13);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(0x3f8, 1), bytes[i]);
}

static void an_overlong_line_is_broken(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VM_LINE + 1; i++)
		out(0x3f8, 1, 'z');
	assert_int_equal(strlen(host_log_line(0)), VM_LINE + 3);
	print("\n");
	assert_string_equal(host_log_line(0), "a| z");
}

static void a_zero_at_the_exit_port_is_a_pass(void **state)
{
	(void)state;
	assert_true(vm_running(&vm));
	out(0xf4, 1, 0);
	assert_false(vm_running(&vm));
	assert_true(vm_print_verdict(&vm, true));
	assert_string_equal(host_log_line(0), "VERDICT a PASS 0");
}

static void another_value_at_the_exit_port_is_a_fail(void **state)
{
	(void)state;
	out(0xf4, 4, 300);
	assert_false(vm_print_verdict(&vm, true));
	assert_string_equal(host_log_line(0), "VERDICT a FAIL 300");
}

static void the_first_verdict_counts(void **state)
{
	(void)state;
	vm_end_fail(&vm, "crash: %s at 0x%lx", "triple fault", 0x1234UL);
	vm_end_exit(&vm, 0);
	vm_end_until(&vm);
	vm_end_fail(&vm, "limit: ran %u s", 30u);
	assert_false(vm_print_verdict(&vm, true));
	assert_string_equal(host_log_line(0), "VERDICT a FAIL crash: triple fault at 0x1234");
}

static void a_long_reason_is_cut(void **state)
{
	char reason[300];

	(void)state;
	memset(reason, 'r', sizeof reason);
	reason[sizeof reason - 1] = 0;
	vm_end_fail(&vm, "%s", reason);
	assert_int_equal(strlen(vm.reason), VM_REASON - 1);
}

static void end_from_each_cpu(void *arg)
{
	(void)arg;
	if (host_cpu() == 0)
		vm_end_exit(&vm, 0);
	else
		vm_end_fail(&vm, "crash: other");
}

static void of_two_cpus_one_ends_the_guest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		store_release(&vm.claimed, 0);
		store_release(&vm.state, VM_RUNNING);
		vm.reason[0] = 0;
		vm.pass = false;
		host_run_cpus(2, end_from_each_cpu, 0);
		assert_false(vm_running(&vm));
		assert_int_equal(vm.pass, vm.reason[0] == 0);
	}
}

static void the_awaited_text_ends_the_guest(void **state)
{
	(void)state;
	print("not all don, all donne\nall ");
	assert_true(vm_running(&vm));
	print("done");
	assert_false(vm_running(&vm));
	assert_true(vm_print_verdict(&vm, true));
	assert_string_equal(host_log_line(0), "VERDICT a PASS 0");
}

static void the_awaited_text_may_cross_a_broken_line(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VM_LINE - 4; i++)
		out(0x3f8, 1, '-');
	print("all done");
	assert_false(vm_running(&vm));
}

static void a_replica_that_differs_fails_a_pass(void **state)
{
	(void)state;
	vm_end_exit(&vm, 0);
	vm.replica.copied = 77;
	vm_print_replica(&vm, 0, gfn(0));
	assert_string_equal(host_log_line(0), "REPLICA a EQUAL pages=928 copied=77");
	vm_print_replica(&vm, 3, gfn(0x123));
	assert_string_equal(host_log_line(0), "REPLICA a DIFFERS pages=3 first=gfn 0x123");
	assert_false(vm_print_verdict(&vm, false));
	assert_true(host_log_has("VERDICT a FAIL replica: "));
}

static void the_timer_reaches_the_guest(void **state)
{
	static const uint16_t words[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xfe},
		{0x43, 0x34}, {0x40, 0xa9}, {0x40, 0x04}};
	uint64_t next;

	(void)state;
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		out(words[i][0], 1, words[i][1]);
	if (vm_interrupt_pending(&vcpu)) {
		vm_interrupt_acknowledge(&vcpu);
		out(0x20, 1, 0x20);
	}
	next = vm_tick(&vm, host_clock());
	assert_true(next > vm.pit.origin && next < host_clock() + 2000000);
	vm_tick(&vm, next);
	assert_true(load_relaxed(&vcpu.attention)); /* told */
	assert_true(vm_interrupt_pending(&vcpu));
	assert_int_equal(vm_interrupt_acknowledge(&vcpu), 0x20);
	assert_false(vm_interrupt_pending(&vcpu));
	assert_int_equal(vm_interrupt_acknowledge(&vcpu), -1);
}

static void every_device_answers(void **state)
{
	static const uint16_t claimed[] = {0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0xe9, 0xf4,
		0x3f8, 0x3ff, 0x510, 0x511, 0x4d0, 0x4d1, 0x600, 0x60b, 0xcf8, 0xcf9, 0xcff, 0x64};

	(void)state;
	for (unsigned i = 0; i < sizeof claimed / sizeof *claimed; i++)
		in(claimed[i], 1);
	assert_int_equal(vm.bus.unclaimed, 0);
	assert_int_equal(in(0x80, 1), 0xff);
	assert_int_equal(in(0xce0, 4), 0xffffffff);
	assert_int_equal(vm.bus.unclaimed, 2);
	out(0x510, 2, 3);
	assert_int_equal(in(0x511, 1) | in(0x511, 1) << 8 | in(0x511, 1) << 16, MEM);
}

static void a_harvest_needs_a_start(void **state)
{
	(void)state;
	assert_int_equal(command(2), 0xffffffff);
	assert_int_equal(command(1), 0);
	assert_int_equal(command(2), RAM_PAGES);
	assert_int_equal(command(3), 0);
	assert_int_equal(command(2), 0xffffffff);
}

static void a_harvest_reports_what_was_written(void **state)
{
	(void)state;
	command(1);
	command(2);
	assert_int_equal(command(2), 0);
	store(0x200000);
	store(0x201ff8);
	store(0x2ffffc);
	assert_int_equal(command(2), 4);
	assert_int_equal(view(0x200), 1);
	assert_int_equal(view(0x201), 1);
	assert_int_equal(view(0x2ff), 1);
	assert_int_equal(view(0x300), 1);
	assert_int_equal(view(0x202), 0);
	assert_int_equal(view(0xa0), 0);
	assert_int_equal(view(0xffffffff), 0);
	/* The set stays until the next harvest; starting again reports every page. */
	store(0x202000);
	assert_int_equal(view(0x202), 0);
	assert_int_equal(view(0x200), 1);
	command(1);
	assert_int_equal(command(2), RAM_PAGES);
	assert_int_equal(view(0x202), 1);
}

static void the_view_unites_all_harvests(void **state)
{
	(void)state;
	vm.has_replica = replica_init(&vm.replica, &vm.mmu);
	assert_true(vm.has_replica);
	command(1);
	command(2);
	store(0x200000);
	assert_int_equal(replica_round(&vm.replica, 0), LOG_DONE);
	store(0x201000);
	assert_int_equal(replica_round(&vm.replica, 0), LOG_DONE);
	store(0x202000);
	assert_int_equal(command(2), 3);
	assert_true(view(0x200) && view(0x201) && view(0x202));
	/* Stopping the view leaves the replica's log alone. */
	assert_int_equal(command(3), 0);
	store(0x203000);
	assert_int_equal(replica_round(&vm.replica, 0), LOG_DONE);
	assert_int_equal(replica_compare(&vm.replica, &(gfn_t){0}), 0);
}

static void a_busy_log_is_tried_again(void **state)
{
	(void)state;
	assert_int_equal(command(5), 0);
	assert_true(log_turn_take(&vm.mmu));
	for (uint32_t c = 1; c <= 4; c++)
		assert_int_equal(out(0x5e0, 4, c), BUS_RETRY);
	assert_int_equal(in(0x5e0, 4), 0);
	log_turn_end(&vm.mmu);
	assert_int_equal(command(1), 0);
}

static void an_audit_counts_violations(void **state)
{
	(void)state;
	assert_int_equal(command(4), 0);
	vm.mmu.used++;
	assert_int_equal(command(4), 1);
	vm.mmu.used--;
	assert_int_equal(command(4), 0);
}

static void memory_moves_to_other_frames(void **state)
{
	hfn_t before = vm.mmu.slot[0].hfn;

	(void)state;
	assert_int_equal(command(6), 0);
	assert_true(vm.mmu.slot[0].hfn.v != before.v);
	assert_true(log_turn_take(&vm.mmu));
	assert_int_equal(out(0x5e0, 4, 6), BUS_RETRY);
	log_turn_end(&vm.mmu);
}

static void a_command_that_does_not_exist_is_not_possible(void **state)
{
	(void)state;
	assert_int_equal(command(0), 0xffffffff);
	assert_int_equal(command(77), 0xffffffff);
}

static void metrics_are_printed_but_not_without_end(void **state)
{
	(void)state;
	out(0x5e4, 4, 3);
	out(0x5e8, 4, 4000000000u);
	assert_string_equal(host_log_line(0), "METRIC a 3 4000000000");
	for (unsigned i = 1; i < TESTDEV_METRICS; i++)
		out(0x5e8, 4, i);
	assert_string_equal(host_log_line(0), "METRIC a 3 9999");
	for (unsigned i = 0; i < 5; i++)
		out(0x5e8, 4, 1);
	assert_true(strstr(host_log_line(0), "more than 10000 METRIC lines"));
	assert_string_equal(host_log_line(1), "METRIC a 3 9999");
}

static void test_device_ports_are_32_bits_wide(void **state)
{
	(void)state;
	command(1);
	out(0x5e0, 1, 3);
	out(0x5e0, 2, 3);
	out(0x5e1, 4, 3);
	assert_int_equal(in(0x5e0, 1), 0xff);
	assert_int_equal(in(0x5e0, 2), 0xffff);
	assert_int_equal(in(0x5e2, 4), 0xffffffff);
	assert_int_equal(command(2), RAM_PAGES);
}

/* Any port, size and value: no crash, and what is read is no wider than asked for. */
static void a_hostile_guest_at_its_ports(void **state)
{
	static const uint16_t bases[] = {
		0x20, 0xa0, 0x40, 0x60, 0x70, 0xe8, 0xf0, 0x3f8, 0x4d0, 0x510, 0x5e0, 0x5e8, 0x5f0, 0x5fe, 0xcf8, 0xfff8};
	uint64_t seed = 31;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = host_random(&seed);
		uint16_t port = (uint16_t)(bases[r % (sizeof bases / sizeof *bases)] + (r >> 8 & 15));
		unsigned size = 1u << (r >> 16) % 3;
		uint32_t value = r & 1UL << 20 ? (uint32_t)(r >> 32) & 7 : (uint32_t)(r >> 32);

		if (port + size - 1 == 0x5e3 && value == 4 && i % 64)
			continue; /* an audit takes long */
		if (r & 1UL << 21) {
			assert_int_equal(out(port, size, value), BUS_DONE);
		} else {
			value = in(port, size);
			assert_true(size == 4 || value >> (8 * size) == 0);
		}
		vm_tick(&vm, host_clock());
		if (vm_interrupt_pending(&vcpu))
			vm_interrupt_acknowledge(&vcpu);
	}
}

#define VM_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define VM_TEST_UNTIL(f) cmocka_unit_test_setup_teardown(f, set_up_waiting_for_text, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(lines_carry_the_guests_name),
		VM_TEST(uart_and_debug_port_share_the_console),
		VM_TEST(a_raw_guest_prints_every_byte),
		VM_TEST(received_bytes_interrupt_the_vcpu),
		VM_TEST(a_guest_cannot_forge_a_line),
		VM_TEST(an_overlong_line_is_broken),
		VM_TEST(a_zero_at_the_exit_port_is_a_pass),
		VM_TEST(another_value_at_the_exit_port_is_a_fail),
		VM_TEST(the_first_verdict_counts),
		VM_TEST(a_long_reason_is_cut),
		VM_TEST(of_two_cpus_one_ends_the_guest),
		VM_TEST_UNTIL(the_awaited_text_ends_the_guest),
		VM_TEST_UNTIL(the_awaited_text_may_cross_a_broken_line),
		VM_TEST(a_replica_that_differs_fails_a_pass),
		VM_TEST(the_timer_reaches_the_guest),
		VM_TEST(every_device_answers),
		VM_TEST(a_harvest_needs_a_start),
		VM_TEST(a_harvest_reports_what_was_written),
		VM_TEST(the_view_unites_all_harvests),
		VM_TEST(a_busy_log_is_tried_again),
		VM_TEST(an_audit_counts_violations),
		VM_TEST(memory_moves_to_other_frames),
		VM_TEST(a_command_that_does_not_exist_is_not_possible),
		VM_TEST(metrics_are_printed_but_not_without_end),
		VM_TEST(test_device_ports_are_32_bits_wide),
		VM_TEST(a_hostile_guest_at_its_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
