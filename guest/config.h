/* SPDX-License-Identifier: MIT */
/* The string that names a guest, as it stands behind a boot module:
 *
 *     name=a mem=64M log=wp until="all done" -- the guest's own command line
 *     initrd-of=a
 *     module-of=a -- the module's own string
 *
 * Words are separated by blanks. Double quotes keep blanks together, a backslash keeps the next character as it is, and
 * a value may be quoted once more (boot loaders quote for themselves). A first word with a '/' and no '=' is the path
 * that some boot loaders put there: it is ignored. All after the word "--" belongs to the guest, byte for byte. */
#ifndef GUEST_CONFIG_H
#define GUEST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_NAME 32           /* longest name and its zero, bytes */
#define CONFIG_UNTIL 128         /* longest until= text and its zero, bytes */
#define CONFIG_COMMAND_LINE 1024 /* longest command line and its zero, bytes */
#define CONFIG_ERROR 240         /* longest error text and its zero, bytes */
#define CONFIG_MAX_CPUS 8        /* physical CPUs that cpus= may list */

#define CONFIG_MEM_DEFAULT (64UL << 20)
#define CONFIG_MEM_MIN (2UL << 20)
#define CONFIG_MEM_MAX (1UL << 40)

enum config_role { CONFIG_GUEST, CONFIG_INITRD, CONFIG_MODULE };
enum config_log { CONFIG_LOG_OFF, CONFIG_LOG_WP, CONFIG_LOG_DBIT, CONFIG_LOG_AUTO, CONFIG_LOGS };
/* Parts of the paravirtual interface, pv=. */
#define CONFIG_PV_CLOCK (1u << 0)
#define CONFIG_PV_EOI (1u << 1)
#define CONFIG_PV_STEAL (1u << 2)
#define CONFIG_PV_TLB (1u << 3) /* not without CONFIG_PV_STEAL */
#define CONFIG_PV_IPI (1u << 4)
#define CONFIG_PV_ALL 0x1fu
extern const char *const config_log_names[CONFIG_LOGS]; /* as the key log= takes them */

struct config {
	enum config_role role;
	char of[CONFIG_NAME]; /* the guest that an initrd or module belongs to */

	char name[CONFIG_NAME]; /* empty when the string has none */
	uint64_t mem;           /* RAM, bytes; a page multiple */
	unsigned vcpus;
	unsigned cpus; /* physical CPUs listed; 0: the hypervisor chooses */
	unsigned cpu[CONFIG_MAX_CPUS];
	enum config_log log;
	unsigned pv; /* CONFIG_PV_ */
	uint64_t period_us;       /* between harvests, microseconds of guest time */
	uint64_t limit_us;        /* the guest's life, microseconds of guest time; 0: no limit */
	char until[CONFIG_UNTIL]; /* console text that ends the guest as PASS; empty: none */
	uint64_t shadow;          /* budget of shadow pages; 0: from mem */
	char command_line[CONFIG_COMMAND_LINE];
};

/* Reads one string into *c. False: *error (CONFIG_ERROR bytes) says what is wrong, naming the key and what is accepted;
 * *c then holds a name or a role only if those were read before. Any bytes may stand in the string. */
bool config_parse(struct config *c, const char *string, char *error);

#endif
