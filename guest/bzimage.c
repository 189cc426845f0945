/* SPDX-License-Identifier: MIT */
#include "guest/bzimage.h"
#include "guest/acpi_tables.h"
#include "guest/boot_params.h"
#include "guest/ram.h"
#include "guest/text.h"

#define MAGIC 0x53726448u /* "HdrS" */
#define MAGIC_OFFSET 0x202u
#define BOOT_FLAG 0xaa55u
#define JUMP_SHORT 0xebu
#define VERSION_LEAST 0x020au       /* init_size, pref_address */
#define VERSION_XLOADFLAGS 0x020cu
#define HEADER_LEAST 0x264u         /* one past init_size */
#define SECTOR 512u
#define PARAGRAPH 16u
#define SETUP_SECTS_DEFAULT 4u
#define LOADED_HIGH 0x01u           /* loadflags */
#define KEEP_SEGMENTS 0x40u
#define XLF_KERNEL_64 0x0001u       /* xloadflags */
#define ENTRY_64 0x200u             /* from where it is loaded */
#define LOADER_UNKNOWN 0xffu        /* type_of_loader: none that has a number */

/* A header that was found to be good, and where things go. */
struct bzimage {
	struct setup_header h;
	uint64_t offset, bytes; /* in the file: what follows the real-mode code */
	uint64_t start;         /* gpa where that goes */
	uint64_t end;           /* gpa, one past what the kernel needs before it looks at the memory map */
	bool code64;
};

bool bzimage_recognise(const struct loader_file *image)
{
	uint32_t magic;

	if (image->bytes < MAGIC_OFFSET + sizeof magic)
		return false;
	__builtin_memcpy(&magic, (const char *)image->data + MAGIC_OFFSET, sizeof magic);
	return magic == MAGIC;
}

/* Copies the header as far as it says that it goes. */
static bool read_header(struct setup_header *h, const struct loader_file *f, char *error)
{
	const char *from = (const char *)f->data + SETUP_HEADER_OFFSET;
	uint64_t end;

	if (f->bytes < SETUP_HEADER_END) {
		text_format(error, LOADER_ERROR, "bzImage: the file ends in its setup header, after %lu bytes", f->bytes);
		return false;
	}
	__builtin_memcpy(h, from, sizeof *h);
	if (h->boot_flag != BOOT_FLAG) {
		text_format(
			error, LOADER_ERROR, "bzImage: boot flag 0x%x, expected 0x%x", h->boot_flag, BOOT_FLAG);
		return false;
	}
	if (h->version < VERSION_LEAST) {
		text_format(error, LOADER_ERROR, "bzImage: boot protocol %u.%02u, expected 2.10 or later (Linux 2.6.31)",
			h->version >> 8, h->version & 0xff);
		return false;
	}
	end = MAGIC_OFFSET + h->jump_bytes;
	if (h->jump != JUMP_SHORT || end < HEADER_LEAST || end > SETUP_HEADER_END) {
		text_format(error, LOADER_ERROR,
			"bzImage: the setup header begins with %02x %02x, expected a short jump of 0x%x to 0x%x bytes", h->jump,
			h->jump_bytes, HEADER_LEAST - MAGIC_OFFSET, SETUP_HEADER_END - MAGIC_OFFSET);
		return false;
	}
	__builtin_memset((char *)h + (end - SETUP_HEADER_OFFSET), 0, SETUP_HEADER_END - end);
	if (!(h->loadflags & LOADED_HIGH)) {
		text_format(error, LOADER_ERROR,
			"zImage (loadflags 0x%x: not loaded high); expected a bzImage, which runs from 1 MiB on", h->loadflags);
		return false;
	}
	return true;
}

/* The last paragraph may be cut short: its bytes are padding. */
static bool find_payload(struct bzimage *b, const struct loader_file *f, char *error)
{
	uint64_t whole = (uint64_t)b->h.syssize * PARAGRAPH;

	b->offset = ((b->h.setup_sects ? b->h.setup_sects : SETUP_SECTS_DEFAULT) + 1) * SECTOR;
	if (whole <= ENTRY_64) {
		text_format(error, LOADER_ERROR, "bzImage: syssize 0x%x, expected more than 0x%x", b->h.syssize,
			ENTRY_64 / PARAGRAPH);
		return false;
	}
	if (f->bytes + PARAGRAPH <= b->offset + whole) {
		text_format(error, LOADER_ERROR, "bzImage: the file is cut off: %lu bytes, its header tells of %lu", f->bytes,
			b->offset + whole);
		return false;
	}
	b->bytes = f->bytes - b->offset < whole ? f->bytes - b->offset : whole;
	return true;
}

/* A relocatable kernel that is loaded below pref_address runs there all the same, so it is loaded there. Any other is loaded at
 * 1 MiB and moves to pref_address itself. */
