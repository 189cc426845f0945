/* SPDX-License-Identifier: MIT */
/* The list of processors from built tables, and from damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "hv/acpi.h"

#define MEMORY_BYTES 0x100000
#define EBDA_AT 0x9fc00
#define RSDP_AT 0xf0040
#define RSDT_AT 0x1000
#define XSDT_AT 0x2000
#define MADT_AT 0x3000
#define OTHER_AT 0x8000
#define HEADER 36
#define MADT_HEADER 44

static uint8_t *memory;
static struct acpi acpi;
static struct bootinfo info;

static void put(uint32_t at, uint64_t v, unsigned bytes)
{
	memcpy(memory + at, &v, bytes);
}

static void sum(uint32_t at, uint32_t bytes, uint32_t where)
{
	uint8_t s = 0;
	memory[at + where] = 0;
	for (uint32_t i = 0; i < bytes; i++)
		s += memory[at + i];
	memory[at + where] = (uint8_t)-s;
}

static void table_end(uint32_t at, const char *signature, uint32_t bytes)
{
	memcpy(memory + at, signature, 4);
	put(at + 4, bytes, 4);
	sum(at, bytes, 9);
}

static void rsdp_build(uint32_t at, bool version2)
{
	memcpy(memory + at, "RSD PTR ", 8);
	put(at + 15, version2 ? 2 : 0, 1);
	put(at + 16, RSDT_AT, 4);
	put(at + 20, 36, 4);
	put(at + 24, XSDT_AT, 8);
	sum(at, 20, 8);
	sum(at, 36, 32);
}

static uint32_t local_apic(uint32_t at, uint8_t id, uint32_t flags)
{
	const uint8_t e[8] = {0, 8, id, id, (uint8_t)flags};
	memcpy(memory + MADT_AT + at, e, 8);
	return at + 8;
}

static uint32_t local_x2apic(uint32_t at, uint32_t id)
{
	const uint8_t e[16] = {9, 16};
	memcpy(memory + MADT_AT + at, e, 16);
	put(MADT_AT + at + 4, id, 4);
	put(MADT_AT + at + 8, 1, 4);
	return at + 16;
}

/* A machine of two processors, one disabled one, one x2APIC one and an I/O APIC. */
static int build(void **state)
{
	(void)state;
	memory = calloc(1, MEMORY_BYTES);
	memset(&info, 0, sizeof(info));
	put(0x40e, EBDA_AT >> 4, 2);
	rsdp_build(RSDP_AT, true);
	put(RSDT_AT + HEADER, OTHER_AT, 4);
	put(RSDT_AT + HEADER + 4, MADT_AT, 4);
	table_end(RSDT_AT, "RSDT", HEADER + 8);
	put(XSDT_AT + HEADER, OTHER_AT, 8);
	put(XSDT_AT + HEADER + 8, MADT_AT, 8);
	table_end(XSDT_AT, "XSDT", HEADER + 16);
	table_end(OTHER_AT, "FACP", HEADER);
	uint32_t at = local_apic(MADT_HEADER, 0, 1);
	at = local_apic(at, 1, 1);
	at = local_apic(at, 2, 0);
	memory[MADT_AT + at] = 1;
	memory[MADT_AT + at + 1] = 12;
	at = local_x2apic(at + 12, 0x12345);
	table_end(MADT_AT, "APIC", at);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(memory);
	return 0;
}

static const char *parse(void)
{
	memset(&acpi, 0xa5, sizeof(acpi));
	const char *error = acpi_parse(&acpi, (struct window){memory, 0, MEMORY_BYTES}, &info);
	assert_true(acpi.cpus <= ACPI_MAX_CPUS);
	return error;
}

static void expect_good(void)
{
	assert_null(parse());
	assert_int_equal(acpi.cpus, 3);
	assert_int_equal(acpi.apic_id[1], 1);
	assert_int_equal(acpi.apic_id[2], 0x12345);
	assert_int_equal(acpi.disabled, 1);
	assert_int_equal(acpi.beyond, 0);
}

static void found_in_the_bios_area(void **state)
{
	(void)state;
	expect_good();
}

static void found_in_the_ebda(void **state)
{
	(void)state;
	memset(memory + RSDP_AT, 0, 36);
	assert_non_null(parse());
	rsdp_build(EBDA_AT + 0x20, false);
	expect_good();
}

