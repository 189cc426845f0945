/* SPDX-License-Identifier: MIT */
/* From unsync to synced: sync.c:sync_all, take_batch, sync_batch, read_table, protect_visit; sync.c:mmu_invlpg; mmu.c:
 * mmu_set_paging; fault.c:fixup, write_table; log.c:protect_visit.
 *
 * Modelled: one guest page table with one gpte (its version counts the guest's stores), its shadow (the version that was
 * last read), and the one leaf through which the guest writes the table. Each vCPU has a TLB entry of that leaf and one of
 * what the shadow translates; it writes, faults, executes INVLPG, loads CR3, and uses the translation, in any order. A full
 * flush is one step (tlb.pml), and every sync makes one (owed.pml has the choice). -DLOG: a harvest beside them.
 * Bounds: VCPUS vCPUs, OPS operations for each, two stores to the gpte.
 * Properties: no store goes unnoticed (the table is unsync, or marked as such, at every store through the TLB); after its
 * INVLPG or CR3 load a vCPU uses no translation older than what was in memory then.
 *
 *  run: the rule | ok | -DWAIT | quick
 *  run: the rule, with the log | ok | -DWAIT -DLOG | big
 *  run: the rule with tickets | ok | -DTICKET
 *  run: as built, one vCPU | ok | -DBUILT -DVCPUS=1 -DOPS=5
 *  run: as built, one vCPU, with the log | ok | -DBUILT -DVCPUS=1 -DOPS=5 -DLOG | quick
 *  run: as built, two vCPUs | defect | -DBUILT | quick
 *  run: cleared before it is read | wrong | -DWAIT -DCLEAR_THEN_READ | quick
 *  run: one mark for all who sync | wrong | -DONE_MARK | quick
 *  run: read before the flush | wrong | -DWAIT -DREAD_FIRST -DVCPUS=2
 *  run: no flush | wrong | -DWAIT -DNO_FLUSH
 *  run: cleared before protection | wrong | -DWAIT -DCLEAR_FIRST
 *  run: MMU_WRITABLE not cleared | wrong | -DWAIT -DKEEP_WRITABLE -DLOG
 *  run: a writer does not clear the mark | wrong | -DNO_MARK
 *  run: W before the unsync flag | wrong | -DWAIT -DFLAG_LATE
 *
 * The rule: protect, flush, read, and only then clear the flag, if nobody wrote meanwhile. "Meanwhile" is known by a writer
 * that waits (RETRY) while the table is being synced (-DWAIT), or by a ticket in the mark (-DTICKET).
 * DEFECT 3 (CLEAR_THEN_READ). sync_batch clears unsync and reads the table afterwards. Another vCPU that executes INVLPG or
 * loads CR3 in between, or links the table, finds nothing unsync, and goes on with entries that have not been read.
 * DEFECT 4 (ONE_MARK). syncing is one bit. A marks the table; B's write fault clears the mark and makes the page writable; B
 * loads CR3 and marks the table again; A finds a mark, takes it for its own and clears unsync, while the page is writable.
 * Both take two vCPUs.
 */
#ifdef BUILT
#define ONE_MARK
#define CLEAR_THEN_READ
#endif
#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef OPS
#define OPS 3
#endif

#define READ_ONLY 0
#define CLEAN 1    /* MMU_WRITABLE, W clear */
#define WRITABLE 2

byte gpte, shadow, leaf = WRITABLE, syncing, tickets;
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

inline sync_all() {
	skip;
again:
	mine = 0;
	atomic { /* take_batch, under the lock */
		!lock;
		if
		:: unsync && !syncing ->
#ifdef TICKET
			tickets++;
			syncing = tickets;
			mine = tickets
#else
			syncing = 1;
			mine = 1
#endif
		:: else
		fi
	};
	if
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
#ifdef TICKET
		if :: syncing == mine -> unsync = 0; syncing = 0 :: else fi;
#else
		if :: syncing -> unsync = 0 :: else fi;
		syncing = 0;
#endif
		drop;
#ifdef CLEAR_THEN_READ
		read_table();
#endif
		mine = 0
	:: else
	fi;
	if
	:: unsync && n < OPS -> n++; goto again /* RETRY: the run loop comes again */
	:: unsync && n == OPS -> goto out
	:: else
	fi
}

inline fault() {
	if
	:: atomic { leaf == CLEAN -> leaf = WRITABLE } /* the fix-up */
	:: leaf == READ_ONLY ->
		take;
#ifdef WAIT
		if
		:: syncing -> skip /* RETRY */
		:: else ->
#else
#ifndef NO_MARK
		syncing = 0;
#endif
		if
		:: true ->
#endif
#ifdef FLAG_LATE
			leaf = WRITABLE; /* and the flag not in the same critical section */
			drop;
			take;
			unsync = 1
#else
			unsync = 1;
			leaf = WRITABLE
#endif
		fi;
		drop
	:: else /* repaired meanwhile */
	fi
}

proctype vcpu(byte i) {
	byte n, must, mine;

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
		if :: unsync -> sync_all() :: else fi;
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
