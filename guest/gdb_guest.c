/* SPDX-License-Identifier: MIT */
#include "guest/gdb_guest.h"
#include "mm/gpte.h"

#define ICEBP 0xf1

struct breakpoint {
	struct mmu *mmu; /* 0: free */
	gpa_t at;
	uint8_t byte; /* the guest's */
};
/* Changed while everything stands still, read by exits. */
static struct breakpoint breakpoints[GDB_BREAKPOINTS];

/* ---- memory ---- */

/* The page of a leaf entry, and a's place in it. */
static gpa_t in_leaf(uint64_t entry, unsigned level, bool narrow, uint64_t a)
{
	gfn_t first = narrow ? gpte_narrow_leaf_gfn(entry, level) : gpte_leaf_gfn(entry, level);
	uint64_t pages = narrow ? gpte_narrow_pages(level) : gpte_pages(level);

	return gpa(gfn_gpa(first).v | (a & (pages * PAGE_SIZE - 1)));
}

/* Where a lies; false: it is not mapped. */
static bool translate(const struct vcpu *v, uint64_t a, gpa_t *out)
{
	enum paging_mode mode = v->mmu.mode;
	bool narrow = gpte_narrow(mode);
	size_t bytes = narrow ? sizeof(uint32_t) : sizeof(uint64_t);
	uint64_t entry = v->mmu.paging.cr3;

	if (mode == PAGING_LONG ? !vcpu_canonical(a) : a >> 32)
		return false;
	if (mode == PAGING_PAE)
		entry = v->mmu.paging.pdpte[a >> 30];
	if (mode == PAGING_OFF || (mode == PAGING_PAE && !(entry & GPTE_P))) {
		*out = gpa(a);
		return mode == PAGING_OFF;
	}
	for (unsigned level = mode == PAGING_LONG ? 4 : 2; level; level--) {
		unsigned i = narrow ? gpte_narrow_index(gva(a), level) : gpte_index(gva(a), level);
		gpa_t at = gpa(gfn_gpa(gpte_gfn(entry)).v + i * bytes);

		entry = 0;
		if (!mmu_read(v->mmu.mmu, at, &entry, bytes) || !(entry & GPTE_P))
			return false;
		if (gpte_is_leaf(entry, level, mode)) {
			*out = in_leaf(entry, level, narrow, a);
			return true;
		}
	}
	return false;
}

static struct breakpoint *find(const struct mmu *m, gpa_t at)
{
	for (unsigned i = 0; i < GDB_BREAKPOINTS; i++)
		if (breakpoints[i].mmu == m && breakpoints[i].at.v == at.v)
			return &breakpoints[i];
	return 0;
}

/* It may have been written over since. */
static bool still_there(const struct breakpoint *b)
{
	uint8_t byte;

	return mmu_read(b->mmu, b->at, &byte, 1) && byte == ICEBP;
}

/* The next piece of a range that lies in one page. */
static bool piece(const struct vcpu *v, uint64_t a, size_t n, gpa_t *at, size_t *bytes)
{
	size_t room = PAGE_SIZE - (a & (PAGE_SIZE - 1));

	*bytes = n < room ? n : room;
	return translate(v, a, at);
}

static bool within(const struct breakpoint *b, const struct mmu *m, gpa_t at, size_t bytes)
{
	return b->mmu == m && b->at.v - at.v < bytes;
}

size_t gdb_guest_read(const struct vcpu *v, uint64_t a, void *to, size_t n)
{
	struct mmu *m = v->mmu.mmu;
	uint8_t *p = to;
	size_t done = 0, bytes;
	gpa_t at;

	for (; done < n; done += bytes) {
		if (!piece(v, a + done, n - done, &at, &bytes) || !mmu_read(m, at, p + done, bytes))
			return done;
		for (struct breakpoint *b = breakpoints; b < breakpoints + GDB_BREAKPOINTS; b++)
			if (within(b, m, at, bytes) && p[done + (b->at.v - at.v)] == ICEBP)
				p[done + (b->at.v - at.v)] = b->byte;
	}
	return done;
}