static bool place_kernel(struct bzimage *b, uint64_t mem, char *error)
{
	uint64_t align = b->h.kernel_alignment, run = b->h.pref_address;

	if (run < RAM_MIDDLE || run >= RAM_HIGH) {
		text_format(error, LOADER_ERROR, "bzImage: pref_address 0x%lx, expected 0x%lx to 0x%lx", run, RAM_MIDDLE,
			RAM_HIGH - 1);
		return false;
	}
	b->start = RAM_MIDDLE;
	if (b->h.relocatable_kernel) {
		if (!align || align & (align - 1)) {
			text_format(error, LOADER_ERROR, "bzImage: kernel_alignment 0x%lx is no power of two", align);
			return false;
		}
		b->start = run = (run + align - 1) & ~(align - 1);
	}
	if (run >= RAM_HIGH) {
		text_format(error, LOADER_ERROR, "bzImage: pref_address 0x%lx aligned to 0x%lx is 0x%lx, expected less than 0x%lx",
			b->h.pref_address, align, run, RAM_HIGH);
		return false;
	}
	b->end = run + b->h.init_size;
	if (b->end < b->start + b->bytes)
		b->end = b->start + b->bytes;
	if (ram_holds(mem, b->start, b->end - b->start))
		return true;
	text_format(error, LOADER_ERROR,
		"bzImage: it needs memory from 0x%lx to 0x%lx (init_size 0x%x), which is not in the guest's RAM (mem=%luK)",
		b->start, b->end, b->h.init_size, mem >> 10);
	return false;
}

static bool check(struct bzimage *b, uint64_t mem, const struct loader_file *image, const struct loader_file *module,
	unsigned modules, char *error)
{
	uint64_t line = text_length(image->string);

	if (!read_header(&b->h, image, error) || !find_payload(b, image, error) || !place_kernel(b, mem, error))
		return false;
	b->code64 = b->h.version >= VERSION_XLOADFLAGS && b->h.xloadflags & XLF_KERNEL_64;
	if (line > b->h.cmdline_size) {
		text_format(error, LOADER_ERROR, "its command line has %lu bytes; this kernel takes up to %u", line,
			b->h.cmdline_size);
		return false;
	}
	for (unsigned i = 0; i < modules; i++)
		if (!module[i].initrd) {
			text_format(error, LOADER_ERROR,
				"module-of=: a Linux bzImage takes no modules; it takes one initrd, named by initrd-of=");
			return false;
		}
	if (modules > 1) {
		text_format(error, LOADER_ERROR, "a Linux bzImage takes one initrd, not %u", modules);
		return false;
	}
	return true;
}

/* As high as may be, out of the way of what the kernel puts above itself. */
static bool place_initrd(struct bzimage *b, struct layout *l, const struct loader_file *initrd, char *error)
{
	uint64_t start = 0;

	if (!initrd->bytes)
		return true;
	if (!layout_place_high(
		    l, RAM_MIDDLE, (uint64_t)b->h.initrd_addr_max + 1, initrd->bytes, PAGE_SIZE, &start)) {
		text_format(error, LOADER_ERROR, "no room for its initrd of %lu bytes at or below 0x%x (mem=%luK)",
			initrd->bytes, b->h.initrd_addr_max, l->mem >> 10);
		return false;
	}
	b->h.ramdisk_image = (uint32_t)start;
	b->h.ramdisk_size = (uint32_t)initrd->bytes;
	return true;
}

bool bzimage_load(uint64_t mem, unsigned vcpus, const struct image_memory *memory, const struct loader_file *image,
	const struct loader_file *module, unsigned modules, struct loader_entry *entry, char *error)
{
	struct layout l = {.mem = mem};
	struct boot_params_places p;
	struct bzimage b;

	if (!check(&b, mem, image, module, modules, error))
		return false;
	b.h.type_of_loader = LOADER_UNKNOWN;
	b.h.loadflags &= (uint8_t)~KEEP_SEGMENTS;
	b.h.code32_start = (uint32_t)b.start;
	b.h.setup_data = b.h.ramdisk_image = b.h.ramdisk_size = 0;
	layout_take(&l, ACPI_TABLES_START, RAM_LOW_END - ACPI_TABLES_START);
	layout_take(&l, b.start, b.end - b.start);
	if (modules && !place_initrd(&b, &l, module, error))
		return false;
	if (!boot_params_write(&l, memory, &b.h, image->string, b.code64, &p) ||
		!acpi_tables_write(memory, vcpus) ||
		!memory->write(memory->to, gpa(b.start), (const char *)image->data + b.offset, b.bytes) ||
		(b.h.ramdisk_size &&
			!memory->write(memory->to, gpa(b.h.ramdisk_image), module->data, module->bytes))) {
		text_format(error, LOADER_ERROR, "bzImage: what it needs cannot be written (mem=%luK)", mem >> 10);
		return false;
	}
	*entry = (struct loader_entry){
		.kind = b.code64 ? LOADER_LINUX64 : LOADER_LINUX32,
		.entry = (uint32_t)b.start + (b.code64 ? ENTRY_64 : 0),
		.info = p.boot_params,
		.gdt = p.gdt,
		.gdt_limit = p.gdt_limit,
		.cr3 = p.page_table,
	};
	return true;
}
