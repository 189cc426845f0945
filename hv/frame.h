/* SPDX-License-Identifier: MIT */
/* Text on a screen of pixels. Pure but for the pixels. */
#ifndef HV_FRAME_H
#define HV_FRAME_H

#include <stdbool.h>
#include "boot/bootinfo.h"

/* Text goes to the screen *f, whose pixels are mapped at `pixels`, from now on; the screen is cleared. False when it is
 * too small for a line of text. */
bool frame_init(const struct bootinfo_frame *f, void *pixels);
/* Writes one character after frame_init(). A full screen moves up by half, so that a line costs little. One CPU at a
 * time. */
void frame_putc(char c);

#endif
