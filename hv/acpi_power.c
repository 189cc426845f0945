/* SPDX-License-Identifier: MIT */
#include "hv/acpi.h"

/* The FADT's fields. */
#define FADT_DSDT 40
#define FADT_SMI_COMMAND 48
#define FADT_ACPI_ENABLE 52
#define FADT_PM1A_CONTROL 64
#define FADT_PM1B_CONTROL 68
#define FADT_FLAGS 112
#define FADT_RESET 116
#define FADT_RESET_VALUE 128
#define FADT_X_DSDT 140
#define FADT_X_PM1A_CONTROL 172
#define FADT_X_PM1B_CONTROL 184
#define FADT_FLAG_RESET (1u << 10)
/* A generic address: its space, and its address 4 bytes on. */
#define ADDRESS_SPACE_PORT 1
#define ADDRESS_VALUE 4

#define TABLE_HEADER 36
#define TABLE_OEM 10
#define OEM_EMULATOR "BOCHS "

/* AML: a name, a package and the constants that it may hold. */
#define AML_ZERO 0x00
#define AML_ONE 0x01
#define AML_NAME 0x08
#define AML_BYTE 0x0a
#define AML_WORD 0x0b
#define AML_DWORD 0x0c
#define AML_PACKAGE 0x12
#define AML_ROOT '\\'
#define SLEEP_TYPE_MAX 7

struct bytes {
	const uint8_t *p;
	uint32_t n;
};

/* The little-endian number at offset `at`; 0 where the table is too short to have it. */
static uint64_t field(struct bytes t, uint32_t at, unsigned bytes)
{
	uint64_t v = 0;
	if (t.n < bytes || at > t.n - bytes)
		return 0;
	while (bytes-- > 0)
		v = v << 8 | t.p[at + bytes];
	return v;
}

static bool has_text(struct bytes t, uint32_t at, const char *text)
{
	for (; *text; text++, at++)
		if (at >= t.n || t.p[at] != (uint8_t)*text)
			return false;
	return true;
}

/* A port given by the extended address at `x`, or else by the old field. */
static uint16_t port(struct bytes t, uint32_t x, uint32_t old)
{
	uint64_t v = field(t, x + ADDRESS_VALUE, 8);
	if (v && field(t, x, 1) != ADDRESS_SPACE_PORT)
		return 0;
	if (!v && old)
		v = field(t, old, 4);
	return v <= 0xffff ? (uint16_t)v : 0;
}

/* The constant at *at, which moves behind it; false when it is something else. */
static bool constant(struct bytes aml, uint32_t *at, uint64_t *v)
{
	uint64_t kind = field(aml, *at, 1);
	unsigned bytes = kind == AML_BYTE ? 1 : kind == AML_WORD ? 2 : kind == AML_DWORD ? 4 : 0;
	if (*at >= aml.n || aml.n - *at <= bytes || (!bytes && kind != AML_ZERO && kind != AML_ONE))
		return false;
	*v = bytes ? field(aml, *at + 1, bytes) : kind;
	*at += 1 + bytes;
	return *v <= SLEEP_TYPE_MAX;
}

/* The package of _S5 whose name stands at `at`. */
static bool sleep_package(struct bytes aml, uint32_t at, struct acpi_power *out)
{
	uint64_t a, b;
	unsigned root = aml.p[at - 1] == AML_ROOT;
	bool named = aml.p[at - 1 - root] == AML_NAME;
	at += 4;
	if (!named || field(aml, at, 1) != AML_PACKAGE)
		return false;
	at += 2 + (field(aml, at + 1, 1) >> 6);	/* the length, whose first byte says how many follow */
	uint64_t elements = field(aml, at++, 1);
	if (elements < 2 || !constant(aml, &at, &a) || !constant(aml, &at, &b))
		return false;
	out->type_a = (uint8_t)a;
	out->type_b = (uint8_t)b;
	return true;
}

static bool sleep_types(struct bytes aml, struct acpi_power *out)
{
	for (uint32_t at = TABLE_HEADER; at < aml.n; at++)
		if (has_text(aml, at, "_S5_") && sleep_package(aml, at, out))
			return true;
	return false;
}

void acpi_power_parse(struct acpi_power *out, struct window window, const struct bootinfo *info)
{
	const char *error;
	struct bytes fadt, dsdt;
	*out = (struct acpi_power){0};
	fadt.p = acpi_find(window, info, "FACP", &fadt.n, &error);
	if (!fadt.p)
		return;
	out->emulator = has_text(fadt, TABLE_OEM, OEM_EMULATOR);
	out->pm1a = port(fadt, FADT_X_PM1A_CONTROL, FADT_PM1A_CONTROL);
	out->pm1b = port(fadt, FADT_X_PM1B_CONTROL, FADT_PM1B_CONTROL);
	if (field(fadt, FADT_SMI_COMMAND, 4) <= 0xffff)
		out->smi = (uint16_t)field(fadt, FADT_SMI_COMMAND, 4);
	out->enable = (uint8_t)field(fadt, FADT_ACPI_ENABLE, 1);
	if (field(fadt, FADT_FLAGS, 4) & FADT_FLAG_RESET) {
		out->reset = port(fadt, FADT_RESET, 0);
		out->reset_value = (uint8_t)field(fadt, FADT_RESET_VALUE, 1);
	}
	uint64_t at = field(fadt, FADT_X_DSDT, 8);
	dsdt.p = acpi_table(window, at ? at : field(fadt, FADT_DSDT, 4), "DSDT", &dsdt.n);
	out->off = out->pm1a && dsdt.p && sleep_types(dsdt, out);
}
