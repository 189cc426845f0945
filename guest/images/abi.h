/* SPDX-License-Identifier: MIT */
/* What an image may ask of the machine it runs on, as plain C for x86 (32 or 64 bits): the multiboot 1 hand-over, the
 * exit port, the test device. Needs nothing but <stdint.h>, so that a guest built elsewhere can include it as it is.
 * On a machine without the test device its ports read all ones, which is also the answer "not possible now".
 */
#ifndef GUEST_IMAGES_ABI_H
#define GUEST_IMAGES_ABI_H

#include <stdint.h>

enum abi_port {
	ABI_PORT_DEBUG = 0xe9,	   /* write: one byte for the debug console */
	ABI_PORT_EXIT = 0xf4,	   /* write: ends the guest; 0 is pass, anything else is fail */
	ABI_PORT_CONSOLE = 0x3f8,  /* 16550A, IRQ 4 */
	ABI_PORT_COMMAND = 0x5e0,  /* write: an abi_command; read: the result of the last one */
	ABI_PORT_METRIC_ID = 0x5e4, /* write: the id of the next metric */
	ABI_PORT_METRIC = 0x5e8,   /* write: its value; prints "METRIC <guest> <id> <value>" */
	ABI_PORT_DIRTY = 0x5ec,	   /* write: a gfn; read: 1 if the last harvest reported it */
	ABI_PORT_VCPU_ENTRY = 0x5f0, /* write: where the next vCPU starts, a gpa */
	ABI_PORT_VCPU_START = 0x5f4, /* write: index (1...) of the vCPU to start; read: vCPUs of this guest */
	ABI_PORT_EXITS = 0x5f8,	   /* read: VM exits of all its vCPUs so far, this one too */
};

enum abi_command {
	ABI_LOG_START = 1,   /* start the dirty log */
	ABI_LOG_HARVEST = 2, /* take one round; the result is the number of pages reported */
	ABI_LOG_STOP = 3,    /* stop the dirty log */
	ABI_MMU_AUDIT = 4,   /* audit this guest's MMU; the result is the number of violations */
	ABI_MMU_ZAP = 5,     /* drop all shadow pages */
	ABI_SLOT_RECREATE = 6, /* destroy and re-create the RAM slot's mappings */
};

/* The result of a command that could not be carried out. */
#define ABI_REFUSED 0xffffffffu

/* Multiboot specification 0.6.96, sections 3.2 and 3.3. EAX holds the magic, EBX the address of the information. */
#define ABI_MULTIBOOT_MAGIC 0x2badb002u

enum abi_multiboot_flag {
	ABI_MULTIBOOT_MEMORY = 1 << 0,
	ABI_MULTIBOOT_CMDLINE = 1 << 2,
	ABI_MULTIBOOT_MODULES = 1 << 3,
	ABI_MULTIBOOT_MAP = 1 << 6,
};

struct abi_multiboot {
	uint32_t flags;	       /* which of the fields below are valid */
	uint32_t memory_lower; /* KiB from address 0 */
	uint32_t memory_upper; /* KiB from address 1 MiB up to the first hole */
	uint32_t boot_device;
	uint32_t cmdline; /* gpa of a string that ends in 0 */
	uint32_t modules;
	uint32_t modules_at;
	uint32_t symbols[4];
	uint32_t map_bytes;
	uint32_t map_at;
};

static inline void abi_out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t abi_in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline void abi_out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t abi_in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* Carries out a command and returns its result, ABI_REFUSED if it is not possible (now, or on this machine). */
static inline uint32_t abi_command(enum abi_command command)
{
	abi_out32(ABI_PORT_COMMAND, command);
	return abi_in32(ABI_PORT_COMMAND);
}

/* 1 if the last harvest reported `gfn` dirty, 0 if not. */
static inline uint32_t abi_dirty(uint32_t gfn)
{
	abi_out32(ABI_PORT_DIRTY, gfn);
	return abi_in32(ABI_PORT_DIRTY);
}

/* vCPUs of this guest; 1 on a machine without the test device. */
static inline uint32_t abi_vcpus(void)
{
	uint32_t vcpus = abi_in32(ABI_PORT_VCPU_START);

	return vcpus == ABI_REFUSED ? 1 : vcpus;
}

/* Starts vCPU `index` (1...) at gpa `entry`: 32-bit protected mode, paging off, flat segments, EAX = 0, EBX = index. One
 * that was started already goes on. */
static inline void abi_vcpu_start(uint32_t index, uint32_t entry)
{
	abi_out32(ABI_PORT_VCPU_ENTRY, entry);
	abi_out32(ABI_PORT_VCPU_START, index);
}

/* Publishes a figure on the machine's own console. What an id means is the image's affair. */
static inline void abi_metric(uint32_t id, uint32_t value)
{
	abi_out32(ABI_PORT_METRIC_ID, id);
	abi_out32(ABI_PORT_METRIC, value);
}

#endif
