/* SPDX-License-Identifier: MIT */
/* guest/loader.c, multiboot.c, elf.c and layout.c with good images: what lies where, and what the guest is told. */
#include "tools/host/loader_test.h"

static void segments_are_loaded(void)
{
	good();
	assert_int_equal(entry.entry, LOAD + 0x20);
	assert_memory_equal(ram + LOAD, file + 0x1000, 0x1000);
	assert_memory_equal(ram + LOAD + 0x2000, file + 0x2000, 0x800);
	for (unsigned i = 0x800; i < 0x1000; i++)
		assert_int_equal(ram[LOAD + 0x2000 + i], 0);
}

static void a_good_elf32(void **state)
{
	(void)state;
	make_elf32();
	segments_are_loaded();
}

static void a_good_elf64(void **state)
{
	(void)state;
	make_elf64();
	segments_are_loaded();
}

static void a_good_image_with_address_fields(void **state)
{
	(void)state;
	make_addresses();
	good();
	assert_int_equal(entry.entry, LOAD + 0x40);
	assert_memory_equal(ram + LOAD, file + HEADER, FILE_BYTES - HEADER);
	assert_int_equal(ram[LOAD + FILE_BYTES - HEADER], 0);
	/* They come before the ELF header of the same file. */
	*ehdr32() = (Elf32_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1}};
	good();
	/* A part of the file, from before the header on. */
	set32(HEADER + 12, LOAD + 0x80);
	set32(HEADER + 20, LOAD + 0x100);
	good();
	assert_memory_equal(ram + LOAD, file + HEADER - 0x80, 0x100);
}

static void an_entry_by_virtual_address(void **state)
{
	(void)state;
	make_elf32();
	phdr32(0)->p_vaddr = 0xc0000000 + LOAD;
	phdr32(1)->p_vaddr = 0xc0002000 + LOAD;
	ehdr32()->e_entry = 0xc0000010 + LOAD;
	good();
	assert_int_equal(entry.entry, LOAD + 0x10);
	ehdr32()->e_entry = LOAD + 0x30;
	good();
	assert_int_equal(entry.entry, LOAD + 0x30);
}

static void other_program_headers_are_passed_over(void **state)
{
	(void)state;
	make_elf64();
	ehdr64()->e_phnum = 4;
	memset(file + HEADER, 0, 12);
	set_header(0x1f00, 0);
	*phdr64(2) = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_offset = ~0UL, .p_filesz = ~0UL};
	*phdr64(3) = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = ~0UL};
	good();
}

static void a_segment_may_lie_low(void **state)
{
	(void)state;
	make_elf32();
	phdr32(1)->p_paddr = phdr32(1)->p_vaddr = 0x9000;
	good();
	assert_memory_equal(ram + 0x9000, file + 0x2000, 0x800);
	assert_int_equal(entry.info, 0xa000);
}

static void the_information(void **state)
{
	uint32_t i;

	(void)state;
	make_elf32();
	good();
	i = entry.info;
	assert_true(i >= 0x1000 && i < RAM_LOW_END && i % 4 == 0);
	assert_int_equal(get32(i), 0x24d);
	assert_int_equal(get32(i + 4), 640);
	assert_int_equal(get32(i + 8), (MEM >> 10) - 1024);
	assert_string_equal(ram + get32(i + 16), "a command line");
	assert_int_equal(get32(i + 20), 0);
	assert_string_equal(ram + get32(i + 64), "Umbra");
	assert_int_equal(get32(i + 44), 48);
	assert_int_equal(get32(get32(i + 48)), 20);
	assert_int_equal(get32(get32(i + 48) + 4), 0);
	assert_int_equal(get32(get32(i + 48) + 12), RAM_LOW_END);
	assert_int_equal(get32(get32(i + 48) + 20), 1);
	assert_int_equal(get32(get32(i + 48) + 28), LOAD);
	assert_int_equal(get32(get32(i + 48) + 36), MEM - LOAD);
}

static void the_map_goes_on_above_4_gib(void **state)
{
	uint32_t map;

	(void)state;
	make_elf32();
	assert_true(loader_load(6UL << 30, 1, &memory, &image, 0, 0, &entry, error));
	assert_int_equal(get32(entry.info + 8), (3 << 20) - 1024);
	assert_int_equal(get32(entry.info + 44), 72);
	map = get32(entry.info + 48) + 48;
	assert_int_equal(get32(map + 4), 0);
	assert_int_equal(get32(map + 8), 1);
	assert_int_equal(get32(map + 12), 3u << 30);
	assert_int_equal(get32(map + 16), 0);
}

