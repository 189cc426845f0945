/* SPDX-License-Identifier: MIT */
#include "boot/bootinfo.h"
#include "hv/memory.h"
#include "hv/paging.h"
#include "hv/x86.h"
#include "mm/host.h"

#define PTE_PRESENT (1ull << 0)
#define PTE_WRITE (1ull << 1)
#define PTE_WRITE_THROUGH (1ull << 3)
#define PTE_NO_CACHE (1ull << 4)
#define PTE_LARGE (1ull << 7)
#define PTE_NX (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull

#define SMALL_PAGE 4096ull
#define LARGE_PAGE (2ull << 20)
#define PDPT_SPAN (1ull << 30)
#define PML4_SPAN (1ull << 39)
#define ENTRIES BOOT_PAGE_ENTRIES
#define FOUR_GIB (1ull << 32)
/* Below 4 GiB, from here on, are the APICs, the flash and other devices. */
#define DEVICE_SPACE 0xfec00000ull
/* The part that is mapped by 4 KiB pages: linker.ld asserts that the image ends below. */
#define FINE_END (32ull << 20)

extern const char image_start[], text_end[], rodata_end[], image_end[];

static uint64_t fine_tables[FINE_END / LARGE_PAGE][ENTRIES] __attribute__((aligned(4096)));

static uint64_t fine_rights(uint64_t address)
{
	if (address < SMALL_PAGE)
		return 0;
	if (address < (uint64_t)image_start || address >= (uint64_t)rodata_end)
		return PTE_PRESENT | PTE_WRITE | PTE_NX;
	return address < (uint64_t)text_end ? PTE_PRESENT : PTE_PRESENT | PTE_NX;
}

static void map_image(void)
{
	for (uint64_t a = 0; a < FINE_END; a += SMALL_PAGE) {
		uint64_t rights = fine_rights(a);
		fine_tables[a / LARGE_PAGE][a % LARGE_PAGE / SMALL_PAGE] = rights ? a | rights : 0;
	}
	for (unsigned i = 0; i < FINE_END / LARGE_PAGE; i++)
		boot_pd[i] = (uint64_t)fine_tables[i] | PTE_PRESENT | PTE_WRITE;
}

static void map_low(void)
{
	for (uint64_t a = FINE_END; a < FOUR_GIB; a += LARGE_PAGE) {
		uint64_t cache = a >= DEVICE_SPACE ? PTE_NO_CACHE | PTE_WRITE_THROUGH : 0;
		boot_pd[a / LARGE_PAGE] = a | PTE_PRESENT | PTE_WRITE | PTE_LARGE | PTE_NX | cache;
	}
}

/* The table that *entry points to, made when there is none; NULL when memory is out. */
static uint64_t *next_table(uint64_t *entry)
{
	if (!(*entry & PTE_PRESENT)) {
		void *page = memory_early(SMALL_PAGE);
		if (!page)
			return NULL;
		*entry = (uint64_t)page | PTE_PRESENT | PTE_WRITE;
	}
	return (uint64_t *)(*entry & PTE_ADDRESS);
}

static bool map_high(struct range r, uint64_t cache)
{
	uint64_t start = (r.start < FOUR_GIB ? FOUR_GIB : r.start) & ~(LARGE_PAGE - 1);
	uint64_t end = r.end < PAGING_LIMIT ? r.end : PAGING_LIMIT;
	for (uint64_t a = start; a < end; a += LARGE_PAGE) {
		uint64_t *pdpt = next_table(&boot_pml4[a / PML4_SPAN]);
		uint64_t *pd = pdpt ? next_table(&pdpt[a % PML4_SPAN / PDPT_SPAN]) : NULL;
		if (!pd)
			return false;
		pd[a % PDPT_SPAN / LARGE_PAGE] = a | PTE_PRESENT | PTE_WRITE | PTE_LARGE | PTE_NX | cache;
	}
	return true;
}

const char *paging_init(const struct bootinfo *info)
{
	map_image();
	map_low();
	for (unsigned i = 0; i < info->maps; i++) {
		const struct bootinfo_map *m = &info->map[i];
		bool wanted = m->type == MEMORY_RAM || m->type == MEMORY_ACPI || m->type == MEMORY_ACPI_NVS;
		if (wanted && m->range.end > FOUR_GIB && !map_high(m->range, 0))
			return "no memory below 4 GiB for the page tables of the memory above";
	}
	/* PCD alone: the firmware's MTRRs may make it write-combining, which they could not with PWT (SDM 3A 11.5.2). */
	const struct bootinfo_frame *f = &info->frame;
	struct range frame = {f->address, f->address + (uint64_t)f->line_bytes * f->height};
	if (frame.end > FOUR_GIB && frame.end <= PAGING_LIMIT && !map_high(frame, PTE_NO_CACHE))
		return "no memory below 4 GiB for the page tables of the screen";
	write_cr3(read_cr3());
	CHECK(paging_guard((uint64_t)boot_stack_guard)); /* lies in the image: takes no memory */
	return NULL;
}

bool paging_guard(uint64_t address)
{
	uint64_t *entry = &boot_pd[address / LARGE_PAGE];
	if (*entry & PTE_LARGE) {
		uint64_t rights = *entry & ~(PTE_ADDRESS | PTE_LARGE);
		uint64_t *table = memory_early(SMALL_PAGE);
		if (!table)
			return false;
		for (unsigned i = 0; i < ENTRIES; i++)
			table[i] = (address & ~(LARGE_PAGE - 1)) | i * SMALL_PAGE | rights;
		*entry = (uint64_t)table | PTE_PRESENT | PTE_WRITE;
	}
	uint64_t *table = (uint64_t *)(*entry & PTE_ADDRESS);
	table[address % LARGE_PAGE / SMALL_PAGE] = 0;
	write_cr3(read_cr3());
	return true;
}
