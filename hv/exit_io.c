/* SPDX-License-Identifier: MIT */
/* IN, OUT, INS and OUTS. */
#include "hv/log.h"
#include "hv/runner.h"

#define STRING_STEP 64    /* iterations of a REP at most before interrupts are looked at again */
#define CONSOLE_STEP 1024 /* characters moved to the console after an access, where this CPU does that */

/* The access may have moved an interrupt line, a timer, the console, or ended the guest. */
static enum runner_next after_access(struct runner *r)
{
	r->tick = vm_tick(r->vm, host_clock());
	r->irq = vm_interrupt_pending(r->vm) >= 0;
	runner_arm(r->tick);
	/* A guest that prints faster than the console takes it waits here: no line is lost for it, least of all
	 * others'. */
	if (host_cpu() == 0)
		log_drain(CONSOLE_STEP);
	log_wait_room();
	return vm_running(r->vm) ? NEXT_ENTER : NEXT_END;
}

/* x with its low `bytes` replaced; 4 bytes clear the upper half, as the processor does. */
static uint64_t merge(uint64_t x, uint64_t value, unsigned bytes)
{
	switch (bytes) {
	case 1:
		return (x & ~0xffUL) | (value & 0xff);
	case 2:
		return (x & ~0xffffUL) | (value & 0xffff);
	case 4:
		return (uint32_t)value;
	default:
		return value;
	}
}

static uint32_t low_bytes(uint64_t x, unsigned bytes)
{
	return (uint32_t)(x & (bytes == 4 ? 0xffffffff : (1UL << 8 * bytes) - 1));
}

static enum runner_next plain(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	uint32_t value = e->io.write ? low_bytes(v->gpr[RAX], e->io.size) : 0;

	if (bus_io(&r->vm->bus, e->io.port, e->io.size, e->io.write, &value) == BUS_RETRY)
		return exit_retry(r, e);
	if (!e->io.write)
		v->gpr[RAX] = merge(v->gpr[RAX], value, e->io.size);
	vcpu_skip(v, e->length);
	return after_access(r);
}

/* The linear address of an operand of `bytes` bytes at `offset`; false: it lies outside the segment. */
static bool linear(const struct vcpu *v, enum seg seg, uint64_t offset, unsigned bytes, bool write, uint64_t *a)
{
	const struct segment *s = &v->seg[seg];
	unsigned type = s->attr & SEG_TYPE;
	bool code = type & 8, down = !code && type & 4;
	uint64_t last = offset + bytes - 1, top = s->attr & SEG_DB ? 0xffffffff : 0xffff;

	if (vcpu_64bit(v)) {
		*a = offset + (seg == FS || seg == GS ? s->base : 0);
		return vcpu_canonical(*a) && vcpu_canonical(*a + bytes - 1);
	}
	*a = (uint32_t)(s->base + offset);
	if (s->attr & SEG_UNUSABLE || (code ? write || !(type & 2) : write && !(type & 2)))
		return false;
	return down ? offset > s->limit && last <= top : last <= s->limit;
}

/* One operand in guest memory: its two pages, should it cross a boundary. */
struct operand {
	gpa_t at[2];
	unsigned bytes[2];
};

static enum mmu_outcome locate(
	struct vcpu *v, uint64_t a, unsigned bytes, bool write, struct operand *o, struct mmu_fault *f)
{
	uint32_t access = (write ? PF_W : 0) | (vcpu_cpl(v) == 3 ? PF_U : 0);
	uint64_t room = PAGE_SIZE - (a & (PAGE_SIZE - 1));
	enum mmu_outcome m = mmu_translate(&v->mmu, gva(a), access, &o->at[0], f);

	o->bytes[0] = room < bytes ? (unsigned)room : bytes;
	o->bytes[1] = bytes - o->bytes[0];
	if (m != MMU_RESUME || !o->bytes[1])
		return m;
	return mmu_translate(&v->mmu, gva(a + room), access, &o->at[1], f);
}

static bool copy(struct mmu *m, const struct operand *o, uint32_t *value, bool write)
{
	uint8_t *p = (uint8_t *)value;

	for (unsigned i = 0; i < 2 && o->bytes[i]; p += o->bytes[i++])
		if (!(write ? mmu_write(m, o->at[i], p, o->bytes[i]) : mmu_read(m, o->at[i], p, o->bytes[i])))
			return false;
	return true;
}

/* One iteration. NEXT_ENTER: done. Otherwise nothing happened yet, but for *event: a fault was queued. */
static enum runner_next iterate(struct runner *r, struct exit *e, uint64_t offset, bool *event)
{
	const struct exit_io *io = &e->io;
	struct vcpu *v = r->v;
	struct mmu_fault f;
	struct operand o;
	uint32_t value = 0;
	uint64_t a;

	*event = true;
	if (!linear(v, io->seg, offset, io->size, !io->write, &a))
		return inject_exception(r, e, io->seg == SS ? VECTOR_SS : VECTOR_GP, true, 0);
	switch (locate(v, a, io->size, !io->write, &o, &f)) {
	case MMU_RESUME:
		break;
	case MMU_INJECT:
		vcpu_set_cr2(v, f.gva.v);
		return inject_exception(r, e, VECTOR_PF, true, f.error);
	case MMU_RETRY:
		return exit_retry(r, e);
	default:
		return report_crash(r, e, "string I/O at 0x%lx: the page tables cannot be read", a);
	}
	if (io->write && !copy(&r->vm->mmu, &o, &value, false))
		return report_crash(r, e, "string I/O at 0x%lx, where there is no memory", o.at[0].v);
	if (bus_io(&r->vm->bus, io->port, io->size, io->write, &value) == BUS_RETRY)
		return exit_retry(r, e);
	if (!io->write && !copy(&r->vm->mmu, &o, &value, true))
		return report_crash(r, e, "string I/O at 0x%lx, where there is no memory", o.at[0].v);
	*event = false;
	return NEXT_ENTER;
}

static enum runner_next string(struct runner *r, struct exit *e)
{
	struct vcpu *v = r->v;
	enum gpr index = e->io.write ? RSI : RDI;
	unsigned bytes = e->io.address_bytes;
	uint64_t mask = bytes == 8 ? ~0UL : (1UL << 8 * bytes) - 1;
	uint64_t step = v->rflags & RFLAGS_DF ? -(uint64_t)e->io.size : e->io.size;
	uint64_t left = e->io.rep ? v->gpr[RCX] & mask : 1;
	enum runner_next next;
	bool event;

	guests.backend->fetch(v, VCPU_SEGMENTS);
	for (unsigned i = 0; left && i < STRING_STEP; i++) {
		next = iterate(r, e, v->gpr[index] & mask, &event);
		if (event || next != NEXT_ENTER)
			return next;
		left--;
		v->gpr[index] = merge(v->gpr[index], v->gpr[index] + step, bytes);
		if (e->io.rep)
			v->gpr[RCX] = merge(v->gpr[RCX], left, bytes);
		if (!vm_running(r->vm))
			break;
	}
	if (!left)
		vcpu_skip(v, e->length);
	return after_access(r);
}

enum runner_next exit_io(struct runner *r, struct exit *e)
{
	return e->io.string ? string(r, e) : plain(r, e);
}
