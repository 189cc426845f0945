/* SPDX-License-Identifier: MIT */
/* What an image links with: console, arguments, verdict, memory, page tables, traps, interrupts.
 *
 * An image is one C file that defines image_main(). It reports with report(), and when it returns, the summary is
 * printed and the guest ends: pass if no report was bad. It runs in 64-bit mode at CPL 0 with interrupts off and the
 * first 1 GiB mapped as it is; one CPU; no floating point.
 */
#ifndef GUEST_IMAGES_LIB_H
#define GUEST_IMAGES_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/images/abi.h"
#include "guest/images/cpu.h"

#define PAGE 4096UL
#define PAGE_2M 0x200000UL
#define PAGE_1G 0x40000000UL

/* The image's own code. Called once. */
void image_main(void);

/* ---- console ---- */

/* Prints to the serial console. Knows %s %c %d %u %x %lu %lx %%, a width and a leading 0. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- arguments: key=value words of the guest's own command line ---- */

/* The value of `key` as a number, decimal or 0x hexadecimal; `otherwise` if the key is absent. A value that is no
 * number is a failed test. */
uint64_t arg_number(const char *key, uint64_t otherwise);
/* The same, least...most; another value ends the guest as failed. */
uint64_t arg_range(const char *key, uint64_t otherwise, uint64_t least, uint64_t most);
/* True if the command line has key=value. */
bool arg_is(const char *key, const char *value);

/* ---- verdict ---- */

/* One test: prints "PASS: text" or "FAIL: text" and counts it. Returns ok. */
bool report(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One of possibly many deviations behind a test: the first 16 are printed, all are counted. */
void deviation(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Deviations since the last call. */
uint64_t deviations(void);
/* A test that this machine cannot run: prints "SKIP: reason". Never a failure. */
void skip(const char *reason);
/* Prints and publishes a figure: the line "name: value" and METRIC id value (values above 32 bits are capped). */
void metric(uint32_t id, const char *name, uint64_t value);
/* Prints the summary and ends the guest. What image_main()'s return does. */
_Noreturn void finish(void);

/* ---- memory ---- */

void *memset(void *to, int byte, size_t bytes);
void *memcpy(void *to, const void *from, size_t bytes);

/* First gpa above the RAM that starts at 1 MiB, bytes. */
uint64_t memory_end(void);
/* Takes `bytes` of zeroed RAM below 1 GiB, aligned to `align` (a power of two, at least PAGE), and returns its address,
 * gva and gpa in one. Too little memory ends the guest as failed. It is never given back. */
uint64_t memory_take(uint64_t bytes, uint64_t align);
/* The same, but untouched: its contents are whatever the loader left. */
uint64_t memory_reserve(uint64_t bytes, uint64_t align);

/* Pseudo-random numbers: the same for the same seed=, a uniform number below `limit` (1...2^32). */
uint64_t rand64(void);
uint32_t rand_below(uint64_t limit);
/* True in so many of 100 cases. */
static inline bool chance(unsigned percent)
{
	return rand_below(100) < percent;
}

/* For a storm's loop: rarely has the machine drop all shadow pages or make the RAM's mappings anew, of which nothing may
 * be seen. */
static inline void disturb(void)
{
	uint32_t dice = rand_below(2048);

	if (dice < 8)
		abi_command(dice ? ABI_MMU_ZAP : ABI_SLOT_RECREATE);
}

/* ---- page tables ---- */

/* The PML4 that the image was started on, an identity map of the first 1 GiB. */
extern uint64_t boot_root[512];

/* A new PML4 that shares the identity map with boot_root. */
uint64_t *paging_new(void);
/* The entry for `va` at `level` (1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB); missing tables above it are made, as P, W and U,
 * if `make`. NULL if there is none. */
uint64_t *paging_entry(uint64_t *root, uint64_t va, unsigned level, bool make);
/* Maps bytes from va onto pa with pages of `level` and the given PTE_ flags. Replaces what was there; flushes
 * nothing. */
void paging_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t bytes, unsigned level, uint64_t flags);
/* Loads CR3. */
void paging_load(uint64_t *root);

/* Physical-address width in bits, and what CPUID offers. */
unsigned cpu_phys_bits(void);
bool cpu_has_1g(void);
bool cpu_has_smep(void);
bool cpu_has_smap(void);

/* ---- traps ---- */

/* What a caught call ended with: vector FAULT_NONE if it returned. */
#define FAULT_NONE (-1)
struct fault {
	int vector;
	uint32_t error; /* error code, 0 if the vector has none */
	uint64_t cr2;	/* for a page fault */
	uint64_t rip;
};

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

/* Calls fn(a, b) and catches its fault. Returns its result, undefined if it faulted. */
uint64_t trap_try(struct fault *fault, uint64_t (*fn)(uint64_t, uint64_t), uint64_t a, uint64_t b);
/* One access to va at CPL 0, 8 bytes or a call. Returns what was read or what the function there returned. */
uint64_t access_try(struct fault *fault, enum access access, uint64_t va, uint64_t value);
/* The same at CPL 3; user_setup() first. */
uint64_t access_try_user(struct fault *fault, enum access access, uint64_t va, uint64_t value);
/* Maps a page of user code at `va` and a page of user stack behind it. */
void user_setup(uint64_t *root, uint64_t va);
/* The manual's name of an exception's vector, "no fault" for FAULT_NONE. */
const char *vector_name(int vector);

/* Called with interrupts off for vectors 0x20...0x2f, `irq` being the vector less 0x20. NULL: they are unexpected. */
extern void (*irq_handler)(unsigned irq);

#endif
