/* SPDX-License-Identifier: MIT */
#include "hv/font.h"
#include "hv/frame.h"

/* A glyph and the space behind and below it. */
#define CELL_WIDTH (FONT_WIDTH + 1)
#define CELL_HEIGHT (FONT_HEIGHT + 1)
/* Pixels are drawn larger by a whole factor, as long as a line holds 80 characters. */
#define SCALED_COLUMNS 80
#define MAX_COLUMNS (2 * SCALED_COLUMNS)
#define MAX_ROWS 128

static struct bootinfo_frame screen;
static uint8_t *base;
static unsigned scale, columns, rows, row, column;
/* What is on the screen: reading pixels back would be slow. */
static char shown[MAX_ROWS][MAX_COLUMNS];

static void pixel_row(uint8_t *p, unsigned bits)
{
	for (unsigned x = 0; x < CELL_WIDTH * scale; x++) {
		bool lit = bits << 1 >> (CELL_WIDTH - 1 - x / scale) & 1;
		uint32_t value = lit ? screen.white : 0;
		if (screen.bits == 32) {
			((volatile uint32_t *)p)[x] = value;
		} else if (screen.bits == 16) {
			((volatile uint16_t *)p)[x] = (uint16_t)value;
		} else {
			for (unsigned i = 0; i < 3; i++)
				((volatile uint8_t *)p)[3 * x + i] = (uint8_t)(value >> 8 * i);
		}
	}
}

static void cell_set(unsigned r, unsigned c, char to)
{
	unsigned glyph = to >= FONT_FIRST && to < FONT_UNKNOWN ? (unsigned)to : FONT_UNKNOWN;
	uint8_t *p = base + (uint64_t)r * CELL_HEIGHT * scale * screen.line_bytes
		+ (uint64_t)c * CELL_WIDTH * scale * (screen.bits / 8);
	if (shown[r][c] == to)
		return;
	shown[r][c] = to;
	for (unsigned y = 0; y < CELL_HEIGHT * scale; y++, p += screen.line_bytes)
		pixel_row(p, y / scale < FONT_HEIGHT ? font[glyph - FONT_FIRST][y / scale] : 0);
}

static void newline(void)
{
	column = 0;
	if (++row < rows)
		return;
	unsigned up = (rows + 1) / 2;
	row = rows - up;
	for (unsigned r = 0; r < rows; r++)
		for (unsigned c = 0; c < columns; c++)
			cell_set(r, c, r + up < rows ? shown[r + up][c] : ' ');
}

bool frame_init(const struct bootinfo_frame *f, void *pixels)
{
	screen = *f;
	base = pixels;
	scale = f->width / (SCALED_COLUMNS * CELL_WIDTH);
	if (!scale)
		scale = 1;
	columns = f->width / (CELL_WIDTH * scale);
	rows = f->height / (CELL_HEIGHT * scale);
	if (columns > MAX_COLUMNS)
		columns = MAX_COLUMNS;
	if (rows > MAX_ROWS)
		rows = MAX_ROWS;
	row = column = 0;
	if (!columns || rows < 2)
		return false;
	for (unsigned y = 0; y < f->height; y++)
		for (unsigned x = 0; x < f->width * (f->bits / 8); x++)
			((volatile uint8_t *)pixels)[(uint64_t)y * f->line_bytes + x] = 0;
	for (unsigned r = 0; r < rows; r++)
		for (unsigned c = 0; c < columns; c++)
			shown[r][c] = ' ';
	return true;
}

void frame_putc(char c)
{
	if (c == '\r')
		return;
	if (c == '\n' || column == columns)
		newline();
	if (c != '\n')
		cell_set(row, column++, c);
}
