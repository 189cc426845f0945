/* SPDX-License-Identifier: MIT */
/* Demolition of a shadow page beside a running vCPU: shadow.c:shadow_kill, dismantle, shadow_bury; mmu.c:mmu_zap_all;
 * fault.c:write_table, install_locked; shadow.h:shadow_pending (the quick path of faults: quick.pml);
 * sync.c:sync_all; reread.c:mmu_invlpg; mmu.c:mmu_set_paging.
 *
 * Modelled: a guest page table with one gpte (its version counts the guest's stores), its shadow (the version last
 * read), the link that leads to the shadow, the frame's count; a vCPU that writes the table, faults, executes INVLPG
 * or loads CR3, and uses the translation; another flow that kills the shadow and buries it in steps. Where no link
 * leads, the vCPU would build a new shadow from what memory holds: not modelled, it is never too old.
 * Bounds: OPS operations of the vCPU, two stores, one burial.
 * Properties: after INVLPG or CR3 load no translation older than what was in memory then is used; the shadow is empty
 * and nothing links it when it is freed.
 *
 *  run: as built | ok | | quick
 *  run: asked before the lock is taken | wrong | -DASK_FIRST | quick
 *  run: a dying table counts as read | wrong | -DSKIP_DYING
 *  run: nobody waits for a burial | wrong | -DNO_WAIT | quick
 *  run: unsync cleared, then burying counted | wrong | -DCOUNT_LATE
 *  run: burying loaded, then unsync | wrong | -DLOAD_FIRST
 *  run: no longer burying before the links are gone | wrong | -DBURIED_EARLY
 *  run: a dying table is filled | wrong | -DREFILL
 *  run: taken apart, then marked | wrong | -DMARK_LATE
 *  run: freed before the flush | wrong | -DFREE_FIRST
 *
 * From the kill until the burial's flush is over, INVLPG and CR3 load (and the link of an old shadow page) wait, that
 * is: RETRY, as they do for a sync by another flow. For a CR3 load it is enough to load the two counts without the
 * lock, the unsync ones first.
 * mmu_invlpg reads the entry under the table's lock, where the table is LIVE and nothing was pending before; else it asks again
 * under mmu.lock: asked before that, another vCPU's kill in between would leave it with a shadow that is not
 * LIVE but still linked; it would read nothing, and the old entry would stay in use until the burial's flush.
 */
#ifndef OPS
#define OPS 5
#endif

byte gpte, spte = 1; /* version + 1; 0: empty */
byte tlb_use;
bit tlb_leaf, writable, link = 1, counted = 1, unsync, dying, burying, freed, lock, table_lock;

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0
#define table_take atomic { !table_lock -> table_lock = 1 }
#define table_drop table_lock = 0

#ifdef NO_WAIT
#define at_burial 0
#else
#define at_burial burying
#endif

proctype vcpu() {
	byte n, must;
	bit pending, done;

	do
	:: n < OPS && gpte < 2 -> /* a store */
		n++;
		atomic { if :: writable -> tlb_leaf = 1 :: else fi };
		if
		:: !tlb_leaf -> /* write fault on the table's frame */
			take;
			if
			:: counted && !dying -> unsync = 1
			:: else
			fi;
			writable = 1;
			drop
		:: else
		fi;
		atomic { if :: tlb_leaf -> gpte++ :: else fi }
	:: n < OPS -> /* INVLPG */
		n++;
		must = gpte;
		done = 0;
#ifndef ASK_FIRST
		if
		:: !at_burial && link -> /* under the table's lock alone */
			table_take;
			if
			:: !dying -> spte = (spte -> gpte + 1 : 0); done = 1
#ifdef SKIP_DYING
			:: dying -> done = 1
#endif
			:: else
			fi;
			table_drop
		:: else
		fi;
#endif
		if
		:: !done ->
#ifdef ASK_FIRST
			!at_burial; /* RETRY until then */
			take;
#else
			atomic { !lock && !at_burial -> lock = 1 };
#endif
			if
			:: link && unsync && !dying && spte -> spte = gpte + 1
			:: else
			fi;
			drop
		:: else
		fi;
		tlb_use = 0
	:: n < OPS -> /* CR3 load: sync of what is unsync */
		n++;
		must = gpte;
#ifdef LOAD_FIRST
		pending = at_burial;
		pending = pending || unsync;
#else
		pending = unsync;
		pending = pending || at_burial;
#endif
		if
		:: pending -> /* protect, flush, read, clear: unsync.pml */
			take;
			if
			:: unsync -> d_step { writable = 0; tlb_leaf = 0; spte = (spte -> gpte + 1 : 0); unsync = 0 }
			:: else
			fi;
			drop;
			!at_burial
		:: else
		fi;
		pending = 0;
		tlb_use = 0
	:: n < OPS && link && !spte -> /* a fault: installs from the gpte as it is */
		n++;
		take;
		if
#ifdef REFILL
		:: link -> spte = gpte + 1
#else
		:: link && !dying -> spte = gpte + 1
#endif
		:: else
		fi;
		drop
	:: n < OPS && !link -> /* a fault: the hash still finds it, or it does not */
		n++;
		take;
		if
		:: !link && !dying && !unsync -> link = 1
		:: else
		fi;
		drop
	:: atomic { link && spte && !tlb_use -> tlb_use = spte }
	:: atomic { tlb_use -> assert(tlb_use > must); assert(!freed) }
	:: break
	od
}

inline mark_dying() {
	take;
#ifdef COUNT_LATE
	unsync = 0;
	burying = 1;
#else
	burying = 1;
	unsync = 0;
#endif
	counted = 0;
	dying = 1;
	drop
}

inline flush() {
	d_step { tlb_use = 0; tlb_leaf = 0 };
	burying = 0
}

proctype killer() {
#ifndef MARK_LATE
	mark_dying();
#endif
#ifdef BURIED_EARLY
	burying = 0;
#endif
#ifdef REFILL
	take; /* the table's entries and the links in no order in particular */
	spte = 0;
	drop;
	take;
	link = 0;
	drop;
#else
	take;
	link = 0;
	drop;
	take;
	table_take;
	spte = 0;
	table_drop;
	drop;
#endif
#ifdef MARK_LATE
	mark_dying();
#endif
#ifdef FREE_FIRST
	freed = 1;
#endif
	flush();
	assert(!spte && !link);
	freed = 1
}

init {
	atomic {
		run vcpu();
		run killer()
	}
}
