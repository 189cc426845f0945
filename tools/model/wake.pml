/* SPDX-License-Identifier: MIT */
/* What wakes a vCPU, and when all sleep: guest/lapic.c:lapic_request; guest/activity.c; hv/inject.c:inject_interrupt,
 * hv/exit.c:halt, hv/runner.c:turn, idle.
 *
 * Modelled: vCPU A with its run loop: turns, entries, halts with interrupts on and off. `asked` is CPU_ASKED_TURN with its kick,
 * which end an idle wait and keep an entry from being made. vCPU S sends messages to A, then falls asleep for good. What one
 * stores and the other loads is a locked RMW, so there are no store buffers; but for attention = 1 by its owner, which is plain
 * and looked at by that CPU alone before the next RMW.
 * Bounds: three messages (an interrupt, an NMI, INIT, a start-up), three halts; -DRETRY: two INITs that must wait.
 * Properties: once S is asleep and A in its guest, or idle, with nobody asking, nothing is left that A should have seen; A is off
 * if the last INIT had no start-up behind it, and else is not; the guest ends when both are asleep for good, and not before.
 *
 *  run: as built | ok | | quick
 *  run: as built, INITs that must wait | ok | -DRETRY
 *  run: attention cleared after the look | wrong | -DCLEAR_LATE | quick
 *  run: attention set before the request | wrong | -DNOTICE_FIRST
 *  run: a turn asked for before attention is set | wrong | -DASK_FIRST
 *  run: a turn that forgets what came during it | wrong | -DTURN_LATE
 *  run: an entry looks at interrupts alone | wrong | -DBLIND_ENTRY | quick
 *  run: counted asleep before it says so | wrong | -DCOUNT_FIRST | quick
 *  run: no look at signals once it says so | wrong | -DNO_RECHECK | quick
 *  run: the owner gets up without a word | wrong | -DSILENT
 *  run: whoever finds it asleep counts | wrong | -DPLAIN_WAKE
 *  run: counted once it does not sleep any more | wrong | -DCOUNT_LATE | quick
 *  run: an INIT after the look is taken for one before it | wrong | -DSWALLOW
 *  run: one that is off keeps an NMI | wrong | -DKEEP_NMI
 *  run: an INIT that must wait is not asked for again | wrong | -DRETRY -DNO_ASK
 *  run: an INIT that must wait is put back with its start-up | wrong | -DRETRY -DPUT_BACK
 */
#define NMI 1
#define INIT 2
#define STARTUP 4

#define RUNNABLE 0
#define HALTED 1
#define ASLEEP 2
#define OFF 3

byte signals, activity = RUNNABLE, awake = 2, halts, retries;
bit irr, attention, asked, asleep, ended, s_asleep, s_done;
byte told; /* INIT: A is to be off; STARTUP: it is to have been started */

/* Counts first; whoever did not do the cmpxchg(asleep, 1, 0) then takes that back. */
inline wake() {
	if
	:: asleep ->
#ifdef PLAIN_WAKE
		awake++;
		asleep = 0
#else
#ifndef COUNT_LATE
		awake++;
#endif
		atomic { won = asleep; asleep = 0 };
#ifdef COUNT_LATE
		if :: won -> awake++ :: else fi;
#else
		if
		:: !won -> awake--
		:: else
		fi;
#endif
		won = 0
#endif
	:: else
	fi
}

inline attract() {
#ifdef ASK_FIRST
	if :: !attention -> asked = 1 :: else fi;
	attention = 1
#else
	atomic { old = attention; attention = 1 };
	if
	:: !old -> asked = 1
	:: else
	fi;
	old = 0
#endif
}

/* Takes itself out of the count; the last one ends the guest. */
inline uncount() {
	atomic {
		awake--;
		if
		:: awake == 0 -> ended = 1; assert(asleep && s_asleep && !signals)
		:: else
		fi
	}
}

inline fall_asleep() {
#ifdef COUNT_FIRST
	uncount();
	asleep = 1;
	if :: signals -> wake() :: else fi
#else
	asleep = 1;
#ifndef NO_RECHECK
	if
	:: signals -> wake()
	:: else
	fi;
#endif
	uncount()
#endif
}

inline take_init() {
	done = 1;
#ifdef RETRY
	if
	:: retries < 2 -> retries++; done = 0
	:: true
	fi;
#endif
	if
	:: done -> activity = OFF; irr = 0
	:: else
#ifdef NO_ASK
		-> attention = 1
#else
		-> attract()
#endif
	fi
}

