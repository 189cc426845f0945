/* SPDX-License-Identifier: MIT */
#include "guest/smbios.h"

#define BIOS_VERSION "1"
#define BIOS_DATE "01/01/2026"

struct entry_point {
	char anchor[5];
	uint8_t checksum, length, major, minor, revision, entry_revision, reserved;
	uint32_t bytes; /* of the structures */
	uint64_t address;
} __attribute__((packed));

struct header {
	uint8_t type, length;
	uint16_t handle;
} __attribute__((packed));

/* Strings are numbered from 1 in the order in which they follow their structure; an empty one ends them. */
struct bios {
	struct header header;
	uint8_t vendor, version;
	uint16_t segment;
	uint8_t date, rom_size; /* 64 KiB × (n + 1) */
	uint64_t characteristics;
	uint8_t extension[2], release[2], controller_release[2];
	char strings[sizeof "Umbra\0" BIOS_VERSION "\0" BIOS_DATE "\0"];
} __attribute__((packed));

struct system {
	struct header header;
	uint8_t manufacturer, product, version, serial;
	uint8_t uuid[16], wake_up, sku, family;
	char strings[sizeof "Umbra\0Virtual machine\0"];
} __attribute__((packed));

struct end {
	struct header header;
	char strings[2];
} __attribute__((packed));

struct structures {
	struct bios bios;
	struct system system;
	struct end end;
} __attribute__((packed));

#define HEADER(kind, number, which) {.type = kind, .length = offsetof(struct which, strings), .handle = number}

#define CHARACTERISTICS_NONE (1UL << 3) /* "not supported": nothing is said */
#define EXTENSION_VIRTUAL 0x10          /* in its second byte: a virtual machine */
#define WAKE_UP_POWER_SWITCH 6

static struct smbios {
	struct entry_point entry;
	uint8_t gap[8]; /* structures start at a paragraph */
	struct structures structures;
} __attribute__((packed)) smbios = {
	.entry = {.anchor = {'_', 'S', 'M', '3', '_'},
		.length = sizeof(struct entry_point),
		.major = 3,
		.entry_revision = 1,
		.bytes = sizeof(struct structures),
		.address = SMBIOS_ADDRESS + offsetof(struct smbios, structures)},
	.structures = {
		.bios = {.header = HEADER(0, 0, bios),
			.vendor = 1,
			.version = 2,
			.segment = SMBIOS_ADDRESS >> 4,
			.date = 3,
			.characteristics = CHARACTERISTICS_NONE,
			.extension = {0, EXTENSION_VIRTUAL},
			.release = {1, 0},
			.controller_release = {0xff, 0xff},
			.strings = "Umbra\0" BIOS_VERSION "\0" BIOS_DATE "\0"},
		.system = {.header = HEADER(1, 1, system),
			.manufacturer = 1,
			.product = 2,
			.wake_up = WAKE_UP_POWER_SWITCH,
			.strings = "Umbra\0Virtual machine\0"},
		.end = {.header = HEADER(127, 2, end)},
	},
};

static void smbios_read(void *device, struct vcpu *v, uint64_t offset, unsigned bytes, bool write, uint64_t *value)
{
	(void)v;
	if (!write)
		__builtin_memcpy(value, (const char *)device + offset, bytes);
}

void smbios_attach(struct mmio *m)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < sizeof smbios.entry; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)&smbios.entry)[i]);
	if (sum) /* the first time, before any guest runs; the same for all */
		smbios.entry.checksum = (uint8_t)-sum;
	mmio_add(m, gpa(SMBIOS_ADDRESS), sizeof smbios, smbios_read, &smbios);
}
