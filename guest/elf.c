/* SPDX-License-Identifier: MIT */
#include "guest/elf.h"
#include "guest/text.h"

/* e_ident */
#define MAGIC "\177ELF"
#define IDENT_CLASS 4
#define IDENT_DATA 5
#define CLASS_32 1
#define CLASS_64 2
#define DATA_LITTLE_ENDIAN 1

#define MACHINE_386 3
#define MACHINE_X86_64 62
#define TYPE_EXECUTABLE 2
#define SEGMENT_LOAD 1

struct header32 {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version, entry, phoff, shoff, flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct header64 {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct program32 {
	uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

struct program64 {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

/* What the two classes have in common. */
struct header {
	unsigned type, machine, phnum, phentsize;
	uint64_t entry, phoff;
};

struct program {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

struct file {
	const char *data;
	uint64_t bytes;
};

/* Copies a structure out of the file, which need not be aligned; false when it does not lie in the file. */
static bool copy_out(const struct file *f, uint64_t offset, void *to, uint64_t bytes)
{
	if (offset > f->bytes || bytes > f->bytes - offset)
		return false;
	__builtin_memcpy(to, f->data + offset, bytes);
	return true;
}

static bool read_header(const struct file *f, bool is_64bit, struct header *h)
{
	struct header32 h32;
	struct header64 h64;

	if (is_64bit) {
		if (!copy_out(f, 0, &h64, sizeof h64))
			return false;
		*h = (struct header){h64.type, h64.machine, h64.phnum, h64.phentsize, h64.entry, h64.phoff};
		return true;
	}
	if (!copy_out(f, 0, &h32, sizeof h32))
		return false;
	*h = (struct header){h32.type, h32.machine, h32.phnum, h32.phentsize, h32.entry, h32.phoff};
	return true;
}

static bool read_program(const struct file *f, bool is_64bit, uint64_t offset, struct program *p)
{
	struct program32 p32;
	struct program64 p64;

	if (is_64bit) {
		if (!copy_out(f, offset, &p64, sizeof p64))
			return false;
		*p = (struct program){p64.type, p64.offset, p64.vaddr, p64.paddr, p64.filesz, p64.memsz};
		return true;
	}
	if (!copy_out(f, offset, &p32, sizeof p32))
		return false;
	*p = (struct program){p32.type, p32.offset, p32.vaddr, p32.paddr, p32.filesz, p32.memsz};
	return true;
}

bool elf_recognise(const void *file, uint64_t bytes)
{
	return bytes >= 4 && !__builtin_memcmp(file, MAGIC, 4);
}

static bool check_header(bool is_64bit, const struct header *h, char *error, size_t size)
{
	unsigned machine = is_64bit ? MACHINE_X86_64 : MACHINE_386;
	unsigned entry_bytes = is_64bit ? sizeof(struct program64) : sizeof(struct program32);

	if (h->machine != machine)
		text_format(error, size, "ELF: machine %u, expected %u", h->machine, machine);
	else if (h->type != TYPE_EXECUTABLE)
		text_format(error, size, "ELF: type %u, expected %u (an executable)", h->type, TYPE_EXECUTABLE);
	else if (h->phnum == 0)
		text_format(error, size, "ELF: no program headers");
	else if (h->phentsize != entry_bytes)
		text_format(error, size, "ELF: program headers of %u bytes, expected %u", h->phentsize, entry_bytes);
	else
		return true;
	return false;
}

/* Adds a loadable segment; `i` is its program header's number, for messages. */
static bool add_segment(
	struct image *m, const struct file *f, const struct program *p, unsigned i, char *error, size_t size)
{
	if (p->filesz > p->memsz)
		text_format(error, size, "ELF: segment %u has 0x%lx bytes in the file, but 0x%lx in memory", i,
			p->filesz, p->memsz);
	else if (p->offset > f->bytes || p->filesz > f->bytes - p->offset)
		text_format(error, size,
			"ELF: segment %u (offset 0x%lx, 0x%lx bytes) ends behind the file's 0x%lx bytes", i, p->offset,
			p->filesz, f->bytes);
	else if (p->memsz > UINT64_MAX - p->paddr)
		text_format(error, size, "ELF: segment %u wraps: address 0x%lx, 0x%lx bytes", i, p->paddr, p->memsz);
	else if (m->segments == IMAGE_MAX_SEGMENTS)
		text_format(error, size, "ELF: more than %u loadable segments", IMAGE_MAX_SEGMENTS);
	else {
		m->segment[m->segments++] = (struct image_segment){p->offset, p->filesz, p->paddr, p->memsz};
		return true;
	}
	return false;
}

/* Boot loaders take the entry as virtual where a segment has it so (then its place in memory counts), else as physical.
 */
static bool place_entry(struct image *m, uint64_t entry, const struct program *p)
{
	if (entry < p->vaddr || entry - p->vaddr >= p->memsz)
		return false;
	m->entry = p->paddr + (entry - p->vaddr);
	return true;
}

bool elf_read(struct image *m, const void *file, uint64_t bytes, char *error, size_t size)
{
	const struct file f = {file, bytes};
	uint8_t ident[16];
	bool is_64bit, placed = false;
	struct header h;

	*m = (struct image){0};
	if (!elf_recognise(file, bytes) || !copy_out(&f, 0, ident, sizeof ident) ||
		ident[IDENT_DATA] != DATA_LITTLE_ENDIAN ||
		(ident[IDENT_CLASS] != CLASS_32 && ident[IDENT_CLASS] != CLASS_64)) {
		text_format(error, size, "ELF: not a little-endian file of class 32 or 64");
		return false;
	}
	is_64bit = ident[IDENT_CLASS] == CLASS_64;
	if (!read_header(&f, is_64bit, &h)) {
		text_format(error, size, "ELF: the file ends in its header");
		return false;
	}
	if (!check_header(is_64bit, &h, error, size))
		return false;
	m->entry = h.entry;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct program p;

		/* phoff is below the file's length here, so the sum does not wrap. */
		if (h.phoff > bytes || !read_program(&f, is_64bit, h.phoff + (uint64_t)i * h.phentsize, &p)) {
			text_format(error, size, "ELF: program header %u lies behind the file's end", i);
			return false;
		}
		if (p.type != SEGMENT_LOAD || p.memsz == 0)
			continue;
		if (!add_segment(m, &f, &p, i, error, size))
			return false;
		placed = placed || place_entry(m, h.entry, &p);
	}
	if (m->segments == 0)
		text_format(error, size, "ELF: nothing to load");
	else if (!image_holds(m, m->entry))
		text_format(error, size, "ELF: the entry 0x%lx lies in no segment", h.entry);
	else
		return true;
	return false;
}
