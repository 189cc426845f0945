/* SPDX-License-Identifier: MIT */
/* The hypervisor's own loads and stores to guest RAM.
 *
 * A store: the data, then the dirty bit (a locked RMW), then the count of page-table shadows; if that is not zero, every
 * shadow of those bytes is dropped under the lock; all in one publishing section. Whoever shadows the page raises the count
 * (locked RMW) before it reads a gpte: so either it reads our data, or we see its count. A harvest that takes the bit reads
 * our data, or waits for our section and takes the bit then (HAZARDS H35).
 *
 * A compare-and-exchange is the same with a locked instruction for the data: an atomic instruction of the guest's that is
 * carried out here is one towards its other vCPUs too, and as dirty as a plain store (CVE-2024-35804). If it finds another
 * value it stores nothing, and nothing follows. A plain exchange always stores.
 */
#include "mm/gpte.h"
#include "mm/mmu.h"
#include "mm/park.h"
#include "mm/rcu.h"
#include "mm/shadow.h"
#include "mm/tlb.h"

#define PIECE 64 /* bytes stored between two lock breaks: 16 narrow entries, of which 32 sptes may depend; a cache line */

/* The guest's entries from `first` to `last`, as far as s shadows them. */
static bool drop_entries(struct shadow *s, unsigned first, unsigned last)
{
	unsigned each = s->narrow && s->role.level > 1 ? 2 : 1, base = shadow_guest_index(s, 0);
	bool upper = false;

	for (unsigned g = first < base ? base : first; g <= last && g - base < TABLE_ENTRIES / each; g++)
		for (unsigned k = 0; k < each; k++)
			upper |= shadow_drop(s, (g - base) * each + k);
	return upper;
}

/* The next shadow of f, pinned, for the lock is dropped between two of them; s, which was, no longer is. If s was
 * killed meanwhile it leads nowhere: from the first one again, where nothing is left to drop. Lock held. */
static struct shadow *next_pinned(struct mmu *m, gfn_t f, struct shadow *s)
{
	bool live = s && load_relaxed(&s->state) != SHADOW_DYING;
	struct shadow *next = shadow_next_table(m, f, live ? s : 0);

	if (next)
		next->pins++;
	if (s)
		shadow_unpin(s);
	return next;
}

/* One hold of the lock for each shadow: a guest has a page shadowed in as many roles as it likes. A shadow that is made
 * meanwhile reads what was stored. */
static void drop_shadows(struct mmu *m, gfn_t f, unsigned offset, unsigned bytes)
{
	struct shadow *s = 0;
	bool upper = false;

	do {
		lock_take(&m->lock);
		s = next_pinned(m, f, s);
		if (s) {
			unsigned entry = s->narrow ? 4 : 8;

			shadow_lock(s);
			upper |= drop_entries(s, offset / entry, (offset + bytes - 1) / entry);
			shadow_unlock(s);
		}
		lock_drop(&m->lock);
	} while (s);
	if (upper)
		tlb_bump(m);
}

/* Bytes up to the end of the piece that holds a. */
static uint64_t piece(gpa_t a, uint64_t bytes)
{
	uint64_t left = PIECE - a.v % PIECE;

	return bytes < left ? bytes : left;
}

/* The slot of f; in a publishing section, which the caller leaves, also when there is none (0). Waits while slots move: that
 * is another CPU's work, and here are no section and no lock. */
static struct slot *slot_enter(struct mmu *m, gfn_t f)
{
	for (;;) {
		rcu_read_lock(RCU_PUBLISH);
		if (!mmu_moving(m))
			return slot_find(m, f);
		rcu_read_unlock(RCU_PUBLISH);
		host_relax();
	}
}

/* Guests' operands lie at any address; x86's locked instructions take them as they are. */
typedef uint16_t loose16 __attribute__((aligned(1), may_alias));
typedef uint32_t loose32 __attribute__((aligned(1), may_alias));
typedef uint64_t loose64 __attribute__((aligned(1), may_alias));
typedef unsigned __int128 loose128 __attribute__((aligned(1), may_alias));

/* Bytes of one piece. 2, 4 or 8 may be an access of the guest's that is carried out here, to memory that its other vCPUs access
 * too: it is one, as a processor makes it within a cache line (SDM vol. 3, 8.1.1). Relaxed: what orders it comes after. */
static void get(void *to, const char *ram, uint64_t bytes)
{
	uint64_t value;

	switch (bytes) {
	case 2:
		value = __atomic_load_n((const loose16 *)ram, __ATOMIC_RELAXED);
		break;
	case 4:
		value = __atomic_load_n((const loose32 *)ram, __ATOMIC_RELAXED);
		break;
	case 8:
		value = __atomic_load_n((const loose64 *)ram, __ATOMIC_RELAXED);
		break;
	default:
		__builtin_memcpy(to, ram, bytes);
		return;
	}
	__builtin_memcpy(to, &value, bytes);
}

static void put(char *ram, const void *from, uint64_t bytes)
{
	switch (bytes) {
	case 2:
		__atomic_store_n((loose16 *)ram, *(const loose16 *)from, __ATOMIC_RELAXED);
		break;
	case 4:
		__atomic_store_n((loose32 *)ram, *(const loose32 *)from, __ATOMIC_RELAXED);
		break;
	case 8:
		__atomic_store_n((loose64 *)ram, *(const loose64 *)from, __ATOMIC_RELAXED);
		break;
	default:
		__builtin_memcpy(ram, from, bytes);
		break;
	}
}

