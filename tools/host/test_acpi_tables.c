/* SPDX-License-Identifier: MIT */
/* guest/acpi_tables.c and acpi_dsdt.c: found as kernels find them, sums, addresses, what the MADT lists; and ACPICA's iasl takes
 * every table apart and makes the DSDT again, without a complaint. */
#define _GNU_SOURCE /* strcasestr */
#include "tools/host/loader_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/acpi_tables.h"

#define IASL "iasl" /* Debian: acpica-tools */

static uint16_t get16(uint64_t at)
{
	return (uint16_t)(ram[at] | ram[at + 1] << 8);
}

static uint8_t sum(uint64_t at, uint64_t bytes)
{
	uint8_t s = 0;

	for (uint64_t i = 0; i < bytes; i++)
		s = (uint8_t)(s + ram[at + i]);
	return s;
}

static void write_tables(unsigned vcpus)
{
	memset(ram, 0, sizeof ram);
	assert_true(acpi_tables_write(&memory, vcpus));
}

/* As the BIOS way goes: the extended data area's first KiB. */
static uint32_t find_rsdp(void)
{
	uint32_t area = (uint32_t)get16(0x40e) << 4;

	for (uint32_t at = area; at < area + 1024; at += 16)
		if (!memcmp(ram + at, "RSD PTR ", 8))
			return at;
	fail_msg("no RSDP in 1 KiB from 0x%x", area);
	return 0;
}

static uint32_t table(const char *signature)
{
	uint32_t xsdt = get32(find_rsdp() + 24);

	for (uint32_t at = xsdt + 36; at < xsdt + get32(xsdt + 4); at += 8) {
		assert_int_equal(get32(at + 4), 0);
		if (!memcmp(ram + get32(at), signature, 4))
			return get32(at);
	}
	fail_msg("XSDT has no %s", signature);
	return 0;
}

static void good_table(uint32_t at, const char *signature)
{
	assert_memory_equal(ram + at, signature, 4);
	assert_true(at >= ACPI_TABLES_START && at + get32(at + 4) <= RAM_LOW_END);
	assert_int_equal(sum(at, get32(at + 4)), 0);
}

static void every_table_is_found_and_sums_up(void **state)
{
	(void)state;
	for (unsigned vcpus = 1; vcpus <= 8; vcpus++) {
		uint32_t rsdp, rsdt, fadt;

		write_tables(vcpus);
		rsdp = find_rsdp();
		assert_int_equal(rsdp, ACPI_TABLES_RSDP);
		assert_int_equal(sum(rsdp, 20), 0);
		assert_int_equal(sum(rsdp, 36), 0);
		assert_int_equal(ram[rsdp + 15], 2);
		rsdt = get32(rsdp + 16);
		good_table(rsdt, "RSDT");
		good_table(get32(rsdp + 24), "XSDT");
		fadt = table("FACP");
		good_table(fadt, "FACP");
		good_table(table("APIC"), "APIC");
		assert_int_equal(get32(rsdt + 36), fadt);
		assert_int_equal(get32(rsdt + 40), table("APIC"));
		good_table(get32(fadt + 40), "DSDT");
		assert_int_equal(get32(fadt + 140), get32(fadt + 40));
		assert_memory_equal(ram + get32(fadt + 36), "FACS", 4);
		assert_int_equal(get32(fadt + 36) % 64, 0);
	}
	assert_int_equal(get16(0x413), ACPI_TABLES_START >> 10);
	assert_int_equal(ram[ACPI_TABLES_START], 8);
}

static void the_fadt(void **state)
{
	uint32_t fadt;

	(void)state;
	write_tables(1);
	fadt = table("FACP");
	assert_int_equal(get16(fadt + 46), 9);
	assert_int_equal(get32(fadt + 48), 0); /* no SMI: always in ACPI mode */
	assert_int_equal(get32(fadt + 56), 0x600);
	assert_int_equal(get32(fadt + 64), 0x604);
	assert_int_equal(get32(fadt + 76), 0x608);
	assert_int_equal(ram[fadt + 88], 4);
	assert_int_equal(ram[fadt + 89], 2);
	assert_int_equal(ram[fadt + 91], 4);
	assert_int_equal(ram[fadt + 108], 0x32);
	assert_int_equal(get16(fadt + 109) & 0x27, 0x5); /* legacy devices, no 8042, no VGA, an RTC */
	assert_int_equal(get32(fadt + 112) & 0x100500, 0x500); /* 32-bit timer, reset register, full hardware */
	assert_int_equal(ram[fadt + 116], 1);
	assert_int_equal(get32(fadt + 120), 0xcf9);
	assert_int_equal(ram[fadt + 128], 6);
}

