/* SPDX-License-Identifier: MIT */
/* A line being typed: bytes of a terminal in, echo out. Pure, fixed sizes, no allocation.
 *
 *   left, right, Ctrl-b, Ctrl-f      the cursor              backspace, delete, Ctrl-d   a character
 *   home, end, Ctrl-a, Ctrl-e                                Ctrl-u, Ctrl-k, Ctrl-w      all before, all behind, a word
 *   up, down, Ctrl-p, Ctrl-n         lines typed before      TAB                         completes the word
 *   Ctrl-l                           shows the line again    Ctrl-c, Ctrl-d              drops it; where it is empty: the end
 *
 * The echo is text and backspaces alone; the line is to fit the terminal's row, for nothing here wraps. */
#ifndef GUEST_LINE_H
#define GUEST_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_MAX 70     /* characters; with a prompt of 9 it fits a row of 80 */
#define LINE_HISTORY 16 /* lines remembered */

enum line_outcome {
	LINE_MORE,    /* it goes on */
	LINE_DONE,    /* `text` is the line; line_begin() is to follow */
	LINE_DROPPED, /* Ctrl-c: nothing was meant; line_begin() is to follow */
	LINE_END,     /* Ctrl-d on an empty line */
};

/* Who uses the line. */
struct line_user {
	void *context;
	const char *prompt;
	/* n bytes for the terminal. */
	void (*echo)(void *context, const char *bytes, size_t n);
	/* The nth word, from 0, that the last one of the first n characters of text may become: a string that begins with it,
	 * and stays at least to the next call; 0: there are no more. */
	const char *(*complete)(void *context, const char *text, size_t n, unsigned nth);
};

enum line_state { LINE_PLAIN, LINE_ESCAPE, LINE_SEQUENCE, LINE_LETTER };

/* All fields are line.c's, but for text once the line is done. */
struct line {
	const struct line_user *user;
	char text[LINE_MAX + 1]; /* ends in a zero byte */
	unsigned length, at;     /* at: characters before the cursor */
	char past[LINE_HISTORY][LINE_MAX + 1];
	unsigned remembered;     /* lines so far; the last ones are in `past`, each at its number modulo LINE_HISTORY */
	unsigned back;           /* how many lines back the one shown is from; 0: the one being typed */
	char draft[LINE_MAX + 1]; /* that one meanwhile */
	enum line_state state;
	unsigned number;         /* of an escape sequence */
	bool returned;           /* the byte before was a carriage return: a newline behind it belongs to it */
};

/* Forgets everything. user stays the caller's. */
void line_init(struct line *l, const struct line_user *user);
/* The next line: empty. Shows nothing. */
void line_begin(struct line *l);
/* The prompt and what was typed so far, on a row that is empty. */
void line_show(struct line *l);
/* A byte more. */
enum line_outcome line_receive(struct line *l, uint8_t byte);

#endif