static void modules_lie_on_pages_above_the_image(void **state)
{
	static const struct loader_file modules[] = {
		{"first", 5, "x=1", false}, {"", 0, "", false}, {"third!", 6, "z", false}};
	uint32_t mods, last = LOAD + 0x3000;

	(void)state;
	make_elf32();
	assert_true(load_with(modules, 3));
	assert_int_equal(get32(entry.info + 20), 3);
	mods = get32(entry.info + 24);
	for (unsigned i = 0; i < 3; i++, mods += 16) {
		uint32_t start = get32(mods), end = get32(mods + 4);

		assert_int_equal(start % PAGE_SIZE, 0);
		assert_true(start >= last);
		assert_int_equal(end - start, modules[i].bytes);
		assert_memory_equal(ram + start, modules[i].data, modules[i].bytes);
		assert_string_equal(ram + get32(mods + 8), modules[i].string);
		last = end;
	}
}

static void modules_go_below_when_there_is_no_room_above(void **state)
{
	static uint8_t data[1 << 20];
	struct loader_file module = {data, sizeof data, "m", false};
	uint32_t mods;

	(void)state;
	memset(data, 0x5a, sizeof data);
	make_elf32();
	phdr32(1)->p_paddr = phdr32(1)->p_vaddr = MEM - 0x1000;
	assert_true(load_with(&module, 1));
	mods = get32(entry.info + 24);
	assert_int_equal(get32(mods), LOAD + 0x1000);
	assert_memory_equal(ram + get32(mods), data, sizeof data);
	assert_memory_equal(ram + MEM - 0x1000, file + 0x2000, 0x800);
}

static void a_module_without_room(void **state)
{
	struct loader_file module = {ram, MEM - 0x1000, "m", false};

	(void)state;
	make_elf32();
	assert_false(load_with(&module, 1));
	assert_non_null(strstr(error, "no room for its module 1 of 8384512 bytes"));
}

static void information_without_room(void **state)
{
	(void)state;
	make_elf32();
	phdr32(0)->p_paddr = phdr32(0)->p_vaddr = LOAD;
	phdr32(0)->p_memsz = MEM - LOAD;
	phdr32(1)->p_paddr = phdr32(1)->p_vaddr = 0;
	phdr32(1)->p_memsz = RAM_LOW_END;
	assert_false(load_with(0, 0));
	assert_non_null(strstr(error, "no room for the multiboot information"));
	/* With the last 4 KiB free it goes there. */
	phdr32(0)->p_memsz -= 0x1000;
	assert_true(load_with(0, 0));
	assert_int_equal(entry.info, MEM - 0x1000);
}

static void the_header_may_stand_anywhere_in_8192_bytes(void **state)
{
	(void)state;
	for (unsigned at = HEADER; at <= 8192 - 12; at += 4) {
		make_elf32();
		memset(file + HEADER, 0, 12);
		set_header(at, 0);
		good();
	}
	make_elf32();
	memset(file + HEADER, 0, 12);
	set_header(8192 - 8, 0);
	bad("ELF without a multiboot header in its first 8192 bytes");
	make_elf32();
	memset(file + HEADER, 0, 12);
	set_header(HEADER + 2, 0);
	bad("without a multiboot header");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_elf32),
		cmocka_unit_test(a_good_elf64),
		cmocka_unit_test(a_good_image_with_address_fields),
		cmocka_unit_test(an_entry_by_virtual_address),
		cmocka_unit_test(other_program_headers_are_passed_over),
		cmocka_unit_test(a_segment_may_lie_low),
		cmocka_unit_test(the_information),
		cmocka_unit_test(the_map_goes_on_above_4_gib),
		cmocka_unit_test(modules_lie_on_pages_above_the_image),
		cmocka_unit_test(modules_go_below_when_there_is_no_room_above),
		cmocka_unit_test(a_module_without_room),
		cmocka_unit_test(information_without_room),
		cmocka_unit_test(the_header_may_stand_anywhere_in_8192_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
