/* SPDX-License-Identifier: MIT */
#include "hv/gdb_target.h"
#include "guest/gdb_guest.h"
#include "guest/text.h"
#include "hv/gdb_host.h"
#include "hv/gdb_stub.h"
#include "hv/gdb_stop.h"

static struct gdb_thread resumed;
static bool physical; /* addresses of guests' memory are */

/* The guest of a process, while it has no verdict. */
static struct vm *vm_of(unsigned pid)
{
	unsigned i = pid - GDB_HYPERVISOR - 1;

	if (i >= guests.n || load_acquire(&guests.guest[i].ended) || !vm_running(guests.guest[i].vm))
		return 0;
	return guests.guest[i].vm;
}

static struct vcpu *vcpu_of(struct gdb_thread t)
{
	struct vm *vm = vm_of(t.pid);
	struct vcpu *v = vm && t.tid - 1 < vm->vcpus ? vm->vcpu[t.tid - 1] : 0;

	return v && gdb_stop_orderly(v->cpu) ? v : 0;
}

static bool is_cpu(struct gdb_thread t)
{
	return t.pid == GDB_HYPERVISOR && t.tid - 1 < host_cpus() && gdb_stop_stands(t.tid - 1);
}

struct gdb_thread gdb_target_vcpu_thread(const struct vcpu *v)
{
	unsigned i = 0;

	while (guests.guest[i].vm != v->vm)
		i++;
	return (struct gdb_thread){GDB_HYPERVISOR + 1 + i, v->index + 1};
}

bool gdb_target_thread(void *context, unsigned n, struct gdb_thread *t)
{
	(void)context;
	t->pid = GDB_HYPERVISOR;
	for (t->tid = 1; t->tid <= host_cpus(); t->tid++)
		if (is_cpu(*t) && !n--)
			return true;
	while (t->pid++ <= guests.n)
		for (t->tid = 1; t->tid <= MMU_MAX_VCPUS; t->tid++)
			if (vcpu_of(*t) && !n--)
				return true;
	return false;
}

void gdb_target_stopped(void)
{
	struct gdb_thread t;
	struct vcpu *v;

	for (unsigned i = 0; gdb_target_thread(0, i, &t); i++) {
		v = vcpu_of(t);
		if (!v)
			continue;
		if (gdb_stop_all_orderly()) /* it takes locks; else when the vCPU goes on */
			gdb_guard_over(&guests.guest[t.pid - GDB_HYPERVISOR - 1].runner[v->index]);
		gdb_guest_step_end(v);
	}
	gdb_host_stopped();
}

/* While gdb steps, what it has taken away for that stays guarded: making a guard takes all of the shadow. */
void gdb_target_resume(void)
{
	for (unsigned i = 0; i < guests.n; i++) {
		struct vm *vm = vm_of(GDB_HYPERVISOR + 1 + i);
		bool steps = false;

		for (unsigned k = 0; vm && k < vm->vcpus; k++)
			steps |= vm->vcpu[k]->step.on;
		if (vm && !steps)
			gdb_watch_settle(&vm->mmu);
	}
}

struct gdb_thread gdb_target_resumed(void)
{
	return vcpu_of(resumed) ? resumed : (struct gdb_thread){GDB_HYPERVISOR, 1};
}

unsigned gdb_target_core(void *context, struct gdb_thread t)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	return v ? v->cpu : t.tid - 1;
}

void gdb_target_describe(void *context, struct gdb_thread t, char *to, size_t room)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	if (!v)
		text_format(to, room, "hypervisor, CPU %u", t.tid - 1);
	else
		text_format(to, room, "guest %s, vCPU %u%s", v->vm->config.name, v->index,
			v->activity == VCPU_RUNNABLE ? "" : v->activity == VCPU_OFF ? ", not started" : ", halted");
}

enum gdb_mode gdb_target_mode(void *context, struct gdb_thread t)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	return v ? gdb_guest_mode(v) : GDB_X86_64;
}

bool gdb_target_register_read(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t *value)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	if (is_cpu(t))
		return gdb_host_register(t.tid - 1, r, value);
	return v && gdb_guest_register(v, r, value);
}

bool gdb_target_register_write(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t value)
{
	struct vcpu *v = vcpu_of(t);

	(void)context;
	if (is_cpu(t))
		return gdb_host_set_register(t.tid - 1, r, value);
	return v && gdb_guest_set_register(v, r, value);
}

void gdb_target_physical(bool on)
{
	physical = on;
}

size_t gdb_target_memory_read(void *context, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	if (!v)
		return gdb_host_read(a, to, n);
	if (mmu_moving(v->mmu.mmu) && !gdb_stop_all_orderly()) /* whom it would wait for may stand still */
		return 0;
	return physical ? gdb_guest_read_physical(v, a, to, n) : gdb_guest_read(v, a, to, n);
}

bool gdb_target_memory_write(void *context, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	if (!v)
		return gdb_host_write(a, from, n) == n;
	if (!gdb_stop_all_orderly()) /* it takes locks */
		return false;
	return physical ? gdb_guest_write_physical(v, a, from, n) : gdb_guest_write(v, a, from, n);
}

bool gdb_target_breakpoint(
	void *context, struct gdb_thread t, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	if (t.pid == GDB_HYPERVISOR)
		return kind == GDB_WATCH_CODE && gdb_host_breakpoint(a, insert);
	if (!v || !gdb_stop_all_orderly())
		return false;
	/* what is not there need not be taken away: gdb is not told that a guest was made anew, without what was watched */
	return gdb_watch(v->mmu.mmu, kind, a, n, insert) || !insert;
}

bool gdb_target_can_step(void *context, struct gdb_thread t)
{
	(void)context;
	return is_cpu(t) || vcpu_of(t);
}

void gdb_target_action(void *context, struct gdb_thread t, enum gdb_action action)
{
	struct vcpu *v = vcpu_of(t);

	(void)context;
	if (is_cpu(t)) {
		resumed = t; /* the first: a guest's thread takes its place */
		gdb_host_action(t.tid - 1, action);
	}
	if (!v)
		return;
	if (resumed.pid == GDB_HYPERVISOR && action != GDB_HOLD)
		resumed = t;
	v->held = action == GDB_HOLD;
	if (action == GDB_STEP)
		gdb_guest_step(v);
}

void gdb_target_step_range(void *context, struct gdb_thread t, uint64_t start, uint64_t end)
{
	struct vcpu *v = vcpu_of(t);

	(void)context;
	if (v)
		gdb_guest_step_range(v, start, end);
}

/* A guest ends, the hypervisor does not. */
bool gdb_target_kill(void *context, unsigned pid)
{
	struct vm *vm = vm_of(pid);

	(void)context;
	if (!vm)
		return false;
	gdb_watch_forget(&vm->mmu);
	vm_end_fail(vm, "killed by gdb");
	return true;
}

void gdb_target_detach(void *context, unsigned pid)
{
	struct vm *vm = vm_of(pid);

	(void)context;
	if (pid == GDB_HYPERVISOR) {
		gdb_host_forget();
		physical = false;
	}
	if (vm)
		gdb_watch_forget(&vm->mmu);
}
