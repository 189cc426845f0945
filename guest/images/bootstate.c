/* SPDX-License-Identifier: MIT */
/* bootstate: the dirty log, and the rights of pages, in the states in which a processor starts: paging off with
 * CR0.WP = 0, the same with CR4.SMEP = 1 where there is SMEP, and 4-level paging with CR0.WP = 0.
 *
 *   rounds=16            rounds with paging on; with paging off they are 16
 *
 * A round writes every other page of an area and has the test device harvest. Every page written must be reported, and no
 * other. With paging on, the pages are read-only to the guest, which CR0.WP = 0 lets the supervisor pass over; and with
 * CR0.WP = 1 again each of those writes must fault.
 */
#include "guest/images/lib.h"

#define AREA 0x400000UL
#define PAGES 64u
#define WINDOW PAGE_1G

/* Of the part with paging off; written there. */
extern uint32_t unpaged_refused, unpaged_smep, unpaged_lost, unpaged_false;

__asm__(R"(
	.set	COMMAND, 0x5e0
	.set	DIRTY, 0x5ec
	.set	LOG_START, 1
	.set	LOG_HARVEST, 2
	.set	LOG_STOP, 3
	.set	AREA_PAGE, 0x400
	.set	AREA_PAGES, 64
	.set	ROUNDS, 16
	.set	WP, 0x10000
	.set	SMEP, 0x100000

	.text
	.code32
	.globl	unpaged
unpaged:
	push	%ebx
	mov	%cr0, %eax
	and	$~WP, %eax
	mov	%eax, %cr0
	mov	$LOG_START, %eax
	call	unpaged_command
	cmp	$-1, %eax
	je	2f
	call	unpaged_rounds
	xor	%eax, %eax
	cpuid
	cmp	$7, %eax
	jb	1f
	mov	$7, %eax
	xor	%ecx, %ecx
	cpuid
	test	$0x80, %ebx		/* SMEP */
	jz	1f
	incl	unpaged_smep
	mov	%cr4, %eax
	or	$SMEP, %eax
	mov	%eax, %cr4
	call	unpaged_rounds
	mov	%cr4, %eax
	and	$~SMEP, %eax
	mov	%eax, %cr4
1:	mov	$LOG_STOP, %eax
	call	unpaged_command
	pop	%ebx
	ret
2:	incl	unpaged_refused
	pop	%ebx
	ret

/* EAX: command -> EAX: its result */
unpaged_command:
	mov	$COMMAND, %edx
	out	%eax, %dx
	in	%dx, %eax
	ret

unpaged_rounds:
	mov	$ROUNDS, %esi
	mov	$LOG_HARVEST, %eax
	call	unpaged_command
1:	xor	%edi, %edi		/* the page; written if it is odd as ESI is */
2:	mov	%edi, %eax
	xor	%esi, %eax
	test	$1, %eax
	jnz	3f
	lea	AREA_PAGE(%edi), %eax
	shl	$12, %eax
	mov	%esi, (%eax)
3:	inc	%edi
	cmp	$AREA_PAGES, %edi
	jb	2b
	mov	$LOG_HARVEST, %eax
	call	unpaged_command
	xor	%edi, %edi
4:	lea	AREA_PAGE(%edi), %eax
	mov	$DIRTY, %edx
	out	%eax, %dx
	in	%dx, %eax
	mov	%edi, %ecx
	xor	%esi, %ecx
	test	$1, %ecx
	jnz	5f
	test	%eax, %eax
	jnz	6f
	incl	unpaged_lost
	jmp	6f
5:	add	%eax, unpaged_false
6:	inc	%edi
	cmp	$AREA_PAGES, %edi
	jb	4b
	dec	%esi
	jnz	1b
	ret

	.data
	.globl	unpaged_refused, unpaged_smep, unpaged_lost, unpaged_false
	.align	4
unpaged_refused: .long 0
unpaged_smep:	.long	0
unpaged_lost:	.long	0
unpaged_false:	.long	0
	.text
	.code64
)");

static uint64_t page_at(unsigned page) { return WINDOW + page * PAGE; }

/* Read-only pages, of the user's or the supervisor's, written with CR0.WP = 0, and harvested. */
static void with_paging(uint64_t area, uint64_t flags, const char *whose, uint64_t rounds)
{
	struct fault fault;

	paging_map(boot_root, WINDOW, area, PAGES * PAGE, 1, PTE_P | flags);
	paging_load(boot_root);
	cr0_set_wp(false);
	abi_command(ABI_LOG_START);
	abi_command(ABI_LOG_HARVEST);
	for (uint64_t round = 0; round < rounds; round++) {
		for (unsigned i = round % 2; i < PAGES; i += 2)
			*(volatile uint64_t *)page_at(i) = round + 1;
		if (abi_command(ABI_LOG_HARVEST) == ABI_REFUSED)
			deviation("round %lu: the harvest was refused", round);
		for (unsigned i = 0; i < PAGES; i++) {
			uint32_t reported = abi_dirty((uint32_t)(area / PAGE) + i);

			if (reported != (i % 2 == round % 2))
				deviation("round %lu, page %u: %u", round, i, reported);
		}
	}
	abi_command(ABI_LOG_STOP);
	cr0_set_wp(true);
	for (unsigned i = 0; i < PAGES; i++) {
		access_try(&fault, ACCESS_WRITE, page_at(i), 0);
		if (fault.vector != VECTOR_PF || fault.error != (PF_P | PF_W))
			deviation("page %u with CR0.WP = 1: %s %x", i, vector_name(fault.vector), fault.error);
	}
	report(!deviations(), "4-level paging, CR0.WP = 0: %lu rounds on the %s's read-only pages", rounds, whose);
}

void image_main(void)
{
	uint64_t rounds = arg_number("rounds", 16), area = memory_take(PAGES * PAGE, PAGE);

	print("bootstate\n");
	if (unpaged_refused) {
		skip("no test device");
		return;
	}
	report(!unpaged_lost && !unpaged_false, "paging off, CR0.WP = 0%s: %u writes lost, %u false reports",
		unpaged_smep ? ", also with SMEP" : "", unpaged_lost, unpaged_false);
	with_paging(area, 0, "supervisor", rounds);
	with_paging(area, PTE_U, "user", rounds);
}
