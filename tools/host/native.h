/* SPDX-License-Identifier: MIT */
/* The fake machine of the native tests: mm/host.h on an arena and pthreads, and what tests do to it. */
#ifndef TOOLS_HOST_NATIVE_H
#define TOOLS_HOST_NATIVE_H

#include "mm/host.h"

/* Host RAM as page_init sees it: three ranges in a 1 GiB arena (the first begins at 64 KiB, with holes between them),
 * and NATIVE_HIGH_BYTES from 4 GiB on. */
#define NATIVE_ARENA_BYTES (1UL << 30)
#define NATIVE_HIGH_START (4UL << 30)
#define NATIVE_HIGH_BYTES (64UL << 20)

/* (Re)starts the machine with so many CPUs: page_init over all ranges, slab mode NORMAL, the calling thread is CPU 0,
 * all hooks off, log forgotten. Whatever was allocated and every slab cache are forgotten; no CPU may be in a section.
 */
void host_native_init(unsigned cpus);

/* The calling thread is this CPU from now on. */
void host_thread_cpu(unsigned cpu);

/* Runs fn(arg) as each of the CPUs 0 … n-1, each in a thread of its own, and waits for all. */
void host_run_cpus(unsigned n, void (*fn)(void *arg), void *arg);

/* What host_kick calls, in the kicking thread; 0 = nothing. */
void host_set_kick(void (*kick)(unsigned cpu));

/* What the calling thread does at each park point that it passes (mm/park.h); 0 = nothing. The hook is off while it
 * runs. It may act as another CPU (host_thread_cpu); the thread's CPU is put back after it. */
void host_set_park(void (*hook)(void *ctx, const char *point), void *ctx);

/* Runs body(arg) in a child process. True when it ended in host_panic with a message that holds `text`. Only while the
 * process has one thread. Nothing that body does is seen here. */
bool host_panics(void (*body)(void *arg), void *arg, const char *text);

/* Lines logged since host_native_init at this level or a more serious one; host_print's are not counted. */
unsigned host_log_count(enum host_level level);
/* True when one of the last lines logged or printed (256 are kept) holds `text`. */
bool host_log_has(const char *text);
/* The line logged or printed i lines ago (0: the last); "" when there is none. Single-threaded tests only. */
const char *host_log_line(unsigned i);
/* What host_raw() was given since host_native_init, the first KiB. The same. */
const char *host_raw_text(void);

/* A random number from *state (xorshift; *state must not be 0). */
uint64_t host_random(uint64_t *state);

#endif
