/* SPDX-License-Identifier: MIT */
#include "guest/loader.h"
#include "guest/bzimage.h"
#include "guest/elf.h"
#include "guest/ram.h"
#include "guest/text.h"
#include "mm/host.h"

#define ACCEPTED "expected a multiboot 1 image (ELF32, ELF64 or with address fields) or a Linux bzImage"
#define MULTIBOOT2_MAGIC 0xe85250d6u
#define MULTIBOOT2_SEARCH 32768
#define MULTIBOOT2_ALIGN 8

/* Files that people try. The first that fits names it. */
static const struct known {
	unsigned offset, bytes;
	const char *magic, *name;
} known_files[] = {
	{0, 2, "\x1f\x8b", "gzip file"},
	{0, 4, "\x28\xb5\x2f\xfd", "zstd file"},
	{0, 5, "\xfd\x37zXZ", "xz file"},
	{0, 3, "BZh", "bzip2 file"},
	{0, 5, "07070", "cpio archive (an initrd is named by initrd-of=)"},
	{0, 2, "MZ", "PE (EFI or DOS) file"},
};

static bool has_multiboot2(const struct loader_file *f)
{
	uint64_t end = f->bytes < MULTIBOOT2_SEARCH ? f->bytes : MULTIBOOT2_SEARCH;

	for (uint64_t o = 0; o + sizeof(uint32_t) <= end; o += MULTIBOOT2_ALIGN) {
		uint32_t magic;

		__builtin_memcpy(&magic, (const char *)f->data + o, sizeof magic);
		if (magic == MULTIBOOT2_MAGIC)
			return true;
	}
	return false;
}

/* Says what a file without a multiboot 1 header is. */
static void name_file(const struct loader_file *f, char *error)
{
	const uint8_t *d = f->data;

	for (unsigned i = 0; i < sizeof known_files / sizeof *known_files; i++) {
		const struct known *k = &known_files[i];

		if (f->bytes >= k->offset + k->bytes && !__builtin_memcmp(d + k->offset, k->magic, k->bytes)) {
			text_format(error, LOADER_ERROR, "%s; " ACCEPTED, k->name);
			return;
		}
	}
	if (has_multiboot2(f))
		text_format(error, LOADER_ERROR, "multiboot 2 image; " ACCEPTED);
	else if (elf_recognise(d, f->bytes))
		text_format(error, LOADER_ERROR, "ELF without a multiboot header in its first 8192 bytes; " ACCEPTED);
	else if (f->bytes < 4)
		text_format(
			error, LOADER_ERROR, "%s file of %lu bytes; " ACCEPTED, f->bytes ? "short" : "empty", f->bytes);
	else
		text_format(
			error, LOADER_ERROR, "unknown magic %02x %02x %02x %02x; " ACCEPTED, d[0], d[1], d[2], d[3]);
}


/* The image's place; *top becomes one past its last byte. Nothing is written before all of it is known to fit. */
static bool take_segments(struct layout *l, const struct image *m, uint64_t *top, char *error)
{
	for (unsigned i = 0; i < m->segments; i++) {
		const struct image_segment *s = &m->segment[i];

		switch (layout_take(l, s->start, s->memory_bytes)) {
		case LAYOUT_OUTSIDE:
			text_format(error, LOADER_ERROR,
				"the segment at 0x%lx of 0x%lx bytes is not in the guest's RAM (mem=%luK)", s->start,
				s->memory_bytes, l->mem >> 10);
			return false;
		case LAYOUT_OVERLAP:
			text_format(error, LOADER_ERROR, "the segment at 0x%lx of 0x%lx bytes overlaps another",
				s->start, s->memory_bytes);
			return false;
		case LAYOUT_TAKEN:
			break;
		}
		if (s->start + s->memory_bytes > *top)
			*top = s->start + s->memory_bytes;
	}
	return true;
}

static bool put_modules(struct layout *l, const struct image_memory *memory, uint64_t top,
	const struct loader_file *module, unsigned modules, struct multiboot_module *placed, char *error)
{
	for (unsigned i = 0; i < modules; i++) {
		uint64_t start = 0, bytes = module[i].bytes;

		/* An empty module has a place too, so that its address means something. */
		if (!layout_place(l, top, bytes ? bytes : 1, PAGE_SIZE, &start) ||
			!memory->write(memory->to, gpa(start), module[i].data, bytes)) {
			text_format(error, LOADER_ERROR, "no room for its module %u of %lu bytes (mem=%luK)", i + 1,
				bytes, l->mem >> 10);
			return false;
		}
		placed[i] = (struct multiboot_module){(uint32_t)start, (uint32_t)(start + bytes), module[i].string};
	}
	return true;
}

static bool load_multiboot(uint64_t mem, const struct image_memory *memory, const struct loader_file *image,
	uint64_t header, const struct loader_file *module, unsigned modules, struct loader_entry *entry, char *error)
{
	struct multiboot_module placed[MULTIBOOT_MAX_MODULES];
	struct layout l = {.mem = mem};
	uint64_t top = RAM_MIDDLE;
	struct image m;

	if (!multiboot_read(&m, image->data, image->bytes, header, error, LOADER_ERROR) ||
		!take_segments(&l, &m, &top, error))
		return false;
	for (unsigned i = 0; i < m.segments; i++) {
		const struct image_segment *s = &m.segment[i];

		/* What the file has no bytes for is zero, as all of the RAM was. */
		if (!memory->write(memory->to, gpa(s->start), (const char *)image->data + s->offset, s->file_bytes)) {
			text_format(error, LOADER_ERROR, "the segment at 0x%lx cannot be written", s->start);
			return false;
		}
	}
	if (!put_modules(&l, memory, top, module, modules, placed, error))
		return false;
	*entry = (struct loader_entry){.kind = LOADER_MULTIBOOT, .entry = (uint32_t)m.entry};
	entry->info = multiboot_inform(&l, memory, image->string, placed, modules);
	if (entry->info == 0)
		text_format(error, LOADER_ERROR, "no room for the multiboot information (mem=%luK)", mem >> 10);
	return entry->info != 0;
}

bool loader_load(uint64_t mem, unsigned vcpus, const struct image_memory *memory, const struct loader_file *image,
	const struct loader_file *module, unsigned modules, struct loader_entry *entry, char *error)
{
	enum multiboot_found found;
	uint64_t header = 0;

	CHECK(modules <= MULTIBOOT_MAX_MODULES);
	found = multiboot_find(image->data, image->bytes, &header);
	if (found == MULTIBOOT_FOUND)
		return load_multiboot(mem, memory, image, header, module, modules, entry, error);
	if (bzimage_recognise(image))
		return bzimage_load(mem, vcpus, memory, image, module, modules, entry, error);
	if (found == MULTIBOOT_BAD_CHECKSUM)
		text_format(error, LOADER_ERROR, "multiboot: the header at 0x%lx has a wrong checksum", header);
	else
		name_file(image, error);
	return false;
}
