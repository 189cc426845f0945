/* SPDX-License-Identifier: MIT */
/* Shadowing a guest table for the first time: shadow.c:shadow_new; sync.c:sync_build, protect_frame; fault.c:descend,
 * install, write_table, fixup; leaf.c:leaf_install; log.c:protect_visit; mmu.c:mmu_zap_all.
 *
 * Modelled: frame P of a guest table; leaf L maps P, with its rmap entry; the builder; a vCPU that writes to P through
 * its TLB, repairs L, installs L (for a write or for a read), or drops it; once the shadow is LIVE its one spte is
 * filled under the lock from the gpte, whose version counts the guest's stores; a harvest that clears W beside them. A
 * flush is one step, and is always made (owed.pml has the choice).
 * Bounds: OPS operations of the vCPU, two stores, one build, one harvest.
 * Property: when the shadow is LIVE, not unsync, and filled, it is filled from what memory holds: no store is missed.
 *
 *  run: as built | ok | | quick
 *  run: as built, with the log | ok | -DLOG
 *  run: count raised after protection | wrong | -DCOUNT_LATE | quick
 *  run: count read outside the lock | wrong | -DCOUNT_OUTSIDE
 *  run: no flush | wrong | -DNO_FLUSH
 *  run: LIVE before protection | wrong | -DLIVE_FIRST | quick
 *  run: filled before the flush | wrong | -DFILL_EARLY
 *  run: MMU_WRITABLE not cleared | wrong | -DKEEP_WRITABLE
 *  run: fix-up compares no MMU_WRITABLE | wrong | -DBLIND_FIXUP -DLOG
 *  run: a read opens P for writes | wrong | -DREAD_OPENS
 *  run: W before the unsync flag | ok | -DFLAG_AFTER
 *  run: entry before the spte | ok | -DENTRY_FIRST
 * W and the flag, entry and spte: under one hold of the lock their order does not matter, as nobody fills without it.
 */
#ifndef OPS
#define OPS 4
#endif
#define ABSENT 0
#define READ_ONLY 1
#define CLEAN 2    /* MMU_WRITABLE, W clear */
#define WRITABLE 3
#define NONE 0
#define BUILDING 1
#define LIVE 2

byte gpte, spte, leaf = WRITABLE, state; /* spte: version + 1 */
bit entry = 1, count, unsync, tlb, lock;

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0
#define check assert(!(state == LIVE && !unsync && spte && spte != gpte + 1))

inline set_leaf(x) {
	if
	:: leaf == ABSENT ->
#ifdef ENTRY_FIRST
		entry = 1;
		leaf = x
#else
		leaf = x;
		entry = 1
#endif
	:: else -> leaf = x
	fi
}

inline install(write) {
#ifdef COUNT_OUTSIDE
	seen = count;
	take;
#else
	take;
	seen = count;
#endif
	if
	:: !seen -> set_leaf(WRITABLE)
	:: seen && !write ->
#ifdef READ_OPENS
		set_leaf(CLEAN)
#else
		if
		:: leaf == ABSENT -> set_leaf(READ_ONLY)
		:: else
		fi
#endif
	:: seen && write && state == BUILDING -> skip /* RETRY */
	:: seen && write && state == LIVE ->
#ifdef FLAG_AFTER
		set_leaf(WRITABLE);
		unsync = 1
#else
		unsync = 1;
		set_leaf(WRITABLE)
#endif
	:: else
	fi;
	drop;
	seen = 0
}

active proctype vcpu() {
	byte n, old;
	bit seen;

	do
	:: n < OPS && gpte < 2 ->
		n++;
		atomic { if :: leaf == WRITABLE -> tlb = 1 :: else fi };
		if
		:: tlb -> atomic { if :: tlb -> gpte++; check :: else fi }
		:: else ->
			old = leaf;
			if
			:: old == CLEAN ->
#ifdef BLIND_FIXUP
				atomic { if :: leaf != ABSENT -> leaf = WRITABLE :: else fi }
#else
				atomic { if :: leaf == CLEAN -> leaf = WRITABLE :: else fi }
#endif
			:: old != CLEAN && old != WRITABLE -> install(1)
			:: else
			fi;
			old = 0
		fi
	:: n < OPS && leaf == ABSENT -> n++; install(0)
	:: n < OPS && leaf != ABSENT -> /* dropped */
		n++;
		take;
		leaf = ABSENT;
		entry = 0;
		drop;
		tlb = 0
	:: n < OPS && state == LIVE && !spte -> /* the table is used: filled by a fault */
		n++;
		take;
		spte = gpte + 1;
		check;
		drop
	:: n < OPS && state == LIVE && unsync -> /* synced: unsync.pml */
		n++;
		take;
		atomic { if :: leaf >= CLEAN -> leaf = READ_ONLY :: else fi };
		tlb = 0;
		spte = 0;
		unsync = 0;
		drop
	:: break
	od
}

inline raise() {
	take;
	count = 1;
	state = BUILDING;
	drop
}

inline protect() {
	if
	:: entry ->
#ifdef KEEP_WRITABLE
		atomic { if :: leaf == WRITABLE -> leaf = CLEAN :: else fi }
#else
		atomic { if :: leaf >= CLEAN -> leaf = READ_ONLY :: else fi }
#endif
	:: else
	fi
}

inline flush() {
#ifdef NO_FLUSH
	skip
#else
	tlb = 0
#endif
}

inline publish() {
	take;
#ifdef LIVE_FIRST
	if :: !spte -> spte = gpte + 1 :: else fi;
#endif
	state = LIVE;
	drop
}

active proctype builder() {
#ifdef COUNT_LATE
	protect();
	flush();
	raise();
	publish()
#else
	raise();
#ifdef LIVE_FIRST
	publish();
	protect();
	flush()
#else
	protect();
#ifdef FILL_EARLY
	take;
	spte = gpte + 1;
	drop;
#endif
	flush();
	publish()
#endif
#endif
	;
	if /* the next use */
	:: !spte ->
		take;
		spte = gpte + 1;
		drop
	:: else
	fi;
	atomic { !lock -> check }
}

#ifdef LOG
active proctype harvest() {
	if
	:: entry -> atomic { if :: leaf == WRITABLE -> leaf = CLEAN :: else fi }
	:: else
	fi;
	tlb = 0
}
#endif
