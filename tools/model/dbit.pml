/* SPDX-License-Identifier: MIT */
/* Harvest by hardware D bits, and rounds that change between D bits and protection: dbit.c, log.c:harvest and
 * change_mode, beside fault.c:publish and fixup, shadow.c:drop_leaf, leaf.c:leaf_change and sync.c's protection.
 *
 * Modelled: one page; its leaf, which lies in one of two tables (a walk of tables comes to 0 first) and may be dropped
 * and installed anew in the other; its rmap entry and its dirty bit. A vCPU whose TLB entry remembers whether it has set
 * D: then it writes without looking at the leaf again; LATE: it may set D though W is gone. A second flow that installs
 * the leaf, for a read or for a write, after reading how rounds go; fixes it up, takes its rights away, and drops it. A
 * walker, each of whose rounds goes by D bits or by protection as it likes (log=auto).
 * Bounds: WRITES writes, OPS operations of the second flow, two rounds, and a last one when the vCPU has stopped.
 * Properties: when a round returns, what was written before its call has been handed on; nothing is lost at the end.
 *
 *  run: as built | ok | | quick
 *  run: as built, four operations | ok | -DOPS=4 | big
 *  run: by D bits alone | ok | -DDBIT | quick
 *  run: bits taken before the walk | wrong | -DBITS_FIRST | quick
 *  run: no grace period | wrong | -DNO_GRACE | quick
 *  run: grace period before the walk | wrong | -DGRACE_FIRST
 *  run: no flush | wrong | -DNO_FLUSH | quick
 *  run: copy before the acknowledgements | wrong | -DREAD_EARLY
 *  run: D not transferred by a drop | wrong | -DNO_TRANSFER
 *  run: D not transferred by a change of rights | wrong | -DNO_CHANGE_TRANSFER
 *  run: D transferred after the section | wrong | -DLATE_TRANSFER
 *  run: drop by load and store | wrong | -DPLAIN_DROP
 *  run: D looked for by chain | wrong | -DBY_CHAIN | quick
 *  run: back to protection without a walk of tables | wrong | -DBACK_NO_WALK | quick
 *  run: back to protection, leaves keep W | wrong | -DBACK_KEEP_W
 *  run: back to protection without a grace period | wrong | -DBACK_NO_GRACE
 *  run: an install reads the mode outside its section | wrong | -DMODE_OUTSIDE
 *  run: a processor that sets D whatever W is | ok | -DLATE
 *  run: the same, back to protection without a second walk | wrong | -DLATE -DBACK_ONCE
 *  run: the same, the second walk before the flush | wrong | -DLATE -DBACK_LATE
 *  run: protection leaves D | ok | -DKEEP_D
 *  run: a processor that sets D without another look | wrong | -DBLIND
 * Protection that leaves D loses nothing, but a later drop reports the page once more.
 */
#ifndef WRITES
#define WRITES 2
#endif
#ifndef OPS
#define OPS 3
#endif
byte page, copy, epoch = 1, word;
bit present = 1, at, w = 1, d = 1, entry = 1, bit_set = 1, lock, stop;
#ifdef DBIT
bit by_dbit = 1;
#else
bit by_dbit;
#endif
bit tlb, tlb_d;

#define take_lock atomic { !lock -> lock = 1 }
#define drop_lock lock = 0

active proctype vcpu() {
	do
	:: atomic { page < WRITES && !tlb && present && w -> tlb = 1; tlb_d = 0 }
	:: atomic { page < WRITES && tlb && tlb_d -> page++ }
	:: atomic { page < WRITES && tlb && !tlb_d ->
		if
		:: present && w -> d = 1; tlb_d = 1; page++ /* the walker's microcode: a locked RMW of the leaf */
#ifdef BLIND
		:: !(present && w) -> tlb_d = 1; page++
#endif
#ifdef LATE
		:: present && !w -> d = 1; tlb_d = 1; page++
#endif
#ifndef BLIND
		:: else -> tlb = 0 /* what it finds is not what it has: a fault */
#endif
		fi }
	:: break
	od;
	stop = 1
}

inline enter() {
	e = epoch;
	word = e;
	e = 0
}