bool gdb_guest_write(const struct vcpu *v, uint64_t a, const void *from, size_t n)
{
	struct mmu *m = v->mmu.mmu;
	const uint8_t *p = from;
	const uint8_t icebp = ICEBP;
	size_t bytes;
	gpa_t at;

	for (; n; a += bytes, p += bytes, n -= bytes) {
		if (!piece(v, a, n, &at, &bytes) || !mmu_write(m, at, p, bytes))
			return false;
		for (struct breakpoint *b = breakpoints; b < breakpoints + GDB_BREAKPOINTS; b++) {
			if (!within(b, m, at, bytes))
				continue;
			b->byte = p[b->at.v - at.v];
			mmu_write(m, b->at, &icebp, 1);
		}
	}
	return true;
}

/* ---- breakpoints ---- */

static void take_back(struct breakpoint *b)
{
	if (still_there(b))
		mmu_write(b->mmu, b->at, &b->byte, 1);
	b->mmu = 0;
}

bool gdb_guest_breakpoint(const struct vcpu *v, uint64_t a, bool insert)
{
	const uint8_t icebp = ICEBP;
	struct mmu *m = v->mmu.mmu;
	struct breakpoint *b;
	gpa_t at;

	if (!translate(v, a, &at))
		return false;
	b = find(m, at);
	if (!insert) {
		if (b)
			take_back(b);
		return b;
	}
	if (b)
		return true;
	for (b = breakpoints; b < breakpoints + GDB_BREAKPOINTS && b->mmu; b++)
		;
	if (b == breakpoints + GDB_BREAKPOINTS || !mmu_read(m, at, &b->byte, 1) || !mmu_write(m, at, &icebp, 1))
		return false;
	b->mmu = m;
	b->at = at;
	return true;
}

void gdb_guest_forget(struct mmu *m)
{
	for (struct breakpoint *b = breakpoints; b < breakpoints + GDB_BREAKPOINTS; b++)
		if (b->mmu == m)
			take_back(b);
}

bool gdb_guest_breakpoint_at(const struct vcpu *v)
{
	gpa_t at;

	return translate(v, gdb_guest_linear_rip(v), &at) && find(v->mmu.mmu, at);
}

/* ---- single steps ---- */

void gdb_guest_step(struct vcpu *v)
{
	struct vcpu_step *s = &v->step;

	s->on = true;
	s->done = false;
	s->start = s->end = 0;
	s->own_tf = v->rflags & RFLAGS_TF;
	v->rflags |= RFLAGS_TF;
	/* Nothing is there to be blocked: interrupts wait. An entry with blocking and TF wants more than this. */
	v->interrupt_shadow = false;
	v->changed |= VCPU_FLOW;
}

void gdb_guest_step_range(struct vcpu *v, uint64_t start, uint64_t end)
{
	v->step.start = start;
	v->step.end = end;
}

bool gdb_guest_step_on(struct vcpu *v)
{
	uint64_t start = v->step.start, end = v->step.end, at = gdb_guest_linear_rip(v);

	/* A halt would last: interrupts wait for the end of the step. */
	if (at < start || at >= end || v->activity != VCPU_RUNNABLE)
		return false;
	gdb_guest_step_end(v);
	gdb_guest_step(v);
	gdb_guest_step_range(v, start, end);
	return true;
}

void gdb_guest_step_end(struct vcpu *v)
{
	struct vcpu_step *s = &v->step;

	if (!s->on)
		return;
	s->on = false;
	if (v->rflags & RFLAGS_TF) {
		if (!s->own_tf)
			v->rflags &= ~RFLAGS_TF;
		v->changed |= VCPU_FLOW;
	} else if (!s->done) {
		s->left_behind = true; /* a handler has it in its frame */
	}
}

void gdb_guest_debug(struct vcpu *v, uint64_t *dr6)
{
	struct vcpu_step *s = &v->step;

	if (!(*dr6 & DR6_BS))
		return;
	if (s->on) {
		s->done = true;
		if (!s->own_tf)
			*dr6 &= ~DR6_BS;
	} else if (s->left_behind) {
		s->left_behind = false;
		v->rflags &= ~RFLAGS_TF;
		v->changed |= VCPU_FLOW;
		*dr6 &= ~DR6_BS;
	}
}
