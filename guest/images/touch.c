/* SPDX-License-Identifier: MIT */
/* touch: writes every page of an area for the first time (cold), reads it back and writes it again (warm), reads it
 * back again. Without paging it is 32-bit code from the first to the last instruction.
 *
 *   pages=2048           size of the area, 4 KiB pages
 *   paging=off|long      off is the default; long maps the area anew at 1 GiB, in long mode
 *   leaf=4k|2m           with paging=long: the size of those mappings, 4k by default
 *   high=1               with paging=long: the area lies at 4 GiB, where the guest must have that much memory
 *   log=1                with paging=long: then the test device's log is started, harvested, all written once more and
 *                        harvested again: both rounds must report every page
 *
 * Metrics: 1 cold, 2 warm: TSC ticks per page. With log=1: 3 ticks to start, 4 the first harvest, 5 the writes after it, 6 the
 * second harvest: ticks per page.
 */
#include "guest/images/lib.h"

enum metric_id { METRIC_COLD = 1, METRIC_WARM = 2, METRIC_START = 3, METRIC_FIRST = 4, METRIC_LOGGED = 5, METRIC_SECOND = 6 };

#define PAGES_DEFAULT 2048
#define PAGES_MAX (PAGE_1G / PAGE)
#define WINDOW PAGE_1G
/* high=1: the area, and where it is mapped to be checked. */
#define HIGH_AREA (4 * PAGE_1G)
#define HIGH_VIEW (2 * PAGE_1G)

/* ---- paging=off. EBX: multiboot information; returns if the command line asks for long mode. ---- */

__asm__(R"(
	.set	CONSOLE, 0x3f8
	.set	CONSOLE_POLLS, 20000
	.set	EXIT, 0xf4
	.set	METRIC_ID, 0x5e4
	.set	METRIC_VALUE, 0x5e8
	.set	AREA, 0x200000
	.set	AREA_PAGE, AREA >> 12
	.set	PAGES_DEFAULT, 2048

	.text
	.code32
	.globl	unpaged
unpaged:
	mov	$text_empty, %esi
	testl	$4, (%ebx)
	jz	1f
	mov	16(%ebx), %esi
1:	mov	$text_long, %edi
	call	unpaged_find
	test	%eax, %eax
	jz	1f
	ret

1:	mov	$text_pages, %edi
	call	unpaged_find
	mov	$PAGES_DEFAULT, %ebp
	test	%eax, %eax
	jz	2f
	xor	%ebp, %ebp
1:	movzbl	(%eax), %ecx
	sub	$'0', %ecx
	cmp	$9, %ecx
	ja	2f
	imul	$10, %ebp
	add	%ecx, %ebp
	inc	%eax
	jmp	1b

2:	mov	8(%ebx), %eax		/* KiB above 1 MiB; EBP pages must fit between AREA and the end */
	add	$1024, %eax
	shr	$2, %eax
	sub	$AREA_PAGE, %eax
	mov	$text_no_room, %esi
	test	%ebp, %ebp
	jz	unpaged_fail
	cmp	%eax, %ebp
	ja	unpaged_fail

	mov	$text_hello, %esi
	call	unpaged_print
	mov	%ebp, %eax
	call	unpaged_print_number

	xor	%ebx, %ebx		/* what the pages hold now is their address ^ EBX, but for the cold pass */
	call	unpaged_start_clock
	mov	$AREA, %edi
	mov	%ebp, %ecx
1:	mov	%edi, (%edi)
	add	$4096, %edi
	loop	1b
	mov	$1, %ecx
	mov	$text_cold, %esi
	call	unpaged_stop_clock
	mov	$text_bad_cold, %esi
	call	unpaged_check

	mov	$-1, %ebx
	call	unpaged_start_clock
	mov	$AREA, %edi
	mov	%ebp, %ecx
1:	notl	(%edi)
	add	$4096, %edi
	loop	1b
	mov	$2, %ecx
	mov	$text_warm, %esi
	call	unpaged_stop_clock
	mov	$text_bad_warm, %esi
	call	unpaged_check

	mov	$text_pass, %esi
	call	unpaged_print
	xor	%eax, %eax
	jmp	unpaged_end
unpaged_fail:
	call	unpaged_print
	mov	$1, %eax
unpaged_end:
	out	%al, $EXIT
1:	cli
	hlt
	jmp	1b

/* (EDI: key) -> EAX: behind its first place in the command line ESI, or 0 */
unpaged_find:
	push	%esi
1:	mov	%esi, %eax
	mov	%edi, %edx
2:	mov	(%edx), %cl
	test	%cl, %cl
	jz	4f
	cmp	%cl, (%eax)
	jne	3f
	inc	%eax
	inc	%edx
	jmp	2b
3:	inc	%esi
	cmpb	$0, -1(%esi)
	jne	1b
	xor	%eax, %eax
4:	pop	%esi
	ret

unpaged_start_clock:
	rdtsc
	mov	%eax, clock_start
	mov	%edx, clock_start + 4
	ret

/* (ECX: metric id, ESI: its name, EBP: pages): prints the ticks per page since the clock was started */
unpaged_stop_clock:
	rdtsc
	sub	clock_start, %eax
	sbb	clock_start + 4, %edx
	cmp	%ebp, %edx
	jb	1f
	mov	$-1, %eax
	jmp	2f
1:	div	%ebp
2:	push	%eax
	mov	$METRIC_ID, %edx
	mov	%ecx, %eax
	out	%eax, %dx
	mov	$METRIC_VALUE, %edx
	mov	(%esp), %eax
	out	%eax, %dx
	call	unpaged_print
	pop	%eax
	jmp	unpaged_print_number

/* (ESI: what to say if not): every page must hold its address ^ EBX */
unpaged_check:
	mov	$AREA, %edi
	mov	%ebp, %ecx
1:	mov	(%edi), %eax
	xor	%ebx, %eax
	cmp	%edi, %eax
	jne	unpaged_fail
	add	$4096, %edi
	loop	1b
	ret

/* (EAX): in decimal, and a line end */
unpaged_print_number:
	mov	$digits_end, %esi
	mov	$10, %ecx
1:	xor	%edx, %edx
	div	%ecx
	add	$'0', %dl
	dec	%esi
	mov	%dl, (%esi)
	test	%eax, %eax
	jnz	1b

/* (ESI: string) */
unpaged_print:
	mov	(%esi), %ah
	inc	%esi
	test	%ah, %ah
	jz	3f
	mov	$CONSOLE_POLLS, %ecx
	mov	$CONSOLE + 5, %edx
1:	in	%dx, %al
	test	$0x20, %al
	loopz	1b
	mov	$CONSOLE, %edx
	mov	%ah, %al
	out	%al, %dx
	jmp	unpaged_print
3:	ret

	.section .rodata
text_empty:	.asciz	""
text_long:	.asciz	"paging=long"
text_pages:	.asciz	"pages="
text_hello:	.asciz	"touch: paging off, pages: "
text_cold:	.asciz	"cold ticks per page: "
text_warm:	.asciz	"warm ticks per page: "
text_no_room:	.asciz	"FAIL: pages= is 0 or larger than the memory\nSUMMARY: 1 tests, 1 unexpected failures\n"
text_bad_cold:	.asciz	"FAIL: contents after the first write\nSUMMARY: 1 tests, 1 unexpected failures\n"
text_bad_warm:	.ascii	"PASS: contents after the first write\nFAIL: contents after the second write\n"
		.asciz	"SUMMARY: 2 tests, 1 unexpected failures\n"
text_pass:	.ascii	"PASS: contents after the first write\nPASS: contents after the second write\n"
		.asciz	"SUMMARY: 2 tests, 0 unexpected failures\n"

	.data
clock_start:	.quad	0
digits:		.skip	10
digits_end:	.asciz	"\n"

	.text
	.code64
)");

