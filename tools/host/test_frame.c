/* SPDX-License-Identifier: MIT */
/* The framebuffer console: what is drawn can be read back, in every pixel size, and nothing outside is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "hv/font.h"
#include "hv/frame.h"

#define CELL_WIDTH (FONT_WIDTH + 1)
#define CELL_HEIGHT (FONT_HEIGHT + 1)

static struct bootinfo_frame frame;
static uint8_t *pixels;

/* Lines are longer than the screen is wide; what lies between must stay as it is. ASan guards the end. */
static void screen(unsigned width, unsigned height, unsigned bits)
{
	uint32_t white = bits == 16 ? 0xffff : 0xffffff;
	frame = (struct bootinfo_frame){1, width * (bits / 8) + 64, width, height, white, bits};
	pixels = malloc(frame.line_bytes * (height - 1) + width * (bits / 8));
	memset(pixels, 0xa5, frame.line_bytes * (height - 1) + width * (bits / 8));
	assert_true(frame_init(&frame, pixels));
}

static void screen_end(void)
{
	for (unsigned y = 0; y + 1 < frame.height; y++)
		for (unsigned x = frame.width * (frame.bits / 8); x < frame.line_bytes; x++)
			assert_int_equal(pixels[y * frame.line_bytes + x], 0xa5);
	free(pixels);
}

static bool lit(unsigned x, unsigned y)
{
	uint32_t v = 0;
	memcpy(&v, pixels + y * frame.line_bytes + x * (frame.bits / 8), frame.bits / 8);
	assert_true(v == 0 || v == frame.white);
	return v;
}

/* The character whose glyph stands in a cell. */
static char read_cell(unsigned row, unsigned column, unsigned scale)
{
	for (unsigned g = 0; g < FONT_GLYPHS; g++) {
		bool same = true;
		for (unsigned y = 0; y < CELL_HEIGHT * scale && same; y++)
			for (unsigned x = 0; x < CELL_WIDTH * scale && same; x++) {
				unsigned gx = x / scale, gy = y / scale;
				bool want = gx < FONT_WIDTH && gy < FONT_HEIGHT && font[g][gy] >> (FONT_WIDTH - 1 - gx) & 1;
				same = want == lit(column * CELL_WIDTH * scale + x, row * CELL_HEIGHT * scale + y);
			}
		if (same)
			return (char)(g + FONT_FIRST);
	}
	return 0;
}

static void expect_row(unsigned row, unsigned scale, const char *text)
{
	for (unsigned i = 0; text[i]; i++)
		assert_int_equal(read_cell(row, i, scale), text[i]);
	assert_int_equal(read_cell(row, (unsigned)strlen(text), scale), ' ');
}

static void print(const char *text)
{
	while (*text)
		frame_putc(*text++);
}

static void glyphs_differ(void **state)
{
	(void)state;
	for (unsigned a = 0; a < FONT_GLYPHS; a++) {
		for (unsigned b = a + 1; b < FONT_GLYPHS; b++)
			assert_memory_not_equal(font[a], font[b], FONT_HEIGHT);
		for (unsigned y = 0; y < FONT_HEIGHT; y++)
			assert_true(font[a][y] < 1 << FONT_WIDTH);
	}
}

static void text_is_drawn_in_every_pixel_size(void **state)
{
	(void)state;
	for (unsigned bits = 16; bits <= 32; bits += 8) {
		screen(800, 600, bits);
		print("umbra: ~ {Hello}, 0x1f\r\nUMBRA PASS\n\tx");
		expect_row(0, 1, "umbra: ~ {Hello}, 0x1f");
		expect_row(1, 1, "UMBRA PASS");
		expect_row(2, 1, "\177x");
		screen_end();
	}
}

static void large_screens_have_large_letters(void **state)
{
	(void)state;
	screen(1280, 800, 32);
	print("one\ntwo");
	expect_row(0, 2, "one");
	expect_row(1, 2, "two");
	screen_end();
}

static void a_long_line_goes_on_below(void **state)
{
	(void)state;
	screen(10 * CELL_WIDTH, 3 * CELL_HEIGHT, 32);
	print("0123456789abc");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(read_cell(0, i, 1), '0' + (int)i);
	expect_row(1, 1, "abc");
	screen_end();
}

static void a_full_screen_moves_up(void **state)
{
	(void)state;
	for (unsigned rows = 2; rows < 6; rows++) {
		char line[] = "0\n";
		screen(20 * CELL_WIDTH, rows * CELL_HEIGHT + 3, 32);
		for (; line[0] < '0' + 9; line[0]++)
			print(line);
		print("9");
		unsigned last = 0;
		while (read_cell(last, 0, 1) != '9')
			assert_true(++last < rows);
		for (unsigned r = 0; r < rows; r++)
			assert_int_equal(read_cell(r, 0, 1), r <= last ? '9' - (int)(last - r) : ' ');
		screen_end();
	}
}

static void too_small_a_screen_is_refused(void **state)
{
	(void)state;
	uint8_t few[64];
	struct bootinfo_frame f = {1, 4, 4, 4, 0xff, 16};
	assert_false(frame_init(&f, few));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(glyphs_differ),
		cmocka_unit_test(text_is_drawn_in_every_pixel_size),
		cmocka_unit_test(large_screens_have_large_letters),
		cmocka_unit_test(a_long_line_goes_on_below),
		cmocka_unit_test(a_full_screen_moves_up),
		cmocka_unit_test(too_small_a_screen_is_refused),
	};
	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
