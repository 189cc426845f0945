/* SPDX-License-Identifier: MIT */
#include "boot/bootinfo.h"

/* Tags of the multiboot2 information (specification 3.6.1 to 3.6.14). */
enum tag_type {
	TAG_END = 0,
	TAG_CMDLINE = 1,
	TAG_LOADER = 2,
	TAG_MODULE = 3,
	TAG_MEMORY_MAP = 6,
	TAG_FRAMEBUFFER = 8,
	TAG_EFI32 = 11,
	TAG_EFI64 = 12,
	TAG_ACPI_OLD = 14,
	TAG_ACPI_NEW = 15,
};

#define TAG_HEADER 8
#define TAG_ALIGN 8
#define MAP_TAG_HEADER 16
#define MAP_ENTRY_BYTES 24
#define MODULE_TAG_HEADER 16
/* The framebuffer tag. GRUB keeps two bytes behind the type, so that the colours stand at 32. */
#define FRAME_ADDRESS 8
#define FRAME_LINE_BYTES 16
#define FRAME_WIDTH 20
#define FRAME_HEIGHT 24
#define FRAME_BITS 28
#define FRAME_TYPE 29
#define FRAME_COLOURS 32
#define FRAME_RGB_BYTES 38
#define FRAME_RGB 1
#define FRAME_EGA_TEXT 2
#define FRAME_MAX_SIDE 16384u
#define MULTIBOOT2_MAX_BYTES (1u << 20)
#define RSDP_V1_BYTES 20

/* Layout of PVH's struct hvm_start_info and what it points to. */
#define PVH_MODULES_COUNT 12
#define PVH_MODULES 16
#define PVH_CMDLINE 24
#define PVH_RSDP 32
#define PVH_MEMMAP 40
#define PVH_MEMMAP_COUNT 48
#define PVH_BYTES 56
#define PVH_ENTRY_BYTES 32

static uint32_t read32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t read64(const uint8_t *p)
{
	return read32(p) | (uint64_t)read32(p + 4) << 32;
}

/* Copies a string of at most `bytes` source bytes; false when it does not fit (what fits is kept) or has no end. */
static bool string_copy(char *to, size_t room, const uint8_t *from, uint64_t bytes)
{
	for (size_t i = 0; i < room && i < bytes; i++) {
		to[i] = (char)from[i];
		if (!from[i])
			return true;
	}
	to[bytes < room ? bytes : room - 1] = 0;
	return false;
}

static const char *map_add(struct bootinfo *info, uint64_t start, uint64_t bytes, uint32_t type)
{
	if (!bytes)
		return NULL;
	if (start + bytes < start)
		return "memory map: an entry wraps around the end of the address space";
	if (info->maps == BOOTINFO_MAX_MAP)
		return "memory map: more than 128 entries";
	info->map[info->maps++] = (struct bootinfo_map){{start, start + bytes}, type};
	return NULL;
}

static const char *module_add(struct bootinfo *info, uint64_t start, uint64_t end, const uint8_t *s, uint64_t bytes)
{
	if (info->modules == BOOTINFO_MAX_MODULES)
		return "more than 32 boot modules";
	struct bootinfo_module *m = &info->module[info->modules++];
	m->range = (struct range){start, end};
	m->refused = end < start ? "it ends before it starts" : NULL;
	if (!string_copy(m->string, sizeof(m->string), s, bytes))
		m->refused = "its string has no end or is longer than 1023 characters";
	return NULL;
}

static const char *map_tag(struct bootinfo *info, const uint8_t *tag, uint32_t size)
{
	if (size < MAP_TAG_HEADER || read32(tag + 8) < MAP_ENTRY_BYTES)
		return "multiboot2: memory map tag too short";
	uint32_t step = read32(tag + 8);
	const char *error = NULL;
	for (uint32_t at = MAP_TAG_HEADER; !error && size - at >= MAP_ENTRY_BYTES; at += step) {
		error = map_add(info, read64(tag + at), read64(tag + at + 8), read32(tag + at + 16));
		if (step > size - at)
			break;
	}
	return error;
}

/* Which bits of a pixel are one of the three colours: position, then size. */
static uint32_t colour_bits(const uint8_t *p)
{
	return p[0] < 32 && p[1] <= 32 - p[0] ? (uint32_t)(((1ull << p[1]) - 1) << p[0]) : 0;
}