/* ---- paging=long ---- */

/* Writes `flip` ^ its own address to each page's first word; returns ticks per page. */
static uint64_t touch(uint64_t pages, uint64_t flip)
{
	uint64_t start = rdtsc();

	for (uint64_t at = WINDOW; at < WINDOW + pages * PAGE; at += PAGE)
		*(volatile uint64_t *)at = at ^ flip;
	return (rdtsc() - start) / pages;
}

/* True if each page holds what touch() wrote, seen through another mapping. */
static bool check(uint64_t view, uint64_t pages, uint64_t flip)
{
	for (uint64_t at = 0; at < pages * PAGE; at += PAGE)
		if (*(volatile uint64_t *)(view + at) != ((WINDOW + at) ^ flip))
			deviation("page %lu", at / PAGE);
	return !deviations();
}

/* One round of the log; each page of the area must be in its set: asked for, one in 64. */
static void harvest(enum metric_id id, uint64_t area, uint64_t pages)
{
	uint64_t start = rdtsc();
	uint32_t reported = abi_command(ABI_LOG_HARVEST);

	metric(id, "ticks per page of a harvest", (rdtsc() - start) / pages);
	if (reported == ABI_REFUSED || reported < pages)
		deviation("%u pages reported", reported);
	for (uint64_t page = 0; page < pages; page += 64)
		if (abi_dirty((uint32_t)(area / PAGE + page)) != 1)
			deviation("page %lu is lost", page);
	report(!deviations(), "all pages are harvested");
}

static void logged(uint64_t area, uint64_t pages)
{
	uint64_t start = rdtsc();

	if (abi_command(ABI_LOG_START) == ABI_REFUSED) {
		skip("no dirty log here");
		return;
	}
	metric(METRIC_START, "ticks to start the log", rdtsc() - start);
	harvest(METRIC_FIRST, area, pages);
	metric(METRIC_LOGGED, "ticks per page written after it", touch(pages, 0));
	harvest(METRIC_SECOND, area, pages);
	abi_command(ABI_LOG_STOP);
}

void image_main(void)
{
	uint64_t pages = arg_range("pages", PAGES_DEFAULT, 1, PAGES_MAX);
	unsigned level = arg_is("leaf", "2m") ? 2 : 1;
	uint64_t size = level == 2 ? PAGE_2M : PAGE;
	uint64_t bytes = (pages * PAGE + size - 1) & ~(size - 1);
	bool high = arg_is("high", "1");
	uint64_t area = high ? HIGH_AREA : memory_reserve(bytes, size), view = high ? HIGH_VIEW : area;

	print("touch: paging long, pages: %lu, from %lu MiB\n", pages, area >> 20);
	if (high)
		paging_map(boot_root, view, area, bytes, level, PTE_P | PTE_W);
	paging_map(boot_root, WINDOW, area, bytes, level, PTE_P | PTE_W);
	metric(METRIC_COLD, "cold ticks per page", touch(pages, 0));
	report(check(view, pages, 0), "contents after the first write");
	metric(METRIC_WARM, "warm ticks per page", touch(pages, ~0UL));
	report(check(view, pages, ~0UL), "contents after the second write");
	if (arg_is("log", "1"))
		logged(area, pages);
}
