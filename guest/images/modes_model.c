/* SPDX-License-Identifier: MIT */
/* What the manual says of each step (Intel SDM volume 3, 4.1 to 4.8; volume 2, MOV to control registers). */
#include "guest/images/modes.h"

#define PDPTE_RSVD 0x1e6UL
#define CR0_LOADS_PDPTES CR0_PG
#define CR4_LOADS_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define PSE_RSVD (1UL << 21)
#define LARGE_RSVD 0x1fe000UL /* bits 20:13 of a 2 MiB page */
#define DEPTH 4

struct machine now;
uint64_t tables, pool[2];
uint32_t *stamp[2];
uint8_t *model;

enum mode machine_mode(void)
{
	if (!(now.cr0 & CR0_PG))
		return MODE_OFF;
	if (now.cr4 & CR4_PAE)
		return now.efer & EFER_LMA ? MODE_LONG : MODE_PAE;
	return now.cr4 & CR4_PSE ? MODE_PSE : MODE_32;
}

/* Where the model keeps a table's bytes; NULL: it is none. */
static void *model_at(uint64_t pa)
{
	if (pa - tables < TABLES * PAGE)
		return model + (pa - tables);
	for (unsigned i = 0; i < 2; i++)
		if (pa - pool[i] < PAGE)
			return model + TABLES * PAGE + (pool[1] == pool[0] ? 0 : i * PAGE) + (pa - pool[i]);
	return NULL;
}

/* ---- one access ---- */

struct outcome {
	bool known, faults;
	uint32_t error;
	uint64_t pa;
	unsigned depth, narrow;
	void *path[DEPTH]; /* entries in use, the last one is the leaf */
};

static uint64_t high_bits(void) { return ~0UL << cpu_phys_bits() & PTE_FRAME; }

static bool is_bad(uint64_t entry, unsigned level, enum mode mode)
{
	uint64_t bad = high_bits();
	bool large = level > 1 && entry & PTE_PS;

	if (mode < MODE_PAE) {
		if (!large || mode != MODE_PSE)
			return false;
		bad = cpu_phys_bits() < 40 ? LARGE_RSVD & ~0UL << (cpu_phys_bits() - 32 + 13) : 0;
		return entry & (bad | PSE_RSVD);
	}
	if (!(now.efer & EFER_NXE))
		bad |= PTE_NX;
	if (large)
		bad |= level == 4 ? PTE_PS : LARGE_RSVD;
	return entry & bad;
}

static uint64_t leaf_pa(uint64_t entry, unsigned level, bool narrow, uint32_t va)
{
	if (level == 1)
		return (entry & PTE_FRAME) + va % PAGE;
	if (!narrow)
		return (entry & PTE_FRAME & ~(PAGE_2M - 1)) + va % PAGE_2M;
	return (entry & 0xffc00000) + ((entry & LARGE_RSVD) << 19) + va % (2 * PAGE_2M);
}

static bool is_allowed(uint64_t all, uint64_t any, enum access access, bool user, enum mode mode)
{
	bool nx = mode >= MODE_PAE && now.efer & EFER_NXE && any & PTE_NX;

	if (user)
		return all & PTE_U && (access != ACCESS_WRITE || all & PTE_W) && (access != ACCESS_FETCH || !nx);
	if (access == ACCESS_FETCH)
		return !nx && !(now.cr4 & CR4_SMEP && all & PTE_U);
	if (now.cr4 & CR4_SMAP && !(now.flags & FLAGS_AC) && all & PTE_U)
		return false;
	return access != ACCESS_WRITE || all & PTE_W || !(now.cr0 & CR0_WP);
}

static struct outcome fault(struct outcome o, uint32_t why)
{
	o.known = o.faults = true;
	o.error |= why;
	return o;
}

static struct outcome walk(uint32_t va, enum access access, bool user)
{
	enum mode mode = machine_mode();
	struct outcome o = {.narrow = mode < MODE_PAE};
	unsigned level = mode == MODE_LONG ? 4 : 2;
	uint64_t table = now.cr3 & PTE_FRAME, entry, all = ~0UL, any = 0;

