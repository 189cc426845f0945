/* SPDX-License-Identifier: MIT */
#include "guest/testdev.h"
#include "guest/vm.h"
#include "mm/log.h"
#include "mm/rcu.h"

#define EXIT_LAST (TESTDEV_EXIT_PORT + 3) /* guests write it in any size */
#define DEBUG_READS 0xe9                  /* what the debug port reads where it exists */

/* A command's result so far: all of them end in one of these ways. */
static enum bus_outcome done(struct testdev *t, uint64_t result)
{
	store_relaxed(&t->result, result < TESTDEV_IMPOSSIBLE ? (uint32_t)result : TESTDEV_IMPOSSIBLE - 1);
	return BUS_DONE;
}

static enum bus_outcome impossible(struct testdev *t)
{
	store_relaxed(&t->result, TESTDEV_IMPOSSIBLE);
	return BUS_DONE;
}

static enum bus_outcome log_command(struct testdev *t, enum log_outcome outcome, uint64_t pages)
{
	switch (outcome) {
	case LOG_BUSY:
		return BUS_RETRY;
	case LOG_OFF:
		return impossible(t);
	case LOG_DONE:
		break;
	}
	return done(t, pages);
}

static enum bus_outcome audit(struct testdev *t)
{
	uint64_t violations;

	if (!vm_quiet(t->vm))
		return BUS_QUIET;
	violations = mmu_audit(&t->vm->mmu);
	return violations == MMU_AUDIT_BUSY ? BUS_RETRY : done(t, violations);
}

static enum bus_outcome command(struct testdev *t, uint32_t value)
{
	struct mmu *m = &t->vm->mmu;
	enum log_outcome outcome;
	uint64_t pages = 0;

	switch ((enum testdev_command)value) {
	case TESTDEV_LOG_START:
		return log_command(t, log_view_start(m), 0);
	case TESTDEV_HARVEST:
		outcome = log_view_harvest(m, &pages);
		return log_command(t, outcome, pages);
	case TESTDEV_LOG_STOP:
		return log_command(t, log_view_stop(m), 0);
	case TESTDEV_AUDIT:
		return audit(t);
	case TESTDEV_ZAP:
		return mmu_zap_all(m) == MMU_RETRY ? BUS_RETRY : done(t, 0);
	case TESTDEV_MOVE_SLOT:
		return mmu_move_ram(m) == MMU_RETRY ? BUS_RETRY : done(t, 0);
	}
	return impossible(t);
}

/* A guest may print as many lines as a test needs, not as many as it likes. */
static void metric(struct testdev *t, uint32_t value)
{
	const char *name = t->vm->config.name;

	if (load_relaxed(&t->metrics) < TESTDEV_METRICS) {
		fetch_add_relaxed(&t->metrics, 1);
		host_print("METRIC %s %u %u", name, load_relaxed(&t->metric_id), value);
		fetch_add_relaxed(&t->vm->printed, 1);
	} else if (!xchg_seq(&t->refused_metric, 1)) {
		host_log(HOST_WARN, "guest %s: more than %d METRIC lines: no more are printed", name, TESTDEV_METRICS);
	}
}

static uint32_t gfn_in_view(struct testdev *t)
{
	bool dirty;

	rcu_read_lock(RCU_WALK);
	dirty = log_view_test(&t->vm->mmu, gfn(load_relaxed(&t->gfn)));
	rcu_read_unlock(RCU_WALK);
	return dirty;
}

static enum bus_outcome write_port(struct testdev *t, uint16_t port, uint32_t value)
{
	switch (port) {
	case TESTDEV_COMMAND:
		return command(t, value);
	case TESTDEV_METRIC_ID:
		store_relaxed(&t->metric_id, value);
		break;
	case TESTDEV_METRIC_VALUE:
		metric(t, value);
		break;
	case TESTDEV_GFN:
		store_relaxed(&t->gfn, value);
		break;
	case TESTDEV_VCPU_ENTRY:
		store_relaxed(&t->entry, value);
		break;
	case TESTDEV_VCPU_START:
		vm_start_vcpu(t->vm, value, load_relaxed(&t->entry));
		break;
	}
	return BUS_DONE;
}

/* VM exits of all its vCPUs so far, this one too. */
static uint32_t exits(const struct vm *vm)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < vm->vcpus; i++)
		sum += vcpu_exits(vm->vcpu[i]);
	return (uint32_t)sum;
}

static uint32_t read_port(struct testdev *t, uint16_t port)
{
	switch (port) {
	case TESTDEV_COMMAND:
		return load_relaxed(&t->result);
	case TESTDEV_GFN:
		return gfn_in_view(t);
	case TESTDEV_VCPU_START:
		return t->vm->vcpus;
	case TESTDEV_EXITS:
		return exits(t->vm);
	default:
		return UINT32_MAX;
	}
}

enum bus_outcome testdev_io(void *testdev, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct testdev *t = testdev;

	if (write && port == TESTDEV_EXIT_PORT)
		vm_end_exit(t->vm, *value);
	else if (write && port == TESTDEV_DEBUG_PORT)
		vm_console_byte(t->vm, (uint8_t)*value);
	else if (write)
		return size == 4 ? write_port(t, port, *value) : BUS_DONE;
	else if (port == TESTDEV_DEBUG_PORT)
		*value = DEBUG_READS;
	else
		*value = size == 4 ? read_port(t, port) : size == 2 ? UINT16_MAX : UINT8_MAX;
	return BUS_DONE;
}

void testdev_init(struct testdev *t, struct vm *vm)
{
	*t = (struct testdev){.vm = vm};
}

void testdev_attach(struct testdev *t, struct bus *b)
{
	bus_add(b, TESTDEV_EXIT_PORT, EXIT_LAST, 4, testdev_io, t);
	bus_add(b, TESTDEV_DEBUG_PORT, TESTDEV_DEBUG_PORT, 1, testdev_io, t);
	bus_add_concurrent(b, TESTDEV_COMMAND, TESTDEV_LAST, 4, testdev_io, t);
}
