/* SPDX-License-Identifier: MIT */
#include "guest/multiboot.h"
#include "guest/elf.h"
#include "guest/ram.h"
#include "guest/text.h"

#define HEADER_MAGIC 0x1badb002u
#define HEADER_SEARCH 8192 /* the whole header lies in these first bytes */
#define HEADER_ALIGN 4
#define FLAG_REQUIRED 0xffffu
#define FLAG_KNOWN 0x7u /* modules on pages; memory map; video mode, of which the information then says nothing */
#define FLAG_ADDRESSES 0x10000u

#define INFO_MEMORY 0x1u
#define INFO_COMMAND_LINE 0x4u
#define INFO_MODULES 0x8u
#define INFO_MAP 0x40u
#define INFO_LOADER 0x200u
#define INFO_PLACE 0x9000UL /* low, where it is in no kernel's way */
#define INFO_ALIGN 16
#define MAP_MAX 3
#define MAP_RAM 1
#define LOADER_NAME "Umbra"

struct header {
	uint32_t magic, flags, checksum;
};

/* The fields that follow when FLAG_ADDRESSES is set. */
struct addresses {
	uint32_t header, load, load_end, bss_end, entry;
};

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, command_line, mods_count, mods_addr, symbols[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name, apm_table;
	uint32_t vbe[4];
};
_Static_assert(sizeof(struct info) == 88, "Multiboot Specification 0.6.96, 3.3");

struct map_entry {
	uint32_t size; /* of what follows */
	uint32_t start[2], bytes[2], type;
};

struct module_entry {
	uint32_t start, end, string, reserved;
};

enum multiboot_found multiboot_find(const void *file, uint64_t bytes, uint64_t *offset)
{
	enum multiboot_found found = MULTIBOOT_NONE;
	uint64_t end = bytes < HEADER_SEARCH ? bytes : HEADER_SEARCH;

	for (uint64_t o = 0; o + sizeof(struct header) <= end; o += HEADER_ALIGN) {
		struct header h;

		__builtin_memcpy(&h, (const char *)file + o, sizeof h);
		if (h.magic != HEADER_MAGIC)
			continue;
		if (h.magic + h.flags + h.checksum == 0) {
			*offset = o;
			return MULTIBOOT_FOUND;
		}
		if (found == MULTIBOOT_NONE)
			*offset = o;
		found = MULTIBOOT_BAD_CHECKSUM;
	}
	return found;
}

static bool read_addresses(
	struct image *m, const struct addresses *a, uint64_t bytes, uint64_t header, char *error, size_t size)
{
	struct image_segment s = {.start = a->load};
	uint64_t before = (uint64_t)a->header - a->load, load_end;

	if (a->load > a->header || before > header) {
		text_format(error, size, "multiboot: header_addr 0x%x does not fit load_addr 0x%x and its offset 0x%lx",
			a->header, a->load, header);
		return false;
	}
	s.offset = header - before;
	load_end = a->load_end ? a->load_end : a->load + (bytes - s.offset);
	if (load_end <= a->load || load_end - a->load > bytes - s.offset) {
		text_format(error, size,
			"multiboot: load_addr 0x%x to load_end_addr 0x%x is not in the file's 0x%lx bytes", a->load,
			a->load_end, bytes);
		return false;
	}
	if (a->bss_end && a->bss_end < load_end) {
		text_format(error, size, "multiboot: bss_end_addr 0x%x lies below load_end_addr 0x%lx", a->bss_end,
			load_end);
		return false;
	}
	s.file_bytes = load_end - a->load;
	s.memory_bytes = (a->bss_end ? a->bss_end : load_end) - a->load;
	*m = (struct image){.entry = a->entry, .segments = 1, .segment = {s}};
	if (image_holds(m, a->entry))
		return true;
	text_format(error, size, "multiboot: entry_addr 0x%x lies outside what is loaded", a->entry);
	return false;
}

