/* SPDX-License-Identifier: MIT */
/* Shadow pages: one for each (guest table, role) in use. Inside mm/ only.
 *
 *            shadow_new            publish              shadow_kill                 flush, no pin
 *   (free) ------------> BUILDING ---------> LIVE ------------------> DYING ------------------------> (free)
 *                            \_______________________________________/
 *
 *   BUILDING  hashed and counted, its guest table not yet protected; whoever finds it gets RETRY.
 *   LIVE      may be linked, loaded as a root, filled. Only a LIVE page is ever linked or filled: asserted.
 *   DYING     unhashed; taken apart in steps; freed after the flush and the last pin. Nothing links or fills it.
 *
 * unsync (LIVE only): the guest may write the table's frame freely; the shadow is read again at the next INVLPG, CR3 load
 * or link (sync.c). Tables of every level may be unsync: an upper table is nearly always part of the path by which the
 * guest writes it, so that dropping its shadow would make the same write fault for ever.
 * hot (level 1, unsync): it went unsync after each of the last syncs, so a CR3 load reads it and leaves it open.
 */
#ifndef MM_SHADOW_H
#define MM_SHADOW_H

#include "mm/gpte.h"
#include "mm/mmu.h"

/* What a shadow page is, beside its gfn. Compared as a whole word. */
union role {
	struct {
		uint32_t level : 3;  /* 1 … 4 */
		uint32_t mode : 3;   /* enum paging_mode */
		uint32_t direct : 1; /* shadows no table: gfn is the first page of the memory it maps linearly */
		uint32_t quadrant : 2; /* which part of a narrow table: 256 entries of a directory, 512 of a page table */
		uint32_t access : 3; /* ACC_ of the parents */
		uint32_t dirty : 1;  /* direct: the guest's D bit of the large page, 1 when unpaged; else 0 */
		uint32_t nx : 1;     /* EFER.NXE */
		uint32_t wp : 1;     /* CR0.WP */
		uint32_t smep : 1;   /* CR4.SMEP while CR0.WP is 0: what is opened for the supervisor alone has NX */
		uint32_t smap : 1;   /* CR4.SMAP while CR0.WP is 0: nothing of the user's is opened for the supervisor */
	};
	uint32_t word;
};
_Static_assert(sizeof(union role) == 4, "a role is one word");
/* The same fields in the word, for the fault path; tools/host/test_mmu.c compares the two. */
#define ROLE_LEVEL_ONE 1u
#define ROLE_DIRECT (1u << 6)
#define ROLE_ACCESS(acc) ((uint32_t)(acc) << 9)
#define ROLE_DIRTY (1u << 12)

enum shadow_state { SHADOW_BUILDING = 1, SHADOW_LIVE, SHADOW_DYING };

/* All fields belong to mmu.lock but for those said to be otherwise.
 *
 * `lock` guards the sptes of a level-1 table, their location words and `present`: who holds it alone may add leaves and widen
 * them, or drop one, in a LIVE table; who narrows, or takes the table apart, holds mmu.lock too. Tables above belong to
 * mmu.lock as a whole. */
struct shadow {
	struct spin lock;         /* first: it stays when the table becomes another */
	atomic32 writes;          /* times it went unsync since something was last installed in it; a hint */
	struct table *table;      /* this and the next five: for its whole life */
	struct mmu *mmu;
	gfn_t gfn;
	union role role;
	void *guest;              /* the guest's table in host memory, while its slot lives; 0 when direct */
	bool narrow;              /* its entries are of 32 bits */
	atomic32 state;           /* enum shadow_state; written under mmu.lock, read by anyone */
	bool unsync;
	const void *syncing;      /* the flow that is between its first protection and its last read; a write clears it */
	uint64_t read_call;       /* the last sync that has read all of it */
	uint8_t again, idle;      /* syncs in a row that found it unsync again; that found it hot and not used since (sync.c) */
	bool hot;                 /* unsync, and left so by syncs for a CR3 load */
	bool recent;              /* used since reclaim looked at it last */
	uint32_t pins;            /* loaded roots, builders, syncers */
	uint32_t registered;      /* leaf tables: index in mmu.leaf_table */
	uint32_t present;         /* sptes that are not 0; `lock` */
	struct chain parents;     /* sptes that link it */
	struct shadow *hash_next;
	struct shadow *prev, *next;               /* mmu.all */
	struct shadow *unsync_prev, *unsync_next; /* mmu.unsync */
	struct shadow *dying_next;                /* the killer's own list */
};

