/* SPDX-License-Identifier: MIT */
#include "hv/gdb_target.h"
#include "guest/gdb_guest.h"
#include "guest/text.h"
#include "hv/cpu.h"
#include "hv/gdb_cpu.h"
#include "hv/gdb_stub.h"
#include "hv/x86.h"

static struct gdb_thread resumed;

static bool stands_still(unsigned cpu)
{
	return load_acquire(&gdb_cpus[cpu].parked) == load_relaxed(&gdb_stub_epoch); /* partner: gdb_stub_trap */
}

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

	return v && stands_still(v->cpu) ? v : 0;
}

static const struct gdb_cpu *cpu_of(struct gdb_thread t)
{
	return t.pid == GDB_HYPERVISOR && t.tid - 1 < host_cpus() && stands_still(t.tid - 1) ? &gdb_cpus[t.tid - 1] : 0;
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
		if (cpu_of(*t) && !n--)
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
		if (v)
			gdb_guest_step_end(v);
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

static bool cpu_register(const struct gdb_cpu *c, struct gdb_thread t, enum gdb_reg r, uint64_t *value)
{
	const struct trap_frame *f = c->frame;
	const uint64_t gpr[] = {f->rax, f->rcx, f->rdx, f->rbx, f->rsp, f->rbp, f->rsi, f->rdi, f->r8, f->r9, f->r10,
		f->r11, f->r12, f->r13, f->r14, f->r15};
	const uint64_t rest[GDB_REGS] = {[GDB_RIP] = f->rip, [GDB_IP] = f->rip, [GDB_RFLAGS] = f->rflags, [GDB_CS] = f->cs,
		[GDB_SS] = f->ss, [GDB_DS] = f->ss, [GDB_ES] = f->ss, [GDB_CR0] = c->cr0, [GDB_CR2] = c->cr2,
		[GDB_CR3] = c->cr3, [GDB_CR4] = c->cr4, [GDB_EFER] = c->efer};

	if (gdb_cpu_register(cpu_get(t.tid - 1), (uint16_t)f->cs, (uint16_t)f->ss, r, value))
		return true;
	if (r >= GDB_REGS)
		return false;
	*value = r <= GDB_R15 ? gpr[r - GDB_RAX] : rest[r];
	return true;
}

bool gdb_target_register_read(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t *value)
{
	const struct gdb_cpu *c = cpu_of(t);
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	return c ? cpu_register(c, t, r, value) : v && gdb_guest_register(v, r, value);
}

bool gdb_target_register_write(void *context, struct gdb_thread t, enum gdb_reg r, uint64_t value)
{
	struct vcpu *v = vcpu_of(t);

	(void)context;
	return v && gdb_guest_set_register(v, r, value);
}

/* The hypervisor's memory, as it is mapped: what is not, or is read-only, faults. */
static bool load_byte(uint64_t a, uint8_t *to)
{
	bool ok = false;
	uint8_t byte = 0;

	asm volatile("1: movb (%2), %1\n\tmovb $1, %0\n2:\n\t.pushsection .extable, \"a\"\n\t.quad 1b, 2b\n\t.popsection"
		: "+m"(ok), "+q"(byte) : "r"(a) : "memory");
	*to = byte;
	return ok;
}

static bool store_byte(uint64_t a, uint8_t byte)
{
	bool ok = false;

	asm volatile("1: movb %1, (%2)\n\tmovb $1, %0\n2:\n\t.pushsection .extable, \"a\"\n\t.quad 1b, 2b\n\t.popsection"
		: "+m"(ok) : "q"(byte), "r"(a) : "memory");
	return ok;
}

size_t gdb_target_memory_read(void *context, struct gdb_thread t, uint64_t a, uint8_t *to, size_t n)
{
	const struct vcpu *v = vcpu_of(t);
	size_t done = 0;

	(void)context;
	if (v)
		return gdb_guest_read(v, a, to, n);
	while (done < n && load_byte(a + done, to + done))
		done++;
	return done;
}

bool gdb_target_memory_write(void *context, struct gdb_thread t, uint64_t a, const uint8_t *from, size_t n)
{
	const struct vcpu *v = vcpu_of(t);
	size_t done = 0;

	(void)context;
	if (v)
		return gdb_guest_write(v, a, from, n);
	while (done < n && store_byte(a + done, from[done]))
		done++;
	return done == n;
}

/* The hypervisor itself has none yet: its code is read-only, and what runs it serves gdb. */
bool gdb_target_breakpoint(void *context, struct gdb_thread t, uint64_t a, bool insert)
{
	const struct vcpu *v = vcpu_of(t);

	(void)context;
	return v && gdb_guest_breakpoint(v, a, insert);
}

bool gdb_target_can_step(void *context, struct gdb_thread t)
{
	(void)context;
	return vcpu_of(t);
}

void gdb_target_action(void *context, struct gdb_thread t, enum gdb_action action)
{
	struct vcpu *v = vcpu_of(t);

	(void)context;
	if (t.pid == GDB_HYPERVISOR)
		resumed = t; /* the first: a guest's thread takes its place */
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
	gdb_guest_forget(&vm->mmu);
	vm_end_fail(vm, "killed by gdb");
	return true;
}

void gdb_target_detach(void *context, unsigned pid)
{
	struct vm *vm = vm_of(pid);

	(void)context;
	if (vm)
		gdb_guest_forget(&vm->mmu);
}
