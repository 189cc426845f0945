/* SPDX-License-Identifier: MIT */
/* The shadow MMU of one guest: what guest/ and hv/ call. */
#ifndef MM_MMU_H
#define MM_MMU_H

#include "mm/gpte.h"
#include "mm/lock.h"
#include "mm/park.h"
#include "mm/slot.h"

#define MMU_MAX_VCPUS 8
/* The least budget of shadow pages, for each vCPU: every table that one instruction can touch. The worst is an interrupt
 * whose delivery crosses a page boundary everywhere: code, two operands, IDT, GDT (twice), TSS, the old stack and the new: 18
 * pages under as many tables on each of three levels, one or four roots; and four roots that have died and are still
 * loaded. */
#define MMU_FLOOR 64

/* What to do after a path with several endings. */
enum mmu_outcome {
	MMU_RESUME,  /* repaired: run the instruction again */
	MMU_INJECT,  /* the guest's own fault: inject #PF (or what fault->vector says) with fault->error and fault->gva */
	MMU_EMULATE, /* a write to RAM at fault->gpa that the guest may do and the hardware must not: to be emulated */
	MMU_MMIO,    /* no RAM at fault->gpa */
	MMU_GUARD,   /* the guest's tables allow it, and its page is guarded (mmu_guard) and not open for this vCPU */
	MMU_RETRY,   /* waits for another flow: back to the run loop, then the instruction again */
	MMU_END,     /* this guest cannot go on: fault->reason names why (a string constant) */
};

/* #PF error code bits (SDM vol. 3, 4.7). */
#define PF_P (1u << 0)
#define PF_W (1u << 1)
#define PF_U (1u << 2)
#define PF_RSVD (1u << 3)
#define PF_I (1u << 4)

/* Control-register and EFER bits the MMU looks at. */
#define CR0_PE (1UL << 0)
#define CR0_WP (1UL << 16)
#define CR0_PG (1UL << 31)
#define CR4_PSE (1UL << 4)
#define CR4_PAE (1UL << 5)
#define CR4_PGE (1UL << 7)
#define CR4_SMEP (1UL << 20)
#define CR4_SMAP (1UL << 21)
#define EFER_LME (1UL << 8)
#define EFER_LMA (1UL << 10)
#define EFER_NXE (1UL << 11)

/* The guest-visible paging registers. pdpte: with PAE paging, the four entries as they were loaded from CR3's table; their
 * reserved bits are clear (the loader faults). */
struct mmu_paging { uint64_t cr0, cr3, cr4, efer, pdpte[4]; };

struct mmu_fault {
	gva_t gva;
	gpa_t gpa;          /* MMU_MMIO */
	uint32_t error;     /* MMU_INJECT: the error code the guest is to see */
	const char *reason; /* MMU_END */
};

/* Counters of one vCPU: its CPU's, read by anyone. Of its own, for faults that take no lock are to share no cache line
 * either. mmu_faults() adds them up. */
struct mmu_vcpu_stats {
	atomic64 faults;      /* shadow page faults taken, all kinds */
	atomic64 fixups;      /* repaired by the lock-free fix-up */
	atomic64 fixup_ticks; /* TSC ticks that those took */
	atomic64 injected;    /* guest's own page faults */
	atomic64 spurious;    /* nothing to repair */
	atomic64 quick;       /* a leaf added under its table's lock alone */
	atomic64 worst_fault; /* longest mmu_fault, TSC ticks */
	atomic64 worst_hold;  /* longest hold of a table's lock without mmu.lock, TSC ticks */
};

/* The sums over a guest's vCPUs, and the longest. */
struct mmu_faults {
	uint64_t faults, fixups, quick, injected, fixup_ticks, worst_fault; /* the rest of the faults took the slow path */
};

