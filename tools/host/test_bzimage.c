/* SPDX-License-Identifier: MIT */
/* guest/bzimage.c and boot_params.c: where a kernel goes, what it is told, and each way to be refused. The kernel is a file
 * of noise with a setup header. */
#include "tools/host/loader_test.h"

#include <stdlib.h>

#include "guest/acpi_tables.h"
#include "guest/boot_params.h"

#define SETUP_BYTES 0x400u /* setup_sects = 1 */
#define PAYLOAD (FILE_BYTES - SETUP_BYTES)
#define PREF 0x200000u
#define INIT_SIZE 0x300000u
#define INITRD_MAX 0x6fffffu

static struct setup_header *header(void)
{
	return (struct setup_header *)(file + SETUP_HEADER_OFFSET);
}

static void make_kernel(uint16_t version, uint16_t xloadflags)
{
	fresh();
	memset(file, 0, SETUP_BYTES);
	image.string = "console=ttyS0";
	*header() = (struct setup_header){
		.setup_sects = 1,
		.syssize = PAYLOAD / 16,
		.boot_flag = 0xaa55,
		.jump = 0xeb,
		.jump_bytes = 0x6a,
		.magic = 0x53726448,
		.version = version,
		.loadflags = 0x41,
		.code32_start = 0x100000,
		.ramdisk_image = 0x1234,
		.ramdisk_size = 0x5678,
		.initrd_addr_max = INITRD_MAX,
		.kernel_alignment = 0x100000,
		.relocatable_kernel = 1,
		.xloadflags = xloadflags,
		.cmdline_size = 255,
		.setup_data = 0xdead,
		.pref_address = PREF,
		.init_size = INIT_SIZE,
	};
}

static void make_kernel64(void)
{
	make_kernel(0x20f, 0x7f);
}

