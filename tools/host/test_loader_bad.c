/* SPDX-License-Identifier: MIT */
/* guest/loader.c, multiboot.c, elf.c and layout.c with bad images: each way to be bad, truncations, mutations. */
#include "tools/host/loader_test.h"

#include <stdlib.h>

static void a_wrong_checksum(void **state)
{
	(void)state;
	make_elf32();
	file[HEADER + 8] ^= 1;
	bad("the header at 0x100 has a wrong checksum");
	/* A good one behind it counts. */
	set_header(0x180, 0);
	good();
}

static void required_features(void **state)
{
	(void)state;
	make_elf32();
	set_header(HEADER, 0x7);
	good();
	make_elf32();
	set_header(HEADER, 0x23);
	bad("requires features 0x23; only 0x7 are known");
	/* The upper ones are optional. */
	make_elf32();
	set_header(HEADER, 0xfffe0000);
	good();
}

static void other_files_are_named(void **state)
{
	static const struct {
		unsigned offset;
		const char *magic, *words;
	} cases[] = {
		{0x202, "HdrS", "bzImage: boot flag 0x0, expected 0xaa55"},
		{0, "\x1f\x8b", "gzip file; expected"},
		{0, "\x28\xb5\x2f\xfd", "zstd file"},
		{0,
			"\xfd"
			"7zXZ",
			"xz file"},
		{0, "BZh9", "bzip2 file"},
		{0, "070701", "cpio archive (an initrd is named by initrd-of=)"},
		{0, "MZ", "PE (EFI or DOS) file"},
		{0x40, "\xd6\x50\x52\xe8", "multiboot 2 image"},
		{0,
			"\x7f"
			"ELF",
			"ELF without a multiboot header"},
		{0, "#!/b",
			"unknown magic 23 21 2f 62; expected a multiboot 1 image (ELF32, ELF64 or with address "
			"fields) or a Linux bzImage"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		fresh();
		memset(file + HEADER, 0, 12);
		memcpy(file + cases[i].offset, cases[i].magic, strlen(cases[i].magic));
		bad(cases[i].words);
	}
	/* A bzImage may look like a PE file too. */
	fresh();
	memset(file + HEADER, 0, 12);
	memcpy(file, "MZ", 2);
	memcpy(file + 0x202, "HdrS", 4);
	bad("bzImage: boot flag");
	file[0] = 0;
	image.bytes = 3;
	bad("short file of 3 bytes");
	image.bytes = 0;
	bad("empty file");
}

static void neither_elf_nor_address_fields(void **state)
{
	(void)state;
	fresh();
	bad("neither ELF nor address fields (flags 0x3)");
}

static void elf_headers_that_do_not_fit(void **state)
{
	(void)state;
	make_elf32();
	ehdr32()->e_machine = EM_ARM;
	bad("machine 40, expected 3");
	make_elf64();
	ehdr64()->e_machine = EM_386;
	bad("machine 3, expected 62");
	make_elf32();
	ehdr32()->e_type = ET_REL;
	bad("type 1, expected 2");
	make_elf32();
	ehdr32()->e_ident[EI_CLASS] = 3;
	bad("class 32 or 64");
	make_elf32();
	ehdr32()->e_ident[EI_DATA] = ELFDATA2MSB;
	bad("little-endian");
	make_elf32();
	ehdr32()->e_phnum = 0;
	bad("no program headers");
	make_elf32();
	ehdr32()->e_phentsize = 56;
	bad("program headers of 56 bytes, expected 32");
	make_elf32();
	memset(file + HEADER, 0, 12);
	set_header(0x10, 0);
	file[EI_CLASS] = ELFCLASS64;
	image.bytes = 60;
	bad("ELF: the file ends in its header");
	file[EI_CLASS] = ELFCLASS32;
	image.bytes = 40;
	bad("ELF: the file ends in its header");
	make_elf64();
	ehdr64()->e_phentsize = 0;
	bad("program headers of 0 bytes, expected 56");
}

static void program_headers_behind_the_file(void **state)
{
	(void)state;
	make_elf32();
	ehdr32()->e_phoff = FILE_BYTES - 40;
	bad("program header 1 lies behind the file's end");
	make_elf64();
	ehdr64()->e_phoff = ~0UL - 8;
	bad("program header 0 lies behind the file's end");
	make_elf64();
	ehdr64()->e_phnum = 0xffff;
	memset(phdr64(2), 0, 0x100);
	set_header(0x1f00, 0);
	bad("program header");
}

static void a_segment_behind_the_file(void **state)
{
	(void)state;
	make_elf32();
	phdr32(1)->p_offset = FILE_BYTES - 0x7ff;
	bad("segment 1 (offset 0x2801, 0x800 bytes) ends behind the file's 0x3000 bytes");
	make_elf64();
	phdr64(1)->p_offset = ~0UL;
	bad("segment 1");
	make_elf64();
	phdr64(1)->p_filesz = phdr64(1)->p_memsz = ~0UL;
	bad("segment 1");
}

static void a_segment_larger_in_the_file(void **state)
{
	(void)state;
	make_elf32();
	phdr32(1)->p_memsz = 0x7ff;
	bad("segment 1 has 0x800 bytes in the file, but 0x7ff in memory");
}

static void segments_outside_memory(void **state)
{
	static const uint64_t starts[] = {MEM, MEM - 0xfff, 0x9f001, 0xa0000, 0xff000, 3UL << 30, 4UL << 30, 1UL << 52};

	(void)state;
	for (unsigned i = 0; i < sizeof starts / sizeof *starts; i++) {
		make_elf64();
		phdr64(1)->p_paddr = starts[i];
		bad("is not in the guest's RAM (mem=8192K)");
	}
	make_elf64();
	phdr64(1)->p_memsz = 1UL << 40;
	bad("is not in the guest's RAM");
}

static void segments_that_wrap(void **state)
{
	(void)state;
	make_elf64();
	phdr64(1)->p_paddr = ~0UL - 0x10;
	bad("segment 1 wraps");
	make_elf64();
	phdr64(1)->p_memsz = ~0UL - 0x1000;
	bad("segment 1 wraps");
	/* At 4 GiB nothing wraps, but there is no RAM. */
	make_elf32();
	phdr32(1)->p_paddr = 0xfffff800;
	bad("is not in the guest's RAM");
}

static void segments_that_overlap(void **state)
{
	(void)state;
	make_elf32();
	phdr32(1)->p_paddr = LOAD + 0xfff;
	bad("overlaps another");
	make_elf32();
	*phdr32(1) = *phdr32(0);
	bad("overlaps another");
}

static void too_many_segments(void **state)
{
	(void)state;
	make_elf32();
	memset(file + HEADER, 0, 12);
	set_header(0x1f00, 0);
	ehdr32()->e_phnum = IMAGE_MAX_SEGMENTS + 1;
	ehdr32()->e_entry = LOAD;
	for (unsigned i = 0; i <= IMAGE_MAX_SEGMENTS; i++)
		*phdr32(i) = (Elf32_Phdr){PT_LOAD, 0x2000, 0, (Elf32_Addr)(LOAD + i * 0x1000), 16, 16, 0, 0};
	bad("more than 32 loadable segments");
	ehdr32()->e_phnum--;
	good();
}

static void an_entry_in_no_segment(void **state)
{
	(void)state;
	make_elf32();
	ehdr32()->e_entry = LOAD + 0x1000;
	bad("the entry 0x101000 lies in no segment");
	make_elf64();
	ehdr64()->e_entry = ~0UL;
	bad("lies in no segment");
}

static void nothing_to_load(void **state)
{
	(void)state;
	make_elf32();
	phdr32(0)->p_type = phdr32(1)->p_type = PT_NOTE;
	bad("nothing to load");
}

static void address_fields_that_do_not_fit(void **state)
{
	static const struct {
		unsigned field;
		uint32_t value;
		const char *words;
	} cases[] = {
		{0, LOAD - 1, "header_addr 0xfffff does not fit load_addr 0x100000"},
		{0, LOAD + HEADER + 1, "does not fit"},
		{1, 0, "does not fit"},
		{2, LOAD, "is not in the file's 0x3000 bytes"},
		{2, LOAD - 1, "is not in the file's"},
		{2, LOAD + FILE_BYTES, "is not in the file's"},
		{2, 0xffffffff, "is not in the file's"},
		{3, LOAD + 0x10, "bss_end_addr 0x100010 lies below load_end_addr 0x102f00"},
		{3, 0xffffffff, "is not in the guest's RAM"},
		{4, LOAD - 1, "entry_addr 0xfffff lies outside what is loaded"},
		{4, LOAD + 0x8000, "lies outside"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		make_addresses();
		set32(HEADER + 12 + 4 * cases[i].field, cases[i].value);
		bad(cases[i].words);
	}
	make_addresses();
	image.bytes = HEADER + 12 + 19;
	bad("address fields are cut off");
}

/* Every truncation of each kind of image: loaded or refused with a reason, and nothing read behind the end (the copy is
 * on the heap, where the sanitizer watches its end). */
static void every_truncation(void **state)
{
	static void (*const make[])(void) = {make_elf32, make_elf64, make_addresses};
	static const unsigned needed[] = {0x2800, 0x2800, HEADER + 32};

	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		make[kind]();
		for (unsigned n = 0; n < FILE_BYTES; n += n < 0x200 ? 1 : 37) {
			uint8_t *copy = malloc(n ? n : 1);

			assert_non_null(copy);
			memcpy(copy, file, n);
			image = (struct loader_file){copy, n, "", false};
			assert_int_equal(load_with(0, 0), n >= needed[kind]);
			assert_int_equal(error[0] == 0, n >= needed[kind]);
			free(copy);
		}
	}
}

/* Bytes and words of the headers changed at random. */
static void mutations(void **state)
{
	static void (*const make[])(void) = {make_elf32, make_elf64, make_addresses};
	static const uint32_t odd[] = {0, 1, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, LOAD, 0xfffff, 0x1000, MEM};
	struct loader_file module = {"data", 4, "m", false};
	unsigned accepted = 0, refused = 0;
	uint64_t seed = 17;

	(void)state;
	for (unsigned i = 0; i < 30000; i++) {
		make[i % 3]();
		for (uint64_t n = 1 + host_random(&seed) % 3; n; n--) {
			uint64_t r = host_random(&seed), at = r % 0x130;

			if (r >> 32 & 1)
				file[at] ^= (uint8_t)(1u << (r >> 40 & 7));
			else
				set32(at & ~3UL, odd[(r >> 40) % (sizeof odd / sizeof *odd)]);
		}
		if (i % 3 == 2 || host_random(&seed) % 2) {
			uint32_t sum;

			memcpy(&sum, file + HEADER + 4, 4);
			set_header(HEADER, sum & 0x10007);
		}
		if (host_random(&seed) % 8 == 0)
			image.bytes = host_random(&seed) % FILE_BYTES;
		if (load_with(&module, 1)) {
			accepted++;
			assert_true(ram_holds(MEM, entry.entry, 1) && ram_holds(MEM, entry.info, 88));
		} else {
			refused++;
			assert_true(error[0]);
		}
	}
	assert_true(accepted > 1000 && refused > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_checksum),
		cmocka_unit_test(required_features),
		cmocka_unit_test(other_files_are_named),
		cmocka_unit_test(neither_elf_nor_address_fields),
		cmocka_unit_test(elf_headers_that_do_not_fit),
		cmocka_unit_test(program_headers_behind_the_file),
		cmocka_unit_test(a_segment_behind_the_file),
		cmocka_unit_test(a_segment_larger_in_the_file),
		cmocka_unit_test(segments_outside_memory),
		cmocka_unit_test(segments_that_wrap),
		cmocka_unit_test(segments_that_overlap),
		cmocka_unit_test(too_many_segments),
		cmocka_unit_test(an_entry_in_no_segment),
		cmocka_unit_test(nothing_to_load),
		cmocka_unit_test(address_fields_that_do_not_fit),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
