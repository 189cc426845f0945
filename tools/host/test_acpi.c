/* SPDX-License-Identifier: MIT */
/* The list of processors and the way to switch off, from built tables and from damaged ones. */
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
#define FADT_AT OTHER_AT
#define FADT_BYTES 244
#define DSDT_AT 0x9000
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

/* ---- switching off ---- */

static struct acpi_power power;

static void dsdt_build(const uint8_t *aml, uint32_t bytes)
{
	memset(memory + DSDT_AT, 0, HEADER + bytes);
	memcpy(memory + DSDT_AT + HEADER, aml, bytes);
	table_end(DSDT_AT, "DSDT", HEADER + bytes);
}

/* As QEMU's machine pc has it; SLP_TYP 5 and 3 in place of 0. */
static const uint8_t aml_s5[] = {0x08, '_', 'S', '4', '_', 0x12, 0x02, 0x01, 0x00,
	0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0b, 0x03, 0x00, 0x00, 0x00};

static void fadt_build(void)
{
	memset(memory + FADT_AT, 0, FADT_BYTES);
	memcpy(memory + FADT_AT + 10, "BOCHS ", 6);
	put(FADT_AT + 40, DSDT_AT, 4);
	put(FADT_AT + 48, 0xb2, 4);
	put(FADT_AT + 52, 0xf1, 1);
	put(FADT_AT + 64, 0x604, 4);
	put(FADT_AT + 112, 1 << 10, 4);
	put(FADT_AT + 116, 1, 1);
	put(FADT_AT + 120, 0xcf9, 8);
	put(FADT_AT + 128, 6, 1);
	table_end(FADT_AT, "FACP", FADT_BYTES);
	dsdt_build(aml_s5, sizeof(aml_s5));
}

static void power_parse(void)
{
	memset(&power, 0xa5, sizeof(power));
	acpi_power_parse(&power, (struct window){memory, 0, MEMORY_BYTES}, &info);
}

static void power_is_read(void **state)
{
	(void)state;
	fadt_build();
	power_parse();
	assert_true(power.off && power.emulator);
	assert_int_equal(power.pm1a, 0x604);
	assert_int_equal(power.pm1b, 0);
	assert_int_equal(power.type_a, 5);
	assert_int_equal(power.type_b, 3);
	assert_int_equal(power.smi, 0xb2);
	assert_int_equal(power.enable, 0xf1);
	assert_int_equal(power.reset, 0xcf9);
	assert_int_equal(power.reset_value, 6);

	memcpy(memory + FADT_AT + 10, "OTHER ", 6);
	put(FADT_AT + 112, 0, 4);
	put(FADT_AT + 40, 0, 4);
	put(FADT_AT + 140, DSDT_AT, 8);
	put(FADT_AT + 172, 1, 1);
	put(FADT_AT + 176, 0x1804, 8);
	put(FADT_AT + 184, 1, 1);
	put(FADT_AT + 188, 0x1904, 8);
	table_end(FADT_AT, "FACP", FADT_BYTES);
	power_parse();
	assert_true(power.off && !power.emulator);
	assert_int_equal(power.pm1a, 0x1804);
	assert_int_equal(power.pm1b, 0x1904);
	assert_int_equal(power.reset, 0);

	put(FADT_AT + 172, 0, 1); /* the register is in memory */
	table_end(FADT_AT, "FACP", FADT_BYTES);
	power_parse();
	assert_false(power.off);

	fadt_build();
	table_end(FADT_AT, "FACP", 116); /* of ACPI 1.0 */
	power_parse();
	assert_true(power.off);
	assert_int_equal(power.reset, 0);
}

static void other_packages_are_no_way_off(void **state)
{
	(void)state;
	fadt_build();
	const uint8_t rooted[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 0x46, 0x00, 0x02, 0x01, 0x00};
	dsdt_build(rooted, sizeof(rooted));
	power_parse();
	assert_true(power.off && power.type_a == 1 && power.type_b == 0);

	const uint8_t not_good[][12] = {
		{0x14, '_', 'S', '5', '_', 0x12, 0x06, 0x02, 0x00, 0x00},		/* not a name */
		{0x08, '_', 'S', '5', '_', 0x11, 0x06, 0x02, 0x00, 0x00},		/* not a package */
		{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x01, 0x00, 0x00},		/* one element */
		{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x02, 0x0a, 0x08, 0x00},		/* 3 bits hold no 8 */
		{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x02, 'A', 'B', 'C', 'D'},	/* a reference */
	};
	for (unsigned i = 0; i < sizeof(not_good) / sizeof(not_good[0]); i++) {
		dsdt_build(not_good[i], sizeof(not_good[i]));
		power_parse();
		assert_false(power.off);
	}
}

static void damaged_power_tables_do_no_harm(void **state)
{
	(void)state;
	const uint8_t wrong[] = {0, 1, 7, 0x40, 0x7f, 0x80, 0xff};
	fadt_build();
	for (uint32_t i = 0; i < FADT_BYTES; i++) {
		uint8_t right = memory[FADT_AT + i];
		for (unsigned k = 0; k < sizeof(wrong); k++) {
			memory[FADT_AT + i] = wrong[k];
			sum(FADT_AT, FADT_BYTES, 9);
			power_parse();
		}
		memory[FADT_AT + i] = right;
	}
	fadt_build();
	for (uint32_t i = 0; i < sizeof(aml_s5); i++) {
		dsdt_build(aml_s5, i); /* cut short */
		power_parse();
		assert_true(!power.off || i >= 22);
	}
	/* A table at the very end of memory, cut at each byte. */
	for (uint32_t bytes = HEADER; bytes <= HEADER + sizeof(aml_s5); bytes++) {
		uint32_t at = MEMORY_BYTES - bytes;
		memcpy(memory + at + HEADER, aml_s5, bytes - HEADER);
		table_end(at, "DSDT", bytes);
		put(FADT_AT + 40, at, 4);
		table_end(FADT_AT, "FACP", FADT_BYTES);
		power_parse();
		assert_true(!power.off || bytes >= HEADER + 22);
	}
	assert_true(power.off);
	memory[FADT_AT + 20] ^= 1;
	power_parse();
	assert_false(power.off || power.pm1a || power.emulator);
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
		TEST(power_is_read),
		TEST(other_packages_are_no_way_off),
		TEST(damaged_power_tables_do_no_harm),
	};
	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