/* A screen that cannot be drawn on counts as none. */
static void frame_tag(struct bootinfo *info, const uint8_t *tag, uint32_t size)
{
	info->vga_text = size > FRAME_TYPE && tag[FRAME_TYPE] == FRAME_EGA_TEXT;
	if (size < FRAME_RGB_BYTES || tag[FRAME_TYPE] != FRAME_RGB)
		return;
	struct bootinfo_frame f = {.address = read64(tag + FRAME_ADDRESS), .line_bytes = read32(tag + FRAME_LINE_BYTES),
		.width = read32(tag + FRAME_WIDTH), .height = read32(tag + FRAME_HEIGHT), .bits = tag[FRAME_BITS]};
	for (unsigned i = 0; i < 3; i++)
		f.white |= colour_bits(tag + FRAME_COLOURS + 2 * i);
	if (f.bits == 15)
		f.bits = 16;
	bool bits_good = f.bits == 16 || f.bits == 24 || f.bits == 32;
	if (!bits_good || !f.white || f.width > FRAME_MAX_SIDE || f.height > FRAME_MAX_SIDE || (f.bits != 24 && f.line_bytes % (f.bits / 8))
		|| f.line_bytes > FRAME_MAX_SIDE * 4 || f.line_bytes < f.width * (f.bits / 8)
		|| f.address + (uint64_t)f.line_bytes * f.height < f.address)
		return;
	info->frame = f;
}

static void rsdp_copy(struct bootinfo *info, const uint8_t *from, uint32_t bytes)
{
	if (bytes > BOOTINFO_RSDP_BYTES)
		bytes = BOOTINFO_RSDP_BYTES;
	if (bytes < RSDP_V1_BYTES || bytes < info->rsdp_bytes)
		return;
	for (uint32_t i = 0; i < bytes; i++)
		info->rsdp[i] = from[i];
	info->rsdp_bytes = bytes;
}

static const char *tag_parse(struct bootinfo *info, const uint8_t *tag, uint32_t size)
{
	const uint8_t *body = tag + TAG_HEADER;
	uint32_t bytes = size - TAG_HEADER;
	switch (read32(tag)) {
	case TAG_CMDLINE:
		return string_copy(info->cmdline, sizeof(info->cmdline), body, bytes)
			? NULL : "the command line has no end or is longer than 1023 characters";
	case TAG_LOADER:
		string_copy(info->loader, sizeof(info->loader), body, bytes);
		return NULL;
	case TAG_MODULE:
		if (size < MODULE_TAG_HEADER)
			return "multiboot2: module tag too short";
		return module_add(info, read32(body), read32(body + 4), body + 8, bytes - 8);
	case TAG_MEMORY_MAP:
		return map_tag(info, tag, size);
	case TAG_FRAMEBUFFER:
		frame_tag(info, tag, size);
		return NULL;
	case TAG_EFI32:
	case TAG_EFI64:
		info->vga_text = false;
		return NULL;
	case TAG_ACPI_OLD:
	case TAG_ACPI_NEW:
		rsdp_copy(info, body, bytes);
		return NULL;
	}
	return NULL;
}

/* GRUB puts a backslash before every quote and backslash of an argument; takes them away again. */
static void grub_unescape(char *s)
{
	char *to = s;
	for (; *s; s++) {
		if (s[0] == '\\' && (s[1] == '\\' || s[1] == '"' || s[1] == '\''))
			s++;
		*to++ = *s;
	}
	*to = 0;
}

static void grub_unescape_all(struct bootinfo *info)
{
	const char *name = info->loader;
	if (name[0] != 'G' || name[1] != 'R' || name[2] != 'U' || name[3] != 'B')
		return;
	grub_unescape(info->cmdline);
	for (unsigned i = 0; i < info->modules; i++)
		grub_unescape(info->module[i].string);
}

static void bootinfo_clear(struct bootinfo *info)
{
	info->loader[0] = info->cmdline[0] = 0;
	info->maps = info->modules = info->rsdp_bytes = 0;
	info->rsdp_address = 0;
	info->vga_text = true;
	info->frame = (struct bootinfo_frame){0};
}

