/* SPDX-License-Identifier: MIT */
/* Generations, kicks, migration, and the reuse of tables: mmu.h:mmu_enter, mmu_leave; tlb.c:mmu_behind, mmu_flushed,
 * tlb_flush, wait_for; mmu.c:replace_root, mmu_load_cr3; shadow.c:shadow_kill, shadow_bury, shadow_unpin; hv/step.h:step.
 *
 * Modelled: one vCPU that may move between two CPUs before each entry, whose id has a TLB on each (translations and
 * paging-structure entries: what was cached through which root); an interrupt line for each CPU, which is looked at in
 * the guest, or taken by the host's handler while interrupts are on; an invalidator on a third CPU. The vCPU's store
 * of IN_GUEST is an RMW. The guest never leaves by itself once it has done its turns (it spins, and only a kick gets
 * it out); or it halts then.
 * Bounds: three turns of the vCPU, one kill of its root or one unhooking of a table, one more bump beside it.
 * Properties. A table that was reused is not walked; a leaf that INVLPG dropped is not used; no guest runs on a root
 * that was killed before a flush that is over; nobody waits for ever.
 *
 *  run: as built: a table unhooked | ok | -DTABLE | quick
 *  run: as built: the root killed | ok | -DROOT | quick
 *  run: as built: local INVLPG, moving | ok | -DLEAF
 *  run: generation read before IN_GUEST | wrong | -DTABLE -DCHECK_FIRST | quick
 *  run: IN_GUEST by a plain store | wrong | -DTABLE -DPLAIN_STORE | quick
 *  run: no wait for acknowledgements | wrong | -DTABLE -DNO_WAIT
 *  run: table reused before the flush | wrong | -DTABLE -DREUSE_FIRST
 *  run: seen kept across a move | wrong | -DTABLE -DKEEP_SEEN | quick
 *  run: seen kept across a move, INVLPG | wrong | -DLEAF -DKEEP_SEEN
 *  run: flush without a look at the root | wrong | -DROOT -DNO_LOOK
 *  run: root not pinned | wrong | -DROOT -DNO_PIN
 *  run: no flush after a change of root | wrong | -DROOT -DKEEP_ROOT_SEEN
 *  run: interrupts on before the entry | stuck | -DTABLE -DIRQ_ON | quick
 *  run: flush ahead: root looked at first | wrong | -DROOT -DAHEAD_LATE
 *  run: flush ahead without a look at the root | wrong | -DROOT -DAHEAD_BLIND
 *  run: generation bumped before the change | wrong | -DTABLE -DBUMP_FIRST
 *  run: exit does not clear IN_GUEST | stuck | -DTABLE -DNO_LEAVE
 *  run: seen read after flush (no harm) | ok | -DTABLE -DLATE_WANT
 * The last: the flush is done outside the guest, so nothing can be cached between it and a later look at the
 * generation.
 */
byte gen = 1, seen = 0, want, cpu = 0, turns;
bit in_guest, guest, pending, irq[2], last;
bit leaf = 1, invalidated, tlb_leaf[2];
bit unhooked, reused, tlb_table[2];          /* -DTABLE: cached link to the table */
byte root = 1;                               /* the vCPU's: 1 old, 2 new, 0 none */
byte pins = 1;                               /* of the old root: the vCPU's */
bit dying, flushed, tlb_root[2];             /* -DROOT: something cached through the old root */

#define behind (seen != gen)
#define flush_id(c) tlb_leaf[c] = 0; tlb_table[c] = 0; tlb_root[c] = 0

inline replace_root() {
	atomic { /* under the lock */
		root = 2;
		pins--;
		if :: dying && pins == 0 -> reused = 1 :: else fi;
#ifndef KEEP_ROOT_SEEN
		seen = 0
#endif
	}
}

/* What a guest does: the hardware walks from the root it was entered with, through whatever is cached. */
inline run_guest() {
	if
	:: atomic { leaf -> tlb_leaf[cpu] = 1 }
	:: atomic { !unhooked && root == 1 -> tlb_table[cpu] = 1 }
	:: atomic { root == 1 && !dying -> tlb_root[cpu] = 1 }
	:: skip
	fi;
	atomic {
		assert(!(tlb_leaf[cpu] && invalidated));
#ifdef TABLE
		assert(!(tlb_table[cpu] && reused));
#endif
#ifdef ROOT
		assert(!((tlb_root[cpu] || root == 1) && reused));
		assert(!(root == 1 && flushed));
		assert(!(root == 2 && tlb_root[cpu]))
#endif
	}
}

