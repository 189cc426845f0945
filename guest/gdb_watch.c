/* SPDX-License-Identifier: MIT */
#include "guest/gdb_watch.h"
#include "guest/gdb_guest.h"

struct watch {
	struct mmu *mmu; /* 0: free */
	enum gdb_watch kind;
	uint64_t at, n;
};
/* Changed while everything stands still, read by exits. But a guest that ends takes its own away beside others, whom they do not
 * concern: theirs they are neither before nor after. */
static struct watch watches[GDB_WATCHES];

static bool is_code(const struct watch *w)
{
	return w->kind == GDB_WATCH_CODE || w->kind == GDB_WATCH_CODE_HARD;
}

static uint64_t last_page(const struct watch *w)
{
	return (w->at + w->n - 1) & ~(PAGE_SIZE - 1);
}

static bool on_page(const struct watch *w, const struct mmu *m, uint64_t page)
{
	return w->mmu == m && page >= (w->at & ~(PAGE_SIZE - 1)) && page <= last_page(w);
}

/* Its first page, and its last, which may be the same: one is no longer than a page. */
static bool guard(const struct watch *w)
{
	return mmu_guard(w->mmu, gva(w->at)) && mmu_guard(w->mmu, gva(last_page(w)));
}

/* The same, that is inserted or not; else where it could be; 0 when there is no room. */
static struct watch *place_of(const struct watch *wanted)
{
	struct watch *free = 0;

	for (struct watch *w = watches; w < watches + GDB_WATCHES; w++) {
		if (!w->mmu)
			free = w;
		if (w->mmu == wanted->mmu && w->kind == wanted->kind && w->at == wanted->at && w->n == wanted->n)
			return w;
	}
	return free;
}

bool gdb_watch(struct mmu *m, enum gdb_watch kind, uint64_t a, uint64_t n, bool insert)
{
	struct watch new = {m, kind, a, kind <= GDB_WATCH_CODE_HARD ? 1 : n}, *w;
	bool there;

	if (kind >= GDB_WATCH_NONE || !new.n || new.n > GDB_WATCH_BYTES || a + new.n - 1 < a)
		return false;
	w = place_of(&new);
	if (!insert) {
		there = w && w->mmu;
		if (there)
			w->mmu = 0;
		return there;
	}
	if (!w)
		return false;
	*w = new;
	if (guard(w)) /* also what is there: its pages are guarded then, whatever was so far */
		return true;
	w->mmu = 0;
	gdb_watch_settle(m);
	return false;
}

void gdb_watch_settle(struct mmu *m)
{
	for (unsigned i = m->guards.n; i--;) {
		uint64_t page = m->guards.page[i] << PAGE_SHIFT;
		bool wanted = false;

		for (const struct watch *w = watches; w < watches + GDB_WATCHES; w++)
			wanted |= on_page(w, m, page);
		if (!wanted)
			mmu_unguard(m, gva(page));
	}
}

void gdb_watch_forget(struct mmu *m)
{
	for (struct watch *w = watches; w < watches + GDB_WATCHES; w++)
		if (w->mmu == m)
			w->mmu = 0;
	gdb_watch_settle(m);
}

enum gdb_watch gdb_watch_code(const struct vcpu *v)
{
	uint64_t rip = gdb_guest_linear_rip(v);

	for (const struct watch *w = watches; w < watches + GDB_WATCHES; w++)
		if (w->mmu == v->mmu.mmu && is_code(w) && w->at == rip)
			return w->kind;
	return GDB_WATCH_NONE;
}

bool gdb_watch_passes(const struct vcpu *v)
{
	uint64_t rip = gdb_guest_linear_rip(v);
	bool page = false;

	for (const struct watch *w = watches; w < watches + GDB_WATCHES; w++) {
		if (w->mmu == v->mmu.mmu && (!is_code(w) || w->at == rip))
			return false;
		page |= on_page(w, v->mmu.mmu, rip & ~(PAGE_SIZE - 1));
	}
	return page;
}

enum gdb_watch gdb_watch_data(const struct mmu *m, uint64_t a, unsigned bytes, bool write, uint64_t *at)
{
	for (const struct watch *w = watches; w < watches + GDB_WATCHES; w++) {
		if (w->mmu != m || is_code(w) || w->kind == (write ? GDB_WATCH_READ : GDB_WATCH_WRITE))
			continue;
		if (a < w->at ? w->at - a < bytes : a - w->at < w->n) {
			*at = w->at;
			return w->kind;
		}
	}
	return GDB_WATCH_NONE;
}
