/* SPDX-License-Identifier: MIT */
/* A TLB flush left for a vCPU that does not run: guest/pv_steal.c:pv_steal_begin, pv_steal_end; mmu.c:mmu_flush_tlb.
 *
 * Modelled: a gpte that another vCPU of the guest changes once, then makes known as Linux does: by the flag FLUSH in
 * `preempted` if that says 1, else by an interrupt whose handler it waits for; the vCPU, which enters the guest and leaves it as
 * often as it likes, with its TLB and the shadow of the gpte's table, which is unsync, so that it says what the gpte was when it
 * was read last. Locked instructions and the change, which stands before one, are in order under TSO.
 * Bounds: one change. The number of slices is not bounded.
 * Property: once the other has made it known, the vCPU uses no older translation.
 *
 *  run: as built | ok | | quick
 *  run: flushed before the exchange | wrong | -DFLUSH_FIRST | quick
 *  run: a load and a store, no exchange | wrong | -DNO_XCHG | quick
 *  run: the TLB alone, nothing is synced | wrong | -DNO_SYNC | quick
 *  run: preempted before it has left | wrong | -DEARLY | quick
 *  run: exchanged after the entry | wrong | -DLATE | quick
 *  run: the other sets the flag unlocked | wrong | -DNO_CMPXCHG | quick
 */
#define PREEMPTED 1
#define FLUSH 2
#define OLD 0
#define NEW 1
#define NONE 2

byte gpte = OLD, shadow = OLD, tlb = NONE, preempted = PREEMPTED;
bit known, irq, handled;

inline flush() { /* not one step: the sync comes at the reload, the TLB later */
#ifndef NO_SYNC
	shadow = gpte;
#endif
	tlb = NONE
}

inline use() {
	atomic {
		if
		:: tlb == NONE -> tlb = shadow
		:: else
		fi;
		assert(!(known && tlb == OLD))
	}
}

inline begin() {
	byte x;

#ifdef FLUSH_FIRST
	x = preempted;
	if
	:: x & FLUSH -> flush()
	:: else
	fi;
	atomic { x = preempted; preempted = 0 }
#else
#ifdef NO_XCHG
	x = preempted;
	preempted = 0;
#else
	atomic { x = preempted; preempted = 0 } /* b */
#endif
	if
	:: x & FLUSH -> flush() /* c */
	:: else
	fi
#endif
}

active proctype vcpu() {
	do
	:: skip;
#ifndef LATE
		begin();
#endif
		do /* in the guest */
		:: use()
		:: irq -> irq = 0; flush(); handled = 1 /* INVLPG exits, and syncs */
		:: break
		od;
#ifdef LATE
		begin();
		use();
#endif
#ifdef EARLY
		preempted = PREEMPTED;
		use();
#else
		preempted = PREEMPTED /* a */
#endif
	od
}

active proctype other() {
	byte x;
	bit done;

	gpte = NEW; /* 1 */
#ifdef NO_CMPXCHG
	x = preempted;
	if
	:: x & PREEMPTED -> preempted = x | FLUSH; done = 1
	:: else
	fi;
#else
	x = preempted;
	if
	:: x & PREEMPTED ->
		atomic { /* 2 */
			if
			:: preempted == x -> preempted = x | FLUSH; done = 1
			:: else
			fi
		}
	:: else
	fi;
#endif
	if
	:: done
	:: else -> irq = 1; handled /* 3 */
	fi;
	known = 1
}
