/* SPDX-License-Identifier: MIT */
#include "guest/acpi_tables.h"
#include "guest/acpi_dsdt.h"
#include "guest/ram.h"
#include "mm/host.h"

#define OEM "UMBRA "
#define OEM_TABLE "UMBRAVM "
#define CREATOR "UMBR"
#define TABLE_ALIGN 16

/* What a BIOS leaves for those who look for the tables (5.2.5.1). */
#define EBDA_SEGMENT 0x40e    /* gpa of a word: the area's address / 16 */
#define LOW_MEMORY_KIB 0x413  /* gpa of a word: where it begins, KiB */
#define EBDA_KIB ((RAM_LOW_END - ACPI_TABLES_START) >> 10) /* in its first byte */
#define FACS_PLACE (ACPI_TABLES_START + 0x40) /* 64-byte aligned */
#define REST_PLACE (ACPI_TABLES_START + 0x80)

#define PACKED __attribute__((packed))

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} PACKED;
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 6.5, 5.2.5.3");
#define RSDP_FIRST 20

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} PACKED;
_Static_assert(sizeof(struct header) == 36, "ACPI 6.5, 5.2.6");

/* A register's address; here in I/O ports. */
struct address {
	uint8_t space, bits, offset, access; /* 1, 2, 3: by bytes, 16 bits, 32 bits */
	uint64_t address;
} PACKED;
#define SPACE_IO 1
#define IO_BYTE(port) {SPACE_IO, 8, 0, 1, port}
#define IO_WORD(port) {SPACE_IO, 16, 0, 2, port}
#define IO_DWORD(port) {SPACE_IO, 32, 0, 3, port}
#define IO_WORDS(port) {SPACE_IO, 32, 0, 2, port}

struct fadt {
	struct header header;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t smi_values[4];
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe[2];
	uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length, gpe_length[2], gpe1_base, cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty[2], day_alarm, month_alarm, century;
	uint16_t boot_flags;
	uint8_t reserved2;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value, reserved3[3];
	uint64_t x_facs, x_dsdt;
	struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer, x_gpe[2];
} PACKED;
_Static_assert(sizeof(struct fadt) == 244, "ACPI 4.0a, 5.2.9");
#define FADT_REVISION 4
#define NO_C2 101u         /* microseconds: more than 100 */
#define NO_C3 1001u        /* more than 1000 */
#define CMOS_CENTURY 0x32
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_MSI (1u << 3)
#define FLAG_WBINVD (1u << 0)
#define FLAG_PROC_C1 (1u << 2)
#define FLAG_NO_POWER_BUTTON (1u << 4) /* in fixed registers; likewise the next two */
#define FLAG_NO_SLEEP_BUTTON (1u << 5)
#define FLAG_NO_RTC_WAKE (1u << 6)
#define FLAG_TIMER_32 (1u << 8)
#define FLAG_RESET (1u << 10)

struct facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
} PACKED;
_Static_assert(sizeof(struct facs) == 64, "ACPI 4.0a, 5.2.10");

struct local_apic {
	uint8_t type, length, uid, id;
	uint32_t flags;
} PACKED;
struct io_apic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi;
} PACKED;
struct source_override {
	uint8_t type, length, bus, irq;
	uint32_t gsi;
	uint16_t flags;
} PACKED;
struct local_apic_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} PACKED;

#define MADT_REVISION 3
#define VCPUS_MAX 8
struct madt {
	struct header header;
	uint32_t local_apic_address, flags;
	struct io_apic io_apic;
	struct source_override pit, sci;
	struct local_apic_nmi nmi;
	struct local_apic local_apic[VCPUS_MAX]; /* last, for there may be fewer */
} PACKED;
#define MADT_PCAT_COMPAT 1u
#define LOCAL_APIC_ENABLED 1u
#define SOURCE_LEVEL_HIGH 0xdu /* polarity 1: active high; trigger mode 3: level */
#define UID_ALL 0xffu

struct rsdt {
	struct header header;
	uint32_t table[2];
} PACKED;
struct xsdt {
	struct header header;
	uint64_t table[2];
} PACKED;
struct dsdt {
	struct header header;
	uint8_t aml[ACPI_DSDT_MAX];
} PACKED;
#define DSDT_REVISION 2 /* integers of 64 bits */

/* Where the next table goes. */
struct place {
	const struct image_memory *memory;
	uint64_t at; /* gpa */
	bool good;
};

/* What brings the sum of the bytes to 0 when added. */
static uint8_t missing(const void *from, uint64_t bytes)
{
	uint8_t sum = 0;

	for (uint64_t i = 0; i < bytes; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)from)[i]);
	return (uint8_t)-sum;
}

/* Writes a table of `bytes` whose header is all zero so far; its gpa. */
static uint32_t put(struct place *p, struct header *h, const char *signature, uint8_t revision, uint64_t bytes)
{
	uint64_t at = p->at;

	__builtin_memcpy(h->signature, signature, sizeof h->signature);
	h->length = (uint32_t)bytes;
	h->revision = revision;
	__builtin_memcpy(h->oem, OEM, sizeof h->oem);
	__builtin_memcpy(h->oem_table, OEM_TABLE, sizeof h->oem_table);
	h->oem_revision = 1;
	__builtin_memcpy(h->creator, CREATOR, sizeof h->creator);
	h->creator_revision = 1;
	h->checksum = missing(h, bytes);
	p->good = p->good && p->memory->write(p->memory->to, gpa(at), h, bytes);
	p->at = (at + bytes + TABLE_ALIGN - 1) & ~(TABLE_ALIGN - 1UL);
	return (uint32_t)at;
}

