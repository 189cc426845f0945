/* SPDX-License-Identifier: MIT */
#include "hv/gdb_host.h"
#include "hv/gdb_cpu.h"
#include "hv/gdb_stop.h"
#include "hv/runner.h"
#include "hv/x86.h"

#define INT3 0xcc
#define RFLAGS_WRITABLE 0x40ed5UL /* AC; OF, DF, IF; SF, ZF, AF, PF, CF */

extern const char image_start[], stub_text_start[], stub_text_end[], text_end[];

static struct breakpoint {
	uint64_t at; /* 0: free */
	uint8_t was;
} breakpoints[GDB_HOST_BREAKPOINTS];
/* Where a step over a whole VM entry ends; at 0: none is made. */
static struct breakpoint entry_over;
static bool planted;

/* ---- registers and memory ---- */

bool gdb_host_register(unsigned cpu, enum gdb_reg r, uint64_t *value)
{
	const struct gdb_cpu *c = &gdb_cpus[cpu];
	const struct trap_frame *f = c->frame;
	const uint64_t gpr[] = {f->rax, f->rcx, f->rdx, f->rbx, f->rsp, f->rbp, f->rsi, f->rdi, f->r8, f->r9, f->r10,
		f->r11, f->r12, f->r13, f->r14, f->r15};
	const uint64_t rest[GDB_FPU] = {[GDB_RIP] = f->rip, [GDB_IP] = f->rip, [GDB_RFLAGS] = f->rflags & ~RFLAGS_TF,
		[GDB_CS] = f->cs, [GDB_SS] = f->ss, [GDB_DS] = f->ss, [GDB_ES] = f->ss, [GDB_CR0] = c->cr0,
		[GDB_CR2] = c->cr2, [GDB_CR3] = c->cr3, [GDB_CR4] = c->cr4, [GDB_EFER] = c->efer};

	if (gdb_cpu_register(cpu_get(cpu), (uint16_t)f->cs, (uint16_t)f->ss, r, value))
		return true;
	if (r >= GDB_FPU) /* the hypervisor uses none of these */
		return false;
	*value = r <= GDB_R15 ? gpr[r - GDB_RAX] : rest[r];
	return true;
}

bool gdb_host_set_register(unsigned cpu, enum gdb_reg r, uint64_t value)
{
	struct trap_frame *f = gdb_cpus[cpu].frame;
	uint64_t *const gpr[] = {&f->rax, &f->rcx, &f->rdx, &f->rbx, &f->rsp, &f->rbp, &f->rsi, &f->rdi, &f->r8, &f->r9, &f->r10,
		&f->r11, &f->r12, &f->r13, &f->r14, &f->r15};

	if (r == GDB_RFLAGS) {
		f->rflags = (value & RFLAGS_WRITABLE) | RFLAGS_FIXED;
		return true;
	}
	if (r == GDB_RIP || r == GDB_RAX + RSP) {
		if (!vcpu_canonical(value))
			return false;
		*(r == GDB_RIP ? &f->rip : &f->rsp) = value;
		return true;
	}
	if (r > GDB_R15)
		return false;
	*gpr[r - GDB_RAX] = value;
	return true;
}

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

size_t gdb_host_read(uint64_t a, uint8_t *to, size_t n)
{
	size_t done = 0;

	while (done < n && load_byte(a + done, to + done))
		done++;
	return done;
}

size_t gdb_host_write(uint64_t a, const uint8_t *from, size_t n)
{
	size_t done = 0;

	while (done < n && store_byte(a + done, from[done]))
		done++;
	return done;
}

/* ---- breakpoints ---- */

static bool breakable(uint64_t a)
{
	return a >= (uint64_t)image_start && a < (uint64_t)text_end &&
	       !(a >= (uint64_t)stub_text_start && a < (uint64_t)stub_text_end);
}

bool gdb_host_breakpoint(uint64_t a, bool insert)
{
	struct breakpoint *free = 0;

	for (unsigned i = 0; i < GDB_HOST_BREAKPOINTS; i++) {
		struct breakpoint *b = &breakpoints[i];

		if (b->at == a) {
			if (!insert)
				b->at = 0;
			return true;
		}
		if (!b->at)
			free = b;
	}
	if (!insert || !free || !breakable(a))
		return false;
	free->at = a;
	return true;
}

/* Nobody runs there: all others stand still, and go on by IRET, which has them fetch anew (SDM vol. 3, 8.1.3). */
static void patch(uint64_t a, uint8_t byte)
{
	uint64_t cr0 = read_cr0();

	write_cr0(cr0 & ~CR0_WP);
	*(volatile uint8_t *)a = byte;
	write_cr0(cr0);
}