const char *bootinfo_multiboot2(struct bootinfo *info, struct window window, uint64_t address)
{
	bootinfo_clear(info);
	const uint8_t *head = window_at(window, address, TAG_HEADER);
	if (!head)
		return "multiboot2: the information block lies outside memory";
	uint32_t total = read32(head);
	const uint8_t *blob = window_at(window, address, total);
	if (!blob || total < TAG_HEADER || total > MULTIBOOT2_MAX_BYTES)
		return "multiboot2: the information block's size is wrong";

	const char *error = NULL;
	for (uint32_t at = TAG_HEADER; !error;) {
		if (total - at < TAG_HEADER)
			return "multiboot2: the end tag is missing";
		uint32_t size = read32(blob + at + 4);
		if (size < TAG_HEADER || size > total - at)
			return "multiboot2: a tag's size is wrong";
		if (read32(blob + at) == TAG_END)
			break;
		error = tag_parse(info, blob + at, size);
		uint32_t step = (size + TAG_ALIGN - 1) & ~(TAG_ALIGN - 1u);
		at = step > total - at ? total : at + step;
	}
	grub_unescape_all(info);
	if (!error && !info->maps)
		error = "multiboot2: no memory map";
	return error;
}

static const char *pvh_modules(struct bootinfo *info, struct window w, const uint8_t *start)
{
	uint32_t count = read32(start + PVH_MODULES_COUNT);
	uint64_t list = read64(start + PVH_MODULES);
	if (count > BOOTINFO_MAX_MODULES)
		return "more than 32 boot modules";
	const char *error = NULL;
	for (uint32_t i = 0; i < count && !error; i++) {
		const uint8_t *m = window_at(w, list + i * PVH_ENTRY_BYTES, PVH_ENTRY_BYTES);
		if (!m)
			return "PVH: the module list lies outside memory";
		uint64_t at = read64(m), bytes = read64(m + 8), text = read64(m + 16);
		const uint8_t *s = text ? window_at(w, text, 1) : (const uint8_t *)"";
		if (!s || at + bytes < at)
			return "PVH: a module or its string lies outside memory";
		error = module_add(info, at, at + bytes, s, text ? w.bytes - (text - w.start) : 1);
	}
	return error;
}

static const char *pvh_memmap(struct bootinfo *info, struct window w, const uint8_t *start)
{
	uint32_t count = read32(start + PVH_MEMMAP_COUNT);
	uint64_t list = read64(start + PVH_MEMMAP);
	if (!count || count > BOOTINFO_MAX_MAP)
		return "PVH: no memory map, or one of more than 128 entries";
	const char *error = NULL;
	for (uint32_t i = 0; i < count && !error; i++) {
		const uint8_t *e = window_at(w, list + i * MAP_ENTRY_BYTES, MAP_ENTRY_BYTES);
		if (!e)
			return "PVH: the memory map lies outside memory";
		error = map_add(info, read64(e), read64(e + 8), read32(e + 16));
	}
	return error;
}

/* A bare initrd comes without a string: what follows the first " -- " of the command line is its string. */
static void pvh_split_cmdline(struct bootinfo *info)
{
	if (info->modules != 1 || info->module[0].string[0])
		return;
	char *s = info->cmdline;
	for (size_t i = 0; s[i]; i++) {
		bool starts = i == 0 || s[i - 1] == ' ';
		if (!starts || s[i] != '-' || s[i + 1] != '-' || (s[i + 2] && s[i + 2] != ' '))
			continue;
		string_copy(info->module[0].string, BOOTINFO_STRING, (const uint8_t *)s + i + 2 + (s[i + 2] == ' '),
			BOOTINFO_STRING);
		s[i > 0 ? i - 1 : 0] = 0;
		return;
	}
}

const char *bootinfo_pvh(struct bootinfo *info, struct window window, uint64_t address)
{
	bootinfo_clear(info);
	string_copy(info->loader, sizeof(info->loader), (const uint8_t *)"PVH", 4);
	const uint8_t *start = window_at(window, address, PVH_BYTES);
	if (!start || read32(start) != PVH_START_INFO_MAGIC)
		return "PVH: no start info";
	if (read32(start + 4) < 1)
		return "PVH: the start info's version has no memory map";
	uint64_t text = read64(start + PVH_CMDLINE);
	const uint8_t *s = text ? window_at(window, text, 1) : (const uint8_t *)"";
	if (!s || !string_copy(info->cmdline, sizeof(info->cmdline), s, text ? window.bytes - (text - window.start) : 1))
		return "PVH: the command line lies outside memory or is longer than 1023 characters";
	info->rsdp_address = read64(start + PVH_RSDP);
	const char *error = pvh_memmap(info, window, start);
	if (!error)
		error = pvh_modules(info, window, start);
	if (!error)
		pvh_split_cmdline(info);
	return error;
}
