/* SPDX-License-Identifier: MIT */
/* Linear pages at which every access faults, whatever the guest's tables say: for a debugger, whose breakpoints and watchpoints
 * lie in them.
 *
 * A guarded page has no leaf in any shadow while the guest runs, so each access there ends in the slow path, which says
 * MMU_GUARD. The access goes on when the page is open for its vCPU, which takes that all others of the guest stand still:
 * leaves that are installed meanwhile are remembered, and dropped when it is closed. What is mapped there, and by which of
 * the guest's tables, may change at will; the guest sees nothing of it in its memory.
 *
 * While a guest has guards there are no large leaves, and no quick path (which is found by shadow_seek()). Accesses that are carried
 * out for the guest (mmu_translate(): string I/O, emulated instructions) are not stopped. */
#ifndef MM_GUARD_H
#define MM_GUARD_H

#include "mm/mmu.h"

static inline bool guard_has(const struct mmu *m, gva_t a)
{
	for (unsigned i = 0; i < m->guards.n; i++)
		if (m->guards.page[i] == a.v >> PAGE_SHIFT)
			return true;
	return false;
}

/* An access to a by v: is it to be stopped? */
static inline bool guard_stops(const struct mmu_vcpu *v, gva_t a)
{
	return v->mmu->guards.open != v && guard_has(v->mmu, a);
}

struct shadow;
/* A leaf was installed for a, at entry `index` of the level-1 page s, while there are guards. Lock held. */
void guard_installed(struct mmu_vcpu *v, gva_t a, struct shadow *s, unsigned index);

#endif