bool mmu_read(struct mmu *m, gpa_t a, void *to, uint64_t bytes)
{
	for (uint64_t n; bytes; a.v += n, to = (char *)to + n, bytes -= n) {
		struct slot *s = slot_enter(m, gpa_gfn(a));

		n = piece(a, bytes);
		if (s)
			get(to, (char *)hfn_virt(slot_hfn(s, gpa_gfn(a))) + a.v % PAGE_SIZE, n);
		rcu_read_unlock(RCU_PUBLISH);
		if (!s)
			return false;
	}
	return true;
}

/* What was stored at a in page f of s, all within a piece, becomes known. In the section of the store. */
static void stored(struct mmu *m, struct slot *s, gfn_t f, gpa_t a, uint64_t bytes)
{
	park("gmem-stored");
	slot_mark_dirty(s, f);
	if (load_seq(slot_tables(s, f, 1))) /* partner: shadow_new */
		drop_shadows(m, f, (unsigned)(a.v % PAGE_SIZE), (unsigned)bytes);
}

bool mmu_write(struct mmu *m, gpa_t a, const void *from, uint64_t bytes)
{
	for (uint64_t n; bytes; a.v += n, from = (const char *)from + n, bytes -= n) {
		gfn_t f = gpa_gfn(a);
		struct slot *s = slot_enter(m, f);

		n = piece(a, bytes);
		if (s) {
			put((char *)hfn_virt(slot_hfn(s, f)) + a.v % PAGE_SIZE, from, n);
			stored(m, s, f, a, n);
		}
		rcu_read_unlock(RCU_PUBLISH);
		if (!s)
			return false;
	}
	return true;
}

/* One locked instruction (a full barrier): true if *p was *expected and is *value now; else *expected is what was found.
 * The __sync builtins, for GCC makes the others' 16 bytes a library call. */
static __attribute__((target("cx16"))) bool exchange(void *p, void *expected, const void *value, unsigned bytes)
{
	unsigned __int128 old = 0, new = 0, found = 0;

	__builtin_memcpy(&old, expected, bytes);
	__builtin_memcpy(&new, value, bytes);
	switch (bytes) {
	case 1:
		found = __sync_val_compare_and_swap((uint8_t *)p, (uint8_t)old, (uint8_t)new);
		break;
	case 2:
		found = __sync_val_compare_and_swap((loose16 *)p, (uint16_t)old, (uint16_t)new);
		break;
	case 4:
		found = __sync_val_compare_and_swap((loose32 *)p, (uint32_t)old, (uint32_t)new);
		break;
	case 8:
		found = __sync_val_compare_and_swap((loose64 *)p, (uint64_t)old, (uint64_t)new);
		break;
	default:
		CHECK(bytes == 16 && (uint64_t)p % 16 == 0);
		found = __sync_val_compare_and_swap((loose128 *)p, old, new);
		break;
	}
	__builtin_memcpy(expected, &found, bytes);
	return found == old;
}

enum mmu_exchange mmu_cmpxchg(struct mmu *m, gpa_t a, void *expected, const void *value, unsigned bytes)
{
	gfn_t f = gpa_gfn(a);
	enum mmu_exchange done = MMU_NO_RAM;
	struct slot *s;

	CHECK(a.v % PAGE_SIZE + bytes <= PAGE_SIZE);
	s = slot_enter(m, f);
	if (s) {
		bool same = exchange((char *)hfn_virt(slot_hfn(s, f)) + a.v % PAGE_SIZE, expected, value, bytes);

		if (same)
			stored(m, s, f, a, bytes);
		done = same ? MMU_EXCHANGED : MMU_DIFFERS;
	}
	rcu_read_unlock(RCU_PUBLISH);
	return done;
}

bool mmu_xchg(struct mmu *m, gpa_t a, void *value, unsigned bytes)
{
	gfn_t f = gpa_gfn(a);
	struct slot *s;

	CHECK(a.v % PAGE_SIZE + bytes <= PAGE_SIZE);
	s = slot_enter(m, f);
	if (s) {
		char *p = (char *)hfn_virt(slot_hfn(s, f)) + a.v % PAGE_SIZE;

		switch (bytes) { /* one locked instruction, a full barrier */
		case 1:
			*(uint8_t *)value = __atomic_exchange_n((uint8_t *)p, *(uint8_t *)value, __ATOMIC_SEQ_CST);
			break;
		case 2:
			*(uint16_t *)value = __atomic_exchange_n((loose16 *)p, *(uint16_t *)value, __ATOMIC_SEQ_CST);
			break;
		case 4:
			*(uint32_t *)value = __atomic_exchange_n((loose32 *)p, *(uint32_t *)value, __ATOMIC_SEQ_CST);
			break;
		default:
			CHECK(bytes == 8);
			*(uint64_t *)value = __atomic_exchange_n((loose64 *)p, *(uint64_t *)value, __ATOMIC_SEQ_CST);
			break;
		}
		stored(m, s, f, a, bytes);
	}
	rcu_read_unlock(RCU_PUBLISH);
	return s;
}