/* Counters; written under the lock, or by who has the harvest's turn, or by atomic addition. Read by anyone. */
struct mmu_stats {
	atomic64 unsyncs;     /* level-1 tables let go unsync */
	atomic64 synced;      /* tables synced */
	atomic64 left_open;   /* of these, hot ones, which stayed unsync */
	atomic64 zapped;      /* shadow pages demolished */
	atomic64 reclaimed;   /* of these, because the budget was used up */
	atomic64 flushes;     /* full flushes with acknowledgements */
	atomic64 kicks;       /* kicks sent for them */
	atomic64 rounds;      /* harvests */
	atomic64 dbit_rounds; /* those by D bits among them */
	atomic64 dirty;       /* pages harvested */
	atomic64 protected;   /* sptes write-protected by harvests */
	atomic64 cleared;     /* sptes whose D a harvest cleared */
	atomic64 restarts;    /* walker retries */
	atomic64 gaveup;      /* walks given up */
};

struct shadow;
struct mmu_vcpu;

/* How the dirty log finds out what was written. */
enum log_mode {
	LOG_WP,   /* pages are protected; the next write to each faults */
	LOG_DBIT, /* by the hardware's D bits */
	LOG_AUTO, /* whichever cost less in the last rounds */
};

/* What LOG_AUTO goes by; all in TSC ticks but the counts. Of who has the harvest's turn. */
struct log_costs {
	uint64_t page;    /* to protect a page, mean of late */
	uint64_t fixup;   /* a write fault on it */
	uint64_t table;   /* to walk a leaf table, mean of late */
	uint64_t pages;   /* harvested in a round, mean of late */
	uint64_t tables;  /* walked in a round, and one; 0: not known before the first by D bits */
	uint64_t fixups, fixup_ticks; /* the statistics at the last round */
	uint64_t rounds;  /* since the last change */
	bool started;     /* the next round takes the bits that a start has filled: not one to learn from */
};

#define LEAF_TABLE_FREE 1UL
/* guard.h. Written while no vCPU of the guest runs but the one that it is open for. */
#define MMU_GUARDS 64
#define MMU_GUARD_LEAVES 16 /* that were installed while it is open, and are remembered */
struct mmu_guards {
	unsigned n, leaves;
	struct mmu_vcpu *open;
	uint64_t page[MMU_GUARDS]; /* linear page numbers */
	struct mmu_guard_leaf { gfn_t gfn; uint32_t role; unsigned index; } leaf[MMU_GUARD_LEAVES]; /* of which shadow page */
};

struct mmu {
	const char *name;         /* the guest's, for messages */
	struct lock lock;         /* everything below that is not atomic and not said to be otherwise; what shadow tables hold has
	                           * locks of its own too (shadow.h) */
	struct slot slot[SLOT_MAX];
	atomic32 slots;           /* published count; grows before the guest runs */

	struct shadow **hash;     /* shadow pages by (gfn, role) */
	uint64_t hash_mask, hash_seed;
	struct shadow *unsync;    /* list of unsync shadow pages */
	atomic32 unsync_all;      /* how many; written under the lock, read by anyone */
	atomic32 unsync_upper;    /* those of level 2 and above among them; likewise */
	atomic32 unsync_hot;      /* those that are hot (sync.c) among them; likewise */
	atomic32 burying;         /* page-table shadows killed whose burial's flush is not over; likewise */
	atomic32 dying;           /* the same of all shadow pages; likewise */
	uint64_t sync_call;       /* syncs so far */
	struct shadow *all, *all_last; /* every shadow page, the newest first */
	atomic32 moving;          /* the slots are going to other frames (move.c); written under the lock */
	uint64_t used, budget;    /* shadow pages */
	/* The register of leaf tables, for walkers without the lock: `budget` words, each the table's address, or a free word:
	 * the next free one's index above LEAF_TABLE_FREE. Words from leaf_tables_top on were never used. */
	atomic64 *leaf_table;
	atomic32 leaf_tables_top;
	uint32_t leaf_table_free; /* index + 1; 0: none */
	unsigned phys_bits;       /* MAXPHYADDR that the guest sees; fixed before it runs */
	uint64_t blank;           /* mmu_set_blank's: pages from MMU_BLANK_FIRST on, a bit each; fixed before it runs */
	void *blank_page;         /* all ones */

	/* TLB protocol (tlb.c) */
	atomic64 generation;      /* from 1; bumped by whoever invalidates */
	atomic64 owed, flushed;   /* narrowings so far; narrowings covered by a full flush */
	atomic32 protecting;      /* flows between their first protection of a table and its flush (sync.c) */
	struct mmu_vcpu *vcpu[MMU_MAX_VCPUS];
	unsigned vcpus;

