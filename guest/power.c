/* SPDX-License-Identifier: MIT */
#include "guest/power.h"
#include "guest/vm.h"

#define BLOCK_BYTES (POWER_TIMER + 4 - POWER_STATUS)
#define TIMER_HALF 31 /* status is set when this bit of the timer changes */
#define SHORTEST_US 50 /* between two calls of power_tick */

/* PM1 status and enable. The others never happen, but may be enabled. */
#define TIMER_EVENT 0x0001
#define GLOBAL_EVENT 0x0020
#define POWER_BUTTON_EVENT 0x0100
#define SLEEP_BUTTON_EVENT 0x0200
#define RTC_EVENT 0x0400
#define EVENTS (TIMER_EVENT | GLOBAL_EVENT | POWER_BUTTON_EVENT | SLEEP_BUTTON_EVENT | RTC_EVENT)

/* PM1 control */
#define SCI_ENABLED 0x0001 /* always: there is no system management mode to hand over from */
#define BUS_MASTER_RELOAD 0x0002
#define SLEEP_TYPE_SHIFT 10
#define SLEEP_TYPE 0x1c00
#define SLEEP_ENABLE 0x2000 /* write-only */
#define CONTROL_WRITABLE (BUS_MASTER_RELOAD | SLEEP_TYPE)

#define RESET_WRITABLE 0x0e

static uint64_t ticks_at(const struct power *p, uint64_t now)
{
	uint64_t passed = now > p->origin ? now - p->origin : 0;

	return passed / p->hz * POWER_TIMER_HZ + passed % p->hz * POWER_TIMER_HZ / p->hz;
}

uint32_t power_timer(const struct power *p, uint64_t now)
{
	return (uint32_t)ticks_at(p, now);
}

static void update_line(struct power *p)
{
	irq_set_line(p->irq, POWER_SCI, p->status & p->enable);
}

static void catch_up(struct power *p, uint64_t now)
{
	uint64_t halves = ticks_at(p, now) >> TIMER_HALF;

	if (halves <= p->halves)
		return;
	p->halves = halves;
	p->status |= TIMER_EVENT;
	update_line(p);
}

uint64_t power_tick(struct power *p, uint64_t now)
{
	uint64_t soonest = now + p->hz / 1000000 * SHORTEST_US, tick, at;

	if (!(p->enable & TIMER_EVENT))
		return UINT64_MAX;
	catch_up(p, now);
	if (p->status & TIMER_EVENT)
		return UINT64_MAX;
	tick = (p->halves + 1) << TIMER_HALF;
	at = p->origin + tick / POWER_TIMER_HZ * p->hz +
	     (tick % POWER_TIMER_HZ * p->hz + POWER_TIMER_HZ - 1) / POWER_TIMER_HZ;
	return at > soonest ? at : soonest;
}

uint32_t power_read(struct power *p, uint16_t port, unsigned size, uint64_t now)
{
	uint32_t timer = power_timer(p, now), value = 0;
	uint8_t block[BLOCK_BYTES] = {0};

	catch_up(p, now);
	__builtin_memcpy(block, &p->status, 2);
	__builtin_memcpy(block + POWER_ENABLE - POWER_STATUS, &p->enable, 2);
	__builtin_memcpy(block + POWER_CONTROL - POWER_STATUS, &p->control, 2);
	__builtin_memcpy(block + POWER_TIMER - POWER_STATUS, &timer, 4);
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)block[port - POWER_STATUS + i] << (8 * i);
	return value;
}

static void write_control(struct power *p, uint16_t bits, uint16_t value)
{
	p->control = (uint16_t)((p->control & ~(bits & CONTROL_WRITABLE)) | (value & CONTROL_WRITABLE));
	if (value & SLEEP_ENABLE && (p->control & SLEEP_TYPE) >> SLEEP_TYPE_SHIFT == POWER_OFF_TYPE)
		vm_end_power_off(p->vm);
}

void power_write(struct power *p, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	catch_up(p, now);
	for (unsigned i = 0; i < size; i++, port++, value >>= 8) {
		unsigned shift = port & 1 ? 8 : 0;
		uint16_t bits = (uint16_t)(0xff << shift), byte = (uint16_t)((value & 0xff) << shift);

		switch (port & ~1) {
		case POWER_STATUS:
			p->status &= (uint16_t)~byte;
			break;
		case POWER_ENABLE:
			p->enable = (uint16_t)((p->enable & ~bits) | (byte & EVENTS));
			break;
		case POWER_CONTROL:
			write_control(p, bits, byte);
			break;
		}
	}
	update_line(p);
}

static enum bus_outcome block_io(void *power, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	if (write)
		power_write(power, port, size, *value, host_clock());
	else
		*value = power_read(power, port, size, host_clock());
	return BUS_DONE;
}

void power_reset_io(struct power *p, bool write, uint32_t *value)
{
	if (!write) {
		*value = p->reset;
		return;
	}
	if (*value & ~p->reset & POWER_RESET_GO)
		vm_end_fail(p->vm, "reset: by port 0x%x", POWER_RESET);
	p->reset = *value & RESET_WRITABLE;
}

static enum bus_outcome keyboard_io(void *power, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct power *p = power;

	(void)size;
	if (!write)
		*value = 0xff;
	else if (*value == POWER_KEYBOARD_RESET)
		vm_end_fail(p->vm, "reset: by port 0x%x", port);
	return BUS_DONE;
}

void power_init(struct power *p, struct vm *vm, struct irq *irq, uint64_t now)
{
	*p = (struct power){.vm = vm, .irq = irq, .origin = now, .hz = host_clock_hz(), .control = SCI_ENABLED};
	CHECK(p->hz >= 1000000 && p->hz < 1UL << 40);
}

void power_attach(struct power *p, struct bus *b)
{
	bus_add(b, POWER_STATUS, POWER_TIMER + 3, 4, block_io, p);
	bus_add(b, POWER_KEYBOARD, POWER_KEYBOARD, 1, keyboard_io, p);
}
