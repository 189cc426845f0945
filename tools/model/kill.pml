/* SPDX-License-Identifier: MIT */
/* Demolition of a shadow page beside a running vCPU: shadow.c:shadow_kill, dismantle, shadow_bury; mmu.c:mmu_zap_all;
 * fault.c:write_table, install_locked, quick_locked; sync.c:mmu_invlpg.
 *
 * Modelled: a guest page table with one gpte (its version counts the guest's stores), its shadow (the version last read),
 * the link that leads to the shadow, the frame's count; a vCPU that writes the table, faults, executes INVLPG or loads CR3,
 * and uses the translation; another flow that kills the shadow and buries it in steps. Where no link leads, the vCPU would
 * build a new shadow from what memory holds: not modelled, it is never too old.
 * Bounds: OPS operations of the vCPU, two stores, one burial.
 * Properties: after INVLPG or CR3 load no translation older than what was in memory then is used; the shadow is empty and
 * nothing links it when it is freed.
 *
 *  run: the rule | ok | | quick
 *  run: as built, beside another vCPU | defect | -DBUILT | quick
 *  run: a dying table is filled | wrong | -DREFILL
 *  run: taken apart, then marked | wrong | -DMARK_LATE
 *  run: freed before the flush | wrong | -DFREE_FIRST
 *
 * The rule: from the kill until the burial's flush is over, INVLPG and CR3 load (and the link of an old shadow page) wait,
 * that is: RETRY, as they do for a sync by another flow. They ask under the lock, where they look for what is unsync.
 * DEFECT 5. shadow_kill takes the table off the unsync list and out of the frame's count while links still lead to it. Until
 * dismantle has dropped them another vCPU may write the table unnoticed, and its INVLPG (shadow not LIVE: nothing is read)
 * or CR3 load (list of unsync tables empty) leaves the old entries in use. It takes two vCPUs: today the flow that
 * kills is the only vCPU's own.
 */
#ifndef OPS
#define OPS 5
#endif

byte gpte, spte = 1; /* version + 1; 0: empty */
byte tlb_use;
bit tlb_leaf, writable, link = 1, counted = 1, unsync, dying, buried, freed, lock;

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0

#ifdef BUILT
#define take_unburied take
#else
#define take_unburied atomic { !lock && !(dying && !buried) -> lock = 1 } /* RETRY until then */
#endif

proctype vcpu() {
	byte n, must;

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
		take_unburied;
		if
		:: link && unsync && !dying && spte -> spte = gpte + 1
		:: else
		fi;
		drop;
		tlb_use = 0
	:: n < OPS -> /* CR3 load: sync of what is unsync */
		n++;
		must = gpte;
		take_unburied;
		if
		:: unsync -> /* protect, flush, read, clear: unsync.pml */
			d_step { writable = 0; tlb_leaf = 0; spte = (spte -> gpte + 1 : 0); unsync = 0 }
		:: else
		fi;
		drop;
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
	dying = 1;
	unsync = 0;
	counted = 0;
	drop
}

inline flush() {
	d_step { tlb_use = 0; tlb_leaf = 0; buried = 1 }
}

proctype killer() {
#ifndef MARK_LATE
	mark_dying();
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
	spte = 0;
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