static uint64_t get64(uint64_t at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static const struct setup_header *told(void)
{
	return (const struct setup_header *)(ram + entry.info + SETUP_HEADER_OFFSET);
}

static void what_any_kernel_gets(uint64_t start)
{
	assert_memory_equal(ram + start, file + SETUP_BYTES, PAYLOAD);
	assert_int_equal(get64(entry.info + 0x70), ACPI_TABLES_RSDP);
	assert_memory_equal(ram + ACPI_TABLES_RSDP, "RSD PTR ", 8);
	assert_int_equal(told()->magic, 0x53726448);
	assert_int_equal(told()->type_of_loader, 0xff);
	assert_int_equal(told()->loadflags, 1); /* it loads its segments anew */
	assert_int_equal(told()->code32_start, start);
	assert_int_equal(told()->setup_data, 0);
	assert_string_equal(ram + told()->cmd_line_ptr, "console=ttyS0");
	assert_int_equal(ram[entry.info + 0x1ef], 0); /* says that the rest of boot_params was cleared */
	for (unsigned i = 0; i < 0x40; i++)
		assert_int_equal(ram[entry.info + i], 0);
	assert_int_equal(entry.gdt_limit, 31);
	assert_int_equal(get64(entry.gdt + 0x18), 0x00cf93000000ffff);
	assert_true(entry.info < ACPI_TABLES_START && entry.gdt < ACPI_TABLES_START);
}

static void the_64_bit_entry(void **state)
{
	(void)state;
	make_kernel64();
	good();
	assert_int_equal(entry.kind, LOADER_LINUX64);
	assert_int_equal(entry.entry, PREF + 0x200);
	what_any_kernel_gets(PREF);
	assert_int_equal(get64(entry.gdt + 0x10), 0x00af9b000000ffff);
	/* Every 2 MiB page of the first 4 GiB is there, for itself. */
	for (uint64_t a = 0; a < 4UL << 30; a += 2UL << 20) {
		uint64_t level3 = get64(entry.cr3) & ~0xfffUL, level2 = get64(level3 + (a >> 30) * 8) & ~0xfffUL;

		assert_int_equal(get64(entry.cr3) & 0xfff, 3);
		assert_int_equal(get64(level2 + (a >> 21) % 512 * 8), a | 0x83);
	}
	assert_int_equal(get64(entry.cr3 + 8), 0);
}

static void the_32_bit_entry(void **state)
{
	static const struct {
		uint16_t version, xloadflags;
	} kernels[] = {{0x20a, 0x7f}, {0x20b, 1}, {0x20c, 0x7e}, {0x20f, 0}};

	(void)state;
	for (unsigned i = 0; i < sizeof kernels / sizeof *kernels; i++) {
		make_kernel(kernels[i].version, kernels[i].xloadflags);
		good();
		assert_int_equal(entry.kind, LOADER_LINUX32);
		assert_int_equal(entry.entry, PREF);
		assert_int_equal(entry.cr3, 0);
		what_any_kernel_gets(PREF);
		assert_int_equal(get64(entry.gdt + 0x10), 0x00cf9b000000ffff);
	}
}

static void where_a_kernel_goes(void **state)
{
	(void)state;
	/* To pref_address, rounded up. */
	make_kernel64();
	header()->pref_address = PREF - 5;
	good();
	what_any_kernel_gets(PREF);
	/* One that does not move goes to 1 MiB, with an odd alignment too. */
	make_kernel64();
	header()->relocatable_kernel = 0;
	header()->kernel_alignment = 3;
	good();
	what_any_kernel_gets(LOAD);
	/* Up to the last byte of the RAM. */
	make_kernel64();
	header()->init_size = MEM - PREF;
	good();
	/* With four sectors of real-mode code when none are told. */
	make_kernel64();
	header()->setup_sects = 0;
	header()->syssize = (FILE_BYTES - 5 * 512) / 16;
	good();
	assert_memory_equal(ram + PREF, file + 5 * 512, FILE_BYTES - 5 * 512);
	/* Less than a paragraph may lack; what comes behind (a signature) is not loaded. */
	make_kernel64();
	image.bytes -= 15;
	good();
	make_kernel64();
	header()->syssize -= 16;
	good();
	assert_int_equal(ram[PREF + PAYLOAD - 256], 0);
}

static void what_a_header_says_no_more_of_is_zero(void **state)
{
	(void)state;
	make_kernel64();
	memset(header()->rest, 0x5a, sizeof header()->rest);
	good();
	for (unsigned at = 0x264; at < 0x2d0; at++)
		assert_int_equal(ram[entry.info + at], at < 0x26c ? 0x5a : 0);
}

static void the_memory_map(void **state)
{
	struct e820_entry map[E820_MAX];
	unsigned n = e820_build(MEM, map);

	(void)state;
	make_kernel64();
	good();
	assert_int_equal(ram[entry.info + 0x1e8], n);
	assert_memory_equal(ram + entry.info + 0x2d0, map, n * 20);
	assert_int_equal(n, 6);
	for (unsigned i = 1; i < n; i++)
		assert_true(map[i].start >= map[i - 1].start + map[i - 1].bytes);
	/* Exactly the RAM without the tables is usable. */
	for (uint64_t a = 0; a < MEM + 0x100000; a += 0x1000) {
		unsigned usable = 0;

		for (unsigned i = 0; i < n; i++)
			if (map[i].type == 1 && a >= map[i].start && a - map[i].start < map[i].bytes)
				usable++;
		assert_int_equal(usable, ram_holds(MEM, a, 0x1000) && (a < ACPI_TABLES_START || a >= RAM_LOW_END));
	}
	n = e820_build(6UL << 30, map);
	assert_int_equal(n, 7);
	assert_int_equal(map[3].bytes, (3UL << 30) - RAM_MIDDLE);
	assert_int_equal(map[6].start, RAM_HIGH);
	assert_int_equal(map[6].bytes, 3UL << 30);
	assert_int_equal(map[6].type, 1);
}

static void an_initrd_lies_as_high_as_may_be(void **state)
{
	static uint8_t data[0x1234];
	struct loader_file initrd = {data, sizeof data, "", true};

	(void)state;
	memset(data, 0x5a, sizeof data);
	make_kernel64();
	assert_true(load_with(&initrd, 1));
	assert_int_equal(told()->ramdisk_image, 0x6fe000);
	assert_int_equal(told()->ramdisk_size, sizeof data);
	assert_memory_equal(ram + 0x6fe000, data, sizeof data);
	/* No higher than the RAM. */
	make_kernel64();
	header()->initrd_addr_max = 0xffffffff;
	assert_true(load_with(&initrd, 1));
	assert_int_equal(told()->ramdisk_image, MEM - 0x2000);
	/* Below what the kernel needs, when there is no room above. */
	make_kernel64();
	header()->init_size = MEM - PREF - 0x1000;
	header()->initrd_addr_max = MEM - 1;
	assert_true(load_with(&initrd, 1));
	assert_int_equal(told()->ramdisk_image, PREF - 0x2000);
	/* Its last byte may lie at the limit, and no higher. */
	make_kernel64();
	header()->initrd_addr_max = LOAD + sizeof data - 1;
	assert_true(load_with(&initrd, 1));
	assert_int_equal(told()->ramdisk_image, LOAD);
	make_kernel64();
	header()->initrd_addr_max = LOAD + sizeof data - 2;
	assert_false(load_with(&initrd, 1));
	assert_non_null(strstr(error, "no room for its initrd of 4660 bytes at or below 0x101232 (mem=8192K)"));
	/* An empty one is none. */
	make_kernel64();
	initrd.bytes = 0;
	assert_true(load_with(&initrd, 1));
	assert_int_equal(told()->ramdisk_image | told()->ramdisk_size, 0);
}

static void modules(void **state)
{
	struct loader_file two[] = {{"i", 1, "", true}, {"m", 1, "", false}};

	(void)state;
	make_kernel64();
	assert_false(load_with(two, 2));
	assert_non_null(strstr(error, "module-of=: a Linux bzImage takes no modules"));
	two[1].initrd = true;
	assert_false(load_with(two, 2));
	assert_non_null(strstr(error, "takes one initrd, not 2"));
	assert_int_equal(writes, 0);
}

static void refused_headers(void **state)
{
#define SET(field, wrong, said) \
	{offsetof(struct setup_header, field), sizeof header()->field, wrong, said}
	static const struct {
		size_t offset, bytes;
		uint64_t wrong;
		const char *said;
	} cases[] = {
		SET(boot_flag, 0xaa54, "bzImage: boot flag 0xaa54, expected 0xaa55"),
		SET(version, 0x209, "boot protocol 2.09, expected 2.10 or later"),
		SET(version, 0, "boot protocol 0.00, expected"),
		SET(jump, 0xe9, "begins with e9 6a, expected a short jump of 0x62 to 0x8e bytes"),
		SET(jump_bytes, 0x61, "begins with eb 61"),
		SET(jump_bytes, 0x8f, "begins with eb 8f"),
		SET(loadflags, 0x40, "zImage (loadflags 0x40: not loaded high); expected a bzImage"),
		SET(syssize, 0, "syssize 0x0, expected more than 0x20"),
		SET(syssize, 0x20, "syssize 0x20, expected"),
		SET(syssize, PAYLOAD / 16 + 1, "the file is cut off: 12288 bytes, its header tells of 12304"),
		SET(syssize, 0xffffffff, "the file is cut off"),
		SET(setup_sects, 2, "the file is cut off"),
		SET(setup_sects, 0xff, "the file is cut off"),
		SET(pref_address, 0xfffff, "pref_address 0xfffff, expected 0x100000 to 0xffffffff"),
		SET(pref_address, 1UL << 32, "pref_address 0x100000000, expected"),
		SET(pref_address, ~0UL, "pref_address 0xffffffffffffffff, expected"),
		SET(pref_address, 0xffffffff, "pref_address 0xffffffff aligned to 0x100000 is 0x100000000, expected less than"),
		SET(pref_address, 0x600000, "needs memory from 0x600000 to 0x900000 (init_size 0x300000), which is not in the "
					    "guest's RAM (mem=8192K)"),
		SET(init_size, MEM - PREF + 1, "needs memory from 0x200000 to 0x800001"),
		SET(init_size, 0xffffffff, "which is not in the guest's RAM"),
		SET(kernel_alignment, 0, "kernel_alignment 0x0 is no power of two"),
		SET(kernel_alignment, 0x300000, "kernel_alignment 0x300000 is no power of two"),
		SET(kernel_alignment, 0x80000000, "needs memory from 0x80000000"),
		SET(cmdline_size, 12, "its command line has 13 bytes; this kernel takes up to 12"),
	};

	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		make_kernel64();
		memcpy((uint8_t *)header() + cases[i].offset, &cases[i].wrong, cases[i].bytes);
		bad(cases[i].said);
	}
	make_kernel64();
	header()->cmdline_size = 13;
	good();
}