	/* dirty log (log.c) */
	atomic32 logging;         /* users of the log: write protection is on while not 0 */
	atomic32 harvesting;      /* a harvest's turn: 0 free, 1 taken */
	atomic32 copying;         /* replica rounds under way, which look at frames after their turn */
	atomic32 by_dbit;         /* rounds go by D bits now; written by who has the turn, read in publishing sections */
	enum log_mode log_mode;   /* fixed before the guest runs */
	struct log_costs costs;   /* the turn's */
	bool view;                /* the test device's view is started; the turn's */
	struct mmu_guards guards;
	bool map;                 /* the map is on; the turn's */
	struct mmu_stats stats;
};

/* The level-1 shadow page that the last walk of the shadow ended in: a paging-structure cache of one entry. Good for addresses
 * of its 2 MiB region while the generation stands, for nothing above it goes without moving that (shadow.h). */
struct mmu_near {
	uint64_t generation, region;
	struct shadow *s;
	struct table *table; /* s's, which may be read when s may be another's already: tables are type-stable */
};

/* One vCPU's side of the MMU. Only its own CPU touches it, but for the atomics. */
struct mmu_vcpu {
	struct mmu *mmu;
	struct mmu_paging paging;
	enum paging_mode mode;    /* of paging; likewise the next three */
	bool nxe;                 /* NX counts */
	bool smap;                /* SMAP does */
	uint64_t reserved;        /* bits reserved in every gpte: walk_reserved_always */
	bool ac;                  /* SMAP lets supervisor data accesses pass: EFLAGS.AC is set and CPL < 3. The caller's, before
	                           * mmu_fault and mmu_translate */
	atomic32 in_guest;        /* 1 from before the generation check until the first act after the exit */
	atomic32 cpu;             /* where it runs, for kicks; valid while in_guest */
	atomic64 seen;            /* generation its TLB on `cpu` is good for; 0 = flush before the next entry, as while
	                           * root_stale */
	uint64_t want;            /* generation sampled by the entry that found itself behind */
	struct shadow *root[4];   /* pinned: level-4 root in [0], or the level-2 shadows of a guest without long mode, one
	                           * a GiB; 0: a PDPTE that is not present, or whose table is not in RAM */
	spte_t *pae_root;         /* page below 4 GiB: the four PDPTEs of a guest without long mode */
	struct mmu_near near;
	bool root_stale;          /* reload before the next entry */
	bool sync_wanted;         /* the reload syncs: an INVLPG's met another flow, or mmu_flush_tlb() wants it */
	struct chain_reserve rmap, parents;
	struct table *tables[8];  /* reserve of shadow tables */
	unsigned tables_n;
	struct mmu_vcpu_stats stats;
};

/* The slot of this guest that holds f; 0 when none does. In an RCU section. */
static inline struct slot *slot_find(struct mmu *m, gfn_t f)
{
	/* acquire: pairs with the release in slot_add. The last slots are the large ones, so look there first. */
	for (struct slot *s = &m->slot[load_acquire(&m->slots)]; s-- > m->slot;)
		if (f.v - s->gfn.v < s->pages)
			return s;
	return 0;
}

/* MAXPHYADDR for guests made from now on, bits; 36 until set. */
extern unsigned mmu_phys_bits;

/* Once, after page_init: makes the caches of shadow tables and descriptors. */
void mmu_global_init(void);

/* Makes a guest's MMU with a budget of shadow pages, at least MMU_FLOOR a vCPU. name is kept, not copied. False: out of memory. */
bool mmu_init(struct mmu *m, const char *name, uint64_t budget);
/* Gives it `bytes` (page multiple) of zeroed RAM laid out as GUEST-ABI says: 0-0x9ffff, 0x100000 up to 3 GiB, the rest
 * from 4 GiB. False: not that much free, nothing left for what is kept of each page, or what is free lies in more pieces than there
 * are slots; nothing stays allocated. */
bool mmu_add_ram(struct mmu *m, uint64_t bytes);
/* Of the 64 pages from here on, where PCs have ROMs, those whose bit is set are no RAM and no device's: reads of them find ones in one
 * page that is mapped for reading, and do not exit again; writes are MMU_MMIO. Such a leaf is in no rmap chain: its frame belongs
 * to no slot, and nothing is ever written there. Before the guest runs. False: out of memory. */
