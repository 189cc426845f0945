/* SPDX-License-Identifier: MIT */
/* The exit port, the debug byte, and the test device through which a guest commands its own dirty log and shadow MMU.
 */
#ifndef GUEST_TESTDEV_H
#define GUEST_TESTDEV_H

#include "guest/bus.h"

struct vm;

#define TESTDEV_EXIT_PORT 0xf4
#define TESTDEV_DEBUG_PORT 0xe9

/* 32-bit ports; accesses of another size are ignored and read all ones. */
enum testdev_port {
	TESTDEV_COMMAND = 0x5e0,
	TESTDEV_METRIC_ID = 0x5e4,
	TESTDEV_METRIC_VALUE = 0x5e8,
	TESTDEV_GFN = 0x5ec,
	TESTDEV_VCPU_ENTRY = 0x5f0,
	TESTDEV_VCPU_START = 0x5f4,
	TESTDEV_EXITS = 0x5f8,
	TESTDEV_LAST = 0x5fb,
};

enum testdev_command {
	TESTDEV_LOG_START = 1,
	TESTDEV_HARVEST = 2,
	TESTDEV_LOG_STOP = 3,
	TESTDEV_AUDIT = 4,
	TESTDEV_ZAP = 5,
	TESTDEV_MOVE_SLOT = 6,
};

#define TESTDEV_IMPOSSIBLE 0xffffffffu /* result of a command that is not possible now */
#define TESTDEV_METRICS 10000          /* METRIC lines a guest may print */

/* The registers are the guest's, not a vCPU's: vCPUs that use them at once must agree among themselves. */
struct testdev {
	struct vm *vm;
	atomic32 result; /* of the last command */
	atomic32 metric_id;
	atomic32 metrics; /* lines asked for */
	atomic32 gfn;     /* asked for */
	atomic32 entry;   /* of the next vCPU */
	atomic32 refused_metric; /* said once */
};

void testdev_init(struct testdev *t, struct vm *vm);
void testdev_attach(struct testdev *t, struct bus *b);
/* Port accesses, as bus_handler, on any vCPU. BUS_RETRY: a command waits for a harvest's turn; BUS_QUIET: an audit, for
 * the other vCPUs. */
enum bus_outcome testdev_io(void *testdev, uint16_t port, unsigned size, bool write, uint32_t *value);

#endif
