/* SPDX-License-Identifier: MIT */
/* Bundles: several modules in one cpio archive; whole, cut short anywhere, damaged anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "boot/bootinfo.h"

#define AT 0x1000000
#define ROOM 65536

static struct bootinfo info;
static uint8_t archive[ROOM];
static size_t bytes;

static void pad(void)
{
	while (bytes % 4)
		archive[bytes++] = 0;
}

/* Fields: inode, mode, uid, gid, links, time, size, two devices of two numbers each, the name's size, checksum. */
static void add_raw(const char *name, const char *data, size_t data_bytes)
{
	bytes += (size_t)sprintf((char *)archive + bytes, "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X",
		1, 0100644, 0, 0, 1, 0, data_bytes, 0, 0, 0, 0, strlen(name) + 1, 0);
	memcpy(archive + bytes, name, strlen(name) + 1);
	bytes += strlen(name) + 1;
	pad();
	memcpy(archive + bytes, data, data_bytes);
	bytes += data_bytes;
	pad();
}

static void add(const char *name, const char *data)
{
	add_raw(name, data, strlen(data));
}

static void archive_begin(const char *list)
{
	bytes = 0;
	add("modules", list);
}

static void build_good(void)
{
	archive_begin("a.elf name=a mem=64M -- x=1  y\n\nb/c.elf\ninitrd initrd-of=a");
	add("a.elf", "first");
	add("./b/c.elf", "second!!");
	add("unused", "nobody's");
	add("initrd", "third");
	add("TRAILER!!!", "");
}

/* A copy of exactly `count` bytes, so that ASan sees every read beyond. */
static const char *parse(size_t count)
{
	uint8_t *copy = malloc(count ? count : 1);
	memcpy(copy, archive, count);
	memset(&info, 0xa5, sizeof(info));
	info.modules = 1;
	info.module[0].refused = NULL;
	info.module[0].range = (struct range){AT, AT + count};
	info.module[0].string[0] = 0;
	const char *error = bootinfo_bundle(&info, (struct window){copy, AT, count});
	assert_true(info.modules <= BOOTINFO_MAX_MODULES);
	for (unsigned i = 0; i < info.modules; i++) {
		assert_true(info.module[i].range.start >= AT && info.module[i].range.end <= AT + count);
		assert_true(info.module[i].range.start <= info.module[i].range.end);
		assert_non_null(memchr(info.module[i].string, 0, BOOTINFO_STRING));
	}
	free(copy);
	return error;
}

static void expect_module(unsigned i, const char *data, const char *string)
{
	const struct bootinfo_module *m = &info.module[i];
	assert_int_equal(m->range.end - m->range.start, strlen(data));
	assert_memory_equal(archive + (m->range.start - AT), data, strlen(data));
	assert_string_equal(m->string, string);
	assert_null(m->refused);
}

static void modules_come_in_the_order_of_the_list(void **state)
{
	(void)state;
	build_good();
	assert_null(parse(bytes));
	assert_int_equal(info.modules, 3);
	expect_module(0, "first", "name=a mem=64M -- x=1  y");
	expect_module(1, "second!!", "");
	expect_module(2, "third", "initrd-of=a");
}

static void every_cut_is_refused(void **state)
{
	(void)state;
	build_good();
	size_t whole = bytes;
	while (!archive[whole - 1])
		whole--;
	for (size_t n = 6; n < whole + 1; n++) { /* with its end, the last name is all there */
		const char *error = parse(n);
		assert_non_null(error);
		assert_non_null(strstr(error, "bundle: it is cut short"));
		assert_int_equal(info.modules, 0);
	}
	assert_null(parse(whole + 1 + (4 - (whole + 1) % 4) % 4));
}

static void every_byte_may_be_wrong(void **state)
{
	(void)state;
	const uint8_t wrong[] = {0, '0', 'f', 'F', 'g', ' ', '\n', 0xff};
	build_good();
	for (size_t i = 0; i < bytes; i++) {
		uint8_t right = archive[i];
		for (unsigned k = 0; k < sizeof(wrong); k++) {
			archive[i] = wrong[k];
			parse(bytes);
		}
		archive[i] = right;
	}
}

static void a_damaged_header_is_named(void **state)
{
	(void)state;
	build_good();
	size_t second = 6;
	while (memcmp(archive + second, "070701", 6))
		second++;
	archive[second] = '1';
	assert_string_equal(parse(bytes), "bundle: a file's header is damaged");
	archive[second] = '0';
	memcpy(archive + second + 6 + 6 * 8, "FFFFFFFF", 8);
	assert_string_equal(parse(bytes), "bundle: it is cut short: a file is not all there");
}

static void a_list_must_fit(void **state)
{
	(void)state;
	archive_begin("a.elf name=a\nabsent name=b\n");
	add("a.elf", "data");
	add("TRAILER!!!", "");
	assert_string_equal(parse(bytes), "bundle: a file that its list names is not there");
	archive_begin("\n\n");
	add("TRAILER!!!", "");
	assert_string_equal(parse(bytes), "bundle: its list is empty");
	archive_begin("modules name=a\n");
	add("TRAILER!!!", "");
	assert_non_null(parse(bytes));
	bytes = 0;
	add("a.elf", "data");
	add("modules", "a.elf");
	add("TRAILER!!!", "");
	assert_string_equal(parse(bytes), "bundle: its first file is not the list 'modules'");
}

static void limits_are_kept(void **state)
{
	(void)state;
	char list[2000] = "";
	for (unsigned i = 0; i < BOOTINFO_MAX_MODULES; i++)
		strcat(list, "a.elf\n");
	archive_begin(list);
	add("a.elf", "data");
	add("TRAILER!!!", "");
	assert_null(parse(bytes));
	assert_int_equal(info.modules, BOOTINFO_MAX_MODULES);
	strcat(list, "a.elf\n");
	archive_begin(list);
	add("a.elf", "data");
	add("TRAILER!!!", "");
	assert_string_equal(parse(bytes), "bundle: more than 32 modules");

	for (unsigned length = BOOTINFO_STRING - 1; length <= BOOTINFO_STRING; length++) {
		memset(list, 'x', sizeof(list));
		memcpy(list, "a.elf ", 6);
		list[6 + length] = 0;
		archive_begin(list);
		add("a.elf", "data");
		add("TRAILER!!!", "");
		const char *error = parse(bytes);
		assert_true(length < BOOTINFO_STRING ? !error : error != NULL);
	}
}

static void other_modules_are_left_alone(void **state)
{
	(void)state;
	memcpy(archive, "\177ELF", 4);
	assert_null(parse(100));
	assert_int_equal(info.modules, 1);
	build_good();
	info.modules = 2; /* a cpio among several modules is some guest's initrd */
	assert_null(bootinfo_bundle(&info, (struct window){archive, AT, bytes}));
	assert_int_equal(info.modules, 2);
	info.modules = 1;
	info.module[0].range = (struct range){AT, AT + bytes};
	strcpy(info.module[0].string, "name=a");
	assert_non_null(strstr(bootinfo_bundle(&info, (struct window){archive, AT, bytes}), "takes no string"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modules_come_in_the_order_of_the_list),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(every_byte_may_be_wrong),
		cmocka_unit_test(a_damaged_header_is_named),
		cmocka_unit_test(a_list_must_fit),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(other_modules_are_left_alone),
	};
	return cmocka_run_group_tests_name("bundle", tests, NULL, NULL);
}