#define MMU_BLANK_FIRST 0xc0UL /* gfn */
bool mmu_set_blank(struct mmu *m, uint64_t pages);
static inline bool mmu_is_blank(const struct mmu *m, gfn_t f)
{
	return f.v - MMU_BLANK_FIRST < 64 && m->blank >> (f.v - MMU_BLANK_FIRST) & 1;
}
/* Gives the RAM back (part of mmu_destroy and of a failed mmu_add_ram). No spte maps it. */
void mmu_drop_ram(struct mmu *m);
/* Gives everything back. No vCPU runs or will. Outside sections and locks. */
void mmu_destroy(struct mmu *m);

/* A vCPU, in the state after reset with paging off. False: out of memory or too many. */
bool mmu_vcpu_init(struct mmu_vcpu *v, struct mmu *m);
void mmu_vcpu_destroy(struct mmu_vcpu *v);

/* After the guest wrote CR0, CR3, CR4 or EFER in a way that bears on paging (also: CR3 loaded with the same value): sync
 * what went unsync, flush, choose the new root at the next entry. Values were validated by the caller (CR0/CR4/EFER
 * policy). MMU_RESUME, MMU_RETRY (nothing was changed; call again) or MMU_END (a mode not supported, named). */
enum mmu_outcome mmu_set_paging(struct mmu_vcpu *v, const struct mmu_paging *p, struct mmu_fault *f);

/* The same for a load of CR3 in long mode, when it is only to make a root current that is there. False: it is not, or something
 * waits to be synced; nothing was changed. Else what MMU_FLUSH asks for may be done at once: the entry would only find that it
 * is behind, and begin anew. */
bool mmu_load_cr3(struct mmu_vcpu *v, uint64_t cr3);

/* The same for a flush of the guest's whole TLB that comes with no instruction: it happens, and what went unsync is synced, before
 * the next entry. Outside the guest, on its CPU. */
void mmu_flush_tlb(struct mmu_vcpu *v);

/* A #PF exit at `a` with the hardware's error code. cpl: 0 … 3. Outside sections, locks; interrupts on. */
enum mmu_outcome mmu_fault(struct mmu_vcpu *v, gva_t a, uint32_t error, struct mmu_fault *f);

/* Guards the linear page of a (guard.h), in all of the guest's address spaces, or no longer. False: there are MMU_GUARDS. No
 * vCPU of the guest runs. Outside sections and locks. */
bool mmu_guard(struct mmu *m, gva_t a);
void mmu_unguard(struct mmu *m, gva_t a);
/* Lets v through all of them, and ends that; the others of the guest stand still from before the first until after the second.
 * Outside sections and locks. */
void mmu_guard_open(struct mmu_vcpu *v);
void mmu_guard_close(struct mmu_vcpu *v);

/* INVLPG of a. True: flushing this one address on this CPU is enough (the caller does it); false: a whole flush was
 * arranged for the next entry. */
bool mmu_invlpg(struct mmu_vcpu *v, gva_t a);

/* VM entry, interrupts off (SVM: GIF=0), and kept off until the entry. */
enum mmu_entry {
	MMU_ENTER,  /* IN_GUEST is 1: enter now with CR3 = mmu_root() */
	MMU_FLUSH,  /* IN_GUEST is 0: flush this vCPU's whole VPID/ASID on this CPU, call mmu_flushed(), try again */
	MMU_RELOAD, /* IN_GUEST is 0: interrupts on, call mmu_reload(), try again */
};
/* What is to be done first by a vCPU that is behind generation g, having said that it enters. */
enum mmu_entry mmu_behind(struct mmu_vcpu *v, uint64_t g);
/* cpu: host_cpu(). The numbers are those of the argument in tlb.c. */
static inline enum mmu_entry mmu_enter(struct mmu_vcpu *v, unsigned cpu)
{
	uint64_t g;

	if (cpu != load_relaxed(&v->cpu)) {
		store_relaxed(&v->cpu, cpu);
		store_relaxed(&v->seen, 0);
	}
	xchg_seq(&v->in_guest, 1);        /* 1 */
	park("tlb-enter");
	g = load_seq(&v->mmu->generation); /* 2 */
	return __builtin_expect(g == load_relaxed(&v->seen), 1) ? MMU_ENTER : mmu_behind(v, g); /* 3 */
}
static inline void mmu_flushed(struct mmu_vcpu *v)
{
	store_release(&v->seen, v->want); /* after the flush; partner: wait_for in tlb.c */
}
/* First act after an exit, and after a failed entry, before interrupts are opened. */
static inline void mmu_leave(struct mmu_vcpu *v)
{
	store_release(&v->in_guest, 0); /* partner: wait_for in tlb.c */
}
/* Makes the root current. MMU_RESUME, MMU_RETRY, or MMU_END. */
enum mmu_outcome mmu_reload(struct mmu_vcpu *v, struct mmu_fault *f);
/* The hardware's CR3 for this vCPU: valid between MMU_ENTER and the entry. For a guest without long mode it points at four
 * PDPTEs below 4 GiB. */
