/* SPDX-License-Identifier: MIT */
/* Harvest by hardware D bits: DESIGN section 7, log=dbit. NOT BUILT YET. This models what the design says; whoever
 * builds it names functions here.
 *
 * Modelled: one page, one leaf spte with W and D, its rmap entry, the dirty bit of the bitmap; a vCPU with a TLB entry
 * that remembers whether it has set D (then it writes without looking at the spte again); a second flow that drops the
 * leaf (exchange, then the transfer of D, in a section), or changes it, and puts it back (spte, entry, bit); harvests:
 * walk and clear D, grace period, take the bit, flush, copy.
 * Bounds: WRITES writes, two drops, two harvests and a last one when the vCPU has stopped.
 * Properties: nothing is lost at the end; when a harvest returns, what was written before its call has been handed on.
 *
 *  run: as designed | ok | | quick
 *  run: bits taken before the walk | wrong | -DBITS_FIRST | quick
 *  run: no grace period | wrong | -DNO_GRACE | quick
 *  run: grace period before the walk | wrong | -DGRACE_FIRST
 *  run: flush only if a bit was taken | wrong | -DFLUSH_ON_BITS | quick
 *  run: copy before the acknowledgements | wrong | -DREAD_EARLY
 *  run: D not transferred by a drop | wrong | -DNO_TRANSFER
 *  run: D not transferred by a change of rights | wrong | -DNO_CHANGE_TRANSFER
 *  run: D left in a spte that loses W | ok | -DKEEP_D
 *  run: D looked for only where W is set | wrong | -DKEEP_D -DW_ONLY
 *  run: an install sets no bit, D will tell | wrong | -DLEFT_TO_D | quick
 *  run: drop by load and store | wrong | -DPLAIN_DROP
 * An install sets the bit here too, though the page may not have been written: between its spte and its rmap entry
 * another vCPU may write, and the walk would not find the leaf.
 */
#ifndef WRITES
#define WRITES 3
#endif
byte page, copy, epoch = 1, word;
bit present = 1, w = 1, d, entry = 1, bit_set, lock, stop;
bit tlb, tlb_d;

#define take atomic { !lock -> lock = 1 }
#define drop lock = 0

active proctype vcpu() {
	do
	:: atomic { page < WRITES && !tlb && present && w -> tlb = 1; tlb_d = 0 }
	:: atomic { page < WRITES && tlb && tlb_d -> page++ }
	:: atomic { page < WRITES && tlb && !tlb_d ->
		if
		:: present && w -> d = 1; tlb_d = 1; page++ /* the walker's microcode: a locked RMW of the spte */
		:: else -> tlb = 0 /* what it finds is not what it has: a fault */
		fi }
	:: break
	od;
	stop = 1
}

active proctype handler() {
	byte n, e;
	bit was;

	do
	:: n < 2 ->
		n++;
		e = epoch;
		word = e;
		e = 0;
		take;
		if
		:: present -> /* dropped */
#ifdef PLAIN_DROP
			was = d;
			atomic { present = 0; d = 0 };
#else
			atomic { was = d; present = 0; d = 0 };
#endif
#ifndef NO_TRANSFER
			if :: was -> bit_set = 1 :: else fi;
#endif
			entry = 0
		:: present && w -> /* loses W; D goes to the bitmap with every change */
#ifdef KEEP_D
			w = 0
#else
#ifdef NO_CHANGE_TRANSFER
			atomic { w = 0; d = 0 }
#else
			atomic { was = d; w = 0; d = 0 };
			if :: was -> bit_set = 1 :: else fi
#endif
#endif
		:: present && !w ->
			w = 1;
			bit_set = 1
		:: !present -> /* published: spte, entry, bit */
			atomic { present = 1; w = 1; d = 0 };
			entry = 1;
#ifndef LEFT_TO_D
			bit_set = 1
#endif
		fi;
		was = 0;
		drop;
		word = 0
	:: break
	od
}

inline walk() {
	if
	:: entry ->
#ifdef W_ONLY
		atomic { if :: present && w && d -> d = 0; cleared = 1 :: else fi }
#else
		atomic { if :: present && d -> d = 0; cleared = 1 :: else fi }
#endif
	:: else
	fi
}

inline grace() {
	atomic { epoch++; tag = epoch };
	(word == 0 || word >= tag);
	tag = 0
}

inline harvest() {
	d_step { b = 0; cleared = 0 };
#ifdef BITS_FIRST
	grace();
	atomic { b = bit_set; bit_set = 0 };
	walk();
#else
#ifdef GRACE_FIRST
	grace();
	walk();
#else
	walk();
#ifndef NO_GRACE
	grace();
#endif
#endif
	atomic { b = bit_set; bit_set = 0 };
#endif
#ifdef READ_EARLY
	if :: b || cleared -> copy = page :: else fi;
#endif
#ifdef FLUSH_ON_BITS
	if :: b -> atomic { tlb = 0; tlb_d = 0 } :: else fi;
#else
	if :: b || cleared -> atomic { tlb = 0; tlb_d = 0 } :: else fi;
#endif
#ifndef READ_EARLY
	if :: b || cleared -> copy = page :: else fi
#else
	skip
#endif
}

active proctype walker() {
	byte tag, called;
	bit b, cleared;

	called = page;
	harvest();
	assert(copy >= called);
	called = page;
	harvest();
	assert(copy >= called);
	stop;
	harvest();
	assert(copy == page)
}