/* At every place a memory write may be refused: then it is refused, and nothing is lost but the guest. */
static void memory_that_cannot_be_written(void **state)
{
	struct loader_file initrd = {"initrd", 6, "", true};
	uint64_t all;

	(void)state;
	make_kernel64();
	assert_true(load_with(&initrd, 1));
	all = writes;
	for (uint64_t n = 0; n < all; n++) {
		make_kernel64();
		write_limit = n;
		assert_false(load_with(&initrd, 1));
		assert_non_null(strstr(error, "cannot be written"));
	}
	write_limit = ~0UL;
}

/* In memory of just that size, so that a sanitizer sees what is read behind it. */
static void every_truncation(void **state)
{
	(void)state;
	make_kernel64();
	for (uint64_t n = 0x200; n < FILE_BYTES; n += n < 0x500 ? 1 : 61) {
		uint8_t *copy = malloc(n);

		assert_non_null(copy);
		memcpy(copy, file, n);
		image = (struct loader_file){copy, n, "", false};
		assert_int_equal(load_with(0, 0), n + 16 > FILE_BYTES);
		if (n >= 0x206)
			assert_non_null(strstr(error, n < 0x290 ? "the file ends in its setup header" :
				n + 16 > FILE_BYTES ? "" : "the file is cut off"));
		free(copy);
	}
}

