/* SPDX-License-Identifier: MIT */
/* What is owed: whoever makes a frame's mappings unwritable flushes, unless none was writable since the last full
 * flush. tlb.c:tlb_owing, tlb_flush; shadow.c:drop_leaf; leaf.c:leaf_change; sync.c:sync_build, sync_batch,
 * protected_flush, protect_visit.
 *
 * Modelled: frame P is to become a page table; one leaf spte maps it, with its rmap entry; vCPU C has a TLB and writes
 * to P through it as long as it lasts; another vCPU drops the leaf for its INVLPG, under the table's lock, or narrows it, under
 * mmu.lock too, and flushes its own TLB only; a harvest clears W, then flushes, or a burial flushes; one or two CPUs shadow P (in two roles, or one builds while the
 * other syncs). Walks of the chain take no lock. The generation protocol is one step here (tlb.pml).
 * Bounds: one leaf, one drop, one full flush, two shadowers.
 * Property: once a shadow of P counts as in step, nobody writes to P unnoticed.
 *
 *  run: as built | ok | | quick
 *  run: as built, two shadowers | ok | -DTWO
 *  run: one flow at a time needs neither | ok | -DBARE -DONE_FLOW
 *  run: neither, beside a drop | wrong | -DBARE | quick
 *  run: neither, two shadowers | wrong | -DBARE -DTWO -DNO_DROP | quick
 *  run: nothing owed | wrong | -DNO_OWED
 *  run: owed before the spte changes | wrong | -DOWED_FIRST
 *  run: owed after the lock is dropped | wrong | -DOWED_LATE
 *  run: flush samples owed at its end | wrong | -DSAMPLE_LATE
 *  run: a local flush pays | wrong | -DLOCAL_PAYS
 *  run: judged by W alone | wrong | -DBY_W | quick
 *  run: decided without the lock | wrong | -DUNLOCKED
 *  run: other protectors not counted | wrong | -DTWO -DNO_COUNT
 *  run: a leaf on its way out does not count | wrong | -DBLIND | quick
 *
 * The rule is what sync.c:protected_flush does. Without the lock, a walk between a narrowing and its owed++
 * finds neither a writable leaf nor anything owed; it would between drop_leaf's store of 0 and its owed++, if an entry of the
 * chain that reads 0 did not count as writable; without the count, a second shadower of the frame that walks before
 * the first one's flush finds nothing to protect. Either then makes no flush.
 * The rule that is verified: a shadower counts itself before its walk and until after its flush; it flushes if it saw
 * MMU_WRITABLE or 0, or another one is counted, or, asked under the lock after the walk, something is owed.
 */
#ifdef BARE
#define UNLOCKED
#define NO_COUNT
#endif

#define ABSENT 0
#define READ_ONLY 1 /* the guest may not write: MMU_WRITABLE clear */
#define CLEAN 2     /* MMU_WRITABLE, W clear */
#define WRITABLE 3

byte spte = WRITABLE, owed, flushed, protecting;
bit entry = 1, tlb, lock, table_lock, in_step;

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0
#define table_take atomic { !table_lock -> table_lock = 1 }
#define table_drop table_lock = 0

inline full_flush() {
#ifdef SAMPLE_LATE
	tlb = 0;
	sample = owed;
#else
	sample = owed;
	tlb = 0; /* bump, kick, acknowledgement */
#endif
	atomic { if :: sample > flushed -> flushed = sample :: else fi; sample = 0 }
}

active proctype c() {
	do
	:: atomic { spte == WRITABLE && !tlb -> tlb = 1 }
	:: atomic { tlb -> assert(!in_step) }
	:: break
	od
}

inline narrow_leaf() {
	take;
	table_take;
	if
	:: spte >= CLEAN -> spte = READ_ONLY; owed++
	:: else
	fi;
	table_drop;
	drop
}

inline drop_leaf() {
	table_take;
	if
	:: spte != ABSENT ->
#ifdef OWED_FIRST
		atomic { if :: spte >= CLEAN -> owed++ :: else fi };
		spte = ABSENT;
#else
		atomic { old = spte; spte = ABSENT };
#ifndef NO_OWED
#ifndef OWED_LATE
		if :: old >= CLEAN -> owed++ :: else fi;
#endif
#endif
#endif
		entry = 0
	:: else
	fi;
#ifdef LOCAL_PAYS
	flushed = owed;
#endif
	table_drop;
#ifdef OWED_LATE
	if :: old >= CLEAN -> owed++ :: else fi;
#endif
	old = 0
}

inline shadow() {
	/* count raised, or marked as syncing, under the lock: nothing new is installed from here on (unsync.pml, build.pml) */
	saw = 0;
#ifndef NO_COUNT
	protecting++;
#endif
	if
	:: entry ->
		atomic {
#ifdef BY_W
			if
			:: spte == WRITABLE -> saw = 1
			:: else
			fi;
#else
			if
			:: spte >= CLEAN -> saw = 1
#ifndef BLIND
			:: spte == ABSENT -> saw = 1
#endif
			:: else
			fi;
#endif
			if :: spte >= CLEAN -> spte = READ_ONLY :: else fi
		}
	:: else
	fi;
#ifndef UNLOCKED
	take;
#endif
	need = (owed != flushed);
#ifndef UNLOCKED
	drop;
#endif
#ifndef NO_COUNT
	if :: protecting > 1 -> need = 1 :: else fi;
#endif
	if
	:: saw || need -> full_flush()
	:: else
	fi;
#ifndef NO_COUNT
	protecting--;
#endif
	take;
	in_step = 1;
	drop
}

#ifdef ONE_FLOW
active proctype flow() {
	byte sample, old;
	bit saw, need;

	if
	:: drop_leaf()
	:: narrow_leaf()
	:: skip
	fi;
	shadow()
}
#else
#ifndef NO_DROP
active proctype dropper() {
	byte old;

	if
	:: drop_leaf()
	:: narrow_leaf()
	fi
}
#endif

active proctype shadower() {
	byte sample;
	bit saw, need;

	shadow()
}

#ifdef TWO
active proctype shadower_2() {
	byte sample;
	bit saw, need;

	shadow()
}
#endif
#endif

active proctype flusher() {
	byte sample;

	if
	:: entry -> atomic { if :: spte == WRITABLE -> spte = CLEAN :: else fi } /* a harvest */
	:: skip /* a burial */
	fi;
	full_flush()
}
