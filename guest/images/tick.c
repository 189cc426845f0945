/* SPDX-License-Identifier: MIT */
/* tick: programs the 8254 to a periodic interrupt through the 8259A and checks that it comes when it may and not when
 * it may not; then changes page tables and memory while it ticks.
 *
 *   hz=200               of the timer, 19 to 10000
 *   ticks=50             to wait for in HLT, and again while storming
 *   seed=1               of the storm
 *
 * No wait for a tick is unbounded but HLT itself: give the guest a limit.
 *
 * Metrics: 1 TSC ticks per timer tick in HLT, 2 operations per timer tick while storming.
 */
#include "guest/images/lib.h"
#include "guest/images/pic.h"

enum metric_id { METRIC_PERIOD = 1, METRIC_STORM = 2 };

enum pit_port { PIT_CHANNEL0 = 0x40, PIT_CONTROL = 0x43 };
#define PIT_CHANNEL0_RATE 0x34
#define PIT_CHANNEL0_LATCH 0x00
#define PIT_HZ 1193182
#define PIT_HZ_MIN 19
#define PIT_HZ_MAX 10000
#define TICKS_MAX 1000000
#define IRQ0 0x01

#define SPINS 20000000UL /* polls after which a tick is taken for lost */
#define WINDOW PAGE_1G
#define STORM_PAGES 256
#define CALIBRATION 8 /* the counter is watched for 1/8 of a period … */
#define WATCHES 15    /* … so often, and the median counts: a machine that stands still meanwhile spoils one or two */

static volatile uint64_t ticks, strays;
static volatile bool hold_eoi;
static uint64_t period; /* in TSC ticks */

static void pit_setup(uint16_t divisor)
{
	abi_out8(PIT_CONTROL, PIT_CHANNEL0_RATE);
	abi_out8(PIT_CHANNEL0, (uint8_t)divisor);
	abi_out8(PIT_CHANNEL0, (uint8_t)(divisor >> 8));
}

static uint16_t pit_read(void)
{
	uint8_t low;

	abi_out8(PIT_CONTROL, PIT_CHANNEL0_LATCH);
	low = abi_in8(PIT_CHANNEL0);
	return (uint16_t)(low | abi_in8(PIT_CHANNEL0) << 8);
}

static void on_irq(unsigned irq)
{
	if (irq)
		strays++;
	else
		ticks++;
	if (!hold_eoi)
		pic_end();
}

/* Spins until `count` more ticks have come; false if they do not. */
static bool tick_wait(uint64_t count)
{
	uint64_t until = ticks + count;

	irq_on();
	for (uint64_t i = 0; i < SPINS && ticks < until; i++)
		__asm__ volatile("pause");
	irq_off();
	return ticks >= until;
}

/* Ticks that come within `periods`, interrupts as they are. */
static uint64_t tick_count(uint64_t periods)
{
	uint64_t before = ticks, start = rdtsc();

	while (rdtsc() - start < periods * period)
		__asm__ volatile("pause");
	return ticks - before;
}

/* TSC ticks per period by the counter alone: how long it takes to count an eighth of the divisor down. */
static uint64_t watch_counter(uint16_t divisor)
{
	uint16_t first = pit_read(), now = first;
	uint64_t start = rdtsc(), counted = 0;

	for (uint64_t i = 0; i < SPINS && counted < divisor / CALIBRATION; i++) {
		now = pit_read();
		counted = first >= now ? first - now : first + divisor - now;
	}
	return counted ? (rdtsc() - start) * divisor / counted : 0;
}

static uint64_t period_by_counter(uint16_t divisor)
{
	uint64_t sorted[WATCHES];

	for (unsigned n = 0; n < WATCHES; n++) {
		uint64_t found = watch_counter(divisor);
		unsigned at = n;

		for (; at > 0 && sorted[at - 1] > found; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = found;
	}
	return sorted[WATCHES / 2];
}

static void test_halt(uint64_t count, uint16_t divisor)
{
	uint64_t start = rdtsc(), counter, wakes = 0, until = ticks + count;

	while (ticks < until && wakes++ < 2 * count)
		irq_wait();
	period = (rdtsc() - start) / count;
	report(ticks >= until, "%lu ticks end HLT", count);
	counter = period_by_counter(divisor);
	metric(METRIC_PERIOD, "TSC ticks per timer tick", period);
	report(period > counter / 2 && period < counter * 2, "the rate is that of the counter (%lu)", counter);
}

static void test_withheld(void)
{
	uint64_t count;

	hold_eoi = true;
	tick_wait(1);
	irq_on();
	count = tick_count(3);
	irq_off();
	report(!count, "no tick before the last one's EOI");
	report(pic_read(PIC_READ_ISR) & IRQ0 && pic_read(PIC_READ_IRR) & IRQ0, "ISR and IRR show it");
	hold_eoi = false;
	pic_end();
	report(tick_wait(2), "ticks again after the EOI");

	pic_mask(PIC_MASK_ALL);
	irq_on();
	count = tick_count(3);
	irq_off();
	report(!count, "no tick while IRQ 0 is masked");
	pic_mask((uint8_t)~IRQ0);
	report(tick_wait(2), "ticks again after that");

	report(!tick_count(3), "no tick with interrupts off");
	report(tick_wait(2), "ticks again after that");
}

/* Remaps pages and writes them while the timer ticks. */
static void test_storm(uint64_t count)
{
	uint64_t frames = memory_take(STORM_PAGES * PAGE, PAGE), until = ticks + count, ops = 0;
	static uint64_t stamp[STORM_PAGES];
	static uint32_t frame_of[STORM_PAGES];

	for (unsigned i = 0; i < STORM_PAGES; i++) {
		frame_of[i] = i;
		paging_map(boot_root, WINDOW + i * PAGE, frames + i * PAGE, PAGE, 1, PTE_P | PTE_W);
	}
	irq_on();
	for (; ops < SPINS && ticks < until; ops++) {
		unsigned i = rand_below(STORM_PAGES);
		uint64_t va = WINDOW + i * PAGE, seen;

		if (ops & 1) {
			frame_of[i] = rand_below(STORM_PAGES);
			*paging_entry(boot_root, va, 1, false) = (frames + frame_of[i] * PAGE) | PTE_P | PTE_W;
			if (ops & 2)
				invlpg(va);
			else
				paging_load(boot_root);
		}
		seen = *(volatile uint64_t *)va;
		if (seen != stamp[frame_of[i]])
			deviation("page %u, frame %u: %lx, not %lx", i, frame_of[i], seen, stamp[frame_of[i]]);
		stamp[frame_of[i]] = rand64();
		*(volatile uint64_t *)va = stamp[frame_of[i]];
	}
	irq_off();
	report(ticks >= until, "%lu ticks while storming", count);
	report(!deviations(), "memory as it should be");
	metric(METRIC_STORM, "operations per timer tick", ops / count);
}

void image_main(void)
{
	uint64_t hz = arg_range("hz", 200, PIT_HZ_MIN, PIT_HZ_MAX), count = arg_range("ticks", 50, 1, TICKS_MAX);
	uint16_t divisor = (uint16_t)(PIT_HZ / hz);

	irq_handler = on_irq;
	pic_setup((uint8_t)~IRQ0);
	pit_setup(divisor);
	print("tick: %lu Hz, divisor %u\n", hz, divisor);
	if (!report(tick_wait(2), "ticks come"))
		return;
	test_halt(count, divisor);
	test_withheld();
	test_storm(count);
	report(!strays, "no other interrupt");
	pic_mask(PIC_MASK_ALL);
}
