/* SPDX-License-Identifier: MIT */
/* Log start and the harvest's turn: log.c:log_start, start, log_turn_take, harvest, protect_word, hand_on;
 * fault.c:publish.
 *
 * Modelled: one page, one leaf, its dirty bit (clear: an earlier session took it); a vCPU that writes, and whose
 * faults open the page in a publishing section; a consumer that starts the log and harvests; a second consumer who
 * harvests at the same time (the replica and the guest's test device); walks that give up. The bit is set by an RMW
 * (publish.pml has buffers).
 * Bounds: WRITES writes, three harvests and one of the second consumer.
 * Properties: the first harvest after a start reports the page; when any harvest returns, what was written before its
 * call has been handed on; nothing is lost at the end.
 *
 *  run: as built | ok | | quick
 *  run: as built, three writes | ok | -DWRITES=3
 *  run: start fills no bits | wrong | -DNO_FILL
 *  run: bit only while logging, no grace period | wrong | -DWHILE_LOGGING -DNO_GRACE | quick
 *  run: no turn: two harvests at once | wrong | -DNO_TURN | quick
 *  run: a walk given up drops its bit | wrong | -DDROP_BIT | quick
 *  run: handed on before the flush | wrong | -DHAND_ON_FIRST
 *  run: turn given back once bits are taken | wrong | -DTURN_SHORT
 *  run: bit only while logging (no harm) | ok | -DWHILE_LOGGING
 * The last: the grace period of the first harvest covers whoever read the mode before the start. The code keeps the
 * bit all the same (invariant M7), so that nothing hangs on the mode.
 */
#ifndef WRITES
#define WRITES 2
#endif
#define passed(t) (word == 0 || word >= t)

byte page, copy, epoch = 1, word;
bit writable, dirty, logging, turn, tlb, stop, reported, gave_up;

active proctype vcpu() {
	byte e;
	bit on;

	do
	:: page < WRITES ->
		atomic { if :: writable -> tlb = 1 :: else fi };
		if
		:: tlb -> atomic { if :: tlb -> page++ :: else fi }
		:: else ->
			e = epoch;
			word = e;
			on = logging;
			writable = 1;
#ifdef WHILE_LOGGING
			if :: on -> dirty = 1 :: else fi;
#else
			dirty = 1;
#endif
			word = 0;
			e = 0;
			on = 0
		fi
	:: break
	od;
	stop = 1
}

inline harvest() {
#ifndef NO_TURN
	atomic { !turn -> turn = 1 }; /* BUSY until then */
#endif
#ifndef NO_GRACE
	atomic { epoch++; tag = epoch };
	passed(tag);
	tag = 0;
#endif
	atomic { b = dirty; dirty = 0 };
#ifdef TURN_SHORT
	turn = 0;
#endif
	if
	:: b ->
		if
		:: writable = 0
		:: !gave_up -> /* walk given up */
			gave_up = 1;
#ifndef DROP_BIT
			dirty = 1
#endif
		fi;
#ifndef HAND_ON_FIRST
		tlb = 0; /* bump, kick, acknowledgement */
#endif
		atomic { copy = page; reported = 1 };
#ifdef HAND_ON_FIRST
		tlb = 0
#endif
	:: else
	fi;
	b = 0;
#ifdef NO_TURN
	skip
#else
#ifdef TURN_SHORT
	skip
#else
	turn = 0
#endif
#endif
}

inline start() {
	atomic { !turn -> turn = 1 };
#ifdef FILL_FIRST
	dirty = 1;
	logging = 1;
#else
	logging = 1;
#ifndef NO_FILL
	dirty = 1;
#endif
#endif
	turn = 0
}

active proctype consumer() {
	byte tag;
	bit b;

	start();
	harvest();
	assert(reported);
	harvest();
	stop;
	harvest();
	assert(copy == page)
}

active proctype second() {
	byte tag, called;
	bit b;

	logging;
	called = page;
	harvest();
	assert(copy >= called)
}
