/* SPDX-License-Identifier: MIT */
/* What the torture counts about its own pressure, apart from mm/'s statistics: who met whom. The slab's and the chains'
 * functions are wrapped by the linker, and a hook at the park points follows each thread's walks. */
#ifndef TOOLS_HOST_TORTURE_COUNT_H
#define TOOLS_HOST_TORTURE_COUNT_H

#include "mm/atomic.h"

#define TALLY_THREADS 8

/* One thread's; written by it, read by anyone. */
struct tally {
	atomic64 walk;               /* odd: it is in a chain walk; another value: another walk */
	atomic64 foreign;            /* walks that met another chain's marker */
	atomic64 free;               /* walks that met a free descriptor */
	atomic64 failed;             /* cmpxchgs of sptes that had changed */
	atomic64 edits;              /* entries added to chains and removed */
	atomic64 descriptors, tables; /* taken that had been freed after a walk began that is not over */
	atomic64 crossed;            /* taken that the other guest had freed, of both kinds */
};

/* The calling thread counts from now on as number `thread`, and dawdles at park points outside locks as the seed says,
 * so that others overtake it there. guest: whose vCPU it plays; ~0u: nobody's. */
void tally_begin(unsigned thread, unsigned guest, uint64_t seed);
/* The sum over all threads; walk is of no use. */
struct tally tally_sum(void);

#endif