	if (mode == MODE_OFF)
		return (struct outcome){.known = true, .pa = va};
	o.error = (access == ACCESS_WRITE ? PF_W : 0) | (user ? PF_U : 0);
	if (access == ACCESS_FETCH && (now.cr4 & CR4_SMEP || (mode >= MODE_PAE && now.efer & EFER_NXE)))
		o.error |= PF_I;
	if (mode == MODE_PAE) {
		table = now.pdpte[va >> 30];
		if (!(table & PTE_P))
			return fault(o, 0);
		table &= PTE_FRAME;
	}
	for (;; level--) {
		uint64_t index = o.narrow ? va >> (2 + 10 * level) & 1023 : (uint64_t)va >> (3 + 9 * level) & 511;
		void *at = model_at(table + index * (o.narrow ? 4 : 8));

		if (!at)
			return o;
		entry = o.narrow ? *(uint32_t *)at : *(uint64_t *)at;
		if (!(entry & PTE_P))
			return fault(o, 0);
		if (is_bad(entry, level, mode))
			return fault(o, PF_P | PF_RSVD);
		o.path[o.depth++] = at;
		all &= entry;
		any |= entry;
		if (level == 1 || (entry & PTE_PS && mode != MODE_32))
			break;
		table = entry & PTE_FRAME;
	}
	if (!is_allowed(all, any, access, user, mode))
		return fault(o, PF_P);
	o.pa = leaf_pa(entry, level, o.narrow, va);
	o.known = true;
	return o;
}

/* Sets A and D as an access does that does not fault. */
static void mark(const struct outcome *o, bool write)
{
	for (unsigned i = 0; i < o->depth; i++) {
		uint32_t bits = PTE_A | (write && i == o->depth - 1 ? PTE_D : 0);

		if (o->narrow)
			*(uint32_t *)o->path[i] |= bits;
		else
			*(uint64_t *)o->path[i] |= bits;
	}
}

static bool model_access(struct step *s, enum access access, bool user)
{
	struct outcome o = walk(s->a, access, user);
	unsigned which = pool[1] != pool[0] && o.pa - pool[1] < POOL_BYTES;
	uint64_t page = (o.pa - pool[which]) / PAGE;
	uint32_t *at;

	if (o.known && o.faults) {
		s->vector = VECTOR_PF;
		s->error = o.error;
		s->cr2 = s->a;
		return true;
	}
	if (!o.known)
		return false;
	at = model_at(o.pa);
	if (at && (access == ACCESS_FETCH || (access == ACCESS_WRITE && o.pa - tables >= TABLES * PAGE)))
		return false;
	if (!at && page >= POOL_PAGES)
		return false;
	if (!at)
		at = &stamp[which][page];
	mark(&o, access == ACCESS_WRITE);
	if (access == ACCESS_WRITE)
		*at = s->b;
	else
		s->result = access == ACCESS_FETCH ? (uint32_t)page : *at;
	return true;
}

/* ---- control registers ---- */

/* Completes a load of a control register: false, and all as it was, if the PDPTEs are to be loaded and are bad. */
static bool settle(struct machine old, bool load)
{
	const uint64_t *at = model_at(now.cr3 & ~31u);

	if (!load || machine_mode() != MODE_PAE)
		return true;
	for (unsigned i = 0; i < 4; i++) {
		if (at[i] & PTE_P && at[i] & (PDPTE_RSVD | ~0UL << cpu_phys_bits())) {
			now = old;
			return false;
		}
		now.pdpte[i] = at[i];
	}
	return true;
}

static bool load_control(const struct step *s)
{
	struct machine old = now;

	switch (s->op) {
	case OP_CR0:
		now.cr0 = s->a;
		if (!(old.cr0 & CR0_PG) && s->a & CR0_PG && now.efer & EFER_LME) {
			if (now.cr4 & CR4_PAE) {
				now.efer |= EFER_LMA;
			} else {
				now = old;
				return false;
			}
		}
		if (!(s->a & CR0_PG))
			now.efer &= ~EFER_LMA;
		return settle(old, (old.cr0 ^ now.cr0) & CR0_LOADS_PDPTES);
	case OP_CR3:
		now.cr3 = s->a;
		return settle(old, true);
	case OP_CR4:
		if (now.efer & EFER_LMA && !(s->a & CR4_PAE))
			return false;
		now.cr4 = s->a;
		return settle(old, (old.cr4 ^ now.cr4) & CR4_LOADS_PDPTES);
	default:
		if (now.cr0 & CR0_PG && (s->a ^ now.efer) & EFER_LME)
			return false;
		now.efer = (s->a & ~EFER_LMA) | (now.efer & EFER_LMA);
		return true;
	}
}

bool model_step(struct step *s)
{
	switch (s->op) {
	case OP_CR0:
	case OP_CR3:
	case OP_CR4:
	case OP_EFER:
		if (!load_control(s))
			s->vector = VECTOR_GP;
		return true;
	case OP_FLAGS:
		now.flags = s->a;
		return true;
	case OP_IDT:
	case OP_INVLPG:
		return true;
	default:
		return model_access(s, (enum access)((s->op - OP_READ) % 3), s->op >= OP_USER_READ);
	}
}