bool multiboot_read(struct image *m, const void *file, uint64_t bytes, uint64_t header, char *error, size_t size)
{
	uint64_t fields = header + sizeof(struct header);
	struct addresses a;
	struct header h;

	__builtin_memcpy(&h, (const char *)file + header, sizeof h);
	if (h.flags & FLAG_REQUIRED & ~FLAG_KNOWN) {
		text_format(error, size, "multiboot: it requires features 0x%x; only 0x%x are known",
			h.flags & FLAG_REQUIRED, FLAG_KNOWN);
		return false;
	}
	if (!(h.flags & FLAG_ADDRESSES)) {
		if (elf_recognise(file, bytes))
			return elf_read(m, file, bytes, error, size);
		text_format(error, size, "multiboot: neither ELF nor address fields (flags 0x%x)", h.flags);
		return false;
	}
	if (fields + sizeof a > HEADER_SEARCH || fields + sizeof a > bytes) {
		text_format(error, size, "multiboot: the header's address fields are cut off at 0x%lx", fields);
		return false;
	}
	__builtin_memcpy(&a, (const char *)file + fields, sizeof a);
	return read_addresses(m, &a, bytes, header, error, size);
}

static struct map_entry map_entry(uint64_t start, uint64_t end)
{
	uint64_t bytes = end - start;

	return (struct map_entry){
		.size = sizeof(struct map_entry) - sizeof(uint32_t),
		.start = {(uint32_t)start, (uint32_t)(start >> 32)},
		.bytes = {(uint32_t)bytes, (uint32_t)(bytes >> 32)},
		.type = MAP_RAM,
	};
}

static unsigned build_map(uint64_t mem, struct map_entry map[MAP_MAX])
{
	unsigned n = 0;

	map[n++] = map_entry(0, RAM_LOW_END);
	map[n++] = map_entry(RAM_MIDDLE, ram_middle_end(mem));
	if (ram_high_end(mem) > RAM_HIGH)
		map[n++] = map_entry(RAM_HIGH, ram_high_end(mem));
	return n;
}

/* What is being written, piece behind piece. */
struct writer {
	const struct image_memory *memory;
	uint64_t at; /* gpa of the next piece */
	bool good;
};

/* Returns the gpa of the piece. */
static uint32_t put(struct writer *w, const void *from, uint64_t bytes)
{
	uint64_t at = w->at;

	w->good = w->good && w->memory->write(w->memory->to, gpa(at), from, bytes);
	w->at += bytes;
	return (uint32_t)at;
}

static uint32_t put_string(struct writer *w, const char *s)
{
	return put(w, s, text_length(s) + 1);
}

uint32_t multiboot_inform(struct layout *l, const struct image_memory *memory, const char *command_line,
	const struct multiboot_module *module, unsigned modules)
{
	struct info info = {.flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MAP | INFO_LOADER};
	struct module_entry mods[MULTIBOOT_MAX_MODULES] = {0};
	struct writer w = {.memory = memory, .good = true};
	struct map_entry map[MAP_MAX];
	unsigned maps = build_map(l->mem, map);
	uint64_t bytes = sizeof info + sizeof map + sizeof mods + sizeof LOADER_NAME + text_length(command_line) + 1;
	uint64_t place;

	for (unsigned i = 0; i < modules; i++)
		bytes += text_length(module[i].string) + 1;
	if (!layout_place(l, INFO_PLACE, bytes, INFO_ALIGN, &place))
		return 0;

	w.at = place + sizeof info;
	info.mem_lower = (uint32_t)(RAM_LOW_END >> 10);
	info.mem_upper = (uint32_t)((ram_middle_end(l->mem) - RAM_MIDDLE) >> 10);
	info.mmap_length = maps * (uint32_t)sizeof *map;
	info.mmap_addr = put(&w, map, info.mmap_length);
	info.mods_count = modules;
	info.mods_addr = (uint32_t)w.at;
	w.at += modules * sizeof *mods;
	for (unsigned i = 0; i < modules; i++)
		mods[i] = (struct module_entry){module[i].start, module[i].end, put_string(&w, module[i].string), 0};
	info.command_line = put_string(&w, command_line);
	info.loader_name = put_string(&w, LOADER_NAME);
	w.at = info.mods_addr;
	put(&w, mods, modules * sizeof *mods);
	w.at = place;
	put(&w, &info, sizeof info);
	return w.good ? (uint32_t)place : 0;
}