extern struct slab_cache shadow_cache, rmap_cache, parent_cache;

/* The shadow page that an spte, or the pfn of a non-leaf spte, belongs to. */
static inline struct shadow *shadow_of_spte(spte_t *s) { return slab_side(&shadow_cache, spte_table(s)); }
static inline struct shadow *shadow_of_link(uint64_t spte) { return slab_side(&shadow_cache, hfn_virt(spte_hfn(spte))); }

/* The shadow root that translates a; 0 when its PDPTE is not present. */
static inline struct shadow *shadow_root(const struct mmu_vcpu *v, gva_t a)
{
	return v->root[v->mode == PAGING_LONG ? 0 : a.v >> 30 & 3];
}

/* The spte where the hardware's walk of a ends: a leaf, or one that is not present; *level: of its table. 0 when there is no
 * root. In a section; without the lock the tables passed may have been reused as others. */
static inline spte_t *shadow_walk(const struct mmu_vcpu *v, gva_t a, unsigned *level)
{
	struct shadow *root = shadow_root(v, a);
	struct table *t;

	if (!root)
		return 0;
	t = root->table;
	for (unsigned l = root->role.level;; l--) {
		spte_t *p = &t->spte[gpte_index(a, l)];
		uint64_t s = load_acquire(p); /* partner: shadow_link, leaf_install */

		if (l == 1 || !(s & SPTE_P) || spte_is_leaf(s)) {
			*level = l;
			return p;
		}
		t = hfn_virt(spte_hfn(s));
	}
}

/* The level-1 shadow page that translates a; 0 when the walk ends above it. In a section; generation: the MMU's, loaded before
 * by this section. The page may have died since, and with another generation become another: what struct shadow holds may be
 * read under its lock alone.
 * What v->near remembers is what a walk would find: a link above level 1 is dropped by flows that move the generation before
 * they end, and until then the shadow page that has lost it is dying, or such a walk could have come before. Who finds nothing
 * to repair forgets it, so that it never makes a fault repeat. */
const struct mmu_near *shadow_seek(struct mmu_vcpu *v, gva_t a, uint64_t generation);
static inline const struct mmu_near *shadow_near(struct mmu_vcpu *v, gva_t a, uint64_t generation)
{
	if (v->near.generation == generation && v->near.region == a.v >> 21)
		return &v->near;
	return shadow_seek(v, a, generation);
}
static inline void shadow_forget_near(struct mmu_vcpu *v) { v->near.generation = 0; }

/* A LIVE or BUILDING shadow page; 0 when there is none. Lock held. */
struct shadow *shadow_find(struct mmu *m, gfn_t f, union role r);
/* The next shadow page that shadows f as a page table, of any role; after = 0 for the first. Lock held. */
struct shadow *shadow_next_table(struct mmu *m, gfn_t f, struct shadow *after);
/* Takes a table from v's reserve (the caller made sure of one) and hashes it: BUILDING and pinned, with the guest table
 * counted; a direct one LIVE and not pinned. Lock held. */
struct shadow *shadow_new(struct mmu_vcpu *v, gfn_t f, union role r);

/* Writes a non-leaf spte and its parent entry. The slot must be 0. Lock held. */
void shadow_link(struct shadow *parent, unsigned index, struct shadow *child, struct chain_reserve *r);
/* Taken within mmu.lock, or alone. Nothing keeps the table from becoming another before: look again. */
static inline void shadow_lock(struct shadow *s) { spin_take(&s->lock, LOCK_TABLE); }
static inline void shadow_unlock(struct shadow *s) { spin_drop(&s->lock, LOCK_TABLE); }
/* The same where no hold of mmu.lock tells how long it was: the vCPU remembers the longest. shadow_lock_alone gives what
 * shadow_unlock_alone is to be given: TSC ticks. */
static inline uint64_t shadow_lock_alone(struct shadow *s)
{
	shadow_lock(s);
	return host_clock();
}
static inline void shadow_unlock_alone(struct mmu_vcpu *v, struct shadow *s, uint64_t since)
{
	count_longest(&v->stats.worst_hold, host_clock() - since);
	shadow_unlock(s);
}

