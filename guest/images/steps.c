/* SPDX-License-Identifier: MIT */
/* steps: code that is the same in ring 0 of a guest and in ring 3 of a Linux process, for a debugger that steps through it in both
 * and compares (tools/gdbtest/steps.py, tools/host/steps.c); then what only a guest can do, to be stepped over. It says PASS when
 * the code's checksum is what it is without a debugger, and what it must step over has had its effects.
 *
 *   seed=1               of the numbers that the code works on
 *
 * The code runs from steps_begin to steps_end, RDI = seed, all other general registers 0, RFLAGS.IF = 1 and no other flag, on the
 * stack that ends at steps_stack_top. It uses no memory but that and its own variables, which it sets itself, and what every
 * x86-64 processor and x87 have.
 */
#include "guest/images/lib.h"
#include "guest/images/pic.h"
#include "guest/images/steps.h"

/* In pages of its own, as steps_begin is: a breakpoint at steps_enter makes nothing there slow. */
__asm__(".section .text.steps, \"ax\"\n\t.balign 4096\n\t.previous");
#define CODE __attribute__((section(".text.steps"), noinline))
#define ROUNDS 8
#define WORDS 16
#define SORTED 9

static uint64_t words[WORDS] __attribute__((aligned(16))); /* CMPXCHG16B */

static uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

CODE static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return rotate(*state, 23) ^ *state >> 7;
}

/* Calls within calls; steps_odd() enters it by a pointer. */
CODE uint64_t steps_recurse(uint64_t n, uint64_t x)
{
	if (n < 2)
		return x + n;
	return steps_recurse(n - 1, rotate(x, 5)) ^ steps_recurse(n - 2, x + n);
}

CODE static void sort(uint64_t *a, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t x = a[i];
		unsigned k = i;

		for (; k && a[k - 1] > x; k--)
			a[k] = a[k - 1];
		a[k] = x;
	}
}

CODE static uint64_t divide(uint64_t a, uint64_t b)
{
	int64_t c = (int64_t)a >> 9, d = (int64_t)(b % 1000 + 1);

	return a / (b | 1) + a % (b >> 40 | 1) + (uint64_t)(c / -d) + (uint64_t)(c % d) + (uint32_t)a / ((uint16_t)b | 1u);
}

CODE static uint64_t choose(uint64_t x)
{
	switch (x % 7) {
	case 0:
		return x * 3;
	case 1:
		return ~x;
	case 2:
		return rotate(x, 11);
	case 3:
		return x - 0x123456789;
	case 4:
		return x << (x >> 60) | 1;
	case 5:
		return (uint64_t)(int64_t)(int16_t)x;
	default:
		return x >> (x & 31);
	}
}

CODE uint64_t steps_run(uint64_t seed)
{
	uint64_t state = seed, sum = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < WORDS; i++)
			words[i] = next(&state);
		sum += steps_odd(words, next(&state));
		sum = rotate(sum, 13) + divide(words[round % WORDS], words[1]);
		sum ^= choose(sum);
		sort(words, SORTED);
		sum += steps_recurse(4, words[round % SORTED]);
		for (unsigned i = 0; i < WORDS; i++)
			sum = sum * 31 + words[i];
	}
	return sum;
}

/* ---- what only a guest can do ---- */

enum pit_port { PIT_CHANNEL0 = 0x40, PIT_CONTROL = 0x43 };
#define PIT_CHANNEL0_RATE 0x34
#define IRQ0 0x01
#define POLLS 10000000UL

#define WINDOW PAGE_1G
#define LOADED 0x1122334455667788UL
#define FAULTED 0x99aabbccddeeff00UL
#define FLAG_TF 0x100

static volatile uint64_t ticks;

static void on_irq(unsigned irq)
{
	ticks += irq == 0;
	pic_end();
}

/* The timer's interrupt waits from now on, and comes again each millisecond: HLT may be met just behind one. */
static bool timer_expire(void)
{
	abi_out8(PIT_CONTROL, PIT_CHANNEL0_RATE);
	abi_out8(PIT_CHANNEL0, 0);
	abi_out8(PIT_CHANNEL0, 4);
	pic_mask((uint8_t)~IRQ0);
	for (uint64_t i = 0; i < POLLS; i++)
		if (pic_read(PIC_READ_IRR) & IRQ0)
			return true;
	return false;
}

/* Has `vector` go to `handler`; the gate is as it was but for that. */
static void gate_lead(unsigned vector, void (*handler)(void))
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt;
	uint64_t *gate, at = (uint64_t)handler;

	__asm__ volatile("sidt %0" : "=m"(idt));
	gate = (uint64_t *)idt.base + 2 * vector;
	gate[0] = (gate[0] & 0xffffffff0000) >> 16 << 16 | (at & 0xffff) | at >> 16 << 48;
	gate[1] = at >> 32;
}

static void hurdles(void)
{
	uint64_t *frame = (uint64_t *)memory_take(3 * PAGE, PAGE), words_in_page = PAGE / sizeof(*frame);
	struct hurdles h = {.window = WINDOW,
		.entry = paging_entry(boot_root, WINDOW, 1, true),
		.new = (uint64_t)(frame + words_in_page) | PTE_P | PTE_W,
		.second = (uint64_t)(frame + 2 * words_in_page) | PTE_P | PTE_W};

	frame[words_in_page] = LOADED;
	frame[2 * words_in_page] = FAULTED;
	*h.entry = (uint64_t)frame | PTE_P | PTE_W;
	*(volatile uint64_t *)WINDOW = 0;
	irq_handler = on_irq;
	gate_lead(VECTOR_PF, steps_fault);
	report(timer_expire(), "the timer expires");
	steps_hurdles(&h);
	report(h.loaded == LOADED && h.faulted == FAULTED, "page tables changed: %lx, %lx", h.loaded, h.faulted);
	report(!(h.flags & FLAG_TF), "flags are %lx", h.flags);
	report(h.read[0] == 0xff && h.read[1] == 0xff && h.read[2] == 0xff && !h.read[3], "three bytes of a port");
	report(ticks, "interrupts came");
}

void image_main(void)
{
	uint64_t seed = arg_number("seed", 1), stepped, alone;

	pic_setup(PIC_MASK_ALL); /* the code runs with RFLAGS.IF: nothing is to come */
	stepped = steps_enter(seed);
	alone = steps_enter(seed);
	report(stepped == alone, "the code's sum is %lx, again %lx", stepped, alone);
	hurdles();
}
