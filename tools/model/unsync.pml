/* SPDX-License-Identifier: MIT */
/* From unsync to synced: sync.c:sync_load, take_batch, protect_batch, sync_batch, protect_visit; reread.c:reread_table,
 * mmu_invlpg; mmu.c:mmu_set_paging; fault.c:fixup, write_table; log.c:protect_visit.
 *
 * Modelled: one guest page table with one gpte (its version counts the guest's stores), its shadow (the version that
 * was last read), and the one leaf through which the guest writes the table. Each vCPU has a TLB entry of that leaf
 * and one of what the shadow translates; it writes, faults, executes INVLPG, loads CR3, and uses the translation, in
 * any order. A full flush is one step (tlb.pml), and every sync makes one (owed.pml has the choice). -DLOG: a harvest
 * beside them. -DHOT: any sync may find the table hot, and leave it open.
 * Bounds: VCPUS vCPUs, OPS operations for each, two stores to the gpte.
 * Properties: no store goes unnoticed (the table is unsync, or marked as such, at every store through the TLB); after
 * its INVLPG or CR3 load a vCPU uses no translation older than what was in memory then.
 *
 *  run: as built | ok | | quick
 *  run: as built, with the log | ok | -DLOG | big
 *  run: as built, one vCPU, with the log | ok | -DVCPUS=1 -DOPS=5 -DLOG
 *  run: a hot table | ok | -DHOT | quick
 *  run: a hot table, with the log | ok | -DHOT -DLOG | big
 *  run: a hot table is not read | wrong | -DHOT -DHOT_UNREAD | quick
 *  run: a hot table is in step once it is read | wrong | -DHOT -DHOT_CLEAR | quick
 *  run: a hot table, read by others is not waited for | wrong | -DHOT -DNOT_BUSY
 *  run: a hot table, a reading of before the call will do | wrong | -DHOT -DOLD_CALL
 *  run: flag cleared before it is read | wrong | -DCLEAR_THEN_READ | quick
 *  run: one mark for all who sync | wrong | -DONE_MARK | quick
 *  run: a reading of before the call will do | wrong | -DOLD_CALL
 *  run: a sync by others is not waited for | wrong | -DNOT_BUSY
 *  run: read before the flush | wrong | -DREAD_FIRST | quick
 *  run: no flush | wrong | -DNO_FLUSH
 *  run: cleared before protection | wrong | -DCLEAR_FIRST
 *  run: MMU_WRITABLE not cleared | wrong | -DKEEP_WRITABLE -DLOG
 *  run: a writer does not clear the mark | wrong | -DNO_MARK
 *  run: W before the unsync flag | wrong | -DFLAG_LATE
 *
 * The order is protect, flush, read, and only then clear the flag, if the mark is still this flow's own. The first two
 * variants after "as built" were once the code; each needs two vCPUs. CLEAR_THEN_READ: between the two another vCPU's
 * INVLPG or CR3 load finds nothing unsync and goes on with entries not read yet. ONE_MARK: A marks; B's write fault
 * clears the mark and opens the page; B loads CR3 and marks again; A takes that mark for its own and clears the flag
 * of an open page.
 */
#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef OPS
#define OPS 3
#endif

#define READ_ONLY 0
#define CLEAN 1    /* MMU_WRITABLE, W clear */
#define WRITABLE 2

byte gpte, shadow, leaf = WRITABLE, syncing, calls, read_call;
bit unsync = 1, lock;
bit tlb_leaf[2];
byte tlb_use[2];   /* version + 1; 0: nothing cached */

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0

inline full_flush() {
	d_step { tlb_leaf[0] = 0; tlb_leaf[1] = 0; tlb_use[0] = 0; tlb_use[1] = 0 }
}

inline read_table() {
	take;
	shadow = gpte;
	drop
}

