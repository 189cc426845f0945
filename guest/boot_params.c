/* SPDX-License-Identifier: MIT */
#include "guest/boot_params.h"
#include "guest/acpi_tables.h"
#include "guest/ram.h"
#include "guest/text.h"
#include "mm/gpte.h"

/* In boot_params. All that is not written stays zero: no screen, no disks, no EFI. */
#define ACPI_RSDP_ADDR 0x070
#define E820_ENTRIES 0x1e8
#define E820_TABLE 0x2d0
#define BOOT_PARAMS_BYTES 4096

#define PLACE 0x10000UL /* above what firmware would keep, below what a kernel loads itself over */
#define RESERVED_IOAPIC 0xfec00000UL
#define RESERVED_LAPIC 0xfee00000UL

#define GIB_MAPPED 4
#define GPTES 512
#define LARGE_SHIFT 21
#define GPTES_AT_ONCE 64

/* Descriptors at 0x10 and 0x18 (__BOOT_CS, __BOOT_DS): flat, ring 0, accessed. */
#define GDT_CODE32 0x00cf9b000000ffffUL
#define GDT_CODE64 0x00af9b000000ffffUL
#define GDT_DATA 0x00cf93000000ffffUL

unsigned e820_build(uint64_t mem, struct e820_entry map[E820_MAX])
{
	uint64_t high = ram_high_end(mem);
	unsigned n = 0;

	map[n++] = (struct e820_entry){0, ACPI_TABLES_START, E820_RAM};
	map[n++] = (struct e820_entry){ACPI_TABLES_START, RAM_LOW_END - ACPI_TABLES_START, E820_NVS};
	map[n++] = (struct e820_entry){RAM_LOW_END, RAM_MIDDLE - RAM_LOW_END, E820_RESERVED};
	map[n++] = (struct e820_entry){RAM_MIDDLE, ram_middle_end(mem) - RAM_MIDDLE, E820_RAM};
	map[n++] = (struct e820_entry){RESERVED_IOAPIC, PAGE_SIZE, E820_RESERVED};
	map[n++] = (struct e820_entry){RESERVED_LAPIC, PAGE_SIZE, E820_RESERVED};
	if (high > RAM_HIGH)
		map[n++] = (struct e820_entry){RAM_HIGH, high - RAM_HIGH, E820_RAM};
	return n;
}

static bool put(const struct image_memory *m, uint64_t at, const void *from, uint64_t bytes)
{
	return m->write(m->to, gpa(at), from, bytes);
}

/* A level-4 table at `at`, a level-3 table behind it, then the level-2 tables, of 2 MiB pages: not every CPU has larger
 * ones. */
static bool put_page_tables(const struct image_memory *m, uint64_t at)
{
	uint64_t level3 = at + PAGE_SIZE, level2 = level3 + PAGE_SIZE, to = level3 | GPTE_P | GPTE_W;
	uint64_t gpte[GPTES_AT_ONCE];
	bool good = put(m, at, &to, sizeof to);

	for (unsigned i = 0; i < GIB_MAPPED; i++)
		gpte[i] = (level2 + i * PAGE_SIZE) | GPTE_P | GPTE_W;
	good = good && put(m, level3, gpte, GIB_MAPPED * sizeof *gpte);
	for (uint64_t n = 0; n < GIB_MAPPED * GPTES; n += GPTES_AT_ONCE) {
		for (unsigned i = 0; i < GPTES_AT_ONCE; i++)
			gpte[i] = (n + i) << LARGE_SHIFT | GPTE_PS | GPTE_P | GPTE_W;
		good = good && put(m, level2 + n * sizeof *gpte, gpte, sizeof gpte);
	}
	return good;
}

static bool put_boot_params(const struct image_memory *m, uint64_t mem, uint64_t at, const struct setup_header *h)
{
	struct e820_entry map[E820_MAX];
	uint8_t entries = (uint8_t)e820_build(mem, map);
	uint64_t rsdp = ACPI_TABLES_RSDP;

	return put(m, at + ACPI_RSDP_ADDR, &rsdp, sizeof rsdp) && put(m, at + E820_ENTRIES, &entries, sizeof entries) &&
		put(m, at + SETUP_HEADER_OFFSET, h, sizeof *h) && put(m, at + E820_TABLE, map, entries * sizeof *map);
}

bool boot_params_write(struct layout *l, const struct image_memory *memory, struct setup_header *h,
	const char *command_line, bool code64, struct boot_params_places *p)
{
	const uint64_t gdt[] = {0, 0, code64 ? GDT_CODE64 : GDT_CODE32, GDT_DATA};
	uint64_t string = text_length(command_line) + 1, tables = 0, at, boot_params, line;

	if (code64 && !layout_place(l, PLACE, (2 + GIB_MAPPED) * PAGE_SIZE, PAGE_SIZE, &tables))
		return false;
	if (!layout_place(l, PLACE, BOOT_PARAMS_BYTES, PAGE_SIZE, &boot_params) ||
		!layout_place(l, PLACE, sizeof gdt, sizeof *gdt, &at) || !layout_place(l, PLACE, string, 1, &line))
		return false;
	h->cmd_line_ptr = (uint32_t)line;
	*p = (struct boot_params_places){(uint32_t)boot_params, (uint32_t)at, sizeof gdt - 1, (uint32_t)tables};
	return (!code64 || put_page_tables(memory, tables)) && put_boot_params(memory, l->mem, boot_params, h) &&
		put(memory, at, gdt, sizeof gdt) && put(memory, line, command_line, string);
}
