/* SPDX-License-Identifier: MIT */
/* Several modules in one file, for loaders that pass only one: a cpio archive of the newc kind (cpio(5)), whose first
 * file, `modules`, lists the others, a line each: FILE STRING. */
#include "boot/bootinfo.h"

/* A header is a magic number and 13 fields of 8 hexadecimal digits; then the name with its end, then the file, both
 * padded so that the next thing starts at a multiple of 4. */
#define CPIO_MAGIC "070701"
#define CPIO_MAGIC_BYTES 6
#define CPIO_DIGITS 8
#define CPIO_HEADER 110
#define CPIO_ALIGN 4
#define FIELD_FILE_SIZE 6
#define FIELD_NAME_SIZE 11
#define CPIO_LAST "TRAILER!!!"
#define LIST_NAME "modules"

struct archive {
	const uint8_t *base;
	uint64_t bytes;
};

struct file {
	const char *name;		/* ends with 0 */
	uint64_t data, bytes;		/* data: offset in the archive */
	uint64_t next;			/* offset of the next header */
};

static bool begins(const uint8_t *p, uint64_t bytes, const char *with)
{
	for (; *with; with++, p++, bytes--)
		if (!bytes || *p != (uint8_t)*with)
			return false;
	return true;
}

static bool field(const uint8_t *header, unsigned n, uint64_t *value)
{
	const uint8_t *p = header + CPIO_MAGIC_BYTES + n * CPIO_DIGITS;
	*value = 0;
	for (unsigned i = 0; i < CPIO_DIGITS; i++) {
		uint8_t low = p[i] | 0x20;
		if (p[i] >= '0' && p[i] <= '9')
			*value = *value << 4 | (uint64_t)(p[i] - '0');
		else if (low >= 'a' && low <= 'f')
			*value = *value << 4 | (uint64_t)(low - 'a' + 10);
		else
			return false;
	}
	return true;
}

static uint64_t aligned(uint64_t offset)
{
	return (offset + CPIO_ALIGN - 1) & ~(CPIO_ALIGN - 1ull);
}

/* The file whose header is at offset `at`. */
static const char *file_at(struct archive a, uint64_t at, struct file *f)
{
	uint64_t name_bytes;
	if (at > a.bytes || a.bytes - at < CPIO_HEADER)
		return "bundle: it is cut short: no header where one should be";
	const uint8_t *header = a.base + at;
	if (!begins(header, CPIO_HEADER, CPIO_MAGIC) || !field(header, FIELD_FILE_SIZE, &f->bytes)
		|| !field(header, FIELD_NAME_SIZE, &name_bytes))
		return "bundle: a file's header is damaged";
	if (!name_bytes || name_bytes > a.bytes - at - CPIO_HEADER)
		return "bundle: it is cut short: a file's name is not all there";
	f->name = (const char *)header + CPIO_HEADER;
	if (f->name[name_bytes - 1])
		return "bundle: a file's name has no end";
	f->data = aligned(at + CPIO_HEADER + name_bytes);
	if (f->data > a.bytes || f->bytes > a.bytes - f->data)
		return "bundle: it is cut short: a file is not all there";
	f->next = aligned(f->data + f->bytes);
	return NULL;
}

/* `name`, without a leading ./, is what stands at p, up to a space or the end. */
static bool names(const uint8_t *p, uint64_t bytes, const char *name)
{
	if (name[0] == '.' && name[1] == '/')
		name += 2;
	if (!begins(p, bytes, name))
		return false;
	while (*name) {
		name++;
		p++;
		bytes--;
	}
	return !bytes || *p == ' ';
}

static const char *file_find(struct archive a, const uint8_t *p, uint64_t bytes, struct file *f)
{
	for (uint64_t at = 0;; at = f->next) {
		const char *error = file_at(a, at, f);
		if (error)
			return error;
		if (begins((const uint8_t *)f->name, sizeof(CPIO_LAST), CPIO_LAST))
			return "bundle: a file that its list names is not there";
		if (at && names(p, bytes, f->name))
			return NULL;
	}
}

static const char *module_add(struct bootinfo *info, uint64_t start, uint64_t bytes, const uint8_t *s, uint64_t length)
{
	if (info->modules == BOOTINFO_MAX_MODULES)
		return "bundle: more than 32 modules";
	if (length >= BOOTINFO_STRING)
		return "bundle: a line of its list is longer than 1023 characters";
	struct bootinfo_module *m = &info->module[info->modules++];
	m->range = (struct range){start, start + bytes};
	m->refused = NULL;
	for (uint64_t i = 0; i < length; i++)
		m->string[i] = (char)s[i];
	m->string[length] = 0;
	return NULL;
}

/* One line of the list. */
static const char *line_parse(struct bootinfo *info, struct archive a, uint64_t start, const uint8_t *p, uint64_t bytes)
{
	struct file f;
	uint64_t word = 0;
	if (!bytes)
		return NULL;
	const char *error = file_find(a, p, bytes, &f);
	if (error)
		return error;
	while (word < bytes && p[word] != ' ')
		word++;
	while (word < bytes && p[word] == ' ')
		word++;
	return module_add(info, start + f.data, f.bytes, p + word, bytes - word);
}

/* The whole archive, so that one that is cut short is found out wherever its list ends. */
static const char *check_all(struct archive a)
{
	struct file f;
	for (uint64_t at = 0;; at = f.next) {
		const char *error = file_at(a, at, &f);
		if (error || begins((const uint8_t *)f.name, sizeof(CPIO_LAST), CPIO_LAST))
			return error;
	}
}

static const char *list_parse(struct bootinfo *info, struct archive a, uint64_t start)
{
	struct file list;
	const char *error = check_all(a);
	if (!error)
		error = file_at(a, 0, &list);
	if (error)
		return error;
	if (!names((const uint8_t *)LIST_NAME, sizeof(LIST_NAME) - 1, list.name))
		return "bundle: its first file is not the list 'modules'";
	const uint8_t *p = a.base + list.data, *end = p + list.bytes;
	while (p < end && !error) {
		const uint8_t *line = p;
		while (p < end && *p != '\n')
			p++;
		error = line_parse(info, a, start, line, (uint64_t)(p - line));
		p += p < end;
	}
	return error ? error : info->modules ? NULL : "bundle: its list is empty";
}

const char *bootinfo_bundle(struct bootinfo *info, struct window window)
{
	if (info->modules != 1 || info->module[0].refused || info->module[0].range.start >= info->module[0].range.end)
		return NULL;
	uint64_t start = info->module[0].range.start, bytes = info->module[0].range.end - start;
	struct archive a = {window_at(window, start, bytes), bytes};
	if (!a.base || !begins(a.base, bytes, CPIO_MAGIC))
		return NULL;
	bool has_string = info->module[0].string[0];
	info->modules = 0;
	const char *error = has_string ? "bundle: it takes no string: its list has one for each module"
		: list_parse(info, a, start);
	if (error)
		info->modules = 0;
	return error;
}