/* busy: another flow is at it; the run loop comes again */
inline sync_all(i) {
	skip;
again:
	atomic { !lock -> calls++; call = calls };
	atomic { /* take_batch, under the lock */
		!lock;
		mine = 0;
		busy = 0;
		if
#ifdef OLD_CALL
		:: unsync && read_call
#else
		:: unsync && read_call >= call
#endif
		:: else ->
			if
			:: unsync && !syncing ->
#ifdef ONE_MARK
				syncing = 1;
#else
				syncing = i + 1;
#endif
				mine = syncing
			:: unsync && syncing -> busy = 1
			:: else
			fi
		fi
	};
	if
#ifdef HOT
	:: mine -> /* hot: neither protected nor flushed */
#ifndef HOT_UNREAD
		read_table();
#endif
		take;
		d_step {
			if :: read_call < call -> read_call = call :: else fi;
#ifdef HOT_CLEAR
			if :: syncing == mine -> unsync = 0; syncing = 0 :: else fi
#else
			if :: syncing == mine -> syncing = 0 :: else fi
#endif
		};
		drop;
		mine = 0
#endif
	:: mine ->
#ifdef CLEAR_FIRST
		unsync = 0;
#endif
#ifdef KEEP_WRITABLE
		atomic { if :: leaf == WRITABLE -> leaf = CLEAN :: else fi };
#else
		leaf = READ_ONLY;
#endif
#ifdef READ_FIRST
		read_table();
#endif
#ifndef NO_FLUSH
		full_flush();
#endif
#ifndef CLEAR_THEN_READ
#ifndef READ_FIRST
		read_table();
#endif
#endif
		take;
		d_step {
			if :: read_call < call -> read_call = call :: else fi;
			if :: syncing == mine -> unsync = 0; syncing = 0 :: else fi
		};
		drop;
#ifdef CLEAR_THEN_READ
		read_table();
#endif
		mine = 0
	:: else
	fi;
	call = 0;
#ifndef NOT_BUSY
	if
	:: busy && n < OPS -> n++; busy = 0; goto again
	:: busy && n == OPS -> goto out
	:: else
	fi
#endif
}

inline fault() {
	if
	:: atomic { leaf == CLEAN -> leaf = WRITABLE } /* the fix-up */
	:: leaf == READ_ONLY ->
		take;
#ifndef NO_MARK
		syncing = 0;
#endif
#ifdef FLAG_LATE
		leaf = WRITABLE; /* and the flag not in the same critical section */
		drop;
		take;
		unsync = 1;
#else
		unsync = 1;
		leaf = WRITABLE;
#endif
		drop
	:: else /* repaired meanwhile */
	fi
}

proctype vcpu(byte i) {
	byte n, must, mine, call;
	bit busy;

	do
	:: n < OPS && tlb_leaf[i] && gpte < 2 ->
		n++;
		atomic { if :: tlb_leaf[i] -> assert(unsync); gpte++ :: else fi }
	:: n < OPS && !tlb_leaf[i] && gpte < 2 ->
		atomic { if :: leaf == WRITABLE -> tlb_leaf[i] = 1 :: else fi };
		if
		:: !tlb_leaf[i] -> n++; fault()
		:: else
		fi
	:: n < OPS -> /* INVLPG */
		n++;
		must = gpte;
		take;
		if :: unsync -> shadow = gpte :: else fi;
		drop;
		tlb_use[i] = 0
	:: n < OPS -> /* CR3 load */
		n++;
		must = gpte;
		if :: unsync -> sync_all(i) :: else fi;
		tlb_use[i] = 0
	:: atomic { !tlb_use[i] -> tlb_use[i] = shadow + 1 };
		atomic { if :: tlb_use[i] -> assert(tlb_use[i] > must) :: else fi }
	:: n == OPS -> break
	od;
out:	skip
}

#ifdef LOG
proctype harvest() {
	atomic { if :: leaf == WRITABLE -> leaf = CLEAN :: else fi };
	full_flush()
}
#endif

init {
	atomic {
		run vcpu(0);
#if VCPUS == 2
		run vcpu(1);
#endif
#ifdef LOG
		run harvest()
#endif
	}
}
