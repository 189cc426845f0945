/* SPDX-License-Identifier: MIT */
/* Where guests are to stop for gdb: code that is reached, memory that is accessed. Linear addresses, in all address spaces of the
 * guest, whatever is mapped there. The pages they lie in are guarded (mm/guard.h), so there is nothing of it that the guest could
 * see, in its memory, its page tables or its debug registers, and no fixed number that a processor has.
 *
 * Accesses that are carried out for the guest, devices' and emulated instructions', stop nothing. */
#ifndef GUEST_GDB_WATCH_H
#define GUEST_GDB_WATCH_H

#include "guest/vcpu.h"

/* As the protocol numbers them. */
enum gdb_watch { GDB_WATCH_CODE, GDB_WATCH_CODE_HARD, GDB_WATCH_WRITE, GDB_WATCH_READ, GDB_WATCH_ACCESS, GDB_WATCH_NONE };

#define GDB_WATCHES 64        /* of all guests */
#define GDB_WATCH_BYTES 4096U /* of one */

/* n bytes from a on, 1 … GDB_WATCH_BYTES; of code n does not count. False: too many, too long, or none to take away. What is taken
 * away stays guarded until gdb_watch_settle(). Everything stands still; outside sections and locks, also below. */
bool gdb_watch(struct mmu *m, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert);
/* Pages where nothing is watched any more are guarded no longer. */
void gdb_watch_settle(struct mmu *m);
/* All of this guest's are taken away, with their guards. Its vCPUs stand still, or have stopped for good. */
void gdb_watch_forget(struct mmu *m);

/* What the vCPU's next instruction is watched by, GDB_WATCH_CODE or _HARD, or GDB_WATCH_NONE. VCPU_SEGMENTS must not be stale. */
enum gdb_watch gdb_watch_code(const struct vcpu *v);
/* Is that one of a page where code is watched, but not there, and none of the guest's data? */
bool gdb_watch_passes(const struct vcpu *v);
/* What an access to `bytes` bytes from a on meets, and (*at) where that begins. */
enum gdb_watch gdb_watch_data(const struct mmu *m, uint64_t a, unsigned bytes, bool write, uint64_t *at);

#endif
