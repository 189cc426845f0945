/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include "hv/acpi.h"

#define RSDP_SIGNATURE "RSD PTR "
#define RSDP_V1_BYTES 20
#define RSDP_V2_BYTES 36
#define RSDP_REVISION 15
#define RSDP_RSDT 16
#define RSDP_XSDT 24

/* Where a BIOS puts the root pointer: the first KiB of the extended BIOS data area, and the BIOS's read-only area. */
#define EBDA_SEGMENT 0x40e
#define EBDA_BYTES 1024
#define BIOS_AREA 0xe0000
#define BIOS_AREA_BYTES 0x20000
#define RSDP_ALIGN 16

#define TABLE_HEADER 36
#define TABLE_LENGTH 4
#define TABLE_MAX_BYTES (1u << 20)

#define MADT_ENTRIES 44
enum madt_type { MADT_LOCAL_APIC = 0, MADT_LOCAL_X2APIC = 9 };
#define MADT_LOCAL_APIC_BYTES 8
#define MADT_LOCAL_X2APIC_BYTES 16
#define MADT_FLAG_ENABLED 1

static uint64_t number(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;
	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

static bool sum_is_zero(const uint8_t *p, uint64_t bytes)
{
	uint8_t sum = 0;
	for (uint64_t i = 0; i < bytes; i++)
		sum += p[i];
	return sum == 0;
}

static bool same(const uint8_t *p, const char *text)
{
	for (; *text; text++, p++)
		if (*p != (uint8_t)*text)
			return false;
	return true;
}

static bool rsdp_valid(const uint8_t *p, uint64_t bytes)
{
	return bytes >= RSDP_V1_BYTES && same(p, RSDP_SIGNATURE) && sum_is_zero(p, RSDP_V1_BYTES);
}

static const uint8_t *rsdp_search(struct window w, uint64_t start, uint64_t bytes)
{
	for (uint64_t a = start; a + RSDP_V2_BYTES <= start + bytes; a += RSDP_ALIGN) {
		const uint8_t *p = window_at(w, a, RSDP_V2_BYTES);
		if (p && rsdp_valid(p, RSDP_V2_BYTES))
			return p;
	}
	return NULL;
}

/* The root pointer, and in *bytes how much of it may be read. */
static const uint8_t *rsdp_find(struct window w, const struct bootinfo *info, uint64_t *bytes)
{
	if (rsdp_valid(info->rsdp, info->rsdp_bytes)) {
		*bytes = info->rsdp_bytes;
		return info->rsdp;
	}
	*bytes = RSDP_V2_BYTES;
	const uint8_t *p = info->rsdp_address ? window_at(w, info->rsdp_address, RSDP_V2_BYTES) : NULL;
	if (p && rsdp_valid(p, RSDP_V2_BYTES))
		return p;
	const uint8_t *ebda = window_at(w, EBDA_SEGMENT, 2);
	p = ebda ? rsdp_search(w, number(ebda, 2) << 4, EBDA_BYTES) : NULL;
	return p ? p : rsdp_search(w, BIOS_AREA, BIOS_AREA_BYTES);
}

const uint8_t *acpi_table(struct window w, uint64_t address, const char *signature, uint32_t *bytes)
{
	const uint8_t *p = window_at(w, address, TABLE_HEADER);
	if (!p || !same(p, signature))
		return NULL;
	*bytes = (uint32_t)number(p + TABLE_LENGTH, 4);
	if (*bytes < TABLE_HEADER || *bytes > TABLE_MAX_BYTES || !window_at(w, address, *bytes) || !sum_is_zero(p, *bytes))
		return NULL;
	return p;
}

static const uint8_t *find_in(struct window w, const uint8_t *root, uint32_t root_bytes, unsigned entry,
	const char *signature, uint32_t *bytes)
{
	for (uint32_t i = TABLE_HEADER; root_bytes - i >= entry; i += entry) {
		const uint8_t *p = acpi_table(w, number(root + i, entry), signature, bytes);
		if (p)
			return p;
	}
	return NULL;
}

const uint8_t *acpi_find(struct window w, const struct bootinfo *info, const char *signature, uint32_t *bytes,
	const char **error)
{
	uint64_t rsdp_bytes;
	const uint8_t *rsdp = rsdp_find(w, info, &rsdp_bytes);
	*error = "ACPI: no root pointer with a right checksum";
	if (!rsdp)
		return NULL;

	const uint8_t *root = NULL, *found = NULL;
	uint32_t root_bytes = 0;
	if (rsdp_bytes >= RSDP_V2_BYTES && rsdp[RSDP_REVISION] >= 2 && sum_is_zero(rsdp, RSDP_V2_BYTES)) {
		root = acpi_table(w, number(rsdp + RSDP_XSDT, 8), "XSDT", &root_bytes);
		found = root ? find_in(w, root, root_bytes, 8, signature, bytes) : NULL;
	}
	if (!found) {
		const uint8_t *rsdt = acpi_table(w, number(rsdp + RSDP_RSDT, 4), "RSDT", &root_bytes);
		root = rsdt ? rsdt : root;
		found = rsdt ? find_in(w, rsdt, root_bytes, 4, signature, bytes) : NULL;
	}
	*error = root ? NULL : "ACPI: neither XSDT nor RSDT with a right checksum";
	return found;
}

static void cpu_add(struct acpi *out, uint32_t id, uint32_t flags)
{
	if (!(flags & MADT_FLAG_ENABLED)) {
		out->disabled++;
		return;
	}
	for (unsigned i = 0; i < out->cpus; i++)
		if (out->apic_id[i] == id)
			return;
	if (out->cpus == ACPI_MAX_CPUS)
		out->beyond++;
	else
		out->apic_id[out->cpus++] = id;
}

static const char *madt_parse(struct acpi *out, const uint8_t *madt, uint32_t bytes)
{
	if (bytes < MADT_ENTRIES)
		return "ACPI: the MADT is too short";
	for (uint32_t i = MADT_ENTRIES; bytes - i >= 2;) {
		const uint8_t *e = madt + i;
		uint32_t length = e[1];
		if (length < 2 || length > bytes - i)
			return "ACPI: an entry of the MADT has a wrong length";
		if (e[0] == MADT_LOCAL_APIC && length >= MADT_LOCAL_APIC_BYTES)
			cpu_add(out, e[3], (uint32_t)number(e + 4, 4));
		else if (e[0] == MADT_LOCAL_X2APIC && length >= MADT_LOCAL_X2APIC_BYTES)
			cpu_add(out, (uint32_t)number(e + 4, 4), (uint32_t)number(e + 8, 4));
		i += length;
	}
	return out->cpus ? NULL : "ACPI: the MADT lists no processor";
}

const char *acpi_parse(struct acpi *out, struct window window, const struct bootinfo *info)
{
	uint32_t bytes;
	const char *error;
	out->cpus = out->disabled = out->beyond = 0;
	const uint8_t *madt = acpi_find(window, info, "APIC", &bytes, &error);
	if (!error)
		error = madt ? madt_parse(out, madt, bytes) : "ACPI: no MADT with a right checksum";
	if (error)
		out->cpus = 0;
	return error;
}
