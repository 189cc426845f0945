/* SPDX-License-Identifier: MIT */
/* A table of commands: what a line of text means, what it may become, and how a person is told. Pure. */
#ifndef GUEST_COMMAND_H
#define GUEST_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMMAND_ARGUMENTS 3
#define COMMAND_ERROR 120 /* longest error and its zero, bytes */
#define COMMAND_USAGE 120 /* longest usage and its zero, bytes */

enum command_kind {
	COMMAND_NONE,   /* no argument here */
	COMMAND_NUMBER, /* decimal, or hexadecimal behind 0x; 64 bits */
	COMMAND_GUEST,  /* a guest's name */
	COMMAND_WORD,   /* one of `words` */
	COMMAND_NAME,   /* the name of a command */
};

struct command_argument {
	enum command_kind kind;
	const char *name;         /* in the usage; of COMMAND_WORD not used */
	const char *const *words; /* COMMAND_WORD: ends with 0 */
	bool optional;            /* it and all behind it */
};

struct command {
	const char *name;
	const char *help; /* one line */
	const char *more; /* more of it, for `help COMMAND`: lines that end in newlines; 0: none */
	struct command_argument argument[COMMAND_ARGUMENTS];
};

struct command_set {
	const struct command *command;
	unsigned commands;
	/* The nth guest's name, from 0; 0: there are no more. Stays at least to the next call. */
	const char *(*guest)(unsigned nth);
};

/* What a line says. */
struct command_line {
	unsigned command;  /* index in the set */
	unsigned arguments; /* given */
	/* Of each: the number, or which guest, word or command, by index. */
	uint64_t value[COMMAND_ARGUMENTS];
};

enum command_outcome {
	COMMAND_OK,
	COMMAND_EMPTY,   /* blanks alone */
	COMMAND_UNKNOWN, /* no such command: error says so */
	COMMAND_WRONG,   /* l->command is known, its arguments are not as it wants them: error says why */
};

/* Reads a line: words between blanks. error has COMMAND_ERROR bytes. */
enum command_outcome command_parse(const struct command_set *set, const char *text, struct command_line *l, char *error);

/* "rmap NAME GFN", into COMMAND_USAGE bytes. */
void command_usage(const struct command *c, char *to);

/* The nth word, from 0, that the last one of text's first n characters may become; 0: there are no more. For
 * line_user.complete. */
const char *command_complete(const struct command_set *set, const char *text, size_t n, unsigned nth);

#endif