hpa_t mmu_root(const struct mmu_vcpu *v);

/* The guest's own view of memory, for string I/O, gdb, descriptor-table reads. access: PF_W, PF_U, PF_I as in an error
 * code. MMU_RESUME: *out is the gpa (RAM or not); MMU_INJECT: f->error, f->gva; MMU_RETRY. Sets A (and D with PF_W) bits as
 * an access would. */
enum mmu_outcome mmu_translate(struct mmu_vcpu *v, gva_t a, uint32_t access, gpa_t *out, struct mmu_fault *f);

/* The only way the hypervisor touches guest RAM. bytes may cross pages. False: some byte is not RAM (what came before it was
 * done). Stores mark pages dirty and drop shadows of page tables they hit. Outside sections and locks. */
bool mmu_read(struct mmu *m, gpa_t a, void *to, uint64_t bytes);
bool mmu_write(struct mmu *m, gpa_t a, const void *from, uint64_t bytes);
/* An atomic store of 1, 2, 4, 8 or 16 bytes at a, all in one page (16: aligned), if *expected is there; else *expected becomes
 * what is. The rest as mmu_write. */
enum mmu_exchange { MMU_EXCHANGED, MMU_DIFFERS, MMU_NO_RAM };
enum mmu_exchange mmu_cmpxchg(struct mmu *m, gpa_t a, void *expected, const void *value, unsigned bytes);
/* An atomic exchange of 1, 2, 4 or 8 bytes at a, all in one page: *value is stored, and becomes what was there. False: no RAM.
 * The rest as mmu_write. */
bool mmu_xchg(struct mmu *m, gpa_t a, void *value, unsigned bytes);
/* RAM pages of this guest in all. */
uint64_t mmu_pages(const struct mmu *m);

/* What the page faults of its vCPUs came to so far. */
struct mmu_faults mmu_faults(const struct mmu *m);

/* Demolish every shadow page, in steps; flushes. MMU_RESUME or MMU_RETRY. */
enum mmu_outcome mmu_zap_all(struct mmu *m);
/* The same, a step at a time: of a few shadow pages, from *bucket on, 0 to begin with. True: there may be more. */
bool mmu_zap_step(struct mmu *m, uint64_t *bucket);

/* Destroys the guest's slots and makes them again, over other host frames with the same contents where there is room (move.c);
 * every page counts as dirty. Beside running vCPUs, from an exit of one of them too. MMU_RESUME; MMU_RETRY: a harvest or a
 * replica's copy is under way. Outside sections and locks. */
enum mmu_outcome mmu_move_ram(struct mmu *m);

/* True while that goes on. In a publishing section, or under mmu.lock: what was looked up then stays until the end of it. */
static inline bool mmu_moving(const struct mmu *m)
{
	return load_acquire(&m->moving); /* partner: set_moving */
}

/* Check every invariant of mm/README.md on this guest; the number of violations, each logged by name, or MMU_AUDIT_BUSY when a
 * harvest has the turn. Not while another CPU runs this guest, but may be called from one of its vCPUs outside the guest. In
 * steps beside vCPUs: mm/audit.h. */
#define MMU_AUDIT_BUSY (~0UL)
uint64_t mmu_audit(struct mmu *m);

#endif