#ifdef KEEP_NMI
#define kept NMI
#else
#define kept (activity == OFF -> 0 : NMI)
#endif

inline wake_myself() {
#ifdef SILENT
	skip
#else
	if
	:: s -> wake()
	:: else
	fi
#endif
}

/* activity.c:vcpu_attend */
inline attend() {
	if
	:: activity == RUNNABLE && !(signals & (INIT | STARTUP)) -> skip
	:: else ->
		attention = 0;
		done = 1;
#ifdef PUT_BACK
		atomic { s = signals; signals = signals & kept };
		wake_myself();
		if
		:: s & INIT -> take_init()
		:: else
		fi;
		if
		:: !done -> signals = signals | s
		:: else
		fi;
#else
		s = signals;
		do
		::	if
			:: s & INIT -> take_init()
			:: else
			fi;
			if
			:: !done -> break
			:: else
			fi;
#ifdef SWALLOW
			atomic { s = signals; signals = s & kept };
			break
#else
			atomic {
				if
				:: signals == s -> signals = s & kept; break
				:: else -> s = signals
				fi
			}
#endif
		od;
		if
		:: done -> wake_myself()
		:: else
		fi;
#endif
		if
		:: !done
		:: else ->
			if
			:: activity == OFF && (s & STARTUP) -> activity = RUNNABLE
			:: activity == ASLEEP && (s & NMI) -> activity = RUNNABLE
			:: activity == HALTED && ((s & NMI) || irr) -> activity = RUNNABLE
			:: else
			fi;
			if
			:: activity == RUNNABLE -> attention = 1
			:: activity >= ASLEEP && !asleep -> fall_asleep()
			:: else
			fi
		fi;
		s = 0
	fi
}

/* inject_interrupt; interrupts are on, and none is in service */
inline before_entry() {
#ifdef CLEAR_LATE
	if :: irr -> irr = 0 :: else fi;
	if :: signals & NMI -> signals = signals & ~NMI :: else fi;
	s = signals;
	attention = 0;
	if :: s & (INIT | STARTUP) -> attract() :: else fi;
	s = 0
#else
	attention = 0;
#ifndef BLIND_ENTRY
	if
	:: signals & (INIT | STARTUP) -> attract()
	:: else ->
#endif
		atomic { signals = signals & ~NMI };
		irr = 0
#ifndef BLIND_ENTRY
	fi
#endif
#endif
}

/* Nobody sends any more, and nobody asked: what A sees now it sees for ever. */
inline rest() {
	atomic {
		assert(!(signals & (INIT | STARTUP)));
		assert(!(signals & NMI));
		assert(activity >= ASLEEP || !irr);
		assert(activity < ASLEEP || ended);
		assert(told != INIT || activity == OFF);
		assert(told == INIT || activity != OFF)
	}
}

active proctype a() {
	byte s;
	bit old, won, done;

turn:
#ifndef TURN_LATE
	asked = 0;
#endif
	if
	:: attention -> attend()
	:: else
	fi;
#ifdef TURN_LATE
	asked = 0;
#endif
	if
	:: activity == RUNNABLE -> goto enter
	:: else
	fi;
	if /* idle */
	:: asked -> goto turn
	:: s_done && !asked -> rest(); goto over
	fi;
enter:
	if
	:: attention -> before_entry()
	:: else
	fi;
	if
	:: asked -> goto turn
	:: else
	fi;
	if /* in the guest */
	:: asked -> goto turn
	:: attention -> goto enter /* an exit of another kind */
	:: s_done && !asked -> rest(); goto over
	:: halts < 3 ->
		halts++;
		if
		:: attention && irr -> goto enter
		:: activity = HALTED
		:: activity = ASLEEP; fall_asleep()
		fi;
		goto turn
	fi;
over:
	skip
}

inline signal(set) {
	atomic { signals = signals | (set) };
	wake();
	attract()
}

active proctype s() {
	bit old, won;
	byte messages;

	do
	:: messages < 3 ->
		messages++;
		if
		:: /* an interrupt */
#ifdef NOTICE_FIRST
			attract();
			irr = 1
#else
			atomic { won = irr; irr = 1 };
			if
			:: !won -> attract()
			:: else
			fi;
			won = 0
#endif
		:: signal(NMI)
		:: told = INIT;
			atomic { signals = signals & ~STARTUP };
			signal(INIT)
		:: if :: told == INIT -> told = STARTUP :: else fi;
			signal(STARTUP)
		fi
	:: break
	od;
	s_asleep = 1;
	uncount();
	s_done = 1
}
