/* SPDX-License-Identifier: MIT */
/* The hypervisor's own command line. Pure. */
#ifndef HV_OPTIONS_H
#define HV_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "hv/platform.h"
#include "mm/host.h"

enum option_audit { OPTION_AUDIT_OFF, OPTION_AUDIT_END, OPTION_AUDIT_CONTINUOUS };
enum option_gdb { OPTION_GDB_OFF, OPTION_GDB_COM2, OPTION_GDB_WAIT };
enum option_slab { OPTION_SLAB_NORMAL, OPTION_SLAB_LIFO, OPTION_SLAB_POISON };

/* Misbehaviour to be reported: panic; write to address 0; overflow the stack of the last CPU; stand still. */
enum option_test { OPTION_TEST_NONE, OPTION_TEST_PANIC, OPTION_TEST_TRAP, OPTION_TEST_OVERFLOW, OPTION_TEST_HANG };

#define OPTION_NAME 32 /* longest name of a guest and its zero, bytes */

struct options {
	enum option_audit audit;	/* audit=off|end|continuous */
	bool state_audit;		/* state-audit=on|off: VMCS checked before each entry */
	enum option_slab slab;		/* slab=normal|lifo|poison */
	enum option_gdb gdb;		/* gdb=com2|wait: gdb may attach on COM2; wait: nothing runs before it does */
	uint32_t walker_stop;		/* walker-stop=N: in each round the walker watches the guest for N milliseconds, takes
					 * the bits, and watches for N more. A test */
	uint32_t walker_skip;		/* walker-skip=N: the walker forgets one page in N; 0: none. A test of the tests */
	char restart[OPTION_NAME];	/* restart=NAME:COUNT: guest NAME is destroyed and made anew COUNT times. A test */
	uint32_t restarts;
	uint32_t cpus;			/* cpus=N: use at most so many; 0: all */
	bool console_com1, console_vga;	/* console=com1,vga */
	enum platform_end end;		/* end=auto|halt|reboot|poweroff */
	enum host_level level;		/* quiet: warnings and errors only */
	enum option_test test;		/* test=panic|trap|overflow|hang: do this when everything is up */
};

extern struct options options;

/* Sets *o to the defaults, then to what the words of cmdline say. False with a sentence in error (of room bytes) that
 * names the word and what is accepted. */
bool options_parse(struct options *o, const char *cmdline, char *error, size_t room);

#endif
