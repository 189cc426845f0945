/* SPDX-License-Identifier: MIT */
/* All that mm/ and guest/ ask of the machine. Implemented once in hv/ (metal) and once in tools/host/ (pthreads). */
#ifndef MM_HOST_H
#define MM_HOST_H

#include "mm/addr.h"

#define HOST_MAX_CPUS 256

/* Where host-physical 0 is mapped. On metal linker.ld puts this symbol at 0 (identity map); natively it is the
 * arena array. All RAM is mapped from here on, read-write. */
extern char host_direct_base[];

static inline void *host_virt(hpa_t pa) { return host_direct_base + pa.v; }
static inline hpa_t host_phys(const void *va) { return hpa((uint64_t)((const char *)va - host_direct_base)); }
static inline void *hfn_virt(hfn_t f) { return host_virt(hfn_hpa(f)); }

/* Index of the CPU this runs on, 0 … host_cpus()-1. Code that runs here never migrates. */
unsigned host_cpu(void);
/* Number of CPUs that may run mm code. Fixed before the first section is entered. */
unsigned host_cpus(void);
/* Make CPU `cpu` leave guest mode soon (an IPI on metal). Returns at once. */
void host_kick(unsigned cpu);
/* One turn of a bounded spin (PAUSE). */
void host_relax(void);
/* TSC ticks since boot, and ticks per second. */
uint64_t host_clock(void);
uint64_t host_clock_hz(void);
/* The sooner of two times of host_clock(); UINT64_MAX: never. */
static inline uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

enum host_level { HOST_ERROR, HOST_WARN, HOST_INFO, HOST_DEBUG };
/* A line for the hypervisor's log ring. Never blocks, allowed under locks. No newline at the end of fmt. */
void host_log(enum host_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line for the console as it stands (METRIC, VERDICT, REPLICA, "name| text"); same rules. */
void host_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Bytes for the console as they stand, at most HOST_RAW of them, between lines; same rules. A line that follows begins
 * on a row of its own. */
#define HOST_RAW 800
void host_raw(const char *bytes, size_t n);
/* A bug of ours: stops everything. */
_Noreturn void host_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* CHECK is for our own bugs only, never for what the world or a guest does. Always compiled in. */
#define CHECK(x) \
	do { \
		if (__builtin_expect(!(x), 0)) \
			host_panic("%s:%d: CHECK(%s)", __FILE__, __LINE__, #x); \
	} while (0)

#endif