/* Empties one spte, leaf or link, with all that hangs on it: dirty transfer, owed, chain entry. True: it stood above level 1
 * and was not empty, so the caller bumps the generation. The table's lock held at level 1, mmu.lock above; in a publishing
 * section. */
bool shadow_drop(struct shadow *s, unsigned index);

/* Makes it DYING and puts it on *list. Lock held. */
void shadow_kill(struct shadow *s, struct shadow **list);
/* Takes the list apart in steps, flushes, frees what is not pinned. Outside locks and sections. */
void shadow_bury(struct mmu *m, struct shadow *list);
/* Makes room in the budget (reclaim.c). MMU_RESUME: something went; MMU_RETRY: something is about to; MMU_END: all is in
 * use. Outside locks and sections. */
enum mmu_outcome shadow_reclaim(struct mmu *m);
/* Unpin; frees a DYING one with the last pin. Lock held. The caller's vCPU flushes before its next entry. */
void shadow_unpin(struct shadow *s);

/* True when something may not be in step with the guest's tables (upper: above level 1): unsync, or killed and not yet taken
 * apart and flushed. Who is about to rely on it, INVLPG, a CR3 load, a link, syncs first (kill.pml). With or without the
 * lock: of its own stores a vCPU knows, for its write fault took the lock; others' are not its business before it is told. */
static inline bool shadow_pending(const struct mmu *m, bool upper)
{
	/* acquire: partners are the releases in shadow_clear_unsync and shadow_bury */
	return load_acquire(upper ? &m->unsync_upper : &m->unsync_all) || load_acquire(&m->burying);
}

/* What is wrong with the counts of shadow pages (M11), in words; 0: nothing. Nothing of the guest's runs. */
const char *shadow_miscounted(const struct mmu *m);

void shadow_set_unsync(struct shadow *s);
void shadow_clear_unsync(struct shadow *s);

/* The guest's entry that entry `index` of s, which is not direct, shadows. Of a narrow directory, two entries of ours
 * shadow one: each half of its 4 MiB. */
static inline unsigned shadow_guest_index(const struct shadow *s, unsigned index)
{
	if (!s->narrow)
		return index;
	return s->role.level == 1 ? s->role.quadrant * 512u + index : s->role.quadrant * 256u + index / 2;
}
static inline void *shadow_guest_at(const struct shadow *s, unsigned index)
{
	if (!s->narrow)
		return (atomic64 *)s->guest + index;
	return (atomic32 *)s->guest + shadow_guest_index(s, index);
}
static inline uint64_t shadow_gpte(const struct shadow *s, unsigned index)
{
	return gpte_load(shadow_guest_at(s, index), s->narrow);
}
/* The first page that entry `index` of s maps where its gpte maps memory. */
static inline gfn_t shadow_leaf_gfn(const struct shadow *s, unsigned index, uint64_t gpte)
{
	unsigned level = s->role.level;

	if (!s->narrow)
		return gpte_leaf_gfn(gpte, level);
	return gfn(gpte_narrow_leaf_gfn(gpte, level).v + (level == 1 ? 0 : index % 2 * gpte_pages(2)));
}

/* What a shadow entry of s over gpte ought to link: the child's gfn and role. gpte is ignored where s is direct. Level > 1. */
static inline void shadow_child(const struct shadow *s, unsigned index, uint64_t gpte, gfn_t *f, union role *r)
{
	unsigned level = s->role.level;

	r->word = s->role.word - ROLE_LEVEL_ONE;
	if (s->role.direct) {
		*f = gfn(s->gfn.v + index * gpte_pages(level));
		return;
	}
	r->word &= ~ROLE_ACCESS(ACC_ALL & ~gpte_access(gpte, s->role.nx));
	if (s->narrow)
		r->quadrant = index % 2;
	*f = gpte_gfn(gpte);
	if (gpte_is_leaf(gpte, level, s->role.mode)) {
		r->word |= ROLE_DIRECT | (gpte & GPTE_D ? ROLE_DIRTY : 0);
		r->quadrant = 0;
		*f = shadow_leaf_gfn(s, index, gpte);
	}
}

#endif