active proctype handler() {
	byte n, e;
	bit was, mode;

	do
	:: n < OPS ->
		n++;
#ifdef MODE_OUTSIDE
		mode = by_dbit;
#endif
		enter();
#ifndef MODE_OUTSIDE
		mode = by_dbit;
#endif
		if
		:: atomic { present && !w -> w = 1; d = 1 }; /* the fix-up: no lock */
			bit_set = 1
		:: else ->
			take_lock;
			if
			:: present -> /* dropped */
#ifdef PLAIN_DROP
				was = d;
				atomic { present = 0; w = 0; d = 0 };
#else
				atomic { was = d; present = 0; w = 0; d = 0 };
#endif
#ifdef LATE_TRANSFER
				entry = 0;
				word = 0;
#endif
#ifndef NO_TRANSFER
				if :: was -> bit_set = 1 :: else fi;
#endif
				entry = 0
			:: present && w -> /* loses the right to write */
				atomic { was = d; w = 0; d = 0 };
#ifndef NO_CHANGE_TRANSFER
				if :: was -> bit_set = 1 :: else fi
#endif
			:: !present -> /* installed for a write: leaf, entry, bit */
				atomic { present = 1; w = 1; d = 1; if :: at = 0 :: at = 1 fi };
				entry = 1;
				bit_set = 1
			:: !present -> /* installed for a read: D will tell, or a fault */
				atomic { present = 1; w = mode; d = 0; if :: at = 0 :: at = 1 fi };
				entry = 1
			fi;
			drop_lock
		fi;
		d_step { was = 0; mode = 0 };
		word = 0
	:: break
	od
}

inline grace() {
	atomic { epoch++; tag = epoch };
	(word == 0 || word >= tag);
	tag = 0
}

#ifdef BY_CHAIN
#define FOUND(table) (entry && table == 0)
#else
#define FOUND(table) (at == table)
#endif

/* Bits are set when a table is through. */
inline walk_table(table, also_w) {
	atomic {
		if
		:: present && FOUND(table) && (d || (also_w && w)) ->
			pending = d;
			cleared = 1;
			d = 0;
			w = w && !also_w
		:: else
		fi
	};
	if :: pending -> bit_set = 1; pending = 0 :: else fi
}

inline walk_tables(also_w) {
	walk_table(0, also_w);
	walk_table(1, also_w)
}

inline walk_chain() {
	atomic {
		if
		:: present && entry && w ->
			w = 0;
#ifndef KEEP_D
			d = 0
#endif
		:: else
		fi
	}
}

inline flush() {
	atomic { tlb = 0; tlb_d = 0 }
}

inline choose() {
#ifdef DBIT
	skip
#else
	if
	:: true
	:: by_dbit ->
		by_dbit = 0;
#ifndef BACK_NO_GRACE
		grace();
#endif
#ifdef BACK_KEEP_W
		walk_tables(0)
#else
#ifndef BACK_NO_WALK
		walk_tables(1);
#ifdef BACK_LATE
		walk_tables(0);
#endif
		flush();
#if !defined(BACK_ONCE) && !defined(BACK_LATE)
		walk_tables(0)
#else
		skip
#endif
#endif
#endif
	:: !by_dbit -> by_dbit = 1
	fi
#endif
}

inline take_bits() {
	atomic { b = b | bit_set; bit_set = 0 }
}

inline harvest() {
	d_step { b = 0; cleared = 0 };
	choose();
#ifdef BITS_FIRST
	if :: by_dbit -> take_bits() :: else fi;
#endif
#ifdef GRACE_FIRST
	grace();
	if :: by_dbit -> walk_tables(0) :: else fi;
#else
	if :: by_dbit -> walk_tables(0) :: else fi;
#ifndef NO_GRACE
	grace();
#endif
#endif
#ifdef BITS_FIRST
	if
	:: by_dbit -> atomic { b = b | (bit_set && cleared); bit_set = bit_set && !cleared } /* those of the walk */
	:: else -> take_bits()
	fi;
#else
	take_bits();
#endif
	if :: b && !by_dbit -> walk_chain() :: else fi;
#ifdef READ_EARLY
	if :: b -> copy = page :: else fi;
#endif
#ifndef NO_FLUSH
	if :: b || cleared -> flush() :: else fi;
#endif
#ifndef READ_EARLY
	if :: b -> copy = page :: else fi
#else
	skip
#endif
}

active proctype walker() {
	byte tag, called;
	bit b, cleared, pending;

	called = page;
	harvest();
	assert(copy >= called);
	called = page;
	harvest();
	assert(copy >= called);
	called = 0;
	stop;
	harvest();
	assert(copy == page)
}
