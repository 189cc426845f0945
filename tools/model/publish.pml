/* SPDX-License-Identifier: MIT */
/* Publication against harvests: leaf.c:leaf_install, fault.c:fixup, shadow.c:drop_leaf (a guest's local INVLPG), beside
 * log.c:harvest and log.c:protect_visit.
 *
 * Modelled: one page of the guest, one leaf spte of it, its rmap entry, its dirty bit; two vCPUs with a store buffer
 * each (TSO: plain stores wait in it in order, locked RMWs drain it); the guest's lock; publishing sections and the
 * grace period; the generation of tlb.c (entry and check in one step: tlb.pml takes them apart); the walker. vCPU 1
 * has a TLB entry and writes to the page; of vCPU 0 only its handlers matter, which repair, install and drop the same
 * spte. The walker harvests once at any time, and again when vCPU 1 has done its last write and left the guest; vCPU 0
 * may be in the midst of a handler then.
 * Bounds: two writes, FAULTS faults or drops for each vCPU, two harvests.
 * Property: what vCPU 1 had written before the last harvest was called is in the copy: no page is lost. MMU_WRITABLE is
 * set all along: it has its own model, unsync.pml.
 *
 *  run: as built | ok | | big
 *  run: dirty bit before spte | wrong | -DBIT_FIRST | quick
 *  run: bit tested before it is set | wrong | -DTEST_FIRST | quick
 *  run: no grace period | wrong | -DNO_GRACE | quick
 *  run: fix-up by a CPU of another guest | ok | -DFOREIGN -DFAULTS=1 | big
 *  run: harvest waits for own vCPUs only | wrong | -DFOREIGN -DFAULTS=1 -DOWN_ONLY
 *  run: pages read before acknowledgements | wrong | -DREAD_EARLY
 *  run: flush only if a W was cleared | wrong | -DFLUSH_IF_CLEARED
 *  run: bits taken before grace period | wrong | -DTAKE_FIRST
 *  run: protected before bits are taken | wrong | -DWALK_FIRST
 *  run: rmap entry before spte | ok | -DENTRY_FIRST | big
 * The last is no accident of the bounds: the walk waits for neither, and the dirty bit comes after both.
 * -DFOREIGN: the code leaves an spte of another guest alone (slot->mmu != v->mmu); the rule must hold without that too.
 */
#define ABSENT 0
#define CLEAN 1    /* present, MMU_WRITABLE, W clear */
#define WRITABLE 2

#ifndef FAULTS
#define FAULTS 2
#endif

byte spte = WRITABLE, epoch = 1, gen = 1, copy, page; /* page: what vCPU 1 has written */
bit entry = 1, dirty = 1, lock, stop;
byte word[3];          /* RCU, of each CPU; 2: the foreign one */
bit in_guest, tlb;     /* vCPU 1's */
byte seen = 1;

/* The store buffers. */
#define B_WRITABLE 1
#define B_CLEAN 2
#define B_ENTRY 3
#define B_NO_ENTRY 4
#define B_WORD 5
#define B_UNLOCK 6
#define B_PAGE 7
#define B_OUT 8
#define B_STOP 9
#define B_DEPTH 5
typedef buffer { byte q[B_DEPTH]; byte n };
buffer sb[2];

inline drain_one(i) {
	d_step {
		if
		:: sb[i].q[0] == B_WRITABLE -> spte = WRITABLE
		:: sb[i].q[0] == B_CLEAN -> spte = CLEAN
		:: sb[i].q[0] == B_ENTRY -> entry = 1
		:: sb[i].q[0] == B_NO_ENTRY -> entry = 0
		:: sb[i].q[0] == B_WORD -> word[i] = 0
		:: sb[i].q[0] == B_UNLOCK -> lock = 0
		:: sb[i].q[0] == B_PAGE -> page++
		:: sb[i].q[0] == B_OUT -> in_guest = 0
		:: sb[i].q[0] == B_STOP -> stop = 1
		fi;
		sb[i].q[0] = sb[i].q[1]; sb[i].q[1] = sb[i].q[2]; sb[i].q[2] = sb[i].q[3]; sb[i].q[3] = sb[i].q[4];
		sb[i].q[4] = 0;
		sb[i].n--
	}
}

#define empty(i) (sb[i].n == 0)
/* A locked RMW: atomic { empty(i) -> ... }: the buffer drains by itself before it. */
#define store(i, what) atomic { sb[i].n < B_DEPTH -> sb[i].q[sb[i].n] = what; sb[i].n++ }

proctype drain(byte i) {
end:	do
	:: atomic { !empty(i) -> drain_one(i) }
	od
}

/* What a load of the CPU itself sees: its own buffer first. Only the lock's holder or the fix-up's section loads spte,
 * behind an RMW that drained; so memory it is. */
