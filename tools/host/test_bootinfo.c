/* SPDX-License-Identifier: MIT */
/* bootinfo on what real loaders left behind, on that damaged in every way, and the planning of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "boot/bootinfo.h"
#include "tools/host/captured_multiboot2.h"

#define BLOB_AT 0x10000
#define MIB (1ull << 20)

/* Bytes of the framebuffer tag. */
#define FRAME_LINE_LOW 16
#define FRAME_LINE_HIGH 17
#define FRAME_WIDTH_HIGH 21
#define FRAME_BITS_AT 28
#define FRAME_TYPE_AT 29

static struct bootinfo info;

/* A copy of exactly `bytes` bytes, so that ASan sees every read beyond. */
static uint8_t *captured(size_t *bytes)
{
	*bytes = strlen(captured_multiboot2) / 2;
	uint8_t *blob = malloc(*bytes);
	for (size_t i = 0; i < *bytes; i++) {
		char digits[3] = {captured_multiboot2[2 * i], captured_multiboot2[2 * i + 1], 0};
		blob[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return blob;
}

static const char *parse(const uint8_t *blob, size_t bytes)
{
	memset(&info, 0xa5, sizeof(info));
	const char *error = bootinfo_multiboot2(&info, (struct window){blob, BLOB_AT, bytes}, BLOB_AT);
	assert_true(info.maps <= BOOTINFO_MAX_MAP && info.modules <= BOOTINFO_MAX_MODULES);
	assert_true(info.rsdp_bytes <= BOOTINFO_RSDP_BYTES);
	assert_non_null(memchr(info.cmdline, 0, sizeof(info.cmdline)));
	for (unsigned i = 0; i < info.modules; i++)
		assert_non_null(memchr(info.module[i].string, 0, BOOTINFO_STRING));
	return error;
}

static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }
static void put64(uint8_t *p, uint64_t v) { memcpy(p, &v, sizeof(v)); }

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static void captured_blob_is_understood(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *blob = captured(&bytes);
	assert_null(parse(blob, bytes));
	assert_string_equal(info.loader, "GRUB 2.06-13+deb12u2");
	assert_string_equal(info.cmdline, "quiet cpus=2");
	assert_int_equal(info.modules, 3);
	assert_string_equal(info.module[0].string, "name=a mem=64M -- hello \"x\" it's");
	assert_string_equal(info.module[1].string, "name=g2");
	assert_string_equal(info.module[2].string, "initrd-of=g2");
	assert_int_equal(info.module[1].range.end - info.module[1].range.start, 5000);
	assert_int_equal(info.maps, 6);
	assert_int_equal(info.map[0].type, MEMORY_RAM);
	assert_int_equal(info.map[0].range.end, 0x9f000);
	assert_int_equal(info.rsdp_bytes, 20);
	assert_memory_equal(info.rsdp, "RSD PTR ", 8);
	assert_true(info.vga_text);
	free(blob);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *blob = captured(&bytes);
	for (size_t n = 0; n < bytes; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		memcpy(cut, blob, n);
		assert_non_null(parse(cut, n)); /* the total is larger than the memory */
		if (n >= 4) {
			put32(cut, (uint32_t)n);
			assert_non_null(parse(cut, n)); /* the end tag is missing */
		}
		free(cut);
	}
	free(blob);
}

static void every_tag_size_may_be_wrong(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *blob = captured(&bytes);
	const uint32_t wrong[] = {0, 1, 7, 8, 9, 12, 16, 17, 20, 31, 1000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
	unsigned tags = 0;
	for (size_t at = 8; at < bytes; at += (get32(blob + at + 4) + 7) & ~7u, tags++) {
		uint32_t right = get32(blob + at + 4);
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			put32(blob + at + 4, wrong[i]);
			const char *error = parse(blob, bytes);
			if (wrong[i] < 8 || wrong[i] > bytes)
				assert_non_null(error);
		}
		put32(blob + at + 4, right);
	}
	assert_int_equal(tags, 14);
	assert_null(parse(blob, bytes));
	free(blob);
}

static void every_byte_may_be_wrong(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *blob = captured(&bytes);
	const uint8_t wrong[] = {0, 1, 0x7f, 0x80, 0xff};
	for (size_t at = 0; at < bytes; at++) {
		uint8_t right = blob[at];
		for (size_t i = 0; i < sizeof(wrong); i++) {
			blob[at] = wrong[i];
			parse(blob, bytes);
		}
		blob[at] = right;
	}
	free(blob);
}

static void a_map_entry_size_of_zero_ends(void **state)
{
	(void)state;
	uint8_t blob[8 + 16 + 24 + 8] = {0};
	put32(blob, sizeof(blob));
	put32(blob + 8, 6);
	put32(blob + 12, 40);
	assert_non_null(parse(blob, sizeof(blob)));
	put32(blob + 16, 24);
	put64(blob + 24, 0x100000);
	put64(blob + 32, ~0ull);
	put32(blob + 40, MEMORY_RAM);
	put32(blob + 52, 8);
	assert_non_null(parse(blob, sizeof(blob))); /* wraps */
	put64(blob + 32, 0x1000);
	assert_null(parse(blob, sizeof(blob)));
	assert_int_equal(info.maps, 1);
}

/* A tag of a screen of pixels, as GRUB leaves it: 32 bits, red from bit 16, green from 8, blue from 0. */
static const uint8_t frame_tag[40] = {8, 0, 0, 0, 38, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 5, 0, 0,
	0x20, 3, 0, 0, 32, 1, 0, 0, 16, 8, 8, 8, 0, 8};

static void parse_frame(const uint8_t *tag)
{
	uint8_t blob[8 + 40 + 40 + 8] = {0};
	put32(blob, sizeof(blob));
	memcpy(blob + 8, tag, 40);
	put32(blob + 48, 6); /* a memory map of one entry */
	put32(blob + 52, 40);
	put32(blob + 56, 24);
	put64(blob + 72, MIB);
	put32(blob + 80, MEMORY_RAM);
	put32(blob + 92, 8);
	assert_null(parse(blob, sizeof(blob)));
}

static void a_screen_of_pixels_is_understood(void **state)
{
	(void)state;
	uint8_t tag[40];
	parse_frame(frame_tag);
	assert_int_equal(info.frame.address, 0x80000000);
	assert_int_equal(info.frame.line_bytes, 5120);
	assert_int_equal(info.frame.width, 1280);
	assert_int_equal(info.frame.height, 800);
	assert_int_equal(info.frame.bits, 32);
	assert_int_equal(info.frame.white, 0xffffff);
	assert_false(info.vga_text);

	const struct { unsigned at; uint8_t value; } unusable[] = {
		{FRAME_WIDTH_HIGH, 0x50}, {FRAME_LINE_HIGH, 1}, {FRAME_LINE_LOW, 2}, {FRAME_BITS_AT, 8}, {FRAME_TYPE_AT, 0},
		{FRAME_TYPE_AT, 2},
	};
	for (unsigned i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
		memcpy(tag, frame_tag, sizeof(tag));
		tag[unusable[i].at] = unusable[i].value;
		parse_frame(tag);
		assert_int_equal(info.frame.address, 0);
		assert_int_equal(info.vga_text, unusable[i].value == 2 && unusable[i].at == FRAME_TYPE_AT);
	}
	memcpy(tag, frame_tag, sizeof(tag));
	tag[FRAME_BITS_AT] = 24;
	tag[FRAME_LINE_LOW] = 2; /* lines are padded */
	parse_frame(tag);
	assert_int_equal(info.frame.bits, 24);
	memcpy(tag, frame_tag, sizeof(tag));
	memset(tag + 8, 0xff, 8); /* its end wraps around */
	parse_frame(tag);
	assert_int_equal(info.frame.address, 0);
	memcpy(tag, frame_tag, sizeof(tag));
	memset(tag + 32, 0xff, 6); /* colours that no pixel has */
	parse_frame(tag);
	assert_int_equal(info.frame.address, 0);
}

static void long_strings_are_refused_by_name(void **state)
{
	(void)state;
	size_t bytes = 8 + 24 + 16 + 16 + 2000 + 8;
	uint8_t *blob = calloc(1, bytes);
	put32(blob, (uint32_t)bytes);
	put32(blob + 8, 6);
	put32(blob + 12, 40);
	put32(blob + 16, 24);
	put64(blob + 32, 0x1000);
	put32(blob + 40, MEMORY_RAM);
	put32(blob + 48, 3);
	put32(blob + 52, 16 + 2000);
	memset(blob + 64, 'x', 1999);
	put32(blob + bytes - 4, 8);
	assert_null(parse(blob, bytes));
	assert_int_equal(info.modules, 1);
	assert_non_null(info.module[0].refused);
	put32(blob + 48, 1);
	memset(blob + 56, 'x', 8);
	assert_non_null(parse(blob, bytes));
	free(blob);
}

/* PVH: what QEMU 7.2 left, at the places where it left it. */
#define PVH_BYTES 0x3000
#define PVH_MAP 0x5a8
#define PVH_CMDLINE 0x11c0
#define PVH_MODLIST 0x21c0
#define PVH_START 0x21e0

static uint8_t *pvh_memory(void)
{
	static const uint64_t map[7][3] = {
		{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xf0000, 0x10000, 2}, {0x100000, 0x1fee0000, 1},
		{0x1ffe0000, 0x20000, 2}, {0xfffc0000, 0x40000, 2}, {0xfd00000000, 0x300000000, 2},
	};
	uint8_t *m = calloc(1, PVH_BYTES);
	memcpy(m + PVH_MAP, map, sizeof(map));
	strcpy((char *)m + PVH_CMDLINE, "quiet cpus=2 -- name=a mem=64M -- hello");
	put64(m + PVH_MODLIST, 0x1ffd7000);
	put64(m + PVH_MODLIST + 8, 4);
	put32(m + PVH_START, PVH_START_INFO_MAGIC);
	put32(m + PVH_START + 4, 1);
	put32(m + PVH_START + 12, 1);
	put64(m + PVH_START + 16, PVH_MODLIST);
	put64(m + PVH_START + 24, PVH_CMDLINE);
	put64(m + PVH_START + 32, 0xf59d0);
	put64(m + PVH_START + 40, PVH_MAP);
	put32(m + PVH_START + 48, 7);
	return m;
}

static const char *parse_pvh(const uint8_t *memory, size_t bytes)
{
	memset(&info, 0xa5, sizeof(info));
	return bootinfo_pvh(&info, (struct window){memory, 0, bytes}, PVH_START);
}

static void captured_pvh_is_understood(void **state)
{
	(void)state;
	uint8_t *m = pvh_memory();
	assert_null(parse_pvh(m, PVH_BYTES));
	assert_string_equal(info.loader, "PVH");
	assert_string_equal(info.cmdline, "quiet cpus=2");
	assert_int_equal(info.modules, 1);
	assert_string_equal(info.module[0].string, "name=a mem=64M -- hello");
	assert_int_equal(info.module[0].range.end, 0x1ffd7004);
	assert_int_equal(info.maps, 7);
	assert_int_equal(info.rsdp_address, 0xf59d0);

	strcpy((char *)m + PVH_CMDLINE, "-- name=a");
	assert_null(parse_pvh(m, PVH_BYTES));
	assert_string_equal(info.cmdline, "");
	assert_string_equal(info.module[0].string, "name=a");
	strcpy((char *)m + PVH_CMDLINE, "a--b --");
	assert_null(parse_pvh(m, PVH_BYTES));
	assert_string_equal(info.cmdline, "a--b");
	assert_string_equal(info.module[0].string, "");
	free(m);
}

static void damaged_pvh_is_refused(void **state)
{
	(void)state;
	for (size_t n = 0; n < PVH_START + 56; n += 8) {
		uint8_t *m = pvh_memory(), *cut = malloc(n ? n : 1);
		memcpy(cut, m, n);
		assert_non_null(parse_pvh(cut, n));
		free(cut);
		free(m);
	}
	for (size_t at = PVH_START; at < PVH_START + 56; at += 4) {
		uint8_t *m = pvh_memory();
		put32(m + at, 0xffffffff);
		parse_pvh(m, PVH_BYTES);
		put32(m + at, PVH_BYTES - 1);
		parse_pvh(m, PVH_BYTES);
		free(m);
	}
}

/* ---- memory ---- */

static const struct range image = {2 * MIB, 3 * MIB};

static void memory_set(unsigned modules, const struct range *at)
{
	memset(&info, 0, sizeof(info));
	info.map[info.maps++] = (struct bootinfo_map){{0, 0x9f000}, MEMORY_RAM};
	info.map[info.maps++] = (struct bootinfo_map){{0x9f000, MIB}, MEMORY_RESERVED};
	info.map[info.maps++] = (struct bootinfo_map){{MIB, 64 * MIB}, MEMORY_RAM};
	info.map[info.maps++] = (struct bootinfo_map){{32 * MIB, 32 * MIB + 100}, MEMORY_RESERVED};
	for (unsigned i = 0; i < modules; i++)
		info.module[info.modules++].range = at[i];
}

static void usable_leaves_out_what_is_taken(void **state)
{
	(void)state;
	const struct range modules[] = {{8 * MIB + 1, 9 * MIB - 1}, {16 * MIB, 17 * MIB}};
	struct range out[8];
	memory_set(2, modules);
	info.module[1].refused = "for a reason";
	unsigned n = memory_usable(&info, image, out, 8);
	const struct range want[] = {{MIB, 2 * MIB}, {3 * MIB, 8 * MIB}, {9 * MIB, 32 * MIB}, {32 * MIB + 4096, 64 * MIB}};
	assert_int_equal(n, 4);
	assert_memory_equal(out, want, sizeof(want));
	n = memory_usable(&info, image, out, 2);
	assert_int_equal(n, 2);
	assert_memory_equal(out, want + 2, 2 * sizeof(want[0]));
}

static void good_modules_stay_and_low_ones_move(void **state)
{
	(void)state;
	const struct range modules[] = {{0x10000, 0x14001}, {8 * MIB, 9 * MIB}, {63 * MIB, 64 * MIB}};
	struct move moves[BOOTINFO_MAX_MODULES];
	memory_set(3, modules);
	assert_int_equal(memory_place_modules(&info, image, moves), 1);
	assert_int_equal(moves[0].from, 0x10000);
	assert_int_equal(moves[0].bytes, 0x4001);
	assert_int_equal(moves[0].to, 63 * MIB - 0x5000);
	assert_int_equal(info.module[0].range.start, moves[0].to);
	assert_int_equal(info.module[1].range.start, 8 * MIB);
	for (unsigned i = 0; i < 3; i++)
		assert_null(info.module[i].refused);
}

static void one_file_may_be_several_modules(void **state)
{
	(void)state;
	const struct range modules[] = {{0x10000, 0x14001}, {8 * MIB, 9 * MIB}, {0x10000, 0x14001}, {8 * MIB, 9 * MIB}};
	struct move moves[BOOTINFO_MAX_MODULES];
	memory_set(4, modules);
	assert_int_equal(memory_place_modules(&info, image, moves), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_null(info.module[i].refused);
	assert_int_equal(info.module[0].range.start, moves[0].to);
	assert_int_equal(info.module[2].range.start, moves[0].to);
	assert_int_equal(info.module[2].range.end, moves[0].to + 0x4001);
	assert_int_equal(info.module[3].range.start, 8 * MIB);
}

static void bad_modules_are_refused(void **state)
{
	(void)state;
	const struct range modules[] = {
		{3 * MIB - 1, 4 * MIB}, {8 * MIB, 9 * MIB}, {9 * MIB - 1, 10 * MIB}, {32 * MIB, 32 * MIB + 10},
		{80 * MIB, 81 * MIB}, {12 * MIB, 12 * MIB}, {0x9e000, 0xa0000}, {20 * MIB, 21 * MIB},
	};
	struct move moves[BOOTINFO_MAX_MODULES];
	memory_set(8, modules);
	assert_int_equal(memory_place_modules(&info, image, moves), 0);
	for (unsigned i = 0; i < 7; i++)
		assert_non_null(info.module[i].refused);
	assert_null(info.module[7].refused);
}

static void no_room_to_move_is_a_refusal(void **state)
{
	(void)state;
	const struct range modules[] = {{0x10000, 0x90000}};
	struct move moves[BOOTINFO_MAX_MODULES];
	memset(&info, 0, sizeof(info));
	info.map[info.maps++] = (struct bootinfo_map){{0, 0x9f000}, MEMORY_RAM};
	info.map[info.maps++] = (struct bootinfo_map){{2 * MIB, 3 * MIB + 0x1000}, MEMORY_RAM};
	info.module[info.modules++].range = modules[0];
	assert_int_equal(memory_place_modules(&info, image, moves), 0);
	assert_non_null(info.module[0].refused);
}

static void many_map_entries_fit(void **state)
{
	(void)state;
	struct range out[64];
	memset(&info, 0, sizeof(info));
	info.map[info.maps++] = (struct bootinfo_map){{0, 1024 * MIB}, MEMORY_RAM};
	while (info.maps < BOOTINFO_MAX_MAP) {
		uint64_t at = 16 * MIB + info.maps * 4 * MIB;
		info.map[info.maps++] = (struct bootinfo_map){{at, at + 1}, MEMORY_RESERVED};
	}
	assert_int_equal(memory_usable(&info, image, out, 64), 64);
	for (unsigned i = 1; i < 64; i++)
		assert_true(out[i - 1].end < out[i].start);
}

static void low_page_and_take(void **state)
{
	(void)state;
	memory_set(0, NULL);
	assert_int_equal(memory_low_page(&info), 0x9e000);
	info.maps = 0;
	assert_int_equal(memory_low_page(&info), 0);

	struct range r[] = {{MIB, 2 * MIB}, {4 * MIB, 4 * MIB + 0x3000}};
	assert_int_equal(memory_take(r, 2, 0x1001, 4096, 1ull << 32), 4 * MIB + 0x1000);
	assert_int_equal(memory_take(r, 2, 0x2000, 4096, 1ull << 32), 2 * MIB - 0x2000);
	assert_int_equal(memory_take(r, 2, 2 * MIB, 4096, 1ull << 32), 0);
	assert_int_equal(memory_take(r, 2, 0x1000, 4096, 4 * MIB), 2 * MIB - 0x3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captured_blob_is_understood),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_tag_size_may_be_wrong),
		cmocka_unit_test(every_byte_may_be_wrong),
		cmocka_unit_test(a_map_entry_size_of_zero_ends),
		cmocka_unit_test(a_screen_of_pixels_is_understood),
		cmocka_unit_test(long_strings_are_refused_by_name),
		cmocka_unit_test(captured_pvh_is_understood),
		cmocka_unit_test(damaged_pvh_is_refused),
		cmocka_unit_test(usable_leaves_out_what_is_taken),
		cmocka_unit_test(good_modules_stay_and_low_ones_move),
		cmocka_unit_test(one_file_may_be_several_modules),
		cmocka_unit_test(bad_modules_are_refused),
		cmocka_unit_test(no_room_to_move_is_a_refusal),
		cmocka_unit_test(many_map_entries_fit),
		cmocka_unit_test(low_page_and_take),
	};
	return cmocka_run_group_tests_name("bootinfo", tests, NULL, NULL);
}
