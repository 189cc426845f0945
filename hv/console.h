/* SPDX-License-Identifier: MIT */
/* Where text leaves the machine: COM1 and the screen, of text or of pixels. */
#ifndef HV_CONSOLE_H
#define HV_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>
#include "boot/bootinfo.h"

/* Finds and sets up COM1 (115200 8N1). vga_text: the screen is in text mode. */
void console_init(bool vga_text);
/* A screen of pixels, mapped at `pixels`, is used from now on. */
void console_frame(const struct bootinfo_frame *frame, void *pixels);
/* Selects among what is there; both are on at first. */
void console_select(bool com1, bool screen);
/* True when console_putc() of one character would not wait. */
bool console_ready(void);
/* Writes one character; a newline becomes CR LF on COM1. Waits for the UART, bounded; a UART that stays busy is given
 * up for good. Only the holder of the log's drain, or a panicking CPU, may call. */
void console_putc(char c);
/* Writes one byte as it is; the screen shows control characters as '.'. The rules are console_putc()'s. */
void console_put_raw(char c);
/* Waits, bounded, until the last character has left the UART. */
void console_finish(void);
/* Whether COM1 has received something since console_input_clear(). */
void console_input_clear(void);
bool console_input(void);
/* Is COM1 in use? Then the next byte that it has received, -1: none. CPU 0. */
bool console_has_input(void);
int console_get(void);
/* How often COM1 has said that it lost input, for nobody read it in time. */
uint32_t console_overruns(void);

#endif