inline section(i) { e = epoch; atomic { empty(i) -> word[i] = e; e = 0 } }
inline mark(i) { atomic { empty(i) -> dirty = 1 } }

inline install(i) {
	atomic { empty(i) && !lock -> lock = 1 };
#ifdef BIT_FIRST
	mark(i);
#endif
	if
	:: spte == ABSENT ->
#ifdef ENTRY_FIRST
		store(i, B_ENTRY);
		store(i, B_WRITABLE);
#else
		store(i, B_WRITABLE);
		store(i, B_ENTRY);
#endif
	:: else -> atomic { empty(i) -> if :: spte == CLEAN -> spte = WRITABLE :: else fi } /* replace() */
	fi;
#ifdef TEST_FIRST
	if
	:: dirty
	:: else -> mark(i)
	fi;
#else
#ifndef BIT_FIRST
	mark(i);
#endif
#endif
	store(i, B_UNLOCK)
}

/* The guest's INVLPG after it cleared the PTE: dropped here, flushed on this CPU only. */
inline drop(i) {
	atomic { empty(i) && !lock -> lock = 1 };
	if
	:: spte != ABSENT ->
		atomic { empty(i) -> e = spte; spte = ABSENT };
		if
		:: e == WRITABLE -> mark(i)
		:: else
		fi;
		e = 0;
		store(i, B_NO_ENTRY)
	:: else
	fi;
	if :: i == 1 -> tlb = 0 :: else fi;
	store(i, B_UNLOCK)
}

inline fixup(i) {
	atomic {
		empty(i);
		if
		:: spte == CLEAN -> spte = WRITABLE; e = 1
		:: else
		fi
	};
	if
	:: e -> e = 0;
		mark(i)
	:: else
	fi
}

inline handle(i) {
	if
	:: spte == CLEAN -> n++; section(i); fixup(i); store(i, B_WORD)
	:: spte != WRITABLE -> n++; section(i); install(i); store(i, B_WORD)
	:: n++; section(i); drop(i); store(i, B_WORD)
	fi
}

proctype helper() { /* vCPU 0 */
	byte n, e;

	do
	:: n < FAULTS -> handle(0)
	:: break
	od
}

#define enter atomic { empty(1) -> in_guest = 1; if :: seen != gen -> tlb = 0; seen = gen :: else fi }

proctype writer() { /* vCPU 1 */
	byte n, e, writes;

	enter;
	do
	:: atomic { !tlb && spte == WRITABLE && writes < 2 -> tlb = 1 }
	:: tlb && writes < 2 -> writes++; store(1, B_PAGE)
	:: writes < 2 && n < FAULTS -> store(1, B_OUT); handle(1); enter
	:: writes < 2 && seen != gen -> store(1, B_OUT); enter /* kicked */
	:: break
	od;
	store(1, B_OUT);
	store(1, B_STOP)
}

proctype foreign() { /* stands on a table that was its own guest's */
	byte e;

	e = epoch;
	word[2] = e;
	atomic { e = 0; if :: spte == CLEAN -> spte = WRITABLE; e = 1 :: else fi };
	if
	:: e -> dirty = 1
	:: else
	fi;
	word[2] = 0
}

#define passed(i, t) (word[i] == 0 || word[i] >= t)

inline grace() {
#ifdef NO_GRACE
	skip
#else
	atomic { epoch++; tag = epoch };
	passed(0, tag);
	passed(1, tag);
#ifndef OWN_ONLY
	passed(2, tag);
#endif
	tag = 0
#endif
}

inline protect() {
	if
	:: entry -> atomic { if :: spte == WRITABLE -> spte = CLEAN; cleared = 1 :: else fi }
	:: else
	fi
}

inline flush() {
	gen++;
	if :: in_guest -> (!in_guest || seen >= gen) :: else fi
}

inline harvest() {
	cleared = 0;
#ifdef WALK_FIRST
	grace();
	protect();
	atomic { b = dirty; dirty = 0 };
#else
#ifdef TAKE_FIRST
	atomic { b = dirty; dirty = 0 };
	grace();
#else
	grace();
	atomic { b = dirty; dirty = 0 };
#endif
	if :: b -> protect() :: else fi;
#endif
	if
	:: b ->
#ifdef READ_EARLY
		copy = page;
#endif
#ifdef FLUSH_IF_CLEARED
		if :: cleared -> flush() :: else fi;
#else
		flush();
#endif
#ifndef READ_EARLY
		copy = page
#endif
	:: else
	fi
}

proctype walker() {
	byte b, tag;
	bit cleared;

	harvest();
	stop;
	harvest();
	assert(copy == page)
}

init {
	atomic {
		run drain(0); run drain(1);
		run helper(); run writer();
#ifdef FOREIGN
		run foreign();
#endif
		run walker()
	}
}
