/* SPDX-License-Identifier: MIT */
/* Glyphs of the printable ASCII characters, and a block for all others. */
#ifndef HV_FONT_H
#define HV_FONT_H

#include <stdint.h>

#define FONT_FIRST ' '
#define FONT_UNKNOWN 0x7f
#define FONT_GLYPHS (FONT_UNKNOWN - FONT_FIRST + 1)
#define FONT_WIDTH 5
#define FONT_HEIGHT 8

/* Rows from the top; a row's leftmost pixel is its highest bit, 1 << (FONT_WIDTH - 1). */
extern const uint8_t font[FONT_GLYPHS][FONT_HEIGHT];

#endif