static void put(struct breakpoint *b)
{
	if (!b->at)
		return;
	b->was = *(const uint8_t *)b->at;
	patch(b->at, INT3);
}

static void take(struct breakpoint *b)
{
	if (b->at)
		patch(b->at, b->was);
}

void gdb_host_plant(void)
{
	for (unsigned i = 0; i < GDB_HOST_BREAKPOINTS; i++)
		put(&breakpoints[i]);
	put(&entry_over);
	planted = true;
}

void gdb_host_lift(void)
{
	if (!planted)
		return;
	planted = false;
	take(&entry_over);
	entry_over.at = 0;
	for (unsigned i = GDB_HOST_BREAKPOINTS; i--;)
		take(&breakpoints[i]);
}

void gdb_host_forget(void)
{
	for (unsigned i = 0; i < GDB_HOST_BREAKPOINTS; i++)
		breakpoints[i].at = 0;
}

/* ---- steps ---- */

/* By RFLAGS.TF; but of the VM entry, in which the guest's GS and debug state come and go, to where it returns to. */
void gdb_host_action(unsigned cpu, enum gdb_action action)
{
	struct gdb_cpu *c = &gdb_cpus[cpu];

	c->runs = action != GDB_HOLD;
	c->step = action == GDB_STEP;
	if (!c->step)
		return;
	if (c->frame->rip == (uint64_t)guests.backend->run)
		entry_over.at = *(const uint64_t *)c->frame->rsp;
	else
		c->frame->rflags |= RFLAGS_TF;
}

/* One that gdb sees. */
static bool runs(const struct runner *r)
{
	return !r->over && gdb_stop_orderly(r->v->cpu) && !r->v->held;
}

bool gdb_host_alone(void)
{
	unsigned running = 0;

	for (unsigned i = 0; i < host_cpus(); i++)
		running += gdb_cpus[i].runs;
	for (unsigned i = 0; i < guests.n; i++)
		for (unsigned k = 0; k < guests.guest[i].runners; k++)
			running += runs(&guests.guest[i].runner[k]);
	return running == 1;
}

void gdb_host_stopped(void)
{
	for (unsigned i = 0; i < host_cpus(); i++) {
		struct gdb_cpu *c = &gdb_cpus[i];

		if (c->step && gdb_stop_stands(i))
			c->frame->rflags &= ~RFLAGS_TF;
		c->step = c->runs = false;
	}
}

/* An NMI's handler, whose stack the next NMI would take. */
static bool in_nmi(const struct trap_frame *frame)
{
	const uint8_t *stack = this_cpu()->ist_stack[IST_NMI - 1];

	return frame->rsp > (uint64_t)stack && frame->rsp <= (uint64_t)stack + CPU_IST_BYTES;
}

static enum gdb_host_trap broke(struct trap_frame *frame)
{
	uint64_t a = frame->rip - 1;
	struct breakpoint *b = entry_over.at == a ? &entry_over : 0;

	for (unsigned i = 0; !b && i < GDB_HOST_BREAKPOINTS; i++)
		if (breakpoints[i].at == a)
			b = &breakpoints[i];
	if (!b && *(const uint8_t *)a == INT3)
		return GDB_HOST_FOREIGN;
	frame->rip = a;
	if (!b)
		return GDB_HOST_OVER; /* it was taken away since */
	if (in_nmi(frame) || (host_cpu() == 0 && !gdb_stub_interruptible())) {
		take(b); /* not here: until the next resume */
		b->at = 0;
		return GDB_HOST_OVER;
	}
	gdb_cpus[host_cpu()].step &= b != &entry_over;
	return b == &entry_over ? GDB_HOST_STEPPED : GDB_HOST_BROKE;
}

enum gdb_host_trap gdb_host_trap(struct trap_frame *frame)
{
	struct gdb_cpu *c = &gdb_cpus[host_cpu()];
	uint64_t dr6;

	if (frame->vector == TRAP_BREAKPOINT)
		return broke(frame);
	dr6 = read_dr6();
	write_dr6(DR6_FIXED);
	if (!(dr6 & DR6_BS))
		return GDB_HOST_FOREIGN;
	frame->rflags &= ~RFLAGS_TF;
	if (!c->step)
		return GDB_HOST_OVER; /* its step was to begin when another stopped everything */
	c->step = false;
	return GDB_HOST_STEPPED;
}