static void given_by_the_loader(void **state)
{
	(void)state;
	memcpy(info.rsdp, memory + RSDP_AT, 36);
	memset(memory + RSDP_AT, 0, 36);
	info.rsdp_bytes = 36;
	expect_good();
	info.rsdp_bytes = 20;
	expect_good();
	info.rsdp_bytes = 0;
	rsdp_build(0x5000, true);
	info.rsdp_address = 0x5000;
	expect_good();
	info.rsdp_address = MEMORY_BYTES - 8;
	assert_non_null(parse());
}

static void rsdt_serves_when_the_xsdt_is_damaged(void **state)
{
	(void)state;
	memory[XSDT_AT + 20] ^= 1;
	expect_good();
	memory[RSDT_AT + 20] ^= 1;
	assert_non_null(parse());
	assert_int_equal(acpi.cpus, 0);
}

static void every_checksum_counts(void **state)
{
	(void)state;
	memory[MADT_AT + 40] ^= 1;
	assert_non_null(parse());
	memory[MADT_AT + 40] ^= 1;
	expect_good();
	memory[RSDP_AT + 10] ^= 1;
	assert_non_null(parse());
}

static void every_byte_may_be_wrong(void **state)
{
	(void)state;
	const uint8_t wrong[] = {0, 1, 7, 0x7f, 0x80, 0xff};
	const struct { uint32_t at, bytes, checksum; } table[] = {
		{RSDP_AT, 20, 8}, {RSDT_AT, HEADER + 8, 9}, {XSDT_AT, HEADER + 16, 9}, {MADT_AT, 96, 9},
	};
	for (unsigned t = 0; t < 4; t++) {
		for (uint32_t i = 0; i < table[t].bytes; i++) {
			uint8_t right = memory[table[t].at + i], right_sum = memory[table[t].at + table[t].checksum];
			for (unsigned k = 0; k < sizeof(wrong); k++) {
				memory[table[t].at + i] = wrong[k];
				parse();
				sum(table[t].at, table[t].bytes, table[t].checksum);
				parse(); /* damage that a right checksum hides */
			}
			memory[table[t].at + i] = right;
			memory[table[t].at + table[t].checksum] = right_sum;
		}
	}
	expect_good();
}

static void tables_at_the_end_of_memory(void **state)
{
	(void)state;
	for (uint32_t back = 1; back < 64; back++) {
		put(XSDT_AT + HEADER + 8, MEMORY_BYTES - back, 8);
		table_end(XSDT_AT, "XSDT", HEADER + 16);
		put(RSDT_AT + HEADER + 4, MEMORY_BYTES - back, 4);
		table_end(RSDT_AT, "RSDT", HEADER + 8);
		memcpy(memory + MEMORY_BYTES - back, "APIC\xff\xff\xff\xff", back < 8 ? back : 8);
		assert_non_null(parse());
	}
}

static void a_zero_length_entry_ends(void **state)
{
	(void)state;
	memory[MADT_AT + MADT_HEADER + 1] = 0;
	table_end(MADT_AT, "APIC", 96);
	assert_non_null(parse());
	memory[MADT_AT + MADT_HEADER + 1] = 255;
	table_end(MADT_AT, "APIC", 96);
	assert_non_null(parse());
	table_end(MADT_AT, "APIC", MADT_HEADER);
	assert_non_null(parse());
}

static void more_processors_than_room(void **state)
{
	(void)state;
	uint32_t at = MADT_HEADER;
	for (uint32_t i = 0; i < ACPI_MAX_CPUS + 10; i++)
		at = local_x2apic(at, 1000 + i);
	at = local_x2apic(at, 1000); /* one listed twice counts once */
	table_end(MADT_AT, "APIC", at);
	assert_null(parse());
	assert_int_equal(acpi.cpus, ACPI_MAX_CPUS);
	assert_int_equal(acpi.beyond, 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, build, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(found_in_the_bios_area),
		TEST(found_in_the_ebda),
		TEST(given_by_the_loader),
		TEST(rsdt_serves_when_the_xsdt_is_damaged),
		TEST(every_checksum_counts),
		TEST(every_byte_may_be_wrong),
		TEST(tables_at_the_end_of_memory),
		TEST(a_zero_length_entry_ends),
		TEST(more_processors_than_room),
	};
	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