static uint32_t put_dsdt(struct place *p, unsigned vcpus)
{
	struct dsdt t = {0};
	unsigned bytes = acpi_dsdt_build(t.aml, vcpus);

	return put(p, &t.header, "DSDT", DSDT_REVISION, sizeof t.header + bytes);
}

static uint32_t put_fadt(struct place *p, uint32_t dsdt)
{
	struct fadt t = {
		.facs = FACS_PLACE,
		.dsdt = dsdt,
		.sci = ACPI_SCI_IRQ,
		.pm1a_event = ACPI_PM_EVENT_PORT,
		.pm1a_control = ACPI_PM_CONTROL_PORT,
		.pm_timer = ACPI_PM_TIMER_PORT,
		.pm1_event_length = 4,
		.pm1_control_length = 2,
		.pm_timer_length = 4,
		.c2_latency = NO_C2,
		.c3_latency = NO_C3,
		.century = CMOS_CENTURY,
		.boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI, /* and no 8042 */
		.flags = FLAG_WBINVD | FLAG_PROC_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON | FLAG_NO_RTC_WAKE |
			FLAG_TIMER_32 | FLAG_RESET,
		.reset = IO_BYTE(ACPI_RESET_PORT),
		.reset_value = ACPI_RESET_VALUE,
		.x_dsdt = dsdt, /* but no x_facs: one of the two is to be 0 */
		.x_pm1a_event = IO_WORDS(ACPI_PM_EVENT_PORT),
		.x_pm1a_control = IO_WORD(ACPI_PM_CONTROL_PORT),
		.x_pm_timer = IO_DWORD(ACPI_PM_TIMER_PORT),
	};

	return put(p, &t.header, "FACP", FADT_REVISION, sizeof t);
}

static uint32_t put_madt(struct place *p, unsigned vcpus)
{
	struct madt t = {
		.local_apic_address = ACPI_LAPIC_BASE,
		.flags = MADT_PCAT_COMPAT,
		.io_apic = {1, sizeof t.io_apic, ACPI_IOAPIC_ID, 0, ACPI_IOAPIC_BASE, 0},
		.pit = {2, sizeof t.pit, 0, 0, ACPI_PIT_GSI, 0},
		.sci = {2, sizeof t.sci, 0, ACPI_SCI_IRQ, ACPI_SCI_IRQ, SOURCE_LEVEL_HIGH},
		.nmi = {4, sizeof t.nmi, UID_ALL, 0, 1},
	};

	for (unsigned i = 0; i < vcpus; i++)
		t.local_apic[i] =
			(struct local_apic){0, sizeof *t.local_apic, (uint8_t)i, (uint8_t)i, LOCAL_APIC_ENABLED};
	return put(p, &t.header, "APIC", MADT_REVISION, sizeof t - (VCPUS_MAX - vcpus) * sizeof *t.local_apic);
}

static bool put_facs(const struct image_memory *m)
{
	struct facs t = {.signature = "FACS", .length = sizeof t, .version = 2};

	return m->write(m->to, gpa(FACS_PLACE), &t, sizeof t);
}

static bool put_rsdp(const struct image_memory *m, uint32_t rsdt, uint32_t xsdt)
{
	struct rsdp t = {.oem = OEM, .revision = 2, .rsdt = rsdt, .length = sizeof t, .xsdt = xsdt};
	uint16_t segment = ACPI_TABLES_START >> 4, low = ACPI_TABLES_START >> 10;
	uint8_t kib = EBDA_KIB;

	__builtin_memcpy(t.signature, "RSD PTR ", sizeof t.signature);
	t.checksum = missing(&t, RSDP_FIRST);
	t.checksum_all = missing(&t, sizeof t);
	return m->write(m->to, gpa(ACPI_TABLES_RSDP), &t, sizeof t) &&
		m->write(m->to, gpa(ACPI_TABLES_START), &kib, sizeof kib) &&
		m->write(m->to, gpa(EBDA_SEGMENT), &segment, sizeof segment) &&
		m->write(m->to, gpa(LOW_MEMORY_KIB), &low, sizeof low);
}

bool acpi_tables_write(const struct image_memory *memory, unsigned vcpus)
{
	struct place p = {memory, REST_PLACE, true};
	struct rsdt rsdt = {0};
	struct xsdt xsdt = {0};
	uint32_t rsdt_at, xsdt_at;

	CHECK(vcpus >= 1 && vcpus <= VCPUS_MAX);
	rsdt.table[0] = put_fadt(&p, put_dsdt(&p, vcpus));
	rsdt.table[1] = put_madt(&p, vcpus);
	for (unsigned i = 0; i < 2; i++)
		xsdt.table[i] = rsdt.table[i];
	rsdt_at = put(&p, &rsdt.header, "RSDT", 1, sizeof rsdt);
	xsdt_at = put(&p, &xsdt.header, "XSDT", 1, sizeof xsdt);
	CHECK(p.at <= RAM_LOW_END);
	return p.good && put_facs(memory) && put_rsdp(memory, rsdt_at, xsdt_at);
}
