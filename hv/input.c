/* SPDX-License-Identifier: MIT */
#include "hv/input.h"
#include "guest/vmset.h"
#include "hv/console.h"
#include "hv/escape.h"
#include "hv/monitor.h"
#include "hv/ring.h"
#include "hv/runner.h"
#include "mm/rcu.h"

/* At 115200 baud a UART's FIFO of 16 bytes fills in 1.4 ms. */
#define POLL_US 1000
#define POLL_BYTES 16 /* read, and handed to each guest, in one step */

#define NOBODY UINT32_MAX /* the focus is the hypervisor's */

/* All of it is CPU 0's. */
static struct input {
	uint64_t next;     /* TSC of the next step */
	uint64_t next_say; /* … at which lost input may be told again */
	uint32_t lost;     /* told of */
	uint32_t focus;    /* a guest's index, or NOBODY */
	bool begun;        /* the first focus was told */
	bool escaped, raw;
	struct {
		struct ring ring;
		uint32_t life; /* of which the rest tells */
		bool raw;
	} guest[VMSET_MAX];
} input;

/* In an RCU section: the vm of a guest that runs stays until its end. */
static bool runs(uint32_t i)
{
	if (i >= guests.n || load_acquire(&guests.guest[i].ended)) /* partner: end_guest */
		return false;
	return vm_running(guests.guest[i].vm);
}

static void tell_focus(void)
{
	const char *mode = input.raw ? ", raw" : "";

	if (input.focus == NOBODY)
		host_print("umbra: console: hypervisor");
	else
		host_print("umbra: console: guest %s%s", guests.guest[input.focus].name, mode);
}

/* To the guest that comes `step` further on, round and round, of those that run. False: none does. */
static bool turn_focus(uint32_t from, uint32_t step)
{
	for (uint32_t k = 1; k <= guests.n; k++) {
		uint32_t i = (from + k * step) % guests.n;

		if (runs(i)) {
			input.focus = i;
			return true;
		}
	}
	return false;
}

static void select_guest(uint32_t i)
{
	if (runs(i)) {
		input.focus = i;
		tell_focus();
	} else {
		host_print("umbra: console: no guest %u runs", i + 1);
	}
}

static void turn_and_tell(uint32_t step)
{
	uint32_t from = input.focus != NOBODY ? input.focus : step == 1 ? guests.n - 1 : 0;

	if (turn_focus(from, step))
		tell_focus();
	else
		host_print("umbra: console: no guest runs");
}

/* A key that moves the focus leaves the monitor. */
static void leave_monitor(enum escape_key key)
{
	if (key == ESCAPE_GUEST || key == ESCAPE_NEXT || key == ESCAPE_PREVIOUS || key == ESCAPE_HYPERVISOR)
		monitor_close();
}

static void take(uint8_t byte)
{
	uint8_t out;
	enum escape_key key = escape_byte(&input.escaped, byte, &out);

	leave_monitor(key);
	switch (key) {
	case ESCAPE_NONE:
		break;
	case ESCAPE_PASS:
		if (monitor_is_open())
			monitor_type(out);
		else if (input.focus != NOBODY && runs(input.focus))
			ring_put(&input.guest[input.focus].ring, out);
		break;
	case ESCAPE_GUEST:
		select_guest(out);
		break;
	case ESCAPE_NEXT:
		turn_and_tell(1);
		break;
	case ESCAPE_PREVIOUS:
		turn_and_tell(guests.n - 1);
		break;
	case ESCAPE_HYPERVISOR:
		input.focus = NOBODY;
		tell_focus();
		break;
	case ESCAPE_MONITOR:
		monitor_open();
		break;
	case ESCAPE_RAW:
		input.raw = !input.raw;
		tell_focus();
		break;
	case ESCAPE_USAGE:
		host_print("umbra: console: %s", ESCAPE_KEYS);
		break;
	}
}

/* Guests that ended, or that were made anew, since the last step. */
static void follow(void)
{
	if (!input.begun || (input.focus != NOBODY && !runs(input.focus))) {
		uint32_t from = input.begun ? input.focus : guests.n - 1;

		input.begun = true;
		if (turn_focus(from, 1))
			tell_focus();
		else
			input.focus = NOBODY;
	}
	for (uint32_t i = 0; i < guests.n; i++) {
		uint32_t life = load_relaxed(&guests.guest[i].lives);

		if (input.guest[i].life == life)
			continue;
		input.guest[i].life = life;
		input.guest[i].raw = false;
		ring_clear(&input.guest[i].ring);
	}
}

static void read_com1(void)
{
	for (unsigned n = 0; n < POLL_BYTES; n++) {
		int byte;

		if (monitor_is_open() ? monitor_full() : input.focus != NOBODY && ring_full(&input.guest[input.focus].ring) && runs(input.focus))
			return;
		byte = console_get();
		if (byte < 0)
			return;
		take((uint8_t)byte);
	}
}

/* Raw mode is the one's in focus. The UART gets what it has room for; its timeout may be the guest's next event. */
static void serve(uint32_t i, uint64_t now)
{
	struct guest *g = &guests.guest[i];
	struct ring *ring = &input.guest[i].ring;
	bool raw = input.raw && i == input.focus && !monitor_is_open();
	const uint8_t *first;
	unsigned n;

	if (raw != input.guest[i].raw) {
		vm_console_raw(g->vm, raw);
		input.guest[i].raw = raw;
	}
	n = ring_piece(ring, &first);
	if (!n)
		return;
	n = vm_receive(g->vm, first, n < POLL_BYTES ? n : POLL_BYTES);
	ring_drop(ring, n);
	if (n && vm_tick(g->vm, now) < load_relaxed(&g->runner[0].tick))
		runner_attend(g->runner[0].cpu);
}

static void tell_lost(uint64_t now)
{
	uint32_t lost = console_overruns();

	if (lost == input.lost || now < input.next_say)
		return;
	input.lost = lost;
	input.next_say = now + host_clock_hz();
	host_log(HOST_WARN, "console: COM1 lost input: its FIFO overran %u times", lost);
}

/* What was typed to the monitor, and what it is at. */
static void converse(void)
{
	bool open = monitor_is_open();

	monitor_poll();
	if (open && !monitor_is_open())
		tell_focus();
}

uint64_t input_poll(uint64_t now)
{
	if (!console_has_input())
		return RUNNER_NEVER;
	if (now < input.next)
		return input.next;
	rcu_read_lock(RCU_WALK);
	follow();
	read_com1();
	for (uint32_t i = 0; i < guests.n; i++)
		if (runs(i))
			serve(i, now);
	rcu_read_unlock(RCU_WALK);
	tell_lost(now);
	converse();
	return input.next = now + us_ticks(POLL_US);
}