proctype vcpu() {
	byte g;

	last = 0;
entry:	/* interrupts off; the vCPU may have moved */
	if
	:: cpu = 0
	:: cpu = 1
	fi;
	turns++;
again:
	irq[cpu] = 0; /* interrupts were on until here */
#ifdef KEEP_SEEN
	last = cpu;
#else
	if
	:: cpu != last -> last = cpu; seen = 0
	:: else
	fi;
#endif
#ifdef CHECK_FIRST
	g = gen;
	in_guest = 1;
#else
#ifdef PLAIN_STORE
	pending = 1; /* in the store buffer; drained by the process below, or by the next locked RMW */
#else
	in_guest = 1;
#endif
	g = gen;
#endif
	if
	:: g == seen -> goto enter
	:: else
	fi;
#ifdef PLAIN_STORE
	atomic { pending = 0; in_guest = 0 };
#else
	in_guest = 0;
#endif
#ifndef NO_LOOK
	if
	:: root == 1 && dying -> replace_root(); goto again
	:: else
	fi;
#endif
	want = g;
	atomic { flush_id(cpu) };
#ifdef LATE_WANT
	want = gen;
#endif
	seen = want;
	goto again;

enter:
#ifdef IRQ_ON
	if
	:: atomic { irq[cpu] -> irq[cpu] = 0 } /* the host's handler has it */
	:: skip
	fi;
#endif
	guest = 1;
	do
	:: irq[cpu] -> break /* also one that came before the entry */
	:: turns < 3 -> run_guest()
	:: turns < 3 -> break /* an exit of its own */
	:: turns == 3 && !irq[cpu] ->
		run_guest();
end_spin:	irq[cpu]; /* spins: nothing but a kick ends it */
		break
	od;
	guest = 0;
	atomic { irq[cpu] = 0 };
#ifndef NO_LEAVE
	atomic { pending = 0; in_guest = 0 };
#endif
#ifdef LEAF
	/* PTE = 0, then INVLPG exits: the spte is dropped, this CPU's TLB loses the address */
	if
	:: leaf && turns < 3 -> atomic { leaf = 0; tlb_leaf[cpu] = 0; invalidated = 1 }
	:: skip
	fi;
#endif
#ifdef ROOT
	if
	:: root == 1 && turns < 3 -> replace_root() /* the guest loads CR3 */
	:: skip
	fi;
#endif
	/* the guest loads CR3 with a root that is there: mmu_load_cr3, and the flush at once */
	if
	:: turns < 3 ->
#ifndef AHEAD_LATE
		want = gen;
#endif
		if
#ifndef AHEAD_BLIND
		:: root == 1 && dying
#endif
		:: root != 1 || !dying ->
#ifdef AHEAD_LATE
			want = gen;
#endif
			atomic { flush_id(cpu) };
			seen = want
#ifdef AHEAD_BLIND
		:: root == 1 && dying -> atomic { flush_id(cpu) }; seen = want
#endif
		fi
	:: skip
	fi;
	if
	:: turns < 3 -> goto entry
	:: turns == 3 -> goto again
	:: turns == 3 /* halted */
	fi
}

proctype store_buffer() {
end:	do
	:: atomic { pending -> pending = 0; in_guest = 1 }
	od
}

inline wait_for(t) {
	if
	:: in_guest ->
		irq[cpu] = 1;
		(!in_guest || seen >= t)
	:: else
	fi
}

inline tlb_flush() {
	atomic { gen++; t = gen };
#ifndef NO_WAIT
	wait_for(t)
#endif
}

proctype invalidator() {
	byte t;

#ifdef TABLE
#ifdef BUMP_FIRST
	atomic { gen++; t = gen };
	unhooked = 1;
	wait_for(t);
	reused = 1
#else
	unhooked = 1;
#ifdef REUSE_FIRST
	reused = 1;
#endif
	tlb_flush();
	reused = 1
#endif
#endif
#ifdef ROOT
	atomic { dying = 1; pins++ }; /* shadow_kill: the burial's pin */
	tlb_flush();
	flushed = 1;
#ifdef NO_PIN
	atomic { reused = 1; dying = 0 } /* its state is another's now */
#else
	atomic { pins--; if :: pins == 0 -> reused = 1 :: else fi }
#endif
#endif
#ifdef LEAF
	tlb_flush()
#endif
}

proctype other() { /* another invalidator, of something else */
	byte t;

	atomic { gen++; t = gen };
	if
	:: in_guest -> irq[cpu] = 1; (!in_guest || seen >= t)
	:: else
	fi
}

init {
	atomic {
		run vcpu();
		run store_buffer();
		run invalidator();
		run other()
	}
}
