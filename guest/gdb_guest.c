/* SPDX-License-Identifier: MIT */
#include "guest/gdb_guest.h"
#include "guest/interpret_step.h"
#include "mm/gpte.h"

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

/* A place that is told as it is. */
static bool physical(const struct vcpu *v, uint64_t a, gpa_t *out)
{
	(void)v;
	*out = gpa(a);
	return true;
}

typedef bool find_place(const struct vcpu *v, uint64_t a, gpa_t *out);

/* The next piece of a range that lies in one page. */
static bool piece(const struct vcpu *v, find_place *find, uint64_t a, size_t n, gpa_t *at, size_t *bytes)
{
	size_t room = PAGE_SIZE - (a & (PAGE_SIZE - 1));

	*bytes = n < room ? n : room;
	return find(v, a, at);
}

static size_t read_from(const struct vcpu *v, find_place *find, uint64_t a, uint8_t *to, size_t n)
{
	size_t done = 0, bytes;
	gpa_t at;

	for (; done < n; done += bytes)
		if (!piece(v, find, a + done, n - done, &at, &bytes) || !mmu_read(v->mmu.mmu, at, to + done, bytes))
			break;
	return done;
}

static bool write_to(const struct vcpu *v, find_place *find, uint64_t a, const uint8_t *from, size_t n)
{
	size_t done = 0, bytes;
	gpa_t at;

	for (; done < n; done += bytes)
		if (!piece(v, find, a + done, n - done, &at, &bytes) || !mmu_write(v->mmu.mmu, at, from + done, bytes))
			return false;
	return true;
}

size_t gdb_guest_read(const struct vcpu *v, uint64_t a, void *to, size_t n)
{
	return read_from(v, translate, a, to, n);
}

bool gdb_guest_write(const struct vcpu *v, uint64_t a, const void *from, size_t n)
{
	return write_to(v, translate, a, from, n);
}

size_t gdb_guest_read_physical(const struct vcpu *v, uint64_t a, void *to, size_t n)
{
	return read_from(v, physical, a, to, n);
}

bool gdb_guest_write_physical(const struct vcpu *v, uint64_t a, const void *from, size_t n)
{
	return write_to(v, physical, a, from, n);
}

/* ---- single steps ---- */

/* PUSHF's, POPF's or IRET's opcode is among them; most code is told apart by that, and decoding takes its time. */
static bool has_flags_opcode(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] == 0x9c || bytes[i] == 0x9d || bytes[i] == 0xcf)
			return true;
	return false;
}

/* Of the instruction at RIP; *behind: the linear address of the next. */
static enum vcpu_step_flags flags_of_next(const struct vcpu *v, uint64_t *behind)
{
	uint8_t bytes[INSN_BYTES_MAX];
	uint64_t at = gdb_guest_linear_rip(v);
	size_t n = gdb_guest_read(v, at, bytes, sizeof bytes);
	struct insn i;

	if (!has_flags_opcode(bytes, n) || insn_decode_all(insn_mode(v), bytes, (unsigned)n, &i) != INSN_OK)
		return STEP_FLAGS_NONE;
	*behind = at + i.length;
	return i.op == INSN_PUSHF ? STEP_FLAGS_STORED : i.op == INSN_POPF ? STEP_FLAGS_LOADED
		: i.op == INSN_IRET ? STEP_FLAGS_RETURNED : STEP_FLAGS_NONE;
}

void gdb_guest_step(struct vcpu *v)
{
	struct vcpu_step *s = &v->step;

	s->on = s->wanted = true;
	s->done = false;
	s->start = s->end = 0;
	s->flags = flags_of_next(v, &s->behind);
	s->own_tf = v->rflags & RFLAGS_TF;
	v->rflags |= RFLAGS_TF;
	/* Nothing is there to be blocked: interrupts wait. An entry with blocking and TF wants more than this. */
	v->interrupt_shadow = false;
	v->changed |= VCPU_FLOW;
}

/* TF in what PUSHF has stored: a bit of its second byte. */
static void hide_stored(const struct vcpu *v)
{
	uint64_t a = (vcpu_64bit(v) ? 0 : v->seg[SS].base) + stack_pointer(v) + 1;
	uint8_t byte;

	if (gdb_guest_read(v, a, &byte, 1) != 1 || !(byte & RFLAGS_TF >> 8))
		return;
	byte &= (uint8_t)~(RFLAGS_TF >> 8);
	gdb_guest_write(v, a, &byte, 1);
}

void gdb_guest_step_settle(struct vcpu *v)
{
	struct vcpu_step *s = &v->step;
	enum vcpu_step_flags flags = s->flags;

	if (!s->on || !s->done)
		return;
	s->flags = STEP_FLAGS_NONE;
	if (flags != STEP_FLAGS_RETURNED && gdb_guest_linear_rip(v) != s->behind)
		return; /* a handler has led elsewhere */
	if (flags == STEP_FLAGS_STORED && !s->own_tf)
		hide_stored(v);
	if (flags >= STEP_FLAGS_LOADED && v->rflags & RFLAGS_TF) {
		s->own_tf = !s->left_behind; /* a step's that came back, or the guest's wish */
		s->left_behind = false;
	}
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
