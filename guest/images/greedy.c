/* SPDX-License-Identifier: MIT */
/* greedy: instructions that need as many page tables at once as any can, for a guest with the fewest shadow pages there
 * may be (shadow=64).
 *
 *   rounds=200 seed=1    runs of the instructions, and of the random numbers
 *
 * Everything that they touch lies across a multiple of 512 GiB, so that each of its two pages has tables of its own on
 * three levels: the instruction itself; both operands of REP MOVSQ; and for INT the gate in the IDT, the code segment's
 * descriptor in the GDT, the stack's address in the TSS, and the stack. Before each run pages under other tables are
 * read, which takes shadow pages away, or all are dropped. What was copied, and that the handler ran once, is checked.
 */
#include "guest/images/lib.h"

#define VECTOR_GREEDY 0x40u
#define SEL_CODE 0x18
#define SEL_TSS 0x30
#define GDT_BYTES 64
#define TSS_BYTES 104
#define TSS_IST1 36
#define TSS_AVAILABLE 0x89UL
#define IST1 1UL
#define GATE_INTERRUPT 0x8e00UL
#define COPIED 8u     /* quadwords, each across the boundary but for the first and the last few */
#define OTHERS 24u    /* pages to read before a run, each under tables of its own */
#define OTHERS_AT 100 /* their first entry in the top table */

enum place { PLACE_CODE, PLACE_FROM, PLACE_TO, PLACE_IDT, PLACE_GDT, PLACE_TSS, PLACE_STACK, PLACES };

struct pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern char greedy_handler[], greedy_code[], greedy_code_end[];
extern uint64_t greedy_count;

__asm__(R"(
	.globl	greedy_handler, greedy_code, greedy_code_end, greedy_count
greedy_handler:
	incq	greedy_count
	iretq
greedy_code:
	rep movsq
	int	$0x40
	ret
greedy_code_end:
	.data
	.balign	8
greedy_count:
	.quad	0
	.text
)");
#define MOVS_BYTES 3 /* of REP MOVSQ; INT has two */

static uint64_t frame[PLACES]; /* gpa of two pages in a row */

/* The boundary in the middle of a place. */
static uint64_t middle(enum place p) { return (uint64_t)(2 * p + 2) << 39; }

/* The bytes at that distance from the middle, by the identity map. */
static void *bytes(enum place p, int distance) { return (void *)(frame[p] + PAGE + distance); }

static void tables(void)
{
	const uint64_t flags = PTE_P | PTE_W;

	for (enum place p = 0; p < PLACES; p++) {
		frame[p] = memory_take(2 * PAGE, PAGE);
		paging_map(boot_root, middle(p) - PAGE, frame[p], PAGE, 1, flags);
		paging_map(boot_root, middle(p), frame[p] + PAGE, PAGE, 1, flags);
	}
	for (uint64_t i = 0; i < OTHERS; i++) {
		uint64_t page = memory_take(PAGE, PAGE);

		*(uint64_t *)page = i;
		paging_map(boot_root, (OTHERS_AT + i) << 39, page, PAGE, 1, flags);
	}
	paging_load(boot_root);
}

/* The descriptor tables go to their places: behind `distance` bytes lies the middle. */
static void descriptors(void)
{
	const int gdt_at = -(SEL_CODE + 4), tss_at = -(TSS_IST1 + 4), idt_at = -(int)(VECTOR_GREEDY * 16 + 8);
	uint64_t handler = (uint64_t)greedy_handler, tss = middle(PLACE_TSS) + tss_at, stack = middle(PLACE_STACK) + 16;
	struct pointer gdt, idt;
	uint64_t *to;

	__asm__ volatile("sgdt %0" : "=m"(gdt));
	__asm__ volatile("sidt %0" : "=m"(idt));
	memcpy(bytes(PLACE_GDT, gdt_at), (void *)gdt.base, GDT_BYTES);
	to = bytes(PLACE_GDT, gdt_at + SEL_TSS);
	to[0] = (TSS_BYTES - 1) | (tss & 0xffffff) << 16 | TSS_AVAILABLE << 40 | (tss >> 24 & 0xff) << 56;
	to[1] = tss >> 32;
	memcpy(bytes(PLACE_TSS, tss_at + TSS_IST1), &stack, sizeof(stack));
	memcpy(bytes(PLACE_IDT, idt_at), (void *)idt.base, VECTOR_GREEDY * 16);
	to = bytes(PLACE_IDT, -8);
	to[0] = (handler & 0xffff) | SEL_CODE << 16 | (GATE_INTERRUPT | IST1) << 32 | (handler >> 16 & 0xffff) << 48;
	to[1] = handler >> 32;
	gdt = (struct pointer){GDT_BYTES - 1, middle(PLACE_GDT) + gdt_at};
	idt = (struct pointer){(VECTOR_GREEDY + 1) * 16 - 1, middle(PLACE_IDT) + idt_at};
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdt), "m"(idt), "r"(SEL_TSS));
}

/* Others come, and take shadow pages away. */
static void press(void)
{
	for (unsigned n = rand_below(2 * OTHERS); n; n--) {
		uint64_t i = rand_below(OTHERS), seen = *(volatile uint64_t *)((OTHERS_AT + i) << 39);

		if (seen != i)
			deviation("page %lu holds %lu", i, seen);
	}
	if (chance(20))
		abi_command(ABI_MMU_ZAP);
}

/* split: bytes of greedy_code before the middle. */
static void run(int split)
{
	uint64_t from = middle(PLACE_FROM) - COPIED * 4 - 4, to = middle(PLACE_TO) - COPIED * 4 - 4, count = COPIED;
	uint64_t was = greedy_count, *source = bytes(PLACE_FROM, -(int)(COPIED * 4 + 4));
	const uint64_t *copy = bytes(PLACE_TO, -(int)(COPIED * 4 + 4));

	memcpy(bytes(PLACE_CODE, -split), greedy_code, (size_t)(greedy_code_end - greedy_code));
	for (unsigned i = 0; i < COPIED; i++)
		source[i] = rand64();
	press();
	__asm__ volatile("call *%3" : "+D"(to), "+S"(from), "+c"(count) : "r"(middle(PLACE_CODE) - split) : "memory");
	if (count || greedy_count != was + 1)
		deviation("%lu quadwords were not copied; the handler ran %lu times", count, greedy_count - was);
	for (unsigned i = 0; i < COPIED; i++)
		if (copy[i] != source[i])
			deviation("quadword %u: %lx, not %lx", i, copy[i], source[i]);
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 200);

	tables();
	descriptors();
	print("greedy: %lu rounds\n", rounds);
	for (uint64_t i = 0; i < rounds; i++)
		run(chance(50) ? 1 : MOVS_BYTES + 1);
	report(!deviations(), "REP MOVSQ and INT over 14 pages under tables of their own, %lu times", rounds);
}
