/* SPDX-License-Identifier: MIT */
/* What the loader's tests share: images built in memory, and a guest's RAM to load them into. */
#ifndef TOOLS_HOST_LOADER_TEST_H
#define TOOLS_HOST_LOADER_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <elf.h>
#include <string.h>
#undef PF_W /* mm/mmu.h has its own */

#include "guest/loader.h"
#include "guest/ram.h"
#include "tools/host/native.h"

#define MEM (8UL << 20)
#define LOAD 0x100000UL
#define FILE_BYTES 0x3000U
#define HEADER 0x100U /* where the multiboot header stands in the test's files */

static uint8_t ram[MEM];
static uint64_t writes, write_limit = ~0UL; /* so far; how many succeed */
static uint8_t file[FILE_BYTES];
static struct loader_file image;
static struct loader_entry entry;
static char error[LOADER_ERROR];

static inline bool write_ram(void *to, gpa_t at, const void *from, uint64_t bytes)
{
	(void)to;
	if (writes++ == write_limit)
		return false;
	if (bytes && (!ram_holds(MEM, at.v, bytes) || at.v + bytes > MEM))
		return false;
	memcpy(ram + at.v, from, bytes);
	return true;
}

static const struct image_memory memory = {write_ram, 0};

static inline uint32_t get32(uint64_t at)
{
	uint32_t v;

	assert_true(at + 4 <= MEM);
	memcpy(&v, ram + at, 4);
	return v;
}

static inline void set32(uint64_t at, uint32_t v)
{
	memcpy(file + at, &v, 4);
}

static inline void set_header(uint64_t at, uint32_t flags)
{
	set32(at, 0x1badb002);
	set32(at + 4, flags);
	set32(at + 8, -(0x1badb002 + flags));
}

static inline void fresh(void)
{
	memset(ram, 0, sizeof ram);
	writes = 0;
	for (unsigned i = 0; i < FILE_BYTES; i++)
		file[i] = (uint8_t)(i * 7 + 3);
	memset(file, 0, 0x200);
	set_header(HEADER, 3);
	image = (struct loader_file){file, FILE_BYTES, "a command line", false};
}

static inline Elf32_Ehdr *ehdr32(void)
{
	return (Elf32_Ehdr *)file;
}

static inline Elf32_Phdr *phdr32(unsigned i)
{
	return (Elf32_Phdr *)(file + sizeof(Elf32_Ehdr)) + i;
}

static inline Elf64_Ehdr *ehdr64(void)
{
	return (Elf64_Ehdr *)file;
}

static inline Elf64_Phdr *phdr64(unsigned i)
{
	return (Elf64_Phdr *)(file + sizeof(Elf64_Ehdr)) + i;
}

/* Two segments: 0x1000 bytes at LOAD, 0x800 bytes and 0x800 zeroes at LOAD + 0x2000. */
static inline void make_elf32(void)
{
	fresh();
	*ehdr32() = (Elf32_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1},
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = 1,
		.e_entry = LOAD + 0x20,
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_ehsize = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2};
	*phdr32(0) = (Elf32_Phdr){PT_LOAD, 0x1000, LOAD, LOAD, 0x1000, 0x1000, 0, 0x1000};
	*phdr32(1) = (Elf32_Phdr){PT_LOAD, 0x2000, LOAD + 0x2000, LOAD + 0x2000, 0x800, 0x1000, 0, 0x1000};
}

static inline void make_elf64(void)
{
	fresh();
	*ehdr64() = (Elf64_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = 1,
		.e_entry = LOAD + 0x20,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2};
	*phdr64(0) = (Elf64_Phdr){PT_LOAD, 0, 0x1000, LOAD, LOAD, 0x1000, 0x1000, 0x1000};
	*phdr64(1) = (Elf64_Phdr){PT_LOAD, 0, 0x2000, LOAD + 0x2000, LOAD + 0x2000, 0x800, 0x1000, 0x1000};
}

/* The whole file from its header on, by the header's address fields. */
static inline void make_addresses(void)
{
	static const uint32_t fields[] = {LOAD, LOAD, 0, LOAD + 0x8000, LOAD + 0x40};

	fresh();
	set_header(HEADER, 0x10003);
	for (unsigned i = 0; i < 5; i++)
		set32(HEADER + 12 + 4 * i, fields[i]);
}

static inline bool load_with(const struct loader_file *module, unsigned modules)
{
	error[0] = 0;
	return loader_load(MEM, 1, &memory, &image, module, modules, &entry, error);
}

static inline void good(void)
{
	if (!load_with(0, 0))
		fail_msg("refused: %s", error);
}

/* It is refused before anything was written, and the error holds `words`. */
static inline void bad(const char *words)
{
	if (load_with(0, 0))
		fail_msg("accepted; expected: %s", words);
	if (!strstr(error, words))
		fail_msg("'%s' lacks '%s'", error, words);
	assert_int_equal(writes, 0);
}

#endif