static void the_madt_lists_each_vcpu_once(void **state)
{
	(void)state;
	for (unsigned vcpus = 1; vcpus <= 8; vcpus++) {
		uint32_t madt, seen = 0, others = 0;

		write_tables(vcpus);
		madt = table("APIC");
		assert_int_equal(get32(madt + 36), 0xfee00000);
		assert_int_equal(get32(madt + 40), 1);
		for (uint32_t at = madt + 44; at < madt + get32(madt + 4); at += ram[at + 1]) {
			assert_true(ram[at + 1] >= 6);
			if (ram[at] == 0) {
				assert_int_equal(ram[at + 2], ram[at + 3]);
				assert_int_equal(get32(at + 4), 1);
				assert_int_equal(seen & 1u << ram[at + 3], 0);
				seen |= 1u << ram[at + 3];
			} else if (ram[at] == 1) {
				assert_true(ram[at + 2] >= 8);
				assert_int_equal(get32(at + 4), 0xfec00000);
				assert_int_equal(get32(at + 8), 0);
				others |= 1;
			} else if (ram[at] == 2 && ram[at + 3] == 0) {
				assert_int_equal(get32(at + 4), 2);
				assert_int_equal(get16(at + 8), 0);
				others |= 2;
			} else if (ram[at] == 2) {
				assert_int_equal(ram[at + 3], 9);
				assert_int_equal(get32(at + 4), 9);
				assert_int_equal(get16(at + 8), 0xd);
				others |= 4;
			} else {
				assert_int_equal(ram[at], 4);
				assert_int_equal(ram[at + 2], 0xff);
				assert_int_equal(ram[at + 5], 1);
				others |= 8;
			}
		}
		assert_int_equal(seen, (1u << vcpus) - 1);
		assert_int_equal(others, 15);
	}
}

static void memory_that_is_no_ram(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= 10; n++) {
		write_limit = n;
		writes = 0;
		assert_int_equal(acpi_tables_write(&memory, 2), n == 10);
	}
	write_limit = ~0UL;
}

/* Runs a command in the directory; its output must hold what is expected. */
static void iasl(const char *directory, const char *command, const char *expected)
{
	char line[400], output[8192];
	size_t n;
	FILE *f;

	snprintf(line, sizeof line, "cd %s && " IASL " %s 2>&1", directory, command);
	f = popen(line, "r");
	assert_non_null(f);
	n = fread(output, 1, sizeof output - 1, f);
	output[n] = 0;
	if (pclose(f) || !strstr(output, expected) || strcasestr(output, "incorrect") || strcasestr(output, "invalid"))
		fail_msg(IASL " %s: %s", command, output);
}

static void dump(const char *directory, const char *name, uint32_t at)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s.dat", directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(ram + at, 1, get32(at + 4), f), get32(at + 4));
	fclose(f);
}

/* What the DSDT says, as source. */
static void source_tells(const char *directory, unsigned vcpus)
{
	static const char *const words[] = {"Name (\\_S5, Package (0x04)", "EisaId (\"PNP0A03\")", "EisaId (\"PNP0501\")", "0x03F8,             // Range Minimum",
		"{4}", "EisaId (\"PNP0B00\")", "0x0070,             // Range Minimum", "{8}"};
	char path[300], text[16384];
	unsigned processors = 0, resources = 0;
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/dsdt.dsl", directory);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = 0;
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (!strstr(text, words[i]))
			fail_msg("the DSDT lacks '%s'", words[i]);
	for (const char *at = text; (at = strstr(at, "ACPI0007")); at++)
		processors++;
	for (const char *at = text; (at = strstr(at, "ResourceTemplate ()")); at++)
		resources++;
	assert_int_equal(processors, vcpus);
	assert_int_equal(resources, 3);
}

static void iasl_understands_every_table(void **state)
{
	static const unsigned counts[] = {1, 2, 8};
	char directory[] = "/tmp/acpi-XXXXXX", line[100];

	(void)state;
	if (system("command -v " IASL " >/dev/null"))
		fail_msg("there is no " IASL " here: apt-get install acpica-tools (tools/deps does)");
	assert_non_null(mkdtemp(directory));
	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		uint32_t fadt, rsdp;

		write_tables(counts[i]);
		rsdp = find_rsdp();
		fadt = table("FACP");
		dump(directory, "facp", fadt);
		dump(directory, "apic", table("APIC"));
		dump(directory, "facs", get32(fadt + 36));
		dump(directory, "rsdt", get32(rsdp + 16));
		dump(directory, "xsdt", get32(rsdp + 24));
		dump(directory, "dsdt", get32(fadt + 40));
		iasl(directory, "-d facp.dat apic.dat facs.dat rsdt.dat xsdt.dat", "Formatted output");
		iasl(directory, "-d dsdt.dat", "Disassembly completed");
		source_tells(directory, counts[i]);
		iasl(directory, "-p again dsdt.dsl", "0 Errors, 0 Warnings, 0 Remarks");
	}
	snprintf(line, sizeof line, "rm -r %s", directory);
	assert_int_equal(system(line), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_is_found_and_sums_up),
		cmocka_unit_test(the_fadt),
		cmocka_unit_test(the_madt_lists_each_vcpu_once),
		cmocka_unit_test(memory_that_is_no_ram),
		cmocka_unit_test(iasl_understands_every_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