static void mutations(void **state)
{
	static const uint32_t odd[] = {0, 1, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, LOAD, 0xfffff, 0x1000, MEM};
	struct loader_file initrd = {"data", 4, "", true};
	unsigned accepted = 0, refused = 0;
	uint64_t seed = 23;

	(void)state;
	for (unsigned i = 0; i < 4000; i++) {
		make_kernel(i % 2 ? 0x20f : 0x20b, 1);
		for (uint64_t n = 1 + host_random(&seed) % 3; n; n--) {
			uint64_t r = host_random(&seed), at = 0x1f0 + r % 0xa0;

			if (r >> 32 & 1)
				file[at] ^= (uint8_t)(1u << (r >> 40 & 7));
			else
				set32(at & ~3UL, odd[(r >> 40) % (sizeof odd / sizeof *odd)]);
		}
		if (host_random(&seed) % 8 == 0)
			image.bytes = host_random(&seed) % FILE_BYTES;
		if (load_with(&initrd, 1)) {
			accepted++;
			assert_true(ram_holds(MEM, entry.entry, 1) && ram_holds(MEM, entry.info, 4096));
			assert_true(told()->ramdisk_image + 4 <= (uint64_t)told()->initrd_addr_max + 1);
			assert_memory_equal(ram + told()->ramdisk_image, "data", 4);
		} else {
			refused++;
			assert_true(error[0]);
		}
	}
	assert_true(accepted > 500 && refused > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_64_bit_entry),
		cmocka_unit_test(the_32_bit_entry),
		cmocka_unit_test(where_a_kernel_goes),
		cmocka_unit_test(what_a_header_says_no_more_of_is_zero),
		cmocka_unit_test(the_memory_map),
		cmocka_unit_test(an_initrd_lies_as_high_as_may_be),
		cmocka_unit_test(modules),
		cmocka_unit_test(refused_headers),
		cmocka_unit_test(memory_that_cannot_be_written),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
